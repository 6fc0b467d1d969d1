//! Adam on gradients that are held to a norm, for each agent's nets by themselves.

use backcast_core::{Slot, State};
use backcast_nn::{Adam, Mlp, Real, Store, Tape, Var};
use std::ops::Range;

/// Adam over nets that stand one after the other, ‖g‖ of each group of parameters held to a bound: g ← g·min(1, bound/(‖g‖ + 10⁻⁶)).
///
/// Nets side by side are as many algorithms: each member has a norm of its own, over all the nets given. So one step here is, number for
/// number, a step of every agent's own optimiser.
#[derive(Clone, Debug)]
pub(crate) struct Clipped {
    adam: Adam,
    range: Range<usize>,
    bound: Real,
    /// For each member, where its parameters are, counted from the beginning of the range.
    groups: Vec<Vec<Range<usize>>>,
    gradient: Vec<Real>,
}

impl Clipped {
    /// For `nets` and, behind them in the store, `beside`: a further tensor, `[members, …]`.
    ///
    /// # Panics
    /// If they do not stand one after the other, or differ in their members.
    pub(crate) fn new(nets: &[Mlp], beside: Option<Range<usize>>, lr: Real, bound: Real) -> Self {
        let members = nets[0].members();
        let ends = || nets.iter().map(|net| net.range()).chain(beside.clone());
        let range = nets[0].range().start..ends().map(|part| part.end).max().unwrap_or_default();
        let whole: usize = ends().map(|part| part.len()).sum();
        assert!(whole == range.len() && nets.iter().all(|net| net.members() == members), "Clipped::new: nets apart");
        let group = |member: usize| {
            let tensors = nets.iter().flat_map(|net| net.layers()).flat_map(|layer| {
                let weight = layer.weight_range();
                [weight.clone(), weight.end..layer.range().end]
            });
            let own = tensors.chain(beside.clone()).map(|t| {
                let (each, first) = (t.len() / members, t.start - range.start);
                first + member * each..first + (member + 1) * each
            });
            own.collect()
        };
        let groups = (0..members).map(group).collect();
        let (adam, gradient) = (Adam::new(range.clone(), lr), vec![0.0; range.len()]);
        Self { adam, range, bound, groups, gradient }
    }

    /// For nets that one optimiser moves: one norm for all of them.
    ///
    /// # Panics
    /// If they do not stand one after the other.
    pub(crate) fn joint(nets: &[Mlp], lr: Real, bound: Real) -> Self {
        let range = nets[0].range().start..nets[nets.len() - 1].range().end;
        assert_eq!(range.len(), nets.iter().map(|net| net.range().len()).sum::<usize>(), "Clipped::joint: nets apart");
        let (adam, gradient) = (Adam::new(range.clone(), lr), vec![0.0; range.len()]);
        Self { adam, bound, groups: vec![vec![0..range.len()]], gradient, range }
    }

    /// As [`Adam::minimise_with`].
    pub(crate) fn minimise_with<R>(
        &mut self,
        store: &mut Store,
        loss: impl for<'t> FnOnce(Tape<'t>) -> (Var<'t>, R),
    ) -> (Real, R) {
        let tape = store.tape();
        let (loss, also) = loss(tape);
        let value = loss.item();
        tape.grad_params(loss, self.range.clone(), &mut self.gradient);
        for group in &self.groups {
            let squares = group.iter().flat_map(|part| &self.gradient[part.clone()]).map(|&g| (g as f64).powi(2));
            let norm = squares.sum::<f64>().sqrt() as Real;
            let scale = self.bound / (norm + 1e-6);
            if scale < 1.0 {
                group.iter().for_each(|part| self.gradient[part.clone()].iter_mut().for_each(|g| *g *= scale));
            }
        }
        self.adam.follow(store.params_mut(), &self.gradient);
        (value, also)
    }
}

impl State for Clipped {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.adam.visit(f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;
    use backcast_core::Key;
    use backcast_nn::{Activation, Init, Shape};

    /// Two nets side by side, one of them with a gradient too long: its alone is truncated, to the bound, and the step is Adam's.
    #[test]
    fn a_norm_is_held_member_by_member() {
        let mut store = Store::default();
        let net = Mlp::new(&mut store, "net", &[2, 3, 1], 2, Activation::Identity, Init::FanIn, Key::new(1));
        let at = store.tensor("beside", Shape::new(2, 1, 1), |x| x.fill(1.0));
        let mut clipped = Clipped::new(&[net], Some(at..at + 2), 0.1, 0.5);
        // The first member's loss is 100·x, the second's x/10, x being what stands beside; the nets have none.
        clipped.minimise_with(&mut store, |tape| {
            let weights = tape.fill(Shape::new(2, 1, 1), |w| w.copy_from_slice(&[100.0, 0.1]));
            ((tape.parameter(at, Shape::new(2, 1, 1)) * weights).sum(), ())
        });
        let end = clipped.gradient.len();
        let beside = &clipped.gradient[end - 2..];
        assert!(
            abs_diff_eq!(beside[0], 0.5, epsilon = 1e-5) && abs_diff_eq!(beside[1], 0.1, epsilon = 1e-7),
            "{beside:?}"
        );
        assert!(
            store.params()[at..].iter().all(|&x| abs_diff_eq!(x, 0.9, epsilon = 1e-4)),
            "{:?}",
            &store.params()[at..]
        );
        let all: usize = clipped.groups.iter().flatten().map(|part| part.len()).sum();
        assert_eq!(all, store.len());
    }
}
