//! Environments simulated by MuJoCo, which is loaded at run time: locomotion, arms and ants of Gym, D4RL's antmaze.
//!
//! Nothing of MuJoCo is needed to build this crate or to use the rest of it. Where `libmujoco` and Gymnasium's models lie in a folder
//! ([`Install::default_folder`]; `cargo xtask mujoco setup` puts them there), [`make`](crate::make) knows these names:
//!
//! | names | environment | observation / action |
//! |---|---|---|
//! | `hopper-v2` … `-v5` | [`Locomotion`] | 11 / 3 |
//! | `halfcheetah-v2` … `-v5`, `walker2d-v2` … `-v5` | [`Locomotion`] | 17 / 6 |
//! | `safetyhalfcheetah` | [`Locomotion`], NeoRL-2's | 18 / 6 |
//! | `reacher-v2`, `-v4`, `-v5` | [`Reacher`] | 11 / 2 (version 5: 10) |
//! | `ant-v2`, `-v3`; `-v4`; `-v5` | [`Ant`] | 111 / 8; 27 / 8; 105 / 8 |
//! | `antmaze-{umaze,medium,large}-v0`, `-v2` | [`AntMaze`] | 29 / 8 |
//! | `mujoco:maze2d-…` | [`PointMaze`]: every maze of [`maze2d`](crate::maze2d) | 4 / 2 |
//!
//! The name of a dataset is a name of its environment too, where D4RL's words stand between: `hopper-medium-replay-v2`, `antmaze-large-play-v0`.
//!
//! ```no_run
//! use backcast_core::{Env, Key};
//! use backcast_envs::mujoco::Install;
//!
//! let mut hopper = backcast_envs::make("hopper-v4")?;
//! let mut obs = vec![0.0; hopper.spec().obs];
//! hopper.reset(Key::new(1), &mut obs);
//! let step = hopper.step(&[0.1, 0.0, -0.1], &mut obs);
//! println!("MuJoCo {}: reward {}", Install::find()?.library().version(), step.reward);
//! # Ok::<(), backcast_envs::EnvError>(())
//! ```
//!
//! A trajectory depends on the release of MuJoCo. Two runs of the same release on the same machine agree to the bit.
//!
//! States are kept in double precision, as MuJoCo has them; observations and rewards leave as [`Real`](backcast_core::Real).

pub mod ant;
mod install;
mod library;
pub mod locomotion;
mod point_maze;
pub mod reacher;

pub use ant::{Ant, AntMaze};
pub use install::{Install, VARIABLE};
pub use library::{Body, Library, Simulation, Sizes};
pub use locomotion::{Locomotion, Runner, Version};
pub use point_maze::PointMaze;
pub use reacher::Reacher;

use crate::EnvError;
use crate::maze2d::Maze2d;
use backcast_core::Env;

/// The canonical names of every environment [`make`] can make, but for the mazes behind `mujoco:`.
pub const NAMES: [&str; 26] = [
    "hopper-v2",
    "hopper-v3",
    "hopper-v4",
    "hopper-v5",
    "halfcheetah-v2",
    "halfcheetah-v3",
    "halfcheetah-v4",
    "halfcheetah-v5",
    "walker2d-v2",
    "walker2d-v3",
    "walker2d-v4",
    "walker2d-v5",
    "safetyhalfcheetah",
    "reacher-v2",
    "reacher-v4",
    "reacher-v5",
    "ant-v2",
    "ant-v3",
    "ant-v4",
    "ant-v5",
    "antmaze-umaze-v0",
    "antmaze-umaze-v2",
    "antmaze-medium-v0",
    "antmaze-medium-v2",
    "antmaze-large-v0",
    "antmaze-large-v2",
];

/// What D4RL's names of datasets say beside the environment.
const DATASETS: [&str; 8] = ["random", "medium", "expert", "replay", "full", "play", "diverse", "simple"];

/// The canonical spelling of a name: lower case, without the words of a dataset, with a version: where none is said, the latest of an environment,
/// and D4RL's, 2, of a dataset.
/// `None` if there is no such environment.
///
/// ```
/// use backcast_envs::mujoco::canonical;
/// assert_eq!(canonical("Hopper-medium-replay-v2"), Some("hopper-v2"));
/// assert_eq!(canonical("antmaze-medium-play"), Some("antmaze-medium-v2"));
/// assert_eq!(canonical("hopper-v9"), None);
/// ```
pub fn canonical(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let name = name.rsplit(['/', ':']).next().unwrap_or_default();
    let (name, version) = match name.rsplit_once("-v") {
        Some((rest, digits)) => (rest, Some(digits)),
        None => (name, None),
    };
    let mut words = name.split('-').peekable();
    let mut plain = words.next().unwrap_or_default().to_owned();
    if plain == "antmaze" {
        plain = format!("antmaze-{}", words.next()?);
    }
    let dataset = words.peek().is_some();
    if words.any(|word| !DATASETS.contains(&word)) {
        return None;
    }
    if plain == "safetyhalfcheetah" {
        return Some("safetyhalfcheetah");
    }
    let of_env = NAMES.iter().filter(|known| known.rsplit_once("-v").is_some_and(|(env, _)| env == plain));
    match version {
        Some(digits) => of_env.copied().find(|known| known.ends_with(&format!("-v{digits}"))),
        // D4RL's files were recorded under the rules of version 2.
        None if dataset => of_env.copied().find(|known| known.ends_with("-v2")),
        None => of_env.copied().last(),
    }
}

/// Makes the environment called `name` with the MuJoCo of the default folder; `None` if no environment of this module is called so.
///
/// # Errors
/// [`EnvError::Mujoco`] if MuJoCo is not there.
pub(crate) fn make(name: &str) -> Option<Result<Box<dyn Env + Send>, EnvError>> {
    if let Some(maze) = name.strip_prefix("mujoco:") {
        let made = || Ok(Box::new(PointMaze::new(&Install::find()?, Maze2d::named(maze)?)?) as Box<dyn Env + Send>);
        return Some(made());
    }
    let known = canonical(name)?;
    Some(Install::find().and_then(|install| env(&install, known)))
}

fn env(install: &Install, known: &str) -> Result<Box<dyn Env + Send>, EnvError> {
    let (name, version) = known.rsplit_once("-v").unwrap_or((known, "2"));
    let version = match version {
        "5" => Version::V5,
        "4" => Version::V4,
        "3" => Version::V3,
        _ => Version::V2,
    };
    let runner = |runner| Locomotion::new(install, runner, version).map(|env| Box::new(env) as Box<dyn Env + Send>);
    match name {
        "hopper" => runner(Runner::Hopper),
        "halfcheetah" => runner(Runner::HalfCheetah),
        "safetyhalfcheetah" => runner(Runner::SafetyHalfCheetah),
        "walker2d" => runner(Runner::Walker2d),
        "reacher" => Ok(Box::new(Reacher::new(install, version)?)),
        "ant" => Ok(Box::new(Ant::new(install, version)?)),
        _ => Ok(Box::new(AntMaze::new(install, name.trim_start_matches("antmaze-"))?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_datasets_name_their_environments() {
        for name in NAMES {
            assert_eq!(canonical(name), Some(name));
        }
        let pairs = [
            ("halfcheetah-medium-expert-v2", Some("halfcheetah-v2")),
            ("mujoco/walker2d-expert-v0", None),
            ("mujoco/walker2d", Some("walker2d-v5")),
            ("antmaze-large-diverse-v0", Some("antmaze-large-v0")),
            ("antmaze-huge", None),
            ("antmaze", None),
            ("ant-full-replay-v2", Some("ant-v2")),
            ("SafetyHalfCheetah-v0", Some("safetyhalfcheetah")),
            ("hopper-medium-replay", Some("hopper-v2")),
            ("hopper", Some("hopper-v5")),
            ("hopper-jumping", None),
            ("maze2d-umaze", None),
        ];
        for (name, known) in pairs {
            assert_eq!(canonical(name), known, "{name}");
        }
    }
}
