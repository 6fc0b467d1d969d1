//! The pessimistic MDP of every member of a model, and the policy's paths in it.

use super::{Actor, Config, Members, Paths};
use crate::model_based::imagination::ensemble;
use backcast_core::{
    ConfigError, Direction, Dynamics, Imagined, Key, ObsScaler, Policy, Prediction, Real,
    RolloutSummary, Sink, Slot, Source, Spec, State, Transitions, WorldModel,
};
use backcast_imagination::{Halt, ImagineConfig, Imaginer};
use backcast_nn::Store;
use backcast_penalties::{Penalty, is_unknown};
use ndarray::{ArrayView2, ArrayViewMut2};

/// The p-MDP and what it takes to ask it.
pub(super) struct RolloutState {
    dynamics: Box<dyn Dynamics>,
    scaler: ObsScaler,
    pub(super) imaginer: Imaginer<Box<dyn Penalty>>,
    /// τ, and what HALT is worth.
    pub(super) halt: Halt,
    initial: Option<Transitions>,
    random_starts: Real,
    /// The members paths are imagined in.
    pub(super) members: Vec<usize>,
    seen: Vec<Real>,
    clipped: Vec<Real>,
    act: Vec<Real>,
}

impl RolloutState {
    pub(super) fn new(
        config: &Config,
        model: WorldModel,
        initial: Option<Transitions>,
        halt: Halt,
    ) -> Result<Self, ConfigError> {
        let WorldModel { mut dynamics, termination, scaler } = model;
        let ensemble = ensemble(&mut *dynamics)?;
        let members = match config.members {
            Members::Every => (0..ensemble.members()).collect(),
            Members::Elites => ensemble.elites().to_vec(),
        };
        // Where HALT is not absorbing the disagreement is measured all the same, but the model is followed.
        let threshold = if config.absorbing { halt.threshold } else { Real::MAX };
        let how = ImagineConfig {
            horizon: config.horizon,
            starts_per_call: config.paths,
            sampling: config.sampling,
            halt: Some(Halt { threshold, ..halt }),
            ..ImagineConfig::default()
        };
        Ok(Self {
            dynamics,
            scaler,
            imaginer: Imaginer::new(how, termination, config.pessimism.penalty.build())?,
            halt,
            initial,
            random_starts: config.random_starts,
            members,
            seen: Vec::new(),
            clipped: Vec::new(),
            act: Vec::new(),
        })
    }

    /// Paths of π in the p-MDP of every member into `paths`; their transitions, with actions clipped, into `sink` as
    /// well.
    pub(super) fn imagine(
        &mut self,
        actor: &Actor,
        store: &mut Store,
        dataset: &dyn Source,
        paths: &mut Paths,
        key: Key,
        sink: &mut dyn Sink,
    ) -> RolloutSummary {
        let Self { dynamics, scaler, imaginer, halt, initial, members, seen, clipped, act, .. } =
            self;
        let starts = Starts { initial: initial.as_ref(), dataset, random: self.random_starts };
        let each = paths.chains() / members.len();
        let mut total = RolloutSummary::default();
        paths.clear();
        for (i, &member) in members.iter().enumerate() {
            let obs_scaler = &*scaler;
            let mut policy =
                Sampler { spec: dynamics.spec(), actor, store: &mut *store, obs_scaler, seen };
            let mut model = SingleMember { model: &mut **dynamics, member: [member], clipped };
            let mut stored = RolloutSummary::default();
            let mut take = |t: Imagined<'_>| {
                let unknown = is_unknown(t.penalty, halt.threshold);
                if paths.take(t, i * each + t.chain, unknown, scaler) {
                    stored.stored += 1;
                    stored.terminal += t.terminal as usize;
                    stored.halted += unknown as usize;
                    act.clear();
                    act.extend(t.act.iter().map(|a| a.clamp(-actor.limit, actor.limit)));
                    sink.take(Imagined { act: act.as_slice(), ..t });
                }
            };
            let key = key.fold(member as u64);
            let own = imaginer.imagine(&mut model, &starts, &mut policy, key, &mut take);
            total.started += own.started;
            total.not_finite += own.not_finite;
            total.stored += stored.stored;
            total.terminal += stored.terminal;
            total.halted += stored.halted;
        }
        total
    }
}

/// π as paths ask it: states in the model's units, actions not clipped.
struct Sampler<'a> {
    spec: Spec,
    actor: &'a Actor,
    store: &'a mut Store,
    obs_scaler: &'a ObsScaler,
    seen: &'a mut Vec<Real>,
}

impl Policy for Sampler<'_> {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        self.seen.clear();
        self.seen.extend(obs.iter());
        self.obs_scaler.to_learner(self.seen);
        let seen = ArrayView2::from_shape(obs.dim(), self.seen.as_slice()).expect("dense");
        let pi = self.actor.at(self.store.tape().input(seen));
        let u = key.map_or(pi.mean, |key| pi.sample(key));
        (u * self.actor.limit).write_to(act);
    }
}

/// One member of a model, which clips actions: the others are asked for their disagreement alone.
struct SingleMember<'a> {
    model: &'a mut dyn Dynamics,
    member: [usize; 1],
    clipped: &'a mut Vec<Real>,
}

impl State for SingleMember<'_> {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.model.visit(f);
    }
}

impl Dynamics for SingleMember<'_> {
    fn spec(&self) -> Spec {
        self.model.spec()
    }

    fn direction(&self) -> Direction {
        self.model.direction()
    }

    fn elites(&self) -> &[usize] {
        &self.member
    }

    fn predict(&mut self, [s, a]: [ArrayView2<'_, Real>; 2]) -> Prediction<'_> {
        let limit = self.model.spec().act_limit;
        self.clipped.clear();
        self.clipped.extend(a.iter().map(|a| a.clamp(-limit, limit)));
        self.model.predict([s, ArrayView2::from_shape(a.dim(), self.clipped).expect("dense")])
    }
}

/// First states: a share of them of random rows of the dataset, the others of first observations of its episodes.
struct Starts<'a> {
    initial: Option<&'a Transitions>,
    dataset: &'a dyn Source,
    random: Real,
}

impl Source for Starts<'_> {
    fn spec(&self) -> Spec {
        self.dataset.spec()
    }

    fn len(&self) -> usize {
        self.dataset.len() + self.initial.map_or(0, Transitions::len)
    }

    fn sample_into(&self, key: Key, rows: usize, out: &mut Transitions) {
        let random = match self.initial {
            Some(_) => (rows as f64 * self.random as f64).round() as usize,
            None => rows,
        };
        self.dataset.sample_into(key.name("random"), random, out);
        if let Some(initial) = self.initial {
            initial.sample_into(key.name("initial"), rows - random, out);
        }
    }
}
