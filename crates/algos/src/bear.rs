//! BEAR, bootstrapping error accumulation reduction (Kumar, Fu, Tucker & Levine, *Stabilizing off-policy Q-learning via
//! bootstrapping error reduction*, NeurIPS 2019, arXiv:1906.00949): a policy held to the *support* of the dataset's
//! actions.
//!
//! | equation | code |
//! |---|---|
//! | (1) L(ω) = E[ MSE(D(s, z), a) ] + ½ KL(E(s, a) ∥ N(0, 1)) | [`BehaviourActorCritic::vae_step`] |
//! | (2) y = r + γ(1−d) max_k [ λ min_j Q′_j + (1−λ) max_j Q′_j ](s′, a_k), a_k ~ π′(·∣s′), k = 1 … 10 | [`Bear::critic_step`] |
//! | (3) L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] | [`Bear::critic_step`] |
//! | (4) MMD(s)² = mean k(u,u′) − 2 mean k(u,v) + mean k(v,v′), u ~ π(·∣s), v ~ ω(·∣s), m of each | [`mmd`] |
//! | (5) L_π(φ) = −E[ min_j mean_u Q_j(s, tanh u) ] + α E[ MMD(s) ], at first α E[ MMD(s) ] alone | [`Bear::actor_step`] |
//! | (6) ln α ↑ α (E[ MMD(s) ] − ε), held in [−5, 10] | [`Bear::actor_step`] |
//!
//! Update order: (1), (2) and (3), (5), (6) with the MMD that (5) saw, then both targets by Polyak, as in the authors'
//! code.
//!
//! A distance between distributions would pull the policy to how *often* the dataset does something. The MMD of a
//! handful of samples hardly sees densities: it is small as soon as the policy's actions are among the dataset's. (4)
//! is the biased estimate, a sample's distance to itself included, plus 10⁻⁶ under the root, and compares actions
//! before their tanh. Kernels divide by 2σ, not by 2σ², as in the authors' code. Not from it: there the noise of u is
//! clipped to ±½ in (4) and (5), and ln σ is free.
//!
//! Acting draws `act_samples` actions of π and takes the best by Q₁; without a key they come from one fixed draw.
//!
//! Over 200 lines: its authors' code has 23 hyperparameters.
//!
//! The defaults are those of the authors' repository. The scores in the paper of D4RL (arXiv:2004.07219) were made with
//! another: the presets say with which numbers. Where that one asks the current policy for a_k, `target_actor` is
//! false.

use crate::blocks::{
    actor::{Actor, LOG_STD_BOUNDS},
    behaviour::latents,
    behaviour_actor_critic::{BehaviourActorCritic, Nets, Sizes},
    candidates::{act_by_best, normal},
    mmd::{Kernel, mmd},
    temperature::{LN_MULTIPLIER_BOUNDS, Multiplier},
    transition::Transition,
    value::{bellman_error, soft_clipped},
};
use backcast_core::{
    Algorithm, Batch, COUNT, ConfigError, FRACTION, Key, Learner, Metrics, NON_NEGATIVE, POSITIVE,
    Policy, Problem, Real, SHARE, Spec, hyperparameters,
};
use backcast_nn::{HIDDEN, Precision, Shape, Store, state};
use ndarray::{ArrayView2, ArrayViewMut2};

hyperparameters! {
    /// One field per symbol; defaults of the authors' code.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Critics; the authors' code is made for four and runs with two.
        critics: usize = 2, COUNT;
        /// Weight λ of the smallest critic against the largest.
        lambda: Real = 0.75, SHARE;
        /// k.
        kernel: Kernel = Kernel::Laplacian;
        /// Width σ of the kernel: 10 for the Laplacian, 20 for the Gaussian.
        sigma: Real = 10.0, POSITIVE;
        /// Actions m of each distribution that are compared in a state.
        mmd_samples: usize = 5, COUNT;
        /// Threshold ε of the MMD.
        threshold: Real = 0.05, NON_NEGATIVE;
        /// Multiplier α at the start; none draws ln α from N(0, 1).
        alpha: Option<Real> = None, POSITIVE;
        /// Learning rate of ln α.
        alpha_lr: Real = 1e-3, NON_NEGATIVE;
        /// Updates in which the actor only comes closer: 20 epochs of 5000 in the authors' code, 40 000 in that of D4RL's paper.
        warm_start: u64 = 100_000;
        /// Actions at s′ in (2).
        target_samples: usize = 10, COUNT;
        /// Whether they come from the target actor, and not from the current one.
        target_actor: bool = true;
        /// Actions to choose from when acting.
        act_samples: usize = 10, COUNT;
        /// Weight of the KL term of the VAE (averaged over latent dimensions).
        kl_weight: Real = 0.5, NON_NEGATIVE;
        /// Polyak rate of the targets.
        tau: Real = 0.005, FRACTION;
        /// Learning rate of the VAE.
        vae_lr: Real = 1e-3, POSITIVE;
        /// Learning rate of π.
        actor_lr: Real = 1e-3, POSITIVE;
        /// Learning rate of Q.
        critic_lr: Real = 1e-3, POSITIVE;
        /// Units of the hidden layers of actor and critics.
        hidden: Vec<usize> = vec![400, 300], HIDDEN;
        /// Units of the hidden layers of the VAE's two halves.
        vae_hidden: Vec<usize> = vec![750, 750], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
    }
}

impl Algorithm for Config {
    const NAME: &str = "bear";
    const PAPER: &str = "Kumar, Fu, Tucker & Levine, Stabilizing off-policy Q-learning via bootstrapping error reduction, arXiv:1906.00949";
    const SOURCE: &str = include_str!("bear.rs");
    const ACTS_BY_CANDIDATES: bool = true;
    type Learner = Bear;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Bear, ConfigError> {
        self.check()?;
        let spec = problem.into().spec;
        let sizes_of = Sizes::new(&self.vae_hidden, &self.hidden, self.precision);
        let sizes_of = Sizes { critics: self.critics, ..sizes_of };
        let actor = |store: &mut Store| Actor::new(store, spec, &self.hidden, LOG_STD_BOUNDS, key);
        let core = BehaviourActorCritic::new(spec, sizes_of, key, actor);
        let mut drawn = [0.0];
        key.name("ln alpha").normal(&mut drawn);
        let alpha = self.alpha.unwrap_or(drawn[0].exp());
        let multiplier = Multiplier::new("ln_alpha", alpha, self.alpha_lr);
        Ok(Bear { config: self.clone(), core, multiplier, updates: 0 })
    }
}

/// Q-learning with a policy whose actions must be among those of a model of the behaviour policy.
pub struct Bear {
    config: Config,
    core: BehaviourActorCritic<Actor>,
    multiplier: Multiplier,
    updates: u64,
}

impl Bear {
    // ANCHOR: critic_step
    /// (2)  y = r + γ(1−d) max_k [ λ min_j Q′_j + (1−λ) max_j Q′_j ](s′, a_k),   a_k ~ π′(·∣s′)
    /// (3)  L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ]
    fn critic_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let &Config { gamma, lambda, target_samples: n, target_actor, .. } = &self.config;
        let BehaviourActorCritic { store, nets, critic_adam, .. } = &mut self.core;
        critic_adam.minimise_with(store, |tape| {
            let y = tape.no_grad(|tape| {
                let Transition { r, s2, alive, .. } = Transition::on(tape, batch);
                let actor = if target_actor { nets.actor_target } else { nets.actor };
                let (a2, _) = actor.at(s2).repeat_rows(n).sample(key);
                let q = nets.critic_target.forward_pairs(s2, a2 * actor.limit);
                let q = soft_clipped(q, lambda);
                r + alive * q.reshape(Shape::new(1, batch.len(), n)).max_cols() * gamma
            });
            let Transition { s, a, .. } = Transition::on(tape, batch);
            bellman_error(nets.critic, s, a, y)
        })
    }
    // ANCHOR_END: critic_step

    // ANCHOR: actor_step
    /// (5)  L_π(φ) = −E[ min_j mean_u Q_j(s, tanh u) ] + α E[ MMD(s) ],   u ~ π(·∣s); at first α E[ MMD(s) ] alone
    /// (6)  ln α ↑ α (E[ MMD(s) ] − ε)
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let ln_alpha = self.multiplier.log();
        let &Config { kernel, sigma, mmd_samples: m, critics, .. } = &self.config;
        let warm = self.updates >= self.config.warm_start;
        let BehaviourActorCritic { store, nets, actor_adam, .. } = &mut self.core;
        let (loss, distance) = actor_adam.minimise_with(store, |tape| {
            let s = tape.input(batch.obs);
            let u = nets.actor.at(s).base.repeat_rows(m).sample(key.name("policy"));
            let each = s.repeat_rows(m);
            let z = latents(nets.vae, each, key.name("behaviour"));
            let v = nets.vae.decode_pre_tanh(each, z).detach();
            let distance = mmd(u, v, m, kernel, sigma).mean();
            let held = distance * ln_alpha.exp();
            if !warm {
                return (held, distance.item());
            }
            let q = nets.critic.forward_pairs(s, u.tanh() * nets.actor.limit);
            let q = q.reshape(Shape::new(critics, batch.len(), m)).mean_cols();
            (held - q.min_members().mean(), distance.item())
        });
        self.multiplier.ascend(distance - self.config.threshold, LN_MULTIPLIER_BOUNDS);
        (loss, distance)
    }
    // ANCHOR_END: actor_step
}

impl Learner for Bear {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let Config { vae_lr, actor_lr, critic_lr, kl_weight, tau, .. } = self.config;
        self.core.set_rates(vae_lr, actor_lr, critic_lr, 0);
        let vae_loss = self.core.vae_step(batch, kl_weight, key.name("vae"));
        let (critic_loss, q) = self.critic_step(batch, key.name("target"));
        let (actor_loss, distance) = self.actor_step(batch, key.name("actor"));
        self.core.update_targets(tau);
        self.updates += 1;
        let ln_alpha = self.multiplier.log();
        let losses = [("vae_loss", vae_loss), ("critic_loss", critic_loss), ("q", q)];
        let mut metrics = Metrics::from(losses);
        *metrics.put("actor_loss", actor_loss).put("mmd", distance).put("ln_alpha", ln_alpha)
    }
    // ANCHOR_END: update
}

impl Policy for Bear {
    fn spec(&self) -> Spec {
        self.core.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let Nets { actor, critic, .. } = self.core.nets;
        let n = self.config.act_samples;
        let width = self.core.spec.act;
        act_by_best(&mut self.core.store, n, obs, key, act, |tape, obs, key| {
            let s = tape.input(obs);
            let a = actor.by_noise(s, normal(tape, obs.nrows(), n, width, key));
            [a, critic.forward_member(s.repeat_rows(n).cat(a), 0)]
        });
    }
}

state!(Bear: core, multiplier, updates);

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Source, Transitions};
    use ndarray::Array2;

    /// Two samples against two, summed pair by pair in double precision.
    #[test]
    fn the_distance_is_the_sum_over_pairs() {
        let u: [[Real; 2]; 4] = [[0.1, -0.4], [1.0, 0.3], [0.0, 0.0], [2.0, -1.0]];
        let v: [[Real; 2]; 4] = [[0.7, 0.2], [-0.5, 0.9], [0.0, 0.0], [2.0, -1.0]];
        for (kernel, sigma) in [(Kernel::Laplacian, 0.7), (Kernel::Gaussian, 1.3)] {
            let k = |x: &[Real; 2], y: &[Real; 2]| {
                let d = [0, 1].map(|i| x[i] as f64 - y[i] as f64);
                let size = match kernel {
                    Kernel::Laplacian => d[0].abs() + d[1].abs(),
                    Kernel::Gaussian => d[0] * d[0] + d[1] * d[1],
                };
                (-size / (2.0 * sigma as f64)).exp()
            };
            let mean = |x: &[[Real; 2]], y: &[[Real; 2]]| {
                x.iter()
                    .flat_map(|x| y.iter().map(move |y| (x, y)))
                    .map(|(x, y)| k(x, y))
                    .sum::<f64>()
                    / 4.0
            };
            let mut store = Store::default();
            let tape = store.tape();
            let var = |x: &[[Real; 2]; 4]| {
                tape.fill(Shape::new(1, 4, 2), |out| out.copy_from_slice(x.as_flattened()))
            };
            let got = mmd(var(&u), var(&v), 2, kernel, sigma);
            assert_eq!(got.shape().dims(), [1, 2, 1]);
            got.read(|got| {
                for (state, &got) in got.iter().enumerate() {
                    let (u, v) = (&u[2 * state..][..2], &v[2 * state..][..2]);
                    let want = (mean(u, u) - 2.0 * mean(u, v) + mean(v, v) + 1e-6).sqrt();
                    assert!(
                        (got as f64 - want).abs() < 1e-5,
                        "{kernel:?}, state {state}: {got} is not {want}"
                    );
                }
                // The second state's samples are the same: the root of what is added.
                assert!((got[1] - 1e-3).abs() < 1e-4, "{}", got[1]);
            });
        }
    }

    /// One state, actions recorded around one place, values that rise beyond it.
    fn rows() -> Transitions {
        let mut rows = Transitions::new(Spec::new(1, 1).with_act_limit(2.0));
        for i in 0..256 {
            let mut a = [0.0];
            Key::new(1).fold(i).uniform(-0.2, 0.6, &mut a);
            rows.push(&[0.0], &a, 10.0 * a[0], &[0.0], true);
        }
        rows
    }

    fn train(config: Config, updates: u64) -> (Bear, Metrics) {
        let rows = rows();
        let mut bear = config.build(rows.spec(), Key::new(2)).expect("a sound configuration");
        let mut staging = Transitions::new(rows.spec());
        let mut update = |step| {
            let key = Key::new(3).fold(step);
            bear.update(rows.sample(key.name("rows"), 64, &mut staging), key)
        };
        let metrics = (0..updates).map(&mut update).last().expect("an update");
        (bear, metrics)
    }

    fn small() -> Config {
        Config {
            hidden: vec![16, 16],
            vae_hidden: vec![16, 16],
            sigma: 0.5,
            alpha: Some(1.0),
            ..Default::default()
        }
    }

    #[test]
    fn a_warm_start_comes_closer_and_the_multiplier_follows_the_distance() {
        let (_, early) = train(Config { warm_start: 10_000, ..small() }, 1);
        let (_, late) = train(Config { warm_start: 10_000, ..small() }, 600);
        let mmd = |metrics: &Metrics| metrics.get("mmd").expect("a metric");
        assert!(mmd(&late) < 0.7 * mmd(&early), "{} to {}", mmd(&early), mmd(&late));
        let price = |threshold| {
            let config = Config { threshold, alpha_lr: 1e-2, ..small() };
            train(config, 100).1.get("ln_alpha").expect("a metric")
        };
        let (dear, cheap) = (price(0.0), price(3.0));
        assert!(
            dear > 0.3 && cheap < -0.3,
            "{dear} where every distance is too far, {cheap} where none is"
        );
        assert!(
            train(Config { alpha_lr: 10.0, ..small() }, 30).1.get("ln_alpha").expect("a metric")
                <= LN_MULTIPLIER_BOUNDS[1]
        );
    }

    /// It acts at the better end of what was recorded, and not where its critics promise most.
    #[test]
    fn it_stays_near_the_actions_of_the_dataset() {
        let acts = |threshold, alpha_lr| {
            let config = Config { warm_start: 500, sigma: 10.0, threshold, alpha_lr, ..small() };
            let (mut bear, _) = train(config, 2500);
            let mut act = Array2::zeros((1, 1));
            bear.act(Array2::zeros((1, 1)).view(), None, act.view_mut());
            act[[0, 0]]
        };
        let (held, free) = (acts(0.05, 1e-3), acts(10.0, 1e-2));
        assert!(
            (0.3..1.3).contains(&held) && free > 1.7,
            "{held} held, {free} free, where the dataset ends at 0.6"
        );
    }

    #[test]
    fn the_multiplier_begins_as_asked_or_at_random() {
        let start = |alpha, key| {
            let bear =
                Config { alpha, ..small() }.build(Spec::new(1, 1), Key::new(key)).expect("sound");
            bear.multiplier.log()
        };
        assert_eq!(start(Some(1.0), 1), 0.0);
        assert!(start(None, 1) != start(None, 2) && start(None, 1).abs() < 6.0);
    }
}
