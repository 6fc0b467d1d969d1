//! What other code did in ten updates of this crate's algorithms, replayed and compared number for number.
//!
//! The machinery is [`recording`](crate::recording)'s; here is what the batches of these algorithms look like.
//!
//! ```
//! use backcast_parity::factorization::{Fixture, replay};
//!
//! let bytes = include_bytes!("../tests/golden/factorization/vdn.safetensors");
//! let fixture = Fixture::parse("vdn.safetensors", bytes)?;
//! for compared in replay(&fixture)? {
//!     assert!(compared.holds(), "{} is off by {:e}", compared.name, compared.error);
//! }
//! # Ok::<(), backcast_parity::factorization::ParityError>(())
//! ```

pub use crate::recording::{Compared, Fixture, Kind, ParityError, Tensor};

use crate::recording::{Subject, read_note, replay as replay_updates, replaying};
use backcast_core::{Batch, Key, Learner, Metrics, Real, Spec, State};
use backcast_factorization::cloning::{CloneConfig, Cloned};
use backcast_factorization::coma::{Coma, ComaConfig, Paths};
use backcast_factorization::factored::{Constraint, Factored, FactoredBatch, FactoredConfig};
use backcast_factorization::fqe::{FqeBatch, FqeConfig, JointFqe};
use backcast_factorization::groups::{Groups, GroupsConfig};
use backcast_factorization::learner::{Config, Joint, JointBatch};
use backcast_factorization::parts::Widths;
use backcast_nn::Parameterised;
use ndarray::{ArrayD, ArrayView, ArrayViewD, Axis, Dimension};
use serde::{Deserialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// Makes what is replayed from a fixture.
type Build = fn(&Fixture) -> Result<Box<dyn Subject>, ParityError>;

/// What a fixture may name as its algorithm.
const LEARNERS: &[(&str, Build)] = &[
    ("joint", joint),
    ("factored", factored),
    ("coma", coma),
    ("clone", clone),
    ("joint_fqe", joint_fqe),
    ("groups", groups),
];

/// The names of what can be replayed.
pub fn algorithms() -> impl Iterator<Item = &'static str> {
    LEARNERS.iter().map(|(name, _)| *name)
}

/// Replays a fixture: every quantity of it with how far ours is from it.
///
/// # Errors
/// If the fixture does not fit what it names: a tensor is missing, unknown or of another shape, or there are more or fewer
/// draws than are asked for.
pub fn replay(fixture: &Fixture) -> Result<Vec<Compared>, ParityError> {
    let build = LEARNERS.iter().find(|(name, _)| *name == fixture.algorithm);
    let (_, build) =
        build.ok_or_else(|| fixture.note("algorithm", format!("`{}` is not one of ours", fixture.algorithm)))?;
    replay_updates(fixture, build(fixture)?.as_mut())
}

/// For each algorithm, what is called otherwise than when its fixtures were recorded: the path of a key then, and the key now.
const RENAMED: &[(&str, &[(&str, &str)])] = &[
    ("joint", &[("learner.rate", "lr"), ("learner.conservatism.samples", "n_action_samples")]),
    ("factored", &[("learner.rate", "lr"), ("learner.polyak", "tau")]),
    ("coma", &[("learner.critic_rate", "critic_lr"), ("learner.policy_rate", "policy_lr")]),
    ("clone", &[("learner.rate", "lr"), ("learner.decay", "weight_decay")]),
    ("joint_fqe", &[("learner.rate", "lr"), ("learner.polyak", "tau")]),
    ("groups", &[("critic_rate", "critic_lr"), ("actor_rate", "actor_lr"), ("polyak", "tau")]),
];

fn renamed(algorithm: &str) -> &'static [(&'static str, &'static str)] {
    RENAMED.iter().find(|(name, _)| *name == algorithm).map_or(&[], |(_, keys)| keys)
}

/// The note `config`: what an algorithm is for, and its own configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Noted<C> {
    actions: usize,
    #[serde(default)]
    state: usize,
    learner: C,
}

impl<C> Noted<C> {
    fn widths(&self, fixture: &Fixture) -> Widths {
        Widths { parts: fixture.spec.act, actions: self.actions, obs: fixture.spec.obs, state: self.state }
    }
}

impl<C: DeserializeOwned> Noted<C> {
    fn of(fixture: &Fixture) -> Result<Self, ParityError> {
        read_note(&fixture.config, renamed(&fixture.algorithm)).map_err(|e| fixture.note("config", e.to_string()))
    }
}

/// Columns of all updates, the update first.
struct Batches {
    reals: BTreeMap<&'static str, ArrayD<Real>>,
    actions: BTreeMap<&'static str, ArrayD<usize>>,
    updates: usize,
}

impl Batches {
    /// Columns of numbers and of actions below `actions`, with the shape of each without the updates; 0 stands for the rows.
    fn read(
        fixture: &Fixture,
        actions: usize,
        numbers: &[(&'static str, &[usize])],
        acts: &[(&'static str, &[usize])],
    ) -> Result<Self, ParityError> {
        let missing = || ParityError::Missing { file: fixture.file.clone(), tensor: "batch/reward".into() };
        let sizes = &fixture.tensors.get("batch/reward").ok_or_else(missing)?.shape;
        let ([updates, rows] | [updates, rows, 1]) = sizes[..] else {
            return Err(fixture.note("batch/reward", format!("has shape {sizes:?}, not [updates, rows]")));
        };
        let tensor = |name: &str, shape: &[usize]| {
            let shape: Vec<usize> =
                [updates].into_iter().chain(shape.iter().map(|&n| if n == 0 { rows } else { n })).collect();
            Ok((shape.clone(), &fixture.tensor(&format!("batch/{name}"), &shape)?.values))
        };
        let array = |name, shape| {
            let (shape, values) = tensor(name, shape)?;
            let values = values.iter().map(|&x| x as Real).collect();
            Ok((name, ArrayD::from_shape_vec(shape, values).expect("the shape was checked")))
        };
        let reals = numbers.iter().map(|&(name, shape)| array(name, shape)).collect::<Result<_, ParityError>>()?;
        let mut taken = BTreeMap::new();
        for &(name, shape) in acts {
            let (shape, values) = tensor(name, shape)?;
            if let Some(row) = values.iter().position(|&x| x.fract() != 0.0 || x < 0.0 || x >= actions as f64) {
                return Err(fixture.note(&format!("batch/{name}"), format!("{} at {row} of {actions}", values[row])));
            }
            let values = values.iter().map(|&x| x as usize).collect();
            taken.insert(name, ArrayD::from_shape_vec(shape, values).expect("the shape was checked"));
        }
        Ok(Self { reals, actions: taken, updates })
    }

    fn paths(&self) -> Vec<String> {
        self.reals.keys().chain(self.actions.keys()).map(|name| format!("batch/{name}")).collect()
    }

    /// A column of numbers in one update.
    fn real<D: Dimension>(&self, name: &str, update: usize) -> ArrayView<'_, Real, D> {
        of(self.reals[name].view(), update)
    }

    /// A column of actions in one update.
    fn act<D: Dimension>(&self, name: &str, update: usize) -> ArrayView<'_, usize, D> {
        of(self.actions[name].view(), update)
    }
}

fn of<T, D: Dimension>(all: ArrayViewD<'_, T>, update: usize) -> ArrayView<'_, T, D> {
    all.index_axis_move(Axis(0), update).into_dimensionality().expect("the shape was checked")
}

/// An algorithm and its rows.
struct Taught<L> {
    learner: L,
    batches: Batches,
}

/// What is updated with rows.
trait Learns: State {
    fn arena(&mut self) -> &mut backcast_nn::Arena;
    fn learn(&mut self, batches: &Batches, update: usize) -> Metrics;
}

impl<L: Learns> Subject for Taught<L> {
    fn state(&mut self) -> &mut dyn State {
        &mut self.learner
    }

    fn updates(&self) -> usize {
        self.batches.updates
    }

    fn inputs(&self) -> Vec<String> {
        self.batches.paths()
    }

    fn update(&mut self, fixture: &Fixture, update: usize) -> Result<Metrics, ParityError> {
        let Self { learner, batches } = self;
        replaying(fixture, update, learner, L::arena, |learner| learner.learn(batches, update))
    }
}

fn joint(fixture: &Fixture) -> Result<Box<dyn Subject>, ParityError> {
    let Noted { actions, state, learner } = Noted::<Config>::of(fixture)?;
    let (parts, obs) = (fixture.spec.act, fixture.spec.obs);
    let learner = learner.build(Widths { parts, actions, obs, state }, Key::new(0));
    let learner = learner.map_err(|e| fixture.note("config", e.to_string()))?;
    let (states, seen): (&[usize], &[usize]) = (&[0, state], &[parts, 0, obs]);
    let numbers = [
        ("state", states),
        ("obs", seen),
        ("reward", &[0]),
        ("next_state", states),
        ("next_obs", seen),
        ("terminal", &[0]),
    ];
    let batches = Batches::read(fixture, actions, &numbers, &[("act", &[0, parts])])?;
    Ok(Box::new(Taught { learner, batches }))
}

impl Learns for Joint {
    fn arena(&mut self) -> &mut backcast_nn::Arena {
        self.store_mut().arena_mut()
    }

    fn learn(&mut self, batches: &Batches, update: usize) -> Metrics {
        let batch = JointBatch {
            state: batches.real("state", update),
            obs: batches.real("obs", update),
            act: batches.act("act", update),
            reward: batches.real("reward", update),
            next_state: batches.real("next_state", update),
            next_obs: batches.real("next_obs", update),
            terminal: batches.real("terminal", update),
        };
        self.update(batch, Key::new(0).fold(update as u64))
    }
}

fn factored(fixture: &Fixture) -> Result<Box<dyn Subject>, ParityError> {
    let Noted { actions, learner: config, .. } = Noted::<FactoredConfig>::of(fixture)?;
    let (parts, obs) = (fixture.spec.act, fixture.spec.obs);
    let learner = config.build(obs, parts, actions, Key::new(0));
    let learner = learner.map_err(|e| fixture.note("config", e.to_string()))?;
    let seen: &[usize] = &[0, obs];
    let numbers = [("obs", seen), ("reward", &[0]), ("next_obs", seen), ("terminal", &[0])];
    let taken: &[usize] = &[0, parts];
    let acts = [("act", taken), ("next_act", taken)];
    let followed = matches!(config.constraint, Constraint::OneStep { .. });
    let batches = Batches::read(fixture, actions, &numbers, &acts[..if followed { 2 } else { 1 }])?;
    Ok(Box::new(Taught { learner, batches }))
}

impl Learns for Factored {
    fn arena(&mut self) -> &mut backcast_nn::Arena {
        self.store_mut().arena_mut()
    }

    fn learn(&mut self, batches: &Batches, update: usize) -> Metrics {
        self.update(FactoredBatch {
            obs: batches.real("obs", update),
            act: batches.act("act", update),
            reward: batches.real("reward", update),
            next_obs: batches.real("next_obs", update),
            next_act: batches.actions.contains_key("next_act").then(|| batches.act("next_act", update)),
            terminal: batches.real("terminal", update),
        })
    }
}

fn coma(fixture: &Fixture) -> Result<Box<dyn Subject>, ParityError> {
    let noted = Noted::<ComaConfig>::of(fixture)?;
    let widths = noted.widths(fixture);
    let learner = noted.learner.build(widths, Key::new(0)).map_err(|e| fixture.note("config", e.to_string()))?;
    let Widths { parts, actions, obs, state } = widths;
    let numbers: [(_, &[usize]); 5] =
        [("state", &[0, state]), ("obs", &[parts, 0, obs]), ("reward", &[0]), ("terminal", &[0]), ("cut", &[0])];
    let batches = Batches::read(fixture, actions, &numbers, &[("act", &[0, parts])])?;
    Ok(Box::new(Taught { learner, batches }))
}

impl Learns for Coma {
    fn arena(&mut self) -> &mut backcast_nn::Arena {
        self.store_mut().arena_mut()
    }

    fn learn(&mut self, batches: &Batches, update: usize) -> Metrics {
        self.update(Paths {
            state: batches.real("state", update),
            obs: batches.real("obs", update),
            act: batches.act("act", update),
            reward: batches.real("reward", update),
            terminal: batches.real("terminal", update),
            truncated: batches.real("cut", update),
        })
    }
}

fn clone(fixture: &Fixture) -> Result<Box<dyn Subject>, ParityError> {
    let noted = Noted::<CloneConfig>::of(fixture)?;
    let widths = noted.widths(fixture);
    let learner = noted.learner.build(widths, Key::new(0)).map_err(|e| fixture.note("config", e.to_string()))?;
    let numbers: [(_, &[usize]); 2] = [("obs", &[widths.parts, 0, widths.obs]), ("reward", &[0])];
    let batches = Batches::read(fixture, widths.actions, &numbers, &[("act", &[0, widths.parts])])?;
    Ok(Box::new(Taught { learner, batches }))
}

impl Learns for Cloned {
    fn arena(&mut self) -> &mut backcast_nn::Arena {
        self.store_mut().arena_mut()
    }

    fn learn(&mut self, batches: &Batches, update: usize) -> Metrics {
        self.update(batches.real("obs", update), batches.act("act", update))
    }
}

fn joint_fqe(fixture: &Fixture) -> Result<Box<dyn Subject>, ParityError> {
    let noted = Noted::<FqeConfig>::of(fixture)?;
    let widths = noted.widths(fixture);
    let learner = noted.learner.build(widths, Key::new(0)).map_err(|e| fixture.note("config", e.to_string()))?;
    let Widths { parts, actions, state, .. } = widths;
    let numbers: [(_, &[usize]); 5] = [
        ("state", &[0, state]),
        ("reward", &[0]),
        ("next_state", &[0, state]),
        ("next_policy", &[parts, 0, actions]),
        ("terminal", &[0]),
    ];
    let batches = Batches::read(fixture, actions, &numbers, &[("act", &[0, parts])])?;
    Ok(Box::new(Taught { learner, batches }))
}

impl Learns for JointFqe {
    fn arena(&mut self) -> &mut backcast_nn::Arena {
        self.store_mut().arena_mut()
    }

    fn learn(&mut self, batches: &Batches, update: usize) -> Metrics {
        self.update(FqeBatch {
            state: batches.real("state", update),
            act: batches.act("act", update),
            reward: batches.real("reward", update),
            next_state: batches.real("next_state", update),
            next_policy: batches.real("next_policy", update),
            terminal: batches.real("terminal", update),
        })
    }
}

fn groups(fixture: &Fixture) -> Result<Box<dyn Subject>, ParityError> {
    let complain = |why: String| fixture.note("config", why);
    let config: GroupsConfig =
        read_note(&fixture.config, renamed(&fixture.algorithm)).map_err(|e| complain(e.to_string()))?;
    let learner = config.build(fixture.spec, Key::new(0)).map_err(|e| complain(e.to_string()))?;
    let Spec { obs, act, .. } = fixture.spec;
    let numbers: [(_, &[usize]); 5] =
        [("obs", &[0, obs]), ("act", &[0, act]), ("reward", &[0, 1]), ("next_obs", &[0, obs]), ("terminal", &[0, 1])];
    let batches = Batches::read(fixture, 0, &numbers, &[])?;
    Ok(Box::new(Taught { learner, batches }))
}

impl Learns for Groups {
    fn arena(&mut self) -> &mut backcast_nn::Arena {
        self.store_mut().arena_mut()
    }

    fn learn(&mut self, batches: &Batches, update: usize) -> Metrics {
        let obs: ndarray::ArrayView2<'_, Real> = batches.real("obs", update);
        let batch = Batch {
            spec: backcast_core::Policy::spec(self),
            obs,
            act: batches.real("act", update),
            reward: batches.real("reward", update),
            next_obs: batches.real("next_obs", update),
            terminal: batches.real("terminal", update),
            next_act: None,
            real: obs.nrows(),
        };
        self.update(batch, Key::new(0))
    }
}
