//! The pieces of TD3 (arXiv:1802.09477) and of TD3+BC: a deterministic policy, its smoothed target, its cloning.

use backcast_core::{Key, Real};
use backcast_nn::{Mlp, Var};

/// π(s) = limit·tanh(net(s)), where the net's own output is tanh
pub fn policy<'t>(actor: Mlp, limit: Real, s: Var<'t>) -> Var<'t> {
    actor.forward(s) * limit
}

// ANCHOR: smoothed
/// clip(a + clip(ε, ±c), ±limit),   ε ~ N(0, noise²), both in units of the limit
pub fn smoothed(a: Var<'_>, noise: Real, clip: Real, limit: Real, key: Key) -> Var<'_> {
    let noise = a.tape().normal(a.shape(), key) * (noise * limit);
    (a + noise.clamp(-clip * limit, clip * limit)).clamp(-limit, limit)
}
// ANCHOR_END: smoothed

/// E[ ‖π(s) − a‖² ] over the first `rows`; 0 over none
pub fn cloning<'t>(action: Var<'t>, a: Var<'t>, rows: usize) -> Var<'t> {
    match rows {
        0 => action.tape().scalar(0.0),
        rows if rows == a.shape().rows => (action - a).square().mean(),
        rows => (action - a).rows(0, rows).square().mean(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_nn::{Shape, Store};

    #[test]
    fn a_smoothed_action_stays_near_and_in_the_box() {
        let mut store = Store::default();
        let a = store.tape().fill(Shape::new(1, 500, 1), |a| a.fill(1.9));
        smoothed(a, 0.2, 0.5, 2.0, Key::new(1)).read(|a| {
            assert!(a.iter().all(|a| (0.9 - 1e-6..=2.0).contains(a)), "{a:?}");
            assert!(a.iter().any(|a| *a < 1.8) && a.contains(&2.0));
        });
    }

    #[test]
    fn cloning_is_of_the_first_rows() {
        let mut store = Store::default();
        let tape = store.tape();
        let (a, b) = (tape.column(&[1.0, 2.0, 3.0]), tape.column(&[0.0, 0.0, 0.0]));
        assert_eq!([0, 1, 2].map(|rows| cloning(a, b, rows).item()), [0.0, 1.0, 2.5]);
    }
}
