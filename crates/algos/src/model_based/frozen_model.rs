//! A model that is asked in an update, and through which the policy learns although no gradient crosses a store: the
//! model's tape says what a number is and how it changes with the actions;
//! [`with_slope`](crate::blocks::perturbed::with_slope) puts that under the same actions on the policy's tape.

use super::imagination::{ensemble, seen_by_learner, seen_by_model};
use backcast_core::{ConfigError, Dynamics, ObsScaler, Real, WorldModel};
use backcast_dynamics::Frozen;
use backcast_nn::Var;
use ndarray::ArrayView2;

/// A fitted ensemble whose parameters stay as they are.
pub struct FrozenModel {
    dynamics: Box<dyn Dynamics>,
    /// Between the policy's observations and the model's.
    pub scaler: ObsScaler,
    /// The derivative of what was asked last in its actions, in their order.
    pub slope: Vec<Real>,
}

impl FrozenModel {
    /// # Errors
    /// If the model is no ensemble.
    pub fn new(model: WorldModel) -> Result<Self, ConfigError> {
        let WorldModel { mut dynamics, scaler, .. } = model;
        ensemble(&mut *dynamics)?;
        Ok(Self { dynamics, scaler, slope: Vec::new() })
    }

    /// Its elites, the best first.
    pub fn elites(&mut self) -> &[usize] {
        self.dynamics.elites()
    }

    /// The number that `of` makes of the `actions` by the model; its derivative in them is left in
    /// [`slope`](Self::slope).
    pub fn ask(
        &mut self,
        actions: ArrayView2<'_, Real>,
        of: impl for<'t> FnOnce(Asked<'t, '_>, Var<'t>) -> Var<'t>,
    ) -> Real {
        let Self { dynamics, scaler, slope } = self;
        ensemble(&mut **dynamics).expect("checked when it was built").frozen(|model| {
            let tape = model.tape();
            let a = tape.input(actions).watch();
            let number = of(Asked { model, scaler }, a);
            tape.grad(number, a).copy_into(slope);
            number.item()
        })
    }
}

/// The model on a tape of its own, in the policy's units.
pub struct Asked<'t, 's> {
    model: Frozen<'t>,
    scaler: &'s ObsScaler,
}

impl<'t> Asked<'t, '_> {
    /// Its elites, the best first.
    pub fn elites(&self) -> &'t [usize] {
        self.model.elites()
    }

    /// The policy's states in the model's units: what [`next`](Self::next) takes.
    pub fn states(&self, s: Var<'t>) -> Var<'t> {
        seen_by_model(self.scaler, s)
    }

    /// μ_e(s,a), or μ_e(s,a) + σ_e(s,a)·ε, of the elite `e`, in the policy's units, `[1, rows, obs]`.
    pub fn next(&self, e: usize, s: Var<'t>, a: Var<'t>, epsilon: Option<Var<'t>>) -> Var<'t> {
        let p = self.model.next_state(e, s, a);
        let next = epsilon.map_or(p.mean, |epsilon| p.mean + p.log_std.exp() * epsilon);
        seen_by_learner(self.scaler, next)
    }

    /// The mean of μ_e(s,a) over `elites`, in the policy's units, `[1, rows, obs]`.
    pub fn mean_next(&self, elites: &[usize], s: Var<'t>, a: Var<'t>) -> Var<'t> {
        let each = elites.iter().map(|&e| self.model.next_state(e, s, a).mean);
        let sum = each.reduce(|sum, next| sum + next).expect("at least one elite");
        seen_by_learner(self.scaler, sum * (elites.len() as Real).recip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Direction, Key, Spec, never};
    use backcast_dynamics::{Ensemble, EnsembleConfig};
    use ndarray::{Array2, array};

    fn frozen() -> FrozenModel {
        let small = EnsembleConfig {
            members: 3,
            elites: 2,
            hidden: vec![8],
            weight_decay: vec![0.0; 2],
            ..Default::default()
        };
        let spec = Spec::new(2, 1);
        let model = Ensemble::new(small, spec, Direction::Forward, Key::new(1)).expect("sound");
        let scaler = ObsScaler::new(&[0.5, -1.0], &[2.0, 0.25]);
        FrozenModel::new(WorldModel::new(model, never).with_scaler(scaler)).expect("an ensemble")
    }

    #[test]
    fn the_slope_is_that_of_finite_differences() {
        let mut model = frozen();
        let states = array![[0.3, -1.0], [0.7, 0.2], [-0.4, 0.9]];
        let mut value = |actions: &Array2<Real>| {
            let number = model.ask(actions.view(), |model, a| {
                let s = model.states(a.tape().input(states.view()));
                model.mean_next(model.elites(), s, a).square().mean()
            });
            (number, model.slope.clone())
        };
        let actions = array![[0.1], [-0.6], [0.8]];
        let (_, slope) = value(&actions);
        for row in 0..3 {
            let [up, down] = [1e-2, -1e-2].map(|by| {
                let mut moved = actions.clone();
                moved[[row, 0]] += by;
                value(&moved).0
            });
            let want = (up - down) / 2e-2;
            assert!((slope[row] - want).abs() < 2e-3, "{} is not {want}", slope[row]);
        }
    }

    #[test]
    fn the_mean_over_elites_is_that_of_each() {
        let mut model = frozen();
        let apart = model.ask(array![[0.4]].view(), |model, a| {
            let s = model.states(a.tape().input(array![[0.3, -1.0]].view()));
            let [first, second] = [0, 1].map(|i| model.next(model.elites()[i], s, a, None));
            let mean = (first + second) * 0.5;
            (model.mean_next(model.elites(), s, a) - mean).square().sum()
        });
        assert!(apart < 1e-10, "{apart}");
    }
}
