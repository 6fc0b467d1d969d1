//! Whether a learner computes what other code computes, number for number.
//!
//! Equations leave much open: the order of updates, what is a mean and what a sum, on which side of a step a value is taken.
//! A [`Fixture`] holds what other code did in a few updates: its first parameters, its batches, each random number it drew,
//! and what came of it. [`replay`] puts the parameters into our learner, hands it the batches and the numbers, and compares
//! losses, first gradients and last parameters. The format is described in `crates/algos/tests/golden/README.md`; how much
//! may differ, at [`Kind::bound`].
//!
//! ```
//! use backcast_algos::parity::{Fixture, replay};
//!
//! let bytes = include_bytes!("../../tests/golden/td3_bc.safetensors");
//! let fixture = Fixture::parse("td3_bc.safetensors", bytes)?;
//! for compared in replay(&fixture)? {
//!     assert!(compared.holds(), "{} is off by {:e}", compared.name, compared.error);
//! }
//! # Ok::<(), backcast_algos::parity::ParityError>(())
//! ```

mod compare;
mod ensemble;
mod error;
mod fixture;
mod names;
mod rambo;
mod rollout;
mod world;

pub use compare::{Compared, Kind};
pub use error::ParityError;
pub use fixture::{Fixture, Tensor};

use crate::imagines::ModelBased;
use crate::{
    awac, bc, bcq, bear, combo, cql, edac, iql, mcq, mobile, osr, rebrac, sac, scas, sdc, sdm_gan, td3, td3_bc,
};
use backcast_core::*;
use backcast_nn::{Arena, Replay};
use compare::{difference, loss_error, relative};
use names::{moves, optimiser};
use std::collections::BTreeMap;

/// A learner whose draws can be replaced by recorded ones.
pub trait Replayed: Learner {
    /// The arena of the store whose tapes draw.
    fn arena(&mut self) -> &mut Arena;

    /// Whether its batches must bring the action recorded at the next state.
    fn needs_next_actions(&self) -> bool {
        false
    }

    /// β₁ of the optimiser that moves `net`.
    fn beta1(&self, _net: &str) -> Real {
        BETA1
    }
}

/// Makes a learner from a configuration in JSON.
type Build = fn(&Fixture) -> Result<Box<dyn Replayed>, ParityError>;

/// What a fixture may name as its algorithm: one line for each. Those that are built on a model stand in the second list.
const LEARNERS: &[(&str, Build)] = &[
    (awac::Config::NAME, build::<awac::Config>),
    (bc::Config::NAME, build::<bc::Config>),
    (bcq::Config::NAME, build::<bcq::Config>),
    (bear::Config::NAME, build::<bear::Config>),
    (cql::Config::NAME, build::<cql::Config>),
    (edac::Config::NAME, build::<edac::Config>),
    (iql::Config::NAME, build::<iql::Config>),
    (mcq::Config::NAME, build::<mcq::Config>),
    (osr::Config::NAME, build::<osr::Config>),
    (rebrac::Config::NAME, build::<rebrac::Config>),
    (sac::Config::NAME, build::<sac::Config>),
    (td3::Config::NAME, build::<td3::Config>),
    (td3_bc::Config::NAME, build::<td3_bc::Config>),
];

/// The same, of learners that are built on a model.
const MODEL_BASED: &[(&str, Build)] = &[
    (combo::Config::NAME, build_on::<combo::Config>),
    (mobile::Config::NAME, build_on::<mobile::Config>),
    (sdm_gan::Config::NAME, build_on::<sdm_gan::Config>),
    (scas::Config::NAME, build_on::<scas::Config>),
    (sdc::Config::NAME, build_on::<sdc::Config>),
];

/// The names of what can be replayed: learners, an ensemble as it is fitted, and a roll-out.
pub fn algorithms() -> impl Iterator<Item = &'static str> {
    let learners = LEARNERS.iter().chain(MODEL_BASED).map(|(name, _)| *name);
    learners.chain(MODELS.iter().map(|(name, _)| *name)).chain([rollout::NAME])
}

fn build<A: Algorithm>(fixture: &Fixture) -> Result<Box<dyn Replayed>, ParityError>
where
    A::Learner: Replayed + 'static,
{
    let config: A = serde_json::from_str(&fixture.config).map_err(|e| fixture.note("config", e.to_string()))?;
    let learner = config.build(fixture.spec, Key::new(0)).map_err(|e| fixture.note("config", e.to_string()))?;
    Ok(Box::new(learner))
}

fn build_on<A: ModelBased>(fixture: &Fixture) -> Result<Box<dyn Replayed>, ParityError>
where
    A::Learner: Replayed + 'static,
{
    let config: A = serde_json::from_str(&fixture.config).map_err(|e| fixture.note("config", e.to_string()))?;
    let learner = config.build_on(fixture.world()?, Key::new(0));
    Ok(Box::new(learner.map_err(|e| fixture.note("config", e.to_string()))?))
}

/// What else: an ensemble as it is fitted, and a learner that moves one.
const MODELS: &[(&str, BuildSubject)] = &[(ensemble::NAME, ensemble::build), (rambo::NAME, rambo::build)];

/// Makes what is replayed from a fixture.
type BuildSubject = fn(&Fixture) -> Result<Box<dyn Subject>, ParityError>;

/// Something that fixtures are of: a state, and how it is updated.
trait Subject {
    /// Its tensors by name, as they are in the fixture.
    fn state(&mut self) -> &mut dyn State;

    /// β₁ of the optimiser that moves `net`.
    fn beta1(&self, _net: &str) -> Real {
        BETA1
    }

    /// Updates recorded.
    fn updates(&self) -> usize;

    /// What it takes from the fixture beside parameters and draws: the paths.
    fn inputs(&self) -> Vec<String>;

    /// One update, with the fixture's rows and draws.
    fn update(&mut self, fixture: &Fixture, update: usize) -> Result<Metrics, ParityError>;
}

/// A learner and its batches.
struct Taught {
    learner: Box<dyn Replayed>,
    batches: Vec<Columns>,
    inputs: Vec<String>,
}

impl Subject for Taught {
    fn state(&mut self) -> &mut dyn State {
        &mut *self.learner
    }

    fn beta1(&self, net: &str) -> Real {
        self.learner.beta1(net)
    }

    fn updates(&self) -> usize {
        self.batches.len()
    }

    fn inputs(&self) -> Vec<String> {
        self.inputs.clone()
    }

    fn update(&mut self, fixture: &Fixture, update: usize) -> Result<Metrics, ParityError> {
        learn(fixture, &mut *self.learner, &self.batches[update], update)
    }
}

/// An update of a learner on `batch`, with the fixture's draws.
fn learn(
    fixture: &Fixture,
    learner: &mut dyn Replayed,
    batch: &Columns,
    update: usize,
) -> Result<Metrics, ParityError> {
    learner.arena().set_replay(Some(Replay::new(fixture.draws(update))));
    let metrics = learner.update(batch.batch(), Key::new(0).fold(update as u64));
    let replay = learner.arena().take_replay().expect("a learner does not take the draws away");
    replay.finish().map_err(|source| fixture.draw_error(update, source))?;
    Ok(metrics)
}

/// Replays a fixture: every quantity of it with how far ours is from it. Losses come first, then gradients, then parameters; of
/// a roll-out it is transitions alone.
///
/// # Errors
/// If the fixture does not fit what it names: a tensor is missing, unknown or of another shape, or there are more or fewer
/// draws than are asked for.
pub fn replay(fixture: &Fixture) -> Result<Vec<Compared>, ParityError> {
    let name = fixture.algorithm.as_str();
    let learner = LEARNERS.iter().chain(MODEL_BASED).find(|(known, _)| *known == name);
    let model = MODELS.iter().find(|(known, _)| *known == name);
    if learner.is_none() && model.is_none() && name != rollout::NAME {
        return Err(fixture.note("algorithm", format!("`{name}` is not one of ours")));
    }
    fixture.check_spec()?;
    match (learner, model) {
        (Some((_, build)), _) => {
            let learner = build(fixture)?;
            let batches = fixture.columns("batch", learner.needs_next_actions())?;
            let mut inputs = Fixture::columns_of("batch", learner.needs_next_actions());
            if MODEL_BASED.iter().any(|(known, _)| *known == name) {
                inputs.extend(fixture.paths_of_world()?);
            }
            replay_updates(fixture, &mut Taught { learner, batches, inputs })
        }
        (_, Some((_, build))) => replay_updates(fixture, build(fixture)?.as_mut()),
        _ => rollout::replay(fixture),
    }
}

fn replay_updates(fixture: &Fixture, subject: &mut dyn Subject) -> Result<Vec<Compared>, ParityError> {
    let updates = subject.updates();
    let first = start(fixture, subject.state())?;
    let mut losses: BTreeMap<String, Vec<Option<Real>>> = BTreeMap::new();
    let mut gradients = BTreeMap::new();
    for update in 0..updates {
        let metrics = subject.update(fixture, update)?;
        for (name, value) in metrics.iter() {
            losses.entry(name.to_owned()).or_insert_with(|| vec![None; updates])[update] = Some(value);
        }
        first_gradients(fixture, subject, &mut gradients)?;
    }

    let mut all = compare_losses(fixture, &losses, updates)?;
    all.extend(compare_gradients(fixture, &gradients)?);
    all.extend(compare_parameters(fixture, subject.state(), &first)?);
    fixture.check_all_compared(&all, &subject.inputs(), updates)?;
    Ok(all)
}

/// Every tensor of the state that is not an optimiser's, with its shape and numbers, in its order.
fn parameters(state: &mut dyn State) -> Vec<(String, Tensor)> {
    let mut all = Vec::new();
    state.visit(&mut |name, slot| {
        if let (Slot::Tensor(shape, values), None) = (slot, optimiser(name)) {
            all.push((name.to_owned(), Tensor::new(shape, values.iter().map(|&x| x as f64))));
        }
    });
    all
}

/// Puts the fixture's first parameters into the state and returns them.
fn start(fixture: &Fixture, state: &mut dyn State) -> Result<Vec<(String, Tensor)>, ParityError> {
    let mut first = parameters(state);
    for (name, tensor) in &mut first {
        *tensor = fixture.tensor(&format!("params/{name}"), &tensor.shape)?.clone();
    }
    let mut next = first.iter();
    state.visit(&mut |name, slot| {
        if let (Slot::Tensor(_, values), None) = (slot, optimiser(name)) {
            let (_, tensor) = next.next().expect("a state visits the same tensors every time");
            values.iter_mut().zip(&tensor.values).for_each(|(to, &x)| *to = x as Real);
        }
    });
    Ok(first)
}

/// Adds the gradient of each optimiser that has now taken its one and only step: its first moment is then (1 − β₁)·g.
fn first_gradients(
    fixture: &Fixture,
    subject: &mut dyn Subject,
    gradients: &mut BTreeMap<String, (String, Tensor)>,
) -> Result<(), ParityError> {
    let (mut moments, mut stepped, mut shapes) = (Vec::new(), Vec::new(), Vec::new());
    subject.state().visit(&mut |name, slot| match (optimiser(name), slot) {
        (Some((prefix, "m")), Slot::Tensor(_, m)) => moments.push((prefix.to_owned(), m.to_vec())),
        (Some((prefix, "steps")), Slot::Count(&mut 1)) => stepped.push(prefix.to_owned()),
        (None, Slot::Tensor(shape, _)) => shapes.push((name.to_owned(), shape.to_vec())),
        _ => {}
    });
    for (prefix, m) in moments.iter().filter(|(prefix, _)| stepped.contains(prefix)) {
        let moved: Vec<_> = shapes.iter().filter(|(name, _)| moves(prefix, name)).collect();
        let len: usize = moved.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        if len != m.len() {
            let why = format!("moves {} numbers, and the tensors called after it have {len}", m.len());
            return Err(fixture.note(&format!("the optimiser of `{prefix}`"), why));
        }
        let mut rest = m.as_slice();
        for (name, shape) in moved {
            let (now, later) = rest.split_at(shape.iter().product());
            let g = now.iter().map(|&m| m as f64 / (1.0 - subject.beta1(prefix) as f64));
            gradients.entry(name.clone()).or_insert_with(|| (prefix.clone(), Tensor::new(shape, g)));
            rest = later;
        }
    }
    Ok(())
}

/// β₁ of the optimisers here, but for some learners'.
const BETA1: Real = 0.9;

/// Losses, and whatever else of an update's metrics the fixture has. A NaN of the fixture is an update without that metric.
fn compare_losses(
    fixture: &Fixture,
    ours: &BTreeMap<String, Vec<Option<Real>>>,
    updates: usize,
) -> Result<Vec<Compared>, ParityError> {
    let mut all = Vec::new();
    for (name, ours) in ours {
        let path = format!("losses/{name}");
        if !fixture.tensors.contains_key(&path) && !name.ends_with("loss") {
            continue;
        }
        let theirs = &fixture.tensor(&path, &[updates])?.values;
        let largest = theirs.iter().filter(|x| x.is_finite()).fold(0.0f64, |most, x| most.max(x.abs()));
        for (update, (ours, &theirs)) in ours.iter().zip(theirs).enumerate() {
            let error = loss_error(ours.map(|x| x as f64), theirs, largest);
            all.push(Compared { kind: Kind::Loss, name: name.clone(), update: Some(update), error });
        }
    }
    Ok(all)
}

/// A tensor beside the largest of those its optimiser moves.
fn compare_gradients(
    fixture: &Fixture,
    ours: &BTreeMap<String, (String, Tensor)>,
) -> Result<Vec<Compared>, ParityError> {
    let mut theirs = BTreeMap::new();
    for (name, (_, ours)) in ours {
        theirs.insert(name, fixture.tensor(&format!("gradients/{name}"), &ours.shape)?);
    }
    let largest = |of: &str| {
        let beside = theirs.iter().filter(|(name, _)| ours[**name].0 == of);
        beside.fold(0.0f64, |most, (_, tensor)| most.max(tensor.norm()))
    };
    let compared = ours.iter().map(|(name, (optimiser, ours))| {
        let error = relative(difference(ours, theirs[name]), theirs[name].norm(), 1e-3 * largest(optimiser));
        Compared { kind: Kind::Gradient, name: name.clone(), update: None, error }
    });
    Ok(compared.collect())
}

/// Last parameters, and how they changed.
fn compare_parameters(
    fixture: &Fixture,
    state: &mut dyn State,
    first: &[(String, Tensor)],
) -> Result<Vec<Compared>, ParityError> {
    let mut all = Vec::new();
    for ((name, ours), (_, first)) in parameters(state).iter().zip(first) {
        let theirs = fixture.tensor(&format!("final/{name}"), &ours.shape)?;
        let (off, moved) = (difference(ours, theirs), difference(theirs, first));
        for (kind, size, floor) in [(Kind::Parameter, theirs.norm(), 0.0), (Kind::Change, moved, 1e-3 * first.norm())] {
            all.push(Compared { kind, name: name.clone(), update: None, error: relative(off, size, floor) });
        }
    }
    Ok(all)
}
