//! COMBO, conservative offline model-based policy optimisation (Yu, Kumar, Rafailov, Rajeswaran, Levine & Finn, *COMBO:
//! conservative offline model-based policy optimization*, NeurIPS 2021, arXiv:2102.08363): [`cql`] on transitions of
//! the log and of a model, in which only what the log did is lifted. Read that file first; here is what differs.
//!
//! | equation | code |
//! |---|---|
//! | (1) D_model ← roll-outs of μ̂, h steps long, from states of the log; μ̂ = π, or uniform | [`Combo::imagine`](Imagines::imagine) |
//! | (2) B = a share f of rows of the log, the others of D_model: d_f = f·d + (1−f)·d̂ | [`Rollouts::real`] |
//! | (3) L_Q(θ) = Σ_j E_{d_f}[ (Q_j(s,a) − y)² ] + β·gap_j; y and all else as in CQL | [`Cql`]'s `critic_step` |
//! | (4) gap_j = E_{s∼ρ}[ LSE_j(s) ] − E_{s,a∼d}[ Q_j(s,a) ] | [`Cql`]'s `critic_step`, [`Rho`] |
//! | (4′) gap_j = E_{s∼ρ, a∼μ}[ Q_j(s,a) ] − E_{s,a∼d}[ Q_j(s,a) ] | [`Cql`]'s `critic_step`, [`Mu`] |
//!
//! Order: (1) before the first update and every [`Rollouts::every`] after it; then CQL's steps, actor first.
//!
//! What the model says is neither doubted nor charged for: where it is wrong, values are lowered because the policy went there and
//! the log did not. (4) is what implementations compute, CQL(H) on ρ; (4′) is the paper's objective, eq. 2, as it stands, with
//! ρ(s,a) = d̂(s)·μ(a∣s).
//!
//! The authors published no code. As in OfflineRL-Kit, whose defaults these are: both kinds of states are lowered, the target has
//! no entropy. Not from it: its soft maximum is over three actions at a time, by an oversight (a reshape whose result is dropped),
//! which [`cql::Config::three_way`] repeats; its policy's rate follows a cosine, as both rates do here where [`cql::Config::decay`] says
//! so; it steps the temperature after the policy, ours before; and its density has ln(1 − a² + 10⁻⁶) where ours is exact (with the
//! exact form put into it, two parts in a million remain). polixir's code lifts imagined rows too.
//!
//! A batch without imagined rows is CQL's, whatever ρ. In one without rows of the log there is nothing to lift, and to lower alone
//! has no end: its gap is 0, and neither β nor α′ does anything.

use crate::{
    cql::{self, Cql, candidates, soft_maximum},
    imagines::{Imagination, Imagines, ModelBased, Rollouts, WorldModel},
};
use backcast_core::*;
use backcast_imagination::{ImagineConfig, Sink, Summary, Uniform};
use backcast_nn::{Gaussian, Shape, TanhGaussian, Var};
use backcast_penalties::NoPenalty;
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Deserializer, Serialize};

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

// ANCHOR: lowered
/// In which states values are lowered, and of which actions: in CQL in all of them, by a soft maximum. What is lifted are the
/// actions of the rows of the log.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lowered {
    pub(crate) rho: Rho,
    pub(crate) mu: Mu,
}

impl Lowered {
    /// The first row in whose state values are lowered; as in all after it. Rows of the log come first in a batch. If there is
    /// none of them nothing is lifted, and so nothing lowered; if there are no others they are all there is.
    pub(crate) fn first(self, batch: Batch<'_>) -> usize {
        match self.rho {
            _ if batch.real == 0 => batch.len(),
            Rho::Model if batch.real < batch.len() => batch.real,
            _ => 0,
        }
    }

    /// Actions tried in such a state.
    pub(crate) fn actions(self, n: usize) -> usize {
        if self.mu == Mu::SoftMaximum { 3 * n } else { n }
    }

    /// Those actions in the states from row `first` on, `[1, states, k·act]`, and ln p of each, `[1, states, k]`; `policies` are π(·∣s) and
    /// π(·∣s′) of the whole batch.
    pub(crate) fn draw<'t>(
        self,
        policies: [TanhGaussian<'t>; 2],
        first: usize,
        n: usize,
        key: Key,
    ) -> (Var<'t>, Var<'t>) {
        let [pi, pi2] = policies.map(|TanhGaussian { base: Gaussian { mean, log_std } }| {
            let states = mean.shape().rows - first;
            TanhGaussian { base: Gaussian { mean: mean.rows(first, states), log_std: log_std.rows(first, states) } }
        });
        let Shape { rows, cols: act, .. } = pi.base.mean.shape();
        let (actions, log_density) = match self.mu {
            Mu::SoftMaximum => return candidates(pi, pi2, n, key),
            Mu::Policy => pi.repeat_rows(n).sample(key.name("here")),
            Mu::Uniform => uniform(pi.base.mean, n, key),
        };
        (actions.reshape(Shape::new(1, rows, n * act)), log_density.reshape(Shape::new(1, rows, n)))
    }

    /// What is lowered: a soft maximum over `width` actions at a time, or each value by itself.
    pub(crate) fn value<'t>(self, q: Var<'t>, log_density: impl FnOnce() -> Var<'t>, width: usize) -> Var<'t> {
        if self.mu == Mu::SoftMaximum { soft_maximum(q, log_density(), width) } else { q }
    }
}
// ANCHOR_END: lowered

/// `n` actions from the uniform distribution for every row of `like`, `[1, rows, act]`, in units of their limit, and ln p of each.
pub(crate) fn uniform<'t>(like: Var<'t>, n: usize, key: Key) -> (Var<'t>, Var<'t>) {
    let (tape, Shape { rows, cols: act, .. }) = (like.tape(), like.shape());
    let log_half = -std::f64::consts::LN_2 as Real;
    let log_density = tape.fill(Shape::new(1, rows * n, 1), |out| out.fill(act as Real * log_half));
    (tape.uniform(Shape::new(1, rows * n, act), -1.0, 1.0, key.name("uniform")), log_density)
}

hyperparameters! {
    /// One field per symbol; the defaults are OfflineRL-Kit's.
    pub struct Config {
        /// The states in which values are lowered.
        rho: Rho = Rho::Mixture;
        /// The actions whose values are lowered there.
        mu: Mu = Mu::SoftMaximum;
        /// Whether actions of roll-outs are uniform instead of the policy's: the paper's choice for some tasks.
        uniform_rollout: bool = false;
        /// How actions are rolled out, and the share f of real rows; f = 0.5, the paper's other one is 0.8.
        #[serde(deserialize_with = "rollouts")]
        rollouts: Rollouts = Rollouts { real: 0.5, ..Default::default() };
        /// The learner. β is its `weight`: 0.5, 1 or 5 in the paper's grid. There is no warm start unless it asks for one.
        cql: cql::Config = cql::Config::default();
    }
}

/// What is not given is this algorithm's default, not that of all.
fn rollouts<'de, D: Deserializer<'de>>(from: D) -> Result<Rollouts, D::Error> {
    Rollouts::read_over(Config::default().rollouts, from)
}

impl ModelBased for Config {
    const NAME: &'static str = "combo";
    const PAPER: &'static str =
        "Yu et al., COMBO: conservative offline model-based policy optimization, arXiv:2102.08363";
    type Learner = Combo;

    fn check(&self) -> Result<(), ConfigError> {
        self.rollouts.check()?;
        ConfigError::unless(
            self.rollouts.real > 0.0,
            "real",
            "is 0; without rows of the log there is nothing to lift",
        )?;
        let three = self.cql.three_way && self.mu != Mu::SoftMaximum;
        ConfigError::unless(!three, "three_way", "is about a soft maximum, and `mu` asks for none")?;
        self.cql.check()
    }

    fn build_on(&self, world_model: WorldModel, key: Key) -> Result<Combo, ConfigError> {
        ModelBased::check(self)?;
        let spec = world_model.model.spec();
        let cql = self.cql.lowering(Lowered { rho: self.rho, mu: self.mu }, spec, key)?;
        let uniform = self.uniform_rollout.then_some(Uniform(spec));
        let imagination = Imagination::new(world_model, &self.rollouts, ImagineConfig::default(), Box::new(NoPenalty))?;
        Ok(Combo { rollouts: self.rollouts.clone(), uniform, cql, imagination })
    }
}

/// CQL that lowers values in states of a model and lifts those of the log's actions.
pub struct Combo {
    rollouts: Rollouts,
    uniform: Option<Uniform>,
    cql: Cql,
    imagination: Imagination,
}

impl Imagines for Combo {
    fn rollouts(&self) -> Option<&Rollouts> {
        Some(&self.rollouts)
    }

    // ANCHOR: imagine
    /// (1)  h steps of π, or of uniform actions, from states of the log, rewarded as the model says
    fn imagine(&mut self, dataset: &dyn Source, key: Key, sink: &mut dyn Sink) -> Summary {
        match &mut self.uniform {
            Some(uniform) => self.imagination.roll(uniform, dataset, key, sink),
            None => self.imagination.roll(&mut self.cql, dataset, key, sink),
        }
    }
    // ANCHOR_END: imagine
}

impl Learner for Combo {
    /// (2)–(4), as CQL
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        self.cql.update(batch, key)
    }
}

impl Policy for Combo {
    fn spec(&self) -> Spec {
        self.cql.spec()
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        self.cql.act(obs, key, act);
    }
}

/// The model is not part of it: it never changes.
impl State for Combo {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.cql.visit(f);
    }
}

impl crate::parity::Replayed for Combo {
    fn arena(&mut self) -> &mut backcast_nn::Arena {
        self.cql.arena()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let small =
            EnsembleConfig { members: 2, elites: 1, hidden: vec![4], weight_decay: vec![0.0; 2], ..Default::default() };
        WorldModel::new(Ensemble::new(small, SPEC, Direction::Forward, Key::new(2)).expect("sound"), never)
    }

    fn small() -> Config {
        let cql = cql::Config { hidden: vec![16], samples: 4, ..Default::default() };
        Config {
            cql,
            rollouts: Rollouts { starts: 400, horizon: 2, ..Config::default().rollouts },
            ..Default::default()
        }
    }

    fn build(config: Config) -> Combo {
        config.build_on(world_model(), Key::new(3)).expect("a sound configuration")
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

    /// Without a row of the log the critics are fitted to their targets and to nothing else.
    #[test]
    fn on_imagined_rows_alone_nothing_is_pushed_down() {
        let trained = |weight, lagrange| {
            let config = small();
            let cql = cql::Config { weight, lagrange, critic_lr: 1e-2, ..config.cql };
            let mut combo = build(Config { cql, ..config });
            let rows = rows(0);
            let all = (0..4).map(|step| combo.update(rows.batch(), Key::new(4).fold(step))).collect::<Vec<_>>();
            assert!(all.iter().all(|metrics| metrics.get("gap") == Some(0.0)), "{all:?}");
            (all[3], snapshot(&mut combo))
        };
        let (_, plain) = trained(0.0, None);
        let (metrics, priced) = trained(5.0, Some(3.0));
        assert_eq!(metrics.get("ln_multiplier"), Some(0.0));
        let critics = |of: &BTreeMap<String, Stored>| -> Vec<Stored> {
            of.iter().filter(|(name, _)| name.starts_with("critic")).map(|(_, stored)| stored.clone()).collect()
        };
        assert_eq!(critics(&plain), critics(&priced));
        assert_ne!(critics(&plain), critics(&snapshot(&mut build(small()))));
    }

    /// One state, imagined to pay the same for every action, of which the log has seen one alone: that one comes to be valued
    /// most, and the value of the actions the model imagined falls below what they pay.
    #[test]
    fn only_actions_of_the_dataset_are_pushed_up() {
        let mut rows = Transitions::new(Spec::new(2, 2).with_act_limit(2.0));
        (0..20).for_each(|_| rows.push(&[0.0; 2], &[1.0; 2], 1.0, &[0.0; 2], true));
        rows.begin_imagined();
        (0..20).for_each(|_| rows.push(&[0.0; 2], &[-1.0; 2], 1.0, &[0.0; 2], true));
        for (rho, mu) in [(Rho::Mixture, Mu::SoftMaximum), (Rho::Model, Mu::SoftMaximum), (Rho::Model, Mu::Uniform)] {
            let config = small();
            let cql = cql::Config { weight: 0.1, critic_lr: 3e-3, hidden: vec![32], ..config.cql };
            let mut combo = build(Config { rho, mu, cql, ..config });
            let mean = |combo: &mut Combo| {
                let last = (0..50).map(|step| combo.update(rows.batch(), Key::new(5).fold(step))).last();
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
        let read_one = read(r#"{"rollouts": {"horizon": 1}, "cql": {"weight": 0.5}}"#).expect("a configuration");
        let mut want = Config::default();
        (want.rollouts.horizon, want.cql.weight) = (1, 0.5);
        assert_eq!((read_one.rollouts.real, read_one), (0.5, want));
        assert!(read(r#"{"rollouts": {"horison": 1}}"#).expect_err("a typo").to_string().contains("horison"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            ModelBased::check(&config).expect_err("a bad value").field
        };
        assert_eq!(refused(|c| c.rollouts.real = 0.0), "real");
        assert_eq!(refused(|c| (c.mu, c.cql.three_way) = (Mu::Policy, true)), "three_way");
        assert_eq!(refused(|c| c.cql.samples = 0), "samples");
    }
}
