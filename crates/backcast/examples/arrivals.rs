//! What the score of a finished maze run is made of: does a policy arrive, how soon, does it stay, how far from the goal's
//! middle does it end, and where?
//!
//! Every policy of the run is tried again from the starts of its last evaluation. A step counts as "at the goal" where it is
//! rewarded.
//!
//! `cargo run --release -p backcast --example arrivals -- runs/maze2d-umaze-romi`
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use backcast::core::{Env, Key, Real, Spec, Step};
use backcast::envs::maze2d::Maze2d;
use backcast::{evaluate, run};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What was seen of an episode: which steps are rewarded, and the last place.
#[derive(Default)]
struct Episode {
    rewarded: Vec<bool>,
    place: [f64; 2],
}

/// Episodes in the order of their starts.
type Dataset = Arc<Mutex<Vec<Episode>>>;

/// The three places, to a tenth, where most episodes end, and how many do.
fn resting_places(episodes: &[Episode]) -> String {
    let mut ends = BTreeMap::<[i64; 2], usize>::new();
    episodes.iter().for_each(|e| *ends.entry(e.place.map(|x| (10.0 * x).round() as i64)).or_default() += 1);
    let mut ends: Vec<_> = ends.into_iter().collect();
    ends.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let place = |([x, y], count): &([i64; 2], usize)| format!("({}, {}): {count}", *x as f64 / 10.0, *y as f64 / 10.0);
    ends.iter().take(3).map(place).collect::<Vec<_>>().join(" · ")
}

/// An environment that notes which of its steps are rewarded.
struct Watched {
    env: Box<dyn Env + Send>,
    episode: usize,
    dataset: Dataset,
}

impl Env for Watched {
    fn spec(&self) -> Spec {
        self.env.spec()
    }

    fn horizon(&self) -> usize {
        self.env.horizon()
    }

    fn reset(&mut self, key: Key, obs: &mut [Real]) {
        self.env.reset(key, obs);
    }

    fn step(&mut self, act: &[Real], obs: &mut [Real]) -> Step {
        let step = self.env.step(act, obs);
        let episode = &mut self.dataset.lock().unwrap_or_else(PoisonError::into_inner)[self.episode];
        episode.rewarded.push(step.reward > 0.0);
        episode.place = [obs[0], obs[1]].map(f64::from);
        step
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("name the folder of a run")?);
    let experiment = run::experiment_of(&folder)?;
    let score = backcast::envs::reference_scores(&experiment.task).ok_or("a task with reference scores")?;
    let [goal_x, goal_y] = Maze2d::named(&experiment.task)?.target();
    let heading = [
        "method",
        "seed",
        "score",
        "arrives",
        "steps to arrive",
        "then stays",
        "ends from the goal",
        "most end at (episodes)",
    ];
    println!("| {} |\n|{}", heading.join(" | "), "---|".repeat(heading.len()));
    for method in &experiment.methods {
        for seed in experiment.seeds.0.clone() {
            if run::progress_of(&folder, method, seed)?.is_none() {
                eprintln!("{}, seed {seed}: not run", method.name);
                continue;
            }
            let mut agent = run::trained(&folder, &experiment, method, seed)?;

            let seen = Dataset::default();
            let env = || -> Result<Box<dyn Env + Send>, backcast::envs::EnvError> {
                let mut dataset = seen.lock().unwrap_or_else(PoisonError::into_inner);
                dataset.push(Episode::default());
                let env = backcast::envs::make(&experiment.task)?;
                Ok(Box::new(Watched { env, episode: dataset.len() - 1, dataset: seen.clone() }))
            };
            let key = Key::new(seed).name("experiment").name("final");
            let returns = evaluate(&mut agent.as_evaluated(), env, experiment.training.final_episodes, key)?;

            let episodes = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let first = |episode: &Episode| episode.rewarded.iter().position(|&r| r);
            let mut arrivals: Vec<usize> = episodes.iter().filter_map(first).collect();
            arrivals.sort_unstable();
            let after = || episodes.iter().filter_map(|e| Some(&e.rewarded[first(e)?..]));
            let (steps, paid) = after().fold((0, 0), |(n, p), e| (n + e.len(), p + e.iter().filter(|r| **r).count()));
            let from_goal = |e: &Episode| (e.place[0] - goal_x).hypot(e.place[1] - goal_y);
            let mut ends: Vec<f64> = episodes.iter().filter(|e| first(e).is_some()).map(from_goal).collect();
            ends.sort_unstable_by(f64::total_cmp);
            println!(
                "| {} | {seed} | {:.1} | {:.0} % | {} | {:.0} % | {} | {} |",
                method.name,
                score.mean(returns.iter().sum::<f64>() / returns.len() as f64),
                100.0 * arrivals.len() as f64 / episodes.len() as f64,
                arrivals.get(arrivals.len() / 2).map_or("–".into(), usize::to_string),
                100.0 * paid as f64 / steps.max(1) as f64,
                ends.get(ends.len() / 2).map_or("–".into(), |d| format!("{d:.2}")),
                resting_places(&episodes),
            );
        }
    }
    Ok(())
}
