//! A dataset card: one page of markdown that says what a dataset is, for whoever is about to learn from it or to publish it.

use crate::check::{Severity, Summary, findings};
use crate::{Dataset, End};
use backcast_core::{Real, quantile};
use std::fmt::Write;

/// Columns of a histogram: coverage is the share of them that are not empty.
const BINS: usize = 32;

/// The card of `dataset`, under the heading `name`.
///
/// It says what the dataset holds, how long and how good its episodes are, how its values lie in every column, what is wrong
/// with it, and its [fingerprint](Dataset::fingerprint).
///
/// # Panics
/// If the dataset is empty.
pub fn card(name: &str, dataset: &Dataset) -> String {
    let summary = Summary::of(dataset);
    let episodes = dataset.episodes();
    let mut out = format!("# {name}\n\n");
    let mut put = |line: String| out += &(line + "\n");
    put("| | |\n|---|---|".into());
    let stored = if summary.next_observations { "stored" } else { "not stored" };
    put(format!("| rows | {} |", summary.rows));
    put(format!("| observation, action | {} columns, {} columns |", summary.obs, summary.act));
    put(format!("| next observations | {stored} |"));
    let infos: Vec<String> = summary.infos.iter().map(|(name, width)| format!("`{name}` ({width})")).collect();
    put(format!("| infos | {} |", if infos.is_empty() { "none".into() } else { infos.join(", ") }));
    let ends = |end: End| episodes.iter().filter(|e| e.end == end).count();
    let unfinished = if ends(End::Unfinished) > 0 { ", the last unfinished" } else { "" };
    put(format!(
        "| episodes | {}: {} ended, {} were truncated{unfinished} |",
        episodes.len(),
        ends(End::Terminal),
        ends(End::Truncated)
    ));
    put(format!("| fingerprint | `{}` |", dataset.fingerprint()));
    for (name, text) in dataset.notes() {
        // One line each, whatever is in them.
        let short: String = text.chars().map(|c| if c.is_control() || c == '|' { ' ' } else { c }).take(120).collect();
        put(format!("| {name} | {short}{} |", if text.chars().count() > 120 { " …" } else { "" }));
    }

    put("\n## Episodes\n\n| | least | 5 % | 25 % | half | 75 % | 95 % | most | mean |\n|---|---|---|---|---|---|---|---|---|".into());
    let whole = || episodes.iter().filter(|e| e.end != End::Unfinished || episodes.len() == 1);
    put(quantile_row("return", whole().map(|e| e.total).collect()));
    put(quantile_row("rows", whole().map(|e| e.rows as f64).collect()));
    put(quantile_row("reward", (0..dataset.len()).map(|t| dataset.row(t).reward as f64).collect()));

    put(format!(
        "\n## Coverage\n\nFor each column its range, quantiles, and the share of {BINS} equal parts of the range that at least \
         one row lies in.\n"
    ));
    put("| column | least | 5 % | half | 95 % | most | covered |\n|---|---|---|---|---|---|---|".into());
    let [(_, obs, states), (_, act, actions), ..] = dataset.floats();
    for (name, width, values) in [("observation", obs, states), ("action", act, actions)] {
        for column in 0..width {
            put(coverage_row(&format!("{name} {column}"), values[column..].iter().step_by(width)));
        }
    }

    put("\n## Checks\n".into());
    let found = findings(dataset, true);
    for finding in &found {
        put(format!("- **{}** {}", severity(finding.severity), finding.to_string()[5..].trim()));
    }
    let errors = found.iter().filter(|f| f.severity == Severity::Error).count();
    put(if errors == 0 { "- passed".into() } else { format!("- **failed**: {errors} errors") });
    out
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "note:",
        Severity::Warn => "warning:",
        Severity::Error => "error:",
    }
}

fn quantile_row(name: &str, mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let mut row = format!("| {name} |");
    for share in [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0] {
        let _ = write!(row, " {} |", short(quantile(&values, share)));
    }
    row + &format!(" {} |", short(values.iter().sum::<f64>() / values.len() as f64))
}

fn coverage_row<'a>(name: &str, values: impl Iterator<Item = &'a Real>) -> String {
    let mut sorted: Vec<f64> = values.map(|&x| x as f64).filter(|x| x.is_finite()).collect();
    if sorted.is_empty() {
        return format!("| {name} | no finite value ||||||");
    }
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
    let mut hit = [false; BINS];
    for x in &sorted {
        let part = if high > low { (x - low) / (high - low) } else { 0.0 };
        hit[((part * BINS as f64) as usize).min(BINS - 1)] = true;
    }
    let covered = match high > low {
        true => format!("{:.0} %", 100.0 * hit.iter().filter(|h| **h).count() as f64 / BINS as f64),
        false => "constant".into(),
    };
    let mut row = format!("| {name} |");
    for share in [0.0, 0.05, 0.5, 0.95, 1.0] {
        let _ = write!(row, " {} |", short(quantile(&sorted, share)));
    }
    row + &format!(" {covered} |")
}

/// About four digits.
fn short(value: f64) -> String {
    let size = value.abs();
    match value {
        _ if value == value.trunc() && size < 1e7 => format!("{value}"),
        _ if (1e-3..1e5).contains(&size) => {
            let digits = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
            format!("{value:.digits$}")
        }
        _ => format!("{value:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Row;

    #[test]
    fn a_card_says_what_is_there_and_what_is_wrong() {
        let mut dataset = Dataset::new(2, 1, false);
        for t in 0..64 {
            let x = t as Real;
            let act = if t == 3 { Real::NAN } else { 0.25 };
            dataset.push(Row {
                obs: &[x, 4.0],
                act: &[act],
                reward: 1.0,
                terminal: t == 31,
                truncated: t == 63,
                next_obs: None,
            });
        }
        dataset.set_note("author", "A | B\nC");
        let card = card("counter", &dataset);
        for line in [
            "# counter",
            "| rows | 64 |",
            "| episodes | 2: 1 ended, 1 were truncated |",
            "| author | A   B C |",
            "| return | 32 | 32 | 32 | 32 | 32 | 32 | 32 | 32 |",
            "| observation 0 | 0 | 3.150 | 31.50 | 59.85 | 63 | 100 % |",
            "| observation 1 | 4 | 4 | 4 | 4 | 4 | constant |",
            "- **failed**: 1 errors",
        ] {
            assert!(card.lines().any(|l| l == line), "{line} is not in\n{card}");
        }
        assert!(card.contains("**error:** non_finite: `actions`, row 3"), "{card}");
    }
}
