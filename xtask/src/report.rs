//! The report of one run: what was done, what came out, and how far to believe it, in one file.
//!
//! [`html`] is a pure function of a [`RunReport`]: no script, no network, nothing to install; light and dark; readable on a
//! telephone. The same data are kept beside the page as `report.json`, from which `cargo xtask report` builds it again.

use crate::losses::{self, ExpectedReport, MetricReport};
use crate::maze::{self, Panel};
use crate::robustness;
use crate::sensitivity::{self, SensitivityReport};
use crate::svg::{Chart, Row, STYLE, Series, standalone, strip};
use anyhow::Context;
use backcast::stats::Spread;
use backcast::storage::{Local, replace};
use maud::{DOCTYPE, Markup, PreEscaped, html as markup};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Everything the report shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunReport {
    /// The experiment's name.
    pub(crate) experiment: String,
    /// The task, with its version.
    pub(crate) task: String,
    /// The exact command that repeats the run.
    pub(crate) command: String,
    /// The commit of the source.
    pub(crate) commit: String,
    /// One number for each seed.
    pub(crate) seeds: Vec<u64>,
    /// Seconds from start to end.
    pub(crate) wall_seconds: f64,
    /// The machine, in a line.
    pub(crate) hardware: String,
    /// What was compared. Imagining backwards first and forwards second gives them the colours of their figures.
    pub(crate) methods: Vec<MethodReport>,
    /// Curves over hyperparameters.
    #[serde(default)]
    pub(crate) sensitivity: Vec<SensitivityReport>,
    /// Scores others published: label, score, and a note on where it comes from.
    pub(crate) published: Vec<(String, f64, String)>,
    /// For tasks in a maze.
    pub(crate) maze: Option<MazeReport>,
    /// How the models' error grows with the length of imagination.
    pub(crate) model_error: Vec<ModelErrorSeries>,
    /// In mazes: the share of imagined states that lie in free space, in per cent, and the range over seeds.
    #[serde(default)]
    pub(crate) free_space: Vec<ModelErrorSeries>,
    /// How well the models fit.
    pub(crate) model_report: Vec<ModelFit>,
    /// What was learned from.
    pub(crate) data: DataReport,
    /// Each stage's name and seconds.
    pub(crate) stages: Vec<(String, f64)>,
    /// The whole configuration.
    pub(crate) config_toml: String,
    /// What was noticed on the way.
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
    /// Losses and whatever else algorithms measure.
    #[serde(default)]
    pub(crate) metrics: Vec<MetricReport>,
    /// Where the curves were expected, if the experiment has bands.
    #[serde(default)]
    pub(crate) expected: Option<ExpectedReport>,
}

/// One method of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MethodReport {
    pub(crate) name: String,
    /// What it does, in a sentence.
    pub(crate) description: String,
    /// The final normalised score of each seed.
    pub(crate) scores: Vec<f64>,
    /// Their interquartile mean.
    pub(crate) iqm: f64,
    /// The bootstrap interval around it, or the range of fewer than five scores.
    pub(crate) spread: Spread,
    /// Score against steps.
    pub(crate) curve: Vec<CurvePoint>,
    /// Mean value of the batch against steps.
    pub(crate) value_curve: Vec<CurvePoint>,
    /// Updates in a second of one algorithm, evaluations left out.
    #[serde(default)]
    pub(crate) updates_per_second: Option<f64>,
    /// From perturbed states, level by level.
    #[serde(default)]
    pub(crate) robustness: Vec<backcast::run::LevelSummary>,
}

/// One point of a curve over all seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CurvePoint {
    pub(crate) step: u64,
    pub(crate) mean: f64,
    pub(crate) lo: f64,
    pub(crate) hi: f64,
}

/// A maze, its data and what was imagined in it. Positions are *(x, y)* in observation coordinates: x is the row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MazeReport {
    /// The layout, `#` wall, `O` free, `G` goal. The wall of cell *(w, h)* covers *[w − 0.7, w + 0.3] × [h − 0.7, h + 0.3]*.
    pub(crate) rows: Vec<String>,
    /// `(bins_x, bins_y, counts)`: rows of the data in each bin, x first, over the whole layout
    /// *[−0.7, rows − 0.7] × [−0.7, columns − 0.7]*.
    pub(crate) occupancy: (usize, usize, Vec<f64>),
    /// Paths imagined backwards, in forward time: the last state is recorded.
    pub(crate) reverse: Vec<Vec<(f64, f64)>>,
    /// Paths imagined forwards: the first state is recorded.
    pub(crate) forward: Vec<Vec<(f64, f64)>>,
    pub(crate) goal: (f64, f64),
    pub(crate) goal_radius: f64,
}

/// The error of imagined states against the environment's, by length of imagination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModelErrorSeries {
    /// Such as `reverse`, `forward`, or `copy the state`, which is drawn as a muted reference.
    pub(crate) name: String,
    /// Horizon, median, lower and upper quartile.
    pub(crate) points: Vec<(usize, f64, f64, f64)>,
}

/// The fit of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModelFit {
    pub(crate) direction: String,
    pub(crate) epochs: usize,
    /// Mean squared error on held-out rows, for each member.
    pub(crate) holdout_mse: Vec<f64>,
    /// The members imagination draws from.
    pub(crate) elites: Vec<usize>,
    pub(crate) seconds: f64,
    /// Root mean squared error of one step on held-out rows.
    pub(crate) one_step_rmse: f64,
    /// The same for predicting that nothing changes.
    pub(crate) baseline_copy_rmse: f64,
    /// The share of the reward's variance on held-out rows that is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reward_unexplained: Option<f64>,
}

/// The dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DataReport {
    pub(crate) source: String,
    pub(crate) rows: usize,
    pub(crate) episodes: usize,
    pub(crate) mean_return: f64,
    /// The fingerprint of its rows.
    #[serde(default)]
    pub(crate) fingerprint: String,
}

/// Which runs to report on.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder of a run, which holds report.json; of several, one comparison is made
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The page; report.html in the run's folder by default, comparison.html for several
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also write each figure as a file of its own into this folder
    #[arg(long)]
    figures: Option<PathBuf>,
}

pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    let [folder] = &args.runs[..] else {
        let runs = args.runs.iter().map(|folder| Ok((folder.display().to_string(), read(folder)?)));
        let runs = runs.collect::<anyhow::Result<Vec<_>>>()?;
        let page = args.out.unwrap_or_else(|| PathBuf::from("comparison.html"));
        let text = crate::comparison::html(runs)?;
        args.runs.iter().try_for_each(|run| not_a_record(run, &page))?;
        return write(&page, &text);
    };
    let run = read(folder)?;
    println!("{}", crate::table::table(&run));
    robustness::table(&run).into_iter().chain(sensitivity::lines(&run)).for_each(|shown| println!("{shown}"));
    let page = args.out.unwrap_or_else(|| folder.join("report.html"));
    not_a_record(folder, &page)?;
    write(&page, &html(&run))?;
    if let Some(folder) = args.figures {
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let curves = sensitivity::figures(&run).into_iter().map(|f| (f.name, f.drawing));
        for (name, figure) in figures(&run).into_iter().map(|(name, f)| (name.to_owned(), f)).chain(curves) {
            let path = folder.join(format!("{name}.svg"));
            std::fs::write(&path, standalone(&figure)).with_context(|| path.display().to_string())?;
            println!("{}", path.display());
        }
    }
    Ok(())
}

/// What a run cannot be read again without.
const RECORDS: [&str; 5] = ["config.toml", "data.json", "metrics.csv", "report.json", "summary.json"];

/// Refuses to write over what the folder of `run` is read from.
pub(crate) fn not_a_record(run: &Path, out: &Path) -> anyhow::Result<()> {
    let real = |path: &Path| path.canonicalize().ok();
    let record = RECORDS
        .iter()
        .map(|name| run.join(name))
        .find(|record| real(record).is_some_and(|record| Some(record) == real(out)));
    match record {
        Some(record) => anyhow::bail!("{} is a record of the run itself; give --out another file", record.display()),
        None => Ok(()),
    }
}

fn write(page: &Path, text: &str) -> anyhow::Result<()> {
    replace(&Local, page, text.as_bytes()).with_context(|| page.display().to_string())?;
    println!("{}", page.display());
    Ok(())
}

/// The report of a run's folder.
fn read(folder: &Path) -> anyhow::Result<RunReport> {
    let from = folder.join("report.json");
    let text = std::fs::read_to_string(&from).with_context(|| from.display().to_string())?;
    backcast::json::from_str(&text).with_context(|| from.display().to_string())
}

/// Every figure by name, but for curves over hyperparameters: `scores`, `curves`, `values`, `error`, `robustness` and `recovery` where policies were perturbed, and `reverse` and `forward` for a maze.
pub(crate) fn figures(run: &RunReport) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("scores", scores(run)),
        ("curves", curves(run, "normalised score over updates", "normalised score", |a| &a.curve)),
        ("values", curves(run, "mean value over updates", "mean Q of the batch", |a| &a.value_curve)),
        ("error", error(run)),
    ];
    if !run.free_space.is_empty() {
        all.push(("inside", free_space(run)));
    }
    all.extend(robustness::figures(run));
    if let Some(maze) = &run.maze {
        all.push(("reverse", maze::panel(maze, Panel::Reverse)));
        all.push(("forward", maze::panel(maze, Panel::Forward)));
    }
    all
}

fn scores(run: &RunReport) -> String {
    let methods = run.methods.iter().enumerate().map(|(k, method)| Row {
        name: &method.name,
        dots: &method.scores,
        middle: method.iqm,
        spread: Some(method.spread),
        kind: Some(k),
    });
    let published =
        run.published.iter().map(|(name, score, _)| Row { name, dots: &[], middle: *score, spread: None, kind: None });
    let rows: Vec<Row<'_>> = methods.chain(published).collect();
    strip("final normalised score of every seed and method", "normalised score", &rows)
}

fn curves(run: &RunReport, label: &str, y: &str, of: fn(&MethodReport) -> &Vec<CurvePoint>) -> String {
    let point = |p: &CurvePoint| [p.step as f64, p.mean, p.lo, p.hi];
    let series = run.methods.iter().enumerate();
    let series = series.map(|(k, method)| Series {
        name: &method.name,
        kind: Some(k),
        points: of(method).iter().map(point).collect(),
    });
    let series = series.filter(|s| !s.points.is_empty()).collect();
    Chart { label, x: "updates", y, log: false, series, rules: vec![] }.draw()
}

fn error(run: &RunReport) -> String {
    let (label, y) = ("model error over the length of imagination", "distance to the true state");
    Chart { label, x: "imagined steps", y, log: true, series: by_direction(&run.model_error), rules: vec![] }.draw()
}

fn free_space(run: &RunReport) -> String {
    let (label, y) = ("imagined states in free space over the length of imagination", "per cent in free space");
    Chart { label, x: "imagined steps", y, log: false, series: by_direction(&run.free_space), rules: vec![] }.draw()
}

fn by_direction(series: &[ModelErrorSeries]) -> Vec<Series<'_>> {
    let series = series.iter().map(|s| Series {
        name: &s.name,
        // Backwards and forwards have the colours of their maze panels, and of the first two methods.
        kind: match s.name.to_lowercase() {
            name if name.contains("copy") => None,
            name if name.contains("reverse") => Some(0),
            _ => Some(1),
        },
        points: s.points.iter().map(|p| [p.0 as f64, p.1, p.2, p.3]).collect(),
    });
    series.collect()
}

/// The whole page.
pub(crate) fn html(run: &RunReport) -> String {
    let (drawn, curves) = (figures(run), sensitivity::figures(run));
    let kind = Spread::heading(&spreads(run));
    let figure = |name: &str, title: &str, caption: Markup| {
        let drawing = drawn.iter().find(|(n, _)| *n == name).map(|(_, d)| d.as_str());
        markup! {
            @if let Some(drawing) = drawing {
                figure { h3 { (title) } (PreEscaped(drawing)) figcaption { (caption) } }
            }
        }
    };
    let maze_caption = markup! { "The shade is where the data have been, on a logarithmic scale." };
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (run.experiment) " · Backcast" }
                style { (PreEscaped(STYLE)) (PreEscaped(PAGE)) }
            }
            body {
                main {
                    header {
                        p.kicker { "Backcast · offline reinforcement learning by imagination" }
                        h1 { (run.experiment) }
                        p.lede { (headline(run)) }
                        dl.facts { (facts(run)) }
                    }
                    section {
                        h2 { "Scores" }
                        div.pair {
                            (figure("scores", "Every seed, every method", markup! {
                                "A dot is a seed's last policy. The diamond is the interquartile mean"
                                @if spreads(run).iter().any(|s| matches!(s, Spread::Interval95(_))) { ", the bar its 95 % bootstrap interval" }
                                ". 0 is a random policy and 100 the task's reference policy."
                            }))
                            (score_table(run))
                        }
                    }
                    @if drawn.iter().any(|(name, _)| *name == "robustness") {
                        section {
                            h2 { "Pushed" }
                            div.pair {
                                (figure("robustness", "Score by push", markup! {
                                    "The state of the environment is perturbed in the middle of each episode, in the same way for every method. "
                                    "Interquartile mean over seeds and its " (kind) "."
                                }))
                                (figure("recovery", "Steps outside after a push", markup! {
                                    "Until the state is again as near to a recorded one as recorded ones are to each other."
                                }))
                            }
                            (robustness::tables(run))
                        }
                    }
                    @if !curves.is_empty() {
                        section {
                            h2 { "What a hyperparameter does" }
                            div.pair { @for curve in &curves {
                                figure { h3 { (curve.title) } (PreEscaped(&curve.drawing)) }
                            } }
                            p.note { "Interquartile mean over seeds and its " (kind) "; values stand at equal distances." }
                        }
                    }
                    @if run.maze.is_some() {
                        section {
                            h2 { "What was imagined" }
                            div.pair {
                                (figure("reverse", "Backwards: roads into the data", maze_caption.clone()))
                                (figure("forward", "Forwards: roads out of the data", maze_caption))
                            }
                        }
                    }
                    section {
                        h2 { "Learning" }
                        @for warning in &run.warnings { p.warning { strong { "Warning. " } (warning) } }
                        div.pair {
                            (figure("curves", "Score", markup! { "Mean over seeds; the band reaches from the lowest seed to the highest." }))
                            (figure("values", "Estimated value", markup! {
                                "A value that climbs past what the task can pay is an algorithm believing its own inventions."
                            }))
                        }
                        (losses::metrics(run))
                    }
                    @if !run.model_error.is_empty() || !run.model_report.is_empty() {
                        section {
                            h2 { "The models" }
                            div.pair {
                                (figure("error", "Error against the length of imagination", markup! {
                                    "Median and quartiles on held-out data. A model is of use while it stays below “copy "
                                    "the state”, the guess that nothing changes."
                                }))
                                (figure("inside", "Where something can be", markup! {
                                    "The share of imagined states that do not stand in a wall, mean and range over seeds; "
                                    "at no steps, of recorded ones."
                                }))
                            }
                            (fits(run))
                        }
                    }
                    section {
                        h2 { "The run" }
                        div.pair { (data(run)) (stages(run)) }
                        h3 { "To repeat it" }
                        pre.command { code { (run.command) } }
                        details { summary { "The whole configuration" } pre { code { (run.config_toml) } } }
                    }
                }
            }
        }
    };
    page.into_string()
}

fn spreads(run: &RunReport) -> Vec<Spread> {
    run.methods.iter().map(|method| method.spread).collect()
}

fn best(run: &RunReport) -> Option<&MethodReport> {
    // The first of equals.
    run.methods.iter().rev().max_by(|a, b| a.iqm.total_cmp(&b.iqm))
}

fn headline(run: &RunReport) -> Markup {
    let seeds = run.seeds.len();
    markup! {
        @if let Some(method) = best(run) {
            strong { (method.name) } " reaches an interquartile mean of " strong { (decimal(method.iqm)) }
            " on " (run.task) ", " (method.spread.name()) " " (method.spread) ", over " (seeds)
            @if seeds == 1 { " seed." } @else { " seeds." }
        }
        @if seeds < 5 {
            " Fewer than five seeds are too few for an interval: every one of them is a dot."
        }
    }
}

fn facts(run: &RunReport) -> Markup {
    let seeds: Vec<String> = run.seeds.iter().map(u64::to_string).collect();
    let facts = [
        ("Task", run.task.clone()),
        ("Seeds", seeds.join(", ")),
        ("Time", clock(run.wall_seconds)),
        ("Machine", run.hardware.clone()),
        ("Source", run.commit.clone()),
    ];
    markup! { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } }
}

fn score_table(run: &RunReport) -> Markup {
    let top = best(run).map(|a| a.iqm);
    markup! {
        div.scroll { table {
            thead { tr { th { "Method" } th.n { "IQM" } th.n { (Spread::heading(&spreads(run))) } } }
            tbody {
                @for (k, method) in run.methods.iter().enumerate() {
                    tr.best[Some(method.iqm) == top] {
                        td { span.chip style=(format!("background:var(--c{})", k % 6)) {} b { (method.name) }
                            div.note { (method.description)
                                @if let Some(speed) = method.updates_per_second { ", " (grouped(speed.round() as usize)) " updates/s" }
                            }
                            div.note.seeds { @for score in &method.scores { span { (decimal(*score)) } " " } }
                        }
                        td.n { b { (decimal(method.iqm)) } }
                        td.n { (method.spread.among(&spreads(run))) }
                    }
                }
                @for (label, score, note) in &run.published {
                    tr.published { td { (label) div.note { (note) } } td.n { (decimal(*score)) } td.n { "" } }
                }
            }
        } }
    }
}

fn fits(run: &RunReport) -> Markup {
    markup! {
        div.scroll { table {
            thead { tr { th { "Model" } th.n { "One step" } th.n { "Copying" } th.n { "Reward left" } th.n { "Epochs" } th.n { "Time" } } }
            tbody { @for fit in &run.model_report {
                tr.joined {
                    td { b { (fit.direction) } }
                    td.n { (significant(fit.one_step_rmse)) }
                    td.n { (significant(fit.baseline_copy_rmse)) }
                    td.n { (fit.reward_unexplained.map_or("–".into(), |share| format!("{:.1} %", 100.0 * share))) }
                    td.n { (fit.epochs) }
                    td.n { (clock(fit.seconds)) }
                }
                tr { td.note colspan="6" { "Held-out MSE, elites in bold: "
                    @for (member, mse) in fit.holdout_mse.iter().enumerate() {
                        span.member.elite[fit.elites.contains(&member)] { (format!("{mse:.1e}").replace('-', "−")) } " "
                    }
                } }
            } }
        } p.note { "One step and copying: root mean squared error of the predicted state. Reward left: the share of its \
            variance that is not explained. All on held-out rows." } }
    }
}

fn data(run: &RunReport) -> Markup {
    let data = &run.data;
    markup! {
        div { h3 { "Data" } table.plain { tbody {
            tr { td { "Source" } td.n { (data.source) } }
            tr { td { "Transitions" } td.n { (grouped(data.rows)) } }
            tr { td { "Episodes" } td.n { (grouped(data.episodes)) } }
            tr { td { "Mean return" } td.n { (format!("{:.2}", data.mean_return)) } }
        } } }
    }
}

fn stages(run: &RunReport) -> Markup {
    let longest = run.stages.iter().map(|s| s.1).fold(1e-9, f64::max);
    markup! {
        div { h3 { "Time" } table.plain { tbody { @for (name, seconds) in &run.stages { tr {
            td { (name) div.bar style=(format!("width:{:.1}%", 100.0 * seconds / longest)) {} }
            td.n { (clock(*seconds)) }
        } } } } }
    }
}

/// Seconds as a person would say them.
pub(crate) fn clock(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// One decimal, with a real minus sign.
pub(crate) fn decimal(x: f64) -> String {
    format!("{x:.1}").replace('-', "−")
}

/// Three significant digits.
fn significant(x: f64) -> String {
    let digits = (2 - x.abs().max(1e-300).log10().floor() as i32).clamp(0, 6) as usize;
    format!("{x:.digits$}")
}

/// Thousands set apart by a thin space.
pub(crate) fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(c);
    }
    out
}

pub(crate) const PAGE: &str = "
*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 Charter,'Bitstream Charter','Sitka Text',Cambria,Georgia,serif}
main{max-width:62rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1,h2,h3,.kicker,table,dl,figcaption,summary,.note{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',sans-serif}
.kicker{margin:0;color:var(--soft);font-size:.8rem;letter-spacing:.02em}
h1{margin:.2rem 0 .6rem;font-size:clamp(1.6rem,5vw,2.4rem);line-height:1.15;letter-spacing:-.02em;overflow-wrap:anywhere}
h2{margin:3rem 0 1rem;padding-top:.9rem;border-top:1px solid var(--line);font-size:1.25rem;letter-spacing:-.01em}
h3{margin:0 0 .6rem;font-size:.95rem}
.lede{max-width:44rem;margin:0 0 1.4rem;font-size:1.15rem}
.facts{display:flex;flex-wrap:wrap;gap:.6rem 2rem;margin:0;font-size:.85rem}
.facts dt{color:var(--soft);font-size:.75rem}.facts dd{margin:0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1.25rem;align-items:start}
.pair>*{min-width:0}
figure{margin:0;padding:1rem;background:var(--card);border:1px solid var(--line);border-radius:8px}
figure svg{display:block;width:100%;height:auto}
figcaption,.note{color:var(--soft);font-size:.8rem;line-height:1.4}figcaption{margin-top:.7rem}
.scroll{overflow-x:auto}
table{width:100%;border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}
th{color:var(--soft);font-size:.75rem;font-weight:500;text-align:left;vertical-align:bottom}
th,td{padding:.5rem .75rem .5rem 0;border-bottom:1px solid var(--line)}
td{vertical-align:top}th:last-child,td:last-child{padding-right:0}
.n{text-align:right;white-space:nowrap}.plain td:first-child{white-space:nowrap}.plain td.n{white-space:normal;overflow-wrap:anywhere}
.warning{padding:.6rem .9rem;border-left:4px solid var(--c1);background:var(--card);font-size:.95rem}
.published td{color:var(--soft)}.best td.n{color:var(--ink)}
.chip{display:inline-block;width:.65em;height:.65em;margin-right:.45em;border-radius:50%}
.seeds span,.member{margin-right:.5em;white-space:nowrap}.joined td{border-bottom:0;padding-bottom:0}.joined+tr td{padding-top:.1rem}.elite{color:var(--ink);font-weight:650}
.bar{height:4px;margin-top:.3rem;background:var(--heat);border-radius:2px;opacity:.6;min-width:2px}
pre{margin:0;padding:.9rem 1rem;overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px;font:.82rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.command{white-space:pre-wrap;overflow-wrap:anywhere}section>h3{margin-top:1.6rem}details{margin-top:1rem}summary{cursor:pointer;font-size:.9rem;margin-bottom:.6rem}
@media print{body{background:#fff}figure,pre{break-inside:avoid}}
";

#[cfg(test)]
#[path = "report_tests.rs"]
pub(crate) mod tests;
