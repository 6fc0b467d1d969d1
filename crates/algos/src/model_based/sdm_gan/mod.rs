//! SDM-GAN, stationary distributions matched by an adversary (Yang, Feng, Zhang & Zhou, ICML 2022, arXiv:2206.07166, *Regularizing
//! a model-based policy stationary distribution to stabilize offline reinforcement learning*): a policy that is a net of the
//! state and of noise seeks values, and is held to go where the log goes: pairs of states and its actions, one step of a model further
//! too, must not be told from pairs of the log.
//!
//! | equation | code |
//! |---|---|
//! | (1) a = limit·tanh u, u = f(s, ε), ε ~ N(0, 1) held in ±3 | `Implicit` |
//! | (2) y = clip(r) + γ(1−d)·Q̄′, Q̄′ = (1/K) Σ_k [ λ min_j Q′_j + (1−λ) max_j Q′_j ](s′+ξ_k, π′(s′+ξ_k, ε_k)), 0 where beyond ±2000 | [`SdmGan::targets`] |
//! | (3) L_Q(θ) = Σ_j E[ huber(Q_j(s,a) − y) ], followed where it is below ϑ | [`SdmGan::critic_step`] |
//! | (4) F = {(s̃, ũ)} ∪ {(s̃′, ũ′)}, s̃′ one step of the model from (s̃, ã); s̃ = s + ξ of a mixed batch | [`SdmGan::play`] |
//! | (5) L_D: pairs of the log against F, by [`Divergence`] | [`SdmGan::discriminator_step`] |
//! | (6) L_G: what makes F resemble the log | `divergence` |
//! | (7) L_π(φ) = L_G − α/Q̂·E[ min_j Q_j(s, π(s,ε)) ], at first L_G alone | [`SdmGan::policy_step`] |
//! | (8) ϑ ← 0.95·ϑ + 0.05·(mean + 3·std) of the losses (3) of an epoch | `Guard` |
//! | (9) D_model ← roll-outs of π, h steps long, from states of the log, rewarded as the model says | [`SdmGan::imagine`](Imagines::imagine) |
//! | (10) p(e) = min(1, max(1 − 0.1·⌊(e − w − 1)/5⌋, ½)), the share of real rows in epoch e, w the epochs of the warm start | [`Config::real_share`] |
//!
//! Order: (9) before the first update and every [`Rollouts::every`] after it; in an update (2) and (3), (4), (7) in every second
//! update, (5) with F as it was before (7), then both targets by Polyak and Q̂ ← (1−τ)·Q̂ + τ·E[ |min_j Q_j| ]; (8) at the end
//! of an epoch. In the warm start the critics rest, and everything else goes on: targets, Q̂, ϑ.
//!
//! **Three batches in one.** An update needs a mixed batch for (2), (3) and (7), another for (4), and as many pairs of the log as *F*
//! has. All come in the one batch of an update, and are told apart by place: half of its rows are the pairs of the log, the
//! others the two mixed batches. The authors' 512 rows are a batch of 2048 here, and [`Imagines::real_share`] says (1 + p)/2.
//!
//! As in the authors' code: *u* are actions before their tanh, those of the log by atanh, held 10⁻⁷ inside the box; no gradient
//! passes through the model; what it predicts that is no number is taken as no change; rows that end are left out of *F*; labels
//! of the log are drawn from [0.8, 1); K − 1 of the states in (2) have noise and one has none; optimisers of π and D
//! have β₁ = 0.4; Q̂ begins at the first batch; leaky ReLU everywhere. The Wasserstein form is theirs too. Not from it: episodes end where the world's
//! termination says so, where theirs is a logit that is learnt; *F* is paired with the log's rows as they come, and not
//! shuffled first; a policy has one dimension of noise at least; Q̂ is held above 10⁻⁶; the MMD form is ours, after what the
//! paper says of other divergences. In the authors' roll-outs (9) every chain takes the first chain's action, by an assignment
//! that unpacks a tensor; here each takes its own.
//!
//! **The model** is the ensemble that all learners share, where theirs is fitted in its own way: targets are standardised too,
//! batches have 128 rows, each a fresh bootstrap, 8,092 rows are held out, the patience is ten epochs, and weight decay is Adam's, on
//! biases as well. Elites are those of the smallest squared error in standardised units, as here: their code unpacks likelihoods and
//! errors in the wrong order, so that what it calls `holdout_errors` are likelihoods and what it chooses by are the errors. As in their
//! code, nothing is charged for what the model doubts in (9), and nothing cut.

use crate::{
    blocks::candidates::{ROWS_AT_ONCE, best, normal},
    model_based::imagination::{Imagination, ensemble},
};
use backcast_core::{
    Batch, Key, Learner, Metrics, Policy, Real, RolloutSummary, Rollouts, Sink, Slot, Source, Spec,
    State, Termination, under,
};
use backcast_nn::{Adam, BLOCK_ROWS, Mlp, Parameterised, Shape, Store, Tape, Var, polyak};
use divergence::{Compared, climb, discrepancy, fool, jensen_shannon, wasserstein};
use guard::Guard;
use implicit::{Acting, Implicit, NOISE_BOUND};
use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use played::{Order, Played};
use rows::{Parts, Rows};

mod config;
mod divergence;
mod guard;
mod implicit;
mod played;
mod rows;

pub use config::Config;
pub use divergence::Divergence;

/// β₁ of the optimisers of π and D: two that chase each other should not have long memories.
pub const BETA1: Real = 0.4;

/// Handles of every net.
#[derive(Clone, Copy)]
struct Nets {
    actor: Implicit,
    actor_target: Implicit,
    critic: Mlp,
    critic_target: Mlp,
    /// Of two of the three divergences.
    discriminator: Option<Mlp>,
}

/// A policy of noise that goes where the log goes, and there for what pays.
pub struct SdmGan {
    config: Config,
    store: Store,
    nets: Nets,
    actor_adam: Adam,
    critic_adam: Adam,
    discriminator_adam: Option<Adam>,
    imagination: Imagination,
    termination: Termination,
    /// Bounds of rewards in (2).
    rewards: (Real, Real),
    guard: Guard,
    /// Q̂; 0 before the first update.
    size: Real,
    updates: u64,
    work: Work,
}

/// What is computed before the tapes that learn from it. It grows once.
#[derive(Default)]
struct Work {
    /// Normal numbers behind ξ and ε of (2), `[rows·(K − 1), obs]` and `[rows·K, noise]`.
    shifts: Vec<Real>,
    epsilon: Vec<Real>,
    /// Targets (2), `[rows]`.
    y: Vec<Real>,
    played: Played,
}

/// Q of recorded actions less y, and E[ Q ].
fn errors<'t>(
    critic: Mlp,
    tape: Tape<'t>,
    batch: &Batch<'_>,
    rows: &Rows,
    y: &[Real],
) -> (Var<'t>, Real) {
    let q = critic.forward(rows.of(tape, batch.obs).cat(rows.of(tape, batch.act)));
    (q - tape.column(y), q.mean().item())
}

/// x²/2 as far as δ, from there on δ·(|x| − δ/2).
fn huber(x: Var<'_>, delta: Real) -> Var<'_> {
    let held = x.clamp(-delta, delta);
    held * (x - held * 0.5)
}

/// u of recorded actions: atanh(a/limit), a/limit held 10⁻⁷ inside (−1, 1).
fn undone(a: Var<'_>, limit: Real) -> Var<'_> {
    let a = (a * limit.recip()).clamp(-1.0 + 1e-7, 1.0 - 1e-7);
    ((a + 1.0).ln() - (-a + 1.0).ln()) * 0.5
}

/// min_j Q_j(s, π(s, ε))
fn own_value<'t>(nets: Nets, s: Var<'t>, key: Key) -> Var<'t> {
    nets.critic.forward(s.cat(nets.actor.sample(s, key))).min_members()
}

impl SdmGan {
    /// Whether the critics rest.
    fn warming_up(&self) -> bool {
        self.updates / self.config.epoch < self.config.warm_start
    }

    // ANCHOR: targets
    /// (2)  y = clip(r) + γ(1−d)·Q̄′,   Q̄′ = (1/K) Σ_k [ λ min_j Q′_j + (1−λ) max_j Q′_j ](s′+ξ_k, π′(s′+ξ_k, ε_k))
    ///
    /// The last ξ_k is 0. A few states at a time: with all their actions they are as many rows as the inner caches hold.
    fn targets(&mut self, batch: &Batch<'_>, rows: &Rows, key: Key) {
        let (Nets { actor_target, critic_target, .. }, obs) = (self.nets, batch.spec.obs);
        let &Config {
            gamma, lambda, target_samples: k, state_noise, noise_clip, value_bound, ..
        } = &self.config;
        let Work { shifts, epsilon, y, .. } = &mut self.work;
        let tape = self.store.tape_without_history();
        tape.normal(Shape::new(1, rows.len() * (k - 1), obs), key.name("states")).copy_into(shifts);
        tape.normal(Shape::new(1, rows.len() * k, actor_target.noise), key.name("actions"))
            .copy_into(epsilon);
        y.clear();
        let (at_once, mut left) = ((BLOCK_ROWS / k).max(1), rows.iter());
        while y.len() < rows.len() {
            let states = at_once.min(rows.len() - y.len());
            let tape = self.store.tape_without_history();
            let shifts = &shifts[y.len() * (k - 1) * obs..];
            let s2 = tape.fill(Shape::new(1, states * k, obs), |out| {
                for (state, out) in out.chunks_exact_mut(k * obs).enumerate() {
                    let s2 = batch.next_obs.row(left.next().expect("as many as were counted"));
                    out.chunks_exact_mut(obs)
                        .for_each(|out| out.iter_mut().zip(s2).for_each(|(out, &x)| *out = x));
                    let shifts = &shifts[state * (k - 1) * obs..][..(k - 1) * obs];
                    let shifted = out.iter_mut().zip(shifts);
                    shifted
                        .for_each(|(x, z)| *x += (state_noise * z).clamp(-noise_clip, noise_clip));
                }
            });
            let epsilon =
                &epsilon[y.len() * k * actor_target.noise..][..states * k * actor_target.noise];
            let epsilon = tape.fill(Shape::new(1, states * k, actor_target.noise), |out| {
                out.copy_from_slice(epsilon)
            });
            let epsilon = epsilon.clamp(-NOISE_BOUND, NOISE_BOUND);
            let a2 = actor_target.bounded(actor_target.before_tanh(s2, epsilon));
            let q = critic_target.forward(s2.cat(a2));
            let q = q.min_members() * lambda + q.max_members() * (1.0 - lambda);
            q.reshape(Shape::new(1, states, k)).mean_cols().read(|q| y.extend_from_slice(q));
        }
        let (least, greatest) = self.rewards;
        for (y, row) in y.iter_mut().zip(rows.iter()) {
            // A comparison that NaN fails, so that it is seen.
            let value = if y.abs() >= value_bound { 0.0 } else { *y };
            let (r, alive) = (batch.reward[[row, 0]], 1.0 - batch.terminal[[row, 0]]);
            let r = if r < least { least } else { r };
            let r = if r > greatest { greatest } else { r };
            *y = r + gamma * alive * value;
        }
    }
    // ANCHOR_END: targets

    // ANCHOR: critic_step
    /// (3)  L_Q(θ) = Σ_j E[ huber(Q_j(s,a) − y) ]; a step where it is below ϑ, none in the warm start
    fn critic_step(&mut self, batch: &Batch<'_>, rows: &Rows, key: Key) -> (Real, Real) {
        self.targets(batch, rows, key);
        let (critic, delta, y) = (self.nets.critic, self.config.huber, &self.work.y);
        let (errors_now, q) = errors(critic, self.store.tape_without_history(), batch, rows, y);
        let loss = (huber(errors_now, delta).mean() * 2.0).item();
        if !self.warming_up() && loss < self.guard.threshold {
            let y = &self.work.y;
            self.critic_adam.minimise(&mut self.store, |tape| {
                huber(errors(critic, tape, batch, rows, y).0, delta).mean() * 2.0
            });
        }
        self.guard.note(loss);
        (loss, q)
    }
    // ANCHOR_END: critic_step

    // ANCHOR: play
    /// (4)  F = {(s̃, ũ)} ∪ {(s̃′, ũ′)},   s̃ = s + ξ, ũ = f(s̃, ε), s̃′ one step of the model from (s̃, ã), ũ′ = f(s̃′, ε′)
    fn play(&mut self, batch: &Batch<'_>, rows: &Rows, key: Key) {
        let (actor, n, Spec { obs, act, .. }) = (self.nets.actor, rows.len(), batch.spec);
        let &Config { state_noise, noise_clip, .. } = &self.config;
        let Played { states, epsilon, actions, weights, asked, taken, elite, z } =
            &mut self.work.played;
        let tape = self.store.tape_without_history();
        let s = rows.of(tape, batch.obs);
        let s = s
            + (tape.normal(s.shape(), key.name("shift")) * state_noise)
                .clamp(-noise_clip, noise_clip);
        let noise = actor.epsilon(s, key.name("action"));
        let u = actor.before_tanh(s, noise);
        [(s, &mut *states), (noise, epsilon), (u, actions), (actor.bounded(u), taken)]
            .into_iter()
            .for_each(|(x, out)| x.copy_into(out));
        tape.uniform(Shape::new(1, n, 1), 0.0, 1.0, key.name("elite")).copy_into(elite);
        tape.normal(Shape::new(1, n, obs), key.name("state")).copy_into(z);
        weights.clear();
        weights.extend(rows.iter().map(|row| 1.0 - batch.terminal[[row, 0]]));

        let Imagination { dynamics, scaler, .. } = &mut self.imagination;
        let model = ensemble(&mut **dynamics).expect("checked when it was built");
        asked.clear();
        asked.extend_from_slice(states);
        scaler.to_model(asked);
        let view = |x| ArrayView2::from_shape((n, x_width(x, n)), x).expect("dense");
        let said = model.predict_elites([view(asked), view(taken)]);
        let elites = said.mean.len_of(Axis(0));
        for row in 0..n {
            let member = ((elite[row] * elites as Real) as usize).min(elites - 1);
            let (s, a) = (&asked[row * obs..][..obs], &taken[row * act..][..act]);
            // The reward first, the state last.
            let first = said.mean.len_of(Axis(2)) - obs;
            for (col, &s) in s.iter().enumerate() {
                let at = [member, row, first + col];
                let s2 = said.mean[at] + said.std[at] * z[row * obs + col];
                states.push(if s2.is_finite() { s2 } else { s });
            }
            let s2 = &states[(n + row) * obs..];
            let ends = (self.termination)(s, a, s2);
            weights.push(if ends { 0.0 } else { weights[row] });
        }
        scaler.to_learner(&mut states[n * obs..]);
        let total = weights.iter().sum::<Real>();
        weights.iter_mut().filter(|w| **w > 0.0).for_each(|w| *w /= total);

        let tape = self.store.tape_without_history();
        let s2 = tape.fill(Shape::new(1, n, obs), |out| out.copy_from_slice(&states[n * obs..]));
        let noise = actor.epsilon(s2, key.name("next action"));
        noise.read(|x| epsilon.extend_from_slice(x));
        actor.before_tanh(s2, noise).read(|x| actions.extend_from_slice(x));
    }
    // ANCHOR_END: play

    /// In which order rows of F are read, where `truth` rows are there to compare with.
    fn order(&self, truth: usize) -> Order {
        let grouped = self.config.divergence == Divergence::Mmd;
        Order::of(self.work.played.weights.len(), truth, grouped.then_some(self.config.mmd_samples))
    }

    /// Whether there is anything in F, and anything to compare it with.
    fn comparable(&self, parts: &Parts) -> bool {
        parts.truth.len() > 0 && self.work.played.weights.iter().any(|&w| w > 0.0)
    }

    // ANCHOR: policy_step
    /// (7)  L_π(φ) = L_G − α/Q̂·E[ min_j Q_j(s, π(s,ε)) ]; at first L_G alone. Where no step is due Q̂ moves all the same.
    fn policy_step(&mut self, batch: &Batch<'_>, parts: &Parts, key: Key) -> Option<Real> {
        let (nets, Spec { obs, .. }, warming_up) = (self.nets, batch.spec, self.warming_up());
        let &Config { alpha, divergence, kernel, sigma, tau, .. } = &self.config;
        let (order, comparable) = (self.order(parts.truth.len()), self.comparable(parts));
        let Played { states, epsilon, weights, .. } = &self.work.played;
        let scale = |size: Real, mean: Real| if size == 0.0 { mean } else { size }.max(1e-6);
        let (loss, mean) = if self.updates.is_multiple_of(self.config.policy_period) {
            let size = self.size;
            let (loss, mean) = self.actor_adam.minimise_with(&mut self.store, |tape| {
                let q = own_value(nets, parts.values.of(tape, batch.obs), key);
                let mean = q.abs().mean().item();
                let resemble = if comparable {
                    let s = order.read(tape, states, obs);
                    let u = nets.actor.before_tanh(s, order.read(tape, epsilon, nets.actor.noise));
                    let (fake, weight) = (s.cat(u), order.read(tape, weights, 1));
                    match (divergence, nets.discriminator) {
                        (Divergence::JensenShannon, Some(d)) => fool(d, fake, weight),
                        (Divergence::Wasserstein, Some(d)) => climb(d, fake, weight),
                        _ => {
                            let real = pairs(tape, batch, &parts.truth).rows(0, order.rows);
                            discrepancy(Compared { real, fake, weight }, order.group, kernel, sigma)
                        }
                    }
                } else {
                    tape.scalar(0.0)
                };
                let loss = match warming_up {
                    true => resemble,
                    false => resemble - q.mean() * (alpha / scale(size, mean)),
                };
                (loss, mean)
            });
            (Some(loss), mean)
        } else {
            let tape = self.store.tape_without_history();
            (None, own_value(nets, parts.values.of(tape, batch.obs), key).abs().mean().item())
        };
        self.size = (1.0 - tau) * scale(self.size, mean) + tau * mean;
        loss
    }
    // ANCHOR_END: policy_step

    // ANCHOR: discriminator_step
    /// (5)  L_D, with F as it was played. Also the gradient penalty, of the divergence that has one.
    fn discriminator_step(
        &mut self,
        batch: &Batch<'_>,
        parts: &Parts,
        key: Key,
    ) -> Option<(Real, Option<Real>)> {
        if !self.comparable(parts) {
            return None;
        }
        let (order, Spec { obs, act, .. }) = (self.order(parts.truth.len()), batch.spec);
        let &Config { divergence, label, gradient_penalty, .. } = &self.config;
        let Played { states, actions, weights, .. } = &self.work.played;
        let (d, adam) = self.nets.discriminator.zip(self.discriminator_adam.as_mut())?;
        Some(adam.minimise_with(&mut self.store, |tape| {
            let fake = order.read(tape, states, obs).cat(order.read(tape, actions, act));
            let weight = order.read(tape, weights, 1);
            let compared = Compared { real: pairs(tape, batch, &parts.truth), fake, weight };
            if divergence == Divergence::JensenShannon {
                return (jensen_shannon(d, compared, label, key), None);
            }
            let (loss, penalty) = wasserstein(d, compared, gradient_penalty, key);
            (loss, Some(penalty.item()))
        }))
    }
    // ANCHOR_END: discriminator_step
}

/// (s, u) of rows of the log.
fn pairs<'t>(tape: Tape<'t>, batch: &Batch<'_>, rows: &Rows) -> Var<'t> {
    rows.of(tape, batch.obs).cat(undone(rows.of(tape, batch.act), batch.spec.act_limit))
}

/// The width of `rows` dense rows.
fn x_width(x: &[Real], rows: usize) -> usize {
    x.len() / rows.max(1)
}

impl Learner for SdmGan {
    fn rollouts(&self) -> Option<&Rollouts> {
        Some(&self.config.rollouts)
    }

    fn real_share(&self) -> Option<Real> {
        Some((1.0 + self.config.real_share(self.updates)) / 2.0)
    }

    // ANCHOR: imagine
    /// (9)  h steps of π from states of the log, rewarded as the model says
    fn imagine(&mut self, dataset: &dyn Source, key: Key, sink: &mut dyn Sink) -> RolloutSummary {
        let Self { store, nets, imagination, .. } = self;
        let mut policy = Acting { spec: imagination.dynamics.spec(), store, actor: nets.actor };
        imagination.roll(&mut policy, dataset, key, sink)
    }
    // ANCHOR_END: imagine

    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let parts = Parts::of(&batch);
        let (critic_loss, q) = self.critic_step(&batch, &parts.values, key.name("target"));
        self.play(&batch, &parts.starts, key.name("play"));
        let actor_loss = self.policy_step(&batch, &parts, key.name("policy"));
        let told = self.discriminator_step(&batch, &parts, key.name("discriminator"));
        polyak(&mut self.store, &self.nets.critic_target, &self.nets.critic, self.config.tau);
        polyak(&mut self.store, &self.nets.actor_target.net, &self.nets.actor.net, self.config.tau);
        self.updates += 1;
        if self.updates.is_multiple_of(self.config.epoch) {
            self.guard.end_epoch();
        }
        let mut metrics = Metrics::from([("critic_loss", critic_loss), ("q", q)]);
        metrics.put("q_size", self.size).put("threshold", self.guard.threshold);
        let (told, penalty) = told.map_or((None, None), |(loss, penalty)| (Some(loss), penalty));
        let some = [
            ("actor_loss", actor_loss),
            ("discriminator_loss", told),
            ("gradient_penalty", penalty),
        ];
        some.into_iter()
            .filter_map(|(name, x)| Some((name, x?)))
            .for_each(|(name, x)| _ = metrics.put(name, x));
        metrics
    }
    // ANCHOR_END: update
}

/// Acts with the best by Q₁ of some draws.
impl Policy for SdmGan {
    fn spec(&self) -> Spec {
        self.imagination.dynamics.spec()
    }

    fn act(
        &mut self,
        obs: ArrayView2<'_, Real>,
        key: Option<Key>,
        mut act: ArrayViewMut2<'_, Real>,
    ) {
        let (Nets { actor, critic, .. }, n) = (self.nets, self.config.act_samples);
        let size = ROWS_AT_ONCE;
        let blocks =
            obs.axis_chunks_iter(Axis(0), size).zip(act.axis_chunks_iter_mut(Axis(0), size));
        for (block, (obs, act)) in blocks.enumerate() {
            let tape = self.store.tape_without_history();
            let s = tape.input(obs);
            let epsilon =
                normal(tape, obs.nrows(), n, actor.noise, key.map(|key| key.fold(block as u64)));
            let a = actor.bounded(actor.before_tanh(s, epsilon.clamp(-NOISE_BOUND, NOISE_BOUND)));
            best(a, critic.forward_member(s.repeat_rows(n).cat(a), 0), n, act);
        }
    }
}

/// The model is not part of it: it never changes.
impl State for SdmGan {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.store.visit(f);
        under("actor_adam", &mut self.actor_adam, f);
        under("critic_adam", &mut self.critic_adam, f);
        if let Some(adam) = &mut self.discriminator_adam {
            under("discriminator_adam", adam, f);
        }
        f("threshold", Slot::Tensor(&[1], std::slice::from_mut(&mut self.guard.threshold)));
        f("epoch_losses", Slot::Tensor(&[3], &mut self.guard.losses));
        f("q_size", Slot::Tensor(&[1], std::slice::from_mut(&mut self.size)));
        f("updates", Slot::Count(&mut self.updates));
    }
}

impl Parameterised for SdmGan {
    fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}

#[cfg(test)]
mod tests;
