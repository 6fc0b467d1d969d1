//! MCQ, mildly conservative Q-learning (Lyu, Ma, Li & Lu, *Mildly conservative Q-learning for offline reinforcement
//! learning*, NeurIPS 2022, arXiv:2206.04745): [`sac`](crate::sac) whose critics are *told* what the policy's actions are worth
//! where the log cannot say. Read that file first; here is what differs.
//!
//! | equation | code |
//! |---|---|
//! | (1) L(ω) = E[ ‖D(s, z) − a‖² ] + KL(E(s, a) ∥ N(0, 1)) | [`Mcq::vae_step`] |
//! | (2) y = r + γ(1−d)(min_j Q′_j(s′,a′) − α ln π(a′∣s′)), a′ ~ π(·∣s′) | [`Mcq::critic_step`] |
//! | (3) ŷ(s) = min_j max_k Q_j(s, â_k), â_k ~ ω(·∣s), k = 1 … n | [`pseudo_target`] |
//! | (4) L_Q(θ) = Σ_j λ E[ (Q_j(s,a) − y)² ] + (1−λ) E[ (Q_j(x,ã) − ŷ(x))² ], x ∈ {s, s′}, ã ~ π(·∣x) | [`Mcq::critic_step`] |
//! | (5) L_π(φ) = E[ α ln π(ã∣s) − min_j Q_j(s,ã) ] | [`Mcq::actor_step`] |
//!
//! Update order: (1), (2)–(4), the temperature as in SAC, (5) with it and the new critics, then the targets by Polyak. The
//! authors' code steps the temperature before the critics.
//!
//! Where CQL pushes values of the policy's actions down without end, (4) pulls them to the best that the log's own actions are
//! believed to be worth: no lower than that, so that an action a little better may still be found.
//!
//! In (1) both terms are summed over dimensions, as in the authors' code and unlike in BCQ; OfflineRL-Kit averages them. ŷ and ã carry no gradient. The authors' code has ŷ from the
//! live critics and ten ã for each x, as here; OfflineRL-Kit has the target critics (`target_pseudo`) and one. `floor` and
//! `one_sided` are what versions of the authors' code do beyond the paper's formula; a floor of 0 supposes rewards that are
//! not negative. Not here: the margin that it has for a few tasks.

use crate::blocks::{
    actor::{Actor, NARROW_LOG_STD_BOUNDS, check_log_std_bounds, target_entropy},
    conservative::side_by_side,
    temperature::Multiplier,
    transition::{Transition, sizes},
    value::soft_value,
};
use backcast_core::{
    ANY, Algorithm, Batch, COUNT, ConfigError, FRACTION, Key, Learner, Metrics, NON_NEGATIVE,
    POSITIVE, Policy, Problem, Real, SHARE, Spec, hyperparameters,
};
use backcast_nn::{
    Activation, Adam, HIDDEN, Init, LATENT_BOUND, Mlp, Precision, Shape, Store, Vae, Var,
    clipped_normal, polyak, state,
};
use ndarray::{ArrayView2, ArrayViewMut2};

hyperparameters! {
    /// One field per symbol; defaults of the authors' code, without its extras.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Weight λ of the Bellman error against the pseudo-targets. 0.7 in the authors' configuration, 0.9 in their examples.
        lambda: Real = 0.7, SHARE;
        /// Actions n of the log's model in (3).
        n_action_samples: usize = 10, COUNT;
        /// Actions of the policy in each state of (4).
        policy_samples: usize = 10, COUNT;
        /// Takes the target critics in (3), as OfflineRL-Kit does.
        target_pseudo: bool = false;
        /// The least that ŷ can be; none is no bound.
        floor: Option<Real> = None;
        /// Whether the second term of (4) counts only where Q_j exceeds ŷ.
        one_sided: bool = false;
        /// Temperature α at the start: the price of a nat of entropy, in units of the value.
        alpha: Real = 1.0, POSITIVE;
        /// Learning rate of ln α; 0 keeps α as it is.
        alpha_lr: Real = 3e-4, NON_NEGATIVE;
        /// Entropy that α is steered to, in nats, of actions in units of their limit; none is −\|A\|.
        target_entropy: Option<Real> = None, ANY.unit("nats");
        /// Bounds of ln σ, low and high: [`NARROW_LOG_STD_BOUNDS`] unless asked.
        log_std_bounds: [Real; 2] = NARROW_LOG_STD_BOUNDS;
        /// Polyak rate of the target critics.
        tau: Real = 0.005, FRACTION;
        /// Learning rate of the VAE.
        vae_lr: Real = 1e-3, POSITIVE;
        /// Learning rate of π.
        actor_lr: Real = 3e-4, POSITIVE;
        /// Learning rate of Q.
        critic_lr: Real = 3e-4, POSITIVE;
        /// Units of the hidden layers of actor and critics.
        hidden: Vec<usize> = vec![400, 400], HIDDEN;
        /// Units of the hidden layers of the VAE's two halves.
        vae_hidden: Vec<usize> = vec![750, 750], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
    }
    together(config) {
        check_log_std_bounds(Some(config.log_std_bounds))
    }
}

impl Algorithm for Config {
    const NAME: &str = "mcq";
    const PAPER: &str = "Lyu, Ma, Li & Lu, Mildly conservative Q-learning for offline reinforcement learning, arXiv:2206.04745";
    const SOURCE: &str = include_str!("mcq.rs");
    type Learner = Mcq;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Mcq, ConfigError> {
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
        let actor = Actor::new(&mut store, spec, &self.hidden, self.log_std_bounds, key);
        let dims = sizes(spec.obs + spec.act, &self.hidden, 1);
        let critic = Mlp::new(&mut store, "critic", &dims, 2, Activation::Relu, Init::FanIn, key);
        let critic_target = critic.duplicate(&mut store, "critic_target");
        let temperature = Multiplier::new("ln_alpha", self.alpha, self.alpha_lr);
        let vae_adam = Adam::new(vae.range(), self.vae_lr);
        let actor_adam = Adam::new(actor.net.range(), self.actor_lr);
        let critic_adam = Adam::new(critic.range(), self.critic_lr);
        let nets = Nets { vae, actor, critic, critic_target };
        Ok(Mcq {
            spec,
            config: self.clone(),
            store,
            nets,
            temperature,
            vae_adam,
            actor_adam,
            critic_adam,
        })
    }
}

/// Handles of every net.
#[derive(Clone, Copy)]
struct Nets {
    vae: Vae,
    actor: Actor,
    critic: Mlp,
    critic_target: Mlp,
}

/// SAC whose critics think of unseen actions what they think of the best seen.
pub struct Mcq {
    spec: Spec,
    config: Config,
    store: Store,
    nets: Nets,
    temperature: Multiplier,
    vae_adam: Adam,
    actor_adam: Adam,
    critic_adam: Adam,
}

// ANCHOR: pseudo_target
/// (3)  ŷ(x) = min_j max_k Q_j(x, â_k),   â_k ~ ω(·∣x), k = 1 … n: `[1, rows, 1]`
fn pseudo_target<'t>(
    vae: Vae,
    critic: Mlp,
    x: Var<'t>,
    n: usize,
    floor: Option<Real>,
    key: Key,
) -> Var<'t> {
    let (tape, rows) = (x.tape(), x.shape().rows);
    let z = clipped_normal(tape, Shape::new(1, rows * n, vae.latent()), key, LATENT_BOUND);
    let a = side_by_side(vae.decode(x.repeat_rows(n), z), rows);
    let best = critic.values(x, a).max_cols().min_members();
    floor.map_or(best, |floor| best.clamp(floor, Real::MAX))
}
// ANCHOR_END: pseudo_target

impl Mcq {
    // ANCHOR: vae_step
    /// (1)  L(ω) = E[ ‖D(s, z) − a‖² ] + KL(E(s, a) ∥ N(0, 1)),   z ~ E(s, a)
    fn vae_step(&mut self, batch: Batch<'_>, key: Key) -> Real {
        let vae = self.nets.vae;
        self.vae_adam.minimise(&mut self.store, |tape| {
            let Transition { s, a, .. } = Transition::on(tape, batch);
            let out = vae.forward(s, a, key);
            let reconstruction = (out.reconstruction - a).square().sum_cols();
            (reconstruction + out.posterior.kl_to_standard().sum_cols()).mean()
        })
    }
    // ANCHOR_END: vae_step

    // ANCHOR: critic_step
    /// (2)  y = r + γ(1−d)(min_j Q′_j(s′,a′) − α ln π(a′∣s′)),   a′ ~ π(·∣s′)
    /// (4)  L_Q(θ) = Σ_j λ E[ (Q_j(s,a) − y)² ] + (1−λ) E[ (Q_j(x,ã) − ŷ(x))² ],   x ∈ {s, s′}, ã ~ π(·∣x)
    fn critic_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let (nets, limit, ln_alpha) = (self.nets, self.spec.act_limit, self.temperature.log());
        let &Config {
            gamma,
            lambda,
            n_action_samples,
            policy_samples: m,
            target_pseudo,
            floor,
            one_sided,
            ..
        } = &self.config;
        let judge = if target_pseudo { nets.critic_target } else { nets.critic };
        self.critic_adam.minimise_with(&mut self.store, |tape| {
            let y = tape.no_grad(|tape| {
                let Transition { r, s2, alive, .. } = Transition::on(tape, batch);
                r + alive
                    * soft_value(nets.actor, nets.critic_target, s2, ln_alpha, key.name("next"))
                    * gamma
            });
            let Transition { s, a, s2, .. } = Transition::on(tape, batch);
            let q = nets.critic.forward(s.cat(a));
            let unseen = [(batch.obs, s, "here"), (batch.next_obs, s2, "there")].map(
                |(x, on_tape, name)| {
                    let key = key.name(name);
                    let pseudo = tape.no_grad(|tape| {
                        pseudo_target(
                            nets.vae,
                            judge,
                            tape.input(x),
                            n_action_samples,
                            floor,
                            key.name("behaviour"),
                        )
                    });
                    let tried = tape.no_grad(|tape| {
                        nets.actor.at(tape.input(x)).repeat_rows(m).sample(key.name("policy")).0
                            * limit
                    });
                    let excess = nets.critic.forward_pairs(on_tape, tried) - pseudo.repeat_rows(m);
                    (if one_sided { excess.relu() } else { excess }).square().mean()
                },
            );
            let unseen = (unseen[0] + unseen[1]) * 0.5;
            (((q - y).square().mean() * lambda + unseen * (1.0 - lambda)) * 2.0, q.mean().item())
        })
    }
    // ANCHOR_END: critic_step

    // ANCHOR: actor_step
    /// (5)  L_π(φ) = E[ α ln π(ã∣s) − min_j Q_j(s,ã) ],   ã ~ π(·∣s);   the temperature as in SAC (2)
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let (nets, temperature) = (self.nets, &mut self.temperature);
        let target_entropy = target_entropy(self.config.target_entropy, self.spec);
        self.actor_adam.minimise_with(&mut self.store, |tape| {
            let s = tape.input(batch.obs);
            let (sampled, log_pi) = nets.actor.at(s).sample(key);
            let (alpha, entropy) = temperature.update_temperature(log_pi, target_entropy);
            let q = nets.critic.forward(s.cat(sampled * nets.actor.limit)).min_members();
            ((alpha * log_pi - q).mean(), entropy)
        })
    }
    // ANCHOR_END: actor_step
}

impl Learner for Mcq {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let vae_loss = self.vae_step(batch, key.name("vae"));
        let (critic_loss, q) = self.critic_step(batch, key.name("critic"));
        let (actor_loss, entropy) = self.actor_step(batch, key.name("actor"));
        polyak(&mut self.store, &self.nets.critic_target, &self.nets.critic, self.config.tau);
        let mut metrics =
            Metrics::from([("vae_loss", vae_loss), ("critic_loss", critic_loss), ("q", q)]);
        metrics
            .put("actor_loss", actor_loss)
            .put("entropy", entropy)
            .put("ln_alpha", self.temperature.log());
        metrics
    }
    // ANCHOR_END: update
}

/// Acts with tanh μ, or, given a key, with a sample.
impl Policy for Mcq {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let actor = self.nets.actor;
        actor.act(&mut self.store, obs, key, act);
    }
}

state!(Mcq: store, temperature, vae_adam, actor_adam, critic_adam);

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::Transitions;
    use ndarray::{Array2, array};

    fn small() -> Config {
        Config {
            hidden: vec![24, 24],
            vae_hidden: vec![16],
            critic_lr: 3e-3,
            actor_lr: 3e-3,
            ..Default::default()
        }
    }

    /// One state whose only recorded action pays 1.
    fn rows() -> Transitions {
        let mut rows = Transitions::new(Spec::new(1, 1).with_act_limit(2.0));
        (0..64)
            .for_each(|i| rows.push(&[0.0], &[-1.0 + 0.01 * (i % 7) as Real], 1.0, &[0.0], true));
        rows
    }

    fn trained(config: Config) -> Mcq {
        let rows = rows();
        let mut mcq = config.build(rows.spec(), Key::new(1)).expect("a sound configuration");
        // A broad policy, so that the actions that are judged are everywhere.
        for step in 0..800 {
            mcq.update(rows.batch(), Key::new(2).fold(step));
        }
        mcq
    }

    fn value(mcq: &mut Mcq, act: Real) -> Real {
        let critic = mcq.nets.critic;
        critic.forward(mcq.store.tape().input(array![[0.0, act]].view())).min_members().item()
    }

    /// Actions nobody recorded are worth what the recorded ones are, neither more nor less; without the second term of (4)
    /// nothing says so.
    #[test]
    fn unseen_actions_are_worth_the_best_seen() {
        let broad = Config { target_entropy: Some(0.6), alpha: 0.5, ..small() };
        let mut mcq = trained(broad.clone());
        let spread = |mcq: &mut Mcq| {
            [-1.0, 0.0, 1.0, 1.8]
                .map(|a| (value(mcq, a) - 1.0).abs())
                .into_iter()
                .fold(0.0, Real::max)
        };
        let (held, free) =
            (spread(&mut mcq), spread(&mut trained(Config { lambda: 1.0, ..broad })));
        assert!(held < 0.25 && free > held, "{held} with pseudo-targets, {free} without");
    }

    /// A floor above every value, and a one-sided loss that never pulls up to it.
    #[test]
    fn a_floor_lifts_and_one_side_does_not() {
        let config = Config {
            floor: Some(3.0),
            lambda: 0.5,
            target_entropy: Some(0.6),
            alpha: 0.5,
            ..small()
        };
        let lifted = value(&mut trained(config.clone()), 1.5);
        let left = value(&mut trained(Config { one_sided: true, ..config }), 1.5);
        assert!(
            lifted > 2.5 && left < 2.0,
            "{lifted} with a floor of 3, {left} where only an excess counts"
        );
    }

    /// (3) by hand, from the same draws.
    #[test]
    fn the_pseudo_target_is_the_smaller_of_the_two_best() {
        let mut mcq = small().build(Spec::new(2, 2), Key::new(3)).expect("a sound configuration");
        let nets = mcq.nets;
        let x = Array2::from_shape_fn((3, 2), |(i, j)| (i as Real - j as Real) * 0.5);
        let tape = mcq.store.tape();
        let (x, n, key) = (tape.input(x.view()), 4, Key::new(4));
        let got = pseudo_target(nets.vae, nets.critic, x, n, None, key).read(|y| y.to_vec());
        let a = nets.vae.sample(x.repeat_rows(n), key);
        let want = nets.critic.forward(x.repeat_rows(n).cat(a)).read(|q| {
            let best = |critic: usize, row: usize| {
                q[critic * 3 * n + row * n..][..n]
                    .iter()
                    .copied()
                    .fold(Real::NEG_INFINITY, Real::max)
            };
            (0..3).map(|row| best(0, row).min(best(1, row))).collect::<Vec<_>>()
        });
        assert!(
            got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-6),
            "{got:?} is not {want:?}"
        );
    }
}
