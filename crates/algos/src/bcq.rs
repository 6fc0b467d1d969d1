//! BCQ, batch-constrained Q-learning (Fujimoto, Meger & Precup, *Off-policy deep reinforcement learning without
//! exploration*, ICML 2019, arXiv:1812.02900): ROMI's own learner.
//!
//! | equation | code |
//! |---|---|
//! | (1) L(ω) = E[ MSE(D(s, z), a) ] + ½ KL(E(s, a) ∥ N(0, 1)) | [`Bcq::vae_step`] |
//! | (2) π′(s′): a_k = clip(ω(s′) + ξ′(s′, ω(s′))), k = 1 … n | [`candidates`] |
//! | (3) y = r + γ(1−d) max_k [ λ min_j Q′_j + (1−λ) max_j Q′_j ](s′, a_k) | [`Bcq::critic_step`] |
//! | (4) L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] | [`Bcq::critic_step`] |
//! | (5) L_ξ(φ) = −E[ Q₁(s, ω(s) + ξ(s, ω(s))) ] | [`Bcq::actor_step`] |
//!
//! Update order: (1), (3), (4), (5), then both targets by Polyak; every update, as in the authors' code and in ROMI's.
//! The behaviour VAE ω is fitted to the same batch as everything else: with imagined rows in the batch, imagined actions
//! enter the support (ROMI, arXiv:2110.00188, §3.2).
//!
//! Acting draws `act_samples` candidates and takes the best by Q₁. Without a key the candidates come from one fixed draw,
//! so that the action is a function of the observation.

use crate::blocks::{
    candidates::{ROWS_AT_ONCE, best, normal},
    transition::{Transition, sizes},
};
use backcast_core::{
    Algorithm, Batch, COUNT, ConfigError, FRACTION, Key, Learner, Metrics, NON_NEGATIVE, POSITIVE,
    Policy, Problem, Real, SHARE, Spec, hyperparameters,
};
use backcast_nn::{
    Activation, Adam, HIDDEN, Init, LATENT_BOUND, Mlp, Precision, Shape, Store, Vae, Var,
    clipped_normal, polyak, state,
};
use ndarray::{ArrayView2, ArrayViewMut2, Axis};

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
        let mut store = Store::in_precision(self.precision);
        let pair = spec.obs + spec.act;
        let vae = Vae::new(
            &mut store,
            "vae",
            spec.obs,
            spec.act,
            2 * spec.act,
            &self.vae_hidden,
            spec.act_limit,
            key,
        );
        let dims = |out| sizes(pair, &self.hidden, out);
        let actor =
            Mlp::new(&mut store, "actor", &dims(spec.act), 1, Activation::Relu, Init::FanIn, key);
        let actor = actor.with_output(Activation::Tanh);
        let critic =
            Mlp::new(&mut store, "critic", &dims(1), 2, Activation::Relu, Init::FanIn, key);
        let critic = critic.with_layer_norm(self.layer_norm);
        let actor_target = actor.duplicate(&mut store, "actor_target");
        let critic_target = critic.duplicate(&mut store, "critic_target");
        let vae_adam = Adam::new(vae.range(), self.vae_lr);
        let actor_adam = Adam::new(actor.range(), self.actor_lr);
        let critic_adam = Adam::new(critic.range(), self.critic_lr);
        let nets = Nets { vae, actor, critic, actor_target, critic_target };
        Ok(Bcq { spec, config: self.clone(), store, nets, vae_adam, actor_adam, critic_adam })
    }
}

/// Handles of every net.
#[derive(Clone, Copy)]
struct Nets {
    vae: Vae,
    actor: Mlp,
    critic: Mlp,
    actor_target: Mlp,
    critic_target: Mlp,
}

/// Q-learning over actions that a behaviour model proposes.
pub struct Bcq {
    spec: Spec,
    config: Config,
    store: Store,
    nets: Nets,
    vae_adam: Adam,
    actor_adam: Adam,
    critic_adam: Adam,
}

// ANCHOR: candidates
/// (2)  a = clip(D(s, z) + φ·limit·tanh(ξ(s, D(s, z))), ±limit),   z ~ N(0, 1) held in ±½: one candidate per row of `s`
fn candidates<'t>(
    vae: Vae,
    actor: Mlp,
    bound: Real,
    limit: Real,
    s: Var<'t>,
    z: Var<'t>,
) -> Var<'t> {
    let proposal = vae.decode(s, z).detach();
    (proposal + actor.forward(s.cat(proposal)) * bound).clamp(-limit, limit)
}

/// One z for each row of `s`.
fn latents<'t>(vae: Vae, s: Var<'t>, key: Key) -> Var<'t> {
    clipped_normal(s.tape(), Shape::new(1, s.shape().rows, vae.latent()), key, LATENT_BOUND)
}
// ANCHOR_END: candidates

impl Bcq {
    // ANCHOR: vae_step
    /// (1)  L(ω) = E[ MSE(D(s, z), a) ] + ½ KL(E(s, a) ∥ N(0, 1)),   z ~ E(s, a)
    fn vae_step(&mut self, batch: Batch<'_>, key: Key) -> Real {
        let (vae, kl_weight) = (self.nets.vae, self.config.kl_weight);
        self.vae_adam.minimise(&mut self.store, |tape| {
            let Transition { s, a, .. } = Transition::on(tape, batch);
            vae.loss(s, a, kl_weight, key)
        })
    }
    // ANCHOR_END: vae_step

    // ANCHOR: critic_step
    /// (3)  y = r + γ(1−d) max_k [ λ min_j Q′_j + (1−λ) max_j Q′_j ](s′, a_k)
    /// (4)  L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ]
    fn critic_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let (nets, limit) = (self.nets, self.spec.act_limit);
        let &Config { gamma, lambda, phi, target_samples: n, .. } = &self.config;
        self.critic_adam.minimise_with(&mut self.store, |tape| {
            let y = tape.no_grad(|tape| {
                let Transition { r, s2, alive, .. } = Transition::on(tape, batch);
                let s2 = s2.repeat_rows(n);
                let a2 = candidates(
                    nets.vae,
                    nets.actor_target,
                    phi * limit,
                    limit,
                    s2,
                    latents(nets.vae, s2, key),
                );
                let q = nets.critic_target.forward(s2.cat(a2));
                let q = q.min_members() * lambda + q.max_members() * (1.0 - lambda);
                let best = q.reshape(Shape::new(1, batch.len(), n)).max_cols();
                r + alive * best * gamma
            });
            let Transition { s, a, .. } = Transition::on(tape, batch);
            let q = nets.critic.forward(s.cat(a));
            ((q - y).square().mean() * 2.0, q.mean().item())
        })
    }
    // ANCHOR_END: critic_step

    // ANCHOR: actor_step
    /// (5)  L_ξ(φ) = −E[ Q₁(s, ω(s) + ξ(s, ω(s))) ]
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> Real {
        let (nets, phi, limit) = (self.nets, self.config.phi, self.spec.act_limit);
        self.actor_adam.minimise(&mut self.store, |tape| {
            let s = tape.input(batch.obs);
            let a =
                candidates(nets.vae, nets.actor, phi * limit, limit, s, latents(nets.vae, s, key));
            -nets.critic.forward_member(s.cat(a), 0).mean()
        })
    }
    // ANCHOR_END: actor_step
}

impl Learner for Bcq {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let Config { vae_lr, actor_lr, critic_lr, lr_decay_steps, .. } = self.config;
        self.vae_adam.anneal(vae_lr, lr_decay_steps);
        self.actor_adam.anneal(actor_lr, lr_decay_steps);
        self.critic_adam.anneal(critic_lr, lr_decay_steps);
        let vae_loss = self.vae_step(batch, key.name("vae"));
        let (critic_loss, q) = self.critic_step(batch, key.name("target"));
        let actor_loss = self.actor_step(batch, key.name("actor"));
        polyak(&mut self.store, &self.nets.critic_target, &self.nets.critic, self.config.tau);
        polyak(&mut self.store, &self.nets.actor_target, &self.nets.actor, self.config.tau);
        [("vae_loss", vae_loss), ("critic_loss", critic_loss), ("actor_loss", actor_loss), ("q", q)]
            .into()
    }
    // ANCHOR_END: update
}

impl Policy for Bcq {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(
        &mut self,
        obs: ArrayView2<'_, Real>,
        key: Option<Key>,
        mut act: ArrayViewMut2<'_, Real>,
    ) {
        let (nets, n, limit) = (self.nets, self.config.act_samples, self.spec.act_limit);
        let bound = self.config.phi * limit;
        let blocks = obs
            .axis_chunks_iter(Axis(0), ROWS_AT_ONCE)
            .zip(act.axis_chunks_iter_mut(Axis(0), ROWS_AT_ONCE));
        for (block, (obs, act)) in blocks.enumerate() {
            let tape = self.store.tape();
            let s = tape.input(obs).repeat_rows(n);
            let key = key.map(|key| key.fold(block as u64));
            let z = normal(tape, obs.nrows(), n, nets.vae.latent(), key)
                .clamp(-LATENT_BOUND, LATENT_BOUND);
            let a = candidates(nets.vae, nets.actor, bound, limit, s, z);
            best(a, nets.critic.forward_member(s.cat(a), 0), n, act);
        }
    }
}

state!(Bcq: store, vae_adam, actor_adam, critic_adam);
