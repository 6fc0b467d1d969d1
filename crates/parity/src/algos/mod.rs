//! Whether an agent computes what other code computes, number for number.
//!
//! Equations leave much open: the order of updates, what is a mean and what a sum, on which side of a step a value is taken.
//! A [`Fixture`] holds what other code did in a few updates: its first parameters, its batches, each random number it drew,
//! and what came of it. [`replay`] puts the parameters into our agent, hands it the batches and the numbers, and compares
//! losses, first gradients and last parameters. The format is described in `crates/parity/tests/golden/README.md`; how much
//! may differ, at [`Kind::bound`].
//!
//! ```
//! use backcast_parity::algos::{Fixture, replay};
//!
//! let bytes = include_bytes!("../../tests/golden/td3_bc.safetensors");
//! let fixture = Fixture::parse("td3_bc.safetensors", bytes)?;
//! for compared in replay(&fixture)? {
//!     assert!(compared.holds(), "{} is off by {:e}", compared.name, compared.error);
//! }
//! # Ok::<(), backcast_parity::algos::ParityError>(())
//! ```

mod differences;
mod ensemble;
mod keys;
mod rambo;
mod rollout;
mod transitions;
mod world_model;

pub use crate::recording::{Compared, Fixture, Kind, ParityError, Tensor};
pub use differences::{Difference, by_choice};

use crate::recording::{BETA1, Subject, read_note, replay as replay_updates, replaying};
use backcast_algos::{online::td3, sdm_gan};
use backcast_core::{Algorithm, Key, Learner, Metrics, Problem, Real, State, Transitions};
use backcast_nn::Parameterised;
use serde::de::DeserializeOwned;
use transitions::{RecordedColumns, columns_of};
use world_model::OfWorldModel;

/// An agent whose draws can be replaced by recorded ones.
trait Replayed: Learner + Parameterised {}

impl<L: Learner + Parameterised> Replayed for L {}

/// An agent as a fixture has it.
struct Built {
    learner: Box<dyn Replayed>,
    uses_model: bool,
    needs_next_actions: bool,
}

/// Makes an agent from a configuration in JSON.
type Build = fn(&Fixture) -> Result<Built, ParityError>;

macro_rules! list {
    ($($Variant:ident $module:ident)*) => {
        &[
            (td3::Config::NAME, build::<td3::Config>),
            $((backcast_algos::$module::Config::NAME, build::<backcast_algos::$module::Config>),)*
        ]
    };
}

/// What a fixture may name as its algorithm.
const LEARNERS: &[(&str, Build)] = backcast_algos::algorithms!(list);

/// Held by the fixtures of their parts: MOPO by `sac` and `rollout`, MOReL and its policy gradient by tests of their own, since a step of
/// conjugate gradients has no batch to hand over.
const BY_PARTS: [&str; 3] = ["mopo", "morel", "npg"];

/// The names of what can be replayed: agents, an ensemble as it is fitted, and a rollout.
pub fn algorithms() -> impl Iterator<Item = &'static str> {
    let learners = LEARNERS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !BY_PARTS.contains(name) && MODELS.iter().all(|(model, _)| model != name));
    learners.chain(MODELS.iter().map(|(name, _)| *name)).chain([rollout::NAME])
}

/// The note `config`.
fn read_config<C: DeserializeOwned>(fixture: &Fixture) -> Result<C, ParityError> {
    let renamed = keys::of_config(&fixture.algorithm);
    read_note(&fixture.config, &renamed).map_err(|e| fixture.note("config", e.to_string()))
}

fn build<A: Algorithm>(fixture: &Fixture) -> Result<Built, ParityError>
where
    A::Learner: Parameterised + 'static,
{
    let config: A = read_config(fixture)?;
    let problem = if A::USES_MODEL { fixture.problem()? } else { Problem::new(fixture.spec) };
    let needs_next_actions = config.needs_next_actions();
    let learner = config.build(problem, Key::new(0)).map_err(|e| fixture.note("config", e.to_string()))?;
    Ok(Built { learner: Box::new(learner), uses_model: A::USES_MODEL, needs_next_actions })
}

/// What else: an ensemble as it is fitted, and an agent that moves one.
const MODELS: &[(&str, BuildSubject)] = &[(ensemble::NAME, ensemble::build), (rambo::NAME, rambo::build)];

/// Makes what is replayed from a fixture.
type BuildSubject = fn(&Fixture) -> Result<Box<dyn Subject>, ParityError>;

/// An agent and its batches.
struct Taught {
    name: String,
    learner: Box<dyn Replayed>,
    batches: Vec<Transitions>,
    inputs: Vec<String>,
}

impl Subject for Taught {
    fn state(&mut self) -> &mut dyn State {
        &mut *self.learner
    }

    fn beta1(&self, net: &str) -> Real {
        if self.name == sdm_gan::Config::NAME && net != "critic" { sdm_gan::BETA1 } else { BETA1 }
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

/// An update of an agent on `batch`, with the fixture's draws.
fn learn<L: Learner + Parameterised + ?Sized>(
    fixture: &Fixture,
    learner: &mut L,
    batch: &Transitions,
    update: usize,
) -> Result<Metrics, ParityError> {
    replaying(
        fixture,
        update,
        learner,
        |learner| learner.store_mut().arena_mut(),
        |learner| learner.update(batch.batch(), Key::new(0).fold(update as u64)),
    )
}

/// Replays a fixture: every quantity of it with how far ours is from it. Losses come first, then gradients, then parameters; of
/// a rollout it is transitions alone.
///
/// # Errors
/// If the fixture does not fit what it names: a tensor is missing, unknown or of another shape, or there are more or fewer
/// draws than are asked for.
pub fn replay(fixture: &Fixture) -> Result<Vec<Compared>, ParityError> {
    let name = fixture.algorithm.as_str();
    let model = MODELS.iter().find(|(known, _)| *known == name);
    let learner = LEARNERS.iter().find(|(known, _)| model.is_none() && *known == name);
    if learner.is_none() && model.is_none() && name != rollout::NAME {
        return Err(fixture.note("algorithm", format!("`{name}` is not one of ours")));
    }
    fixture.check_spec()?;
    match (learner, model) {
        (Some((_, build)), _) => {
            let Built { learner, uses_model, needs_next_actions } = build(fixture)?;
            let batches = fixture.columns("batch", needs_next_actions)?;
            let mut inputs = columns_of("batch", needs_next_actions);
            if uses_model {
                inputs.extend(fixture.paths_of_world_model()?);
            }
            replay_updates(fixture, &mut Taught { name: name.to_owned(), learner, batches, inputs })
        }
        (_, Some((_, build))) => replay_updates(fixture, build(fixture)?.as_mut()),
        _ => rollout::replay(fixture),
    }
}
