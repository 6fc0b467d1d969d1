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

mod differences;
mod ensemble;
mod keys;
mod rambo;
mod rollout;
mod transitions;
mod world_model;

pub use backcast_nn::parity::{Compared, Fixture, Kind, ParityError, Tensor};
pub use differences::{Difference, by_choice};

use crate::imagines::ModelBased;
use crate::{
    awac, bc, bcq, bear, combo, cql, edac, iql, mcq, mobile, osr, rebrac, sac, scas, sdc, sdm_gan, td3, td3_bc,
};
use backcast_core::*;
use backcast_nn::Arena;
use backcast_nn::parity::{BETA1, Subject, read_note, replay as replay_updates, replaying};
use serde::de::DeserializeOwned;
use transitions::{RecordedColumns, columns_of};
use world_model::OfWorldModel;

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

/// The note `config`.
fn read_config<C: DeserializeOwned>(fixture: &Fixture) -> Result<C, ParityError> {
    let renamed = keys::of_config(&fixture.algorithm);
    read_note(&fixture.config, renamed).map_err(|e| fixture.note("config", e.to_string()))
}

fn build<A: Algorithm>(fixture: &Fixture) -> Result<Box<dyn Replayed>, ParityError>
where
    A::Learner: Replayed + 'static,
{
    let config: A = read_config(fixture)?;
    let learner = config.build(fixture.spec, Key::new(0)).map_err(|e| fixture.note("config", e.to_string()))?;
    Ok(Box::new(learner))
}

fn build_on<A: ModelBased>(fixture: &Fixture) -> Result<Box<dyn Replayed>, ParityError>
where
    A::Learner: Replayed + 'static,
{
    let config: A = read_config(fixture)?;
    let learner = config.build_on(fixture.world_model()?, Key::new(0));
    Ok(Box::new(learner.map_err(|e| fixture.note("config", e.to_string()))?))
}

/// What else: an ensemble as it is fitted, and a learner that moves one.
const MODELS: &[(&str, BuildSubject)] = &[(ensemble::NAME, ensemble::build), (rambo::NAME, rambo::build)];

/// Makes what is replayed from a fixture.
type BuildSubject = fn(&Fixture) -> Result<Box<dyn Subject>, ParityError>;

/// A learner and its batches.
struct Taught {
    learner: Box<dyn Replayed>,
    batches: Vec<Transitions>,
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
    batch: &Transitions,
    update: usize,
) -> Result<Metrics, ParityError> {
    replaying(
        fixture,
        update,
        learner,
        |learner| learner.arena(),
        |learner| learner.update(batch.batch(), Key::new(0).fold(update as u64)),
    )
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
            let mut inputs = columns_of("batch", learner.needs_next_actions());
            if MODEL_BASED.iter().any(|(known, _)| *known == name) {
                inputs.extend(fixture.paths_of_world_model()?);
            }
            replay_updates(fixture, &mut Taught { learner, batches, inputs })
        }
        (_, Some((_, build))) => replay_updates(fixture, build(fixture)?.as_mut()),
        _ => rollout::replay(fixture),
    }
}
