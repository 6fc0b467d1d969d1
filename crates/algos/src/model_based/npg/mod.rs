//! NPG, the natural policy gradient (Kakade, NIPS 2001) as in Rajeswaran, Lowrey, Todorov & Kakade (NeurIPS 2017,
//! arXiv:1703.02660), on whole trajectories in the pessimistic MDP of [`morel`](crate::morel): what the authors of MOReL
//! (Kidambi et al., NeurIPS 2020, arXiv:2005.05951) optimise with.
//!
//! | equation | code |
//! |---|---|
//! | (0) L(φ) = E[ ‖μ_φ(s) − a‖² ] on rows of the log, at first | [`Npg::cloning_step`] |
//! | (1) paths of π_φ: a = limit·clip(u), u ~ N(μ_φ(s), σ²), in the p-MDP of every member, from first states of the log | [`Npg::imagine`](Imagines::imagine) |
//! | (2) A by GAE(λ) from the value V; A ← (A − mean)/deviation | `paths.rs` |
//! | (3) g = ∇_φ E[ A·ln π_φ(u∣s) ] | [`Npg::policy_gradient`] |
//! | (4) F·v = E[ Jᵀ·σ⁻²·(J·v) ] + damping·v for μ, J = ∂μ/∂φ, and (2 + damping)·v for ln σ | [`Npg::fisher_product`] |
//! | (5) F·x = g by conjugate gradients; φ ← φ + α·x, α = √(δ/gᵀx); ln σ ← max(ln σ, least) | [`Npg::natural_step`] |
//! | (6) L(ψ) = E[ (V_ψ(s) − (A + V(s)))² ] | [`Npg::value_step`] |
//!
//! **How it fits learners from batches.** It is on-policy: one *iteration* is (1) to (6). [`Imagines::imagine`] is (1), and the next
//! [`Learner::update`] is (2) to (6) on those paths; it looks at no row of its batch. The first [`Config::warm_start`] updates are
//! (0) on the batch's real rows. So whoever trains it needs no word of this, and a run of `warm_start` + 500 updates is the
//! authors' 500 iterations. An update after the warm start for which nothing was imagined does nothing.
//!
//! F is the Gauss–Newton form of the second derivative of KL(π_old ∥ π), and equal to it at π_old: for a Gaussian whose σ does not
//! depend on the state there is no other term. J·v goes forwards through the net beside μ, Jᵀ backwards once: two thirds of the work
//! of differentiating KL twice, with no cancellation, and never indefinite.
//!
//! Defaults are those of most of the authors' configurations; theirs for hopper-medium has 20 iterations of conjugate gradients, not
//! 25. As in their code (`mjrl`): tanh policy, σ apart from the state, last layer near zero at first, step normalised by δ, whole
//! paths for each member. Not from it: V sees the state alone, not the time, so its targets are λ-returns that bootstrap where a path is
//! cut off (theirs stop there, and the value after the last step is that of the last state); the net says (1 − γ)·V, which has
//! the size of a reward; members are probabilistic, and their means are taken ([`Config::sampling`]); HALT is absorbing
//! ([`Config::absorbing`]); nothing picks a policy by its return in the environment. Actions are in units of their limit.

use crate::{
    blocks::transition::sizes,
    model_based::imagination::ensemble,
    model_based::morel::{Pessimism, visit_halt},
};
use actor::Actor;
use backcast_core::{
    Algorithm, Batch, COUNT, Column, ConfigError, Dynamics, Imagined, Key, Learner, Metrics,
    NON_NEGATIVE, ObsScaler, POSITIVE, Policy, Problem, Real, RolloutSummary, Rollouts, SHARE,
    Sampling, Sink, Slot, Source, Spec, State, Transitions, WorldModel, choices, hyperparameters,
    under,
};
use backcast_imagination::{Halt, ImagineConfig, Imaginer};
use backcast_nn::{Activation, Adam, HIDDEN, Init, Mlp, Parameterised, Precision, Shape, Store};
use backcast_penalties::{Penalty, is_unknown};
use conjugate::{conjugate_gradients, dot};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, Slice};
use paths::{Paths, SingleMember, Starts};

mod actor;
mod conjugate;
mod paths;

/// Rows differentiated at once. Fixed, so that bits do not depend on anything else.
const TILE: usize = 4096;

choices! {
    /// In which members of the model paths are imagined.
    pub enum Members {
        /// In every one.
        #[default]
        Every,
        /// In the elites.
        Elites,
    }
}

hyperparameters! {
    /// One field per symbol; defaults of the authors' configuration for D4RL's hopper-medium.
    pub struct Config {
        /// The p-MDP.
        pessimism: Pessimism = Pessimism::default();
        /// Whether HALT is absorbing, as in the paper. If not, as in the authors' code: a path is cut after its first step into the unknown
        /// (but not before its fourth), that step earns what the model says, and the value goes on behind the cut.
        absorbing: bool = true;
        /// Paths for each member and iteration.
        paths: usize = 50, COUNT;
        /// Steps of a path.
        horizon: usize = 700, COUNT.unit("steps");
        /// In which members.
        members: Members = Members::Every;
        /// The share of paths that start from random states of the log; the others start where its episodes did.
        random_starts: Real = 0.0, SHARE;
        /// What is taken from a member's Gaussian. The authors' members are deterministic.
        sampling: Sampling = Sampling::Mean;
        /// Discount γ, below 1.
        gamma: Real = 0.999, SHARE;
        /// λ of GAE.
        lambda: Real = 0.97, SHARE;
        /// δ, the size of a step: gᵀx·α² = δ, about twice the KL divergence between two policies.
        step: Real = 0.02, POSITIVE;
        /// The most that KL(π_old ∥ π) may be: α is halved until it is no more, as in TRPO (Schulman et al., arXiv:1502.05477). None, as
        /// in the authors' code, takes the step as it is. Where paths are few, one step in ten goes a hundred times too far.
        kl_bound: Option<Real> = None, POSITIVE;
        /// Iterations of conjugate gradients.
        iterations: usize = 25, COUNT;
        /// What is added to the diagonal of F.
        damping: Real = 1e-3, POSITIVE;
        /// ln σ at the start, σ in units of the action limit.
        log_std: Real = -0.25;
        /// The least ln σ; −2 in the configuration for hopper-v3.
        min_log_std: Real = -1.0;
        /// Units of the policy's hidden layers.
        hidden: Vec<usize> = vec![64, 64], HIDDEN;
        /// Updates of behaviour cloning before the first iteration: 5 epochs of a million rows.
        warm_start: u64 = 20_000;
        /// Learning rate of cloning.
        actor_lr: Real = 1e-3, POSITIVE;
        /// Units of the value's hidden layers.
        value_hidden: Vec<usize> = vec![128, 128], HIDDEN;
        /// Learning rate of V.
        value_lr: Real = 1e-3, POSITIVE;
        /// Coefficient of ½‖W‖² in V's loss.
        value_weight: Real = 1e-3, NON_NEGATIVE;
        /// Rows of a step of V.
        value_batch: usize = 256, COUNT;
        /// Passes over the paths for V in an iteration.
        value_epochs: usize = 1, COUNT;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
    }
    together(config) {
        ConfigError::unless(config.gamma < 1.0, "gamma", "is 1; a path has no end, and its value no bound")
    }
}

impl Algorithm for Config {
    const NAME: &str = "npg";
    const PAPER: &str =
        "Kidambi et al., MOReL: model-based offline reinforcement learning, arXiv:2005.05951";
    const SOURCE: &str = include_str!("mod.rs");
    const USES_MODEL: bool = true;
    type Learner = Npg;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Npg, ConfigError> {
        self.check()?;
        let mut problem = problem.into();
        let WorldModel { mut dynamics, termination, scaler } = problem.take_model()?;
        let initial = problem.dataset.initial.take().filter(|rows| !rows.is_empty());
        let why = "leaves paths that start where episodes do; give `Evidence::initial`, or 1 to start anywhere";
        ConfigError::unless(initial.is_some() || self.random_starts == 1.0, "random_starts", why)?;
        let halt = self.pessimism.halt(
            &mut *dynamics,
            &problem.dataset,
            self.gamma,
            key.name("threshold"),
        )?;
        let (spec, model) = (problem.spec, ensemble(&mut *dynamics)?);
        let mut store = Store::in_precision(self.precision);
        let actor = Actor::new(&mut store, spec, self, key);
        let dims = sizes(spec.obs, &self.value_hidden, 1);
        let value = Mlp::new(&mut store, "value", &dims, 1, Activation::Relu, Init::FanIn, key);
        let actor_adam = Adam::new(actor.net.range(), self.actor_lr);
        let value_adam = Adam::new(value.range(), self.value_lr);
        let value_adam =
            value.layers().fold(value_adam, |adam, layer| adam.with_l2(layer, self.value_weight));
        let members = match self.members {
            Members::Every => (0..model.members()).collect(),
            Members::Elites => model.elites().to_vec(),
        };
        // Where the cut is not absorbing doubt is measured all the same, but the model is followed.
        let halting = if self.absorbing { halt } else { Halt { threshold: Real::MAX, ..halt } };
        let config = ImagineConfig {
            horizon: self.horizon,
            starts_per_call: self.paths,
            sampling: self.sampling,
            halt: Some(halting),
            ..ImagineConfig::default()
        };
        let imaginer = Imaginer::new(config, termination, self.pessimism.penalty.build())?;
        let chains = self.paths * members.len();
        let (horizon, sampling) = (self.horizon, self.sampling);
        let after = Rollouts { every: 1, starts: chains, horizon, keep: 1, real: 1.0, sampling };
        let cloning = Rollouts { every: self.warm_start.max(1), horizon: 1, ..after.clone() };
        Ok(Npg {
            config: self.clone(),
            store,
            actor,
            value,
            actor_adam,
            value_adam,
            cloned: 0,
            halt,
            rollouts: [cloning, after],
            rollout_state: RolloutState {
                dynamics,
                scaler,
                imaginer,
                initial,
                members,
                seen: Vec::new(),
                clipped: Vec::new(),
                act: Vec::new(),
            },
            paths: Paths::new(spec, chains, self.horizon),
            scratch: Scratch::default(),
        })
    }
}

/// The p-MDP and what it takes to ask it.
struct RolloutState {
    dynamics: Box<dyn Dynamics>,
    scaler: ObsScaler,
    imaginer: Imaginer<Box<dyn Penalty>>,
    initial: Option<Transitions>,
    members: Vec<usize>,
    seen: Vec<Real>,
    clipped: Vec<Real>,
    act: Vec<Real>,
}

/// Numbers that an iteration works with; they grow to the size of the largest.
#[derive(Default)]
struct Scratch {
    value: Vec<Real>,
    next_value: Vec<Real>,
    /// μ of each row before the step.
    mean: Vec<Real>,
    order: Vec<usize>,
    gradient: Vec<Real>,
    solution: Vec<Real>,
    product: Vec<Real>,
    residual: Vec<Real>,
    direction: Vec<Real>,
    /// φ before the step.
    old: Vec<Real>,
}

/// A policy that climbs in a world of its own, at whose borders everything ends badly.
pub struct Npg {
    config: Config,
    store: Store,
    actor: Actor,
    value: Mlp,
    actor_adam: Adam,
    value_adam: Adam,
    /// Updates of cloning done.
    cloned: u64,
    halt: Halt,
    /// While it clones, and after.
    rollouts: [Rollouts; 2],
    rollout_state: RolloutState,
    paths: Paths,
    scratch: Scratch,
}

/// π as paths ask it: states in the model's units, actions not clipped.
struct Sampler<'a> {
    spec: Spec,
    actor: &'a Actor,
    store: &'a mut Store,
    obs_scaler: &'a ObsScaler,
    seen: &'a mut Vec<Real>,
}

impl Policy for Sampler<'_> {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        self.seen.clear();
        self.seen.extend(obs.iter());
        self.obs_scaler.to_learner(self.seen);
        let seen = ArrayView2::from_shape(obs.dim(), self.seen.as_slice()).expect("dense");
        let pi = self.actor.at(self.store.tape().input(seen));
        let u = key.map_or(pi.mean, |key| pi.sample(key));
        (u * self.actor.limit).write_to(act);
    }
}

impl Npg {
    /// τ, and what HALT is worth.
    pub fn halt(&self) -> Halt {
        self.halt
    }

    /// Whether cloning is over.
    fn is_warm(&self) -> bool {
        self.cloned >= self.config.warm_start
    }

    // ANCHOR: cloning_step
    /// (0)  L(φ) = E[ ‖μ_φ(s) − a‖² ]
    fn cloning_step(&mut self, batch: Batch<'_>) -> Real {
        let (net, limit, real) = (self.actor.net, self.actor.limit, Slice::from(..batch.real));
        self.actor_adam.minimise(&mut self.store, |tape| {
            let s = tape.input(batch.obs.slice_axis(Axis(0), real));
            let a = tape.input(batch.act.slice_axis(Axis(0), real));
            (net.forward(s) - a * limit.recip()).square().mean()
        })
    }
    // ANCHOR_END: cloning_step

    // ANCHOR: policy_gradient
    /// (3)  g = ∇_φ E[ A·ln π_φ(u∣s) ]
    fn policy_gradient(&mut self) {
        let Self { store, actor, paths, scratch, .. } = self;
        let (range, rows) = (actor.range(), paths.chain.len());
        scratch.gradient.clear();
        scratch.gradient.resize(range.len(), 0.0);
        scratch.mean.clear();
        for (first, tile) in tiles(rows) {
            let (tape, batch) = (store.tape(), paths.rows.rows(first, tile));
            let pi = actor.at(tape.input(batch.obs));
            let advantage = tape.column(&paths.advantage[first..first + tile]);
            let gain =
                (advantage * pi.log_prob(tape.input(batch.act))).sum() * (rows as Real).recip();
            tape.add_grad_params(gain, range.clone(), &mut scratch.gradient);
            pi.mean.read(|mean| scratch.mean.extend_from_slice(mean));
        }
    }
    // ANCHOR_END: policy_gradient

    // ANCHOR: fisher_product
    /// (4)  F·v = E[ Jᵀ·σ⁻²·(J·v) ] + damping·v for μ, (2 + damping)·v for ln σ
    fn fisher_product(
        store: &mut Store,
        actor: &Actor,
        rows: &Transitions,
        damping: Real,
        v: &[Real],
        out: &mut [Real],
    ) {
        let nets = actor.net.range();
        let (mean, log_std) = out.split_at_mut(nets.len());
        mean.fill(0.0);
        for (first, tile) in tiles(rows.len()) {
            let tape = store.tape();
            let [mu, moved] = actor.tangent(tape.input(rows.rows(first, tile).obs), v);
            let variance =
                (tape.parameter(actor.log_std, Shape::new(1, 1, actor.acts())) * 2.0).exp();
            let weight = (moved / variance * (rows.len() as Real).recip()).detach();
            tape.add_grad_params((mu * weight).sum(), nets.clone(), mean);
        }
        log_std.iter_mut().zip(&v[nets.len()..]).for_each(|(out, v)| *out = 2.0 * v);
        out.iter_mut().zip(v).for_each(|(out, v)| *out += damping * v);
    }
    // ANCHOR_END: fisher_product

    // ANCHOR: natural_step
    /// (5)  F·x = g;   φ ← φ + α·x,  α = √(δ/gᵀx);   ln σ ← max(ln σ, least)
    ///
    /// Returns α and KL(π_old ∥ π).
    fn natural_step(&mut self) -> [Real; 2] {
        let Self { store, actor, paths, scratch, config, .. } = self;
        let Scratch { gradient, solution, product, residual, direction, old, .. } = scratch;
        product.resize(gradient.len(), 0.0);
        let fisher = |v: &[Real], out: &mut [Real]| {
            Self::fisher_product(store, actor, &paths.rows, config.damping, v, out);
        };
        conjugate_gradients(
            fisher,
            gradient,
            config.iterations,
            [solution, product, residual, direction],
        );
        let range = actor.range();
        old.clear();
        old.extend_from_slice(&store.params()[range.clone()]);
        let mut size =
            (config.step as f64 / (dot(gradient, solution).abs() + 1e-20)).sqrt() as Real;
        loop {
            let Self { store, actor, scratch: Scratch { old, solution, .. }, config, .. } = self;
            let params = &mut store.params_mut()[range.clone()];
            params
                .iter_mut()
                .zip(&*old)
                .zip(&*solution)
                .for_each(|((p, old), x)| *p = old + size * x);
            let at = params.len() - actor.acts();
            params[at..].iter_mut().for_each(|x| *x = x.max(config.min_log_std));
            let (kl, bound) = (self.divergence(), self.config.kl_bound);
            if bound.is_none_or(|bound| kl <= bound) || size < 1e-12 {
                return [size, kl];
            }
            size *= 0.5;
        }
    }
    // ANCHOR_END: natural_step

    // ANCHOR: value_step
    /// (6)  L(ψ) = E[ (V_ψ(s) − (A + V(s)))² ], V in units of a reward: (1 − γ)·V
    fn value_step(&mut self, key: Key) -> Real {
        let Self { store, value, value_adam, paths, scratch, config, .. } = self;
        let (net, scale, obs) = (*value, 1.0 - config.gamma, paths.rows.spec().obs);
        scratch.order.clear();
        scratch.order.extend(0..paths.chain.len());
        let (mut loss, mut steps) = (0.0, 0);
        for epoch in 0..config.value_epochs {
            key.fold(epoch as u64).shuffle(&mut scratch.order);
            for rows in scratch.order.chunks(config.value_batch) {
                loss += value_adam.minimise(store, |tape| {
                    let s = tape.fill(Shape::new(1, rows.len(), obs), |out| {
                        let each = rows.iter().zip(out.chunks_exact_mut(obs));
                        each.for_each(|(&row, out)| {
                            out.copy_from_slice(paths.rows.row(Column::Obs, row))
                        });
                    });
                    let y = tape.fill(Shape::new(1, rows.len(), 1), |out| {
                        rows.iter()
                            .zip(out)
                            .for_each(|(&row, out)| *out = scale * paths.target[row]);
                    });
                    (net.forward(s) - y).square().mean()
                }) as f64;
                steps += 1;
            }
        }
        (loss / steps as f64) as Real
    }
    // ANCHOR_END: value_step

    /// V(s) and V(s′) of every row.
    fn evaluate(&mut self) {
        let Self { store, value, paths, scratch, config, .. } = self;
        let scale = (1.0 - config.gamma).recip();
        for (column, out) in
            [(Column::Obs, &mut scratch.value), (Column::NextObs, &mut scratch.next_value)]
        {
            out.clear();
            for (first, tile) in tiles(paths.chain.len()) {
                let v = value
                    .forward(store.tape().input(paths.rows.rows(first, tile).column(column)))
                    * scale;
                v.read(|v| out.extend_from_slice(v));
            }
        }
    }

    /// KL(π_old ∥ π): the old μ is what the gradient left, the old ln σ what the step did.
    fn divergence(&mut self) -> Real {
        let Self { store, actor, paths, scratch, .. } = self;
        let (acts, mut sum) = (actor.acts(), 0.0);
        let old = &scratch.old[scratch.old.len() - acts..];
        for (first, tile) in tiles(paths.chain.len()) {
            let tape = store.tape();
            let pi = actor.at(tape.input(paths.rows.rows(first, tile).obs));
            let mean = tape.fill(Shape::new(1, tile, acts), |out| {
                out.copy_from_slice(&scratch.mean[first * acts..][..tile * acts]);
            });
            let old = tape.fill(Shape::new(1, 1, acts), |out| out.copy_from_slice(old));
            let spread = (old * 2.0).exp() + (mean - pi.mean).square();
            let kl = spread * (pi.log_std * -2.0).exp() * 0.5 + pi.log_std - old - 0.5;
            sum += kl.sum().item() as f64;
        }
        (sum / paths.chain.len() as f64) as Real
    }

    // ANCHOR: iteration
    /// (2) to (6) on the paths imagined last.
    fn iteration(&mut self, key: Key) -> Metrics {
        self.evaluate();
        self.paths.estimate(
            &self.scratch.value,
            &self.scratch.next_value,
            self.config.gamma,
            self.config.lambda,
        );
        self.paths.normalise();
        self.policy_gradient();
        let [step, kl] = self.natural_step();
        let value_loss = self.value_step(key);
        // ANCHOR_END: iteration
        let chains = self.paths.chains() as Real;
        let total: f64 = self.paths.rows.values(Column::Reward).iter().map(|&r| r as f64).sum();
        let log_std = &self.store.params()[self.actor.log_std..self.actor.range().end];
        [
            ("path_return", total as Real / chains),
            ("path_length", self.paths.chain.len() as Real / chains),
            ("paths_halted", self.paths.cuts() as Real / chains),
            ("kl", kl),
            ("step", step),
            ("value_loss", value_loss),
            ("log_std", log_std.iter().sum::<Real>() / log_std.len() as Real),
        ]
        .into()
    }
}

impl Learner for Npg {
    fn rollouts(&self) -> Option<&Rollouts> {
        Some(&self.rollouts[self.is_warm() as usize])
    }

    // ANCHOR: imagine
    /// (1)  Paths of π in the p-MDP of every member. While it clones, one step of each.
    fn imagine(&mut self, dataset: &dyn Source, key: Key, sink: &mut dyn Sink) -> RolloutSummary {
        let (horizon, limit) = (self.rollouts[self.is_warm() as usize].horizon, self.actor.limit);
        let Self { store, actor, rollout_state, paths, config, halt, .. } = self;
        let RolloutState { dynamics, scaler, imaginer, initial, members, seen, clipped, act } =
            rollout_state;
        imaginer.config.horizon = horizon;
        let starts = Starts { initial: initial.as_ref(), dataset, random: config.random_starts };
        let mut total = RolloutSummary::default();
        paths.clear();
        for (i, &member) in members.iter().enumerate() {
            let mut policy =
                Sampler { spec: dynamics.spec(), actor, store, obs_scaler: scaler, seen };
            let mut world_model =
                SingleMember { model: &mut **dynamics, member: [member], clipped };
            let mut stored = RolloutSummary::default();
            let mut take = |t: Imagined<'_>| {
                let unknown = is_unknown(t.penalty, halt.threshold);
                if paths.take(t, i * config.paths + t.chain, unknown, scaler) {
                    stored.stored += 1;
                    stored.terminal += t.terminal as usize;
                    stored.halted += unknown as usize;
                    act.clear();
                    act.extend(t.act.iter().map(|a| a.clamp(-limit, limit)));
                    sink.take(Imagined { act: act.as_slice(), ..t });
                }
            };
            let own = imaginer.imagine(
                &mut world_model,
                &starts,
                &mut policy,
                key.fold(member as u64),
                &mut take,
            );
            total.started += own.started;
            total.not_finite += own.not_finite;
            total.stored += stored.stored;
            total.terminal += stored.terminal;
            total.halted += stored.halted;
        }
        total
    }
    // ANCHOR_END: imagine

    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let mut metrics = Metrics::default();
        if !self.is_warm() {
            self.cloned += 1;
            if batch.real > 0 {
                metrics.put("cloning_loss", self.cloning_step(batch));
            }
        } else if !self.paths.chain.is_empty() {
            metrics = self.iteration(key.name("value"));
        }
        self.paths.clear();
        metrics
    }
}

/// Acts with μ, or, given a key, with a sample; clipped to the box either way.
impl Policy for Npg {
    fn spec(&self) -> Spec {
        self.paths.rows.spec()
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let pi = self.actor.at(self.store.tape().input(obs));
        let u = key.map_or(pi.mean, |key| pi.sample(key));
        (u.clamp(-1.0, 1.0) * self.actor.limit).write_to(act);
    }
}

/// The model is not part of it, which never changes; nor are paths, which the update after them forgets.
impl State for Npg {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.store.visit(f);
        under("actor_adam", &mut self.actor_adam, f);
        under("value_adam", &mut self.value_adam, f);
        f("cloned", Slot::Count(&mut self.cloned));
        visit_halt(&mut self.halt, f);
        if let (true, Some(halting)) =
            (self.config.absorbing, &mut self.rollout_state.imaginer.config.halt)
        {
            *halting = self.halt;
        }
    }
}

impl Parameterised for Npg {
    fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}

/// (first row, rows) of each tile of `rows`.
fn tiles(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).step_by(TILE).map(move |first| (first, TILE.min(rows - first)))
}

#[cfg(test)]
mod tests;
