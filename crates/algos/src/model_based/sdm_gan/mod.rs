//! SDM-GAN, stationary distributions matched by an adversary (Yang, Feng, Zhang & Zhou, ICML 2022, *Regularizing a
//! model-based policy stationary distribution to stabilize offline reinforcement learning*, arXiv:2206.07166): a policy
//! that is a net of the state and of noise seeks values, and is held to the dataset's state-action distribution: pairs
//! of states and its actions, one step of a model further too, must not be told from pairs of the dataset.
//!
//! | equation | code |
//! |---|---|
//! | (1) a = limit·tanh u, u = f(s, ε), ε ~ N(0, 1) held in ±3 | `Implicit` |
//! | (2) y = clip(r) + γ(1−d)·Q̄′, Q̄′ = (1/K) Σ_k [ λ min_j Q′_j + (1−λ) max_j Q′_j ](s′+ξ_k, π′(s′+ξ_k, ε_k)), 0 where beyond ±2000 | [`SdmGan::targets`], in `critics` |
//! | (3) L_Q(θ) = Σ_j E[ huber(Q_j(s,a) − y) ], followed where it is below ϑ | [`SdmGan::critic_step`], in `critics` |
//! | (4) F = {(s̃, ũ)} ∪ {(s̃′, ũ′)}, s̃′ one step of the model from (s̃, ã); s̃ = s + ξ of a mixed batch | [`SdmGan::play`], in `played` |
//! | (5) L_D: pairs of the dataset against F, by a [`Divergence`] | [`SdmGan::discriminator_step`], in `adversary` |
//! | (6) L_G: what makes F resemble the dataset | `resemblance`, in `adversary` |
//! | (7) L_π(φ) = L_G − α/Q̂·E[ min_j Q_j(s, π(s,ε)) ], at first L_G alone | [`SdmGan::policy_step`] |
//! | (8) ϑ ← 0.95·ϑ + 0.05·(mean + 3·std) of the losses (3) of an epoch | `Guard::end_epoch` |
//! | (9) D_model ← rollouts of π, h steps long, from states of the dataset, rewarded as the model says | [`SdmGan::imagine`](Learner::imagine) |
//! | (10) p(e) = min(1, max(1 − 0.1·⌊(e − w − 1)/5⌋, ½)), the share of real rows in epoch e, w the epochs of the warm start | [`Config::real_share`] |
//!
//! Order: (9) before the first update and every [`Rollouts::every`] after it; in an update (2) and (3), (4), (7) in
//! every second update, (5) with F as it was before (7), then both targets by Polyak and Q̂ ← (1−τ)·Q̂ + τ·E[ |min_j
//! Q_j| ]; (8) at the end of an epoch. In the warm start the critics rest, and everything else goes on: targets, Q̂, ϑ.
//!
//! **Three batches in one.** An update needs a mixed batch for (2), (3) and (7), another for (4), and as many pairs of
//! the dataset as *F* has. All come in the one batch of an update, and are told apart by place: half of its rows are
//! the pairs of the dataset, the others the two mixed batches. The authors' 512 rows are a batch of 2048 here, and
//! [`Learner::real_share`] says (1 + p)/2.
//!
//! As in the authors' code: *u* are actions before their tanh, those of the dataset by atanh, held 10⁻⁷ inside the box;
//! no gradient passes through the model; what it predicts that is no number is taken as no change; rows that end are
//! left out of *F*; labels of the dataset are drawn from [0.8, 1); K − 1 of the states in (2) have noise and one has
//! none; optimisers of π and D have β₁ = 0.4; Q̂ begins at the first batch; leaky ReLU everywhere. The Wasserstein form
//! is theirs too. Not from it: episodes end where the environment's termination function says so, where theirs is a
//! logit that is learnt; *F* is paired with the dataset's rows as they come, and not shuffled first; a policy has one
//! dimension of noise at least; Q̂ is held above 10⁻⁶; the MMD form is ours, after what the paper says of other
//! divergences. In the authors' rollouts (9) every chain takes the first chain's action, by an assignment that unpacks
//! a tensor; here each takes its own.
//!
//! **The model** is the ensemble that all agents share, where theirs is fitted in its own way: targets are
//! standardised too, batches have 128 rows, each a fresh bootstrap, 8,092 rows are held out, the patience is ten
//! epochs, and weight decay is Adam's, on biases as well. Elites are those of the smallest squared error in
//! standardised units, as here: their code unpacks likelihoods and errors in the wrong order, so that what it calls
//! `holdout_errors` are likelihoods and what it chooses by are the errors. As in their code, nothing is penalised for
//! the model's uncertainty in (9), and nothing truncated.

use crate::model_based::imagination::Imagination;
use adversary::resemblance;
use backcast_core::{
    Batch, Key, Learner, Metrics, Real, RolloutSummary, Rollouts, Sink, Slot, Source, State,
    Termination, under,
};
use backcast_nn::{Adam, Mlp, Parameterised, Store, Var, polyak};
use critics::Work;
use guard::Guard;
use implicit::{Acting, Implicit};
use rows::Parts;

mod adversary;
mod config;
mod critics;
mod divergence;
mod guard;
mod implicit;
mod played;
mod rows;

pub use config::{BETA1, Config};
pub use divergence::Divergence;

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

/// A policy of noise that stays in the dataset's distribution, and seeks value there.
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

/// min_j Q_j(s, π(s, ε))
fn own_value<'t>(nets: Nets, s: Var<'t>, key: Key) -> Var<'t> {
    nets.critic.forward(s.cat(nets.actor.sample(s, key))).min_members()
}

impl SdmGan {
    /// Whether the critics rest.
    fn warming_up(&self) -> bool {
        self.updates / self.config.epoch < self.config.warm_start
    }

    // ANCHOR: policy_step
    /// (7)  L_π(φ) = L_G − α/Q̂·E[ min_j Q_j(s, π(s,ε)) ]; at first L_G alone. Where no step is due Q̂ moves all the same.
    fn policy_step(&mut self, batch: &Batch<'_>, parts: &Parts, key: Key) -> Option<Real> {
        let nets = self.nets;
        let warming_up = self.warming_up();
        let Self { config, store, actor_adam, work: Work { played, .. }, size, .. } = self;
        let scale = |size: Real, mean: Real| if size == 0.0 { mean } else { size }.max(1e-6);
        let (loss, mean) = if self.updates.is_multiple_of(config.policy_period) {
            let (loss, mean) = actor_adam.minimise_with(store, |tape| {
                let q = own_value(nets, parts.values.of(tape, batch.obs), key);
                let mean = q.abs().mean().item();
                let resemblance = resemblance(config, nets, played, tape, batch, &parts.truth);
                let gain = q.mean() * (config.alpha / scale(*size, mean));
                (if warming_up { resemblance } else { resemblance - gain }, mean)
            });
            (Some(loss), mean)
        } else {
            let s = parts.values.of(store.tape_without_history(), batch.obs);
            (None, own_value(nets, s, key).abs().mean().item())
        };
        *size = (1.0 - config.tau) * scale(*size, mean) + config.tau * mean;
        loss
    }
    // ANCHOR_END: policy_step
}

impl Learner for SdmGan {
    fn rollouts(&self) -> Option<&Rollouts> {
        Some(&self.config.rollouts)
    }

    fn real_share(&self) -> Option<Real> {
        Some((1.0 + self.config.real_share(self.updates)) / 2.0)
    }

    // ANCHOR: imagine
    /// (9)  h steps of π from states of the dataset, rewarded as the model says
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
        let discriminator_loss = told.map(|(loss, _)| loss);
        let penalty = told.and_then(|(_, penalty)| penalty);
        let some = [("actor_loss", actor_loss), ("discriminator_loss", discriminator_loss)];
        for (name, x) in some.into_iter().chain([("gradient_penalty", penalty)]) {
            x.into_iter().for_each(|x| _ = metrics.put(name, x));
        }
        metrics
    }
    // ANCHOR_END: update
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
        self.guard.visit(f);
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
