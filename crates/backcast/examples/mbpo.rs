//! Swings a pendulum up with MBPO: a policy that acts, a model of what came of it, and short dreams.
//!
//! `cargo run --release -p backcast --example mbpo -- [SEED]`
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "an example prints")]

use backcast::algos::mbpo::{Config, Horizon, learn};
use backcast::core::{Env, Key, Policy, Real, Spec, never};
use backcast::dynamics::EnsembleConfig;
use backcast::envs::pendulum::Pendulum;
use backcast::evaluate;
use ndarray::{ArrayView2, ArrayViewMut2};

/// The deterministic action, whatever the key.
struct Mode<'a>(&'a mut dyn Policy);

impl Policy for Mode<'_> {
    fn spec(&self) -> Spec {
        self.0.spec()
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, _: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        self.0.act(obs, None, act);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seed = std::env::args().nth(1).map_or(Ok(0), |seed| seed.parse())?;
    let model = EnsembleConfig {
        members: 5,
        elites: 4,
        hidden: vec![64, 64],
        weight_decay: vec![1e-5; 3],
        batch: 64,
        lr: 3e-3,
        max_epochs: Some(20),
        ..EnsembleConfig::default()
    };
    let mut config = Config {
        steps: 4000,
        explore: 400,
        every: 200,
        starts: 2000,
        horizon: Horizon { from: 1, to: 5, begin: 400, end: 2000 },
        keep: 4,
        updates: 5,
        batch: 128,
        model,
        ..Config::default()
    };
    let sac = &mut config.sac;
    (sac.hidden, sac.alpha) = (vec![64, 64], 0.2);
    (sac.actor_lr, sac.critic_lr, sac.alpha_lr) = (1e-3, 1e-3, 1e-3);

    println!("{:>6} {:>8} {:>8} {:>10}", "steps", "return", "horizon", "model");
    let mut learnt = learn(&config, &mut Pendulum::default(), never, Key::new(seed), &mut |p| {
        let error = p.holdout_mse.map_or("-".into(), |error| format!("{error:.1e}"));
        println!("{:>6} {:>8.0} {:>8} {error:>10}", p.steps, p.last_return, p.horizon);
        true
    })?;
    let env = || Ok::<_, std::convert::Infallible>(Box::new(Pendulum::default()) as Box<dyn Env + Send>);
    let returns = evaluate(&mut Mode(&mut learnt.policy), env, 20, Key::new(seed).name("evaluation"))?;
    println!("mean return of 20 episodes: {:.0}", returns.iter().sum::<f64>() / 20.0);
    Ok(())
}
