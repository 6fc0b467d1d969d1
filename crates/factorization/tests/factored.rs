//! One agent with many parts: what a sum knows of combinations nobody tried, and what keeps it to the dataset.

use approx::assert_abs_diff_eq;
use backcast_core::{Key, Real, restore, snapshot};
use backcast_factorization::games::{self, MatrixGame};
use backcast_factorization::{Constraint, Factored, FactoredBatch, FactoredConfig};
use ndarray::{Array1, Array2, Axis};

/// Joint actions of a game as a dataset of one state after which everything ends.
struct Rows {
    obs: Array2<Real>,
    act: Array2<usize>,
    reward: Array1<Real>,
    terminal: Array1<Real>,
}

impl Rows {
    fn of(game: &MatrixGame, act: Array2<usize>) -> Self {
        let rows = act.nrows();
        let reward = act.rows().into_iter().map(|u| game.pays(&u.to_vec())).collect();
        Self { obs: Array2::ones((rows, 1)), act, reward, terminal: Array1::ones(rows) }
    }

    fn batch(&self) -> FactoredBatch<'_> {
        FactoredBatch {
            obs: self.obs.view(),
            act: self.act.view(),
            reward: self.reward.view(),
            next_obs: self.obs.view(),
            next_act: Some(self.act.view()),
            terminal: self.terminal.view(),
        }
    }
}

fn config(constraint: Constraint) -> FactoredConfig {
    FactoredConfig { constraint, lr: 1e-2, tau: 0.1, hidden: vec![16], ..FactoredConfig::default() }
}

fn learnt(rows: &Rows, game: &MatrixGame, constraint: Constraint, updates: usize) -> (Factored, Vec<usize>) {
    let mut learner = config(constraint).build(1, game.parts(), game.actions(), Key::new(3)).unwrap();
    (0..updates).for_each(|_| _ = learner.update(rows.batch()));
    let act = learner.act(Array2::ones((1, 1)).view());
    (learner, act.row(0).to_vec())
}

/// The mean error over all joint actions, of a value learnt from a share of them.
fn error(game: &MatrixGame, share: Real, key: Key) -> Real {
    let every = game.every();
    let mut order: Vec<usize> = (0..every.nrows()).collect();
    key.shuffle(&mut order);
    order.truncate(((order.len() as Real * share) as usize).max(1));
    let rows = Rows::of(game, every.select(Axis(0), &order));
    let (mut learner, _) = learnt(&rows, game, Constraint::None, 800);
    let values = learner.values(Array2::ones((every.nrows(), 1)).view(), every.view());
    let errors = values.iter().zip(every.rows()).map(|(value, u)| (value - game.pays(&u.to_vec())).abs());
    errors.sum::<Real>() / every.nrows() as Real
}

#[test]
fn a_sum_of_parts_needs_few_combinations_where_payoffs_add_up_and_no_number_is_enough_where_they_do_not() {
    let additive = games::additive(3, 3, Key::new(4));
    assert!(error(&additive, 1.0, Key::new(1)) < 1e-2);
    assert!(error(&additive, 0.5, Key::new(1)) < 1e-2, "half of the combinations, of which none is needed twice");
    let exclusive = games::exclusive_or(3);
    assert_abs_diff_eq!(error(&exclusive, 1.0, Key::new(1)), 0.5, epsilon = 0.05);
}

/// Payoffs are the same everywhere but for a promise that nobody ever tried to be kept: a value that is free to hope hopes.
#[test]
fn constraints_keep_to_what_was_done() {
    let game = MatrixGame::new(ndarray::ArrayD::from_elem(ndarray::IxDyn(&[4, 4]), -1.0));
    let seen = Array2::from_shape_vec((4, 2), vec![0, 0, 0, 1, 1, 0, 1, 1]).unwrap();
    let rows = Rows::of(&game, seen);
    for constraint in [
        Constraint::Cql { weight: 0.5 },
        Constraint::Bcq { threshold: 0.5 },
        Constraint::OneStep { threshold: 0.5 },
        Constraint::Iql { expectile: 0.7, inverse_temperature: 3.0 },
    ] {
        let (_, act) = learnt(&rows, &game, constraint, 300);
        assert!(act.iter().all(|&a| a < 2), "{constraint:?}: {act:?}");
    }
    let (_, act) = learnt(&rows, &game, Constraint::None, 300);
    assert!(act.iter().any(|&a| a >= 2), "nothing was tempting: {act:?}");
}

#[test]
fn every_variant_prefers_what_pays() {
    let game = games::additive(2, 3, Key::new(9));
    let rows = Rows::of(&game, game.every());
    for constraint in [
        Constraint::None,
        Constraint::Cql { weight: 0.05 },
        Constraint::Bcq { threshold: 0.3 },
        Constraint::OneStep { threshold: 0.3 },
        Constraint::Iql { expectile: 0.7, inverse_temperature: 10.0 },
    ] {
        let (_, act) = learnt(&rows, &game, constraint, 600);
        assert_eq!(act, game.best(), "{constraint:?}");
    }
}

#[test]
fn a_learner_saves_and_goes_on_to_the_same_bits() {
    let game = games::climbing();
    let rows = Rows::of(&game, game.every());
    for constraint in [Constraint::Cql { weight: 0.1 }, Constraint::Iql { expectile: 0.8, inverse_temperature: 1.0 }] {
        let build = |seed| config(constraint).build(1, 2, 3, Key::new(seed)).unwrap();
        let (mut one, mut other) = (build(1), build(2));
        (0..10).for_each(|_| _ = one.update(rows.batch()));
        restore(&mut other, &snapshot(&mut one)).unwrap();
        (0..10).for_each(|_| _ = one.update(rows.batch()));
        (0..10).for_each(|_| _ = other.update(rows.batch()));
        assert!(snapshot(&mut one) == snapshot(&mut other));
    }
}

#[test]
fn nonsense_is_refused_by_field() {
    let sound = FactoredConfig::default();
    for (field, config) in [
        ("gamma", FactoredConfig { gamma: -0.1, ..sound.clone() }),
        ("lr", FactoredConfig { lr: Real::NAN, ..sound.clone() }),
        ("tau", FactoredConfig { tau: 0.0, ..sound.clone() }),
        ("hidden", FactoredConfig { hidden: vec![0], ..sound.clone() }),
        ("constraint", FactoredConfig { constraint: Constraint::Bcq { threshold: 2.0 }, ..sound.clone() }),
    ] {
        assert_eq!(config.check().unwrap_err().field, field);
    }
}
