//! COMBO, conservative offline model-based policy optimisation (Yu, Kumar, Rafailov, Rajeswaran, Levine & Finn, *COMBO:
//! conservative offline model-based policy optimization*, NeurIPS 2021, arXiv:2102.08363): [`cql`] on transitions of
//! the dataset and of a model, in which only what the dataset did is pushed up. Read that file first; here is what differs.
//!
//! | equation | code |
//! |---|---|
//! | (1) D_model ← rollouts of μ̂, h steps long, from states of the dataset; μ̂ = π, or uniform | [`Combo::imagine`](backcast_core::Learner::imagine) |
//! | (2) B = a share f of rows of the dataset, the others of D_model: d_f = f·d + (1−f)·d̂ | [`Rollouts::real`] |
//! | (3) L_Q(θ) = Σ_j E_{d_f}[ (Q_j(s,a) − y)² ] + β·gap_j; y and all else as in CQL | [`Cql`]'s `critic_step` |
//! | (4) gap_j = E_{s∼ρ}[ LSE_j(s) ] − E_{s,a∼d}[ Q_j(s,a) ] | [`Cql`]'s `critic_step`, [`Rho`] |
//! | (4′) gap_j = E_{s∼ρ, a∼μ}[ Q_j(s,a) ] − E_{s,a∼d}[ Q_j(s,a) ] | [`Cql`]'s `critic_step`, [`Mu`] |
//!
//! Order: (1) before the first update and every [`Rollouts::every`] after it; then CQL's steps, actor first.
//!
//! What the model says is neither doubted nor charged for: where it is wrong, values are lowered because the policy went there and
//! the dataset did not. (4) is what implementations compute, CQL(H) on ρ; (4′) is the paper's objective, eq. 2, as it stands, with
//! ρ(s,a) = d̂(s)·μ(a∣s).
//!
//! The authors published no code. As in OfflineRL-Kit, whose defaults these are: both kinds of states are lowered, the target has
//! no entropy. Not from it: its soft maximum is over three actions at a time, by an oversight (a reshape whose result is dropped),
//! which [`cql::Config::three_way`] repeats; its policy's rate follows a cosine, as both rates do here where [`cql::Config::lr_decay_steps`] says
//! so; it steps the temperature after the policy, ours before; and its density has ln(1 − a² + 10⁻⁶) where ours is exact (with the
//! exact form put into it, two parts in a million remain). polixir's code lifts imagined rows too.
//!
//! A batch without imagined rows is CQL's, whatever ρ. In one without rows of the dataset there is nothing to lift, and to lower alone
//! has no end: its gap is 0, and neither β nor α′ does anything.

use crate::{
    blocks::conservative::{candidates, side_by_side, uniform},
    cql,
    cql::{Cql, Objective, Plain},
    model_based::imagination::Imagination,
};
use backcast_core::{
    Algorithm, Batch, ConfigError, Key, Learner, Metrics, Problem, RolloutSummary, Rollouts, Sink,
    Source, acts_as, choices, hyperparameters,
};
use backcast_imagination::{ImagineConfig, Uniform};
use backcast_nn::{TanhGaussian, Var, state};
use backcast_penalties::NoPenalty;
use serde::Deserializer;
use std::ops::Range;

choices! {
    /// The states in which values are lowered.
    pub enum Rho {
        /// Those of the whole batch, d_f.
        #[default]
        Mixture,
        /// Those that the model imagined, d̂.
        Model,
    }
}

choices! {
    /// The actions whose values are lowered in such a state.
    pub enum Mu {
        /// All, the most valuable most: CQL's soft maximum, (4).
        #[default]
        SoftMaximum,
        /// Those of π(·∣s), all alike, (4′).
        Policy,
        /// Uniform ones, all alike, (4′).
        Uniform,
    }
}

// ANCHOR: objective
/// Where values are pushed down, and of which actions, instead of CQL's everywhere and by a soft maximum.
#[derive(Clone, Copy)]
pub(crate) struct Pushed {
    pub(crate) rho: Rho,
    pub(crate) mu: Mu,
}

impl Objective for Pushed {
    /// (4)  s ~ ρ: the whole batch, or its imagined rows, where there are some
    fn rho(&self, batch: Batch<'_>) -> Range<usize> {
        match self.rho {
            _ if batch.real == 0 => 0..0,
            Rho::Model if batch.real < batch.len() => batch.real..batch.len(),
            _ => 0..batch.len(),
        }
    }

    /// (4)  CQL's candidates;   (4′)  a ~ μ
    fn actions<'t>(&self, pi: [TanhGaussian<'t>; 2], n: usize, key: Key) -> (Var<'t>, Var<'t>) {
        let mean = pi[0].base.mean;
        let (actions, log_p) = match self.mu {
            Mu::SoftMaximum => return candidates(pi[0], pi[1], n, key),
            Mu::Policy => pi[0].repeat_rows(n).sample(key.name("here")),
            Mu::Uniform => uniform(mean, n, key),
        };
        let rows = mean.shape().rows;
        (side_by_side(actions, rows), side_by_side(log_p, rows))
    }

    /// (4)  LSE_j(s);   (4′)  Q_j(s,a)
    fn lowered<'t>(&self, q: Var<'t>, log_density: Var<'t>, three_way: bool) -> Var<'t> {
        match self.mu {
            Mu::SoftMaximum => Plain.lowered(q, log_density, three_way),
            _ => q,
        }
    }
}
// ANCHOR_END: objective

hyperparameters! {
    /// One field per symbol; the defaults are OfflineRL-Kit's.
    pub struct Config {
        /// The states in which values are lowered.
        rho: Rho = Rho::Mixture;
        /// The actions whose values are lowered there.
        mu: Mu = Mu::SoftMaximum;
        /// Whether actions of rollouts are uniform instead of the policy's: the paper's choice for some tasks.
        uniform_rollout: bool = false;
        /// How actions are rolled out, and the share f of real rows; f = 0.5, the paper's other one is 0.8.
        #[serde(deserialize_with = "rollouts")]
        rollouts: Rollouts = Rollouts { real: 0.5, ..Rollouts::default() };
        /// The agent. β is its `weight`: 0.5, 1 or 5 in the paper's grid. There is no warm start unless it asks for one.
        cql: cql::Config = cql::Config::default();
    }
    together(config) {
        let real = config.rollouts.real > 0.0;
        let why = "is 0; without rows of the dataset nothing is pushed up";
        ConfigError::unless(real, "real", why)?;
        let three = config.cql.three_way && config.mu != Mu::SoftMaximum;
        let why = "is about a soft maximum, and `mu` asks for none";
        ConfigError::unless(!three, "three_way", why)
    }
}

/// What is not given is this algorithm's default, not that of all.
fn rollouts<'de, D: Deserializer<'de>>(from: D) -> Result<Rollouts, D::Error> {
    Rollouts::read_over(Config::default().rollouts, from)
}

impl Algorithm for Config {
    const NAME: &str = "combo";
    const PAPER: &str =
        "Yu et al., COMBO: conservative offline model-based policy optimization, arXiv:2102.08363";
    const SOURCE: &str = include_str!("combo.rs");
    const USES_MODEL: bool = true;
    type Learner = Combo;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Combo, ConfigError> {
        self.check()?;
        let mut problem = problem.into();
        let config = ImagineConfig::default();
        let model = problem.take_model()?;
        Ok(Combo {
            cql: self.cql.build_base(problem.spec, key)?,
            pushed: Pushed { rho: self.rho, mu: self.mu },
            uniform: self.uniform_rollout.then_some(Uniform(problem.spec)),
            imagination: Imagination::new(model, &self.rollouts, config, Box::new(NoPenalty))?,
            rollouts: self.rollouts.clone(),
        })
    }
}

/// CQL that pushes values down in states of a model and up for the dataset's actions.
pub struct Combo {
    rollouts: Rollouts,
    uniform: Option<Uniform>,
    pushed: Pushed,
    cql: Cql,
    imagination: Imagination,
}

impl Learner for Combo {
    // ANCHOR: update
    /// (2)–(4), as CQL
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        self.cql.update_by(batch, key, &mut self.pushed)
    }
    // ANCHOR_END: update

    fn rollouts(&self) -> Option<&Rollouts> {
        Some(&self.rollouts)
    }

    // ANCHOR: imagine
    /// (1)  h steps of π, or of uniform actions, from states of the dataset, rewarded as the model says
    fn imagine(&mut self, dataset: &dyn Source, key: Key, sink: &mut dyn Sink) -> RolloutSummary {
        match &mut self.uniform {
            Some(uniform) => self.imagination.roll(uniform, dataset, key, sink),
            None => self.imagination.roll(&mut self.cql, dataset, key, sink),
        }
    }
    // ANCHOR_END: imagine
}

acts_as!(Combo: cql);
// The model is not part of it: it never changes.
state!(Combo: cql);

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{
        Column, Direction, Real, Slot, Spec, State, Stored, Transitions, WorldModel, fingerprint,
        never, snapshot,
    };
    use backcast_dynamics::{Ensemble, EnsembleConfig};
    use std::collections::BTreeMap;

    const SPEC: Spec = Spec::new(2, 2).with_act_limit(2.0);

    fn rows(real: usize) -> Transitions {
        let mut rows = Transitions::new(SPEC);
        for i in 0..40 {
            if i == real {
                rows.begin_imagined();
            }
            let mut x = [0.0; 6];
            Key::new(1).fold(i as u64).normal(&mut x);
            rows.push(&x[..2], &[x[2].tanh() * 2.0, x[3].tanh() * 2.0], x[0], &x[4..], i % 5 == 0);
        }
        rows
    }

    fn world_model() -> WorldModel {
        let small = EnsembleConfig {
            members: 2,
            elites: 1,
            hidden: vec![4],
            weight_decay: vec![0.0; 2],
            ..Default::default()
        };
        WorldModel::new(
            Ensemble::new(small, SPEC, Direction::Forward, Key::new(2)).expect("sound"),
            never,
        )
    }

    fn small() -> Config {
        let cql = cql::Config { hidden: vec![16], n_action_samples: 4, ..Default::default() };
        Config {
            cql,
            rollouts: Rollouts { starts: 400, horizon: 2, ..Config::default().rollouts },
            ..Default::default()
        }
    }

    fn build(config: Config) -> Combo {
        config.build(world_model(), Key::new(3)).expect("a sound configuration")
    }

    #[test]
    fn on_rows_of_the_dataset_alone_it_is_cql() {
        let config = small();
        let plain = cql::Config { warm_start: Some(0), ..config.cql.clone() };
        let rows = rows(40);
        let mut cql = plain.build(SPEC, Key::new(3)).expect("a sound configuration");
        for step in 0..4 {
            cql.update(rows.batch(), Key::new(4).fold(step));
        }
        for rho in [Rho::Mixture, Rho::Model] {
            let mut combo = build(Config { rho, ..config.clone() });
            for step in 0..4 {
                combo.update(rows.batch(), Key::new(4).fold(step));
            }
            assert_eq!(fingerprint(&mut combo), fingerprint(&mut cql), "{rho:?}");
        }
    }

    /// Without a row of the dataset the critics are fitted to their targets and to nothing else.
    #[test]
    fn on_imagined_rows_alone_nothing_is_pushed_down() {
        let trained = |weight, target_action_gap| {
            let config = small();
            let cql =
                cql::Config { cql_alpha: weight, target_action_gap, critic_lr: 1e-2, ..config.cql };
            let mut combo = build(Config { cql, ..config });
            let rows = rows(0);
            let all = (0..4)
                .map(|step| combo.update(rows.batch(), Key::new(4).fold(step)))
                .collect::<Vec<_>>();
            assert!(all.iter().all(|metrics| metrics.get("gap") == Some(0.0)), "{all:?}");
            (all[3], snapshot(&mut combo))
        };
        let (_, plain) = trained(0.0, None);
        let (metrics, priced) = trained(5.0, Some(3.0));
        assert_eq!(metrics.get("ln_multiplier"), Some(0.0));
        let critics = |of: &BTreeMap<String, Stored>| -> Vec<Stored> {
            of.iter()
                .filter(|(name, _)| name.starts_with("critic"))
                .map(|(_, stored)| stored.clone())
                .collect()
        };
        assert_eq!(critics(&plain), critics(&priced));
        assert_ne!(critics(&plain), critics(&snapshot(&mut build(small()))));
    }

    /// One state, imagined to pay the same for every action, of which the dataset has seen one alone: that one comes to be valued
    /// most, and the value of the actions the model imagined falls below what they pay.
    #[test]
    fn only_actions_of_the_dataset_are_pushed_up() {
        let mut rows = Transitions::new(Spec::new(2, 2).with_act_limit(2.0));
        (0..20).for_each(|_| rows.push(&[0.0; 2], &[1.0; 2], 1.0, &[0.0; 2], true));
        rows.begin_imagined();
        (0..20).for_each(|_| rows.push(&[0.0; 2], &[-1.0; 2], 1.0, &[0.0; 2], true));
        for (rho, mu) in [
            (Rho::Mixture, Mu::SoftMaximum),
            (Rho::Model, Mu::SoftMaximum),
            (Rho::Model, Mu::Uniform),
        ] {
            let config = small();
            let cql =
                cql::Config { cql_alpha: 0.1, critic_lr: 3e-3, hidden: vec![32], ..config.cql };
            let mut combo = build(Config { rho, mu, cql, ..config });
            let mean = |combo: &mut Combo| {
                let last =
                    (0..50).map(|step| combo.update(rows.batch(), Key::new(5).fold(step))).last();
                last.expect("an update")
            };
            let first = mean(&mut combo);
            let last = (0..9).map(|_| mean(&mut combo)).last().expect("updates");
            let gap = |metrics: &Metrics| metrics.get("gap").expect("a metric");
            assert!(gap(&last) < gap(&first) - 0.05, "{rho:?} {mu:?}: {first:?} to {last:?}");
        }
    }

    #[test]
    fn rollouts_are_the_policys_or_uniform() {
        let dataset = rows(40);
        let second_moment = |uniform_rollout| {
            let mut imagined = Transitions::new(SPEC);
            let mut combo = build(Config { uniform_rollout, ..small() });
            // A policy that has made up its mind: σ = e^-4.
            combo.visit(&mut |name, slot| match slot {
                Slot::Tensor(_, values) if name == "actor.1.bias" => values[2..].fill(-4.0),
                _ => {}
            });
            combo.imagine(&dataset, Key::new(6), &mut imagined);
            assert_eq!(imagined.len(), 800);
            let actions = imagined.values(Column::Act);
            actions.iter().map(|a| a * a).sum::<Real>() / actions.len() as Real
        };
        // Uniform in ±2: 4/3; six standard errors.
        assert!((second_moment(true) - 4.0 / 3.0).abs() < 0.18, "{}", second_moment(true));
        assert!(second_moment(false) < 0.9, "{}", second_moment(false));
    }

    #[test]
    fn what_a_file_leaves_out_is_the_default() {
        let read = |text: &str| serde_json::from_str::<Config>(text);
        let read_one = read(r#"{"rollouts": {"horizon": 1}, "cql": {"cql_alpha": 0.5}}"#)
            .expect("a configuration");
        let mut want = Config::default();
        (want.rollouts.horizon, want.cql.cql_alpha) = (1, 0.5);
        assert_eq!((read_one.rollouts.real, read_one), (0.5, want));
        assert!(
            read(r#"{"rollouts": {"horison": 1}}"#)
                .expect_err("a typo")
                .to_string()
                .contains("horison")
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check().expect_err("a bad value").field
        };
        assert_eq!(refused(|c| c.rollouts.real = 0.0), "real");
        assert_eq!(refused(|c| (c.mu, c.cql.three_way) = (Mu::Policy, true)), "three_way");
        assert_eq!(refused(|c| c.cql.n_action_samples = 0), "n_action_samples");
    }
}
