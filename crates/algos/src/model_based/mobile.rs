//! MOBILE, model-Bellman inconsistency penalised offline reinforcement learning (Sun, Zhang, Jia, Lin, Ye & Yu, *Model-Bellman
//! inconsistency for model-based offline reinforcement learning*, ICML 2023): [`sac`](crate::sac) with N critics on transitions
//! imagined by its own policy, whose targets fall by how much the members of the model disagree about the value of what comes next.
//! Read that file and [`mopo`](crate::mopo) first; here is what differs.
//!
//! | equation | code |
//! |---|---|
//! | (1) D_model ← roll-outs of π, h steps long, from states of the log, rewarded as the model says | [`Mobile::imagine`](Imagines::imagine) |
//! | (2) V_i(s,a) = (1/K) Σ_k min_j Q′_j(s′_ik, a′_ik), s′_ik ~ p_i(·∣s,a), a′_ik ~ π(·∣s′_ik) | [`value_of`], `Mobile::uncertainty` |
//! | (3) 𝒰(s,a) = std_{i∈elites} V_i(s,a); 0 for rows of the log | [`ValueInconsistency`], `Mobile::uncertainty` |
//! | (4) y = r − c·𝒰(s,a) + γ(1−d)(min_j Q′_j(s′,a′) − α ln π(a′∣s′)), a′ ~ π(·∣s′); then y ← max(y, 0) | [`Mobile::critic_step`] |
//! | (5) L_Q(θ) = (1/N) Σ_j E[ (Q_j(s,a) − y)² ] | [`Mobile::critic_step`] |
//! | (6) L_π(φ) = E[ α ln π(ã∣s) − min_j Q_j(s,ã) ], ã ~ π(·∣s) | [`Mobile::actor_step`] |
//!
//! Order: (1) before the first update and every [`Rollouts::every`] after it; in an update (2)–(5), the temperature as in SAC, (6) with
//! both new, then the targets by Polyak. The authors' code steps the temperature after the policy.
//!
//! MOPO doubts a transition because its members spread; here they may spread as they like if it makes no difference to the value. The
//! price is (2): with a batch of 256, of which 243 rows are imagined, five elites and K = 10, the policy and the target critics value
//! 12 150 states, nine tenths of all the arithmetic of an update. They are evaluated a few hundred at a time, which is what the inner
//! caches hold, without a history, and members that are no elites are not asked.
//!
//! As in the authors' code: the deviation is a sample's (divided by their number less one); d does not matter to 𝒰; (4) counts entropy,
//! which the paper's equation leaves out; with `max_backup` it does not. Not from it: no bound α ≤ 1; a cosine schedule where
//! [`Config::decay`] says so, of both rates, not of the policy's alone.

use crate::{
    blocks::{
        actor::{NARROW_LOG_STD_BOUNDS, check_log_std_bounds, target_entropy},
        actor_critic::{ActorCritic, Nets, Sizes},
        perturbed::rows_of,
        transition::Transition,
        value::{Backup, next_value},
    },
    model_based::imagination::{Imagination, ensemble},
};
use backcast_core::{
    ANY, Algorithm, Batch, COUNT, ConfigError, Dynamics, FRACTION, Key, Learner, Metrics,
    NON_NEGATIVE, POSITIVE, Problem, Real, RolloutSummary, Rollouts, SHARE, Sink, Source, Spec,
    acts_as, hyperparameters,
};
use backcast_imagination::ImagineConfig;
use backcast_nn::{BLOCK_ROWS, Gaussian, HIDDEN, Precision, Shape, Var, state};
use backcast_penalties::{NoPenalty, ValueInconsistency};
use ndarray::{ArrayView2, ArrayView3, Axis, Slice};

hyperparameters! {
    /// One field per symbol; defaults of the authors' code, but for h, which is 5 in most of its configurations.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Price c of a unit of 𝒰: 0.1 to 5 in the authors' configurations. At 0 the model is asked nothing in an update.
        penalty_coef: Real = 1.0, NON_NEGATIVE;
        /// Next states K of each elite in (2).
        samples: usize = 10, COUNT;
        /// Critics N. 10 on Adroit.
        critics: usize = 2, COUNT;
        /// Takes the best of K actions at s′ by each target critic, then the smallest of those, as the value in (4). On for Adroit.
        max_backup: bool = false;
        /// Counts the entropy of π(·∣s′) in (4) as SAC does. Off where `max_backup` is on.
        entropy_backup: bool = true;
        /// Holds targets at 0 or above, which supposes that rewards are not negative: y ← max(y, 0).
        non_negative: bool = true;
        /// Temperature α at the start: the price of a nat of entropy, in units of the value.
        alpha: Real = 1.0, POSITIVE;
        /// Learning rate of ln α; 0 keeps α as it is.
        alpha_lr: Real = 1e-4, NON_NEGATIVE;
        /// Entropy that α is steered to, in nats, of actions in units of their limit; none is −\|A\|.
        target_entropy: Option<Real> = None, ANY.unit("nats");
        /// Bounds of ln σ, low and high: [`NARROW_LOG_STD_BOUNDS`] unless asked.
        log_std_bounds: [Real; 2] = NARROW_LOG_STD_BOUNDS;
        /// Polyak rate of the target critics.
        tau: Real = 0.005, FRACTION;
        /// Learning rate of π.
        actor_lr: Real = 1e-4, POSITIVE;
        /// Learning rate of Q.
        critic_lr: Real = 3e-4, POSITIVE;
        /// Updates over which the rates of π and Q fall to zero on a half cosine; 0 keeps them constant.
        lr_decay_steps: u64 = 0;
        /// Whether critics have layer normalisation between sums and activations; ours, off in the paper.
        layer_norm: bool = false;
        /// Units of the hidden layers.
        hidden: Vec<usize> = vec![256, 256], HIDDEN;
        /// How large products are computed. Everything is `F32` unless asked; see [`Precision`]. The model has its own.
        precision: Precision = Precision::F32;
        /// How the policy is rolled out, and the share of real rows, 0.05.
        rollouts: Rollouts = Rollouts::default();
    }
    together(config) {
        check_log_std_bounds(Some(config.log_std_bounds))?;
        let both = config.max_backup && config.entropy_backup;
        let why = "does not go with `max_backup`, whose best action has no density";
        ConfigError::unless(!both, "entropy_backup", why)
    }
}

impl Algorithm for Config {
    const NAME: &str = "mobile";
    const PAPER: &str = "Sun et al., Model-Bellman inconsistency for model-based offline reinforcement learning, ICML 2023";
    const SOURCE: &str = include_str!("mobile.rs");
    const USES_MODEL: bool = true;
    type Learner = Mobile;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Mobile, ConfigError> {
        self.check()?;
        let mut problem = problem.into();
        let mut model = problem.take_model()?;
        let elites = ensemble(&mut *model.dynamics)?.elites().len();
        let sizes = Sizes {
            hidden: &self.hidden,
            critics: self.critics,
            layer_norm: self.layer_norm,
            log_std_bounds: self.log_std_bounds,
            precision: self.precision,
        };
        let core = ActorCritic::new(problem.spec, sizes, key, |_, _, _| {});
        let (how, penalty) = (ImagineConfig::default(), Box::new(NoPenalty));
        Ok(Mobile {
            config: self.clone(),
            core: core.with_temperature(self.alpha, self.alpha_lr),
            imagination: Imagination::new(model, &self.rollouts, how, penalty)?,
            inconsistency: ValueInconsistency::new(self.samples),
            work: Work { elites: (0..elites).collect(), ..Work::default() },
        })
    }
}

/// SAC in a model of its own, with a penalty where the members would value what comes next differently.
pub struct Mobile {
    config: Config,
    core: ActorCritic,
    imagination: Imagination,
    inconsistency: ValueInconsistency,
    work: Work,
}

/// What the critics' step computes before its tape. It grows once.
#[derive(Default)]
struct Work {
    /// Targets, `[rows]`.
    y: Vec<Real>,
    /// 𝒰 of the imagined rows.
    u: Vec<Real>,
    /// States of the imagined rows in the model's units, `[imagined, obs]`.
    states: Vec<Real>,
    /// Normal numbers behind s′, `[elites, imagined·K, obs]`.
    z: Vec<Real>,
    /// Normal numbers behind a′, `[elites, imagined·K, act]`.
    epsilon: Vec<Real>,
    /// The elites' places among themselves: the others are not predicted.
    elites: Vec<usize>,
}

// ANCHOR: value_of
/// (2)  min_j Q′_j(s′, a′) of every row of `s2`, a′ = limit·tanh(μ(s′) + σ(s′)·ε)
fn value_of<'t>(nets: Nets, s2: Var<'t>, epsilon: Var<'t>) -> Var<'t> {
    let Gaussian { mean, log_std } = nets.actor.at(s2).base;
    let a2 = (mean + log_std.exp() * epsilon).tanh() * nets.actor.limit;
    nets.critic_target.forward(s2.cat(a2)).min_members()
}
// ANCHOR_END: value_of

impl Mobile {
    // ANCHOR: uncertainty
    /// (2)  V_i(s,a) = (1/K) Σ_k min_j Q′_j(s′_ik, a′_ik),   s′_ik ~ p_i(·∣s,a), a′_ik ~ π(·∣s′_ik)
    /// (3)  𝒰(s,a) = std_{i∈elites} V_i(s,a) of the imagined rows; returns its mean over them
    fn uncertainty(&mut self, batch: Batch<'_>, key: Key) -> Real {
        let (Spec { obs, act, .. }, rows) = (batch.spec, batch.len() - batch.real);
        let ActorCritic { store, nets, .. } = &mut self.core;
        let Work { u, states, z, epsilon, elites, .. } = &mut self.work;
        u.clear();
        u.resize(rows, 0.0);
        if rows == 0 || self.config.penalty_coef == 0.0 {
            return 0.0;
        }
        let many = rows * self.config.samples;
        let tape = store.tape_without_history();
        let normal = |cols, key| tape.normal(Shape::new(elites.len(), many, cols), key);
        normal(obs, key.name("states")).copy_into(z);
        normal(act, key.name("actions")).copy_into(epsilon);

        let imagined = Slice::from(batch.real..);
        let [s, a] = [batch.obs, batch.act].map(|x| x.slice_axis_move(Axis(0), imagined));
        states.clear();
        states.extend(s.iter());
        let Imagination { dynamics, scaler, .. } = &mut self.imagination;
        scaler.to_model(states);
        let model = ensemble(&mut **dynamics).expect("checked when it was built");
        let p = model.predict_elites([rows_of(states, obs), a]);

        let mut epsilon = epsilon.chunks_exact(many * act);
        let mut value = |s2: ArrayView2<'_, Real>, out: &mut [Real]| {
            let s2 = s2.to_slice().expect("dense").chunks(BLOCK_ROWS * obs);
            let epsilon = epsilon.next().expect("one for each elite").chunks(BLOCK_ROWS * act);
            for ((s2, epsilon), out) in s2.zip(epsilon).zip(out.chunks_mut(BLOCK_ROWS)) {
                let tape = store.tape_without_history();
                let s2 = tape.fill(Shape::new(1, out.len(), obs), |x| {
                    x.copy_from_slice(s2);
                    scaler.to_learner(x);
                });
                value_of(*nets, s2, tape.input(rows_of(epsilon, act)))
                    .read(|v| out.copy_from_slice(v));
            }
        };
        let z = ArrayView3::from_shape((elites.len(), many, obs), z).expect("dense");
        self.inconsistency.penalty_with(p, elites, z, &mut value, u);
        u.iter().sum::<Real>() / rows as Real
    }
    // ANCHOR_END: uncertainty

    // ANCHOR: critic_step
    /// (4)  y = r − c·𝒰(s,a) + γ(1−d)(min_j Q′_j(s′,a′) − α ln π(a′∣s′)),   a′ ~ π(·∣s′);   then y ← max(y, 0)
    /// (5)  L_Q(θ) = (1/N) Σ_j E[ (Q_j(s,a) − y)² ]
    fn critic_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, [Real; 2]) {
        let uncertainty = self.uncertainty(batch, key.name("doubt"));
        let (config, Work { y, u, .. }) = (&self.config, &mut self.work);
        let ActorCritic { store, nets, temperature, critic_adam, .. } = &mut self.core;
        let backup = Backup {
            best_of: config.max_backup.then_some(config.samples),
            ln_alpha: config.entropy_backup.then_some(temperature.log()),
        };
        let tape = store.tape_without_history();
        let Transition { r, s2, alive, .. } = Transition::on(tape, batch);
        let (pi2, limit, key) = (nets.actor.at(s2), nets.actor.limit, key.name("target"));
        let value = next_value(backup, nets.critic_target, s2, pi2, limit, key);
        (r + alive * value * config.gamma).copy_into(y);
        // Rows of the dataset come first.
        y[batch.real..].iter_mut().zip(u).for_each(|(y, u)| *y -= config.penalty_coef * *u);
        if config.non_negative {
            // A comparison, which NaN survives.
            y.iter_mut().filter(|y| **y < 0.0).for_each(|y| *y = 0.0);
        }
        let (loss, q) = critic_adam.minimise_with(store, |tape| {
            let q = nets.critic.forward(tape.input(batch.obs).cat(tape.input(batch.act)));
            ((q - tape.column(y)).square().mean(), q.mean().item())
        });
        (loss, [q, uncertainty])
    }
    // ANCHOR_END: critic_step

    // ANCHOR: actor_step
    /// (6)  L_π(φ) = E[ α ln π(ã∣s) − min_j Q_j(s,ã) ],   ã ~ π(·∣s);   the temperature as in SAC (2)
    fn actor_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, Real) {
        let ActorCritic { spec, store, nets, temperature, actor_adam, .. } = &mut self.core;
        let entropy = target_entropy(self.config.target_entropy, *spec);
        actor_adam.minimise_with(store, |tape| {
            let s = tape.input(batch.obs);
            let (sampled, log_pi) = nets.actor.at(s).sample(key);
            let (alpha, entropy) = temperature.update_temperature(log_pi, entropy);
            let q = nets.critic.forward(s.cat(sampled * nets.actor.limit)).min_members();
            ((alpha * log_pi - q).mean(), entropy)
        })
    }
    // ANCHOR_END: actor_step
}

impl Learner for Mobile {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let &Config { actor_lr, critic_lr, lr_decay_steps, tau, .. } = &self.config;
        self.core.set_rates(actor_lr, critic_lr, lr_decay_steps);
        let (critic_loss, [q, penalty]) = self.critic_step(batch, key.name("critic"));
        let (actor_loss, entropy) = self.actor_step(batch, key.name("actor"));
        self.core.update_targets(tau);
        let losses = [("critic_loss", critic_loss), ("actor_loss", actor_loss), ("q", q)];
        let mut metrics = Metrics::from(losses);
        metrics.put("penalty", penalty).put("entropy", entropy);
        *metrics.put("ln_alpha", self.core.temperature.log())
    }
    // ANCHOR_END: update

    fn rollouts(&self) -> Option<&Rollouts> {
        Some(&self.config.rollouts)
    }

    // ANCHOR: imagine
    /// (1)  h steps of π from states of the dataset, rewarded as the model says
    fn imagine(&mut self, dataset: &dyn Source, key: Key, sink: &mut dyn Sink) -> RolloutSummary {
        self.imagination.roll(&mut self.core, dataset, key, sink)
    }
    // ANCHOR_END: imagine
}

acts_as!(Mobile: core);
// The model is not part of it: it never changes.
state!(Mobile: core);

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{
        Column, Direction, ObsScaler, Transitions, WorldModel, fingerprint, never,
    };
    use backcast_dynamics::{Ensemble, EnsembleConfig};
    use ndarray::Array2;

    const SPEC: Spec = Spec::new(2, 2).with_act_limit(2.0);
    const ROWS: usize = 60;

    fn rows(real: usize) -> Transitions {
        let mut rows = Transitions::new(SPEC);
        for i in 0..ROWS {
            if i == real {
                rows.begin_imagined();
            }
            let mut x = [0.0; 6];
            Key::new(1).fold(i as u64).normal(&mut x);
            rows.push(
                &x[..2],
                &[x[2].tanh() * 2.0, x[3].tanh() * 2.0],
                x[0] - 0.2,
                &x[4..],
                i % 5 == 0,
            );
        }
        rows
    }

    /// A world in which the learner sees other numbers than the model.
    fn world_model() -> WorldModel {
        let small = EnsembleConfig {
            members: 4,
            elites: 3,
            hidden: vec![6],
            weight_decay: vec![0.0; 2],
            ..Default::default()
        };
        let model = Ensemble::new(small, SPEC, Direction::Forward, Key::new(2))
            .expect("a sound configuration");
        WorldModel::new(model, never).with_scaler(ObsScaler::new(&[0.5, -1.0], &[2.0, 0.25]))
    }

    fn small() -> Config {
        Config { hidden: vec![16], critics: 3, ..Default::default() }
    }

    fn build(config: Config) -> Mobile {
        config.build(world_model(), Key::new(3)).expect("a sound configuration")
    }

    /// (2) and (3) one state at a time, the model and the nets asked the plain way, from the same draws. There are more samples
    /// than are evaluated together.
    #[test]
    fn uncertainty_is_the_deviation_of_what_the_elites_would_value() {
        let (real, k) = (10, 10);
        let (rows, key) = (rows(real), Key::new(4));
        let mut mobile = build(small());
        let mean = mobile.uncertainty(rows.batch(), key);
        let mut plain = world_model();
        let (imagined, many) = (ROWS - real, (ROWS - real) * k);
        assert!(many > BLOCK_ROWS);
        let draws = |mobile: &mut Mobile, width, name| {
            let tape = mobile.core.store.tape();
            tape.normal(Shape::new(3, many, width), key.name(name)).read(|x| x.to_vec())
        };
        let (z, epsilon) = (draws(&mut mobile, 2, "states"), draws(&mut mobile, 2, "actions"));
        let elites = plain.dynamics.elites().to_vec();
        for row in [0, 7, imagined - 1] {
            let mut s = rows.row(Column::Obs, real + row).to_vec();
            plain.scaler.to_model(&mut s);
            let s = Array2::from_shape_vec((1, 2), s).expect("a row");
            let a = Array2::from_shape_vec((1, 2), rows.row(Column::Act, real + row).to_vec())
                .expect("a row");
            let p = plain.dynamics.predict([s.view(), a.view()]);
            let means = elites.iter().enumerate().map(|(place, &member)| {
                let values = (0..k).map(|k_th| {
                    let at = (place * many + row * k + k_th) * 2;
                    let mut s2: Vec<Real> = (0..2)
                        .map(|c| p.mean[[member, 0, 1 + c]] + p.std[[member, 0, 1 + c]] * z[at + c])
                        .collect();
                    plain.scaler.to_learner(&mut s2);
                    let nets = mobile.core.nets;
                    let tape = mobile.core.store.tape();
                    let s2 = tape.fill(Shape::new(1, 1, 2), |x| x.copy_from_slice(&s2));
                    let e =
                        tape.fill(Shape::new(1, 1, 2), |x| x.copy_from_slice(&epsilon[at..at + 2]));
                    let pi = nets.actor.at(s2).base;
                    let a2 = (pi.mean + pi.log_std.exp() * e).tanh() * 2.0;
                    (0..3)
                        .map(|j| nets.critic_target.forward_member(s2.cat(a2), j).item())
                        .fold(Real::INFINITY, Real::min)
                });
                values.sum::<Real>() / k as Real
            });
            let means: Vec<Real> = means.collect();
            let middle = means.iter().sum::<Real>() / 3.0;
            let want =
                (means.iter().map(|m| (m - middle) * (m - middle)).sum::<Real>() / 2.0).sqrt();
            let got = mobile.work.u[row];
            assert!(want > 1e-3 && (got - want).abs() < 1e-5, "row {row}: {got} is not {want}");
        }
        assert_eq!(mean, mobile.work.u.iter().sum::<Real>() / imagined as Real);
    }

    /// Imagined rows pay c·𝒰, rows of the log nothing; and no target is below 0 unless it may be.
    #[test]
    fn imagined_rows_pay_and_targets_are_held() {
        let (real, rows) = (25, rows(25));
        let targets = |weight, non_negative| {
            let mut mobile = build(Config { penalty_coef: weight, non_negative, ..small() });
            mobile.critic_step(rows.batch(), Key::new(5));
            (mobile.work.y, mobile.work.u)
        };
        let ((free, none), (priced, u)) = (targets(0.0, false), targets(2.0, false));
        assert!(
            none.iter().all(|&u| u == 0.0) && u.len() == ROWS - real && u.iter().all(|&u| u > 0.0)
        );
        assert_eq!(free[..real], priced[..real]);
        for ((free, priced), u) in free[real..].iter().zip(&priced[real..]).zip(&u) {
            assert_eq!(*priced, free - 2.0 * u);
        }
        let held: Vec<Real> = priced.iter().map(|y| y.max(0.0)).collect();
        assert!(priced.iter().any(|&y| y < 0.0) && priced.iter().any(|&y| y > 0.0));
        assert_eq!(targets(2.0, true).0, held);
    }

    #[test]
    fn rows_of_the_dataset_ask_the_model_nothing() {
        let run = |weight| {
            let mut mobile = build(Config { penalty_coef: weight, ..small() });
            let rows = rows(ROWS);
            let last =
                (0..5).map(|step| mobile.update(rows.batch(), Key::new(6).fold(step))).last();
            assert_eq!(last.expect("an update").get("penalty"), Some(0.0));
            fingerprint(&mut mobile)
        };
        assert_eq!(run(0.0), run(3.0));
    }

    /// A maximum over actions is no less than one action's value.
    #[test]
    fn the_best_of_many_actions_is_worth_more() {
        let rows = rows(ROWS);
        let mean = |max_backup| {
            let config = Config {
                max_backup,
                entropy_backup: false,
                non_negative: false,
                samples: 30,
                ..small()
            };
            let mut mobile = build(config);
            mobile.critic_step(rows.batch(), Key::new(7));
            mobile.work.y.iter().sum::<Real>() / ROWS as Real
        };
        assert!(mean(true) > mean(false) + 1e-3, "{} and {}", mean(true), mean(false));
        let both = Config { max_backup: true, ..small() };
        assert_eq!(both.check().expect_err("both").field, "entropy_backup");
    }
}
