//! The result as a table for the terminal.

use crate::report::RunReport;
use backcast::stats::Spread;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

/// One row for each method, best first, then the published scores.
pub(crate) fn table(run: &RunReport) -> String {
    let spreads: Vec<Spread> = run.methods.iter().map(|method| method.spread).collect();
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["", "IQM", Spread::heading(&spreads), "mean", "each seed"]);
    let number = |x: f64| Cell::new(format!("{x:.1}")).set_alignment(CellAlignment::Right);
    let mut methods: Vec<_> = run.methods.iter().collect();
    methods.sort_by(|a, b| b.iqm.total_cmp(&a.iqm));
    for method in methods {
        let mean = method.scores.iter().sum::<f64>() / method.scores.len().max(1) as f64;
        let seeds: Vec<String> = method.scores.iter().map(|s| format!("{s:.1}")).collect();
        table.add_row([
            Cell::new(&method.name),
            number(method.iqm),
            Cell::new(method.spread.among(&spreads)),
            number(mean),
            Cell::new(seeds.join("  ")),
        ]);
    }
    for (label, score, note) in &run.published {
        table.add_row([Cell::new(label), number(*score), Cell::new(""), Cell::new(""), Cell::new(note)]);
    }
    format!("{}: {}\n{table}", run.experiment, run.task)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_method_and_published_score_has_a_row_and_the_best_is_first() {
        let run = crate::report::tests::made_up();
        let shown = super::table(&run);
        let place = |text: &str| shown.find(text).unwrap_or_else(|| panic!("{text} is missing:\n{shown}"));
        assert!(place("ROMI-BCQ") < place("TD3+BC"));
        place("121.0");
        place("recalled");
        place("95 % interval");
    }

    #[test]
    fn fewer_than_five_seeds_have_a_range_and_no_interval() {
        let mut run = crate::report::tests::made_up();
        run.methods.iter_mut().for_each(|method| method.spread = super::Spread::Range([-1.0, 2.0]));
        let shown = super::table(&run);
        assert!(!shown.contains("95 %") && shown.contains("range") && shown.contains("−1.0 to 2.0"), "{shown}");
    }
}
