//! What each way of making a whole of parts finds in the matrix games: the table of the book.
//!
//! ```sh
//! cargo run --release -p backcast-factorization --example representation
//! ```
#![allow(clippy::print_stdout, reason = "an example prints")]

use backcast_core::{Key, Real};
use backcast_factorization::{Config, Lesson, Method, MixerConfig, Weighting, games};

const SEEDS: u64 = 10;
const UPDATES: u64 = 6000;

fn main() -> Result<(), backcast_core::ConfigError> {
    let mixed = |mixer| Method::Mixed { mixer };
    let weighted = |weighting, alpha| Method::WeightedQmix { weighting, alpha, star: 256 };
    let methods = [
        ("VDN", mixed(MixerConfig::Vdn)),
        ("QMIX", mixed(MixerConfig::QMIX)),
        ("CW-QMIX, α = 0.1", weighted(Weighting::Central, 0.1)),
        ("OW-QMIX, α = 0.1", weighted(Weighting::Optimistic, 0.1)),
        ("QTRAN", Method::Qtran { other: 0.1 }),
        ("QTRAN, constraints alike", Method::Qtran { other: 1.0 }),
        ("QPLEX", mixed(MixerConfig::QPLEX)),
    ];
    for (name, game) in [("not monotone", games::non_monotone()), ("climbing", games::climbing())] {
        let lesson = Lesson::new(&game);
        println!("\n{name}: the best joint action pays {}\n", game.pays(&game.best()));
        println!(
            "| method | pays, seed by seed | its value of the best joint action | mean error |\n|---|---|---|---|"
        );
        for (label, method) in methods {
            let config = Config { method, rate: 3e-3, copy_every: 100, hidden: vec![64], ..Config::default() };
            let (mut pays, mut best, mut error) = (Vec::new(), 0.0, 0.0);
            for seed in 0..SEEDS {
                let (mut learner, act) = lesson.teach(&config, UPDATES, Key::new(seed))?;
                pays.push(format!("{}", game.pays(&act)));
                let values = lesson.values(&mut learner);
                let reward = lesson.batch().reward;
                best += values[0] / SEEDS as Real;
                let apart = values.iter().zip(reward).map(|(value, pays)| (value - pays).abs()).sum::<Real>();
                error += apart / (reward.len() as u64 * SEEDS) as Real;
            }
            println!("| {label} | {} | {best:.1} | {error:.2} |", pays.join(", "));
        }
    }
    Ok(())
}
