//! `cargo xtask parity`: recorded updates of other code, replayed and compared number for number.

use anyhow::Context;
use backcast_parity::algos::{self, by_choice};
use backcast_parity::factorization as parts;
use backcast_parity::recording::{Compared, Fixture, Kind};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use std::{collections::BTreeMap, path::Path, path::PathBuf};

/// What to replay.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files in the format of crates/parity/tests/golden/README.md; none is every one committed in this workspace
    #[arg(value_name = "FIXTURE")]
    fixtures: Vec<PathBuf>,
    /// One line of Markdown for each fixture, with the largest error of each kind, instead of a table of everything
    #[arg(long)]
    summary: bool,
}

pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    let fixtures = if args.fixtures.is_empty() { committed()? } else { args.fixtures };
    let mut wrong = 0;
    if args.summary {
        print!("{}", SUMMARY_HEAD);
    }
    for path in &fixtures {
        let (fixture, compared) = compare(path)?;
        let failed = compared.iter().filter(|c| verdict(&fixture, c) == "FAIL").count();
        wrong += failed;
        if args.summary {
            println!("{}", summary(&fixture, &compared));
        } else {
            let (name, source) = (&fixture.algorithm, &fixture.source);
            println!("{}: {name}, from {source}\n{}", path.display(), table(&fixture, &compared));
            println!("{}\n", by_choice(&fixture).map_or("", |known| known.why));
        }
    }
    anyhow::ensure!(wrong == 0, "{wrong} quantities are further off than their bound");
    Ok(())
}

/// Where fixtures are kept.
const FOLDERS: [&str; 3] =
    ["crates/parity/tests/golden", "crates/parity/tests/golden/factorization", "crates/parity/tests/golden/authors"];

/// Every fixture of the workspace: one folder after the other, by name.
fn committed() -> anyhow::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for folder in FOLDERS {
        let folder = crate::root().join(folder);
        let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        paths.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
        paths.sort();
        anyhow::ensure!(!paths.is_empty(), "{}: there are no fixtures", folder.display());
        all.append(&mut paths);
    }
    Ok(all)
}

fn compare(path: &Path) -> anyhow::Result<(Fixture, Vec<Compared>)> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| file.clone())?;
    let fixture = Fixture::parse(&file, &bytes)?;
    let of_parts = parts::algorithms().any(|name| name == fixture.algorithm);
    let compared = if of_parts { parts::replay(&fixture) } else { algos::replay(&fixture) }?;
    Ok((fixture, compared))
}

/// The larger of two errors, where NaN is larger than any.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

fn heading(kind: Kind) -> &'static str {
    match kind {
        Kind::Loss => "loss",
        Kind::Gradient => "first gradient",
        Kind::Parameter => "last value",
        Kind::Change => "change",
        Kind::Transition => "transition",
    }
}

/// `ok`; `by choice`, where the fixture is of other code and the difference is known; or `FAIL`.
fn verdict(fixture: &Fixture, compared: &Compared) -> &'static str {
    match by_choice(fixture) {
        _ if compared.holds() => "ok",
        Some(known) if known.explains(compared) => "by choice",
        _ => "FAIL",
    }
}

/// A row for each quantity; a loss has the largest error of all updates.
fn table(fixture: &Fixture, compared: &[Compared]) -> String {
    let mut rows: BTreeMap<(Kind, &str), &Compared> = BTreeMap::new();
    for c in compared {
        let row = rows.entry((c.kind, &c.name)).or_insert(c);
        if worse(c.error, row.error).to_bits() != row.error.to_bits() {
            *row = c;
        }
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["", "quantity", "error", "bound", "update", ""]);
    let number = |x: f64| Cell::new(format!("{x:.1e}")).set_alignment(CellAlignment::Right);
    for ((kind, name), worst) in rows {
        let update = worst.update.map_or(String::new(), |u| u.to_string());
        let cells = [Cell::new(heading(kind)), Cell::new(name), number(worst.error), number(kind.bound())];
        table.add_row(cells.into_iter().chain([Cell::new(update), Cell::new(verdict(fixture, worst))]));
    }
    table.to_string()
}

const SUMMARY_HEAD: &str = "| fixture | algorithm | loss | first gradient | last value | change | transition | |\n|---|---|---|---|---|---|---|---|\n";

/// A line of Markdown: the largest error of each kind, a dash where the fixture has nothing of it.
fn summary(fixture: &Fixture, compared: &[Compared]) -> String {
    let largest = |kind| {
        let errors = compared.iter().filter(|c| c.kind == kind).map(|c| c.error);
        errors.reduce(worse).map_or("–".to_owned(), |error| format!("{error:.1e}"))
    };
    let name = Path::new(&fixture.file).file_stem().unwrap_or_default().to_string_lossy();
    let errors = [Kind::Loss, Kind::Gradient, Kind::Parameter, Kind::Change, Kind::Transition].map(largest).join(" | ");
    let all = |wanted: &str| compared.iter().any(|c| verdict(fixture, c) == wanted);
    let verdict = ["FAIL", "by choice"].into_iter().find(|wanted| all(wanted)).unwrap_or("ok");
    format!("| `{name}` | `{}` | {errors} | {verdict} |", fixture.algorithm)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of none that is known to differ.
    fn fixture() -> Fixture {
        let path = crate::root().join("crates/parity/tests/golden/bc.safetensors");
        Fixture::parse("bc.safetensors", &std::fs::read(path).expect("a fixture")).expect("a fixture")
    }

    fn compared(kind: Kind, update: Option<usize>, error: f64) -> Compared {
        Compared { kind, name: "x".into(), update, error }
    }

    #[test]
    fn the_worst_update_is_shown_and_a_failure_is_named() {
        let all = [(0, 1e-6), (1, 3e-4), (2, 2e-5)].map(|(update, error)| compared(Kind::Loss, Some(update), error));
        let plain = fixture();
        let shown = table(&plain, &all);
        assert!(shown.contains("3.0e-4") && shown.contains("FAIL") && !shown.contains("2.0e-5"), "{shown}");
        let good = table(&plain, &[compared(Kind::Gradient, None, 5e-4)]);
        assert!(good.contains("ok") && !good.contains("FAIL"), "{good}");
        let nan = table(&plain, &[compared(Kind::Loss, Some(0), f64::NAN), compared(Kind::Loss, Some(1), 0.0)]);
        assert!(nan.contains("NaN") && nan.contains("FAIL"), "{nan}");
    }

    #[test]
    fn every_committed_fixture_is_found_and_holds_and_is_on_the_page() {
        let page = include_str!("../../docs/src/results/parity.md");
        for path in committed().expect("fixtures") {
            let name = path.file_stem().expect("a name").to_string_lossy();
            let rows = page.lines().filter(|line| line.starts_with(&format!("| `{name}` |"))).count();
            let (fixture, compared) = compare(&path).expect("a fixture that fits");
            let line = summary(&fixture, &compared);
            if path.to_string_lossy().contains("authors") {
                assert_eq!(rows, 1, "{name} belongs in the authors' table of docs/src/results/parity.md");
                assert!(!line.contains("FAIL"), "{}", table(&fixture, &compared));
                continue;
            }
            assert_eq!(rows, 2, "{name} belongs in both tables of docs/src/results/parity.md");
            assert!(line.ends_with("| ok |"), "{}", table(&fixture, &compared));
        }
    }

    #[test]
    fn a_file_that_is_no_fixture_is_named() {
        let error = compare(Path::new("there/is/none.safetensors")).expect_err("no file");
        assert!(error.to_string().contains("none.safetensors"), "{error}");
    }
}
