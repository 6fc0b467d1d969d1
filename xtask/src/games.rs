//! `cargo xtask games`: values made of parts, on games whose answer is known; the tables and figures of the book's page on credit.
//! `cargo xtask games overcooked` is in a file of its own.

use crate::svg::{Chart, Series, standalone};
use anyhow::Context;
use backcast::core::{Key, Real};
use backcast::factorization::games::{self, MatrixGame};
use backcast::factorization::{
    ComaConfig, Config, Conservatism, Constraint, FactoredBatch, FactoredConfig, Lesson, Method, MixerConfig, Spread,
    Weighting,
};
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use ndarray::{Array1, Array2, Array3, Axis};
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// The folder for figures
    #[arg(long, value_name = "DIR", default_value = "runs/games")]
    out: PathBuf,
    /// Seeds
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// A moment's learning, to see that everything works
    #[arg(long)]
    quick: bool,
}

/// Games that people played.
#[derive(clap::Subcommand)]
enum Other {
    /// Learn from some recorded games of two people who cook together, and judge what was learnt by the others
    Overcooked(crate::overcooked::Args),
}

pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    if let Some(Other::Overcooked(args)) = &args.other {
        return crate::overcooked::main(args);
    }
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let (seeds, updates) = if args.quick { (2, 50) } else { (args.seeds, 6000) };
    for (name, game) in [("Not monotone", games::non_monotone()), ("Climbing", games::climbing())] {
        println!(
            "{name}, the best joint action pays {}:\n\n{}\n",
            game.pays(&game.best()),
            found(&game, seeds, updates)?
        );
    }
    println!("Credit, implicit beside counterfactual:\n\n{}\n", credit(seeds, updates)?);
    println!("Nats beyond what must be, of reverse policies:\n\n{}\n", crate::reverse::table(seeds.min(5))?);
    for (name, figure) in [("penalty-by-parts", penalties(seeds)?), ("coverage", coverage(seeds, updates)?)] {
        let path = args.out.join(format!("{name}.svg"));
        std::fs::write(&path, standalone(&figure)).with_context(|| path.display().to_string())?;
        println!("figure: {}", path.display());
    }
    Ok(())
}

/// Runs `work` for each seed, on all cores; results in the order of the seeds.
pub(crate) fn each_seed<T: Send>(seeds: u64, work: impl Fn(u64) -> anyhow::Result<T> + Sync) -> anyhow::Result<Vec<T>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let mut results: Vec<(u64, anyhow::Result<T>)> = std::thread::scope(|scope| {
        let work = &work;
        let shares = (0..threads).map(|first| {
            scope.spawn(move || {
                (first..seeds).step_by(threads as usize).map(|seed| (seed, work(seed))).collect::<Vec<_>>()
            })
        });
        let shares: Vec<_> = shares.collect();
        shares.into_iter().flat_map(|share| share.join().expect("no job panics")).collect()
    });
    results.sort_by_key(|(seed, _)| *seed);
    results.into_iter().map(|(_, result)| result).collect()
}

fn config(method: Method) -> Config {
    Config { method, lr: 3e-3, copy_every: 100, hidden: vec![64], ..Config::default() }
}

fn methods() -> Vec<(&'static str, Method)> {
    let mixed = |mixer| Method::Mixed { mixer };
    let weighted = |weighting| Method::WeightedQmix { weighting, alpha: 0.1, star: 256 };
    vec![
        ("VDN", mixed(MixerConfig::Vdn)),
        ("QMIX", mixed(MixerConfig::QMIX)),
        ("CW-QMIX, α = 0.1", weighted(Weighting::Central)),
        ("OW-QMIX, α = 0.1", weighted(Weighting::Optimistic)),
        ("QTRAN, 1 : 0.1", Method::Qtran { other: 0.1 }),
        ("QTRAN, 1 : 1", Method::Qtran { other: 1.0 }),
        ("QPLEX, scaled", mixed(MixerConfig::Qplex { heads: 10, hyper: 64, scaled: true })),
        ("QPLEX", mixed(MixerConfig::QPLEX)),
    ]
}

/// What each method's greedy joint action pays, and how its values are off.
fn found(game: &MatrixGame, seeds: u64, updates: u64) -> anyhow::Result<Table> {
    let lesson = Lesson::new(game);
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(["method", "pays, seed by seed", "value of the best joint action", "mean error of all values"]);
    let reward = lesson.batch().reward;
    for (name, method) in methods() {
        let runs = each_seed(seeds, |seed| {
            let (mut learner, act) = lesson.teach(&config(method), updates, Key::new(seed))?;
            Ok((game.pays(&act), lesson.values(&mut learner)))
        })?;
        let n = runs.len() as Real;
        let best = runs.iter().map(|(_, values)| values[0]).sum::<Real>() / n;
        let apart = |values: &[Real]| values.iter().zip(reward).map(|(v, r)| (v - r).abs()).sum::<Real>();
        let error = runs.iter().map(|(_, values)| apart(values)).sum::<Real>() / (n * reward.len() as Real);
        let pays: Vec<String> = runs.iter().map(|(pays, _)| pays.to_string()).collect();
        table.add_row([name.to_owned(), pays.join(", "), format!("{best:.1}"), format!("{error:.2}")]);
    }
    // It has no value of the whole, and learns from what it plays itself.
    let config = ComaConfig {
        critic_lr: 3e-3,
        policy_lr: 3e-3,
        copy_every: 100,
        anneal: updates / 2,
        hidden: vec![64],
        critic_hidden: vec![64],
        ..ComaConfig::default()
    };
    let runs = each_seed(seeds, |seed| Ok(game.pays(&config.practise(game, updates, 32, Key::new(seed))?.1)))?;
    let pays: Vec<String> = runs.iter().map(ToString::to_string).collect();
    table.add_row(["COMA, by its own play".to_owned(), pays.join(", "), "–".to_owned(), "–".to_owned()]);
    Ok(table)
}

/// How far what a mixer says is from what a counterfactual says, over all joint actions and parts, for uniform policies.
fn credit(seeds: u64, updates: u64) -> anyhow::Result<Table> {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(["game", "method", "mean size of a counterfactual", "mean difference", "of one sign"]);
    for (game, rules) in [("additive", games::additive(3, 3, Key::new(4))), ("not monotone", games::non_monotone())] {
        let lesson = Lesson::new(&rules);
        let batch = lesson.batch();
        let (rows, parts, actions) = (batch.act.nrows(), rules.parts(), rules.actions());
        let policy = Array3::from_elem((parts, rows, actions), 1.0 / actions as Real);
        for (name, method) in methods().into_iter().filter(|(name, _)| ["VDN", "QMIX", "QPLEX"].contains(name)) {
            let runs = each_seed(seeds, |seed| {
                let (mut learner, _) = lesson.teach(&config(method), updates, Key::new(seed))?;
                Ok(learner.credit(batch.state, batch.obs, batch.act, policy.view()))
            })?;
            let pairs: Vec<(Real, Real)> =
                runs.iter().flat_map(|c| c.implicit.iter().copied().zip(c.counterfactual.iter().copied())).collect();
            let mean = |of: &dyn Fn(&(Real, Real)) -> Real| pairs.iter().map(of).sum::<Real>() / pairs.len() as Real;
            let (size, apart) = (mean(&|(_, a)| a.abs()), mean(&|(c, a)| (c - a).abs()));
            let alike = mean(&|(c, a)| Real::from(u8::from(c.signum() == a.signum())));
            let cells = [format!("{size:.2}"), format!("{apart:.2}"), format!("{:.0} %", 100.0 * alike)];
            table.add_row([game.to_owned(), name.to_owned()].into_iter().chain(cells));
        }
    }
    Ok(table)
}

/// x, mean, smallest and largest.
fn point(x: f64, values: &[Real]) -> [f64; 4] {
    let mean = f64::from(values.iter().sum::<Real>() / values.len() as Real);
    let (low, high) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &v| (low.min(f64::from(v)), high.max(f64::from(v))));
    [x, mean, low, high]
}

/// Both penalties before anything is learnt, as parts become more.
fn penalties(seeds: u64) -> anyhow::Result<String> {
    let kinds = [
        ("MA-CQL: all joint actions", Conservatism::Joint { weight: 1.0, n_action_samples: 100 }),
        ("CFCQL: one part at a time", Conservatism::Counterfactual { weight: 1.0, spread: Spread::Even }),
    ];
    let mut series = Vec::new();
    for (kind, (name, conservatism)) in kinds.into_iter().enumerate() {
        let mut points = Vec::new();
        for parts in 1..=6 {
            let values = each_seed(seeds, |seed| {
                let lesson = Lesson::new(&games::additive(parts, 3, Key::new(seed)));
                let lesson = lesson.drawn(64, Key::new(seed).name("rows"));
                let config = Config { conservatism, ..config(Method::Mixed { mixer: MixerConfig::Vdn }) };
                let mut learner = config.build(lesson.widths(), Key::new(seed))?;
                Ok(learner.update(lesson.batch(), Key::new(seed)).get("penalty").unwrap_or(Real::NAN))
            })?;
            points.push(point(parts as f64, &values));
        }
        println!("{name}: {}", points.iter().map(|p| format!("{:.2}", p[1])).collect::<Vec<_>>().join(", "));
        series.push(Series { name, kind: Some(kind), points });
    }
    let label = "The penalty before anything is learnt, against the number of parts: that on joint actions grows, that on one part at a time does not";
    Ok(Chart { label, x: "parts", y: "penalty", log: false, series, rules: Vec::new() }.draw())
}

/// The error over all joint actions of a value learnt from a share of them, as a sum of parts and as a table.
fn coverage(seeds: u64, updates: u64) -> anyhow::Result<String> {
    let shares = [0.1, 0.2, 0.3, 0.5, 0.75, 1.0];
    let mut series = Vec::new();
    let additive = |seed| games::additive(4, 3, Key::new(seed));
    let exclusive = |_| games::exclusive_or(6);
    let rules: [(&str, &(dyn Fn(u64) -> MatrixGame + Sync)); 2] =
        [("adds up", &additive), ("exclusive or", &exclusive)];
    for (kind, (game, rules)) in rules.into_iter().enumerate() {
        for (muted, how) in ["sum of parts", "table"].into_iter().enumerate() {
            let mut points = Vec::new();
            for share in shares {
                let errors = each_seed(seeds, |seed| {
                    let game = rules(seed);
                    let every = game.every();
                    let mut order: Vec<usize> = (0..every.nrows()).collect();
                    Key::new(seed).name("order").shuffle(&mut order);
                    order.truncate(((order.len() as f64 * share) as usize).max(1));
                    let seen = every.select(Axis(0), &order);
                    let values = match how {
                        "table" => tabled(&game, &every, &order),
                        _ => summed(&game, &every, seen, updates / 4, seed)?,
                    };
                    let errors = values.iter().zip(every.rows()).map(|(v, u)| (v - game.pays(&u.to_vec())).abs());
                    Ok(errors.sum::<Real>() / every.nrows() as Real)
                })?;
                points.push(point(share, &errors));
            }
            let name: &str = Box::leak(format!("{game}: {how}").into_boxed_str());
            println!("{name}: {}", points.iter().map(|p| format!("{:.3}", p[1])).collect::<Vec<_>>().join(", "));
            series.push(Series { name, kind: Some(2 * kind + muted), points });
        }
    }
    let label = "Mean error over all joint actions against the share of them in the dataset, for values that are sums of parts and for tables";
    Ok(Chart {
        label,
        x: "share of joint actions in the dataset",
        y: "mean error",
        log: false,
        series,
        rules: Vec::new(),
    }
    .draw())
}

/// A table knows what it saw, and of the rest the mean.
fn tabled(game: &MatrixGame, every: &Array2<usize>, seen: &[usize]) -> Vec<Real> {
    let pays = |row: usize| game.pays(&every.row(row).to_vec());
    let mean = seen.iter().map(|&row| pays(row)).sum::<Real>() / seen.len() as Real;
    (0..every.nrows()).map(|row| if seen.contains(&row) { pays(row) } else { mean }).collect()
}

fn summed(
    game: &MatrixGame,
    every: &Array2<usize>,
    seen: Array2<usize>,
    updates: u64,
    seed: u64,
) -> anyhow::Result<Vec<Real>> {
    let (rows, ones) = (seen.nrows(), |rows| Array2::<Real>::ones((rows, 1)));
    let reward: Array1<Real> = seen.rows().into_iter().map(|u| game.pays(&u.to_vec())).collect();
    let (obs, terminal) = (ones(rows), Array1::ones(rows));
    let config = FactoredConfig {
        constraint: Constraint::None,
        lr: 1e-2,
        tau: 0.1,
        hidden: vec![16],
        ..FactoredConfig::default()
    };
    let mut learner = config.build(1, game.parts(), game.actions(), Key::new(seed))?;
    for _ in 0..updates {
        learner.update(FactoredBatch {
            obs: obs.view(),
            act: seen.view(),
            reward: reward.view(),
            next_obs: obs.view(),
            next_act: None,
            terminal: terminal.view(),
        });
    }
    Ok(learner.values(ones(every.nrows()).view(), every.view()))
}
