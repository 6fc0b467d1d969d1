use super::{BETA1, Divergence, Guard, Implicit, Nets, SdmGan, Work};
use crate::{
    bear::Kernel,
    imagines::{Imagination, ModelBased, Rollouts, WorldModel},
    transition::{check_hidden, check_rate, check_shared, check_weight, sizes},
};
use backcast_core::*;
use backcast_imagination::ImagineConfig;
use backcast_nn::{Activation, Adam, Init, Mlp, Precision, Store};
use backcast_penalties::NoPenalty;
use serde::{Deserialize, Deserializer, Serialize};

/// One field per symbol; defaults of the authors' code, those of the MMD ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Discount γ.
    pub gamma: Real,
    /// Weight α of the value, in units of its own size, against resemblance. The authors' flag is called `log_lagrange`, and is α.
    pub alpha: Real,
    /// What F and the log are compared by.
    pub divergence: Divergence,
    /// The lowest label of rows of the log, for Jensen–Shannon.
    pub label: Real,
    /// Weight of the gradient penalty, for Wasserstein.
    pub gradient_penalty: Real,
    /// k, for the MMD.
    pub kernel: Kernel,
    /// Width of k, of the size of a squared (Gaussian) or plain (Laplacian) distance of two pairs *(s, u)*.
    pub sigma: Real,
    /// Pairs that are compared with one another: an MMD is taken of so many of each, and is averaged over the groups of a batch.
    pub mmd_samples: usize,
    /// Columns of ε; none is min(10, ⌊obs/2⌋), at least 1. The authors have 50 for about half of the datasets.
    pub noise_dim: Option<usize>,
    /// Deviation of the noise ξ of states.
    pub state_noise: Real,
    /// Bound of ξ.
    pub noise_clip: Real,
    /// Actions K at s′ in (2), each at its own s′ + ξ.
    pub target_samples: usize,
    /// Weight λ of the smaller target critic against the larger.
    pub lambda: Real,
    /// Rewards are held so many deviations beyond the log's smallest and greatest; they stay as they are where nobody gave
    /// these as [`DatasetStats`](crate::imagines::DatasetStats).
    pub reward_margin: Real,
    /// The size from which on a next value counts as 0.
    pub value_bound: Real,
    /// The error from which on (3) grows no more than linearly.
    pub huber: Real,
    /// ϑ at first.
    pub threshold: Real,
    /// Updates of an epoch.
    pub epoch: u64,
    /// Epochs w in which the critics rest and the policy only comes to resemble.
    pub warm_start: u64,
    /// By how much the share of real rows falls at a time, from 1 to [`Rollouts::real`].
    pub real_step: Real,
    /// Epochs after which it falls.
    pub real_epochs: u64,
    /// Updates of the discriminator per update of the policy.
    pub policy_period: u64,
    /// Actions to choose from when acting.
    pub act_samples: usize,
    /// Polyak rate τ of the targets, and of Q̂.
    pub polyak: Real,
    /// Learning rate of π.
    pub actor_rate: Real,
    /// Learning rate of D.
    pub discriminator_rate: Real,
    /// Learning rate of Q.
    pub critic_rate: Real,
    /// Units of the hidden layers.
    pub hidden: Vec<usize>,
    /// How large products are computed. Everything is `F32` unless asked; see [`Precision`]. The model has its own.
    pub precision: Precision,
    /// How the policy is rolled out, and the share of real rows in a mixed batch at last. The authors start 32 000/h chains.
    #[serde(deserialize_with = "rollouts")]
    pub rollouts: Rollouts,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            gamma: 0.99,
            alpha: 10.0,
            divergence: Divergence::JensenShannon,
            label: 0.8,
            gradient_penalty: 10.0,
            kernel: Kernel::Gaussian,
            sigma: 20.0,
            mmd_samples: 32,
            noise_dim: None,
            state_noise: 3e-4,
            noise_clip: 0.05,
            target_samples: 50,
            lambda: 0.75,
            reward_margin: 3.0,
            value_bound: 2000.0,
            huber: 500.0,
            threshold: 1000.0,
            epoch: 1000,
            warm_start: 40,
            real_step: 0.1,
            real_epochs: 5,
            policy_period: 2,
            act_samples: 10,
            polyak: 0.005,
            actor_rate: 2e-4,
            discriminator_rate: 2e-4,
            critic_rate: 3e-4,
            hidden: vec![400, 300],
            precision: Precision::F32,
            rollouts: Rollouts { every: 250, starts: 32_000, horizon: 1, keep: 20, real: 0.5, ..Default::default() },
        }
    }
}

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

impl ModelBased for Config {
    const NAME: &'static str = "sdm_gan";
    const PAPER: &'static str = "Yang et al., Regularizing a model-based policy stationary distribution to stabilize offline reinforcement learning, arXiv:2206.07166";
    type Learner = SdmGan;

    fn check(&self) -> Result<(), ConfigError> {
        check_shared(self.gamma, self.polyak, &[("actor_rate", self.actor_rate), ("critic_rate", self.critic_rate)])?;
        check_rate("discriminator_rate", self.discriminator_rate)?;
        for (field, weight) in [
            ("alpha", self.alpha),
            ("gradient_penalty", self.gradient_penalty),
            ("state_noise", self.state_noise),
            ("noise_clip", self.noise_clip),
            ("reward_margin", self.reward_margin),
            ("threshold", self.threshold),
            ("real_step", self.real_step),
        ] {
            check_weight(field, weight)?;
        }
        let (label, lambda) = (self.label, self.lambda);
        ConfigError::unless(label > 0.0 && label <= 1.0, "label", format!("is {label}; a label lies in (0, 1]"))?;
        ConfigError::unless((0.0..=1.0).contains(&lambda), "lambda", format!("is {lambda}; it weighs in [0, 1]"))?;
        for (field, x) in [("sigma", self.sigma), ("value_bound", self.value_bound), ("huber", self.huber)] {
            ConfigError::unless(x > 0.0 && x.is_finite(), field, format!("is {x}; give a positive number"))?;
        }
        ConfigError::unless(self.noise_dim != Some(0), "noise_dim", "is 0; without noise there is one action")?;
        ConfigError::unless(self.mmd_samples > 0, "mmd_samples", "is 0; a distance needs samples")?;
        ConfigError::unless(self.target_samples > 0, "target_samples", "is 0; a mean needs some")?;
        ConfigError::unless(self.act_samples > 0, "act_samples", "is 0; acting needs a candidate")?;
        ConfigError::unless(self.epoch > 0, "epoch", "is 0; give a number of updates")?;
        ConfigError::unless(self.real_epochs > 0, "real_epochs", "is 0; give a number of epochs")?;
        ConfigError::unless(self.policy_period > 0, "policy_period", "is 0; the policy would never learn")?;
        self.rollouts.check()?;
        check_hidden("hidden", &self.hidden)
    }

    fn build_on(&self, world_model: WorldModel, key: Key) -> Result<SdmGan, ConfigError> {
        ModelBased::check(self)?;
        let spec = world_model.model.spec();
        let mut store = Store::in_precision(self.precision);
        let noise = self.noise_dim.unwrap_or((spec.obs / 2).clamp(1, 10));
        let mut net = |name: &str, inputs, members, outputs| {
            let dims = sizes(inputs, &self.hidden, outputs);
            Mlp::new(&mut store, name, &dims, members, Activation::LeakyRelu, Init::FanIn, key)
        };
        let actor = Implicit { net: net("actor", spec.obs + noise, 1, spec.act), noise, limit: spec.act_limit };
        let critic = net("critic", spec.obs + spec.act, 2, 1);
        let tells = self.divergence != Divergence::Mmd;
        let discriminator = tells.then(|| net("discriminator", spec.obs + spec.act, 1, 1));
        let actor_target = Implicit { net: actor.net.duplicate(&mut store, "actor_target"), ..actor };
        let critic_target = critic.duplicate(&mut store, "critic_target");
        let slow = |net: Mlp, rate| Adam::new(net.range(), rate).with_betas(BETA1, 0.999);
        let actor_adam = slow(actor.net, self.actor_rate);
        let discriminator_adam = discriminator.map(|net| slow(net, self.discriminator_rate));
        let critic_adam = Adam::new(critic.range(), self.critic_rate);
        let known = &world_model.dataset_stats;
        let rewards = match (known.least_reward, known.greatest_reward, known.reward_std) {
            (Some(least), Some(greatest), Some(std)) => {
                (least - self.reward_margin * std, greatest + self.reward_margin * std)
            }
            _ => (Real::NEG_INFINITY, Real::INFINITY),
        };
        let termination = world_model.termination;
        let imagination = Imagination::new(world_model, &self.rollouts, ImagineConfig::default(), Box::new(NoPenalty))?;
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
