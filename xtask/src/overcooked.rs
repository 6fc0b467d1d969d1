//! `cargo xtask games overcooked`: policies learnt from some games of two people who cook together, and tried on the others.

use crate::games::each_seed;
use anyhow::Context;
use backcast::core::{Key, Real};
use backcast::data::{JointDataset, JointTransitions};
use backcast::factorization::fqe::overlap;
use backcast::factorization::{
    CloneConfig, Cloned, Config, Conservatism, Constraint, Factored, FactoredBatch, FactoredConfig, FqeBatch,
    FqeConfig, Joint, JointBatch, Method, MixerConfig, Spread, Widths,
};
use comfy_table::{Table, presets::ASCII_MARKDOWN};
use ndarray::{Array1, Array2, Array3, Axis, concatenate};
use std::path::{Path, PathBuf};

/// North, south, east, west, stay, interact.
const ACTIONS: usize = 6;
const STAY: usize = 4;
const GAMMA: Real = 0.99;
const LAYOUTS: [&str; 5] = ["cramped_room", "asymmetric_advantages", "coordination_ring", "random0", "random3"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder with the games: cramped_room.hdf5, asymmetric_advantages.hdf5, coordination_ring.hdf5, random0.hdf5, random3.hdf5
    #[arg(value_name = "DIR")]
    data: PathBuf,
    /// Seeds, each with another half of the games
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// A moment's learning, to see that everything works
    #[arg(long)]
    quick: bool,
}

/// What everyone sees before or after a row, in the forms that algorithms want.
struct Side {
    /// `[agents, rows, obs]`.
    obs: Array3<Real>,
    /// The same, and what both did last.
    reminded: Array3<Real>,
    /// What both see, `[rows, agents·obs]`.
    both: Array2<Real>,
    /// *s*, `[rows, state]`.
    state: Array2<Real>,
}

/// The transitions of some games.
struct Games {
    now: Side,
    next: Side,
    act: Array2<usize>,
    /// What both did the row before, if there is one in the game.
    last: Vec<Option<[usize; 2]>>,
    next_act: Array2<usize>,
    reward: Array1<Real>,
    terminal: Array1<Real>,
    first: Vec<usize>,
    /// The mean discounted return of the games.
    earned: f64,
}

impl Games {
    fn of(rows: JointTransitions) -> anyhow::Result<Self> {
        let [state, next_state] = rows.states.context("the games have no `state`")?;
        let n = rows.reward.len();
        let last: Vec<_> =
            (0..n).map(|row| (!rows.first[row]).then(|| [rows.act[[row - 1, 0]], rows.act[[row - 1, 1]]])).collect();
        let did: Vec<_> = rows.act.rows().into_iter().map(|act| Some([act[0], act[1]])).collect();
        let mut earned = Vec::new();
        for row in (0..n).rev() {
            let after = earned.last().copied().unwrap_or(0.0);
            let after = if row + 1 < n && !rows.first[row + 1] { after } else { 0.0 };
            earned.push(f64::from(rows.reward[row]) + f64::from(GAMMA) * after);
        }
        earned.reverse();
        let first: Vec<usize> = (0..n).filter(|&row| rows.first[row]).collect();
        let earned = first.iter().map(|&row| earned[row]).sum::<f64>() / first.len() as f64;
        Ok(Self {
            now: Side::of(&rows.obs, state, &last),
            next: Side::of(&rows.next_obs, next_state, &did),
            act: rows.act,
            last,
            next_act: rows.next_act,
            reward: rows.reward,
            terminal: rows.terminal,
            first,
            earned,
        })
    }

    fn len(&self) -> usize {
        self.reward.len()
    }

    fn widths(&self) -> Widths {
        let (parts, _, obs) = self.now.obs.dim();
        Widths { parts, actions: ACTIONS, obs, state: self.now.state.ncols() }
    }
}

impl Side {
    fn of(seen: &Array3<Real>, state: Array2<Real>, last: &[Option<[usize; 2]>]) -> Self {
        let (rows, agents, width) = seen.dim();
        let obs = Array3::from_shape_fn((agents, rows, width), |(agent, row, col)| seen[[row, agent, col]]);
        let both = Array2::from_shape_fn((rows, agents * width), |(row, col)| seen[[row, col / width, col % width]]);
        // One's own action first, then the other's.
        let did = Array3::from_shape_fn((agents, rows, agents * ACTIONS), |(agent, row, col)| {
            let whose = (agent + col / ACTIONS) % agents;
            Real::from(u8::from(last[row].is_some_and(|act| act[whose] == col % ACTIONS)))
        });
        let reminded = concatenate(Axis(2), &[obs.view(), did.view()]).expect("as many rows");
        Self { obs, reminded, both, state }
    }
}

/// Whoever has probabilities of actions.
enum Player {
    Always([f64; ACTIONS]),
    Cloned { clone: Box<Cloned>, reminded: bool },
    Factored(Box<Factored>),
    Joint(Box<Joint>),
}

fn certain(act: &Array2<usize>) -> Array3<Real> {
    let (rows, parts) = act.dim();
    Array3::from_shape_fn((parts, rows, ACTIONS), |(part, row, a)| Real::from(u8::from(act[[row, part]] == a)))
}

impl Player {
    /// `[agents, rows, actions]`.
    fn probabilities(&mut self, side: &Side) -> Array3<Real> {
        match self {
            Self::Always(p) => {
                let (agents, rows, _) = side.obs.dim();
                Array3::from_shape_fn((agents, rows, ACTIONS), |(_, _, a)| p[a] as Real)
            }
            Self::Cloned { clone, reminded } => {
                clone.probabilities(if *reminded { side.reminded.view() } else { side.obs.view() })
            }
            Self::Factored(learner) => certain(&learner.act(side.both.view())),
            Self::Joint(learner) => certain(&learner.greedy(side.obs.view())),
        }
    }
}

/// What is said of a policy on games that nobody learnt from.
#[derive(Clone, Copy, Default)]
struct Judged {
    /// How often its likeliest action is the person's.
    right: f64,
    /// The same where the person does not stay.
    moving: f64,
    /// Nats, where there are probabilities.
    entropy: Option<f64>,
    /// The mean probability of what both did.
    overlap: f64,
    /// The value by FQE.
    value: Option<f64>,
}

/// Top-1 accuracy, the same where people do something, and the cross-entropy of `p`, `[agents, rows, actions]`.
fn judged(p: &Array3<Real>, act: &Array2<usize>, uncertain: bool) -> Judged {
    let (mut right, mut moving, mut moves, mut nats) = (0.0, 0.0, 0.0, 0.0);
    for ((row, agent), &a) in act.indexed_iter() {
        let of = |b: usize| p[[agent, row, b]];
        let best = (1..ACTIONS).fold(0, |best, b| if of(b) > of(best) { b } else { best });
        let hit = f64::from(u8::from(best == a));
        right += hit;
        nats -= f64::from(of(a).max(1e-12)).ln();
        if a != STAY {
            moving += hit;
            moves += 1.0;
        }
    }
    let n = act.len() as f64;
    let entropy = uncertain.then_some(nats / n);
    Judged { right: right / n, moving: moving / moves, entropy, overlap: overlap(p.view(), act.view()), value: None }
}

/// How much is learnt.
#[derive(Clone, Copy)]
struct Effort {
    updates: u64,
    batch: usize,
}

const METHODS: [&str; 9] = [
    "always what is done most",
    "what was done last",
    "BC",
    "BC that knows the last actions",
    "DecQN-CQL",
    "DecQN-IQL",
    "VDN with MA-CQL",
    "VDN with CFCQL",
    "always stay",
];

fn drawn(games: &Games, effort: Effort, key: Key) -> Vec<usize> {
    (0..effort.batch).map(|i| key.below(games.len(), i)).collect()
}

fn cloned(games: &Games, reminded: bool, effort: Effort, key: Key) -> anyhow::Result<Player> {
    let seen = if reminded { &games.now.reminded } else { &games.now.obs };
    let widths = Widths { obs: seen.dim().2, ..games.widths() };
    let mut clone = CloneConfig { weight_decay: 1e-2, ..CloneConfig::default() }.build(widths, key)?;
    for update in 0..effort.updates {
        let rows = drawn(games, effort, key.name("rows").fold(update));
        clone.update(seen.select(Axis(1), &rows).view(), games.act.select(Axis(0), &rows).view());
    }
    Ok(Player::Cloned { clone: Box::new(clone), reminded })
}

fn factored(games: &Games, constraint: Constraint, effort: Effort, key: Key) -> anyhow::Result<Player> {
    let config = FactoredConfig { constraint, mean: false, gamma: GAMMA, lr: 1e-3, tau: 0.05, hidden: vec![64, 64] };
    let mut learner = config.build(games.now.both.ncols(), 2, ACTIONS, key)?;
    for update in 0..effort.updates {
        let rows = drawn(games, effort, key.name("rows").fold(update));
        let [obs, next_obs] = [&games.now, &games.next].map(|side| side.both.select(Axis(0), &rows));
        let [act, next_act] = [&games.act, &games.next_act].map(|act| act.select(Axis(0), &rows));
        let [reward, terminal] = [&games.reward, &games.terminal].map(|x| x.select(Axis(0), &rows));
        learner.update(FactoredBatch {
            obs: obs.view(),
            act: act.view(),
            reward: reward.view(),
            next_obs: next_obs.view(),
            next_act: Some(next_act.view()),
            terminal: terminal.view(),
        });
    }
    Ok(Player::Factored(Box::new(learner)))
}

fn joint(games: &Games, conservatism: Conservatism, effort: Effort, key: Key) -> anyhow::Result<Player> {
    let method = Method::Mixed { mixer: MixerConfig::Vdn };
    let config = Config { method, conservatism, gamma: GAMMA, lr: 1e-3, copy_every: 20, ..Config::default() };
    let mut learner = config.build(games.widths(), key)?;
    for update in 0..effort.updates {
        let key = key.name("update").fold(update);
        let rows = drawn(games, effort, key.name("rows"));
        let [state, next_state] = [&games.now, &games.next].map(|side| side.state.select(Axis(0), &rows));
        let [obs, next_obs] = [&games.now, &games.next].map(|side| side.obs.select(Axis(1), &rows));
        let [reward, terminal] = [&games.reward, &games.terminal].map(|x| x.select(Axis(0), &rows));
        let act = games.act.select(Axis(0), &rows);
        let batch = JointBatch {
            state: state.view(),
            obs: obs.view(),
            act: act.view(),
            reward: reward.view(),
            next_state: next_state.view(),
            next_obs: next_obs.view(),
            terminal: terminal.view(),
        };
        learner.update(batch, key);
    }
    Ok(Player::Joint(Box::new(learner)))
}

/// V̂ of a policy, by games that it was not learnt from.
fn valued(games: &Games, player: &mut Player, effort: Effort, key: Key) -> anyhow::Result<f64> {
    let config = FqeConfig { gamma: GAMMA, lr: 1e-3, tau: 0.5, hidden: vec![64], ..FqeConfig::default() };
    let mut fqe = config.build(games.widths(), key)?;
    let next = player.probabilities(&games.next);
    for update in 0..effort.updates {
        let rows = drawn(games, effort, key.name("rows").fold(update));
        let [state, next_state] = [&games.now, &games.next].map(|side| side.state.select(Axis(0), &rows));
        let [reward, terminal] = [&games.reward, &games.terminal].map(|x| x.select(Axis(0), &rows));
        let (act, next_policy) = (games.act.select(Axis(0), &rows), next.select(Axis(1), &rows));
        fqe.update(FqeBatch {
            state: state.view(),
            act: act.view(),
            reward: reward.view(),
            next_state: next_state.view(),
            next_policy: next_policy.view(),
            terminal: terminal.view(),
        });
    }
    let initial = games.now.state.select(Axis(0), &games.first);
    let there = player.probabilities(&games.now).select(Axis(1), &games.first);
    let values = fqe.values(initial.view(), there.view());
    Ok(values.iter().sum::<f64>() / values.len() as f64)
}

/// Shares of actions in games, each counted once more than it was.
fn shares(counts: impl Iterator<Item = usize>) -> [f64; ACTIONS] {
    let mut share = [1.0; ACTIONS];
    counts.for_each(|a| share[a] += 1.0);
    let sum: f64 = share.iter().sum();
    share.map(|x| x / sum)
}

/// What both do given what each did last, by the shares in `seen`; the likeliest is what was done last.
fn repeating(seen: &Games, tried: &Games) -> (Judged, Array3<Real>) {
    let pairs = |games: &Games| {
        let rows =
            games.last.iter().zip(games.act.rows()).filter_map(|(last, act)| Some((*last)?).zip(Some(act.to_vec())));
        rows.flat_map(|(last, act)| [(last[0], act[0]), (last[1], act[1])]).collect::<Vec<_>>()
    };
    let pairs = pairs(seen);
    let table: Vec<[f64; ACTIONS]> =
        (0..ACTIONS).map(|last| shares(pairs.iter().filter(|(l, _)| *l == last).map(|&(_, a)| a))).collect();
    let any = shares(seen.act.iter().copied());
    let p = Array3::from_shape_fn((2, tried.len(), ACTIONS), |(agent, row, a)| {
        tried.last[row].map_or(any, |last| table[last[agent]])[a] as Real
    });
    let again = Array2::from_shape_fn(tried.act.dim(), |(row, agent)| tried.last[row].map_or(STAY, |last| last[agent]));
    // Hits are of the last action itself, nats of what usually follows it.
    let hits = judged(&certain(&again), &tried.act, false);
    (Judged { entropy: judged(&p, &tried.act, true).entropy, ..hits }, p)
}

/// All methods on one half of the games of a layout, judged by the other; and what people earned in that.
fn trial(dataset: &JointDataset, effort: Effort, seed: u64) -> anyhow::Result<(Vec<Judged>, f64)> {
    let key = Key::new(seed);
    let [seen, tried] = dataset.split(0.5, key);
    let [seen, tried] = [seen, tried].map(|games| Games::of(dataset.transitions(&games)));
    let (seen, tried) = (seen?, tried?);
    let mut all = Vec::new();
    for (number, name) in METHODS.into_iter().enumerate() {
        let key = key.name(name);
        let player = match number {
            0 => Some(Player::Always(shares(seen.act.iter().copied()))),
            1 => None,
            2 | 3 => Some(cloned(&seen, number == 3, effort, key)?),
            4 => Some(factored(&seen, Constraint::Cql { weight: 1.0 }, effort, key)?),
            5 => Some(factored(&seen, Constraint::Iql { expectile: 0.7, inverse_temperature: 3.0 }, effort, key)?),
            6 => Some(joint(&seen, Conservatism::Joint { weight: 1.0, n_action_samples: 36 }, effort, key)?),
            7 => Some(joint(&seen, Conservatism::Counterfactual { weight: 1.0, spread: Spread::Even }, effort, key)?),
            _ => Some(Player::Always(std::array::from_fn(|a| f64::from(u8::from(a == STAY))))),
        };
        let Some(mut player) = player else {
            all.push(repeating(&seen, &tried).0);
            continue;
        };
        let p = match &mut player {
            // Its policy, of which it acts the likeliest.
            Player::Factored(learner) if number == 5 => learner.probabilities(tried.now.both.view()),
            player => player.probabilities(&tried.now),
        };
        let uncertain = matches!(number, 0 | 2 | 3 | 5);
        let value = Some(valued(&tried, &mut player, effort, key.name("value"))?);
        all.push(Judged { value, ..judged(&p, &tried.act, uncertain) });
    }
    Ok((all, tried.earned))
}

fn read(folder: &Path) -> anyhow::Result<Vec<(&'static str, JointDataset)>> {
    let one = |layout| Ok((layout, JointDataset::read(&folder.join(format!("{layout}.hdf5")), ACTIONS)?));
    LAYOUTS.into_iter().map(one).collect()
}

/// Mean and standard deviation over seeds.
fn over(values: &[f64], digits: usize, unit: f64) -> String {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let std = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0)).sqrt();
    format!("{:.digits$} ± {:.digits$}", unit * mean, unit * std)
}

pub(crate) fn main(args: &Args) -> anyhow::Result<()> {
    let datasets = read(&args.data)?;
    let effort = if args.quick { Effort { updates: 10, batch: 32 } } else { Effort { updates: 1000, batch: 128 } };
    let seeds = if args.quick { 1 } else { args.seeds };
    let trials = each_seed(seeds * datasets.len() as u64, |job| {
        trial(&datasets[(job / seeds) as usize].1, effort, job % seeds)
    })?;
    let mut all: Vec<Vec<Judged>> = vec![Vec::new(); METHODS.len()];
    for ((layout, dataset), trials) in datasets.iter().zip(trials.chunks(seeds as usize)) {
        let earned: Vec<f64> = trials.iter().map(|(_, earned)| *earned).collect();
        println!(
            "\n{layout}: {} games, {} rows; people earned {}\n",
            dataset.episodes().len(),
            dataset.len(),
            over(&earned, 2, 1.0)
        );
        let runs = |method: usize| trials.iter().map(|(judged, _)| judged[method]).collect::<Vec<_>>();
        println!("{}", table((0..METHODS.len()).map(runs)));
        (0..METHODS.len()).for_each(|method| all[method].extend(runs(method)));
    }
    println!("\nall five\n\n{}", table(all.into_iter()));
    Ok(())
}

fn table(methods: impl Iterator<Item = Vec<Judged>>) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header([
        "policy",
        "right, %",
        "right where people act, %",
        "cross-entropy, nats",
        "overlap",
        "value by FQE",
    ]);
    for (name, runs) in METHODS.iter().zip(methods) {
        let shown = |of: &dyn Fn(&Judged) -> Option<f64>, digits, unit| {
            let values: Option<Vec<f64>> = runs.iter().map(of).collect();
            values.map_or("–".to_owned(), |values| over(&values, digits, unit))
        };
        table.add_row([
            (*name).to_owned(),
            shown(&|j| Some(j.right), 1, 100.0),
            shown(&|j| Some(j.moving), 1, 100.0),
            shown(&|j| j.entropy, 3, 1.0),
            shown(&|j| Some(j.overlap), 2, 1.0),
            shown(&|j| j.value, 2, 1.0),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn hits_and_nats_are_counted() {
        let act = array![[STAY, 0], [1, STAY]];
        let mut p = Array3::from_elem((2, 2, ACTIONS), 0.1);
        (p[[0, 0, STAY]], p[[1, 0, 0]], p[[0, 1, 2]], p[[1, 1, STAY]]) = (0.5, 0.5, 0.5, 0.5);
        let judged = judged(&p, &act, true);
        assert_eq!((judged.right, judged.moving), (0.75, 0.5));
        let nats = -(3.0 * 0.5f64.ln() + f64::from(0.1 as Real).ln()) / 4.0;
        assert!((judged.entropy.expect("asked for") - nats).abs() < 1e-6);
        assert!((judged.overlap - (0.25 + 0.05) / 2.0).abs() < 1e-6);
    }

    #[test]
    #[allow(clippy::print_stderr, reason = "a skipped test says so")]
    fn a_moment_s_learning_judges_every_method() {
        let root = crate::root();
        let up = ["../shared/data/overcooked", "../../shared/data/overcooked"].map(|path| root.join(path));
        let Some(folder) = up.iter().find(|path| path.exists()) else {
            return eprintln!("SKIPPED: a_moment_s_learning_judges_every_method: {} is not here", up[0].display());
        };
        let dataset = JointDataset::read(&folder.join("random0.hdf5"), ACTIONS).expect("a dataset");
        let (judged, earned) = trial(&dataset, Effort { updates: 20, batch: 32 }, 1).expect("a trial");
        assert_eq!(judged.len(), METHODS.len());
        assert!(earned > 0.5 && earned < 50.0, "{earned}");
        for (name, j) in METHODS.iter().zip(judged) {
            assert!((0.0..=1.0).contains(&j.right) && (0.0..=1.0).contains(&j.moving), "{name}");
            assert!(j.overlap <= 1.0 && j.value.is_none_or(f64::is_finite), "{name}");
            // Uniform is ln 6.
            assert!(j.entropy.is_none_or(|nats| nats > 0.3 && nats < 1.9), "{name}: {:?}", j.entropy);
        }
    }
}
