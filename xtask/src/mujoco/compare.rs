//! Ours beside Gymnasium's on the same release of MuJoCo: what two policies earn, and how fast steps are.

use anyhow::{Context, bail, ensure};
use backcast::core::{Env, Key, Policy, Real, Spec, Step};
use backcast::envs::mujoco::Install;
use backcast::{envs, evaluate, online};
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use ndarray::{ArrayView2, ArrayViewMut2};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const SCRIPT: &str = include_str!("gymnasium.py");

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The environments, by our names
    #[arg(default_values = ["hopper-v4", "hopper-v5", "halfcheetah-v5", "walker2d-v5", "reacher-v5", "ant-v4"])]
    environments: Vec<String>,
    /// A policy that `cargo xtask data generate` saved, for the first environment, beside uniformly random actions
    #[arg(long, value_name = "DIR")]
    policy: Option<PathBuf>,
    /// Episodes in each environment
    #[arg(long, default_value_t = 200)]
    episodes: usize,
    /// Seconds of a race, of which there are five an environment
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// A Python that has mujoco and gymnasium
    #[arg(long, default_value = "python3")]
    python: PathBuf,
}

pub(super) fn main(args: Args) -> anyhow::Result<()> {
    let install = Install::find()?;
    let theirs = theirs(&args.python, &["release", "-"])?;
    let (mujoco, gymnasium) = theirs.trim().split_once(' ').context("no releases")?;
    let ours = install.library().version();
    ensure!(ours == mujoco, "here is MuJoCo {ours}, and MuJoCo {mujoco} in {}", args.python.display());
    println!("MuJoCo {ours} on both sides; Gymnasium {gymnasium}; {} episodes each\n", args.episodes);

    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(["world", "policy", "ours", "Gymnasium", "apart, s.e."]);
    for (i, name) in args.environments.iter().enumerate() {
        let spec = envs::make(name)?.spec();
        let mut policies: Vec<(&str, Box<dyn Policy>)> = vec![("random", Box::new(Uniform(spec)))];
        if let Some(folder) = args.policy.as_ref().filter(|_| i == 0) {
            policies.push(("trained", Box::new(online::Saved::load(folder)?)));
        }
        for (what, mut policy) in policies {
            let key = Key::new(0).name(name).name(what);
            let here = evaluate(&mut *policy, || envs::make(name), args.episodes, key.name("ours"))?;
            let served = || Served::start(&args.python, name, spec, 1000).map(|w| Box::new(w) as Box<dyn Env + Send>);
            let mut there = Vec::new();
            let mut environment = served()?;
            for episode in 0..args.episodes {
                there.push(episode_of(&mut *policy, &mut *environment, key.name("theirs").fold(episode as u64)));
            }
            let ((a, se_a), (b, se_b)) = (mean(&here), mean(&there));
            let apart = (a - b) / se_a.hypot(se_b);
            let cells = [format!("{a:.1} ± {se_a:.1}"), format!("{b:.1} ± {se_b:.1}"), format!("{apart:+.1}")];
            table.add_row([name.clone(), what.to_owned()].into_iter().chain(cells));
        }
    }
    println!("Returns, means of episodes with their standard errors:\n\n{table}\n");

    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(["world", "ours, steps/s", "Gymnasium, steps/s", "ratio"]);
    for name in &args.environments {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            a.push(race(&mut *envs::make(name)?, args.seconds));
            let seconds = args.seconds.to_string();
            b.push(self::theirs(&args.python, &["race", &gymnasium_name(name), &seconds])?.trim().parse::<f64>()?);
        }
        let mut ratios: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a / b).collect();
        let [a, b, ratio] = [&mut a, &mut b, &mut ratios].map(|values| median(values));
        table.add_row([name.clone(), format!("{a:.0}"), format!("{b:.0}"), format!("{ratio:.2}")]);
    }
    println!("Steps of one environment on one thread, resets included, medians of five races in turn:\n\n{table}");
    Ok(())
}

/// What Gymnasium calls an environment of ours: `halfcheetah-v4` is `HalfCheetah-v4`.
fn gymnasium_name(name: &str) -> String {
    let name = name.replace("halfcheetah", "halfCheetah");
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What the script says.
fn theirs(python: &Path, args: &[&str]) -> anyhow::Result<String> {
    let done = Command::new(python).args(["-W", "ignore", "-c", SCRIPT]).args(args).output();
    let done = done.with_context(|| python.display().to_string())?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!(
            "{}: {}; `pip install mujoco==4.0.0 \"gymnasium[mujoco]==1.4.0\"` brings what the comparison needs",
            python.display(),
            said.lines().last().unwrap_or("no word")
        );
    }
    Ok(String::from_utf8(done.stdout)?)
}

fn mean(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, (variance / n).sqrt())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Steps per second under actions drawn before, resets included.
fn race(environment: &mut dyn Env, seconds: f64) -> f64 {
    let spec = environment.spec();
    let mut actions = vec![0.0; 4096 * spec.act];
    Key::new(0).uniform(-1.0, 1.0, &mut actions);
    let mut obs = vec![0.0; spec.obs];
    let (mut steps, mut episodes) = (0usize, 0);
    environment.reset(Key::new(1), &mut obs);
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < seconds {
        for act in actions.chunks(spec.act).take(256) {
            let step = environment.step(act, &mut obs);
            if step.terminated || step.truncated {
                episodes += 1;
                environment.reset(Key::new(1).fold(episodes), &mut obs);
            }
        }
        steps += 256;
    }
    steps as f64 / begin.elapsed().as_secs_f64()
}

fn episode_of(policy: &mut dyn Policy, environment: &mut dyn Env, key: Key) -> f64 {
    let spec = environment.spec();
    let (mut obs, mut act, mut total) = (vec![0.0; spec.obs], vec![0.0; spec.act], 0.0);
    environment.reset(key.name("start"), &mut obs);
    for t in 0.. {
        let s = ArrayView2::from_shape((1, obs.len()), &obs).expect("one row");
        let a = ArrayViewMut2::from_shape((1, act.len()), &mut act).expect("one row");
        policy.act(s, Some(key.name("act").fold(t)), a);
        let step = environment.step(&act, &mut obs);
        total += f64::from(step.reward);
        if step.terminated || step.truncated {
            break;
        }
    }
    total
}

/// Actions drawn uniformly from the box.
struct Uniform(Spec);

impl Policy for Uniform {
    fn spec(&self) -> Spec {
        self.0
    }

    fn act(&mut self, _: ArrayView2<'_, Real>, key: Option<Key>, mut act: ArrayViewMut2<'_, Real>) {
        let limit = self.0.act_limit;
        let mut draws = vec![0.0; act.len()];
        key.unwrap_or(Key::new(0)).uniform(-limit, limit, &mut draws);
        act.iter_mut().zip(draws).for_each(|(a, draw)| *a = draw);
    }
}

/// An environment of Gymnasium's in a process of its own.
struct Served {
    process: Child,
    spec: Spec,
    horizon: usize,
}

impl Served {
    fn start(python: &Path, name: &str, spec: Spec, horizon: usize) -> anyhow::Result<Self> {
        let mut command = Command::new(python);
        command.args(["-W", "ignore", "-c", SCRIPT, "serve", &gymnasium_name(name)]);
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        Ok(Self { process, spec, horizon })
    }

    /// Sends `question` and reads the observation and three numbers.
    fn ask(&mut self, question: &[u8], obs: &mut [Real]) -> [f64; 3] {
        let mut answer = vec![0u8; 8 * (obs.len() + 3)];
        let pipes = (self.process.stdin.as_mut(), self.process.stdout.as_mut());
        let (Some(stdin), Some(stdout)) = pipes else { panic!("a served environment has pipes") };
        stdin.write_all(question).and_then(|()| stdin.flush()).expect("Gymnasium listens");
        stdout.read_exact(&mut answer).expect("Gymnasium answers");
        let numbers: Vec<f64> = answer.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let (seen, tail) = numbers.split_at(obs.len());
        obs.iter_mut().zip(seen).for_each(|(o, &x)| *o = x as Real);
        [tail[0], tail[1], tail[2]]
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It ends by itself when nobody asks any more; if it has ended already there is nothing to stop.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

impl Env for Served {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn horizon(&self) -> usize {
        self.horizon
    }

    fn reset(&mut self, key: Key, obs: &mut [Real]) {
        let seed = key.below(u32::MAX as usize, 0) as u32;
        self.ask(&[&b"r"[..], &seed.to_le_bytes()].concat(), obs);
    }

    fn step(&mut self, act: &[Real], obs: &mut [Real]) -> Step {
        let action = act.iter().flat_map(|&a| f64::from(a).to_le_bytes());
        let question: Vec<u8> = std::iter::once(b's').chain(action).collect();
        let [reward, ended, truncated] = self.ask(&question, obs);
        Step { reward: reward as Real, terminated: ended == 1.0, truncated: truncated == 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_turned_into_gymnasium_s() {
        let pairs = [("hopper-v4", "Hopper-v4"), ("halfcheetah-v5", "HalfCheetah-v5"), ("walker2d-v5", "Walker2d-v5")];
        for (ours, theirs) in pairs {
            assert_eq!(gymnasium_name(ours), theirs);
        }
    }
}
