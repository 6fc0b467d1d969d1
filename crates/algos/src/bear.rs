//! BEAR, bootstrapping error accumulation reduction (Kumar, Fu, Tucker & Levine, *Stabilizing off-policy Q-learning via
//! bootstrapping error reduction*, NeurIPS 2019, arXiv:1906.00949): a policy held to the *support* of the log's actions.
//!
//! | equation | code |
//! |---|---|
//! | (1) L(ω) = E[ MSE(D(s, z), a) ] + ½ KL(E(s, a) ∥ N(0, 1)) | [`Bear::vae_step`] |
//! | (2) y = r + γ(1−d) max_k [ λ min_j Q′_j + (1−λ) max_j Q′_j ](s′, a_k), a_k ~ π′(·∣s′), k = 1 … 10 | [`Bear::critic_step`] |
//! | (3) L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] | [`Bear::critic_step`] |
//! | (4) MMD(s)² = mean k(u,u′) − 2 mean k(u,v) + mean k(v,v′), u ~ π(·∣s), v ~ ω(·∣s), m of each | [`mmd`] |
//! | (5) L_π(φ) = −E[ min_j mean_u Q_j(s, tanh u) ] + α E[ MMD(s) ], at first α E[ MMD(s) ] alone | [`Bear::actor_step`] |
//! | (6) ln α ↑ α (E[ MMD(s) ] − ε), held in [−5, 10] | [`Bear::actor_step`] |
//!
//! Update order: (1), (2) and (3), (5), (6) with the MMD that (5) saw, then both targets by Polyak, as in the authors' code.
//!
//! A distance between distributions would pull the policy to how *often* the log does something. The MMD of a handful of
//! samples hardly sees densities: it is small as soon as the policy's actions are among the log's. (4) is the biased estimate,
//! a sample's distance to itself included, plus 10⁻⁶ under the root, and compares actions before their tanh. Kernels divide by
//! 2σ, not by 2σ², as in the authors' code. Not from it: there the noise of u is clipped to ±½ in (4) and (5), and ln σ is free.
//!
//! Acting draws `act_samples` actions of π and takes the best by Q₁; without a key they come from one fixed draw.
//!
//! The defaults are those of the authors' repository. The scores in the paper of D4RL (arXiv:2004.07219) were made with
//! another: the presets say with which numbers. Where that one asks the current policy for a_k, `target_actor` is false.

use crate::blocks::{
    actor::{Actor, LOG_STD_BOUNDS},
    candidates::{ROWS_AT_ONCE, best, normal},
    mmd::{Kernel, mmd},
    temperature::Multiplier,
    transition::{Transition, sizes},
};
use backcast_core::{
    Algorithm, Batch, COUNT, ConfigError, FRACTION, Key, Learner, Metrics, NON_NEGATIVE, POSITIVE,
    Policy, Problem, Real, SHARE, Spec, hyperparameters,
};
use backcast_nn::{
    Activation, Adam, HIDDEN, Init, LATENT_BOUND, Mlp, Precision, Shape, Store, Vae,
    clipped_normal, polyak, state,
};
use ndarray::{ArrayView2, ArrayViewMut2, Axis};

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
        let mut store = Store::in_precision(self.precision);
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
        let actor = Actor::new(&mut store, spec, &self.hidden, LOG_STD_BOUNDS, key);
        let dims = sizes(spec.obs + spec.act, &self.hidden, 1);
        let critic =
            Mlp::new(&mut store, "critic", &dims, self.critics, Activation::Relu, Init::FanIn, key);
        let actor_target = Actor { net: actor.net.duplicate(&mut store, "actor_target"), ..actor };
        let critic_target = critic.duplicate(&mut store, "critic_target");
        let mut drawn = [0.0];
        key.name("ln alpha").normal(&mut drawn);
        let multiplier =
            Multiplier::new("ln_alpha", self.alpha.unwrap_or(drawn[0].exp()), self.alpha_lr);
        let vae_adam = Adam::new(vae.range(), self.vae_lr);
        let actor_adam = Adam::new(actor.net.range(), self.actor_lr);
        let critic_adam = Adam::new(critic.range(), self.critic_lr);
        let nets = Nets { vae, actor, critic, actor_target, critic_target };
        Ok(Bear {
            spec,
            config: self.clone(),
            store,
            nets,
            multiplier,
            vae_adam,
            actor_adam,
            critic_adam,
            updates: 0,
        })
    }
}

/// Handles of every net.
#[derive(Clone, Copy)]
struct Nets {
    vae: Vae,
    actor: Actor,
    critic: Mlp,
    actor_target: Actor,
    critic_target: Mlp,
}

/// Q-learning with a policy whose actions must be among those of a model of the log.
pub struct Bear {
    spec: Spec,
    config: Config,
    store: Store,
    nets: Nets,
    multiplier: Multiplier,
    vae_adam: Adam,
    actor_adam: Adam,
    critic_adam: Adam,
    updates: u64,
}

/// Bounds of ln α.
const LN_ALPHA: (Real, Real) = (-5.0, 10.0);

impl Bear {
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
    /// (2)  y = r + γ(1−d) max_k [ λ min_j Q′_j + (1−λ) max_j Q′_j ](s′, a_k),   a_k ~ π′(·∣s′)
    /// (3)  L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ]
    fn critic_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let (nets, limit) = (self.nets, self.spec.act_limit);
        let &Config { gamma, lambda, critics, target_samples: n, target_actor, .. } = &self.config;
        self.critic_adam.minimise_with(&mut self.store, |tape| {
            let y = tape.no_grad(|tape| {
                let Transition { r, s2, alive, .. } = Transition::on(tape, batch);
                let actor = if target_actor { nets.actor_target } else { nets.actor };
                let (a2, _) = actor.at(s2).repeat_rows(n).sample(key);
                let q = nets.critic_target.forward_pairs(s2, a2 * limit);
                let q = q.min_members() * lambda + q.max_members() * (1.0 - lambda);
                r + alive * q.reshape(Shape::new(1, batch.len(), n)).max_cols() * gamma
            });
            let Transition { s, a, .. } = Transition::on(tape, batch);
            let q = nets.critic.forward(s.cat(a));
            ((q - y).square().mean() * critics as Real, q.mean().item())
        })
    }
    // ANCHOR_END: critic_step

    // ANCHOR: actor_step
    /// (5)  L_π(φ) = −E[ min_j mean_u Q_j(s, tanh u) ] + α E[ MMD(s) ],   u ~ π(·∣s); at first α E[ MMD(s) ] alone
    /// (6)  ln α ↑ α (E[ MMD(s) ] − ε)
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let (nets, limit, ln_alpha) = (self.nets, self.spec.act_limit, self.multiplier.log());
        let &Config { kernel, sigma, mmd_samples: m, critics, .. } = &self.config;
        let warm = self.updates >= self.config.warm_start;
        let (loss, distance) = self.actor_adam.minimise_with(&mut self.store, |tape| {
            let s = tape.input(batch.obs);
            let u = nets.actor.at(s).base.repeat_rows(m).sample(key.name("policy"));
            let z = Shape::new(1, batch.len() * m, nets.vae.latent());
            let z = clipped_normal(tape, z, key.name("behaviour"), LATENT_BOUND);
            let v = nets.vae.decode_pre_tanh(s.repeat_rows(m), z).detach();
            let distance = mmd(u, v, m, kernel, sigma).mean();
            let held = distance * ln_alpha.exp();
            let loss = match warm {
                false => held,
                true => {
                    let q = nets.critic.forward_pairs(s, u.tanh() * limit);
                    let q = q.reshape(Shape::new(critics, batch.len(), m)).mean_cols();
                    held - q.min_members().mean()
                }
            };
            (loss, distance.item())
        });
        let excess = distance - self.config.threshold;
        self.multiplier.minimise(|ln_alpha| ln_alpha.exp() * -excess);
        self.multiplier.clamp(LN_ALPHA.0, LN_ALPHA.1);
        (loss, distance)
    }
    // ANCHOR_END: actor_step
}

impl Learner for Bear {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let vae_loss = self.vae_step(batch, key.name("vae"));
        let (critic_loss, q) = self.critic_step(batch, key.name("target"));
        let (actor_loss, distance) = self.actor_step(batch, key.name("actor"));
        polyak(&mut self.store, &self.nets.critic_target, &self.nets.critic, self.config.tau);
        polyak(&mut self.store, &self.nets.actor_target.net, &self.nets.actor.net, self.config.tau);
        self.updates += 1;
        let mut metrics =
            Metrics::from([("vae_loss", vae_loss), ("critic_loss", critic_loss), ("q", q)]);
        metrics
            .put("actor_loss", actor_loss)
            .put("mmd", distance)
            .put("ln_alpha", self.multiplier.log());
        metrics
    }
    // ANCHOR_END: update
}

impl Policy for Bear {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(
        &mut self,
        obs: ArrayView2<'_, Real>,
        key: Option<Key>,
        mut act: ArrayViewMut2<'_, Real>,
    ) {
        let (nets, n, limit, width) =
            (self.nets, self.config.act_samples, self.spec.act_limit, self.spec.act);
        let blocks = obs
            .axis_chunks_iter(Axis(0), ROWS_AT_ONCE)
            .zip(act.axis_chunks_iter_mut(Axis(0), ROWS_AT_ONCE));
        for (block, (obs, act)) in blocks.enumerate() {
            let tape = self.store.tape();
            let s = tape.input(obs);
            let pi = nets.actor.at(s).base.repeat_rows(n);
            let noise = normal(tape, obs.nrows(), n, width, key.map(|key| key.fold(block as u64)));
            let a = (pi.mean + pi.log_std.exp() * noise).tanh() * limit;
            best(a, nets.critic.forward_member(s.repeat_rows(n).cat(a), 0), n, act);
        }
    }
}

state!(Bear: store, multiplier, vae_adam, actor_adam, critic_adam, updates);

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
                <= LN_ALPHA.1
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
            "{held} held, {free} free, where the log ends at 0.6"
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
