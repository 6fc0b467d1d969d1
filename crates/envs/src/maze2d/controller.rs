//! The way-point controller that collected the published maze2d datasets and defines their score of 100.

use super::{Layout, Planner};
use backcast_core::{Key, Real};

/// A way-point is reached, and the target solved, within this distance, metres.
const CLOSE: f64 = 0.1;
/// … provided that the particle moved less than this since the last call, metres.
const STILL: f64 = 0.1;
/// Pull towards the way-point, action per metre.
const PROPORTIONAL: f64 = 10.0;
/// Braking, action per m/s.
const DERIVATIVE: f64 = 1.0;
/// Way-points before the last are shifted by up to this much towards −x and −y, metres: cells are centred at −0.2.
const SHIFT: f64 = 0.2;

/// What the controller decides in one state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Command {
    /// Forces along x and y as actions, in [−1, 1].
    pub action: [f64; 2],
    /// The particle stands at the target.
    pub solved: bool,
}

/// Plans a walk over cells when the target's cell changes, then pulls the particle from way-point to way-point.
///
/// **The plan is only made anew when the target's cell changes.** If the particle is put somewhere else in between (a
/// reset), the old plan goes on from its present way-point, straight through walls if need be. The benchmark's reference
/// score of 100 was measured that way, over episodes whose target never changes: it is the score of a stale plan. Call
/// [`forget`](WaypointController::forget) after each reset for a controller that re-plans.
///
/// ```
/// use backcast_core::{Env, Key};
/// use backcast_envs::maze2d::{Maze2d, controller::WaypointController};
///
/// let mut maze = Maze2d::named("maze2d-umaze")?;
/// let mut controller = WaypointController::new(maze.layout(), Key::new(0).name("way-points"));
/// let mut obs = [0.0; 4];
/// maze.reset(Key::new(3), &mut obs);
/// let mut total = 0.0;
/// for _ in 0..maze.horizon() {
///     let state = maze.state();
///     let command = controller.command(state.position, state.velocity, maze.target());
///     total += maze.step(&command.action.map(|a| a as _), &mut obs).reward;
/// }
/// assert!(total > 100.0);
/// # Ok::<(), backcast_envs::EnvError>(())
/// ```
#[derive(Clone, Debug)]
pub struct WaypointController {
    planner: Planner,
    rows: usize,
    cols: usize,
    key: Key,
    plans: u64,
    target: Option<(usize, usize)>,
    waypoints: Vec<[f64; 2]>,
    at: usize,
    previous: [f64; 2],
}

impl WaypointController {
    /// A controller without a plan; `key` draws the shifts of its way-points.
    pub fn new(layout: &Layout, key: Key) -> Self {
        Self {
            planner: Planner::new(layout),
            rows: layout.rows(),
            cols: layout.cols(),
            key,
            plans: 0,
            target: None,
            waypoints: Vec::new(),
            at: 0,
            previous: [0.0; 2],
        }
    }

    /// Drops the plan: the next command makes a new one from where the particle then is.
    pub fn forget(&mut self) {
        self.target = None;
    }

    /// The way-points of the present plan, metres; empty before the first command.
    pub fn waypoints(&self) -> &[[f64; 2]] {
        &self.waypoints
    }

    /// The action at `position` (metres) and `velocity` (m/s) on the way to `target` (metres).
    ///
    /// The target is rounded to its cell's integer coordinates; its distance from them is ignored, as in the original.
    pub fn command(&mut self, position: [f64; 2], velocity: [f64; 2], target: [f64; 2]) -> Command {
        let cell = self.cell(target);
        if self.target != Some(cell) {
            self.plan(position, cell);
        }
        let target = [cell.0 as f64, cell.1 as f64];
        let moved = distance(self.previous, position);
        let solved = distance(position, target) < CLOSE && moved < STILL;
        let goal = if solved { target } else { self.waypoints[self.at] };
        let pull = |i: usize| PROPORTIONAL * (goal[i] - position[i]) - DERIVATIVE * velocity[i];
        let action = [pull(0).clamp(-1.0, 1.0), pull(1).clamp(-1.0, 1.0)];
        if !solved && distance(position, goal) < CLOSE && moved < STILL && self.at + 1 < self.waypoints.len() {
            self.at += 1;
        }
        self.previous = position;
        Command { action, solved }
    }

    fn plan(&mut self, position: [f64; 2], target: (usize, usize)) {
        let start = self.cell(position);
        let key = self.key.fold(self.plans);
        self.plans += 1;
        self.waypoints.clear();
        for (i, cell) in self.planner.walk(start, target).into_iter().enumerate() {
            let mut shift = [0.0; 2];
            if cell != target {
                key.fold(i as u64).uniform(0.0, SHIFT as Real, &mut shift);
            }
            self.waypoints.push([cell.0 as f64 - shift[0] as f64, cell.1 as f64 - shift[1] as f64]);
        }
        self.at = 0;
        // The original compares the first position with the *cell* it is in, so the first call may see a large movement.
        self.previous = [start.0 as f64, start.1 as f64];
        self.target = Some(target);
    }

    /// The cell whose integer coordinates are nearest (ties to even, as numpy), kept on the grid.
    fn cell(&self, place: [f64; 2]) -> (usize, usize) {
        let index = |x: f64, n: usize| (x.round_ties_even().max(0.0) as usize).min(n - 1);
        (index(place[0], self.rows), index(place[1], self.cols))
    }
}

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_waypoint_is_the_targets_cell_and_the_others_are_shifted() {
        let mut controller = WaypointController::new(&Layout::umaze(), Key::new(2));
        controller.command([3.05, 0.97], [0.0; 2], [1.07, 0.93]);
        let cells = [(3, 2), (3, 3), (2, 3), (1, 3), (1, 2), (1, 1)];
        assert_eq!(controller.waypoints().len(), cells.len());
        for (i, (way, cell)) in controller.waypoints().iter().zip(cells).enumerate() {
            let shift = [cell.0 as f64 - way[0], cell.1 as f64 - way[1]];
            let range = if i == 5 { 0.0..=0.0 } else { 0.0..=0.2 };
            assert!(shift.iter().all(|s| range.contains(s)), "{way:?}");
            assert!(i == 5 || shift != [0.0, 0.0]);
        }
    }

    #[test]
    fn the_plan_outlives_a_reset_until_it_is_forgotten() {
        let mut controller = WaypointController::new(&Layout::umaze(), Key::new(2));
        controller.command([3.0, 1.0], [0.0; 2], [1.0, 1.0]);
        let stale = controller.waypoints().to_vec();
        controller.command([1.0, 3.0], [0.0; 2], [1.04, 1.0]);
        assert_eq!(controller.waypoints(), stale);
        controller.forget();
        controller.command([1.0, 3.0], [0.0; 2], [1.04, 1.0]);
        assert_eq!(controller.waypoints().len(), 2);
    }

    #[test]
    fn standing_on_the_target_is_solved_except_in_a_plans_first_call_from_afar() {
        let mut controller = WaypointController::new(&Layout::umaze(), Key::new(2));
        assert!(controller.command([1.01, 1.02], [0.0; 2], [1.0, 1.0]).solved);
        let command = controller.command([3.0, 3.0], [0.0; 2], [1.0, 1.0]);
        assert!(!command.solved);
        // 2.8 m in one call is no way to arrive.
        assert!(!controller.command([1.0, 1.0], [0.0; 2], [1.0, 1.0]).solved);
        assert!(controller.command([1.0, 1.0], [0.0; 2], [1.0, 1.0]).solved);
    }
}
