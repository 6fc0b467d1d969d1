//! Several runs on one page: how their methods do on each task and on all of them, and how sure that is.

use crate::report::{PAGE, RunReport, clock, decimal, grouped};
use crate::svg::{Chart, Row, STYLE, Series, strip};
use anyhow::Context;
use backcast::core::Key;
use backcast::stats::{Bootstrap, Metric, ProfilePoint, Scores, Spread, probability_of_improvement, profile};
use maud::{DOCTYPE, Markup, PreEscaped, html as markup};
use std::collections::HashSet;

/// A method, and what it scored: nothing on tasks where it was not tried.
struct Method {
    name: String,
    /// Task by task, the score of each run.
    scores: Vec<Option<Vec<f64>>>,
}

impl Method {
    /// Its scores, if it was tried everywhere.
    fn everywhere(&self) -> Option<Scores> {
        Scores::new(&self.scores.iter().cloned().collect::<Option<Vec<_>>>()?).ok()
    }
}

/// A run, and what its methods are called where another's have the same names.
struct Labelled {
    folder: String,
    label: String,
    run: RunReport,
}

impl Labelled {
    /// Runs by the names of their experiments; by their folders too, where one experiment is there with several settings.
    fn all(runs: Vec<(String, RunReport)>) -> Vec<Self> {
        let ambiguous: Vec<bool> = runs
            .iter()
            .map(|(_, run)| runs.iter().any(|(_, other)| run.experiment == other.experiment && differ(run, other)))
            .collect();
        let label = |((folder, run), ambiguous): ((String, RunReport), bool)| Self {
            folder: folder.clone(),
            label: if ambiguous { format!("{} ({folder})", run.experiment) } else { run.experiment.clone() },
            run,
        };
        runs.into_iter().zip(ambiguous).map(label).collect()
    }

    /// What a method is called: its own name, with the run's before it if another run has tried something else by that name on
    /// the same task.
    fn method(&self, method: &str, all: &[Self]) -> String {
        let has = |other: &&Self| other.run.methods.iter().any(|own| own.name == method);
        match all.iter().filter(has).any(|other| differ(&self.run, &other.run)) {
            true => format!("{}: {method}", self.label),
            false => method.to_owned(),
        }
    }
}

/// Whether two runs of one task have other settings than their seeds, or have learnt from other rows.
fn differ(a: &RunReport, b: &RunReport) -> bool {
    let settings = |run: &RunReport| -> Vec<String> {
        run.config_toml.lines().filter(|line| !line.starts_with("seeds")).map(str::to_owned).collect()
    };
    let other = a.experiment != b.experiment || a.data.fingerprint != b.data.fingerprint || settings(a) != settings(b);
    a.task == b.task && other
}

/// Tasks in the order of their runs, and methods: what has one name is one method, on whatever tasks and by whatever seeds.
fn methods(runs: &[Labelled]) -> anyhow::Result<(Vec<String>, Vec<Method>)> {
    let mut tasks: Vec<String> = Vec::new();
    let mut methods: Vec<Method> = Vec::new();
    let mut counted: HashSet<(usize, usize, u64)> = HashSet::new();
    for Labelled { run, .. } in runs {
        if !tasks.contains(&run.task) {
            tasks.push(run.task.clone());
        }
    }
    for own in runs {
        let task = tasks.iter().position(|task| *task == own.run.task).expect("all are there");
        for method in &own.run.methods {
            let name = own.method(&method.name, runs);
            let place = methods.iter().position(|method| method.name == name).unwrap_or_else(|| {
                methods.push(Method { name: name.clone(), scores: vec![None; tasks.len()] });
                methods.len() - 1
            });
            let twice = own.run.seeds.iter().find(|&&seed| !counted.insert((place, task, seed)));
            if let Some(seed) = twice {
                anyhow::bail!("seed {seed} of {name} is in {} and in another run; give each run once", own.folder);
            }
            methods[place].scores[task].get_or_insert_default().extend(&method.scores);
        }
    }
    Ok((tasks, methods))
}

/// The interquartile mean, and how far the runs lie apart.
fn iqm(scores: &Scores) -> (f64, Spread) {
    (Metric::Iqm.of(scores), Spread::of(scores, Metric::Iqm, Key::new(0).name("comparison")))
}

/// Whether every method has runs enough for intervals.
fn enough(whole: &[(usize, &Method, Scores)]) -> bool {
    whole.iter().all(|(_, _, scores)| Spread::enough(scores))
}

/// The whole page.
pub(crate) fn html(runs: Vec<(String, RunReport)>) -> anyhow::Result<String> {
    let runs = Labelled::all(runs);
    let (tasks, methods) = methods(&runs)?;
    let whole: Vec<(usize, &Method, Scores)> =
        methods.iter().enumerate().filter_map(|(k, m)| Some((k, m, m.everywhere()?))).collect();
    let sure = enough(&whole);
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Comparison · Backcast" }
                style { (PreEscaped(STYLE)) (PreEscaped(PAGE)) }
            }
            body { main {
                header {
                    p.kicker { "Backcast · offline reinforcement learning by imagination" }
                    h1 { (methods.len()) @if methods.len() == 1 { " method, " } @else { " methods, " } (tasks.len()) @if tasks.len() == 1 { " task" } @else { " tasks" } }
                }
                section {
                    h2 { "Over all tasks" }
                    @if whole.is_empty() {
                        p { "No method was tried on every task." }
                    } @else {
                        div.pair {
                            figure { h3 { "Interquartile mean" } (PreEscaped(overall(&whole))) figcaption {
                                "Every dot is a run's score, the diamond the interquartile mean over all runs and tasks"
                                @if sure { ", the bar its 95 % stratified bootstrap interval" }
                                ". Tasks weigh alike only where their scores are normalised."
                            } }
                            figure { h3 { "Performance profiles" } (PreEscaped(profiles(&whole))) figcaption {
                                "The share of runs above each score"
                                @if sure { ", with 95 % intervals" }
                                ". A curve above another everywhere is a better method."
                            } }
                        }
                        @if whole.len() > 1 { (improvement(&whole)?) }
                    }
                }
                section { h2 { "Task by task" } (by_task(&tasks, &methods)?) }
                section {
                    h2 { "Learning" }
                    div.pair { @for task in &tasks {
                        figure { h3 { (task) } (PreEscaped(curves(task, &runs, &methods))) figcaption {
                            "Mean over seeds; the band reaches from the lowest seed to the highest."
                        } }
                    } }
                }
                section { h2 { "The runs" } @for own in &runs { (origin(own)) } }
            } }
        }
    };
    Ok(page.into_string())
}

fn overall(whole: &[(usize, &Method, Scores)]) -> String {
    let dots: Vec<Vec<f64>> =
        whole.iter().map(|(_, m, _)| m.scores.iter().flatten().flatten().copied().collect()).collect();
    let rows: Vec<Row<'_>> = whole
        .iter()
        .zip(&dots)
        .map(|((kind, method, scores), dots)| {
            let (middle, spread) = iqm(scores);
            Row { name: &method.name, dots, middle, spread: Some(spread), kind: Some(*kind) }
        })
        .collect();
    strip("interquartile mean of every method over all tasks", "score", &rows)
}

fn profiles(whole: &[(usize, &Method, Scores)]) -> String {
    let all = || whole.iter().flat_map(|(_, m, _)| m.scores.iter().flatten().flatten().copied());
    let (low, high) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let thresholds: Vec<f64> = (0..=40).map(|i| low + (high - low) * i as f64 / 40.0).collect();
    let (sure, how) = (enough(whole), Bootstrap { replications: 1000, ..Bootstrap::default() });
    let series = whole.iter().map(|(kind, method, scores)| {
        let points = profile(scores, &thresholds, how, Key::new(0).name("profile"));
        let point = |p: ProfilePoint| match sure {
            true => [p.threshold, p.fraction.estimate, p.fraction.low, p.fraction.high],
            false => [p.threshold, p.fraction.estimate, p.fraction.estimate, p.fraction.estimate],
        };
        Series { name: &method.name, kind: Some(*kind), points: points.into_iter().map(point).collect() }
    });
    let (label, y) = ("performance profiles", "share of runs above");
    Chart { label, x: "score", y, log: false, series: series.collect(), rules: vec![] }.draw()
}

/// Row against column.
fn improvement(whole: &[(usize, &Method, Scores)]) -> anyhow::Result<Markup> {
    let sure = enough(whole);
    let mut rows = Vec::new();
    for (_, method, x) in whole {
        let mut cells = Vec::new();
        for (_, other, y) in whole {
            let rate = probability_of_improvement(x, y, Bootstrap::default(), Key::new(0).name("improvement"))?;
            let clear = sure && (rate.low > 0.5 || rate.high < 0.5);
            cells.push((method.name != other.name).then_some((rate, clear)));
        }
        rows.push((&method.name, cells));
    }
    Ok(markup! {
        h3 { "Probability of improvement" }
        div.scroll { table {
            thead { tr { th { "A run of … beats one of" } @for (_, other, _) in whole { th.n { (other.name) } } } }
            tbody { @for (name, cells) in rows { tr {
                td { b { (name) } }
                @for cell in cells { td.n {
                    @if let Some((rate, clear)) = cell {
                        @if clear { b { (format!("{:.2}", rate.estimate)) } } @else { (format!("{:.2}", rate.estimate)) }
                        @if sure { div.note { (format!("{:.2} to {:.2}", rate.low, rate.high)) } }
                    }
                } }
            } } }
        } }
        p.note { "Averaged over tasks" @if sure { ", with 95 % intervals; bold where the interval does not contain ½" } "." }
    })
}

fn by_task(tasks: &[String], methods: &[Method]) -> anyhow::Result<Markup> {
    let (mut rows, mut spreads) = (Vec::new(), Vec::new());
    for (k, method) in methods.iter().enumerate() {
        let mut cells = Vec::new();
        for (task, scores) in tasks.iter().zip(&method.scores) {
            let of = |scores: &Vec<f64>| Scores::one_task(scores).with_context(|| format!("{} on {task}", method.name));
            let value = scores.as_ref().map(of).transpose()?.map(|table| (iqm(&table), table.runs()));
            spreads.extend(value.map(|((_, spread), _)| spread));
            cells.push(value);
        }
        rows.push((k, method, cells));
    }
    Ok(markup! {
        div.scroll { table {
            thead { tr { th { "Method" } @for task in tasks { th.n { (task) } } } }
            tbody { @for (k, method, cells) in rows { tr {
                td { span.chip style=(format!("background:var(--c{})", k % 6)) {} b { (method.name) } }
                @for cell in cells { td.n { @if let Some(((middle, spread), runs)) = cell {
                    b { (decimal(middle)) }
                    div.note { (spread.among(&spreads)) ", " (runs) @if runs == 1 { " run" } @else { " runs" } }
                } @else { "–" } } }
            } } }
        } }
        p.note { "Interquartile mean over runs and its " (Spread::heading(&spreads)) "." }
    })
}

fn curves(task: &str, runs: &[Labelled], methods: &[Method]) -> String {
    let of_task = runs.iter().filter(|own| own.run.task == task);
    let drawn = of_task.flat_map(|own| own.run.methods.iter().map(move |method| (own, method)));
    let series = drawn.filter(|(_, method)| !method.curve.is_empty()).map(|(own, method)| {
        let name = own.method(&method.name, runs);
        let kind = methods.iter().position(|method| method.name == name).expect("every name has been counted");
        let points = method.curve.iter().map(|p| [p.step as f64, p.mean, p.lo, p.hi]).collect();
        Series { name: &methods[kind].name, kind: Some(kind), points }
    });
    let label = format!("score over updates, {task}");
    Chart { label: &label, x: "updates", y: "score", log: false, series: series.collect(), rules: vec![] }.draw()
}

fn origin(Labelled { label, run, .. }: &Labelled) -> Markup {
    let facts = [
        ("Task", run.task.clone()),
        ("Seeds", run.seeds.len().to_string()),
        ("Time", clock(run.wall_seconds)),
        ("Machine", run.hardware.clone()),
        ("Source", run.commit.clone()),
    ];
    let speed = |method: &crate::report::MethodReport| {
        method.updates_per_second.map(|speed| format!("{} {}/s", method.name, grouped(speed.round() as usize)))
    };
    let speeds: Vec<String> = run.methods.iter().filter_map(speed).collect();
    markup! {
        h3 { (label) }
        dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } }
        @if !speeds.is_empty() { p.note { "Updates: " (speeds.join(", ")) } }
        @for warning in &run.warnings { p.warning { strong { "Warning. " } (warning) } }
        pre.command { code { (run.command) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{DataReport, tests::made_up};

    #[test]
    fn methods_of_one_name_are_one_method_unless_they_stand_beside_each_other() {
        let all = |runs: &[&RunReport]| {
            let named = runs.iter().enumerate().map(|(i, run)| (format!("runs/{i}"), (*run).clone())).collect();
            methods(&Labelled::all(named)).unwrap()
        };
        let (a, mut b) = (made_up(), made_up());
        b.task = "dmsd".into();
        let (tasks, found) = all(&[&a, &b]);
        assert_eq!((tasks.len(), found.len()), (2, a.methods.len()));
        assert!(found.iter().all(|method| method.everywhere().is_some()));
        b.methods.truncate(1);
        let (_, found) = all(&[&a, &b]);
        assert_eq!(found.iter().filter(|method| method.everywhere().is_some()).count(), 1);

        // Twice on one task with the same settings: more seeds of one method, and none of them twice.
        b.task = a.task.clone();
        let named = [("runs/0".to_owned(), a.clone()), ("runs/1".to_owned(), b.clone())];
        let error = methods(&Labelled::all(named.into())).err().expect("the same seeds").to_string();
        assert!(error.contains("seed 0 of ") && error.contains("runs/1"), "{error}");
        b.seeds = vec![5, 6, 7, 8, 9];
        let (_, found) = all(&[&a, &b]);
        assert_eq!(found.len(), a.methods.len());
        assert_eq!(found[0].scores[0].as_ref().unwrap().len(), 2 * a.methods[0].scores.len());
        // From other rows: two methods, whatever the settings.
        let elsewhere = RunReport { data: DataReport { fingerprint: "f".into(), ..b.data.clone() }, ..b.clone() };
        assert_eq!(all(&[&a, &elsewhere]).1.len(), a.methods.len() + 1);
        // With others: two methods, which the folder tells apart if the experiment does not.
        b.config_toml.push_str("another = 1\n");
        let (_, found) = all(&[&a, &b]);
        assert_eq!(found.len(), a.methods.len() + 1);
        assert!(found.iter().any(|method| method.name == format!("{} (runs/1): {}", a.experiment, a.methods[0].name)));
        b.experiment = "another".into();
        let (tasks, found) = all(&[&a, &b]);
        assert_eq!((tasks.len(), found.len()), (1, a.methods.len() + 1));
        assert!(found.iter().any(|method| method.name == format!("another: {}", a.methods[0].name)));
    }

    #[test]
    fn fewer_than_five_runs_have_no_interval_anywhere() {
        let (five, mut few) = (made_up(), made_up());
        let page = |run: &RunReport| html(vec![("a".into(), run.clone())]).unwrap();
        assert!(page(&five).contains("95 %"));
        few.methods.iter_mut().for_each(|method| method.scores.truncate(4));
        let page = page(&few);
        assert!(!page.contains("95 %") && page.contains("its range"), "{page}");
    }

    #[test]
    fn the_page_has_everything_and_needs_nothing() {
        let (a, mut b) = (made_up(), made_up());
        b.task = "dmsd".into();
        b.commit = "0123456789ab".into();
        let page = html(vec![("a".into(), a.clone()), ("b".into(), b)]).unwrap();
        for part in [
            "Performance profiles",
            "Probability of improvement",
            "dmsd",
            "0123456789ab",
            "updates",
            "viewport",
            &a.command,
            "Warning.",
        ] {
            assert!(page.contains(part), "{part} is missing");
        }
        assert!(!page.contains("<script"));
        // The only address is the name of the language of drawings.
        assert_eq!(page.matches("http").count(), page.matches("http://www.w3.org/2000/svg").count());
        assert_eq!(page.matches("<svg").count(), 4);
    }
}
