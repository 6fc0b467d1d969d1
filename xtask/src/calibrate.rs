//! `cargo xtask calibrate`: does uncertainty lie where the error is? Every measure against the exact physics of our own environments.

use crate::svg::{Axis, WIDTH, escape, open, short, standalone};
use anyhow::Context;
use backcast::{
    Experiment,
    algos::td3_bc::{self, Td3Bc},
    core::{Algorithm, Column, Direction, Key, Learner, Real, Source, Spec, Transitions, never},
    data::{Normaliser, Scale},
    dynamics::{Condition, Ensemble, EnsembleConfig, Fit, GaussianBc, GaussianBcConfig},
    envs::exact::Exact,
    imagination::{ImagineConfig, Imaginer, Measure, Trace, Uniform, by_penalty, calibrate},
    penalties::{NoPenalty, PenaltyConfig, ThresholdRule, ValueInconsistency, halting_rate, measure, measure_policy},
    run,
};
use ndarray::{Array2, ArrayView2};
use serde::Serialize;
use std::{fmt::Write, path::PathBuf};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// NeoRL-2's DMSD training file, in D4RL's format; without it that environment is left out
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Seeds, each with a dataset (where it is generated), an ensemble, an algorithm and draws of its own
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: u64,
    /// The folder for the results; runs/calibrate by default
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A run of a minute that exercises every stage; its numbers mean little
    #[arg(long)]
    quick: bool,
}

/// One environment and its dataset, as an experiment file has it.
const TASKS: [(&str, &str, &str); 3] = [
    ("maze2d-umaze", "maze2d-umaze-v1", "rows = 100000\nquirks = \"clean\""),
    ("DMSD", "dmsd", ""),
    ("pendulum", "pendulum-v1", "rows = 20000\nnoise = 0.1\nquality = \"expert\""),
];

/// What the model is asked about.
const QUESTIONS: [&str; 4] = ["held-out rows", "rollouts", "uniform actions", "unseen actions"];

/// What is asked about unseen actions is a model of its own, fitted to the rows whose actions keep to this share of the box and
/// asked about all of it: datasets here cover the box, and a uniform action is nothing new to a model of the whole dataset.
const GENTLE: Real = 0.5;

/// Sizes of everything.
struct Sizes {
    rows: &'static str,
    model: EnsembleConfig,
    learner: td3_bc::Config,
    updates: u64,
    clone_steps: usize,
    starts: usize,
}

const HORIZON: usize = 10;
const SAMPLES: usize = 10;
/// The measure whose thresholds are tried: MOReL's.
const DETECTOR: PenaltyConfig = PenaltyConfig::MaxPairwiseStates;
const RULES: [(&str, ThresholdRule); 3] = [
    ("99 % quantile", ThresholdRule::Quantile(0.99)),
    ("mean + 2 deviations", ThresholdRule::Deviations(2.0)),
    ("max / 3", ThresholdRule::MaxOver(3.0)),
];

fn sizes(quick: bool) -> Sizes {
    let model = EnsembleConfig {
        hidden: vec![128; 2],
        weight_decay: vec![2.5e-5, 5e-5, 1e-4],
        holdout_fraction: 0.1,
        holdout_rows: 2000,
        epoch_rows: Some(20_000),
        max_epochs: Some(40),
        ..EnsembleConfig::default()
    };
    let learner = td3_bc::Config { hidden: vec![128; 2], ..td3_bc::Config::default() };
    if !quick {
        return Sizes { rows: "", model, learner, updates: 5000, clone_steps: 3000, starts: 500 };
    }
    let model = EnsembleConfig { hidden: vec![32; 2], max_epochs: Some(2), epoch_rows: Some(4000), ..model };
    let learner = td3_bc::Config { hidden: vec![32; 2], ..learner };
    Sizes { rows: "rows = 5000\n", model, learner, updates: 200, clone_steps: 100, starts: 50 }
}

/// The names of all measures, the inconsistency of values last.
fn names() -> Vec<&'static str> {
    PenaltyConfig::MEASURES.iter().map(|m| m.name()).chain(["value_inconsistency"]).collect()
}

/// What one seed found in one environment.
#[derive(Clone, Debug, Serialize)]
struct Found {
    seed: u64,
    transitions: usize,
    /// Of these, those with gentle actions.
    gentle: usize,
    questions: Vec<Answers>,
    halting: Vec<Halting>,
}

/// How uncertainty stands to error for one kind of question.
#[derive(Clone, Debug, Serialize)]
struct Answers {
    question: &'static str,
    rows: usize,
    /// Imagined states that no state of the environment shows as.
    left_out: usize,
    median_error: Real,
    /// The error below which 99 of 100 lie.
    high_error: Real,
    measures: Vec<Answer>,
}

#[derive(Clone, Debug, Serialize)]
struct Answer {
    measure: &'static str,
    spearman: Option<f64>,
    /// Median and 99 % quantile of u: its scale.
    median: Real,
    high: Real,
}

/// What a threshold by one rule would halt.
#[derive(Clone, Debug, Serialize)]
struct Halting {
    rule: &'static str,
    threshold: Real,
    held_out: f64,
    behaviour_clone: f64,
    uniform_actions: f64,
}

#[derive(Serialize)]
struct Environment {
    environment: &'static str,
    seeds: Vec<Found>,
}

pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    let out = args.out.clone().unwrap_or_else(|| crate::root().join("runs/calibrate"));
    let (sizes, seeds) = (sizes(args.quick), if args.quick { 1 } else { args.seeds.max(1) });
    let mut environments = Vec::new();
    for (environment, task, dataset) in TASKS {
        if task == "dmsd" && args.data.as_ref().is_none_or(|file| !file.exists()) {
            let why = args.data.as_ref().map_or("no --data".into(), |file| format!("{} is not here", file.display()));
            eprintln!("SKIPPED: {environment}: {why}");
            continue;
        }
        let found = (0..seeds).map(|seed| {
            let data = match (task, &args.data) {
                ("dmsd", Some(file)) => format!("file = {:?}", file.display().to_string()),
                // The later of two keys would be refused: quick rows replace the others.
                _ if args.quick => format!("{}{}", sizes.rows, dataset.split_once('\n').map_or("", |(_, rest)| rest)),
                _ => dataset.to_owned(),
            };
            eprintln!("{environment}, seed {seed}");
            one_seed(task, &data, &sizes, seed).with_context(|| format!("{environment}, seed {seed}"))
        });
        environments.push(Environment { environment, seeds: found.collect::<anyhow::Result<_>>()? });
    }
    anyhow::ensure!(!environments.is_empty(), "there is no environment to measure in");
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let write = |name: &str, text: String| {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    };
    write("calibration.json", backcast::json::to_string_pretty(&environments)? + "\n")?;
    let tables = tables(&environments);
    write("calibration.md", tables.clone())?;
    write("calibration.svg", standalone(&figure(&environments)))?;
    println!("{tables}\n{}", out.display());
    Ok(())
}

/// One dataset, one ensemble, one algorithm, and all questions.
fn one_seed(task: &str, data: &str, sizes: &Sizes, seed: u64) -> anyhow::Result<Found> {
    let (exact, key) = (Exact::named(task)?, Key::new(seed).name("calibrate"));
    let spec = exact.spec();
    let generated = if data.contains("file") { String::new() } else { format!("seed = {seed}\n") };
    let text = format!("name = \"calibrate\"\ntask = \"{task}\"\n[data]\n{generated}{data}\n");
    let mut dataset = run::load(&Experiment::parse(&text)?, spec)?.model_data;
    let normaliser = Normaliser::fit(dataset.batch().obs, Scale::AtLeast(1e-3));
    normaliser.apply_to_transitions(&mut dataset);

    let (mut model, held_out) = fitted(sizes, &dataset, key.name("model"))?;
    let limit = GENTLE * spec.act_limit;
    let mut gentle = Transitions::new(spec);
    let keeps = |row: &usize| dataset.row(Column::Act, *row).iter().all(|a| a.abs() <= limit);
    (0..dataset.len()).filter(keeps).for_each(|row| gentle.push_row(&dataset, row));
    let (mut timid, gentle_held_out) = fitted(sizes, &gentle, key.name("timid model"))?;
    let mut learner = taught(sizes, &dataset, key.name("learner"))?;
    let clone = GaussianBcConfig {
        condition: Condition::State,
        hidden: vec![64; 2],
        entropy_weight: 0.0,
        steps: sizes.clone_steps,
        ..GaussianBcConfig::default()
    };
    let mut clone = GaussianBc::new(clone, spec, key.name("clone"))?;
    clone.fit(&dataset, key.name("clone fit"), &mut |_, _| true);

    let mut answers = Vec::new();
    for question in QUESTIONS {
        let key = key.name(question);
        let (model, held_out) =
            if question == "unseen actions" { (&mut timid, &gentle_held_out) } else { (&mut model, &held_out) };
        let (obs, act) = asked(question, held_out, model, &mut learner, sizes.starts, key)?;
        answers.push(answer(question, model, &mut learner, (obs.view(), act.view()), &exact, &normaliser, key));
    }
    let halting = halting(&mut model, &held_out, &mut clone, spec, key.name("halting"))?;
    Ok(Found { seed, transitions: dataset.len(), gentle: gentle.len(), questions: answers, halting })
}

/// A model of `dataset`, and the rows it was not trained on.
fn fitted(sizes: &Sizes, dataset: &Transitions, key: Key) -> anyhow::Result<(Ensemble, Transitions)> {
    let mut model = Ensemble::new(sizes.model.clone(), dataset.spec(), Direction::Forward, key.name("new"))?;
    let mut fit = Fit::new(&mut model, dataset, key.name("fit"))?;
    let held_out = fit.holdout().clone();
    while fit.done().is_none() {
        fit.epoch();
    }
    fit.finish();
    Ok((model, held_out))
}

/// An algorithm whose critics have seen enough to tell states apart, and whose policy stays near the dataset.
fn taught(sizes: &Sizes, dataset: &Transitions, key: Key) -> anyhow::Result<Td3Bc> {
    let (mut learner, mut staging) =
        (sizes.learner.build(dataset.spec(), key.name("learner"))?, Transitions::new(dataset.spec()));
    for update in 0..sizes.updates {
        let key = key.name("update").fold(update);
        learner.update(dataset.sample(key.name("batch"), 128, &mut staging), key);
    }
    Ok(learner)
}

/// States and actions of one kind of question, in the units of the model.
fn asked(
    question: &str,
    held_out: &Transitions,
    model: &mut Ensemble,
    learner: &mut Td3Bc,
    starts: usize,
    key: Key,
) -> anyhow::Result<(Array2<Real>, Array2<Real>)> {
    let batch = held_out.batch();
    let (obs, mut act) = (batch.obs.to_owned(), batch.act.to_owned());
    match question {
        "held-out rows" => {}
        "uniform actions" | "unseen actions" => {
            let limit = held_out.spec().act_limit;
            key.name("actions").uniform(-limit, limit, act.as_slice_mut().expect("dense"));
        }
        _ => {
            let config = ImagineConfig { horizon: HORIZON, starts_per_call: starts, ..ImagineConfig::default() };
            let mut trace = Trace::new(held_out.spec());
            Imaginer::new(config, never, NoPenalty)?.imagine(model, held_out, learner, key, &mut trace);
            let batch = trace.transitions.batch();
            return Ok((batch.obs.to_owned(), batch.act.to_owned()));
        }
    }
    Ok((obs, act))
}

/// Every measure beside the error of the answers to one kind of question.
fn answer(
    question: &'static str,
    model: &mut Ensemble,
    learner: &mut Td3Bc,
    (obs, act): (ArrayView2<'_, Real>, ArrayView2<'_, Real>),
    exact: &Exact,
    normaliser: &Normaliser,
    key: Key,
) -> Answers {
    let (mean, std) = (normaliser.mean(), normaliser.std());
    let mut raw = vec![0.0; mean.len()];
    let mut truth = |s: &[Real], a: &[Real], s2: &mut [Real]| {
        raw.iter_mut().zip(s).zip(std).zip(mean).for_each(|(((raw, s), std), mean)| *raw = s * std + mean);
        let known = exact.step(&raw, a, s2).is_some();
        s2.iter_mut().zip(std).zip(mean).for_each(|((x, std), mean)| *x = (*x - mean) / std);
        known
    };
    let mut measures: Vec<Measure<'_>> = PenaltyConfig::MEASURES.iter().map(|m| by_penalty(m.build())).collect();
    let mut inconsistency = ValueInconsistency::new(SAMPLES);
    measures.push(Box::new(move |asked, out| {
        let mut value = |states: ArrayView2<'_, Real>, values: &mut [Real]| learner.values(states, values);
        inconsistency.penalty(asked.prediction, asked.elites, asked.key, &mut value, out);
    }));
    let made = calibrate(model, obs, act, &mut truth, &mut measures, key.name("calibrate"));
    let measures = names().into_iter().zip(made.correlations()).zip(&made.u).map(|((measure, spearman), u)| Answer {
        measure,
        spearman,
        median: quantile(u, 0.5),
        high: quantile(u, 0.99),
    });
    Answers {
        question,
        rows: made.error.len(),
        left_out: made.left_out,
        median_error: quantile(&made.error, 0.5),
        high_error: quantile(&made.error, 0.99),
        measures: measures.collect(),
    }
}

/// The `q`-quantile, or NaN of what has none.
fn quantile(x: &[Real], q: Real) -> Real {
    ThresholdRule::Quantile(q).threshold(x).unwrap_or(Real::NAN)
}

/// Thresholds from held-out rows by each rule, and how often each would halt what.
fn halting(
    model: &mut Ensemble,
    held_out: &Transitions,
    clone: &mut GaussianBc,
    spec: Spec,
    key: Key,
) -> anyhow::Result<Vec<Halting>> {
    let mut detector = DETECTOR.build();
    let recorded = measure(model, &mut *detector, held_out, key.name("recorded"));
    let cloned = measure_policy(model, &mut *detector, held_out, clone, key.name("cloned"));
    let uniform = measure_policy(model, &mut *detector, held_out, &mut Uniform(spec), key.name("uniform"));
    let by = |(rule, how): (&'static str, ThresholdRule)| {
        let threshold = how.threshold(&recorded)?;
        let [held_out, behaviour_clone, uniform_actions] =
            [&recorded, &cloned, &uniform].map(|u| halting_rate(u, threshold));
        Ok(Halting { rule, threshold, held_out, behaviour_clone, uniform_actions })
    };
    RULES.into_iter().map(by).collect()
}

/// Each seed's correlation of one measure for one kind of question; NaN where there is none.
fn correlations(environment: &Environment, question: usize, measure: usize) -> Vec<f64> {
    environment.seeds.iter().map(|f| f.questions[question].measures[measure].spearman.unwrap_or(f64::NAN)).collect()
}

fn average(x: impl Iterator<Item = f64> + Clone) -> f64 {
    x.clone().sum::<f64>() / x.count() as f64
}

/// The tables of docs/src/results/penalties.md.
fn tables(environments: &[Environment]) -> String {
    let mut out = String::from("Spearman's correlation of u with the error, mean over seeds:\n");
    for (q, question) in QUESTIONS.into_iter().enumerate() {
        let _ = write!(out, "\n| {question} |");
        environments.iter().for_each(|w| _ = write!(out, " {} |", w.environment));
        out += &format!("\n|---|{}\n", "---|".repeat(environments.len()));
        for (m, name) in names().into_iter().enumerate() {
            let _ = write!(out, "| `{name}` |");
            environments
                .iter()
                .for_each(|w| _ = write!(out, " {} |", number(average(correlations(w, q, m).into_iter()), 2)));
            out += "\n";
        }
    }
    out += "\nErrors in deviations of the dataset, median and 99 % quantile, first seed:\n\n";
    out += "| environment | question | rows | no state | median | 99 % |\n|---|---|---|---|---|---|\n";
    for environment in environments {
        for a in &environment.seeds[0].questions {
            let [median, high] = [a.median_error, a.high_error].map(|x| number(x as f64, 4));
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {median} | {high} |",
                environment.environment, a.question, a.rows, a.left_out
            );
        }
    }
    out += "\nMedian of u on held-out rows, and its 99 % quantile, first seed:\n\n| measure |";
    environments.iter().for_each(|w| _ = write!(out, " {} |", w.environment));
    out += &format!("\n|---|{}\n", "---|".repeat(environments.len()));
    for (m, name) in names().into_iter().enumerate() {
        let _ = write!(out, "| `{name}` |");
        for environment in environments {
            let a = &environment.seeds[0].questions[0].measures[m];
            let _ = write!(out, " {}, {} |", figures(a.median as f64), figures(a.high as f64));
        }
        out += "\n";
    }
    let _ = write!(out, "\nWhat `{}` would halt, mean over seeds:\n\n", DETECTOR.name());
    out += "| environment | rule | threshold | held-out rows | behaviour clone | uniform actions |\n|---|---|---|---|---|---|\n";
    for environment in environments {
        for (r, (rule, _)) in RULES.into_iter().enumerate() {
            let mean = |of: fn(&Halting) -> f64| average(environment.seeds.iter().map(move |f| of(&f.halting[r])));
            let [h, c, u] = [mean(|h| h.held_out), mean(|h| h.behaviour_clone), mean(|h| h.uniform_actions)]
                .map(|rate| format!("{:.1} %", 100.0 * rate));
            let threshold = figures(mean(|h| h.threshold as f64));
            let _ = writeln!(out, "| {} | {rule} | {threshold} | {h} | {c} | {u} |", environment.environment);
        }
    }
    out
}

fn number(x: f64, digits: usize) -> String {
    if x.is_nan() { "–".into() } else { format!("{x:.digits$}").replace('-', "−") }
}

/// Two significant figures.
fn figures(x: f64) -> String {
    let digits = if x.abs() > 0.0 && x.is_finite() { (1.0 - x.abs().log10().floor()).max(0.0) as usize } else { 0 };
    if x.abs() > 0.0 && x.abs() < 1e-3 { format!("{x:.1e}").replace('-', "−") } else { number(x, digits) }
}

/// A panel for each kind of question, a row for each measure, a dot for each seed of each environment.
fn figure(environments: &[Environment]) -> String {
    const PITCH: f64 = 15.0;
    let (names, left, right) = (names(), 152.0, WIDTH - 10.0);
    let panel = 30.0 + PITCH * names.len() as f64;
    let top = 28.0;
    let bottom = top + panel * QUESTIONS.len() as f64;
    let mut out = open(bottom + 42.0, "rank correlation of each measure of uncertainty with the true error");
    let mut x = 0.0;
    for (k, environment) in environments.iter().enumerate() {
        let _ = write!(out, "<g class=\"k{k}\">{}", mark(k, x + 6.0, 9.0));
        let _ = write!(out, "<text x=\"{:.1}\" y=\"13\">{}</text></g>", x + 16.0, escape(environment.environment));
        x += 40.0 + 6.6 * environment.environment.chars().count() as f64;
    }
    let all = (0..QUESTIONS.len()).flat_map(|q| (0..names.len()).map(move |m| (q, m)));
    let values = all.flat_map(|(q, m)| environments.iter().flat_map(move |w| correlations(w, q, m)));
    let axis = Axis::around(values.chain([0.0, 1.0]), false, left, right);
    for tick in axis.ticks() {
        let (at, end) = (axis.at(tick), bottom - 4.0);
        let anchor = if at > right - 14.0 { "end" } else { "middle" };
        let _ = write!(
            out,
            "<path class=\"grid\" d=\"M{at:.1} {top}V{end:.1}\"/><text class=\"soft\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            end + 16.0,
            short(tick)
        );
    }
    let middle = (left + right) / 2.0;
    let _ = write!(
        out,
        "<text class=\"soft\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">Spearman's correlation with the true error</text>",
        bottom + 34.0
    );
    for (q, question) in QUESTIONS.iter().enumerate() {
        let base = top + panel * q as f64;
        let _ = write!(out, "<text class=\"strong halo\" x=\"0\" y=\"{:.1}\">{question}</text>", base + 14.0);
        for (m, name) in names.iter().enumerate() {
            let y = base + 28.0 + PITCH * m as f64;
            let _ = write!(out, "<text x=\"0\" y=\"{:.1}\">{}</text>", y + 4.0, name.replace('_', " "));
            for (k, environment) in environments.iter().enumerate() {
                let _ = write!(out, "<g class=\"k{k}\">");
                let shown = correlations(environment, q, m).into_iter().filter(|r| r.is_finite());
                shown.for_each(|r| out += &mark(k, axis.at(r), y));
                out += "</g>";
            }
        }
    }
    out + "</svg>"
}

/// A dot of the `k`-th environment: shapes differ, so that nothing depends on colour alone.
fn mark(k: usize, x: f64, y: f64) -> String {
    match k % 3 {
        0 => format!("<circle class=\"fill\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.4\" opacity=\".7\"/>"),
        1 => format!("<path class=\"fill\" d=\"M{:.1} {:.1}h6v6h-6z\" opacity=\".7\"/>", x - 3.0, y - 3.0),
        _ => format!("<path class=\"fill\" d=\"M{x:.1} {:.1}l4.2 7.2h-8.4z\" opacity=\".7\"/>", y - 4.4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_up(environment: &'static str, first: Option<f64>) -> Environment {
        let answers = |question| Answers {
            question,
            rows: 7,
            left_out: 1,
            median_error: 0.01,
            high_error: 0.5,
            measures: names()
                .into_iter()
                .enumerate()
                .map(|(i, measure)| Answer {
                    measure,
                    spearman: if i == 0 { first } else { Some(0.5) },
                    median: 1e-5,
                    high: 123.4,
                })
                .collect(),
        };
        let halting = RULES.map(|(rule, _)| Halting {
            rule,
            threshold: 0.034,
            held_out: 0.01,
            behaviour_clone: 0.02,
            uniform_actions: 0.5,
        });
        let found = Found {
            seed: 0,
            transitions: 100,
            gentle: 40,
            questions: QUESTIONS.map(answers).to_vec(),
            halting: halting.to_vec(),
        };
        Environment { environment, seeds: vec![found.clone(), found] }
    }

    #[test]
    fn everything_found_is_in_the_tables_and_the_figure() {
        let environments = [made_up("maze", Some(0.25)), made_up("spring", None)];
        let text = tables(&environments);
        for name in names() {
            assert_eq!(text.matches(&format!("| `{name}` |")).count(), QUESTIONS.len() + 1, "{name}: {text}");
        }
        assert_eq!(text.matches("| `max_aleatoric` | 0.25 | – |").count(), QUESTIONS.len(), "{text}");
        assert!(text.contains("| maze | max / 3 | 0.034 | 1.0 % | 2.0 % | 50.0 % |"), "{text}");
        assert!(text.contains("1.0e−5, 123 |"), "{text}");
        let drawing = figure(&environments);
        // Of the maze every dot, of the other all but the first measure's; one more each in the legend.
        let dots = QUESTIONS.len() * names().len() * 2;
        assert_eq!(drawing.matches("<circle").count(), dots + 1);
        assert_eq!(drawing.matches("h6v6h-6z").count(), dots - 2 * QUESTIONS.len() + 1);
    }

    #[test]
    fn significant_figures_are_two() {
        assert_eq!([123.4, 1.26, 0.0344, 0.0, 2e-5].map(figures), ["123", "1.3", "0.034", "0", "2.0e−5"]);
        assert_eq!(figures(f64::NAN), "–");
    }

    /// The whole way through on the smallest environment there is, at the smallest size.
    #[test]
    fn a_small_experiment_goes_through_and_repeats_itself() {
        let small = Sizes { updates: 5, clone_steps: 5, starts: 5, ..sizes(true) };
        let run = || one_seed("pendulum-v1", "rows = 1000\n", &small, 3).expect("a seed");
        let (a, b) = (run(), run());
        assert_eq!(a.questions.len(), QUESTIONS.len());
        assert!(a.gentle > 100 && a.gentle < a.transitions, "{a:?}");
        assert!(a.questions.iter().all(|q| q.rows > 0 && q.measures.iter().all(|m| m.spearman.is_some())), "{a:?}");
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
    }
}
