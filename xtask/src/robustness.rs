//! What a report says of policies that were perturbed: figures and tables.

use crate::report::{MethodReport, RunReport, decimal};
use crate::svg::{Rungs, around, ladder};
use backcast::{envs::push::Level, run::LevelSummary, stats::Spread};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use maud::{Markup, html as markup};

/// The levels that were measured.
fn levels(run: &RunReport) -> Vec<Level> {
    run.methods.first().map_or(vec![], |method| method.robustness.iter().map(|l| l.level).collect())
}

fn at(method: &MethodReport, level: Level) -> Option<&LevelSummary> {
    method.robustness.iter().find(|l| l.level == level)
}

/// Score against push level, and steps outside the support; nothing if nothing was measured.
pub(crate) fn figures(run: &RunReport) -> Vec<(&'static str, String)> {
    let draw = |label, y, levels: &[Level], of: fn(&LevelSummary) -> (f64, Spread)| {
        let names: Vec<&str> = levels.iter().map(|l| l.name()).collect();
        let point = |l: &LevelSummary| {
            let (middle, spread) = of(l);
            around(middle, spread)
        };
        let points = |method: &MethodReport| levels.iter().map(|&level| at(method, level).map(point)).collect();
        let lines: Vec<Rungs<'_>> = (run.methods.iter().enumerate())
            .map(|(kind, method)| Rungs { name: &method.name, kind, points: points(method) })
            .collect();
        ladder(label, "push", y, &names, &lines)
    };
    let (all, mut figures) = (levels(run), Vec::new());
    if !all.is_empty() {
        let scores = draw("score from perturbed states by push level", "score", &all, |l| (l.iqm, l.spread));
        figures.push(("robustness", scores));
    }
    let perturbed: Vec<Level> = all.into_iter().filter(|&l| l != Level::None).collect();
    if !perturbed.is_empty() {
        let label = "steps outside the dataset's support after a push";
        figures.push(("recovery", draw(label, "steps outside", &perturbed, |l| (l.away_iqm, l.away_spread))));
    }
    figures
}

fn per_cent(part: usize, whole: usize) -> String {
    if whole == 0 { "–".into() } else { format!("{:.0} %", 100.0 * part as f64 / whole as f64) }
}

/// The median of the steps until a perturbed state is back; beyond what was watched, that is all that is known.
fn median(l: &LevelSummary) -> String {
    match (l.median, l.out) {
        (Some(steps), _) => format!("{steps:.0}"),
        (None, 0) => "–".into(),
        (None, _) => "never".into(),
    }
}

/// The tables of the page.
pub(crate) fn tables(run: &RunReport) -> Markup {
    let all = levels(run);
    let first = run.methods.first().and_then(|method| method.robustness.first());
    let kind = first.map_or("range", |l| l.spread.name());
    let perturbed = || all.iter().filter(|&&l| l != Level::None);
    let window = run.methods.first().and_then(|method| method.robustness.first()).map_or(0, |l| l.window);
    markup! {
        h3 { "Score by level, and its " (kind) }
        div.scroll { table {
            thead { tr { th { "Method" } @for level in &all { th.n { (level.name()) } } } }
            tbody { @for (k, method) in run.methods.iter().enumerate() { tr {
                td { span.chip style=(format!("background:var(--c{})", k % 6)) {} b { (method.name) } }
                @for level in &all { td.n { @if let Some(l) = at(method, *level) {
                    b { (decimal(l.iqm)) } div.note { (l.spread) }
                } } }
            } } }
        } }
        h3 { "Coming back" }
        div.scroll { table {
            thead { tr { th { "Method" } th { "Push" } th.n { "put outside" } th.n { "of those back" } th.n { "median steps" } th.n { "steps outside" } th.n { "states outside" } } }
            tbody { @for method in &run.methods { @for level in perturbed() { @if let Some(l) = at(method, *level) { tr {
                td { (method.name) }
                td { (level.name()) }
                td.n { (per_cent(l.out, l.pushes)) }
                td.n { (per_cent(l.back, l.out)) }
                td.n { (median(l)) }
                td.n { (decimal(l.away_iqm)) div.note { (l.away_spread) } }
                td.n { (per_cent((1e6 * l.outside) as usize, 1_000_000)) }
            } } } } }
        } }
        p.note {
            "Put outside: pushes after which the state lies outside the dataset’s support. Median steps: until those are back, by "
            "Kaplan and Meier’s estimate; “never” if more than half are not for as long as they are watched. Steps outside: the mean over all "
            "pushes, at most " (window) " each, as an interquartile mean over seeds with its " (kind) ". States outside: of all that were visited."
        }
    }
}

/// For the terminal; nothing if nothing was measured.
pub(crate) fn table(run: &RunReport) -> Option<String> {
    let all = levels(run);
    if all.is_empty() {
        return None;
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(std::iter::once("pushed").chain(all.iter().map(|l| l.name())));
    for method in &run.methods {
        let cells = all.iter().map(|&level| {
            let text = at(method, level).map_or(String::new(), |l| match l.pushes {
                0 => format!("{:.1}", l.iqm),
                _ => format!("{:.1} ({:.1} steps outside)", l.iqm, l.away_iqm),
            });
            Cell::new(text).set_alignment(CellAlignment::Right)
        });
        table.add_row(std::iter::once(Cell::new(&method.name)).chain(cells));
    }
    Some(table.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::made_up;

    fn perturbed() -> RunReport {
        let mut run = made_up();
        for (k, method) in run.methods.iter_mut().enumerate() {
            let level = |level: Level| {
                let i = level as usize;
                let iqm = method.iqm - 10.0 * i as f64;
                LevelSummary {
                    level,
                    scores: vec![iqm; 5],
                    iqm,
                    spread: Spread::Interval95([iqm - 3.0, iqm + 2.0]),
                    outside: 0.01 * i as f64,
                    pushes: 100 * i.min(1),
                    out: 30 * i,
                    back: 30 * i - k * i,
                    median: (i < 3).then_some(4.0 * i as f64),
                    window: 60,
                    away: vec![2.5 * i as f64; 5],
                    away_iqm: 2.5 * i as f64,
                    away_spread: Spread::Interval95([2.0 * i as f64, 3.0 * i as f64]),
                }
            };
            method.robustness = Level::ALL.map(level).into();
        }
        run
    }

    #[test]
    fn the_page_shows_pushes_where_there_were_any() {
        let run = perturbed();
        let page = crate::report::html(&run);
        for piece in
            ["Pushed", "moderate", "put outside", "never", "at most 60 each", "111.0", "108.0 to 113.0", "97 %"]
        {
            assert!(page.contains(piece), "`{piece}` is missing");
        }
        let names: Vec<&str> = crate::report::figures(&run).iter().map(|f| f.0).collect();
        assert!(names.contains(&"robustness") && names.contains(&"recovery"), "{names:?}");
        let shown = table(&run).unwrap();
        assert!(shown.contains("101.0 (5.0 steps outside)"), "{shown}");
        let text = backcast::json::to_string(&run).unwrap();
        let back: RunReport = backcast::json::from_str(&text).unwrap();
        assert!(crate::report::html(&back) == page);

        let plain = made_up();
        assert!(figures(&plain).is_empty() && table(&plain).is_none());
        assert!(!crate::report::html(&plain).contains("put outside"));
        // Reports from before there were pushes.
        let old = backcast::json::to_string(&plain).unwrap().replace(",\"robustness\":[]", "");
        assert!(!old.contains("robustness"));
        assert_eq!(crate::report::html(&backcast::json::from_str(&old).unwrap()), crate::report::html(&plain));
    }
}
