//! The hyperparameters of SDM-GAN, and how it is built.

use super::{Divergence, Guard, Implicit, Nets, SdmGan, Work};
use crate::{
    blocks::{mmd::Kernel, transition::sizes},
    model_based::imagination::{Imagination, ensemble},
};
use backcast_core::{
    Algorithm, COUNT, ConfigError, FRACTION, Key, NON_NEGATIVE, POSITIVE, Problem, Real, Rollouts,
    SHARE, hyperparameters,
};
use backcast_nn::{Activation, Adam, HIDDEN, Init, Mlp, Precision, Store};
use serde::Deserializer;

hyperparameters! {
    /// One field per symbol; defaults of the authors' code, those of the MMD ours.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Weight α of the value, in units of its own size, against resemblance. The authors' flag is called `log_lagrange`, and is α.
        alpha: Real = 10.0, NON_NEGATIVE;
        /// What F and the dataset are compared by.
        divergence: Divergence = Divergence::JensenShannon;
        /// The lowest label of rows of the dataset, for Jensen–Shannon.
        label: Real = 0.8, FRACTION;
        /// Weight of the gradient penalty, for Wasserstein.
        gradient_penalty: Real = 10.0, NON_NEGATIVE;
        /// k, for the MMD.
        kernel: Kernel = Kernel::Gaussian;
        /// Width of k, of the size of a squared (Gaussian) or plain (Laplacian) distance of two pairs *(s, u)*.
        sigma: Real = 20.0, POSITIVE;
        /// Pairs that are compared with one another: an MMD is taken of so many of each, and is averaged over the groups of a batch.
        mmd_samples: usize = 32, COUNT;
        /// Columns of ε; none is min(10, ⌊obs/2⌋), at least 1. The authors have 50 for about half of the datasets.
        noise_dim: Option<usize> = None, COUNT;
        /// Deviation of the noise ξ of states.
        state_noise: Real = 3e-4, NON_NEGATIVE;
        /// Bound of ξ.
        noise_clip: Real = 0.05, NON_NEGATIVE;
        /// Actions K at s′ in (2), each at its own s′ + ξ.
        target_samples: usize = 50, COUNT;
        /// Weight λ of the smaller target critic against the larger.
        lambda: Real = 0.75, SHARE;
        /// Rewards are held so many deviations beyond the dataset's smallest and greatest; they stay as they are where nobody gave
        /// these as [`DatasetStats`](crate::backcast_core::DatasetStats).
        reward_margin: Real = 3.0, NON_NEGATIVE;
        /// The size from which on a next value counts as 0.
        value_bound: Real = 2000.0, POSITIVE;
        /// The error from which on (3) grows no more than linearly.
        huber: Real = 500.0, POSITIVE;
        /// ϑ at first.
        threshold: Real = 1000.0, NON_NEGATIVE;
        /// Updates of an epoch.
        epoch: u64 = 1000, COUNT;
        /// Epochs w in which the critics rest and the policy only comes to resemble.
        warm_start: u64 = 40;
        /// By how much the share of real rows falls at a time, from 1 to [`Rollouts::real`].
        real_step: Real = 0.1, NON_NEGATIVE;
        /// Epochs after which it falls.
        real_epochs: u64 = 5, COUNT;
        /// Updates of the discriminator per update of the policy.
        policy_period: u64 = 2, COUNT;
        /// Actions to choose from when acting.
        act_samples: usize = 10, COUNT;
        /// Polyak rate τ of the targets, and of Q̂.
        tau: Real = 0.005, FRACTION;
        /// Learning rate of π.
        actor_lr: Real = 2e-4, POSITIVE;
        /// Learning rate of D.
        discriminator_lr: Real = 2e-4, POSITIVE;
        /// Learning rate of Q.
        critic_lr: Real = 3e-4, POSITIVE;
        /// Units of the hidden layers.
        hidden: Vec<usize> = vec![400, 300], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`]. The model has its own.
        precision: Precision = Precision::F32;
        /// How the policy is rolled out, and the share of real rows in a mixed batch at last. The authors start 32 000/h chains.
        #[serde(deserialize_with = "rollouts")]
        rollouts: Rollouts = Rollouts { every: 250, starts: 32_000, horizon: 1, keep: 20, real: 0.5, ..Default::default() };
    }
}

/// β₁ of the optimisers of π and D: two that chase each other should not have long memories.
pub const BETA1: Real = 0.4;

/// What is not given is this algorithm's default, not that of all.
fn rollouts<'de, D: Deserializer<'de>>(from: D) -> Result<Rollouts, D::Error> {
    Rollouts::read_over(Config::default().rollouts, from)
}

impl Config {
    // ANCHOR: real_share
    /// (10)  p(e) = min(1, max(1 − 0.1·⌊(e − w − 1)/5⌋, ½)), e the epoch of the update after `updates` others, from 1
    pub fn real_share(&self, updates: u64) -> Real {
        let after_warm_start = (updates / self.epoch).saturating_sub(self.warm_start);
        let steps = (after_warm_start / self.real_epochs) as Real;
        (1.0 - self.real_step * steps).max(self.rollouts.real)
    }
    // ANCHOR_END: real_share
}

impl Algorithm for Config {
    const NAME: &str = "sdm_gan";
    const PAPER: &str = "Yang et al., Regularizing a model-based policy stationary distribution to stabilize offline reinforcement learning, arXiv:2206.07166";
    const SOURCE: &str = include_str!("mod.rs");
    const USES_MODEL: bool = true;
    const ACTS_BY_CANDIDATES: bool = true;
    type Learner = SdmGan;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<SdmGan, ConfigError> {
        self.check()?;
        let mut problem = problem.into();
        let (spec, mut model) = (problem.spec, problem.take_model()?);
        ensemble(&mut *model.dynamics)?;
        let mut store = Store::in_precision(self.precision);
        let noise = self.noise_dim.unwrap_or((spec.obs / 2).clamp(1, 10));
        let mut net = |name: &str, inputs, members, outputs| {
            let dims = sizes(inputs, &self.hidden, outputs);
            Mlp::new(&mut store, name, &dims, members, Activation::LeakyRelu, Init::FanIn, key)
        };
        let actor = Implicit {
            net: net("actor", spec.obs + noise, 1, spec.act),
            noise,
            limit: spec.act_limit,
        };
        let critic = net("critic", spec.obs + spec.act, 2, 1);
        let tells = self.divergence != Divergence::Mmd;
        let discriminator = tells.then(|| net("discriminator", spec.obs + spec.act, 1, 1));
        let actor_target =
            Implicit { net: actor.net.duplicate(&mut store, "actor_target"), ..actor };
        let critic_target = critic.duplicate(&mut store, "critic_target");
        let slow = |net: Mlp, rate| Adam::new(net.range(), rate).with_betas(BETA1, 0.999);
        let actor_adam = slow(actor.net, self.actor_lr);
        let discriminator_adam = discriminator.map(|net| slow(net, self.discriminator_lr));
        let critic_adam = Adam::new(critic.range(), self.critic_lr);
        let known = &problem.dataset;
        let rewards = match (known.least_reward, known.greatest_reward, known.reward_std) {
            (Some(least), Some(greatest), Some(std)) => {
                (least - self.reward_margin * std, greatest + self.reward_margin * std)
            }
            _ => (Real::NEG_INFINITY, Real::INFINITY),
        };
        let termination = model.termination;
        let imagination = Imagination::without_penalty(model, &self.rollouts)?;
        Ok(SdmGan {
            config: self.clone(),
            store,
            nets: Nets { actor, actor_target, critic, critic_target, discriminator },
            actor_adam,
            critic_adam,
            discriminator_adam,
            imagination,
            termination,
            rewards,
            guard: Guard::new(self.threshold),
            size: 0.0,
            updates: 0,
            work: Work::default(),
        })
    }
}
