use crate::AlgorithmConfig;
use backcast_algos::imagines::{Imagines, ObsScaler, Rollouts, WorldModel};
use backcast_core::{
    Batch, ConfigError, Dynamics, Key, Learner, Metrics, Policy, Real, Slot, Source, Spec, State, under,
};
use backcast_data::Normaliser;
use backcast_imagination::{Sink, Summary};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Slice};

/// An algorithm with the normaliser it was trained behind: complete when saved, and given raw observations to act on.
pub struct Agent {
    normaliser: Normaliser,
    learner: Kind,
    by_candidates: bool,
    normalised: Array2<Real>,
}

/// What an algorithm learns from.
enum Kind {
    /// Batches that somebody else fills.
    Given(Box<dyn Learner>),
    /// Batches of the dataset and of what it imagines itself.
    Imagining(Box<dyn Imagines>),
}

impl Kind {
    fn learner(&self) -> &dyn Learner {
        match self {
            Self::Given(learner) => learner.as_ref(),
            Self::Imagining(learner) => learner.as_ref(),
        }
    }

    fn learner_mut(&mut self) -> &mut dyn Learner {
        match self {
            Self::Given(learner) => learner.as_mut(),
            Self::Imagining(learner) => learner.as_mut(),
        }
    }
}

impl Agent {
    /// An algorithm for transitions of `spec` behind `normaliser` (or none).
    ///
    /// # Errors
    /// If the configuration makes no sense, or the algorithm is one that is built [on a model](Agent::on_model).
    pub fn new(
        algorithm: &AlgorithmConfig,
        normaliser: Option<Normaliser>,
        spec: Spec,
        key: Key,
    ) -> Result<Self, ConfigError> {
        let normaliser = normaliser.unwrap_or_else(|| Normaliser::identity(spec.obs));
        let why = || ConfigError { field: "name", why: format!("is `{}`, which needs a model", algorithm.name()) };
        let learner = Kind::Given(algorithm.build(spec, key)?.ok_or_else(why)?);
        Ok(Self::behind(normaliser, learner, algorithm.acts_by_candidates()))
    }

    /// An algorithm that imagines in `world_model`, which is of raw observations, behind `normaliser` (or none). Units are the
    /// normaliser's.
    ///
    /// # Errors
    /// If the configuration makes no sense, or the algorithm has no use for a model.
    pub fn on_model(
        algorithm: &AlgorithmConfig,
        normaliser: Option<Normaliser>,
        world_model: WorldModel,
        key: Key,
    ) -> Result<Self, ConfigError> {
        let normaliser = normaliser.unwrap_or_else(|| Normaliser::identity(world_model.model.spec().obs));
        let obs_scaler = ObsScaler::new(normaliser.mean(), normaliser.std());
        let why =
            || ConfigError { field: "name", why: format!("is `{}`, which has no use for a model", algorithm.name()) };
        let learner = algorithm.build_on(WorldModel { obs_scaler, ..world_model }, key)?.ok_or_else(why)?;
        Ok(Self::behind(normaliser, Kind::Imagining(learner), algorithm.acts_by_candidates()))
    }

    fn behind(normaliser: Normaliser, learner: Kind, by_candidates: bool) -> Self {
        let normalised = Array2::zeros((0, learner.learner().spec().obs));
        Self { normaliser, learner, by_candidates, normalised }
    }

    /// One update on a batch whose observations are already normalised.
    pub fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        self.learner.learner_mut().update(batch, key)
    }

    /// How an algorithm on a model wants to imagine; none if it has no model, or only asks it.
    pub fn rollouts(&self) -> Option<&Rollouts> {
        match &self.learner {
            Kind::Given(_) => None,
            Kind::Imagining(learner) => learner.rollouts(),
        }
    }

    /// The share of the next batch that an algorithm on a model wants from the dataset; none if it has no model.
    pub fn real_share(&self) -> Option<Real> {
        match &self.learner {
            Kind::Given(_) => None,
            Kind::Imagining(learner) => Some(learner.real_share()),
        }
    }

    /// Lets an algorithm on a model roll its policy out from states of `dataset`; raw transitions go to `sink`. Nothing happens without
    /// a model.
    pub fn imagine(&mut self, dataset: &dyn Source, key: Key, sink: &mut dyn Sink) -> Summary {
        match &mut self.learner {
            Kind::Given(_) => Summary::default(),
            Kind::Imagining(learner) => learner.imagine(dataset, key, sink),
        }
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
        self.learner.learner().spec()
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        if self.normalised.nrows() < obs.nrows() {
            self.normalised = Array2::zeros(obs.dim());
        }
        let mut own = self.normalised.view_mut();
        own.slice_axis_inplace(Axis(0), Slice::from(..obs.nrows()));
        own.assign(&obs);
        self.normaliser.apply(own.view_mut());
        self.learner.learner_mut().act(own.view(), key, act);
    }
}

impl State for Agent {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        under("normaliser", &mut self.normaliser, f);
        self.learner.learner_mut().visit(f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Experiment;
    use backcast_core::{Direction, never};
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
                "name = 'x'\ntask = 'dmsd'\narms = [{{ name = 'alone' }}]\n[algorithm]\nname = '{name}'\n{options}"
            );
            let algorithm = Experiment::parse(&text).expect("a sound experiment").algorithm;
            let (spec, key) = (Spec::new(3, 2), Key::new(1));
            let mut agent = if algorithm.needs_model() {
                let model = Ensemble::new(EnsembleConfig::default(), spec, Direction::Forward, key).expect("sound");
                Agent::on_model(&algorithm, None, WorldModel::new(model, never), key).expect("sound")
            } else {
                Agent::new(&algorithm, None, spec, key).expect("sound")
            };
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
