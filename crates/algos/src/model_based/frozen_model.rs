//! A model that is asked in an update, and through which the policy learns although no gradient crosses a store: the model's tape
//! says what a number is and how it changes with the actions; [`with_slope`](crate::blocks::perturbed::with_slope) puts that
//! under the same actions on the policy's tape.

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

    /// The number that `of` makes of the `actions` by the model; its derivative in them is left in [`slope`](Self::slope).
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
