//! SAC-N and EDAC, ensembles of critics that disagree (An, Moon, Kim & Song, *Uncertainty-based offline reinforcement
//! learning with diversified Q-ensemble*, NeurIPS 2021, arXiv:2110.01548): [`sac`](crate::sac) with N critics in the
//! place of two. Read that file first; here is what differs.
//!
//! | equation | code |
//! |---|---|
//! | (1) L_π(φ) = E[ α ln π(ã∣s) − min_j Q_j(s,ã) ], j = 1 … N | [`Edac::actor_step`] |
//! | (2) y = r + γ(1−d)(min_j Q′_j(s′,a′) − α ln π(a′∣s′)), a′ ~ π(·∣s′) | [`Edac::critic_step`] |
//! | (3) ES(s,a) = Σ_{i≠j} ⟨g_i, g_j⟩, g_j = ∇_a Q_j(s,a) / (‖∇_a Q_j(s,a)‖ + 10⁻¹⁰) | [`similarity`] |
//! | (4) L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] + η/(N−1)·E[ ES(s,a) ] | [`Edac::critic_step`] |
//!
//! Update order: the temperature as in SAC, (1) with it, (2)–(4) with the new π, then the targets by Polyak, as in
//! CORL. The authors' code steps in this order too, but takes all three losses before the first step. η = 0 is SAC-N:
//! nothing of (3) is computed.
//!
//! The smallest of N opinions is about the mean less some deviations: it punishes actions the critics disagree on,
//! which are those the dataset does not have. Critics that all slope the same way in a disagree about nothing, and
//! hundreds are needed; (3) turns their slopes apart, and ten do. (3) is a function of derivatives, and (4)
//! differentiates it once more: on this tape a derivative is a value like any other.
//!
//! As in the authors' code: hidden biases start at 0.1 and last layers within ±3·10⁻³, so that critics begin alike and
//! near zero; the loss is a sum over critics; α is left alone where the backup has no entropy. Not from it: where
//! theirs has hidden weights bounded by a layer's outputs, ours are bounded by its inputs.

use crate::blocks::{
    actor::{NARROW_LOG_STD_BOUNDS, check_log_std_bounds, target_entropy},
    actor_critic::{ActorCritic, Sizes},
    begin_small::begin_small,
    transition::Transition,
    value::{soft_policy_loss, soft_value},
};
use backcast_core::{
    ANY, Algorithm, Batch, COUNT, ConfigError, FRACTION, Key, Learner, Metrics, NON_NEGATIVE,
    POSITIVE, Problem, Real, SHARE, acts_as, hyperparameters,
};
use backcast_nn::{HIDDEN, Precision, Shape, Var, state};

hyperparameters! {
    /// One field per symbol; defaults of the authors' code, N and η those of most of its locomotion tasks.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Critics N. SAC-N takes 10 to 500, EDAC 10 to 50.
        critics: usize = 10, COUNT;
        /// Weight η of the similarity of the critics' slopes; 0 is SAC-N.
        eta: Real = 1.0, NON_NEGATIVE;
        /// Counts the entropy of π(·∣s′) in (2). Where it does not, α stays what it was, as in the authors' code.
        entropy_backup: bool = true;
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
        /// Learning rate of π.
        actor_lr: Real = 3e-4, POSITIVE;
        /// Learning rate of Q.
        critic_lr: Real = 3e-4, POSITIVE;
        /// Updates over which the rates of π and Q fall to zero on a half cosine; 0, as in the paper, keeps them constant.
        lr_decay_steps: u64 = 0;
        /// Whether critics have layer normalisation between sums and activations; ours, off in the paper.
        layer_norm: bool = false;
        /// Units of the hidden layers.
        hidden: Vec<usize> = vec![256, 256, 256], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`].
        precision: Precision = Precision::F32;
    }
    together(config) {
        check_log_std_bounds(Some(config.log_std_bounds))?;
        // Of a single critic there is no pair.
        let enough = config.critics > usize::from(config.eta > 0.0);
        let why = format!("is {}; diversity needs two", config.critics);
        ConfigError::unless(enough, "critics", why)
    }
}

impl Algorithm for Config {
    const NAME: &str = "edac";
    const PAPER: &str = "An et al., Uncertainty-based offline reinforcement learning with diversified Q-ensemble, arXiv:2110.01548";
    const SOURCE: &str = include_str!("edac.rs");
    type Learner = Edac;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Edac, ConfigError> {
        self.check()?;
        let sizes = Sizes::new(&self.hidden, self.log_std_bounds, self.precision);
        let sizes = Sizes { critics: self.critics, layer_norm: self.layer_norm, ..sizes };
        let core = ActorCritic::new(problem.into().spec, sizes, key, |store, actor, critic| {
            for (net, name) in [(actor.net, "actor"), (critic, "critic")] {
                begin_small(store, &net, LAST_BOUND, key.name(name).name("begin small"));
            }
        });
        Ok(Edac { config: self.clone(), core: core.with_temperature(self.alpha, self.alpha_lr) })
    }
}

/// The bound of last layers at the start.
const LAST_BOUND: Real = 3e-3;

/// SAC whose critics are many and are kept from agreeing by habit.
pub struct Edac {
    config: Config,
    core: ActorCritic,
}

// ANCHOR: similarity
/// (3)  ES(s,a) = Σ_{i≠j} ⟨g_i, g_j⟩ of every row, `[1, rows, 1]`, from `q`, `[N, rows, 1]`, each critic at its own `actions`,
/// `[N, rows, act]`
///
/// The sum over pairs is ‖Σ_j g_j‖² − Σ_j ‖g_j‖²: as many terms as critics, not as pairs of them.
fn similarity<'t>(q: Var<'t>, actions: Var<'t>) -> Var<'t> {
    let slope = q.tape().grad(q.sum(), actions);
    let g = slope * (slope.norm_cols() + 1e-10).recip();
    g.sum_members().square().sum_cols() - g.square().sum_cols().sum_members()
}
// ANCHOR_END: similarity

impl Edac {
    // ANCHOR: actor_step
    /// (1)  L_π(φ) = E[ α ln π(ã∣s) − min_j Q_j(s,ã) ],   ã ~ π(·∣s);   the temperature as in SAC (2)
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let ActorCritic { spec, store, nets, temperature, actor_adam, .. } = &mut self.core;
        let entropy = target_entropy(self.config.target_entropy, *spec);
        actor_adam.minimise_with(store, |tape| {
            let s = tape.input(batch.obs);
            soft_policy_loss(nets.actor, nets.critic, s, key, |log_pi| {
                match self.config.entropy_backup {
                    true => temperature.update_temperature(log_pi, entropy),
                    false => (tape.scalar(temperature.log()).exp(), -log_pi.mean().item()),
                }
            })
        })
    }
    // ANCHOR_END: actor_step

    // ANCHOR: critic_step
    /// (2)  y = r + γ(1−d)(min_j Q′_j(s′,a′) − α ln π(a′∣s′)),   a′ ~ π(·∣s′)
    /// (4)  L_Q(θ) = Σ_j E[ (Q_j(s,a) − y)² ] + η/(N−1)·E[ ES(s,a) ]
    fn critic_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, [Real; 2]) {
        let &Config { gamma, eta, critics, entropy_backup, .. } = &self.config;
        let ActorCritic { store, nets, temperature, critic_adam, .. } = &mut self.core;
        // A temperature of 0 where entropy does not count.
        let ln_alpha = if entropy_backup { temperature.log() } else { Real::NEG_INFINITY };
        critic_adam.minimise_with(store, |tape| {
            let y = tape.no_grad(|tape| {
                let Transition { r, s2, alive, .. } = Transition::on(tape, batch);
                let value = soft_value(nets.actor, nets.critic_target, s2, ln_alpha, key);
                r + alive * value * gamma
            });
            let Transition { s, a, .. } = Transition::on(tape, batch);
            // One copy of the action for each critic, so that each has a slope of its own.
            let actions = a.spread(Shape { members: critics, ..a.shape() });
            let q = nets.critic.forward(s.cat(if eta > 0.0 { actions } else { a }));
            let fit = (q - y).square().mean() * critics as Real;
            if eta == 0.0 {
                return (fit, [q.mean().item(), 0.0]);
            }
            let alike = similarity(q, actions).mean();
            let pairs = (critics * (critics - 1)) as Real;
            let loss = fit + alike * (eta / (critics - 1) as Real);
            (loss, [q.mean().item(), alike.item() / pairs])
        })
    }
    // ANCHOR_END: critic_step
}

impl Learner for Edac {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let &Config { actor_lr, critic_lr, lr_decay_steps, tau, eta, .. } = &self.config;
        self.core.set_rates(actor_lr, critic_lr, lr_decay_steps);
        let (actor_loss, entropy) = self.actor_step(batch, key.name("actor"));
        let (critic_loss, [q, similarity]) = self.critic_step(batch, key.name("target"));
        self.core.update_targets(tau);
        let losses = [("actor_loss", actor_loss), ("critic_loss", critic_loss), ("q", q)];
        let mut metrics = Metrics::from(losses);
        metrics.put("entropy", entropy).put("ln_alpha", self.core.temperature.log());
        if eta > 0.0 {
            metrics.put("similarity", similarity);
        }
        metrics
    }
    // ANCHOR_END: update
}

acts_as!(Edac: core);
state!(Edac: core);

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Slot, Spec, State, Transitions, fingerprint, restore, snapshot};
    use backcast_nn::{Activation, Init, Mlp, Store};

    fn rows() -> Transitions {
        let mut rows = Transitions::new(Spec::new(2, 3));
        for i in 0..64 {
            let mut x = [0.0; 7];
            Key::new(1).fold(i).normal(&mut x);
            rows.push(
                &x[..2],
                &[x[2].tanh(), x[3].tanh(), x[4].tanh()],
                x[0] * x[2].tanh(),
                &x[5..],
                i % 5 == 0,
            );
        }
        rows
    }

    /// Critics whose slopes are known: Q_j = ⟨w_j, a⟩ has slope w_j whatever the state.
    #[test]
    fn similarity_is_the_sum_of_cosines_over_pairs() {
        let slopes: [[Real; 2]; 4] = [[3.0, 4.0], [0.0, -2.0], [1.0, 0.0], [0.0, 0.0]];
        let mut store = Store::default();
        let tape = store.tape();
        let actions = tape.normal(Shape::new(4, 5, 2), Key::new(2));
        let w = tape.fill(Shape::new(4, 2, 1), |out| out.copy_from_slice(slopes.as_flattened()));
        let alike = similarity(actions.matmul(w, false, false), actions);
        assert_eq!(alike.shape().dims(), [1, 5, 1]);
        // cos(1,2) = −0.8, cos(1,3) = 0.6, cos(2,3) = 0; a critic without a slope has no angle to any.
        let want = 2.0 * (-0.8 + 0.6);
        alike
            .read(|x| x.iter().for_each(|x| assert!((x - want).abs() < 1e-5, "{x} is not {want}")));
    }

    /// The derivative of (4) by the parameters, through derivatives by actions, against differences of the loss itself.
    #[test]
    fn the_diversity_term_is_differentiated_through_slopes() {
        let rows = rows();
        let config = Config { critics: 3, hidden: vec![6], eta: 1.0, ..Default::default() };
        let mut edac = config.build(rows.spec(), Key::new(3)).expect("a sound configuration");
        let (critic, batch) = (edac.core.nets.critic, rows.batch());
        // Smooth units, and layers of ordinary size: a difference of a kink says nothing.
        let net = Mlp::new(
            &mut edac.core.store,
            "smooth",
            &[5, 6, 1],
            3,
            Activation::Tanh,
            Init::FanIn,
            Key::new(4),
        );
        assert_eq!(net.members(), critic.members());
        let loss = |store: &mut Store, out: Option<&mut [Real]>| {
            let tape = store.tape();
            let (s, a) = (tape.input(batch.obs), tape.input(batch.act));
            let actions = a.spread(Shape::new(3, a.shape().rows, 3));
            let loss = similarity(net.forward(s.cat(actions)), actions).mean();
            out.into_iter().for_each(|out| tape.grad_params(loss, net.range(), out));
            loss.item()
        };
        let mut gradient = vec![0.0; net.range().len()];
        loss(&mut edac.core.store, Some(&mut gradient));
        // Along the gradient itself, where the difference is largest.
        let size = gradient.iter().map(|g| g * g).sum::<Real>().sqrt();
        assert!(size > 1e-2, "the gradient is {size}");
        let step = 1e-2 / size;
        let mut at = |sign: Real| {
            for (p, g) in edac.core.store.params_mut()[net.range()].iter_mut().zip(&gradient) {
                *p += sign * step * g;
            }
            let value = loss(&mut edac.core.store, None);
            for (p, g) in edac.core.store.params_mut()[net.range()].iter_mut().zip(&gradient) {
                *p -= sign * step * g;
            }
            value
        };
        let slope = (at(1.0) - at(-1.0)) / (2.0 * step * size);
        assert!((slope / size - 1.0).abs() < 0.02, "{slope} along a gradient of size {size}");
    }

    #[test]
    fn diversity_turns_slopes_apart() {
        let alike = |eta| {
            let rows = rows();
            let config =
                Config { critics: 4, eta, hidden: vec![16], critic_lr: 1e-3, ..Default::default() };
            let mut edac = config.build(rows.spec(), Key::new(5)).expect("a sound configuration");
            (0..300)
                .map(|step| edac.update(rows.batch(), Key::new(6).fold(step)))
                .last()
                .expect("an update")
        };
        let (weak, strong) = (alike(1e-6).get("similarity"), alike(5.0).get("similarity"));
        assert!(
            strong.expect("a metric") < weak.expect("a metric") - 0.2,
            "{strong:?} with diversity, {weak:?} without"
        );
        assert_eq!(alike(0.0).get("similarity"), None);
    }

    /// With two critics and no diversity it is SAC, but for where its nets begin.
    #[test]
    fn with_two_critics_it_is_sac() {
        let rows = rows();
        let hidden = vec![8, 8];
        let mut sac = crate::sac::Config { hidden: hidden.clone(), ..Default::default() }
            .build(rows.spec(), Key::new(7))
            .expect("a sound configuration");
        let config = Config { critics: 2, eta: 0.0, hidden, ..Default::default() };
        let mut edac = config.build(rows.spec(), Key::new(8)).expect("a sound configuration");
        restore(&mut edac, &snapshot(&mut sac)).expect("the same tensors");
        for step in 0..5 {
            let key = Key::new(9).fold(step);
            let (a, b) = (sac.update(rows.batch(), key), edac.update(rows.batch(), key));
            assert!(
                ["critic_loss", "actor_loss", "q"].iter().all(|name| a.get(name) == b.get(name)),
                "{a:?}\n{b:?}"
            );
        }
        assert_eq!(fingerprint(&mut sac), fingerprint(&mut edac));
    }

    #[test]
    fn nets_begin_small_and_biased() {
        let mut edac = Config { hidden: vec![8], ..Default::default() }
            .build(Spec::new(2, 3), Key::new(9))
            .expect("sound");
        edac.visit(&mut |name, slot| {
            let Slot::Tensor(_, values) = slot else { return };
            match name {
                "critic.0.bias" | "actor.0.bias" | "critic_target.0.bias" => {
                    assert!(values.iter().all(|&b| b == 0.1))
                }
                "critic.1.weight" | "actor.1.weight" | "critic_target.1.bias" => {
                    assert!(
                        values.iter().all(|w| w.abs() <= LAST_BOUND)
                            && values.iter().any(|&w| w != 0.0),
                        "{name}"
                    );
                }
                _ => {}
            }
        });
    }

    #[test]
    fn without_entropy_in_the_backup_the_temperature_rests() {
        let rows = rows();
        let config = Config {
            critics: 3,
            eta: 0.0,
            entropy_backup: false,
            hidden: vec![8],
            alpha: 0.3,
            ..Default::default()
        };
        let mut edac = config.build(rows.spec(), Key::new(10)).expect("a sound configuration");
        let metrics = (0..3)
            .map(|step| edac.update(rows.batch(), Key::new(11).fold(step)))
            .last()
            .expect("an update");
        assert_eq!(metrics.get("ln_alpha"), Some((0.3 as Real).ln()));
    }
}
