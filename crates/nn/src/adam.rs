use crate::{
    Arena, Linear, Real, Store, Tape, Var,
    arena::History,
    kernels::{self, AdamStep},
};
use backcast_core::{Slot, State};
use std::{cell::RefCell, ops::Range};

/// Adam over one contiguous range of a [`Store`] (Kingma & Ba, arXiv:1412.6980, Algorithm 1).
///
/// The range *is* what gradients are taken of: a net outside it can appear in the loss and receives nothing, so there is
/// no flag to set and none to forget.
#[derive(Clone, Debug)]
pub struct Adam {
    range: Range<usize>,
    rate: Real,
    betas: (Real, Real),
    epsilon: Real,
    /// λ of decoupled decay: θ ← θ − αλθ (Loshchilov & Hutter, arXiv:1711.05101).
    decoupled: Real,
    /// Coefficients of ½λ‖W‖² added to the loss, by range, in order.
    l2: Vec<(Range<usize>, Real)>,
    /// The last gradient of parameters after the range, which is taken as well, but not followed.
    beyond: Vec<Real>,
    steps: u64,
    m: Vec<Real>,
    v: Vec<Real>,
}

impl Adam {
    /// β = (0.9, 0.999), ε = 1e-8, no decay.
    pub fn new(range: Range<usize>, rate: Real) -> Self {
        let zeros = vec![0.0; range.len()];
        Self {
            range,
            rate,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            decoupled: 0.0,
            l2: Vec::new(),
            beyond: Vec::new(),
            steps: 0,
            m: zeros.clone(),
            v: zeros,
        }
    }

    /// With other rates β₁ and β₂ of the moments' averages.
    pub fn with_betas(self, beta1: Real, beta2: Real) -> Self {
        Self { betas: (beta1, beta2), ..self }
    }

    /// With decoupled weight decay λ over the whole range.
    pub fn with_decoupled_decay(self, lambda: Real) -> Self {
        Self { decoupled: lambda, ..self }
    }

    /// With ½λ‖W‖² of `layer`'s weights added to the loss; its gradient λW joins the loss's own.
    ///
    /// # Panics
    /// If the layer is outside the range.
    pub fn with_l2(mut self, layer: &Linear, lambda: Real) -> Self {
        let weights = layer.weight_range();
        assert!(self.range.start <= weights.start && weights.end <= self.range.end, "with_l2: a layer of another net");
        self.l2.push((weights.start - self.range.start..weights.end - self.range.start, lambda));
        self.l2.sort_by_key(|(range, _)| range.start);
        self
    }

    /// With the gradients of the `beyond` parameters after the range taken as well: for parameters that several losses share,
    /// whose sum another optimiser [follows](Adam::follow).
    pub fn with_gradients_beyond(self, beyond: usize) -> Self {
        Self { beyond: vec![0.0; beyond], ..self }
    }

    /// Sets the learning rate α, for schedules.
    pub fn set_rate(&mut self, rate: Real) {
        self.rate = rate;
    }

    /// Lets the learning rate fall from `start` to zero along a half cosine, α = `start`·½(1 + cos(π·t/`over`)) after t steps of
    /// `over` and 0 from then on; where `over` is 0 it stays at `start` (Loshchilov & Hutter, arXiv:1608.03983, eq. 5, without
    /// restarts). Called before every step.
    pub fn anneal(&mut self, start: Real, over: u64) {
        let t = if over == 0 { 0.0 } else { (self.steps as f64 / over as f64).min(1.0) };
        self.rate = (start as f64 * 0.5 * (1.0 + (std::f64::consts::PI * t).cos())) as Real;
    }

    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The last gradient of the parameters [beyond](Adam::with_gradients_beyond) the range.
    pub fn gradient_beyond(&self) -> &[Real] {
        &self.beyond
    }

    /// θ ← Adam(θ, ∂loss/∂θ). Returns the loss before the step (decay not counted).
    pub fn minimise(&mut self, store: &mut Store, loss: impl for<'t> FnOnce(Tape<'t>) -> Var<'t>) -> Real {
        self.minimise_with(store, |tape| (loss(tape), ())).0
    }

    /// As [`minimise`](Adam::minimise), passing on what else the closure found out on the way.
    pub fn minimise_with<R>(
        &mut self,
        store: &mut Store,
        loss: impl for<'t> FnOnce(Tape<'t>) -> (Var<'t>, R),
    ) -> (Real, R) {
        let (params, arena) = store.parts();
        self.minimise_on(params, arena, loss)
    }

    /// As [`minimise_with`](Adam::minimise_with), for parameters that are not a whole store: those of a member of an ensemble
    /// with memory of its own, so that members can be trained side by side. The range is counted from the beginning of `params`.
    pub fn minimise_on<R>(
        &mut self,
        params: &mut [Real],
        arena: &RefCell<Arena>,
        loss: impl for<'t> FnOnce(Tape<'t>) -> (Var<'t>, R),
    ) -> (Real, R) {
        let range = self.with_beyond();
        let tape = Tape::new(params, arena, History::Of(range.clone()));
        let (loss, also) = loss(tape);
        let value = loss.item();
        tape.last_gradient(loss, range);
        self.step(params, arena.borrow().gradient());
        (value, also)
    }

    /// One step along a gradient from elsewhere, as long as the range.
    ///
    /// # Panics
    /// If it is not.
    pub fn follow(&mut self, params: &mut [Real], gradient: &[Real]) {
        assert_eq!(gradient.len(), self.range.len(), "follow: {} numbers for {:?}", gradient.len(), self.range);
        self.step(params, std::iter::once((0..gradient.len(), gradient)));
    }

    /// The range and what is beyond it.
    pub(crate) fn with_beyond(&self) -> Range<usize> {
        self.range.start..self.range.end + self.beyond.len()
    }

    /// One step along the parts of a gradient, which cover the range and what is beyond it, each number once.
    pub(crate) fn step<'g>(&mut self, params: &mut [Real], gradient: impl Iterator<Item = (Range<usize>, &'g [Real])>) {
        let params = &mut params[self.range.clone()];
        self.steps += 1;
        let (b1, b2) = self.betas;
        // Bias corrections in double precision: 1 − 0.999 loses half of an f32.
        let correction = |beta: Real| 1.0 - (beta as f64).powi(self.steps.min(i32::MAX as u64) as i32);
        let step = AdamStep {
            beta1: b1,
            beta2: b2,
            epsilon: self.epsilon,
            rate: (self.rate as f64 / correction(b1)) as Real,
            root: (1.0 / correction(b2).sqrt()) as Real,
            decay: self.rate * self.decoupled,
            l2: 0.0,
        };
        let Self { m, v, l2, beyond, .. } = self;
        for (part, g) in gradient {
            let end = part.end.min(params.len());
            let mut run = |range: Range<usize>, l2: Real| {
                if range.is_empty() {
                    return;
                }
                let g = &g[range.start - part.start..range.end - part.start];
                let (params, m, v) = (&mut params[range.clone()], &mut m[range.clone()], &mut v[range]);
                kernels::adam(AdamStep { l2, ..step }, params, g, m, v);
            };
            let mut done = part.start.min(end);
            for (decayed, lambda) in l2.iter() {
                let (from, to) = (decayed.start.clamp(done, end), decayed.end.clamp(done, end));
                run(done..from, 0.0);
                run(from..to, *lambda);
                done = to;
            }
            run(done..end, 0.0);
            let first = part.start.max(params.len());
            if first < part.end {
                let beyond = &mut beyond[first - params.len()..part.end - params.len()];
                beyond.copy_from_slice(&g[first - part.start..]);
            }
        }
    }
}

/// Names both moments and the step count.
impl State for Adam {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        f("m", Slot::Tensor(&[self.range.len()], &mut self.m));
        f("v", Slot::Tensor(&[self.range.len()], &mut self.v));
        f("steps", Slot::Count(&mut self.steps));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;
    use approx::{abs_diff_eq, assert_abs_diff_eq};

    fn quadratic(adam: impl Fn(Adam) -> Adam, steps: usize) -> (Store, Adam) {
        let mut store = Store::default();
        let at = store.tensor("x", Shape::new(1, 1, 2), |x| x.copy_from_slice(&[1.0, -2.0]));
        let mut adam = adam(Adam::new(at..at + 2, 0.1));
        for _ in 0..steps {
            adam.minimise(&mut store, |t| t.parameter(at, Shape::new(1, 1, 2)).square().sum());
        }
        (store, adam)
    }

    /// Three steps against the recurrence written out in double precision.
    #[test]
    fn steps_follow_algorithm_1() {
        for betas in [(0.9, 0.999), (0.4, 0.99)] {
            follows_algorithm_1(betas);
        }
    }

    fn follows_algorithm_1((beta1, beta2): (f64, f64)) {
        let betas = |a: Adam| a.with_betas(beta1 as Real, beta2 as Real);
        let (store, _) = quadratic(|a| betas(a).with_decoupled_decay(0.01), 3);
        for (i, start) in [1.0f64, -2.0].into_iter().enumerate() {
            let (mut x, mut m, mut v) = (start, 0.0, 0.0);
            for t in 1..=3 {
                let g = 2.0 * x;
                m = beta1 * m + (1.0 - beta1) * g;
                v = beta2 * v + (1.0 - beta2) * g * g;
                let (m_hat, v_hat) = (m / (1.0 - beta1.powi(t)), v / (1.0 - beta2.powi(t)));
                x -= 0.1 * 0.01 * x + 0.1 * m_hat / (v_hat.sqrt() + 1e-8);
            }
            assert_abs_diff_eq!(store.params()[i] as f64, x, epsilon = 1e-6);
        }
    }

    #[test]
    fn rates_follow_half_a_cosine() {
        let mut adam = Adam::new(0..0, 0.3);
        for (steps, over, expected) in
            [(0, 8, 0.3), (2, 8, 0.256_066), (4, 8, 0.15), (8, 8, 0.0), (9, 8, 0.0), (9, 0, 0.3)]
        {
            adam.steps = steps;
            adam.anneal(0.3, over);
            assert!(abs_diff_eq!(adam.rate, expected, epsilon = 1e-6), "after {steps} of {over}: {}", adam.rate);
        }
    }

    #[test]
    fn it_minimises() {
        let (store, adam) = quadratic(|a| a, 400);
        assert!(store.params().iter().all(|&x| abs_diff_eq!(x, 0.0, epsilon = 1e-2)), "{:?}", store.params());
        assert_eq!(adam.steps(), 400);
    }
}
