//! A fitted model on a tape: how what happens next changes with what is done.

use crate::{
    Ensemble,
    ensemble::{Head, with_arena},
};
use backcast_nn::{Gaussian, Mlp, Shape, Tape, Var};

/// An [`Ensemble`] on a tape, its parameters frozen: [`Ensemble::frozen`] lends one.
///
/// A gradient never crosses a [`Store`](backcast_nn::Store), and a policy's parameters are in one store and a model's in another. What
/// has to come across is a derivative by the *action*, which is numbers: an algorithm hands its action over as an input of this
/// tape, [watched](Var::watch), says what it thinks of the next state, asks for the slope in the action, and goes on with that slope on a
/// tape of its own, where ∂L/∂φ = Σ (∂L/∂a)·(∂a/∂φ). So no parameter is copied, none of the model's can move, and no
/// gradient of a weight is computed.
#[derive(Clone, Copy)]
pub struct Frozen<'t> {
    tape: Tape<'t>,
    head: &'t Head,
    nets: &'t [Mlp],
    elites: &'t [usize],
}

impl Ensemble {
    // ANCHOR: frozen
    /// Lends the fitted nets to `f` on a tape that keeps a history of [watched](Var::watch) values alone.
    ///
    /// ```
    /// use backcast_core::{Direction, Key, Spec};
    /// use backcast_dynamics::{Ensemble, EnsembleConfig};
    /// use ndarray::array;
    ///
    /// let config = EnsembleConfig { hidden: vec![8], weight_decay: vec![0.0; 2], ..Default::default() };
    /// let mut model = Ensemble::new(config, Spec::new(2, 1), Direction::Forward, Key::new(0))?;
    /// let (s, a, goal) = (array![[0.5, 1.0]], array![[0.3]], array![[0.0, 0.0]]);
    /// // How far from the goal does the best member think this leads, and which way is nearer?
    /// let (distance, slope) = model.frozen(|model| {
    ///     let tape = model.tape();
    ///     let a = tape.input(a.view()).watch();
    ///     let next = model.next_state(model.elites()[0], tape.input(s.view()), a).mean;
    ///     let distance = (next - tape.input(goal.view())).square().sum();
    ///     (distance.item(), tape.grad(distance, a).item())
    /// });
    /// assert!(distance > 0.0 && slope.is_finite());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn frozen<R>(&mut self, f: impl for<'t> FnOnce(Frozen<'t>) -> R) -> R {
        let parallel = self.is_parallel();
        let Self { config, head, nets, store, work, elites, .. } = self;
        work.reserve(0, parallel, config.precision);
        let (params, nets, elites) = (store.params(), &*nets, &*elites);
        with_arena(work.arenas(), |arena| f(Frozen { tape: Tape::without_history(params, arena), head, nets, elites }))
    }
    // ANCHOR_END: frozen
}

impl<'t> Frozen<'t> {
    /// The tape that it is on.
    pub fn tape(&self) -> Tape<'t> {
        self.tape
    }

    /// The members that are asked, the best first.
    pub fn elites(&self) -> &'t [usize] {
        self.elites
    }

    /// What `member` says of rows whose two given columns are `first` and `second`, `[1, rows, …]`, in the units of the data:
    /// the mean of every output, states as such and not as changes, and ln σ, `[1, rows, cols]`.
    ///
    /// # Panics
    /// If there is no such member, or the widths are not those of the ensemble's direction.
    pub fn predict(&self, member: usize, first: Var<'t>, second: Var<'t>) -> Gaussian<'t> {
        let (Self { tape, head, .. }, inputs) = (self, self.head.inputs());
        let widths = [first, second].map(|x| x.shape().cols);
        assert_eq!(widths, head.widths, "Frozen::predict: columns of what is given");
        let row = |values: &[_]| tape.fill(Shape::new(1, 1, inputs), |out| out.copy_from_slice(values));
        let x = (first.cat(second) - row(&head.input_mean)) / row(&head.input_std);
        let [change, log_var] = head.split_of(member, self.nets[member].forward(x));
        let Some(anchor) = head.anchor() else { return Gaussian { mean: change, log_std: log_var * 0.5 } };
        // Reward first, the state last.
        let (state, rest) = (head.spec.obs, head.cols - head.spec.obs);
        let anchor = if anchor == 0 { first } else { second };
        let mean = change.cols(0, rest).cat(change.cols(rest, state) + anchor);
        Gaussian { mean, log_std: log_var * 0.5 }
    }

    /// Of a forward ensemble, what `member` says of *s′* after *a* in *s*, `[1, rows, obs]`.
    ///
    /// # Panics
    /// As [`predict`](Frozen::predict).
    pub fn next_state(&self, member: usize, s: Var<'t>, a: Var<'t>) -> Gaussian<'t> {
        let Gaussian { mean, log_std } = self.predict(member, s, a);
        let (state, rest) = (self.head.spec.obs, self.head.cols - self.head.spec.obs);
        Gaussian { mean: mean.cols(rest, state), log_std: log_std.cols(rest, state) }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Ensemble, EnsembleConfig};
    use approx::abs_diff_eq;
    use backcast_core::{Direction, Dynamics, Key, Real, Spec, Transitions};
    use ndarray::{Array2, array};

    /// A model whose scales and members are all different.
    fn model(direction: Direction) -> Ensemble {
        let config = EnsembleConfig {
            members: 3,
            elites: 2,
            hidden: vec![9, 7],
            weight_decay: vec![0.0; 3],
            max_epochs: Some(2),
            ..Default::default()
        };
        let mut dataset = Transitions::new(Spec::new(2, 3));
        for i in 0..100 {
            let mut x = [0.0; 7];
            Key::new(1).fold(i).normal(&mut x);
            dataset.push(&[3.0 + x[0], 0.2 * x[1]], &x[2..5], x[5], &[3.0 + x[0] + 0.1 * x[2], x[6]], false);
        }
        let mut model = Ensemble::new(config, dataset.spec(), direction, Key::new(2)).expect("sound");
        model.fit(&dataset, Key::new(3), &mut |_| true).expect("a fit");
        model
    }

    #[test]
    fn a_frozen_member_predicts_what_it_always_does() {
        for direction in [Direction::Forward, Direction::Reverse, Direction::Inverse] {
            let mut model = model(direction);
            let first = array![[3.0, 0.1], [2.5, -0.3], [4.0, 0.0]];
            let second = Array2::from_shape_fn((3, if direction == Direction::Inverse { 2 } else { 3 }), |(i, j)| {
                0.3 * i as Real - 0.2 * j as Real
            });
            let p = model.predict([first.view(), second.view()]);
            let (mean, std) = (p.mean.to_owned(), p.std.to_owned());
            for member in 0..3 {
                let got = model.frozen(|model| {
                    let p = model.predict(member, model.tape().input(first.view()), model.tape().input(second.view()));
                    [p.mean.read(<[Real]>::to_vec), p.log_std.exp().read(<[Real]>::to_vec)]
                });
                for (got, want) in got.iter().zip([&mean, &std]) {
                    let want = want.index_axis(ndarray::Axis(0), member);
                    let close =
                        got.iter().zip(want.iter()).all(|(x, y)| abs_diff_eq!(x, y, epsilon = 1e-5 * y.abs().max(1.0)));
                    assert!(close, "{direction:?}, member {member}: {got:?} is not {want}");
                }
            }
        }
    }

    /// Of a sample μ + σ·ε, so that both halves of the net are in it, against central differences.
    #[test]
    fn the_slope_in_the_action_is_that_of_finite_differences() {
        let mut model = model(Direction::Forward);
        let (s, mut a) = (array![[3.0, 0.1], [2.5, -0.3]], array![[0.1, -0.4, 0.7], [0.0, 0.5, -0.6]]);
        let mut value = |a: &Array2<Real>| {
            model.frozen(|model| {
                let tape = model.tape();
                let a = tape.input(a.view()).watch();
                let next = model.next_state(1, tape.input(s.view()), a).sample(Key::new(5));
                let loss = (next.square() * 0.5 + next.cols(0, 1) * next.cols(1, 1)).sum();
                (loss.item(), tape.grad(loss, a).read(<[Real]>::to_vec))
            })
        };
        let (_, slope) = value(&a);
        let h = if size_of::<Real>() == 4 { 1e-2 } else { 1e-5 };
        for (i, &slope) in slope.iter().enumerate() {
            let at = [i / 3, i % 3];
            let here = a[at];
            let [above, below] = [here + h, here - h].map(|x| {
                a[at] = x;
                value(&a).0
            });
            a[at] = here;
            let want = (above - below) / (2.0 * h);
            assert!(
                abs_diff_eq!(slope, want, epsilon = 2e-2 * want.abs().max(0.1)),
                "{i}: {slope} where differences say {want}"
            );
        }
        assert!(slope.iter().any(|g| g.abs() > 1e-3), "a slope of nothing: {slope:?}");
    }

    #[test]
    #[should_panic(expected = "Frozen::predict: columns of what is given")]
    fn wrong_widths_are_named() {
        model(Direction::Forward).frozen(|model| {
            let x = model.tape().input(array![[1.0]].view());
            model.predict(0, x, x);
        });
    }
}
