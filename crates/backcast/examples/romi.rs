//! ROMI whole (arXiv:2110.00188): fit a reverse model, imagine backwards, mix, train.
//!
//! `cargo run --release -p backcast --example romi`
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "an example prints")]

use backcast::algos::{iql, model_based::generator::uniform, romi};
use backcast::core::{Algorithm, Direction, Key, Learner, Transitions, WorldModel};
use backcast::data::{EpisodicTransitions, Mixture};
use backcast::dynamics::{Ensemble, EnsembleConfig};
use backcast::envs::{make, reference_scores, registry::termination};
use backcast::{Experiment, evaluate, run};

const TASK: &str = "maze2d-umaze-sparse-v1";
const UPDATES: u64 = 6000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A dataset of somebody who wanders about in a maze.
    let text = format!("name = 'romi'\ntask = '{TASK}'\n[data]\nrows = 20000");
    let env = make(TASK)?;
    let dataset: EpisodicTransitions = run::load(&Experiment::parse(&text)?, env.spec())?.episodic;
    let (spec, dataset) = (env.spec(), dataset.into_transitions());

    // (1) p̂(s, r ∣ s′, a): what may have led here.
    let config =
        EnsembleConfig { members: 3, elites: 2, hidden: vec![64; 2], weight_decay: vec![0.0; 3], ..Default::default() };
    let config = EnsembleConfig { max_epochs: Some(20), ..config };
    for ratio in [0.0, 0.5] {
        let mut model = Ensemble::new(config.clone(), spec, Direction::Reverse, Key::new(0).name("model"))?;
        model.fit(&dataset, Key::new(0).name("fit"), &mut |_| true)?;

        // (2), (3) A uniform policy π̂ rolls backwards from states of the dataset, once; (4) every batch is mixed of both.
        let config = romi::Config { ratio, rows: 50_000, ..romi::Config::default() };
        let learner = iql::Config { layer_norm: true, hidden: vec![64, 64], ..Default::default() };
        let learner = learner.build(spec, Key::new(0).name("learner"))?;
        let world = WorldModel::new(model, termination(TASK).ok_or("a maze has a termination")?);
        let mut romi = romi::Romi::new(config, learner, world, Box::new(uniform(spec)), &dataset)?;
        let mut imagined = Transitions::new(spec);
        let made = romi.imagine(&dataset, Key::new(0).name("imagine"), &mut imagined);
        let mixture = Mixture::new(&dataset, &imagined, ratio);

        // (5) The agent is trained on them, unchanged.
        let mut staging = Transitions::new(spec);
        for update in 0..UPDATES {
            let key = Key::new(0).name("update").fold(update);
            let batch = backcast::core::Source::sample(&mixture, key.name("rows"), 256, &mut staging);
            romi.update(batch, key);
        }
        let returns = evaluate(&mut romi, || make(TASK), 20, Key::new(1))?;
        let mean = returns.iter().sum::<f64>() / returns.len() as f64;
        let score = reference_scores(TASK).ok_or("a task with reference scores")?.mean(mean);
        println!("{} imagined rows, a share of {ratio} of every batch: score {score:.1}", made.stored);
    }
    Ok(())
}
