//! What do the models of a finished maze run promise at a place? One row for each model and place: the least and the greatest
//! reward that its members expect, each on average over 200 uniform actions, of a particle at rest there.
//!
//! `cargo run --release -p backcast --example promised_rewards -- runs/maze2d-umaze-romi 1.0,1.0 0.4,0.4`
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "an example prints")]

use backcast::core::{Direction, Dynamics, Key, Real};
use backcast::dynamics::Ensemble;
use backcast::{run, storage};
use ndarray::Array2;
use std::path::PathBuf;

const ACTIONS: usize = 200;

/// `x,y`.
fn place(text: &str) -> Result<[Real; 2], Box<dyn std::error::Error>> {
    let (x, y) = text.split_once(',').ok_or_else(|| format!("`{text}`: a place is x,y"))?;
    Ok([x.parse()?, y.parse()?])
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let folder = PathBuf::from(words.next().ok_or("name the folder of a run, and places as x,y")?);
    let places = words.map(|word| place(&word)).collect::<Result<Vec<_>, _>>()?;
    let experiment = run::experiment_of(&folder)?;
    let spec = backcast::envs::make(&experiment.task)?.spec();
    let mut actions = Array2::zeros((ACTIONS, spec.act));
    Key::new(0).name("actions").uniform(-spec.act_limit, spec.act_limit, actions.as_slice_mut().ok_or("dense")?);
    println!("| model | seed | place | least | greatest |\n|{}", "---|".repeat(5));
    for direction in [Direction::Reverse, Direction::Forward] {
        for seed in experiment.seeds.0.clone() {
            let path = folder.join("models").join(format!("seed-{seed}-{}.safetensors", direction.name()));
            if !path.exists() {
                continue;
            }
            let mut model = Ensemble::new(experiment.model.clone(), spec, direction, Key::new(0))?;
            storage::load(&mut model, &path)?;
            for &[x, y] in &places {
                let mut states = Array2::zeros((ACTIONS, spec.obs));
                states.column_mut(0).fill(x);
                states.column_mut(1).fill(y);
                let p = model.predict([states.view(), actions.view()]);
                let promised = p.mean.outer_iter().map(|member| member.column(0).sum() / ACTIONS as Real);
                let (least, greatest) = promised.fold((Real::MAX, Real::MIN), |(l, g), r| (l.min(r), g.max(r)));
                println!("| {} | {seed} | ({x}, {y}) | {least:.2} | {greatest:.2} |", direction.name());
            }
        }
    }
    Ok(())
}
