//! Datasets in the manner of the published maze2d datasets: one endless trajectory from target to target.

use super::controller::WaypointController;
use super::physics::{PointState, advance};
use super::{Layout, Reward, draw_place};
use backcast_core::{Key, Real, choices};
use serde::{Deserialize, Serialize};

choices! {
    /// Whether a dataset has the oddities of the published generator.
    pub enum Quirks {
        /// As the published files:
        /// - **stale observation**: after the step that ends a segment the observation is not refreshed. The next row repeats
        ///   the old observation, its action is computed from it, and the transition from that row spans two steps;
        /// - **late reward**: row *t* is paid for its own observation *s*ₜ, not for *s*ₜ₊₁ as the environment pays.
        #[default]
        Published,
        /// As the simulator has it: every row's observation is fresh, and its reward is for the state it leads to.
        Clean,
    }
}

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeneratorConfig {
    /// Number of rows (steps).
    pub rows: usize,
    /// Standard deviation of the normal noise added to each component of the action before clipping. The published v1 files
    /// have 0.5; 0 is the bare controller.
    pub noise: f64,
    /// A target that is not reached is given up after this many steps: the maze's horizon.
    pub patience: usize,
    /// What the rows are paid for reaching, with regard to the layout's goal.
    pub reward: Reward,
    /// Whether to have the published oddities.
    pub quirks: Quirks,
}

impl GeneratorConfig {
    /// `rows` rows as published for the v1 sparse task: noise 0.5, quirks and all.
    pub fn published(rows: usize, patience: usize) -> Self {
        Self { rows, noise: 0.5, patience, reward: Reward::Sparse, quirks: Quirks::Published }
    }
}

/// The columns of a dataset, row after row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MazeDataset {
    /// `[rows, 4]`: x, y (metres), ẋ, ẏ (m/s).
    pub obs: Vec<f32>,
    /// `[rows, 2]`: the clipped action, exactly as applied.
    pub act: Vec<f32>,
    /// `[rows]`.
    pub reward: Vec<f32>,
    /// `[rows, 4]`: what the simulator shows after the row's step. The published files lack this column.
    pub next_obs: Vec<f32>,
    /// `[rows]`: always false, a maze never ends.
    pub terminal: Vec<bool>,
    /// `[rows]`: the last row of a segment, after which there is another target. The particle goes on.
    pub truncated: Vec<bool>,
    /// `[rows, 2]`: the true position before the step, metres (`infos/qpos`). Differs from `obs` on stale rows.
    pub qpos: Vec<f32>,
    /// `[rows, 2]`: the true velocity before the step, m/s (`infos/qvel`).
    pub qvel: Vec<f32>,
    /// `[rows, 2]`: the target of the segment, metres (`infos/goal`). Not the goal that `reward` is for.
    pub goal: Vec<f32>,
}

impl MazeDataset {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.reward.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.reward.is_empty()
    }
}

/// Generates a dataset in `layout`. The same key gives the same bits.
///
/// A way-point controller walks the particle to a target near a random open cell; as soon as it stands there, or after
/// `patience` steps, another target is drawn. Neither the particle nor its velocity is ever reset.
///
/// ```
/// use backcast_core::Key;
/// use backcast_envs::maze2d::{Layout, generate::{GeneratorConfig, generate}};
///
/// let dataset = generate(&Layout::umaze(), &GeneratorConfig::published(5000, 300), Key::new(1));
/// assert_eq!((dataset.len(), dataset.obs.len(), dataset.act.len()), (5000, 20_000, 10_000));
/// let segments = dataset.truncated.iter().filter(|&&end| end).count();
/// assert!((40..90).contains(&segments)); // about one in 80 rows
/// ```
pub fn generate(layout: &Layout, config: &GeneratorConfig, key: Key) -> MazeDataset {
    let place = |i: u64| draw_place(layout, key.name("target").fold(i));
    let noise_key = key.name("noise");
    let benchmark = [layout.goal().0 as f64, layout.goal().1 as f64];
    let mut controller = WaypointController::new(layout, key.name("way-points"));
    let mut dataset = MazeDataset::with_capacity(config.rows);

    let mut start = [0.0; 2];
    key.name("velocity").normal(&mut start);
    let mut state =
        PointState { position: draw_place(layout, key.name("start")), velocity: start.map(|z: Real| 0.1 * z as f64) };
    // What the controller sees and the dataset shows: the state, unless it is stale.
    let mut seen = state;
    let (mut targets, mut target, mut since_target) = (1, place(0), 0);

    for row in 0..config.rows {
        let command = controller.command(seen.position, seen.velocity, target);
        let mut noise = [0.0; 2];
        noise_key.fold(row as u64).normal(&mut noise);
        // Rounded before it is applied, so that a dataset can be replayed to the bit.
        let act = [0, 1].map(|i| (command.action[i] + config.noise * noise[i] as f64).clamp(-1.0, 1.0) as f32);
        let ends = command.solved || since_target >= config.patience;
        let next = advance(layout, state, act.map(f64::from));

        let paid = match config.quirks {
            Quirks::Published => seen,
            Quirks::Clean => next,
        };
        dataset.push(seen, act, config.reward.at(paid.position, benchmark), next, ends, state, target);

        state = next;
        since_target += 1;
        if ends {
            (target, since_target) = (place(targets), 0);
            targets += 1;
        }
        if !ends || config.quirks == Quirks::Clean {
            seen = next;
        }
    }
    dataset
}

impl MazeDataset {
    fn with_capacity(rows: usize) -> Self {
        let wide = |width: usize| Vec::with_capacity(rows * width);
        let flags = || Vec::with_capacity(rows);
        Self {
            obs: wide(4),
            act: wide(2),
            reward: wide(1),
            next_obs: wide(4),
            terminal: flags(),
            truncated: flags(),
            qpos: wide(2),
            qvel: wide(2),
            goal: wide(2),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one per column")]
    fn push(
        &mut self,
        seen: PointState,
        act: [f32; 2],
        reward: f64,
        next: PointState,
        truncated: bool,
        state: PointState,
        target: [f64; 2],
    ) {
        let single = |x: [f64; 2]| x.map(|x| x as f32);
        for (column, state) in [(&mut self.obs, seen), (&mut self.next_obs, next)] {
            column.extend(single(state.position));
            column.extend(single(state.velocity));
        }
        self.act.extend(act);
        self.reward.push(reward as f32);
        self.terminal.push(false);
        self.truncated.push(truncated);
        self.qpos.extend(single(state.position));
        self.qvel.extend(single(state.velocity));
        self.goal.extend(single(target));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(column: &[f32], row: usize) -> &[f32] {
        &column[row * 4..][..4]
    }

    #[test]
    fn published_datasets_repeat_the_observation_after_a_segment_and_pay_for_it() {
        let dataset = generate(&Layout::umaze(), &GeneratorConfig::published(20_000, 300), Key::new(9));
        let mut stale = 0;
        for t in 0..dataset.len() - 1 {
            if dataset.truncated[t] {
                stale += 1;
                assert_eq!(row(&dataset.obs, t + 1), row(&dataset.obs, t));
                assert_ne!(dataset.qpos[2 * t + 2..][..2], dataset.obs[4 * t + 4..][..2]);
            } else {
                assert_eq!(row(&dataset.obs, t + 1), row(&dataset.next_obs, t));
            }
            let [x, y] = [0, 1].map(|i| f64::from(dataset.obs[4 * t + i]) - 1.0);
            assert_eq!(dataset.reward[t], f32::from(u8::from(x.hypot(y) <= 0.5)));
        }
        assert!(stale > 200);
    }

    #[test]
    fn clean_datasets_chain_everywhere_and_pay_for_the_next_state() {
        let config = GeneratorConfig { quirks: Quirks::Clean, ..GeneratorConfig::published(20_000, 300) };
        let dataset = generate(&Layout::umaze(), &config, Key::new(9));
        for t in 0..dataset.len() - 1 {
            assert_eq!(row(&dataset.obs, t + 1), row(&dataset.next_obs, t));
            assert_eq!(dataset.obs[4 * t..][..2], dataset.qpos[2 * t..][..2]);
            let [x, y] = [0, 1].map(|i| f64::from(dataset.next_obs[4 * t + i]) - 1.0);
            assert_eq!(dataset.reward[t], f32::from(u8::from(x.hypot(y) <= 0.5)));
        }
    }

    #[test]
    fn targets_stay_for_a_segment_and_patience_ends_one() {
        let config = GeneratorConfig { patience: 7, ..GeneratorConfig::published(3000, 300) };
        let dataset = generate(&Layout::umaze(), &config, Key::new(5));
        let mut length = 0;
        for t in 0..dataset.len() - 1 {
            length += 1;
            let same = dataset.goal[2 * t..][..2] == dataset.goal[2 * t + 2..][..2];
            assert_eq!(same, !dataset.truncated[t]);
            assert!(length <= 8);
            length *= usize::from(!dataset.truncated[t]);
        }
        assert!(dataset.terminal.iter().all(|t| !t));
    }
}
