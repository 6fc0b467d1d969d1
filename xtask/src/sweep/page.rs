//! The summary of a sweep as one page: every point, and what each hyperparameter does.

use super::summary::{MethodScores, PointSummary, Summary};
use crate::report::{PAGE, decimal};
use crate::svg::{Row, STYLE, strip};
use backcast::stats::{Spread, interquartile_mean};
use maud::{DOCTYPE, Markup, PreEscaped, html as markup};
use std::collections::BTreeSet;

/// The most values of a hyperparameter that each have a row of their own.
const ROWS: usize = 8;

/// The whole page.
pub(crate) fn html(summary: &Summary) -> String {
    let keys: BTreeSet<&String> = summary.points.iter().flat_map(|point| point.settings.keys()).collect();
    let runs: usize = summary.points.iter().map(|point| point.seeds.len()).sum();
    let effects: Vec<(&String, String)> =
        keys.into_iter().filter_map(|key| Some((key, effect(summary, key)?))).collect();
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (summary.sweep) " · Backcast" }
                style { (PreEscaped(STYLE)) (PreEscaped(PAGE)) }
            }
            body { main {
                header {
                    p.kicker { "Backcast · offline reinforcement learning by imagination" }
                    h1 { (summary.sweep) }
                    p.lede { (summary.about) }
                    dl.facts {
                        div { dt { "Task" } dd { (summary.task) } }
                        div { dt { "Points" } dd { (summary.points.len()) } }
                        div { dt { "Runs at their last rung" } dd { (runs) } }
                    }
                }
                @if !effects.is_empty() { section {
                    h2 { "What each hyperparameter does" }
                    div.pair { @for (key, drawing) in &effects {
                        figure { h3 { code { (key) } } (PreEscaped(drawing)) figcaption {
                            "A dot is a run, whatever else was varied; the diamond is the interquartile mean."
                            @if !summary.rungs.is_empty() { " Only points that came to the last rung." }
                        } }
                    } }
                } }
                section { h2 { "Every point" } (table(summary)) }
            } }
        }
    };
    page.into_string()
}

/// Points at the last rung that any came to.
fn finalists(summary: &Summary) -> impl Iterator<Item = &PointSummary> {
    let last = summary.points.iter().map(|point| point.rung).max().unwrap_or(0);
    summary.points.iter().filter(move |point| point.rung == last)
}

/// Scores by the values of one hyperparameter; of many numbers, by quarters of them.
fn effect(summary: &Summary, key: &str) -> Option<String> {
    let mut groups: Vec<(String, Option<f64>, Vec<f64>)> = Vec::new();
    for point in finalists(summary) {
        let value = point.settings.get(key)?;
        let name = value.to_string();
        let number = value.as_float().or_else(|| value.as_integer().map(|n| n as f64));
        let scores = point.methods.iter().flat_map(|method| method.scores.iter().copied());
        match groups.iter_mut().find(|(other, ..)| *other == name) {
            Some((.., all)) => all.extend(scores),
            None => groups.push((name, number, scores.collect())),
        }
    }
    if groups.len() < 2 {
        return None;
    }
    groups.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap_or(std::cmp::Ordering::Equal));
    if groups.len() > ROWS && groups.iter().all(|(_, number, _)| number.is_some()) {
        groups = groups.chunks(groups.len().div_ceil(4)).map(joined).collect();
    }
    let rows: Vec<Row<'_>> = groups
        .iter()
        .map(|(name, _, scores)| Row {
            name,
            dots: scores,
            middle: interquartile_mean(scores),
            spread: None,
            kind: Some(0),
        })
        .collect();
    Some(strip(&format!("score by {key}"), "score", &rows))
}

/// Neighbouring values as one group.
fn joined(groups: &[(String, Option<f64>, Vec<f64>)]) -> (String, Option<f64>, Vec<f64>) {
    let (first, last) = (&groups[0], &groups[groups.len() - 1]);
    let scores = groups.iter().flat_map(|(.., scores)| scores.iter().copied()).collect();
    (format!("{} to {}", first.0, last.0), first.1, scores)
}

fn table(summary: &Summary) -> Markup {
    let mut rows: Vec<(&PointSummary, &MethodScores)> =
        summary.points.iter().flat_map(|point| point.methods.iter().map(move |method| (point, method))).collect();
    rows.sort_by(|(p, a), (q, b)| q.rung.cmp(&p.rung).then(b.iqm.total_cmp(&a.iqm)).then(p.point.cmp(&q.point)));
    let (halved, spreads) = (!summary.rungs.is_empty(), summary.spreads());
    let verdict = |point: usize| {
        let last = summary.rungs.iter().rev().flatten().find(|verdict| verdict.point == point);
        last.and_then(|verdict| verdict.value).map_or("–".into(), |value| format!("{value:.3}"))
    };
    markup! {
        div.scroll { table {
            thead { tr {
                th { "Point" } th.n { "IQM" } th.n { (Spread::heading(&spreads)) }
                @if halved { th.n { "Rung" } th.n { "Criterion" } }
            } }
            tbody { @for (point, method) in rows { tr {
                td { b { (point.point) } " " (method.name)
                    div.note { @for (key, value) in &point.settings { code { (key) " = " (value) } br; } }
                    div.note.seeds { @for score in &method.scores { span { (decimal(*score)) } " " } }
                }
                td.n { b { (decimal(method.iqm)) } }
                td.n { (method.spread.among(&spreads)) }
                @if halved { td.n { (point.rung) } td.n { (verdict(point.point)) } }
            } } }
        } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(values: &[f64]) -> Summary {
        let point = |(point, value): (usize, &f64)| PointSummary {
            point,
            settings: [("a.rate".to_owned(), toml::Value::from(*value))].into(),
            rung: 0,
            seeds: vec![0],
            methods: vec![MethodScores {
                name: "method".into(),
                scores: vec![*value],
                iqm: *value,
                spread: Spread::Range([*value; 2]),
            }],
        };
        let points = values.iter().enumerate().map(point).collect();
        Summary { sweep: "x".into(), about: "y".into(), task: "dmsd".into(), rungs: vec![], points }
    }

    #[test]
    fn each_hyperparameter_has_a_figure_and_many_values_are_joined() {
        let page = html(&summary(&[3.0, 1.0, 2.0]));
        assert!(page.contains("a.rate") && page.contains("viewport") && page.matches("<svg").count() == 1);
        let few = effect(&summary(&[3.0, 1.0, 2.0]), "a.rate").unwrap();
        assert!(few.find(">1.0<").unwrap() < few.find(">3.0<").unwrap(), "{few}");
        let many: Vec<f64> = (0..20).map(f64::from).collect();
        let many = effect(&summary(&many), "a.rate").unwrap();
        assert!(many.contains("0.0 to 4.0") && many.contains("15.0 to 19.0"), "{many}");
        assert_eq!(effect(&summary(&[1.0]), "a.rate"), None);
    }
}
