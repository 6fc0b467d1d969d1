//! How much of what is imagined in a maze lies where something can be.

use super::{Context, models};
use crate::Error;
use backcast_algos::romi;
use backcast_core::{Column, Direction, Imagined};
use backcast_envs::maze2d::Maze2d;
use serde::{Deserialize, Serialize};

/// The share of imagined states that lie in a maze's free space, by steps from a recorded state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FreeSpace {
    /// The seed.
    pub seed: u64,
    /// The direction of the model.
    pub direction: Direction,
    /// Of recorded states, then of those imagined 1, 2, … steps away.
    pub share: Vec<f64>,
}

/// How deep in a wall, in metres, a state still counts as free: contacts are soft, and recorded states overlap walls a little.
const DEPTH: f64 = 0.02;
/// Chains that are rolled, and steps of each.
const CHAINS: usize = 2000;
const STEPS: usize = 25;

/// Rolls one seed's model as its experiment does, further than it does, and looks where the states are. Nothing where the
/// task is no maze.
pub(crate) fn measure(context: &Context<'_>, seed: u64, direction: Direction) -> Result<Option<FreeSpace>, Error> {
    let Ok(env) = Maze2d::named(&context.experiment.task) else { return Ok(None) };
    let free = |obs: &[f32]| env.layout().clearance([obs[0] as f64, obs[1] as f64]) >= -DEPTH;
    let dataset = context.dataset.episodic.transitions();
    let key = context.key(seed).name("free space");
    let recorded =
        (0..CHAINS).filter(|&i| free(dataset.row(Column::Obs, key.name("recorded").below(dataset.len(), i)))).count();

    let mut model = models::load(context, seed, direction)?;
    let mut policy = models::rollout_policy(context, seed, direction)?;
    // The bare model: no check, no budget.
    let (horizon, starts_per_call) = (STEPS, CHAINS);
    let bare = romi::Config { horizon, starts_per_call, ..romi::Config::default() };
    let mut imaginer = bare
        .imaginer(&mut model, &context.dataset.model_data, None, context.termination)
        .map_err(|source| Error::Config { section: "imagination", source })?;
    let mut counts = [[0usize; 2]; STEPS];
    let mut look = |t: Imagined<'_>| {
        let state = if direction == Direction::Reverse { t.obs } else { t.next_obs };
        let [all, inside] = &mut counts[t.step];
        *all += 1;
        *inside += free(state) as usize;
    };
    imaginer.imagine(&mut model, dataset, policy.as_mut(), key.name("chains"), &mut look);
    let imagined = counts.iter().take_while(|[all, _]| *all > 0).map(|[all, inside]| *inside as f64 / *all as f64);
    let share = std::iter::once(recorded as f64 / CHAINS as f64).chain(imagined).collect();
    Ok(Some(FreeSpace { seed, direction, share }))
}
