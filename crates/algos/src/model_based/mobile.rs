//! MOBILE, model-Bellman inconsistency penalised offline reinforcement learning (Sun, Zhang, Jia, Lin, Ye & Yu,
//! *Model-Bellman inconsistency for model-based offline reinforcement learning*, ICML 2023): [`sac`](crate::sac) with N
//! critics on transitions imagined by its own policy, whose targets are penalised by how much the members of the model
//! disagree about the value of what comes next. Read that file and [`mopo`](crate::mopo) first; here is what differs.
//!
//! | equation | code |
//! |---|---|
//! | (1) D_model ← rollouts of π, h steps long, from states of the dataset, rewarded as the model says | [`Mobile::imagine`](Learner::imagine) |
//! | (2) V_i(s,a) = (1/K) Σ_k min_j Q′_j(s′_ik, a′_ik), s′_ik ~ p_i(·∣s,a), a′_ik ~ π(·∣s′_ik) | `value_of` and `Mobile::uncertainty`, in `uncertainty` |
//! | (3) 𝒰(s,a) = std_{i∈elites} V_i(s,a); 0 for rows of the dataset | [`ValueInconsistency`], `Mobile::uncertainty` |
//! | (4) y = r − c·𝒰(s,a) + γ(1−d)(min_j Q′_j(s′,a′) − α ln π(a′∣s′)), a′ ~ π(·∣s′); then y ← max(y, 0) | [`Mobile::critic_step`] |
//! | (5) L_Q(θ) = (1/N) Σ_j E[ (Q_j(s,a) − y)² ] | [`Mobile::critic_step`] |
//! | (6) L_π(φ) = E[ α ln π(ã∣s) − min_j Q_j(s,ã) ], ã ~ π(·∣s) | [`ActorCritic::actor_step`] |
//!
//! Order: (1) before the first update and every [`Rollouts::every`] after it; in an update (2)–(5), the temperature as
//! in SAC, (6) with both new, then the targets by Polyak. The authors' code steps the temperature after the policy.
//!
//! MOPO's uncertainty is the spread of the members' predictions; here they may spread as they like if it makes no
//! difference to the value. The cost is (2): with a batch of 256, of which 243 rows are imagined, five elites and K =
//! 10, the policy and the target critics value 12 150 states, nine tenths of all the arithmetic of an update. They are
//! evaluated a few hundred at a time, which is what the inner caches hold, without a history, and members that are no
//! elites are not asked.
//!
//! As in the authors' code: the deviation is a sample's (divided by their number less one); d does not matter to 𝒰; (4)
//! counts entropy, which the paper's equation leaves out; with `max_backup` it does not. Not from it: no bound α ≤ 1; a
//! cosine schedule where [`Config::lr_decay_steps`] says so, of both rates, not of the policy's alone.

use crate::{
    blocks::{
        actor::{NARROW_LOG_STD_BOUNDS, check_log_std_bounds},
        actor_critic::{ActorCritic, Sizes},
        transition::Transition,
        value::{Backup, next_value},
    },
    model_based::imagination::{Imagination, ensemble},
};
use backcast_core::{
    ANY, Algorithm, Batch, COUNT, ConfigError, Dynamics, FRACTION, Key, Learner, Metrics,
    NON_NEGATIVE, POSITIVE, Problem, Real, RolloutSummary, Rollouts, SHARE, Sink, Source, acts_as,
    hyperparameters,
};
use backcast_nn::{HIDDEN, Precision, state};
use backcast_penalties::ValueInconsistency;
use uncertainty::Work;

mod uncertainty;

hyperparameters! {
    /// One field per symbol; defaults of the authors' code, but for h, which is 5 in most of its configurations.
    pub struct Config {
        /// Discount γ.
        gamma: Real = 0.99, SHARE;
        /// Penalty coefficient c, of a unit of 𝒰: 0.1 to 5 in the authors' configurations. At 0 the model is asked nothing in an update.
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
        /// Temperature α at the start: the weight of a nat of entropy, in units of the value.
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
        Backup::check(config.max_backup, config.entropy_backup)
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
        let sizes = Sizes::new(&self.hidden, self.log_std_bounds, self.precision);
        let sizes = Sizes { critics: self.critics, layer_norm: self.layer_norm, ..sizes };
        let core = ActorCritic::new(problem.spec, sizes, key, |_, _, _| {});
        Ok(Mobile {
            config: self.clone(),
            core: core.with_temperature(self.alpha, self.alpha_lr),
            imagination: Imagination::without_penalty(model, &self.rollouts)?,
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

impl Mobile {
    // ANCHOR: critic_step
    /// (4)  y = r − c·𝒰(s,a) + γ(1−d)(min_j Q′_j(s′,a′) − α ln π(a′∣s′)),   a′ ~ π(·∣s′);   then y ← max(y, 0)
    /// (5)  L_Q(θ) = (1/N) Σ_j E[ (Q_j(s,a) − y)² ]
    fn critic_step(&mut self, batch: Batch<'_>, key: Key) -> (Real, [Real; 2]) {
        let uncertainty = self.uncertainty(batch, key.name("doubt"));
        let config = &self.config;
        let Work { y, u, .. } = &mut self.work;
        let ActorCritic { store, nets, temperature, critic_adam, .. } = &mut self.core;
        let best_of = config.max_backup.then_some(config.samples);
        let ln_alpha = config.entropy_backup.then_some(temperature.log());
        let backup = Backup { best_of, ln_alpha };
        let tape = store.tape_without_history();
        let Transition { r, s2, alive, .. } = Transition::on(tape, batch);
        let pi2 = nets.actor.at(s2);
        let key = key.name("target");
        let value = next_value(backup, nets.critic_target, s2, pi2, nets.actor.limit, key);
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
}

impl Learner for Mobile {
    // ANCHOR: update
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        let Config { actor_lr, critic_lr, lr_decay_steps, target_entropy, tau, .. } = self.config;
        self.core.set_rates(actor_lr, critic_lr, lr_decay_steps);
        let (critic_loss, [q, penalty]) = self.critic_step(batch, key.name("critic"));
        let (actor_loss, entropy) = self.core.actor_step(batch, target_entropy, key.name("actor"));
        self.core.update_targets(tau);
        let losses = [("critic_loss", critic_loss), ("actor_loss", actor_loss), ("q", q)];
        let ln_alpha = self.core.temperature.log();
        let mut metrics = Metrics::from(losses);
        *metrics.put("penalty", penalty).put("entropy", entropy).put("ln_alpha", ln_alpha)
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
        Column, Direction, ObsScaler, Spec, Transitions, WorldModel, fingerprint, never,
    };
    use backcast_dynamics::{Ensemble, EnsembleConfig};
    use backcast_nn::{BLOCK_ROWS, Shape};
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

    /// A model whose observations are scaled before the policy sees them.
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

    /// (2) and (3) one state at a time, the model and the nets asked the plain way, from the same draws. There are more
    /// samples than are evaluated together.
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

    /// Imagined rows are penalised by c·𝒰, rows of the dataset are not; and no target is below 0 unless it may be.
    #[test]
    fn imagined_rows_are_penalised_and_targets_are_held() {
        let (real, rows) = (25, rows(25));
        let targets = |weight, non_negative| {
            let mut mobile = build(Config { penalty_coef: weight, non_negative, ..small() });
            mobile.critic_step(rows.batch(), Key::new(5));
            (mobile.work.y, mobile.work.u)
        };
        let ((free, none), (penalised, u)) = (targets(0.0, false), targets(2.0, false));
        assert!(
            none.iter().all(|&u| u == 0.0) && u.len() == ROWS - real && u.iter().all(|&u| u > 0.0)
        );
        assert_eq!(free[..real], penalised[..real]);
        for ((free, penalised), u) in free[real..].iter().zip(&penalised[real..]).zip(&u) {
            assert_eq!(*penalised, free - 2.0 * u);
        }
        let held: Vec<Real> = penalised.iter().map(|y| y.max(0.0)).collect();
        assert!(penalised.iter().any(|&y| y < 0.0) && penalised.iter().any(|&y| y > 0.0));
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
