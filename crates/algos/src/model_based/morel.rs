//! MOReL, model-based offline reinforcement learning (Kidambi, Rajeswaran, Netrapalli & Joachims, NeurIPS 2020,
//! arXiv:2005.05951): a policy is optimised in a model in which whoever steps into the unknown is lost. Here by [`sac`]
//! on short chains; by the authors' natural policy gradient on whole trajectories: [`npg`](crate::npg).
//!
//! | equation | code |
//! |---|---|
//! | (1) U(s,a) = 1 where u(s,a) > τ, u = max over i < j of ‖μᵢ(s,a) − μⱼ(s,a)‖₂ over states | [`Pessimism::penalty`], in `backcast-penalties` |
//! | (2) τ by a rule, such as a quantile, from u of rows the model was not fitted to | [`Pessimism::halt`] |
//! | (3) the p-MDP: from an unknown (s,a) to HALT, which is absorbing and pays −κ; all else is the model's | [`Pessimism::halt`] |
//! | (4) D_model ← rollouts of π in the p-MDP, h steps long, from states of the dataset | [`Morel::imagine`](Learner::imagine) |
//! | (5) B = a share f of rows of the dataset, the others of D_model; one step of SAC on B | [`Morel::update`](Learner::update) |
//!
//! Order: (2) and (3) once, when it is built; then (4) before the first update and every [`Rollouts::every`] after it,
//! and (5).
//!
//! **What HALT is worth.** The paper's HALT pays −κ in every step for ever, so its value is −κ/(1 − γ):
//! [`Pay::Forever`]. With [`Pay::Once`] it is −κ, which never pays where rewards are not negative, and can where every
//! step costs something: whoever halts at once is spared the rest. Yet the default is the latter: SAC's critics have to
//! meet a few targets of −κ/(1 − γ) among many of another size, and on a pendulum, where that is −1700, they come to
//! nothing. By default −κ is the smallest reward of the dataset, less a margin; where steps cost, give a κ of the size
//! of a bad episode's return.
//!
//! Not from the paper, which has τ = mean + β·deviation over all rows of the dataset with β tuned in the environment:
//! the quantile on held-out rows, which needs neither. Nor from the authors' code: there members are deterministic,
//! rewards known, τ is the maximum over a constant, and truncation is no HALT at all (no −κ, and the value goes on
//! behind it): [`npg::Config::absorbing`](crate::npg::Config::absorbing). MOReL with an off-policy agent is as in
//! unifloral, whose critics are ten, and whose HALT pays r_min − 200 once.

use crate::{model_based::imagination::Imagination, sac};
use backcast_core::{
    Algorithm, Batch, ConfigError, DatasetStats, Dynamics, Key, Learner, Metrics, NON_NEGATIVE,
    Problem, Real, RolloutSummary, Rollouts, Sink, Slot, Source, State, acts_as, choices,
    hyperparameters,
};
use backcast_imagination::{Halt, ImagineConfig};
use backcast_nn::{Parameterised, Store};
use backcast_penalties::{PenaltyConfig, ThresholdRule, measure};

choices! {
    /// How often HALT pays −κ.
    pub enum Pay {
        /// Once: its value is −κ, as in unifloral. Never the better way where rewards are not negative.
        #[default]
        Once,
        /// In every step: its value is −κ/(1 − γ), as in the paper. Never the better way.
        Forever,
    }
}

hyperparameters! {
    /// The pessimistic MDP: what counts as unknown, and what it costs to go there.
    pub struct Pessimism {
        /// The measure u of uncertainty.
        penalty: PenaltyConfig = PenaltyConfig::MaxPairwiseStates;
        /// How the threshold τ is found from u of held-out rows.
        threshold: ThresholdRule = ThresholdRule::default();
        /// κ, HALT's reward with its sign turned; none is the smallest reward of the dataset less [`margin`](Pessimism::margin).
        kappa: Option<Real> = None;
        /// How much less than the smallest reward, where κ is not given; ours. unifloral has 200, paid once.
        margin: Real = 1.0, NON_NEGATIVE;
        /// How often −κ is paid.
        pay: Pay = Pay::default();
    }
    together(config) {
        let measured = config.penalty != PenaltyConfig::None;
        let why = "is `none`; something must tell the unknown from the known";
        ConfigError::unless(measured, "penalty", why)
    }
}

impl Pessimism {
    // ANCHOR: halt
    /// (2)  τ from u of the held-out rows
    /// (3)  −κ = min r − margin,   HALT is worth −κ/(1 − γ), or −κ if it pays once
    ///
    /// # Errors
    /// If the [`DatasetStats`] it needs is not there, the model's uncertainty of a row is no number, or HALT is
    /// worth no number.
    pub fn halt(
        &self,
        dynamics: &mut dyn Dynamics,
        stats: &DatasetStats,
        gamma: Real,
        key: Key,
    ) -> Result<Halt, ConfigError> {
        let lacking = |field, why: &str| ConfigError { field, why: why.into() };
        let why = "needs rows the model was not fitted to; give `DatasetStats::holdout`";
        let holdout = stats.holdout.as_ref().ok_or_else(|| lacking("threshold", why))?;
        let u = measure(dynamics, self.penalty.build().as_mut(), holdout, key);
        let threshold = self.threshold.threshold(&u);
        let threshold = threshold.map_err(|e| lacking("threshold", &e.to_string()))?;
        let least = || stats.least_reward.map(|least| self.margin - least);
        let why = "is not given; give it, or `DatasetStats::least_reward` to find it from";
        let kappa = self.kappa.or_else(least).ok_or_else(|| lacking("kappa", why))?;
        let reward = match self.pay {
            Pay::Once => -kappa,
            Pay::Forever => -kappa / (1.0 - gamma),
        };
        let why = format!("is {kappa}, and pays `forever` {reward}; let it pay `once`");
        ConfigError::unless(reward.is_finite(), "kappa", why)?;
        Ok(Halt { threshold, reward })
    }
    // ANCHOR_END: halt
}

hyperparameters! {
    /// One field per symbol.
    pub struct Config {
        /// The p-MDP.
        pessimism: Pessimism = Pessimism::default();
        /// How the policy is rolled out, and the share f of real rows. Chains of at least 5 steps: shorter ones never get to where
        /// it is unknown. unifloral has 5 steps and 1 % real rows.
        rollouts: Rollouts = Rollouts { horizon: 5, real: 0.05, ..Rollouts::default() };
        /// SAC.
        sac: sac::Config = sac::Config::default();
    }
}

impl Algorithm for Config {
    const NAME: &str = "morel";
    const PAPER: &str =
        "Kidambi et al., MOReL: model-based offline reinforcement learning, arXiv:2005.05951";
    const SOURCE: &str = include_str!("morel.rs");
    const USES_MODEL: bool = true;
    type Learner = Morel;

    fn build(&self, problem: impl Into<Problem>, key: Key) -> Result<Morel, ConfigError> {
        self.check()?;
        let mut problem = problem.into();
        let sac = self.sac.build(problem.spec, key)?;
        let mut model = problem.take_model()?;
        let (dynamics, key) = (&mut *model.dynamics, key.name("threshold"));
        let halt = self.pessimism.halt(dynamics, &problem.dataset, self.sac.gamma, key)?;
        let halting = ImagineConfig { halt: Some(halt), ..Default::default() };
        let penalty = self.pessimism.penalty.build();
        let imagination = Imagination::new(model, &self.rollouts, halting, penalty)?;
        Ok(Morel { rollouts: self.rollouts.clone(), sac, imagination })
    }
}

/// SAC in the pessimistic MDP.
pub struct Morel {
    rollouts: Rollouts,
    sac: sac::Sac,
    imagination: Imagination,
}

impl Morel {
    /// τ, and what HALT is worth.
    pub fn halt(&mut self) -> Halt {
        *halt_of(&mut self.imagination)
    }
}

fn halt_of(imagination: &mut Imagination) -> &mut Halt {
    imagination.config_mut().halt.as_mut().expect("built with one")
}

impl Learner for Morel {
    fn rollouts(&self) -> Option<&Rollouts> {
        Some(&self.rollouts)
    }

    // ANCHOR: imagine
    /// (4)  h steps of π in the p-MDP from states of the dataset
    fn imagine(&mut self, dataset: &dyn Source, key: Key, sink: &mut dyn Sink) -> RolloutSummary {
        self.imagination.roll(&mut self.sac, dataset, key, sink)
    }
    // ANCHOR_END: imagine

    // ANCHOR: update
    /// (5)
    fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        self.sac.update(batch, key)
    }
    // ANCHOR_END: update
}

acts_as!(Morel: sac);

/// The model is not part of it, which never changes; what was found from it is.
impl State for Morel {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.sac.visit(f);
        visit_halt(halt_of(&mut self.imagination), f);
    }
}

impl Parameterised for Morel {
    fn store_mut(&mut self) -> &mut Store {
        self.sac.store_mut()
    }
}

/// Names the threshold and what HALT is worth.
pub(crate) fn visit_halt(halt: &mut Halt, f: &mut dyn FnMut(&str, Slot<'_>)) {
    f("halt.threshold", Slot::Tensor(&[1], std::slice::from_mut(&mut halt.threshold)));
    f("halt.reward", Slot::Tensor(&[1], std::slice::from_mut(&mut halt.reward)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Column, Direction, Spec, Transitions, WorldModel, never};
    use backcast_dynamics::{Ensemble, EnsembleConfig};

    const SPEC: Spec = Spec::new(1, 1);

    /// A model of x′ = x + a/10, rewarded by −1 everywhere, from a dataset with |x| < 1; rows it was not fitted to.
    fn problem() -> (Transitions, Problem) {
        let mut dataset = Transitions::new(SPEC);
        for i in 0..1500 {
            let mut x = [0.0; 2];
            Key::new(1).fold(i).uniform(-1.0, 1.0, &mut x);
            dataset.push(&x[..1], &x[1..], -1.0, &[x[0] + 0.1 * x[1]], false);
        }
        let config = EnsembleConfig {
            hidden: vec![16, 16],
            weight_decay: vec![0.0; 3],
            lr: 3e-3,
            max_epochs: Some(15),
            ..Default::default()
        };
        let mut model =
            Ensemble::new(config, SPEC, Direction::Forward, Key::new(2)).expect("sound");
        model.fit(&dataset, Key::new(3), &mut |_| true).expect("finite rows");
        let holdout = Some(model.holdout(&dataset, Key::new(3)));
        let dataset_stats = DatasetStats {
            holdout,
            initial: None,
            least_reward: Some(-1.0),
            ..DatasetStats::default()
        };
        (dataset, Problem::from(WorldModel::new(model, never)).with_stats(dataset_stats))
    }

    fn config() -> Config {
        let mut config = Config::default();
        config.sac.hidden = vec![16];
        (config.rollouts.starts, config.rollouts.horizon) = (50, 5);
        config
    }

    /// Chains that begin far from the dataset halt at once, with HALT's worth as their reward; those in its midst
    /// hardly ever.
    #[test]
    fn chains_halt_where_the_dataset_has_never_been() {
        let (dataset, problem) = problem();
        let mut morel = config().build(problem, Key::new(4)).expect("sound");
        assert_eq!(morel.halt().reward, -2.0, "−κ = −1 − 1");
        let mut rows = Transitions::new(SPEC);
        let known = morel.imagine(&dataset, Key::new(5), &mut rows);
        assert!(known.halted * 10 < known.stored, "{known:?}");
        let mut far = Transitions::new(SPEC);
        far.push(&[9.0], &[0.0], 0.0, &[0.0], false);
        rows.clear();
        let unknown = morel.imagine(&far, Key::new(5), &mut rows);
        assert_eq!((unknown.stored, unknown.halted, unknown.terminal), (50, 50, 50), "{unknown:?}");
        let reward = morel.halt().reward;
        assert!(rows.values(Column::Reward).iter().all(|r| *r == reward));
        assert!(rows.values(Column::Terminal).iter().all(|d| *d == 1.0));
    }

    #[test]
    fn halt_costs_what_the_configuration_says() {
        let (_, mut problem) = problem();
        let (mut model, stats) = (problem.take_model().expect("a model"), problem.dataset);
        let mut worth = |pessimism: Pessimism| {
            pessimism.halt(&mut *model.dynamics, &stats, 0.9, Key::new(6)).expect("sound").reward
        };
        let plain = Pessimism::default();
        assert_eq!(worth(plain.clone()), -2.0);
        assert_eq!(worth(Pessimism { margin: 0.0, ..plain.clone() }), -1.0);
        assert_eq!(worth(Pessimism { kappa: Some(7.0), ..plain.clone() }), -7.0);
        let forever = Pessimism { pay: Pay::Forever, ..plain };
        assert!((worth(forever.clone()) + 20.0).abs() < 1e-4);
        let undiscounted = forever
            .halt(&mut *model.dynamics, &stats, 1.0, Key::new(6))
            .expect_err("a value without bound");
        assert_eq!(undiscounted.field, "kappa");
    }

    #[test]
    fn a_model_without_dataset_stats_is_refused_by_what_it_lacks() {
        let refused = |config: Config, change: fn(&mut DatasetStats)| {
            let (_, mut problem) = problem();
            change(&mut problem.dataset);
            config.build(problem, Key::new(7)).map(drop)
        };
        let why = refused(config(), |e| e.holdout = None).expect_err("no rows");
        assert!(why.field == "threshold" && why.why.contains("holdout"), "{why}");
        let why =
            refused(config(), |e| e.holdout = Some(Transitions::new(SPEC))).expect_err("no rows");
        assert_eq!(why.field, "threshold");
        let why = refused(config(), |e| e.least_reward = None).expect_err("no reward");
        assert!(why.field == "kappa" && why.why.contains("least_reward"), "{why}");
        let mut given = config();
        given.pessimism.kappa = Some(3.0);
        assert_eq!(refused(given, |e| e.least_reward = None), Ok(()));
        let mut blind = config();
        blind.pessimism.penalty = PenaltyConfig::None;
        assert_eq!(refused(blind, |_| ()).expect_err("no measure").field, "penalty");
    }
}
