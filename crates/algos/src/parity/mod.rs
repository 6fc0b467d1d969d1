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
mod error;
mod fixture;
mod world;

pub use compare::{Compared, Kind};
pub use error::ParityError;
pub use fixture::{Fixture, Tensor};

use crate::imagines::ModelBased;
use crate::{awac, bc, bcq, bear, combo, cql, edac, iql, mcq, mobile, rebrac, sac, td3_bc};
use backcast_core::*;
use backcast_nn::{Arena, Replay};
use compare::{difference, loss_error, relative};
use std::collections::BTreeMap;

/// A learner whose draws can be replaced by recorded ones.
pub trait Replayed: Learner {
    /// The arena of the store whose tapes draw.
    fn arena(&mut self) -> &mut Arena;

    /// Whether its batches must bring the action recorded at the next state.
    fn needs_next_actions(&self) -> bool {
        false
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
    (rebrac::Config::NAME, build::<rebrac::Config>),
    (sac::Config::NAME, build::<sac::Config>),
    (td3_bc::Config::NAME, build::<td3_bc::Config>),
];

/// The same, of learners that are built on a model.
const MODEL_BASED: &[(&str, Build)] =
    &[(combo::Config::NAME, build_on::<combo::Config>), (mobile::Config::NAME, build_on::<mobile::Config>)];

/// The names of the algorithms that can be replayed.
pub fn algorithms() -> impl Iterator<Item = &'static str> {
    LEARNERS.iter().chain(MODEL_BASED).map(|(name, _)| *name)
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

/// Replays a fixture: every quantity of it with how far ours is from it. Losses come first, then gradients, then parameters.
///
/// # Errors
/// If the fixture does not fit the learner it names: a tensor is missing, unknown or of another shape, or there are more or
/// fewer draws than the learner asks for.
pub fn replay(fixture: &Fixture) -> Result<Vec<Compared>, ParityError> {
    let (_, build) = LEARNERS
        .iter()
        .chain(MODEL_BASED)
        .find(|(name, _)| *name == fixture.algorithm)
        .ok_or_else(|| fixture.note("algorithm", format!("`{}` is not one of ours", fixture.algorithm)))?;
    fixture.check_spec()?;
    let mut learner = build(fixture)?;
    let next_actions = learner.needs_next_actions();
    let batches = fixture.batches(next_actions)?;
    let first = start(fixture, learner.as_mut())?;

    let mut losses: BTreeMap<String, Vec<Option<Real>>> = BTreeMap::new();
    let mut gradients = BTreeMap::new();
    for (update, batch) in batches.iter().enumerate() {
        learner.arena().set_replay(Some(Replay::new(fixture.draws(update))));
        let metrics = learner.update(batch.batch(), Key::new(0).fold(update as u64));
        let replay = learner.arena().take_replay().expect("a learner does not take the draws away");
        replay.finish().map_err(|source| fixture.draw_error(update, source))?;
        for (name, value) in metrics.iter() {
            losses.entry(name.to_owned()).or_insert_with(|| vec![None; batches.len()])[update] = Some(value);
        }
        first_gradients(fixture, learner.as_mut(), &mut gradients)?;
    }

    let mut all = compare_losses(fixture, &losses, batches.len())?;
    all.extend(compare_gradients(fixture, &gradients)?);
    all.extend(compare_parameters(fixture, learner.as_mut(), &first)?);
    let model_based = MODEL_BASED.iter().any(|(name, _)| *name == fixture.algorithm);
    fixture.check_all_compared(&all, next_actions, model_based)?;
    Ok(all)
}

/// The optimiser that `name` is a part of, as the prefix of the parameters it moves, and which part: what `critic_adam.m` is
/// to `critic.0.weight`, or `temperature.adam.m` to `temperature.ln_alpha`.
fn optimiser(name: &str) -> Option<(&str, &str)> {
    let (owner, part) = name.rsplit_once('.')?;
    let prefix = owner.strip_suffix("adam")?;
    let prefix = prefix.strip_suffix(['_', '.']).unwrap_or(prefix);
    Some((prefix, part))
}

/// Whether an optimiser of this prefix moves the parameter.
fn moves(prefix: &str, parameter: &str) -> bool {
    prefix.is_empty() || parameter.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'))
}

/// Every tensor of the learner that is not an optimiser's, with its shape and numbers, in the learner's order.
fn parameters(learner: &mut dyn Replayed) -> Vec<(String, Tensor)> {
    let mut all = Vec::new();
    learner.visit(&mut |name, slot| {
        if let (Slot::Tensor(shape, values), None) = (slot, optimiser(name)) {
            all.push((name.to_owned(), Tensor::new(shape, values.iter().map(|&x| x as f64))));
        }
    });
    all
}

/// Puts the fixture's first parameters into the learner and returns them.
fn start(fixture: &Fixture, learner: &mut dyn Replayed) -> Result<Vec<(String, Tensor)>, ParityError> {
    let mut first = parameters(learner);
    for (name, tensor) in &mut first {
        *tensor = fixture.tensor(&format!("params/{name}"), &tensor.shape)?.clone();
    }
    let mut next = first.iter();
    learner.visit(&mut |name, slot| {
        if let (Slot::Tensor(_, values), None) = (slot, optimiser(name)) {
            let (_, tensor) = next.next().expect("a learner visits the same tensors every time");
            values.iter_mut().zip(&tensor.values).for_each(|(to, &x)| *to = x as Real);
        }
    });
    Ok(first)
}

/// Adds the gradient of each optimiser that has now taken its one and only step: its first moment is then (1 − β₁)·g.
fn first_gradients(
    fixture: &Fixture,
    learner: &mut dyn Replayed,
    gradients: &mut BTreeMap<String, Tensor>,
) -> Result<(), ParityError> {
    let (mut moments, mut stepped, mut shapes) = (Vec::new(), Vec::new(), Vec::new());
    learner.visit(&mut |name, slot| match (optimiser(name), slot) {
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
            let g = now.iter().map(|&m| m as f64 / (1.0 - BETA1));
            gradients.entry(name.clone()).or_insert_with(|| Tensor::new(shape, g));
            rest = later;
        }
    }
    Ok(())
}

/// β₁ of every optimiser here, rounded as the optimiser rounds it.
const BETA1: f64 = 0.9 as Real as f64;

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
fn compare_gradients(fixture: &Fixture, ours: &BTreeMap<String, Tensor>) -> Result<Vec<Compared>, ParityError> {
    let mut theirs = BTreeMap::new();
    for (name, ours) in ours {
        theirs.insert(name, fixture.tensor(&format!("gradients/{name}"), &ours.shape)?);
    }
    let group = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let largest = |of: &str| {
        let beside = theirs.iter().filter(|(name, _)| group(name) == group(of));
        beside.fold(0.0f64, |most, (_, tensor)| most.max(tensor.norm()))
    };
    let compared = ours.iter().map(|(name, ours)| {
        let error = relative(difference(ours, theirs[name]), theirs[name].norm(), 1e-3 * largest(name));
        Compared { kind: Kind::Gradient, name: name.clone(), update: None, error }
    });
    Ok(compared.collect())
}

/// Last parameters, and how they changed.
fn compare_parameters(
    fixture: &Fixture,
    learner: &mut dyn Replayed,
    first: &[(String, Tensor)],
) -> Result<Vec<Compared>, ParityError> {
    let mut all = Vec::new();
    for ((name, ours), (_, first)) in parameters(learner).iter().zip(first) {
        let theirs = fixture.tensor(&format!("final/{name}"), &ours.shape)?;
        let (off, moved) = (difference(ours, theirs), difference(theirs, first));
        for (kind, size, floor) in [(Kind::Parameter, theirs.norm(), 0.0), (Kind::Change, moved, 1e-3 * first.norm())] {
            all.push(Compared { kind, name: name.clone(), update: None, error: relative(off, size, floor) });
        }
    }
    Ok(all)
}
