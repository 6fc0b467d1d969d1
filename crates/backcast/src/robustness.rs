use crate::evaluate::{Moment, roll};
use backcast_core::{COUNT, ConfigError, Key, Policy, hyperparameters};
use backcast_data::{Support, SupportConfig};
use backcast_envs::push::{Level, Pushable};
use serde::{Deserialize, Serialize};

hyperparameters! {
    /// How trained policies are tried from perturbed states.
    pub struct RobustnessConfig {
        /// How hard the state is perturbed, from the least upwards.
        levels: Vec<Level> = Level::ALL.into();
        /// Episodes at each level. They start, and are perturbed, alike for every algorithm; at level `none` they are those of the last
        /// evaluation, if there are as many.
        episodes: usize = 50, COUNT;
        /// The steps after which the state is perturbed, in order.
        at: Vec<usize> = vec![40], COUNT.unit("steps");
        /// What counts as having come back.
        support: SupportConfig = SupportConfig::default();
    }
}

impl RobustnessConfig {
    /// Whether every field makes sense, and pushes come before the end of an episode of `task` (if there is such a task).
    pub fn check_for(&self, task: &str) -> Result<(), ConfigError> {
        self.check()?;
        let rising = self.levels.windows(2).all(|pair| pair[0] < pair[1]);
        let why = "is empty, or not in the order none, slight, moderate, large";
        ConfigError::unless(!self.levels.is_empty() && rising, "levels", why)?;
        let rising = self.at.windows(2).all(|pair| pair[0] < pair[1]);
        let sound = rising && self.at.first().is_some_and(|&first| first > 0);
        ConfigError::unless(sound, "at", format!("is {:?}; give rising numbers of steps from 1 on", self.at))?;
        let horizon = backcast_envs::make(task).map_or(usize::MAX, |env| env.horizon());
        let last = self.at[self.at.len() - 1];
        let why = format!("has {last}, and an episode of `{task}` has {horizon} steps");
        ConfigError::unless(last < horizon, "at", why)
    }

    /// The steps for which every push is watched, at least, in episodes of `horizon` steps: until the next, or the end.
    pub fn window(&self, horizon: usize) -> usize {
        let next = self.at.iter().skip(1).chain([&horizon]);
        self.at.iter().zip(next).map(|(at, next)| next.saturating_sub(*at)).min().unwrap_or(0)
    }
}

/// When and how hard episodes are perturbed, and what they have to come back to.
#[derive(Clone, Copy)]
pub struct Pushes<'a> {
    /// How hard.
    pub level: Level,
    /// After which steps, in order.
    pub at: &'a [usize],
    /// Where the dataset has been.
    pub support: &'a Support,
}

/// How long a push was felt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Steps from the push to the first state within the support, 0 if that is the perturbed state itself; or to the next push
    /// or the end of the episode, whatever came first.
    pub steps: usize,
    /// Whether it was the support that was reached. If not, the time is cut off.
    pub back: bool,
}

/// What came of perturbed episodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Perturbed {
    /// The undiscounted return of each episode.
    pub returns: Vec<f64>,
    /// One for each push, episode by episode; none at [`Level::None`].
    pub waits: Vec<Wait>,
    /// The share of all states that steps led to which lie outside the support.
    pub outside: f64,
}

/// [`evaluate`](crate::evaluate), with the states of the environments perturbed on the way.
///
/// Push `j` of episode `i` is drawn by `key.name("push").fold(i).fold(j)` whatever the policy and the level: algorithms are
/// perturbed alike, and a harder level pushes the same way, harder. At [`Level::None`] the returns are those of `evaluate`, to the
/// bit.
pub fn evaluate_perturbed<E>(
    policy: &mut dyn Policy,
    env: impl Fn() -> Result<Box<dyn Pushable + Send>, E>,
    episodes: usize,
    pushes: Pushes<'_>,
    key: Key,
) -> Result<Perturbed, E> {
    let mut envs = (0..episodes).map(|_| env()).collect::<Result<Vec<_>, _>>()?;
    let Pushes { level, at, support } = pushes;
    let mut waits = vec![Vec::new(); episodes];
    // The step of each episode's last push, while it is not back from it.
    let mut away: Vec<Option<usize>> = vec![None; episodes];
    let (mut states, mut strangers) = (0usize, 0usize);
    let returns = roll(policy, &mut envs, key, |now: Moment<'_, dyn Pushable + Send>| {
        let Moment { episode, steps, env, obs, over } = now;
        let mut inside = support.contains(obs);
        if steps > 0 {
            (states, strangers) = (states + 1, strangers + !inside as usize);
        }
        let push = at.iter().position(|&at| at == steps).filter(|_| level != Level::None && !over);
        if let Some(perturbed) = away[episode].filter(|_| inside || over || push.is_some()) {
            waits[episode].push(Wait { steps: steps - perturbed, back: inside });
            away[episode] = None;
        }
        if let Some(push) = push {
            env.push(level, key.name("push").fold(episode as u64).fold(push as u64), obs);
            inside = support.contains(obs);
            match inside {
                true => waits[episode].push(Wait { steps: 0, back: true }),
                false => away[episode] = Some(steps),
            }
        }
    });
    let outside = strangers as f64 / states.max(1) as f64;
    Ok(Perturbed { returns, waits: waits.into_iter().flatten().collect(), outside })
}
