//! Games of one or two moves whose best joint action is known: what a mixer can represent, and what it cannot.
//!
//! | game | actions | the best joint action pays | why it is here |
//! |---|---|---|---|
//! | [`non_monotone`] (QTRAN, arXiv:1905.05408) | 3 × 3 | 8, beside −12 on either side | the best action of one is the worst if the other errs |
//! | [`climbing`] (Claus & Boutilier 1998) | 3 × 3 | 11, beside −30 | the same, with a tempting second |
//! | [`additive`] | any | the sum of the best of each | what a sum can represent, it must |
//! | [`exclusive_or`] | 2 × 2 × … | 1 where an odd number act | what a sum cannot represent at all |

use backcast_core::{Key, Real, Uniform};
use ndarray::{Array2, ArrayD, IxDyn};

/// Payoffs of joint actions, one axis for each part.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixGame {
    payoff: ArrayD<Real>,
}

impl MatrixGame {
    /// A game with these payoffs.
    ///
    /// # Panics
    /// If parts have different numbers of actions, or there is no part.
    pub fn new(payoff: ArrayD<Real>) -> Self {
        let shape = payoff.shape();
        assert!(!shape.is_empty() && shape.iter().all(|&n| n == shape[0]), "MatrixGame::new: {shape:?}");
        Self { payoff }
    }

    /// How many parts act.
    pub fn parts(&self) -> usize {
        self.payoff.ndim()
    }

    /// How many actions each has.
    pub fn actions(&self) -> usize {
        self.payoff.shape()[0]
    }

    /// What a joint action pays.
    ///
    /// # Panics
    /// If it is not one of the game's.
    pub fn pays(&self, act: &[usize]) -> Real {
        self.payoff[IxDyn(act)]
    }

    /// Every joint action, `[actionsᵖᵃʳᵗˢ, parts]`, the last part's changing fastest.
    pub fn every(&self) -> Array2<usize> {
        every(self.parts(), self.actions())
    }

    /// The joint action that pays most; the first where there are several.
    pub fn best(&self) -> Vec<usize> {
        let every = self.every();
        let rows = every.rows().into_iter().map(|row| row.to_vec());
        rows.reduce(|best, row| if self.pays(&row) > self.pays(&best) { row } else { best }).unwrap_or_default()
    }
}

/// Every joint action of `parts` parts with `actions` actions each, `[actionsᵖᵃʳᵗˢ, parts]`.
pub fn every(parts: usize, actions: usize) -> Array2<usize> {
    let rows = actions.pow(parts as u32);
    Array2::from_shape_fn((rows, parts), |(row, part)| row / actions.pow((parts - 1 - part) as u32) % actions)
}

fn square(payoff: [[Real; 3]; 3]) -> MatrixGame {
    MatrixGame::new(ArrayD::from_shape_fn(IxDyn(&[3, 3]), |at| payoff[at[0]][at[1]]))
}

/// 8 for the first actions together, −12 for one of them alone, 0 else (Son et al., *QTRAN*, ICML 2019, arXiv:1905.05408).
pub fn non_monotone() -> MatrixGame {
    square([[8.0, -12.0, -12.0], [-12.0, 0.0, 0.0], [-12.0, 0.0, 0.0]])
}

/// The climbing game (Claus & Boutilier, *The dynamics of reinforcement learning in cooperative multiagent systems*, AAAI 1998).
pub fn climbing() -> MatrixGame {
    square([[11.0, -30.0, 0.0], [-30.0, 7.0, 6.0], [0.0, 0.0, 5.0]])
}

/// Payoffs that add up: each part's share of each of its actions is uniform in ±1.
pub fn additive(parts: usize, actions: usize, key: Key) -> MatrixGame {
    let shares = key.array((parts, actions), Uniform::new(-1.0, 1.0));
    let shape = vec![actions; parts];
    MatrixGame::new(ArrayD::from_shape_fn(IxDyn(&shape), |at| (0..parts).map(|part| shares[[part, at[part]]]).sum()))
}

/// Two actions each: 1 where an odd number of parts take their second.
pub fn exclusive_or(parts: usize) -> MatrixGame {
    let shape = vec![2; parts];
    MatrixGame::new(ArrayD::from_shape_fn(IxDyn(&shape), |at| {
        ((0..parts).map(|part| at[part]).sum::<usize>() % 2) as Real
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_the_best() {
        assert_eq!((non_monotone().best(), climbing().best()), (vec![0, 0], vec![0, 0]));
        assert_eq!(exclusive_or(3).pays(&[1, 1, 1]), 1.0);
        let game = additive(3, 4, Key::new(1));
        let best = game.best();
        // Changing one part alone never pays.
        for part in 0..3 {
            for action in 0..4 {
                let mut other = best.clone();
                other[part] = action;
                assert!(game.pays(&other) <= game.pays(&best));
            }
        }
        assert_eq!(every(2, 3).rows().into_iter().nth(5).unwrap().to_vec(), [1, 2]);
    }
}
