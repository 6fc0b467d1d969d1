//! Where an agent differs from code it was recorded with, by choice: which recordings show it, by how much, and why.

use super::{Compared, Fixture, Kind};

/// A difference that is known.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// The recording's name, a file without its ending.
    pub fixture: &'static str,
    /// Why ours is not the same.
    pub why: &'static str,
    /// How large losses, first gradients and changes may be off, in this order; last values as changes.
    bounds: [f64; 3],
}

const NAIVE_LOGARITHM: &str = "the reference has ln(1 − a² + 1e-6) in the density, ours is exact";
const TEMPERATURE_FIRST: &str = "the reference steps the temperature after the policy, ours before it";

/// Every difference, by name.
const DIFFERENCES: &[Difference] = &[
    Difference {
        fixture: "corl-iql",
        why: "CORL takes the losses of value, critics and policy all at the old value; ours steps it first, as the \
              authors' own code does",
        bounds: [3e-2, 3e-2, 1e-1],
    },
    Difference { fixture: "ok-combo", why: NAIVE_LOGARITHM, bounds: [1e-3, 1e-3, 1e-3] },
    Difference { fixture: "ok-combo-entropy", why: NAIVE_LOGARITHM, bounds: [1e-3, 1e-3, 1e-3] },
    Difference { fixture: "ok-combo-model-lagrange", why: NAIVE_LOGARITHM, bounds: [1e-3, 1e-3, 1e-3] },
    Difference { fixture: "ok-combo-auto-alpha", why: TEMPERATURE_FIRST, bounds: [1e-3, 1e-3, 1e-3] },
    Difference { fixture: "ok-mobile-auto-alpha", why: TEMPERATURE_FIRST, bounds: [1e-3, 1e-3, 1e-3] },
    Difference {
        fixture: "osr-authors-moving-policy",
        why: "the released code takes the losses of temperature, policy and critics all at the old parameters; ours \
              steps one after the other, as CQL",
        bounds: [1e-2, 5e-2, 5e-2],
    },
];

/// The difference that a fixture is known to show; none if ours is to be the same.
pub fn by_choice(fixture: &Fixture) -> Option<&'static Difference> {
    let name = std::path::Path::new(&fixture.file).file_stem()?.to_str()?;
    DIFFERENCES.iter().find(|known| known.fixture == name)
}

impl Difference {
    /// Whether a quantity is no further off than this explains.
    pub fn explains(&self, compared: &Compared) -> bool {
        let [loss, gradient, change] = self.bounds;
        let bound = match compared.kind {
            Kind::Loss => loss,
            Kind::Gradient => gradient,
            Kind::Parameter | Kind::Change => change,
            Kind::Transition => compared.kind.bound(),
        };
        compared.error <= bound
    }
}
