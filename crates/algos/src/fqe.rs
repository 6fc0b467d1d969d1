//! FQE, fitted Q evaluation (Le, Voloshin & Yue, *Batch policy learning under constraints*, ICML 2019,
//! arXiv:1903.08738): what would a given policy earn, by the dataset alone? For choosing among trained policies without
//! trying them (Paine et al., arXiv:2007.09055; compared with other estimators by Voloshin et al., arXiv:1911.06854).
//!
//! | equation | code |
//! |---|---|
//! | (1) y_j = r + γ(1−d) Q′_j(s′, π(s′)) | [`Fqe::update`] |
//! | (2) L_Q(θ) = Σ_j E[ (Q_j(s,a) − y_j)² ] | [`Fqe::update`] |
//! | (3) V̂ = E[ Q_j(s₀, π(s₀)) ] over initial states | [`Fqe::value`] |
//!
//! It is the critic's half of an agent with a policy that stays as it is. Nothing is maximised, so nothing is chosen
//! for being overestimated; but a policy that leaves the dataset is still judged by extrapolation, and the estimate is
//! of the *discounted* return. Trust its order more than its size: `backcast-stats` has the rank correlation and the
//! regret of choosing by it.
//!
//! Each critic of the ensemble has a target of its own: they are N independent estimates, and their spread says how
//! much the nets decide. The paper fits Q anew in each round; a slowly moving target, as in all agents here, does the
//! same.

use crate::blocks::transition::{Transition, sizes};
use backcast_core::{
    Batch, COUNT, ConfigError, FRACTION, Key, Metrics, POSITIVE, Policy, Problem, Real, SHARE,
    Spec, hyperparameters,
};
use backcast_nn::{Activation, Adam, HIDDEN, Init, Mlp, Precision, Store, polyak, state};
use ndarray::{Array2, ArrayView2};

/// The text of this file, whose head says what it computes.
pub const SOURCE: &str = include_str!("fqe.rs");

hyperparameters! {
    /// One field per symbol; the nets are those of the agents.
    pub struct Config {
        /// Discount γ. The estimate is of the return discounted by it.
        gamma: Real = 0.99, SHARE;
        /// Independent critics N.
        critics: usize = 2, COUNT;
        /// Whether the policy is asked for samples and not for its deterministic action.
        sampled: bool = false;
        /// Polyak rate of the target critics.
        tau: Real = 0.005, FRACTION;
        /// Learning rate of Q.
        critic_lr: Real = 3e-4, POSITIVE;
        /// Whether critics have layer normalisation between sums and activations: it keeps extrapolation in bounds.
        layer_norm: bool = true;
        /// Units of the hidden layers.
        hidden: Vec<usize> = vec![256, 256], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
    }
}

impl Config {
    /// An evaluator for transitions of `spec`, its parameters drawn by `key`.
    pub fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Fqe, ConfigError> {
        self.check()?;
        let spec = problem.into().spec;
        let mut store = Store::in_precision(self.precision);
        let dims = sizes(spec.obs + spec.act, &self.hidden, 1);
        let critic =
            Mlp::new(&mut store, "critic", &dims, self.critics, Activation::Relu, Init::FanIn, key);
        let critic = critic.with_layer_norm(self.layer_norm);
        let critic_target = critic.duplicate(&mut store, "critic_target");
        let critic_adam = Adam::new(critic.range(), self.critic_lr);
        let act = Array2::zeros((0, spec.act));
        Ok(Fqe { spec, config: self.clone(), store, critic, critic_target, critic_adam, act })
    }
}

/// The value of one policy, learnt from a dataset of others.
pub struct Fqe {
    spec: Spec,
    config: Config,
    store: Store,
    critic: Mlp,
    critic_target: Mlp,
    critic_adam: Adam,
    /// What the policy does in the states asked about, `[rows, act]`.
    act: Array2<Real>,
}

impl Fqe {
    /// Asks the policy, into `self.act`.
    fn ask(&mut self, policy: &mut dyn Policy, obs: ArrayView2<'_, Real>, key: Key) {
        if self.act.nrows() != obs.nrows() {
            self.act = Array2::zeros((obs.nrows(), self.spec.act));
        }
        policy.act(obs, self.config.sampled.then_some(key), self.act.view_mut());
    }

    // ANCHOR: update
    /// (1)  y_j = r + γ(1−d) Q′_j(s′, π(s′))
    /// (2)  L_Q(θ) = Σ_j E[ (Q_j(s,a) − y_j)² ]
    ///
    /// `policy` sees observations as the batch has them: one that carries a normaliser of its own wants them raw.
    pub fn update(&mut self, batch: Batch<'_>, policy: &mut dyn Policy, key: Key) -> Metrics {
        self.ask(policy, batch.next_obs, key);
        let (critic, target, act) = (self.critic, self.critic_target, self.act.view());
        let &Config { gamma, critics, .. } = &self.config;
        let (critic_loss, q) = self.critic_adam.minimise_with(&mut self.store, |tape| {
            let y = tape.no_grad(|tape| {
                let Transition { r, s2, alive, .. } = Transition::on(tape, batch);
                r + alive * target.forward(s2.cat(tape.input(act))) * gamma
            });
            let Transition { s, a, .. } = Transition::on(tape, batch);
            let q = critic.forward(s.cat(a));
            ((q - y).square().mean() * critics as Real, q.mean().item())
        });
        polyak(&mut self.store, &self.critic_target, &self.critic, self.config.tau);
        [("critic_loss", critic_loss), ("q", q)].into()
    }
    // ANCHOR_END: update

    // ANCHOR: value
    /// (3)  V̂_j = E[ Q_j(s₀, π(s₀)) ] over the rows of `initial`, `[rows, obs]`: one estimate for each critic
    pub fn values(
        &mut self,
        initial: ArrayView2<'_, Real>,
        policy: &mut dyn Policy,
        key: Key,
    ) -> Vec<f64> {
        self.ask(policy, initial, key);
        let tape = self.store.tape();
        let q = self.critic.forward(tape.input(initial).cat(tape.input(self.act.view())));
        let rows = initial.nrows();
        q.read(|q| {
            q.chunks_exact(rows)
                .map(|q| q.iter().map(|&q| q as f64).sum::<f64>() / rows as f64)
                .collect()
        })
    }
    // ANCHOR_END: value

    /// The mean of [`values`](Fqe::values) over the critics.
    pub fn value(
        &mut self,
        initial: ArrayView2<'_, Real>,
        policy: &mut dyn Policy,
        key: Key,
    ) -> f64 {
        let values = self.values(initial, policy, key);
        values.iter().sum::<f64>() / values.len() as f64
    }
}

state!(Fqe: store, critic_adam);

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Slot, Source, State, Transitions, fingerprint, restore, snapshot};
    use ndarray::{ArrayViewMut2, array};

    /// Two states, 0 and 1. The sign of the action chooses the next one; state 1 pays 1. Optionally entering 0 from 1
    /// ends.
    fn rows(ends: bool) -> Transitions {
        let mut rows = Transitions::new(Spec::new(1, 1));
        for i in 0..400 {
            let (s, a) = ((i % 2) as Real, Key::new(1).fold(i).unit() * 2.0 - 1.0);
            let next = if a > 0.0 { 1.0 } else { 0.0 };
            rows.push(&[s], &[a], s, &[next], ends && s == 1.0 && next == 0.0);
        }
        rows
    }

    /// The same action always, or, asked for a sample, either with probability ½.
    struct Always(Real);

    impl Policy for Always {
        fn spec(&self) -> Spec {
            Spec::new(1, 1)
        }

        fn act(
            &mut self,
            _: ArrayView2<'_, Real>,
            key: Option<Key>,
            mut act: ArrayViewMut2<'_, Real>,
        ) {
            for (i, a) in act.iter_mut().enumerate() {
                *a = key.map_or(self.0, |key| if key.below(2, i) == 0 { 0.8 } else { -0.8 });
            }
        }
    }

    fn evaluated(config: Config, rows: &Transitions, act: Real) -> [f64; 2] {
        let small =
            Config { hidden: vec![32, 32], critic_lr: 2e-3, tau: 0.05, gamma: 0.9, ..config };
        let mut fqe = small.build(rows.spec(), Key::new(2)).expect("a sound configuration");
        let mut staging = Transitions::new(rows.spec());
        for step in 0..2500 {
            let key = Key::new(3).fold(step);
            fqe.update(rows.sample(key.name("rows"), 128, &mut staging), &mut Always(act), key);
        }
        [0.0, 1.0].map(|s| {
            let states = Array2::from_elem((256, 1), s);
            fqe.value(states.view(), &mut Always(act), Key::new(4))
        })
    }

    /// γ = 0.9: going to 1 and staying earns γ/(1−γ) = 9 from 0 and 10 from 1; going to 0 earns 0 and 1; either at
    /// random earns V₀ = γ(V₀+V₁)/2 and V₁ = 1 + V₀, so V₀ = 4.5.
    #[test]
    fn values_are_those_of_the_chain() {
        let close = |got: [f64; 2], want: [f64; 2]| {
            assert!(
                got.iter().zip(want).all(|(g, w)| (g - w).abs() < 0.35),
                "{got:?} is not {want:?}"
            );
        };
        close(evaluated(Config::default(), &rows(false), 0.8), [9.0, 10.0]);
        close(evaluated(Config::default(), &rows(false), -0.8), [0.0, 1.0]);
        close(
            evaluated(Config { sampled: true, ..Config::default() }, &rows(false), 0.0),
            [4.5, 5.5],
        );
        // Where the way back ends everything, staying is worth the same and leaving 1: its reward, nothing after.
        close(evaluated(Config::default(), &rows(true), 0.8), [9.0, 10.0]);
        close(
            evaluated(
                Config { critics: 3, layer_norm: false, ..Config::default() },
                &rows(true),
                -0.8,
            ),
            [0.0, 1.0],
        );
    }

    /// One update by hand: what each critic and its own target say before it, and where the targets are after it.
    #[test]
    fn each_critic_is_held_to_its_own_target() {
        let rows = rows(true);
        let config =
            Config { critics: 3, gamma: 0.9, tau: 0.25, hidden: vec![8], ..Config::default() };
        let mut fqe = config.build(rows.spec(), Key::new(9)).expect("a sound configuration");
        fqe.visit(&mut |name, slot| {
            if let (true, Slot::Tensor(_, values)) = (name.starts_with("critic_target"), slot) {
                values
                    .iter_mut()
                    .enumerate()
                    .for_each(|(i, x)| *x = 1.5 * *x + 0.1 * (i % 3) as Real);
            }
        });
        let batch = rows.batch();
        let next = Array2::from_elem(batch.act.dim(), 0.8);
        let tape = fqe.store.tape();
        let says = |net: Mlp, s: ArrayView2<'_, Real>, a: ArrayView2<'_, Real>| {
            net.forward(tape.input(s).cat(tape.input(a))).read(<[Real]>::to_vec)
        };
        let q = says(fqe.critic, batch.obs, batch.act);
        let q2 = says(fqe.critic_target, batch.next_obs, next.view());
        let square = |at: usize| {
            let row = at % batch.len();
            let y = batch.reward[[row, 0]] + 0.9 * (1.0 - batch.terminal[[row, 0]]) * q2[at];
            (q[at] - y).powi(2) as f64
        };
        let want = (0..q.len()).map(square).sum::<f64>() / batch.len() as f64;
        assert_eq!(q.len(), 3 * batch.len());
        let tensors = |fqe: &mut Fqe, of: &str| {
            let mut all = Vec::new();
            fqe.visit(&mut |name, slot| match slot {
                Slot::Tensor(_, values) if name.starts_with(of) => all.extend_from_slice(values),
                _ => {}
            });
            all
        };
        let before = tensors(&mut fqe, "critic_target.");
        let metrics = fqe.update(batch, &mut Always(0.8), Key::new(10));
        let got = metrics.get("critic_loss").expect("a metric") as f64;
        assert!((got / want - 1.0).abs() < 1e-5, "{got} is not {want}");
        let (after, now) = (tensors(&mut fqe, "critic_target."), tensors(&mut fqe, "critic."));
        assert!(!now.is_empty() && now.len() == after.len());
        for ((before, after), now) in before.iter().zip(&after).zip(&now) {
            assert!(
                (after - (0.75 * before + 0.25 * now)).abs() < 1e-6,
                "from {before} to {after}, at {now}"
            );
        }
    }

    #[test]
    fn estimates_are_independent_restorable_and_checked() {
        let rows = rows(false);
        let config = Config { hidden: vec![8], critics: 3, ..Config::default() };
        let [mut a, mut b] = [5, 6]
            .map(|key| config.build(rows.spec(), Key::new(key)).expect("a sound configuration"));
        let run = |fqe: &mut Fqe, steps: std::ops::Range<u64>| {
            for step in steps {
                fqe.update(rows.batch(), &mut Always(0.8), Key::new(7).fold(step));
            }
        };
        run(&mut a, 0..5);
        restore(&mut b, &snapshot(&mut a)).expect("the same tensors");
        run(&mut a, 5..9);
        run(&mut b, 5..9);
        assert_eq!(fingerprint(&mut a), fingerprint(&mut b));
        let values = a.values(array![[0.0], [1.0]].view(), &mut Always(0.8), Key::new(8));
        assert!(
            values.len() == 3 && values[0] != values[1] && values[1] != values[2],
            "{values:?}"
        );
        let refused =
            |config: Config, field| assert_eq!(config.check().expect_err(field).field, field);
        refused(Config { gamma: Real::NAN, ..Config::default() }, "gamma");
        refused(Config { tau: 0.0, ..Config::default() }, "tau");
        refused(Config { critic_lr: Real::INFINITY, ..Config::default() }, "critic_lr");
        refused(Config { critics: 0, ..Config::default() }, "critics");
        refused(Config { hidden: vec![], ..Config::default() }, "hidden");
    }
}
