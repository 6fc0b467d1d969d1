//! How flat is the top of the hill? What the critics of a finished maze run make of standing still at the goal and beside it.
//!
//! V(s) is maxₐ minⱼ Qⱼ(s, a) over 200 uniform actions, at rest; at a distance from the goal's middle, its mean over those of eight
//! directions where the particle can be. "An action" is the range of minⱼ Qⱼ over these actions in the middle: how much the critics
//! believe that one of them matters there. "A step" is (1 − γ)·V in the middle: what the true value loses by every step that it takes
//! longer to be paid.
//!
//! `cargo run --release -p backcast --example goal_values -- runs/maze2d-large-romi`
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use backcast::core::{Key, Real, Slot, Spec, State};
use backcast::data::Normaliser;
use backcast::envs::maze2d::Maze2d;
use backcast::nn::{Activation, Init, Mlp, Store};
use backcast::{Agent, run};
use ndarray::Array2;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Metres from the goal's middle; pay ends at 0.5.
const DISTANCES: [f64; 5] = [0.0, 0.2, 0.4, 0.6, 0.8];
const ACTIONS: usize = 200;

/// The critics of an agent, on their own.
struct Critics {
    store: Store,
    net: Mlp,
    normaliser: Normaliser,
    actions: Array2<Real>,
}

impl Critics {
    /// None where the agent has no net called `critic`.
    fn of(agent: &mut Agent, layer_norm: bool, spec: Spec) -> Option<Self> {
        let mut tensors = BTreeMap::new();
        agent.visit(&mut |name, slot| {
            if let Slot::Tensor(shape, values) = slot {
                tensors.insert(name.to_owned(), (shape.to_vec(), values.to_vec()));
            }
        });
        let shapes: Vec<&[usize]> =
            (0..).map_while(|layer| Some(&tensors.get(&format!("critic.{layer}.weight"))?.0[..])).collect();
        let &[members, inputs, _] = *shapes.first()? else { return None };
        let dims: Vec<usize> = std::iter::once(inputs).chain(shapes.iter().map(|shape| shape[2])).collect();
        let mut store = Store::default();
        let net = Mlp::new(&mut store, "critic", &dims, members, Activation::Relu, Init::FanIn, Key::new(0));
        store.visit(&mut |name, slot| {
            if let (Slot::Tensor(_, values), Some((_, saved))) = (slot, tensors.get(name)) {
                values.copy_from_slice(saved);
            }
        });
        let mut actions = Array2::zeros((ACTIONS, spec.act));
        Key::new(0).name("actions").uniform(-spec.act_limit, spec.act_limit, actions.as_slice_mut()?);
        Some(Self { store, net: net.with_layer_norm(layer_norm), normaliser: agent.normaliser().clone(), actions })
    }

    /// The least and the greatest minⱼ Qⱼ over the actions, at rest at `place`.
    fn range(&mut self, place: [f64; 2]) -> [f64; 2] {
        let mut obs = Array2::zeros((ACTIONS, 4));
        obs.column_mut(0).fill(place[0] as Real);
        obs.column_mut(1).fill(place[1] as Real);
        self.normaliser.apply(obs.view_mut());
        let tape = self.store.tape();
        let pairs = tape.input(obs.view()).cat(tape.input(self.actions.view()));
        self.net.forward(pairs).min_members().read(|q| {
            let (low, high) = q.iter().fold((Real::INFINITY, Real::NEG_INFINITY), |(l, h), &q| (l.min(q), h.max(q)));
            [low, high].map(f64::from)
        })
    }
}

/// A setting of the algorithm, its own or that of the CQL it stands on.
fn setting<'t>(algorithm: &'t toml::Value, name: &str) -> Option<&'t toml::Value> {
    algorithm.get(name).or_else(|| algorithm.get("cql")?.get(name))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("name the folder of a run")?);
    let experiment = run::experiment_of(&folder)?;
    let maze = Maze2d::named(&experiment.task)?;
    let spec = backcast::envs::make(&experiment.task)?.spec();
    let [goal_x, goal_y] = maze.target();
    let distances = DISTANCES.map(|d| format!("V, {d:.1} m")).join(" | ");
    println!("| method | seed | {distances} | an action | a step |\n|{}", "---|".repeat(4 + DISTANCES.len()));
    for method in &experiment.methods {
        let settings = toml::Value::try_from(experiment.algorithm_of(method)?)?;
        let layer_norm = setting(&settings, "layer_norm").and_then(toml::Value::as_bool).unwrap_or(false);
        let gamma =
            setting(&settings, "gamma").and_then(toml::Value::as_float).ok_or("an algorithm with a discount")?;
        for seed in experiment.seeds.0.clone() {
            if run::progress_of(&folder, method, seed)?.is_none() {
                eprintln!("{}, seed {seed}: not run", method.name);
                continue;
            }
            let mut agent = run::trained(&folder, &experiment, method, seed)?;
            let mut critics = Critics::of(&mut agent, layer_norm, spec).ok_or("an algorithm with critics")?;
            let mut value = |distance: f64| {
                let directions = (0..8).map(|k| f64::from(k) * std::f64::consts::FRAC_PI_4);
                let places = directions.map(|a| [goal_x + distance * a.cos(), goal_y + distance * a.sin()]);
                let values: Vec<f64> =
                    places.filter(|p| maze.layout().clearance(*p) >= 0.0).map(|p| critics.range(p)[1]).collect();
                values.iter().sum::<f64>() / values.len() as f64
            };
            let values = DISTANCES.map(|d| format!("{:.1}", value(d))).join(" | ");
            let [low, high] = critics.range([goal_x, goal_y]);
            println!("| {} | {seed} | {values} | {:.2} | {:.2} |", method.name, high - low, (1.0 - gamma) * high);
        }
    }
    Ok(())
}
