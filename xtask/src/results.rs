//! From what a run found out to what its report shows.

use crate::losses::{BandReport, ExpectedReport, MetricReport};
use crate::report::*;
use anyhow::Context;
use backcast::{
    Experiment, Imagine,
    core::{Column, Direction},
    envs::maze2d::{Cell, Maze2d},
    run::{Bands, FreeSpace, LearnResult, ModelResult, Outcome, Point, Summary},
};

/// The report of `outcome`.
pub(crate) fn report(
    experiment: &Experiment,
    outcome: &Outcome,
    summary: &Summary,
    bands: Option<&Bands>,
    command: String,
    wall_seconds: f64,
) -> anyhow::Result<RunReport> {
    let methods = experiment.methods.iter().zip(&summary.methods).map(|(method, scores)| {
        let runs: Vec<&LearnResult> = outcome.learners.iter().filter(|l| l.method == method.name).collect();
        let share = experiment.imagination.ratio * 100.0;
        let own = experiment.algorithm_of(method);
        let name = own.as_ref().unwrap_or(&experiment.algorithm).name();
        MethodReport {
            name: method.name.clone(),
            description: match method.imagine {
                Imagine::Nothing => format!("{name} on the dataset alone"),
                Imagine::Forward => format!("{name}, {share:.0} % of each batch imagined forwards"),
                Imagine::Reverse => format!("{name}, {share:.0} % of each batch imagined backwards (ROMI)"),
            },
            scores: scores.scores.clone(),
            iqm: scores.iqm,
            spread: scores.spread,
            curve: curve(&runs, |p| Some(p.score)),
            value_curve: curve(&runs, |p| p.metrics.iter().find(|(name, _)| name == "q").map(|(_, q)| *q)),
            updates_per_second: speed(&runs, experiment.training.updates),
            robustness: scores.robustness.clone(),
        }
    });
    Ok(RunReport {
        experiment: experiment.name.clone(),
        task: experiment.task.clone(),
        command,
        commit: summary.commit.clone(),
        seeds: experiment.seeds.0.clone().collect(),
        wall_seconds,
        hardware: hardware(&experiment.task),
        methods: methods.collect(),
        sensitivity: crate::sensitivity::report(experiment)?,
        published: experiment.published.iter().map(|p| (p.label.clone(), p.score, p.note.clone())).collect(),
        maze: maze(experiment, outcome)?,
        model_error: model_error(&outcome.models),
        free_space: free_space(&outcome.free_space),
        model_report: outcome.models.iter().map(fit).collect(),
        data: DataReport {
            source: outcome.data.source.clone(),
            rows: outcome.data.transitions,
            episodes: outcome.data.episodes,
            mean_return: outcome.data.mean_return,
            fingerprint: outcome.data.fingerprint.clone(),
        },
        stages: outcome.stages.clone(),
        config_toml: experiment.to_toml(),
        warnings: (outcome.data.warnings.iter().map(|warning| format!("data: {warning}")))
            .chain(experiment.inert()?.iter().map(ToString::to_string))
            .chain(outcome.learners.iter().flat_map(|run| warnings(run, bands)))
            .collect(),
        metrics: metrics(experiment, outcome),
        expected: bands.map(|bands| expected(bands, outcome)),
    })
}

/// Updates in a second, over all runs; nothing where none took any time.
fn speed(runs: &[&LearnResult], updates: u64) -> Option<f64> {
    let seconds = runs.iter().map(|run| run.seconds).sum::<f64>();
    (seconds > 0.0).then(|| updates as f64 * runs.len() as f64 / seconds)
}

fn warnings(run: &LearnResult, bands: Option<&Bands>) -> Vec<String> {
    let lengths = 1..=run.curve.len();
    let off = bands.iter().flat_map(|b| lengths.clone().flat_map(|n| b.complaints(&run.method, &run.curve[..n])));
    let all = run.warnings.iter().cloned().chain(off);
    all.map(|warning| format!("{}, seed {}: {warning}", run.method, run.seed)).collect()
}

/// The curves of every metric that some method has, but for the mean value, which has a figure of its own.
fn metrics(experiment: &Experiment, outcome: &Outcome) -> Vec<MetricReport> {
    let mut names: Vec<&str> = Vec::new();
    let points = outcome.learners.iter().filter_map(|l| l.curve.first());
    for (name, _) in points.flat_map(|p| &p.metrics) {
        if name != "q" && !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let of = |name: &str, method: &str| {
        let runs: Vec<&LearnResult> = outcome.learners.iter().filter(|l| l.method == method).collect();
        curve(&runs, |p| p.metrics.iter().find(|(n, _)| n == name).map(|(_, value)| *value))
    };
    let methods = |name: &str| experiment.methods.iter().map(|method| of(name, &method.name)).collect();
    names.into_iter().map(|name| MetricReport { name: name.to_owned(), curves: methods(name) }).collect()
}

/// The bands of what was run, and how much is inside.
fn expected(bands: &Bands, outcome: &Outcome) -> ExpectedReport {
    let check = outcome.learners.iter().map(|l| bands.check(&l.method, &l.curve));
    let (inside, of) = check.fold((0, 0), |(inside, of), check| (inside + check.inside, of + check.of));
    let band = |band: &backcast::run::Band| BandReport {
        method: band.method.clone(),
        metric: band.metric.clone(),
        points: band.updates.iter().zip(&band.low).zip(&band.high).map(|((&u, &low), &high)| (u, low, high)).collect(),
    };
    ExpectedReport {
        inside,
        of,
        rate: bands.rate,
        seeds: bands.seeds.len(),
        bands: bands.bands.iter().map(band).collect(),
    }
}

/// The mean over runs at each evaluation, and the lowest and highest run around it.
fn curve(runs: &[&LearnResult], value: impl Fn(&Point) -> Option<f64>) -> Vec<CurvePoint> {
    let points = runs.iter().map(|r| r.curve.len()).min().unwrap_or(0);
    (0..points)
        .filter_map(|i| {
            let values: Vec<f64> = runs.iter().map(|r| value(&r.curve[i])).collect::<Option<_>>()?;
            Some(CurvePoint {
                step: runs[0].curve[i].update,
                mean: values.iter().sum::<f64>() / values.len() as f64,
                lo: values.iter().copied().fold(f64::INFINITY, f64::min),
                hi: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            })
        })
        .collect()
}

fn fit(model: &ModelResult) -> ModelFit {
    ModelFit {
        direction: format!("{}, seed {}", model.direction.name(), model.seed),
        epochs: model.epochs,
        holdout_mse: model.holdout_mse.iter().map(|&x| x as f64).collect(),
        elites: model.elites.clone(),
        seconds: model.seconds,
        one_step_rmse: model.one_step_rmse,
        baseline_copy_rmse: model.copy_rmse,
        reward_unexplained: model.reward_unexplained,
    }
}

/// Quartiles by horizon, averaged over seeds; copying is nearly the same in both directions and is drawn once.
fn model_error(models: &[ModelResult]) -> Vec<ModelErrorSeries> {
    let mut series = Vec::new();
    for direction in [Direction::Reverse, Direction::Forward] {
        let of: Vec<&ModelResult> = models.iter().filter(|m| m.direction == direction).collect();
        let steps = of.iter().map(|m| m.horizon.len()).min().unwrap_or(0);
        let mean = |i: usize, f: fn(&backcast::run::HorizonPoint) -> f64| {
            of.iter().map(|m| f(&m.horizon[i])).sum::<f64>() / of.len() as f64
        };
        if steps > 0 {
            let points = |f: [fn(&backcast::run::HorizonPoint) -> f64; 3]| {
                (0..steps).map(|i| (of[0].horizon[i].steps, mean(i, f[0]), mean(i, f[1]), mean(i, f[2]))).collect()
            };
            let copy = points([|p| p.copy; 3]);
            series.push(ModelErrorSeries {
                name: direction.name().into(),
                points: points([|p| p.median, |p| p.q25, |p| p.q75]),
            });
            if !series.iter().any(|s| s.name == "copy the state") {
                series.push(ModelErrorSeries { name: "copy the state".into(), points: copy });
            }
        }
    }
    series
}

/// Mean and range over seeds, in per cent.
fn free_space(measured: &[FreeSpace]) -> Vec<ModelErrorSeries> {
    let series = [Direction::Reverse, Direction::Forward].map(|direction| {
        let of: Vec<&FreeSpace> = measured.iter().filter(|m| m.direction == direction).collect();
        let steps = of.iter().map(|m| m.share.len()).min().unwrap_or(0);
        let points = (0..steps).map(|step| {
            let shares = of.iter().map(|m| 100.0 * m.share[step]);
            let mean = shares.clone().sum::<f64>() / of.len() as f64;
            let (low, high) = shares.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
            (step, mean, low, high)
        });
        ModelErrorSeries { name: direction.name().into(), points: points.collect() }
    });
    series.into_iter().filter(|s| !s.points.is_empty()).collect()
}

/// Bins of the occupancy per metre.
const BINS: usize = 10;

fn maze(experiment: &Experiment, outcome: &Outcome) -> anyhow::Result<Option<MazeReport>> {
    let nothing = outcome.chains.forward.is_empty() && outcome.chains.reverse.is_empty();
    if !experiment.task.starts_with("maze2d") || nothing {
        return Ok(None);
    }
    let environment = Maze2d::named(&experiment.task)?;
    let layout = environment.layout();
    let rows = (0..layout.rows()).map(|w| {
        let cell = |h| match layout.cell(w, h) {
            Some(Cell::Free) => 'O',
            Some(Cell::Goal) => 'G',
            _ => '#',
        };
        (0..layout.cols()).map(cell).collect()
    });
    let spec = backcast::core::Env::spec(&environment);
    let dataset = backcast::run::load(experiment, spec).context("the dataset, for its occupancy")?;
    let columns = dataset.episodic.transitions();
    let (bins_x, bins_y) = (layout.rows() * BINS, layout.cols() * BINS);
    let mut counts = vec![0.0; bins_x * bins_y];
    for row in 0..columns.len() {
        let at = columns.row(Column::Obs, row);
        let bin = |x: f32, bins: usize| (((x + 0.7) * BINS as f32) as usize).min(bins - 1);
        counts[bin(at[0], bins_x) * bins_y + bin(at[1], bins_y)] += 1.0;
    }
    let paths = |chains: &[Vec<Vec<f32>>]| {
        chains.iter().map(|chain| chain.iter().map(|s| (s[0] as f64, s[1] as f64)).collect()).collect()
    };
    let goal = layout.goal();
    Ok(Some(MazeReport {
        rows: rows.collect(),
        occupancy: (bins_x, bins_y, counts),
        reverse: paths(&outcome.chains.reverse),
        forward: paths(&outcome.chains.forward),
        goal: (goal.0 as f64, goal.1 as f64),
        goal_radius: 0.5,
    }))
}

/// Cores, the instruction set in use, and the release of MuJoCo where the task's environment is simulated by it.
fn hardware(task: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let simulator = backcast::envs::registry::simulator(task).map_or_else(String::new, |r| format!(", MuJoCo {r}"));
    format!("{cores} cores, {:?} kernels{simulator}", backcast::nn::isa())
}
