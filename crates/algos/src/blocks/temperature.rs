//! A positive number that learns: SAC's temperature, a Lagrange multiplier.

use backcast_core::{Real, Slot, State, under};
use backcast_nn::{Adam, Shape, Store, Var};

/// Bounds of the logarithm of a Lagrange multiplier in the code of BEAR.
pub const LN_MULTIPLIER_BOUNDS: [Real; 2] = [-5.0, 10.0];

/// A positive number learnt through its logarithm, in a store of its own: gradients of the nets never reach it.
pub struct Multiplier {
    store: Store,
    adam: Adam,
}

impl Multiplier {
    /// `start`, learnt at `lr` and stored as `name`.
    pub fn new(name: &str, start: Real, lr: Real) -> Self {
        let mut store = Store::default();
        let at = store.tensor(name, Shape::SCALAR, |x| x[0] = start.ln());
        Self { store, adam: Adam::new(at..at + 1, lr) }
    }

    /// ln α.
    pub fn log(&self) -> Real {
        self.store.params()[0]
    }

    // ANCHOR: update_temperature
    /// One step down L_α = −ln α·E[ ln π(ã∣s) + H̄ ]: the new α, on the tape of `log_pi`, and the entropy E[ −ln π(ã∣s) ]
    pub fn update_temperature<'t>(
        &mut self,
        log_pi: Var<'t>,
        target_entropy: Real,
    ) -> (Var<'t>, Real) {
        let entropy = -log_pi.mean().item();
        self.minimise(|ln_alpha| ln_alpha * (entropy - target_entropy));
        (log_pi.tape().scalar(self.log()).exp(), entropy)
    }
    // ANCHOR_END: update_temperature

    // ANCHOR: ascend
    /// One step of dual ascent, ln α ↑ α·excess, where a constraint is exceeded by so much; ln α is held in `bounds`, low and high
    pub fn ascend(&mut self, excess: Real, [low, high]: [Real; 2]) {
        self.minimise(|ln_alpha| ln_alpha.exp() * -excess);
        self.store.params_mut()[0] = self.log().clamp(low, high);
    }
    // ANCHOR_END: ascend

    /// One step of Adam down a loss that is a function of ln α.
    pub fn minimise(&mut self, loss: impl for<'t> FnOnce(Var<'t>) -> Var<'t>) {
        self.adam.minimise(&mut self.store, |tape| loss(tape.parameter(0, Shape::SCALAR)));
    }
}

impl State for Multiplier {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.store.visit(f);
        under("adam", &mut self.adam, f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multiplier_rises_where_a_constraint_is_exceeded_within_bounds() {
        let mut alpha = Multiplier::new("ln_alpha", 1.0, 1e-2);
        alpha.ascend(2.0, [-1.0, 1.0]);
        assert!(alpha.log() > 0.0);
        (0..300).for_each(|_| alpha.ascend(-2.0, [-1.0, 1.0]));
        assert_eq!(alpha.log(), -1.0);
    }

    /// An entropy below its target makes entropy worth more, one above it less.
    #[test]
    fn a_temperature_rises_where_entropy_is_missing() {
        let after = |target| {
            let mut store = Store::default();
            let mut alpha = Multiplier::new("ln_alpha", 1.0, 1e-2);
            let (new, entropy) = alpha.update_temperature(store.tape().scalar(0.5), target);
            assert_eq!((new.item(), entropy), (alpha.log().exp(), -0.5));
            alpha.log()
        };
        assert!(after(1.0) > 0.0 && after(-1.0) < 0.0);
    }
}
