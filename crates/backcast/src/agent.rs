use crate::AlgorithmConfig;
use backcast_core::{
    Batch, ConfigError, Key, Learner, Metrics, ObsScaler, Policy, Problem, Real, RolloutSummary, Rollouts, Sink, Slot,
    Source, Spec, State, under,
};
use backcast_data::Normaliser;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Slice};

/// An agent with the normaliser it was trained behind: complete when saved, and given raw observations to act on.
pub struct Agent {
    normaliser: Normaliser,
    learner: Box<dyn Learner>,
    by_candidates: bool,
    normalised: Array2<Real>,
}

impl Agent {
    /// The agent of `algorithm` for `problem`, in which observations are raw, behind `normaliser` (or none).
    ///
    /// # Errors
    /// If the configuration makes no sense, or the problem has no model and the algorithm needs one.
    pub fn new(
        algorithm: &AlgorithmConfig,
        normaliser: Option<Normaliser>,
        problem: impl Into<Problem>,
        key: Key,
    ) -> Result<Self, ConfigError> {
        let mut problem = problem.into();
        let normaliser = normaliser.unwrap_or_else(|| Normaliser::identity(problem.spec.obs));
        if let Some(model) = &mut problem.model {
            model.scaler = ObsScaler::new(normaliser.mean(), normaliser.std());
        }
        let normalised = Array2::zeros((0, problem.spec.obs));
        let learner = algorithm.build(problem, key)?;
        Ok(Self { normaliser, learner, by_candidates: algorithm.acts_by_candidates(), normalised })
    }

    /// One update on a batch whose observations are already normalised.
    pub fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        self.learner.update(batch, key)
    }

    /// How the agent wants to imagine; none if it has no model, or only asks it.
    pub fn rollouts(&self) -> Option<&Rollouts> {
        self.learner.rollouts()
    }

    /// The share of the next batch that the agent wants from the dataset; none if it imagines nothing.
    pub fn real_share(&self) -> Option<Real> {
        self.learner.real_share()
    }

    /// Lets the agent roll its policy out from states of `dataset`; raw transitions go to `sink`. Nothing happens without a model.
    pub fn imagine(&mut self, dataset: &dyn Source, key: Key, sink: &mut dyn Sink) -> RolloutSummary {
        self.learner.imagine(dataset, key, sink)
    }

    /// The policy as it is evaluated: a stochastic one by its deterministic action, whatever key it is given; one that chooses
    /// among candidates, by the key's.
    pub fn as_evaluated(&mut self) -> impl Policy + '_ {
        Evaluated(self)
    }

    /// The normaliser.
    pub fn normaliser(&self) -> &Normaliser {
        &self.normaliser
    }
}

struct Evaluated<'a>(&'a mut Agent);

impl Policy for Evaluated<'_> {
    fn spec(&self) -> Spec {
        self.0.spec()
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let key = key.filter(|_| self.0.by_candidates);
        self.0.act(obs, key, act);
    }
}

/// Acts on raw observations; with a key, as at random as the algorithm is.
impl Policy for Agent {
    fn spec(&self) -> Spec {
        self.learner.spec()
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        if self.normalised.nrows() < obs.nrows() {
            self.normalised = Array2::zeros(obs.dim());
        }
        let mut own = self.normalised.view_mut();
        own.slice_axis_inplace(Axis(0), Slice::from(..obs.nrows()));
        own.assign(&obs);
        self.normaliser.apply(own.view_mut());
        self.learner.act(own.view(), key, act);
    }
}

impl State for Agent {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        under("normaliser", &mut self.normaliser, f);
        self.learner.visit(f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Experiment;
    use backcast_core::{Direction, WorldModel, never};
    use backcast_dynamics::{Ensemble, EnsembleConfig};

    /// Two keys give two actions to whoever asks for samples, and one to whoever evaluates, unless there are candidates.
    #[test]
    fn a_stochastic_policy_is_evaluated_by_its_mode() {
        for (name, options, stochastic, candidates) in [
            ("td3_bc", "hidden = [8]", false, false),
            ("sac", "hidden = [8]", true, false),
            ("cql", "hidden = [8]", true, false),
            ("edac", "hidden = [8]", true, false),
            ("mcq", "hidden = [8]\nvae_hidden = [8]", true, false),
            ("bcq", "hidden = [8]\nvae_hidden = [8]", true, true),
            ("bear", "hidden = [8]\nvae_hidden = [8]", true, true),
            ("mopo", "sac = { hidden = [8] }", true, false),
            ("combo", "cql = { hidden = [8] }", true, false),
            ("mobile", "hidden = [8]", true, false),
            ("sdm_gan", "hidden = [8]", true, true),
            ("osr", "cql = { hidden = [8] }", true, false),
            ("sdc", "cql = { hidden = [8] }", true, false),
            ("scas", "hidden = [8]", false, false),
        ] {
            let text = format!(
                "name = 'x'\ntask = 'dmsd'\nmethods = [{{ name = 'alone' }}]\n[algorithm]\nname = '{name}'\n{options}"
            );
            let algorithm = Experiment::parse(&text).expect("a sound experiment").algorithm;
            let (spec, key) = (Spec::new(3, 2), Key::new(1));
            let mut problem = Problem::new(spec);
            if algorithm.needs_model() {
                let model = Ensemble::new(EnsembleConfig::default(), spec, Direction::Forward, key).expect("sound");
                problem = problem.with_model(WorldModel::new(model, never));
            }
            let mut agent = Agent::new(&algorithm, None, problem, key).expect("sound");
            let obs = Array2::from_elem((4, 3), 0.3);
            let acts = |policy: &mut dyn Policy| {
                [1, 2].map(|key| {
                    let mut act = Array2::zeros((4, 2));
                    policy.act(obs.view(), Some(Key::new(key)), act.view_mut());
                    act
                })
            };
            let [a, b] = acts(&mut agent);
            assert_eq!(a != b, stochastic, "{name}");
            let [a, b] = acts(&mut agent.as_evaluated());
            assert_eq!(a != b, candidates, "{name}, evaluated");
        }
    }
}
