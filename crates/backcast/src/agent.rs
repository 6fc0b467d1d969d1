use crate::AlgorithmConfig;
use backcast_core::{Batch, ConfigError, Key, Learner, Metrics, Policy, Real, Slot, Spec, State, under};
use backcast_data::Normaliser;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Slice};

/// A learner with the normaliser it was trained behind: complete when saved, and given raw observations to act on.
pub struct Agent {
    normaliser: Normaliser,
    learner: Box<dyn Learner>,
    normalised: Array2<Real>,
}

impl Agent {
    /// A learner for transitions of `spec` behind `normaliser` (or none).
    pub fn new(
        algorithm: &AlgorithmConfig,
        normaliser: Option<Normaliser>,
        spec: Spec,
        key: Key,
    ) -> Result<Self, ConfigError> {
        let normaliser = normaliser.unwrap_or_else(|| Normaliser::identity(spec.obs));
        Ok(Self { normaliser, learner: algorithm.build(spec, key)?, normalised: Array2::zeros((0, spec.obs)) })
    }

    /// One update on a batch whose observations are already normalised.
    pub fn update(&mut self, batch: Batch<'_>, key: Key) -> Metrics {
        self.learner.update(batch, key)
    }

    /// The normaliser.
    pub fn normaliser(&self) -> &Normaliser {
        &self.normaliser
    }
}

/// Acts on raw observations.
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
