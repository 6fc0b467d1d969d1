use super::{Fixture, ParityError, Tensor};
use crate::recording::read_note;
use backcast_core::{DatasetStats, ObsScaler, Problem, WorldModel};
use backcast_core::{Direction, Key, Real, Slot, State, never};
use backcast_dynamics::{Ensemble, EnsembleConfig};
use std::collections::BTreeSet;

/// Where the paths of a model's tensors begin, and those of its units.
const MODEL: &str = "model/";
const UNITS: &str = "units/";
/// The smallest and the greatest reward of the dataset, and their standard deviation.
const REWARDS: &str = "evidence/rewards";

/// What a fixture says of the model that an agent asks.
pub(super) trait OfWorldModel {
    /// What a model-based agent is built on: the model that the note `model` configures, with the tensors `model/…`, and, where
    /// the agent sees standardised observations, `units/mean` and `units/std`, and, where it asks, `evidence/rewards`. An agent that asks nothing of its model in an
    /// update needs none of them, and is given a model that knows nothing.
    fn problem(&self) -> Result<Problem, ParityError>;

    /// The paths of every tensor that a [`problem`](OfWorldModel::problem) is made of.
    fn paths_of_world_model(&self) -> Result<BTreeSet<String>, ParityError>;
}

impl OfWorldModel for Fixture {
    fn problem(&self) -> Result<Problem, ParityError> {
        let mut model = blank_model(self)?;
        if self.model.is_some() {
            fill(self, &mut model)?;
        }
        let mut problem = Problem::new(self.spec);
        let mut world_model = WorldModel::new(model, never);
        if self.tensors.keys().any(|path| path.starts_with(UNITS)) {
            let read = |name: &str| -> Result<Vec<Real>, ParityError> {
                Ok(singles(self.tensor(&format!("{UNITS}{name}"), &[self.spec.obs])?).collect())
            };
            world_model.scaler = ObsScaler::new(&read("mean")?, &read("std")?);
        }
        if self.tensors.contains_key(REWARDS) {
            let [least_reward, greatest_reward, reward_std] = {
                let mut numbers = singles(self.tensor(REWARDS, &[3])?);
                [(); 3].map(|()| numbers.next())
            };
            problem.dataset = DatasetStats { least_reward, greatest_reward, reward_std, ..DatasetStats::default() };
        }
        Ok(problem.with_model(world_model))
    }

    fn paths_of_world_model(&self) -> Result<BTreeSet<String>, ParityError> {
        let mut paths: BTreeSet<_> = ["mean", "std"].map(|name| format!("{UNITS}{name}")).into();
        paths.insert(REWARDS.to_owned());
        if self.model.is_some() {
            blank_model(self)?.visit(&mut |name, _| {
                paths.insert(format!("{MODEL}{name}"));
            });
        }
        Ok(paths)
    }
}

fn blank_model(fixture: &Fixture) -> Result<Ensemble, ParityError> {
    let complain = |why: String| fixture.note("model", why);
    let config: EnsembleConfig = match &fixture.model {
        Some(config) => read_note(config, super::keys::OF_MODEL).map_err(|e| complain(e.to_string()))?,
        None => {
            EnsembleConfig { members: 1, elites: 1, hidden: vec![1], weight_decay: vec![0.0; 2], ..Default::default() }
        }
    };
    Ensemble::new(config, fixture.spec, Direction::Forward, Key::new(0)).map_err(|e| complain(e.to_string()))
}

/// Every tensor of the model, and every count as a tensor of one number.
fn fill(fixture: &Fixture, model: &mut Ensemble) -> Result<(), ParityError> {
    let mut fault = None;
    model.visit(&mut |name, slot| {
        let path = format!("{MODEL}{name}");
        let read = match slot {
            Slot::Tensor(shape, values) => fixture.tensor(&path, shape).map(|found| {
                values.iter_mut().zip(singles(found)).for_each(|(to, x)| *to = x);
            }),
            Slot::Count(count) => fixture.tensor(&path, &[1]).map(|found| *count = found.values[0] as u64),
        };
        fault = fault.take().or(read.err());
    });
    fault.map_or(Ok(()), Err)
}

fn singles(tensor: &Tensor) -> impl Iterator<Item = Real> + '_ {
    tensor.values.iter().map(|&x| x as Real)
}
