//! ROMI with a model that is never wrong: reverse imagination by the exact physics of the maze.
//!
//! A learned model has errors, and it is tempting to blame them when imagination does harm. Here there are none: every
//! imagined transition is checked against the simulator and steps that a wall would have blocked are left out, because from
//! their end they cannot be told. Run it with and without layer normalisation, as `docs/src/results/umaze.md` says:
//!
//! `cargo run --release --example exact_imagination -- algorithm.layer_norm=false training.updates=24000`
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "an example prints")]

use backcast::core::{Column, Env, Key, Source, Transitions};
use backcast::data::{Mixture, Normaliser, Scale};
use backcast::envs::maze2d::{
    Layout, Maze2d,
    physics::{PointState, advance},
};
use backcast::{Agent, Experiment, evaluate, run};

const EXPERIMENT: &str = include_str!("../../../experiments/maze2d-umaze-romi.toml");
// Step of the simulation in seconds, mass in kilograms, force of the motor in newtons.
const H: f64 = 0.01;
const MASS: f64 = 4.18879;
const FORCE: f64 = 100.0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings: Vec<String> = std::env::args().skip(1).collect();
    let experiment = Experiment::parse_with(EXPERIMENT, &settings)?;
    let env = Maze2d::named(&experiment.task)?;
    let dataset = run::load(&experiment, env.spec())?.episodic.into_transitions();
    let imagined = exact_reverse(&experiment, &env, &dataset);

    let normaliser = Normaliser::fit(dataset.batch().obs, Scale::Plus(1e-3));
    // The algorithm of the reverse method, which is the first.
    let algorithm = experiment.algorithm_of(&experiment.methods[0])?;
    let mut agent = Agent::new(&algorithm, Some(normaliser), env.spec(), Key::new(0).name("init"))?;
    let mixture = Mixture::new(&dataset, &imagined, experiment.imagination.ratio);
    let mut staging = Transitions::new(env.spec());
    let score = backcast::envs::reference_scores(&experiment.task).ok_or("a task with reference scores")?;
    println!("updates  score  mean Q");
    for update in 1..=experiment.training.updates {
        let key = Key::new(0).name("update").fold(update);
        mixture.sample(key.name("rows"), experiment.training.batch, &mut staging);
        agent.normaliser().apply_to_transitions(&mut staging);
        let metrics = agent.update(staging.batch(), key);
        if update.is_multiple_of(experiment.training.eval_every) {
            let returns =
                evaluate(&mut agent.as_evaluated(), || backcast::envs::make(&experiment.task), 30, Key::new(1))?;
            let mean = returns.iter().sum::<f64>() / returns.len() as f64;
            println!("{update:7} {:6.1} {:7.1}", score.mean(mean), metrics.get("q").unwrap_or(f32::NAN));
        }
    }
    Ok(())
}

/// Chains of predecessors under uniform actions, from states of the dataset, by inverting the free motion of the particle.
fn exact_reverse(experiment: &Experiment, env: &Maze2d, dataset: &Transitions) -> Transitions {
    let (config, goal) = (&experiment.imagination, env.target());
    let mut made = Transitions::with_capacity(dataset.spec(), config.rows);
    let mut start = 0;
    while made.len() < config.rows {
        let key = Key::new(2).fold(start);
        start += 1;
        let obs = dataset.row(Column::Obs, key.below(dataset.len(), 0));
        let mut end = PointState { position: [obs[0] as f64, obs[1] as f64], velocity: [obs[2] as f64, obs[3] as f64] };
        for step in 0..config.horizon {
            let mut act = [0.0; 2];
            key.name("act").fold(step as u64).uniform(-1.0, 1.0, &mut act);
            let Some(before) = predecessor(env.layout(), end, act.map(f64::from)) else { break };
            let reward = env.reward().at(before.position, goal) as f32;
            made.push(&observation(before), &act, reward, &observation(end), false);
            end = before;
        }
    }
    made
}

/// The state from which `act` leads to `end` without touching a wall, if there is one.
fn predecessor(layout: &Layout, end: PointState, act: [f64; 2]) -> Option<PointState> {
    // v′ = v + h(F·a − v)/(m + h),  x′ = x + h·v′, solved for v and x.
    let before = PointState {
        position: [0, 1].map(|i| end.position[i] - H * end.velocity[i]),
        velocity: [0, 1].map(|i| (end.velocity[i] * (MASS + H) - H * FORCE * act[i]) / MASS),
    };
    let after = advance(layout, before, act);
    let same = (0..2).all(|i| {
        (after.position[i] - end.position[i]).abs() < 1e-4 && (after.velocity[i] - end.velocity[i]).abs() < 1e-4
    });
    (same && before.velocity.iter().all(|v| v.abs() <= 5.0)).then_some(before)
}

fn observation(state: PointState) -> [f32; 4] {
    let [x, y] = state.position.map(|v| v as f32);
    let [vx, vy] = state.velocity.map(|v| v as f32);
    [x, y, vx, vy]
}
