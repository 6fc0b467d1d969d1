//! BCQ, batch-constrained Q-learning (Fujimoto, Meger & Precup, *Off-policy deep reinforcement learning without
//! exploration*, ICML 2019, arXiv:1812.02900): what the authors of ROMI train.
//!
//! | equation | code |
//! |---|---|
//! | (1) L(ω) = E[ MSE(D(s, z), a) ] + ½ KL(E(s, a) ∥ N(0, 1)) | [`BehaviourActorCritic::vae_step`] |
//! | (2) π′(s′): a_k = clip(ω(s′) + ξ′(s′, ω(s′))), k = 1 … n | [`candidates`] |
//! | (3) y = r + γ(1−d) max_k [ λ min_j Q′_j + (1−λ) max_j Q′_j ](s′, a_k) | [`Bcq::critic_step`] |
//! | (4) L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] | [`Bcq::critic_step`] |
//! | (5) L_ξ(φ) = −E[ Q₁(s, ω(s) + ξ(s, ω(s))) ] | [`Bcq::actor_step`] |
//!
//! Update order: (1), (3), (4), (5), then both targets by Polyak; every update, as in the authors' code and in ROMI's.
//! The behaviour VAE ω is fitted to the same batch as everything else: with imagined rows in the batch, imagined
//! actions enter the support (ROMI, arXiv:2110.00188, §3.2).
//!
//! Acting draws `act_samples` candidates and takes the best by Q₁. Without a key the candidates come from one fixed
//! draw, so that the action is a function of the observation.

use crate::blocks::{
    behaviour::latents,
    behaviour_actor_critic::{BehaviourActorCritic, Nets, Sizes},
    candidates::{act_by_best, normal},
    transition::{Transition, sizes},
    value::{bellman_error, soft_clipped},
};
use backcast_core::{
    Algorithm, Batch, COUNT, ConfigError, FRACTION, Key, Learner, Metrics, NON_NEGATIVE, POSITIVE,
    Policy, Problem, Real, SHARE, Spec, hyperparameters,
};
use backcast_nn::{
    Activation, HIDDEN, Init, LATENT_BOUND, Mlp, Precision, Shape, Store, Vae, Var, state,
};
use ndarray::{ArrayView2, ArrayViewMut2};

hyperparameters! {
    /// One field per symbol; defaults of the authors' continuous BCQ, which ROMI keeps.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Weight λ of the smaller critic against the larger.
        lambda: Real = 0.75, SHARE;
        /// Bound φ of the perturbation, in units of the action limit.
        phi: Real = 0.05, NON_NEGATIVE;
        /// Weight of the KL term of the VAE (averaged over latent dimensions).
        kl_weight: Real = 0.5, NON_NEGATIVE;
        /// Candidates n at s′.
        target_samples: usize = 10, COUNT;
        /// Candidates when acting.
        act_samples: usize = 100, COUNT;
        /// Polyak rate of the targets.
        tau: Real = 0.005, FRACTION;
        /// Learning rate of the VAE.
        vae_lr: Real = 1e-3, POSITIVE;
        /// Learning rate of ξ.
        actor_lr: Real = 1e-3, POSITIVE;
        /// Learning rate of Q.
        critic_lr: Real = 1e-3, POSITIVE;
        /// Updates over which every learning rate falls to zero on a half cosine; 0, as in the paper, keeps them constant.
        lr_decay_steps: u64 = 0;
        /// Whether critics have layer normalisation between sums and activations; ours, off in the paper.
        layer_norm: bool = false;
        /// Units of the hidden layers of actor and critics.
        hidden: Vec<usize> = vec![400, 300], HIDDEN;
        /// Units of the hidden layers of the VAE's two halves.
        vae_hidden: Vec<usize> = vec![750, 750], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
    }
}

impl Algorithm for Config {
    const NAME: &str = "bcq";
    const PAPER: &str = "Fujimoto, Meger & Precup, Off-policy deep reinforcement learning without exploration, \
                                 arXiv:1812.02900";
    const SOURCE: &str = include_str!("bcq.rs");
    const ACTS_BY_CANDIDATES: bool = true;
    type Learner = Bcq;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Bcq, ConfigError> {
        self.check()?;
        let spec = problem.into().spec;
        let sizes_of = Sizes::new(&self.vae_hidden, &self.hidden, self.precision);
        let sizes_of = Sizes { layer_norm: self.layer_norm, ..sizes_of };
        let dims = sizes(spec.obs + spec.act, &self.hidden, spec.act);
        let actor = |store: &mut Store| {
            let actor = Mlp::new(store, "actor", &dims, 1, Activation::Relu, Init::FanIn, key);
            actor.with_output(Activation::Tanh)
        };
        let core = BehaviourActorCritic::new(spec, sizes_of, key, actor);
        Ok(Bcq { config: self.clone(), core })
    }
}

/// Q-learning over actions that a model of the behaviour policy proposes.
pub struct Bcq {
    config: Config,
    core: BehaviourActorCritic<Mlp>,
}

// ANCHOR: candidates
/// (2)  a = clip(D(s, z) + φ·limit·tanh(ξ(s, D(s, z))), ±limit),   z ~ N(0, 1) held in ±½: one candidate per row of `s`
fn candidates<'t>(vae: Vae, actor: Mlp, phi: Real, limit: Real, s: Var<'t>, z: Var<'t>) -> Var<'t> {
    let proposal = vae.decode(s, z).detach();
    (proposal + actor.forward(s.cat(proposal)) * (phi * limit)).clamp(-limit, limit)
}
// ANCHOR_END: candidates

impl Bcq {
    // ANCHOR: critic_step
    /// (3)  y = r + γ(1−d) max_k [ λ min_j Q′_j + (1−λ) max_j Q′_j ](s′, a_k)
    /// (4)  L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ]
    fn critic_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let &Config { gamma, lambda, phi, target_samples: n, .. } = &self.config;
        let BehaviourActorCritic { spec, store, nets, critic_adam, .. } = &mut self.core;
        let limit = spec.act_limit;
        critic_adam.minimise_with(store, |tape| {
            let y = tape.no_grad(|tape| {
                let Transition { r, s2, alive, .. } = Transition::on(tape, batch);
                let s2 = s2.repeat_rows(n);
                let z = latents(nets.vae, s2, key);
                let a2 = candidates(nets.vae, nets.actor_target, phi, limit, s2, z);
                let q = soft_clipped(nets.critic_target.forward(s2.cat(a2)), lambda);
                r + alive * q.reshape(Shape::new(1, batch.len(), n)).max_cols() * gamma
            });
            let Transition { s, a, .. } = Transition::on(tape, batch);
            bellman_error(nets.critic, s, a, y)
        })
    }
    // ANCHOR_END: critic_step

    // ANCHOR: actor_step
    /// (5)  L_ξ(φ) = −E[ Q₁(s, ω(s) + ξ(s, ω(s))) ]
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> Real {
        let phi = self.config.phi;
        let BehaviourActorCritic { spec, store, nets, actor_adam, .. } = &mut self.core;
        let limit = spec.act_limit;
        actor_adam.minimise(store, |tape| {
            let s = tape.input(batch.obs);
            let z = latents(nets.vae, s, key);
            let a = candidates(nets.vae, nets.actor, phi, limit, s, z);
            -nets.critic.forward_member(s.cat(a), 0).mean()
        })
    }
    // ANCHOR_END: actor_step
}

impl Learner for Bcq {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let Config { vae_lr, actor_lr, critic_lr, lr_decay_steps, kl_weight, .. } = self.config;
        self.core.set_rates(vae_lr, actor_lr, critic_lr, lr_decay_steps);
        let vae_loss = self.core.vae_step(batch, kl_weight, key.name("vae"));
        let (critic_loss, q) = self.critic_step(batch, key.name("target"));
        let actor_loss = self.actor_step(batch, key.name("actor"));
        self.core.update_targets(self.config.tau);
        [("vae_loss", vae_loss), ("critic_loss", critic_loss), ("actor_loss", actor_loss), ("q", q)]
            .into()
    }
    // ANCHOR_END: update
}

impl Policy for Bcq {
    fn spec(&self) -> Spec {
        self.core.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let Nets { vae, actor, critic, .. } = self.core.nets;
        let &Config { phi, act_samples: n, .. } = &self.config;
        let limit = self.core.spec.act_limit;
        act_by_best(&mut self.core.store, n, obs, key, act, |tape, obs, key| {
            let s = tape.input(obs).repeat_rows(n);
            let z = normal(tape, obs.nrows(), n, vae.latent(), key);
            let a = candidates(vae, actor, phi, limit, s, z.clamp(-LATENT_BOUND, LATENT_BOUND));
            [a, critic.forward_member(s.cat(a), 0)]
        });
    }
}

state!(Bcq: core);
