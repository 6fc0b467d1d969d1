//! What algorithms that perturb states have in common: the states, and how a derivative by the action comes back to the
//! policy from a model in another store.

use backcast_core::{Key, Real};
use backcast_nn::Var;
use ndarray::ArrayView2;

// ANCHOR: perturbed
/// ŝ = s + β·ε, ε ~ N(0, 1), a state that the dataset does not have, `[1, rows, obs]`
pub fn perturbed<'t>(s: Var<'t>, beta: Real, key: Key) -> Var<'t> {
    s + s.tape().normal(s.shape(), key) * beta
}
// ANCHOR_END: perturbed

// ANCHOR: with_slope
/// A number on the tape of `a` that is `value` and whose derivative in `a` is `slope`, `[rows, act]`.
///
/// A gradient never crosses a store. The model's tape says what the number is and which way it falls with the action;
/// here `value + ⟨slope, a − a₀⟩`, where a₀ is what `a` is now, has both, and its gradient in the policy's parameters
/// is the chain rule's.
pub fn with_slope<'t>(a: Var<'t>, slope: &[Real], value: Real) -> Var<'t> {
    let slope = a.tape().fill(a.shape(), |out| out.copy_from_slice(slope));
    let along = (a * slope).sum();
    along - along.detach() + value
}
// ANCHOR_END: with_slope

/// Numbers as a matrix of so many columns.
///
/// # Panics
/// If they are not whole rows.
pub fn rows_of(values: &[Real], cols: usize) -> ArrayView2<'_, Real> {
    ArrayView2::from_shape((values.len() / cols, cols), values).expect("whole rows")
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_nn::{Activation, Init, Mlp, Store};
    use ndarray::array;

    /// The gradient of a function of an action that another store knows is that of the same function on one tape.
    #[test]
    fn a_slope_from_elsewhere_gives_the_gradient_of_the_whole() {
        let mut store = Store::default();
        let net =
            Mlp::new(&mut store, "net", &[2, 7, 2], 1, Activation::Tanh, Init::FanIn, Key::new(1));
        let s = array![[0.3, -1.0], [0.7, 0.2], [-0.4, 0.9]];
        let loss_of = |a: Var<'_>| -> Real { (a.square() * a + a * 0.5).mean().item() };
        let mut together = vec![0.0; store.len()];
        let tape = store.tape();
        let a = net.forward(tape.input(s.view()));
        tape.grad_params((a.square() * a + a * 0.5).mean(), 0..together.len(), &mut together);

        let tape = store.tape();
        let a = net.forward(tape.input(s.view()));
        let (value, acts) = (loss_of(a), a.read(<[Real]>::to_vec));
        let mut other = Store::default();
        let there = other.tape();
        let b = there.input(rows_of(&acts, 2));
        let slope = there.grad((b.square() * b + b * 0.5).mean(), b).read(<[Real]>::to_vec);

        let mut apart = vec![0.0; together.len()];
        let tape = store.tape();
        let linear = with_slope(net.forward(tape.input(s.view())), &slope, value);
        assert!((linear.item() - value).abs() < 1e-6, "{} is not {value}", linear.item());
        tape.grad_params(linear, 0..apart.len(), &mut apart);
        for (got, want) in apart.iter().zip(&together) {
            assert!((got - want).abs() < 1e-6, "{apart:?} is not {together:?}");
        }
        assert!(together.iter().any(|g| g.abs() > 1e-3));
    }
}
