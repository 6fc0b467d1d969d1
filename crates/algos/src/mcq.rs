//! MCQ, mildly conservative Q-learning (Lyu, Ma, Li & Lu, *Mildly conservative Q-learning for offline reinforcement
//! learning*, NeurIPS 2022, arXiv:2206.04745): [`sac`](crate::sac) whose critics are *told* what the policy's actions
//! are worth where the dataset cannot say. Read that file first; here is what differs.
//!
//! | equation | code |
//! |---|---|
//! | (1) L(ω) = E[ ‖D(s, z) − a‖² ] + KL(E(s, a) ∥ N(0, 1)) | [`Mcq::vae_step`] |
//! | (2) y = r + γ(1−d)(min_j Q′_j(s′,a′) − α ln π(a′∣s′)), a′ ~ π(·∣s′) | [`Mcq::critic_step`] |
//! | (3) ŷ(s) = min_j max_k Q_j(s, â_k), â_k ~ ω(·∣s), k = 1 … n | [`pseudo_target`] |
//! | (4) L_Q(θ) = Σ_j λ E[ (Q_j(s,a) − y)² ] + (1−λ) E[ (Q_j(x,ã) − ŷ(x))² ], x ∈ {s, s′}, ã ~ π(·∣x) | [`Mcq::critic_step`] |
//! | (5) L_π(φ) = E[ α ln π(ã∣s) − min_j Q_j(s,ã) ] | [`ActorCritic::actor_step`] |
//!
//! Update order: (1), (2)–(4), the temperature as in SAC, (5) with it and the new critics, then the targets by Polyak.
//! The authors' code steps the temperature before the critics.
//!
//! Where CQL pushes values of the policy's actions down without end, (4) pulls them to the best that the dataset's own
//! actions are believed to be worth: no lower than that, so that an action a little better may still be found.
//!
//! In (1) both terms are summed over dimensions, as in the authors' code and unlike in BCQ; OfflineRL-Kit averages
//! them. ŷ and ã carry no gradient. The authors' code has ŷ from the live critics and ten ã for each x, as here;
//! OfflineRL-Kit has the target critics (`target_pseudo`) and one. `floor` and `one_sided` are what versions of the
//! authors' code do beyond the paper's formula; a floor of 0 supposes rewards that are not negative. Not here: the
//! margin that it has for a few tasks.

use crate::blocks::{
    actor::{NARROW_LOG_STD_BOUNDS, check_log_std_bounds},
    actor_critic::{ActorCritic, Sizes},
    behaviour::{behaviour_vae, latents},
    conservative::side_by_side,
    transition::Transition,
    value::soft_value,
};
use backcast_core::{
    ANY, Algorithm, Batch, COUNT, ConfigError, FRACTION, Key, Learner, Metrics, NON_NEGATIVE,
    POSITIVE, Problem, Real, SHARE, acts_as, hyperparameters,
};
use backcast_nn::{Adam, HIDDEN, Mlp, Precision, Store, Vae, Var, state};

hyperparameters! {
    /// One field per symbol; defaults of the authors' code, without its extras.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Weight λ of the Bellman error against the pseudo-targets. 0.7 in the authors' configuration, 0.9 in their examples.
        lambda: Real = 0.7, SHARE;
        /// Actions n of the dataset's model in (3).
        n_action_samples: usize = 10, COUNT;
        /// Actions of the policy in each state of (4).
        policy_samples: usize = 10, COUNT;
        /// Takes the target critics in (3), as OfflineRL-Kit does.
        target_pseudo: bool = false;
        /// The least that ŷ can be; none is no bound.
        floor: Option<Real> = None;
        /// Whether the second term of (4) counts only where Q_j exceeds ŷ.
        one_sided: bool = false;
        /// Temperature α at the start: the weight of a nat of entropy, in units of the value.
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
        let sizes = Sizes::new(&self.hidden, self.log_std_bounds, self.precision);
        let mut store = Store::in_precision(self.precision);
        let vae = behaviour_vae(&mut store, spec, &self.vae_hidden, key);
        let core = ActorCritic::within(store, spec, sizes, key, |_, _, _| {});
        let core = core.with_temperature(self.alpha, self.alpha_lr);
        let vae_adam = Adam::new(vae.range(), self.vae_lr);
        Ok(Mcq { config: self.clone(), core, vae, vae_adam })
    }
}

/// SAC whose critics value unseen actions like the best seen.
pub struct Mcq {
    config: Config,
    core: ActorCritic,
    vae: Vae,
    vae_adam: Adam,
}

// ANCHOR: pseudo_target
/// (3)  ŷ(x) = min_j max_k Q_j(x, â_k),   â_k ~ ω(·∣x), k = 1 … n: `[1, rows, 1]`
fn pseudo_target<'t>(vae: Vae, critic: Mlp, x: Var<'t>, n: usize, key: Key) -> Var<'t> {
    let each = x.repeat_rows(n);
    let a = side_by_side(vae.decode(each, latents(vae, each, key)), x.shape().rows);
    critic.values(x, a).max_cols().min_members()
}
// ANCHOR_END: pseudo_target

impl Mcq {
    // ANCHOR: vae_step
    /// (1)  L(ω) = E[ ‖D(s, z) − a‖² ] + KL(E(s, a) ∥ N(0, 1)),   z ~ E(s, a)
    fn vae_step(&mut self, batch: Batch<'_>, key: Key) -> Real {
        let vae = self.vae;
        self.vae_adam.minimise(&mut self.core.store, |tape| {
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
        let vae = self.vae;
        let ActorCritic { store, nets, temperature, critic_adam, .. } = &mut self.core;
        let ln_alpha = temperature.log();
        let &Config { gamma, lambda, n_action_samples: n, policy_samples: m, .. } = &self.config;
        let &Config { target_pseudo, floor, one_sided, .. } = &self.config;
        let judge = if target_pseudo { nets.critic_target } else { nets.critic };
        critic_adam.minimise_with(store, |tape| {
            let y = tape.no_grad(|tape| {
                let Transition { r, s2, alive, .. } = Transition::on(tape, batch);
                let next = key.name("next");
                r + alive * soft_value(nets.actor, nets.critic_target, s2, ln_alpha, next) * gamma
            });
            let Transition { s, a, s2, .. } = Transition::on(tape, batch);
            let q = nets.critic.forward(s.cat(a));
            let x = [(batch.obs, s, "here"), (batch.next_obs, s2, "there")];
            let [here, there] = x.map(|(states, x, name)| {
                let key = key.name(name);
                let pseudo = tape.no_grad(|tape| {
                    let x = tape.input(states);
                    let best = pseudo_target(vae, judge, x, n, key.name("behaviour"));
                    floor.map_or(best, |floor| best.clamp(floor, Real::MAX))
                });
                let tried = tape.no_grad(|tape| {
                    let pi = nets.actor.at(tape.input(states)).repeat_rows(m);
                    pi.sample(key.name("policy")).0 * nets.actor.limit
                });
                let excess = nets.critic.forward_pairs(x, tried) - pseudo.repeat_rows(m);
                (if one_sided { excess.relu() } else { excess }).square().mean()
            });
            let unseen = (here + there) * 0.5;
            (((q - y).square().mean() * lambda + unseen * (1.0 - lambda)) * 2.0, q.mean().item())
        })
    }
    // ANCHOR_END: critic_step
}

impl Learner for Mcq {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let Config { actor_lr, critic_lr, target_entropy, tau, .. } = self.config;
        self.core.set_rates(actor_lr, critic_lr, 0);
        let vae_loss = self.vae_step(batch, key.name("vae"));
        let (critic_loss, q) = self.critic_step(batch, key.name("critic"));
        let (actor_loss, entropy) = self.core.actor_step(batch, target_entropy, key.name("actor"));
        self.core.update_targets(tau);
        let ln_alpha = self.core.temperature.log();
        let losses = [("vae_loss", vae_loss), ("critic_loss", critic_loss), ("q", q)];
        let mut metrics = Metrics::from(losses);
        *metrics.put("actor_loss", actor_loss).put("entropy", entropy).put("ln_alpha", ln_alpha)
    }
    // ANCHOR_END: update
}

acts_as!(Mcq: core);
state!(Mcq: core, vae_adam);

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Spec, Transitions};
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
        let critic = mcq.core.nets.critic;
        critic.forward(mcq.core.store.tape().input(array![[0.0, act]].view())).min_members().item()
    }

    /// Actions nobody recorded are worth what the recorded ones are, neither more nor less; without the second term of
    /// (4) nothing says so.
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
        let raised = value(&mut trained(config.clone()), 1.5);
        let left = value(&mut trained(Config { one_sided: true, ..config }), 1.5);
        assert!(
            raised > 2.5 && left < 2.0,
            "{raised} with a floor of 3, {left} where only an excess counts"
        );
    }

    /// (3) by hand, from the same draws.
    #[test]
    fn the_pseudo_target_is_the_smaller_of_the_two_best() {
        let mut mcq = small().build(Spec::new(2, 2), Key::new(3)).expect("a sound configuration");
        let nets = mcq.core.nets;
        let x = Array2::from_shape_fn((3, 2), |(i, j)| (i as Real - j as Real) * 0.5);
        let tape = mcq.core.store.tape();
        let (x, n, key) = (tape.input(x.view()), 4, Key::new(4));
        let got = pseudo_target(mcq.vae, nets.critic, x, n, key).read(|y| y.to_vec());
        let a = mcq.vae.sample(x.repeat_rows(n), key);
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
