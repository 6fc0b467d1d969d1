//! Environments, terminations and reference scores by name.
//!
//! Names of environments that MuJoCo simulates are in [`mujoco`], those of environments with several agents in [`spread`]. Names are not case-sensitive. A maze's name may say `-sparse` (the default) and leave out its version (the latest).
//! Terminations and scores are also known for Gym's MuJoCo tasks and others that are not simulated here, by the first part
//! of a dataset's name: `hopper-medium-v2`.

use crate::maze2d::{Layout, Maze2d, Reward};
use crate::push::Pushable;
use crate::{EnvError, ReferenceScores, dmsd, mujoco, pendulum, spread, termination};
use backcast_core::{Env, Termination, never};

/// The canonical names of every environment [`make`] can make.
pub const NAMES: [&str; 22] = [
    "maze2d-open-v0",
    "maze2d-open-dense-v0",
    "maze2d-umaze-v0",
    "maze2d-umaze-dense-v0",
    "maze2d-medium-v0",
    "maze2d-medium-dense-v0",
    "maze2d-large-v0",
    "maze2d-large-dense-v0",
    "maze2d-umaze-v1",
    "maze2d-umaze-dense-v1",
    "maze2d-medium-v1",
    "maze2d-medium-dense-v1",
    "maze2d-large-v1",
    "maze2d-large-dense-v1",
    "maze2d-eval-umaze-v1",
    "maze2d-eval-umaze-dense-v1",
    "maze2d-eval-medium-v1",
    "maze2d-eval-medium-dense-v1",
    "maze2d-eval-large-v1",
    "maze2d-eval-large-dense-v1",
    "pendulum-v1",
    "dmsd",
];

/// Reference returns: of maze2d per name (D4RL `d4rl/pointmaze/__init__.py`), else per task (D4RL `d4rl/infos.py`; NeoRL-2).
///
/// On maze2d, 0 is a uniformly random policy and 100 a way-point controller *with a stale plan*
/// ([`WaypointController`](crate::maze2d::controller::WaypointController)): re-planning scores 130 to 206.
const SCORES: [(&str, f64, f64); 31] = [
    ("maze2d-open-v0", 0.01, 20.66),
    ("maze2d-open-dense-v0", 11.17817, 27.166538620695782),
    ("maze2d-umaze-v0", 0.94, 62.6),
    ("maze2d-umaze-dense-v0", 23.249793, 81.78995240126592),
    ("maze2d-medium-v0", 5.77, 85.14),
    ("maze2d-medium-dense-v0", 19.477620, 96.03474232952358),
    ("maze2d-large-v0", 4.83, 191.99),
    ("maze2d-large-dense-v0", 27.388310, 215.09965671563742),
    ("maze2d-umaze-v1", 23.85, 161.86),
    ("maze2d-umaze-dense-v1", 68.537689, 193.66285642381482),
    ("maze2d-medium-v1", 13.13, 277.39),
    ("maze2d-medium-dense-v1", 44.264742, 297.4552547777125),
    ("maze2d-large-v1", 6.7, 273.99),
    ("maze2d-large-dense-v1", 30.569041, 303.4857382709002),
    ("maze2d-eval-umaze-v1", 36.63, 141.4),
    ("maze2d-eval-umaze-dense-v1", 56.95455, 178.21373133248397),
    ("maze2d-eval-medium-v1", 13.07, 204.93),
    ("maze2d-eval-medium-dense-v1", 42.28578, 235.5658957482388),
    ("maze2d-eval-large-v1", 16.4, 302.22),
    ("maze2d-eval-large-dense-v1", 56.95455, 326.09647655082637),
    ("dmsd", 30.60, 849.51),
    ("safetyhalfcheetah", -283.0, 2507.0),
    ("halfcheetah", -280.178953, 12135.0),
    ("hopper", -20.272305, 3234.3),
    ("walker2d", 1.629008, 4592.3),
    ("ant", -325.6, 3879.7),
    ("antmaze", 0.0, 1.0),
    ("pen", 96.262799, 3076.8331017826877),
    ("hammer", -274.856578, 12794.134825156867),
    ("door", -56.512833, 2880.5693087298737),
    ("relocate", -6.425911, 4233.877797728884),
];

/// The canonical spelling of a registered name: lower case, no `-sparse`, with a version. `None` if there is no such environment.
///
/// ```
/// use backcast_envs::registry::canonical;
/// assert_eq!(canonical("maze2d-umaze-sparse-v1"), Some("maze2d-umaze-v1"));
/// assert_eq!(canonical("Maze2d-Large-Dense"), Some("maze2d-large-dense-v1"));
/// assert_eq!(canonical("maze2d-huge"), None);
/// ```
pub fn canonical(name: &str) -> Option<&'static str> {
    let mut plain = name.to_ascii_lowercase().replace("-sparse", "");
    plain = match plain.as_str() {
        "pendulum" => "pendulum-v1".into(),
        "neorl2:dmsd" | "neorl2-dmsd" | "dmsd-v0" => "dmsd".into(),
        _ => plain,
    };
    let versions = [plain.clone(), format!("{plain}-v1"), format!("{plain}-v0")];
    versions.iter().find_map(|v| NAMES.iter().find(|known| *known == v).copied())
}

/// Makes the environment called `name`.
///
/// # Errors
/// [`EnvError::Unknown`] with the three nearest names; [`EnvError::Mujoco`] if the environment needs MuJoCo and it is not there.
///
/// ```
/// use backcast_envs::registry::make;
///
/// let env = make("maze2d-medium-sparse-v1")?;
/// assert_eq!((env.spec().obs, env.spec().act, env.horizon()), (4, 2, 600));
/// let complaint = make("maze2d-medum-v1").err().unwrap().to_string();
/// assert!(complaint.contains("maze2d-medium-v1"), "{complaint}");
/// # Ok::<(), backcast_envs::EnvError>(())
/// ```
pub fn make(name: &str) -> Result<Box<dyn Env + Send>, EnvError> {
    if let Some(env) = spread::Spread::named(name) {
        return Ok(Box::new(env));
    }
    mujoco::make(name).unwrap_or_else(|| Ok(make_pushable(name)?))
}

/// How many agents act in the environment called `name`. Observations and actions are the agents' own, of equal width, one after the other.
///
/// ```
/// use backcast_envs::registry::agents;
/// assert_eq!((agents("spread-v0"), agents("pendulum-v1")), (3, 1));
/// ```
pub fn agents(name: &str) -> usize {
    spread::Spread::named(name).map_or(1, |env| env.agents())
}

/// The release of MuJoCo that [`make`] simulates `name` with, such as `4.0.0`: trajectories, and with them scores, differ between
/// releases. `None` for environments that are ours, or where there is no MuJoCo.
pub fn simulator(name: &str) -> Option<String> {
    let needed = name.starts_with("mujoco:") || mujoco::canonical(name).is_some();
    needed.then(mujoco::Install::find)?.ok().map(|install| install.library().version().to_owned())
}

/// As [`make`], where the environment can be [pushed](Pushable): those of this crate's own physics.
///
/// # Errors
/// [`EnvError::Unknown`] with the three nearest names, [`EnvError::NotPushable`] for environments of MuJoCo and of several agents.
pub fn make_pushable(name: &str) -> Result<Box<dyn Pushable + Send>, EnvError> {
    if name.starts_with("mujoco:") || mujoco::canonical(name).is_some() || spread::Spread::named(name).is_some() {
        return Err(EnvError::NotPushable { name: name.to_owned() });
    }
    Ok(match canonical(name) {
        Some("pendulum-v1") => Box::new(pendulum::Pendulum::default()),
        Some("dmsd") => Box::new(dmsd::Dmsd::default()),
        _ => Box::new(maze2d(name)?),
    })
}

pub(crate) fn maze2d(name: &str) -> Result<Maze2d, EnvError> {
    let unknown = || EnvError::Unknown { name: name.to_owned(), near: nearest(name) };
    let canonical = canonical(name).ok_or_else(unknown)?;
    let (task, version) = canonical.rsplit_once('-').ok_or_else(unknown)?;
    let maze = task.strip_prefix("maze2d-").ok_or_else(unknown)?;
    let (maze, reward) = match maze.strip_suffix("-dense") {
        Some(maze) => (maze, Reward::Dense),
        None => (maze, Reward::Sparse),
    };
    let horizon = match (maze.trim_start_matches("eval-"), version) {
        ("open" | "umaze", "v0") => 150,
        ("medium", "v0") => 250,
        ("large", "v0") | ("medium", _) => 600,
        ("large", _) => 800,
        _ => 300,
    };
    Ok(Maze2d::new(Layout::named(maze).ok_or_else(unknown)?, reward, horizon))
}

/// The termination of the task `name` belongs to, or `None` where it is not known.
///
/// Mazes, the pendulum, the mass–spring–damper, the half-cheetah, the reacher and Adroit's door, hammer and relocation never
/// end; hopper, walker2d, ant and humanoid end when they fall, Adroit's pen when it is dropped.
/// (Antmaze ends at its goal, which no observation shows and every reset draws anew: not known here.)
pub fn termination(name: &str) -> Option<Termination> {
    if canonical(name).is_some() || spread::Spread::named(name).is_some() {
        return Some(never);
    }
    match task(name).as_str() {
        "maze2d" | "pendulum" | "dmsd" | "halfcheetah" | "safetyhalfcheetah" | "reacher" => Some(never),
        "door" | "hammer" | "relocate" => Some(never),
        "hopper" => Some(termination::hopper),
        "walker2d" => Some(termination::walker2d),
        "ant" => Some(termination::ant),
        "humanoid" => Some(termination::humanoid),
        "pen" => Some(termination::pen),
        _ => None,
    }
}

/// The reference returns of the task `name` belongs to, or `None` where none were published (the pendulum).
///
/// ```
/// use backcast_envs::registry::reference_scores;
/// let umaze = reference_scores("maze2d-umaze-sparse-v1").unwrap();
/// assert_eq!((umaze.min, umaze.max), (23.85, 161.86));
/// assert_eq!(reference_scores("hopper-medium-replay-v2").unwrap().max, 3234.3);
/// assert!(reference_scores("pendulum-v1").is_none());
/// ```
pub fn reference_scores(name: &str) -> Option<ReferenceScores> {
    let key = canonical(name).map_or_else(|| task(name), str::to_owned);
    let &(_, min, max) = SCORES.iter().find(|(known, ..)| *known == key)?;
    Some(ReferenceScores { min, max })
}

/// The first part of a dataset's name, without the prefix of its collection.
fn task(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let name = name.rsplit([':', '/']).next().unwrap_or_default();
    name.split('-').next().unwrap_or_default().to_owned()
}

/// The three registered names with the smallest edit distance to `name`, nearest first.
fn nearest(name: &str) -> Vec<String> {
    let name = name.to_ascii_lowercase();
    let known = NAMES.iter().chain(&spread::NAMES).chain(&mujoco::NAMES);
    let mut all: Vec<_> = known.map(|known| (strsim::levenshtein(&name, known), *known)).collect();
    all.sort_by_key(|(distance, _)| *distance);
    all.truncate(3);
    all.into_iter().map(|(_, known)| known.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_makes_an_environment_with_a_termination() {
        for name in NAMES {
            assert_eq!(canonical(name), Some(name));
            let env = make(name).unwrap();
            assert!(env.horizon() > 0 && termination(name).is_some(), "{name}");
            assert_eq!(reference_scores(name).is_some(), name != "pendulum-v1", "{name}");
        }
    }

    #[test]
    fn horizons_are_those_of_the_benchmark() {
        let horizons = [("umaze", 150, 300), ("medium", 250, 600), ("large", 600, 800)];
        for (maze, v0, v1) in horizons {
            assert_eq!(make(&format!("maze2d-{maze}-v0")).unwrap().horizon(), v0);
            assert_eq!(make(&format!("maze2d-{maze}-dense-v1")).unwrap().horizon(), v1);
            assert_eq!(make(&format!("maze2d-{maze}")).unwrap().horizon(), v1);
            assert_eq!(make(&format!("maze2d-eval-{maze}")).unwrap().horizon(), v1);
        }
        assert_eq!(make("maze2d-open").unwrap().horizon(), 150);
    }

    #[test]
    fn scores_are_ordered_and_named_once() {
        for (i, (name, min, max)) in SCORES.iter().enumerate() {
            assert!(min < max, "{name}");
            assert!(SCORES[..i].iter().all(|(other, ..)| other != name), "{name}");
        }
        assert_eq!(reference_scores("neorl2:DMSD").unwrap().max, 849.51);
        assert_eq!(reference_scores("SafetyHalfCheetah-v0").unwrap().min, -283.0);
        assert!(reference_scores("no-such-thing").is_none() && termination("antmaze-umaze-v2").is_none());
    }

    #[test]
    fn a_misspelt_name_is_answered_with_near_ones() {
        let Err(EnvError::Unknown { name, near }) = make("pendulm-v1") else { panic!("not an error") };
        assert_eq!((name.as_str(), near[0].as_str(), near.len()), ("pendulm-v1", "pendulum-v1", 3));
        assert!(Maze2d::named("pendulum-v1").is_err() && make("").is_err() && make("maze2d-é").is_err());
    }
}
