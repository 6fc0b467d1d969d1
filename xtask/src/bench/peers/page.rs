//! The page of the comparison: prose that is written by hand, around tables that are not.

use super::catalogue::{PEERS, left_out};
use super::results::{PeerRun, Results, Workload, spread};
use crate::bench::facts;
use anyhow::{Context, bail};
use backcast_benches::{BATCH, Spread, flops, parameters, sharing, unit};
use std::fmt::Write as _;
use std::path::Path;

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// Replaces what stands between the marks of the page by the tables of `results`.
pub(super) fn write(path: &Path, results: &Results) -> anyhow::Result<()> {
    let page = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let page = between(&page, &tables(results)).with_context(|| path.display().to_string())?;
    std::fs::write(path, page).with_context(|| path.display().to_string())?;
    println!("page: {}", path.display());
    Ok(())
}

fn between(page: &str, tables: &str) -> anyhow::Result<String> {
    let halves = page.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let Some((head, tail)) = halves else { bail!("the marks `{BEGIN}` and `{END}` are not there, in this order") };
    Ok(format!("{head}{BEGIN}\n\n{}\n\n{END}{tail}", tables.trim()))
}

/// Peers whose products are less exact than ours.
fn half(peer: &str) -> bool {
    PEERS.iter().any(|p| p.half && p.name == peer)
}

fn tables(results: &Results) -> String {
    let mut page = String::new();
    about(&mut page, results);
    summary(&mut page, results);
    for name in backcast_benches::WORKLOADS {
        if let Some(workload) = results.workloads.get(*name) {
            section(&mut page, name, workload);
        }
    }
    disk(&mut page, results);
    page
}

fn about(page: &mut String, results: &Results) {
    let m = &results.machine;
    let versions: Vec<String> = results.versions.iter().map(|(name, v)| format!("{name} {v}")).collect();
    let _ = writeln!(
        page,
        "Machine: {}, {} cores, {}; our products run on {}.",
        m.processor, m.cores, m.system, m.instructions
    );
    if !versions.is_empty() {
        let _ = writeln!(page, "Versions: {}.", versions.join(", "));
    }
    let _ = writeln!(page);
}

fn summary(page: &mut String, results: &Results) {
    let _ = writeln!(page, "## In short\n");
    let _ = writeln!(page, "The fastest peer is the fastest in single precision on as many threads, doing no less.\n");
    let _ = writeln!(
        page,
        "| workload | ours, 1 thread | of the ceiling | fastest peer | ours ÷ it | ours, 2 threads | of the ceiling | fastest peer | ours ÷ it |"
    );
    let _ = writeln!(page, "|---|---|---|---|---|---|---|---|---|");
    for name in backcast_benches::WORKLOADS {
        let Some(workload) = results.workloads.get(*name) else { continue };
        let _ = write!(page, "| `{name}` ");
        for threads in [1, 2] {
            let fraction = spread(workload.ours(threads).map(|o| o.fresh.measurement.fraction.median));
            let whole = |peer: &&str| !half(peer) && left_out(peer, name).is_none();
            let exact = workload.ranking().into_iter().filter(whole);
            let best = exact
                .filter_map(|peer| Some((peer, rate(workload.theirs(peer, threads))?, workload.ratio(peer, threads)?)))
                .max_by(|a, b| a.1.median.total_cmp(&b.1.median));
            let (peer, ratio) = match best {
                Some((peer, _, ratio)) => (peer, times(Some(ratio))),
                None => ("none", "–".into()),
            };
            let ours = spread(workload.ours(threads).map(|o| o.fresh.measurement.rate.median));
            let _ = write!(page, "| {} {} | {} | {peer} | {ratio} ", number(ours), unit(name), percent(fraction));
        }
        let _ = writeln!(page, "|");
    }
    let _ = writeln!(page);
}

fn section(page: &mut String, name: &str, workload: &Workload) {
    let Workload { date, passes, windows, load, .. } = workload;
    let (count, trained) = (flops(name), parameters(name).unwrap_or_default());
    let _ = writeln!(page, "## {name}\n");
    let counted = count.map_or(String::new(), |f| {
        let both = if f.plain == f.least { String::new() } else { format!(", {} at least", millions(f.least)) };
        format!("{}{both} million operations, ", millions(f.plain))
    });
    let _ = write!(
        page,
        "In {}: {counted}{} parameters; on two threads {}. ",
        unit(name),
        thousands(trained),
        sharing(name)
    );
    let _ = write!(
        page,
        "Measured {date}, {passes} {} of {} windows of {} s, {} rows",
        if *passes == 1 { "pass" } else { "passes" },
        windows.windows,
        windows.seconds,
        thousands(windows.rows)
    );
    let _ = match load {
        Some(load) => writeln!(page, "; the machine's load before was {load:.1}.\n"),
        None => writeln!(page, ".\n"),
    };
    let _ = writeln!(
        page,
        "| | 1 thread | ours ÷ it | 2 threads | ours ÷ it | of the ceiling, 1 and 2 | cores had, 1 and 2 | first unit | memory | same work |"
    );
    let _ = writeln!(page, "|---|---|---|---|---|---|---|---|---|---|");
    let ours = |threads: usize| spread(workload.ours(threads).map(|o| o.fresh.measurement.rate.median));
    let fraction = |threads: usize| spread(workload.ours(threads).map(|o| o.fresh.measurement.fraction.median));
    let first = spread(workload.ours(1).map(|o| o.fresh.first_unit));
    let memory = spread(workload.ours(1).filter_map(|o| o.fresh.peak_memory));
    let _ = writeln!(
        page,
        "| **Backcast** | **{}** | | **{}** | | {}, {} | {}, {} | {} | {} | |",
        number(ours(1)),
        number(ours(2)),
        percent(fraction(1)),
        percent(fraction(2)),
        cores(spread(workload.ours(1).filter_map(|o| o.fresh.measurement.cores))),
        cores(spread(workload.ours(2).filter_map(|o| o.fresh.measurement.cores))),
        seconds(first),
        megabytes(memory)
    );
    for peer in workload.ranking() {
        let least = count.map_or(f64::NAN, |f| f.least);
        let share = |threads| percent(workload.fraction(peer, threads, least));
        let _ = writeln!(
            page,
            "| {peer} | {} | {} | {} | {} | {}, {} | {}, {} | {} | {} | {} |",
            number(rate(workload.theirs(peer, 1))),
            times(workload.ratio(peer, 1)),
            number(rate(workload.theirs(peer, 2))),
            times(workload.ratio(peer, 2)),
            share(1),
            share(2),
            cores(spread(workload.theirs(peer, 1).map(|r| r.cores.median))),
            cores(spread(workload.theirs(peer, 2).map(|r| r.cores.median))),
            seconds(spread(workload.theirs(peer, 1).filter_map(|r| r.first))),
            megabytes(spread(workload.theirs(peer, 1).map(|r| r.peak_memory))),
            workload.theirs(peer, 1).chain(workload.theirs(peer, 2)).next().map_or("–".into(), |run| same(name, run))
        );
    }
    let _ = writeln!(page);
    for (peer, why) in &workload.failed {
        let _ = writeln!(page, "Not run: {peer}: {why}.\n");
    }
    if workload.peers.is_empty() && workload.failed.is_empty() {
        let _ = writeln!(page, "No peer was run on this.\n");
    }
}

/// Whether a peer's batch, parameters and operations are ours, and if not, what differs.
fn same(name: &str, run: &PeerRun) -> String {
    let mut differs = Vec::new();
    if run.batch != BATCH {
        differs.push(format!("batch {}", run.batch));
    }
    match (run.parameters, parameters(name)) {
        _ if name.starts_with("rollout") => {}
        (Some(theirs), Some(ours)) if theirs != ours => differs.push(format!("{} parameters", thousands(theirs))),
        (None, _) => differs.push("parameters not counted".into()),
        _ => {}
    }
    match (run.flops, flops(name)) {
        // A few columns of a gradient that nobody needs are the same work.
        (Some(theirs), Some(ours)) if theirs < 0.98 * ours.least || theirs > 1.02 * ours.plain => {
            differs.push(format!("{} million operations", millions(theirs)));
        }
        (None, _) => differs.push("operations not counted".into()),
        _ => {}
    }
    if half(&run.peer) {
        differs.push("bfloat16".into());
    }
    differs.extend(left_out(&run.peer, name).map(str::to_owned));
    if differs.is_empty() { "yes".into() } else { differs.join(", ") }
}

fn disk(page: &mut String, results: &Results) {
    let _ = writeln!(page, "## Size on disk\n\n| what | size | of which for graphics processors |\n|---|---|---|");
    for size in &results.sizes {
        let graphics = if size.graphics == 0 { "–".into() } else { facts::size(size.graphics) };
        let _ = writeln!(page, "| {} | {} | {graphics} |", size.what, facts::size(size.bytes));
    }
    if !results.not_run.is_empty() {
        let _ = writeln!(page, "\n## Not run\n\n| peer | why |\n|---|---|");
        for (peer, why) in &results.not_run {
            let _ = writeln!(page, "| {peer} | {why} |");
        }
    }
}

fn rate<'a>(runs: impl Iterator<Item = &'a PeerRun>) -> Option<Spread> {
    spread(runs.map(|run| run.rate.median))
}

fn number(x: Option<Spread>) -> String {
    x.map_or("–".into(), |x| match x.median {
        m if m >= 1000.0 => thousands(m.round() as usize),
        m if m >= 100.0 => format!("{m:.0}"),
        m => format!("{m:.1}"),
    })
}

fn times(x: Option<Spread>) -> String {
    x.map_or("–".into(), |x| format!("{:.2} [{:.2}, {:.2}]", x.median, x.min, x.max))
}

fn percent(x: Option<Spread>) -> String {
    x.map_or("–".into(), |x| format!("{:.0} %", 100.0 * x.median))
}

fn cores(x: Option<Spread>) -> String {
    x.map_or("–".into(), |x| format!("{:.2}", x.median))
}

fn seconds(x: Option<Spread>) -> String {
    x.map_or("–".into(), |x| format!("{:.2} s", x.median))
}

fn megabytes(x: Option<Spread>) -> String {
    x.map_or("–".into(), |x| format!("{} MB", thousands(x.median.round() as usize)))
}

fn millions(x: f64) -> String {
    if x >= 1e8 { thousands((x / 1e6).round() as usize) } else { format!("{:.2}", x / 1e6) }
}

fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::fresh::{Fresh, Windows};
    use crate::bench::peers::results::Ours;
    use backcast_benches::Measurement;
    use std::collections::BTreeMap;

    fn flat(x: f64) -> Spread {
        Spread { median: x, min: x, max: x }
    }

    fn results() -> Results {
        let fresh = |threads: usize, rate: f64| Fresh {
            workload: "td3bc".into(),
            threads,
            measurement: Measurement {
                rate: flat(rate),
                ceiling: flat(160.0),
                fraction: flat(0.4),
                cores: Some(1.0),
                first: 0.1,
            },
            first_unit: 0.1,
            peak_memory: Some(300.0),
        };
        let run = |peer: &str, pass, rate: f64, trained: usize| PeerRun {
            peer: peer.into(),
            workload: "td3bc".into(),
            threads: 1,
            pass,
            rate: flat(rate),
            cores: flat(1.0),
            unit: "updates/s".into(),
            first: Some(5.0),
            peak_memory: 700.0,
            batch: 256,
            hidden: Some(vec![256, 256]),
            parameters: Some(trained),
            flops: flops("td3bc").map(|f| f.least),
            versions: BTreeMap::new(),
        };
        let trained = parameters("td3bc").unwrap();
        let workload = Workload {
            date: "2031-01-01".into(),
            passes: 2,
            windows: Windows { seconds: 1.0, windows: 5, rows: 1_000_000 },
            load: None,
            ours: vec![Ours { pass: 0, fresh: fresh(1, 200.0) }, Ours { pass: 1, fresh: fresh(1, 400.0) }],
            peers: vec![
                run("PyTorch, eager", 0, 100.0, trained),
                run("PyTorch, eager", 1, 100.0, trained + 1),
                run("JAX, bfloat16", 1, 800.0, trained),
            ],
            failed: BTreeMap::new(),
        };
        Results { workloads: [("td3bc".to_owned(), workload)].into(), ..Results::default() }
    }

    #[test]
    fn ratios_are_taken_pass_by_pass() {
        let results = results();
        let workload = &results.workloads["td3bc"];
        assert_eq!(workload.ratio("PyTorch, eager", 1), Some(Spread { median: 3.0, min: 2.0, max: 4.0 }));
        assert_eq!(workload.ratio("JAX, bfloat16", 1), Some(flat(0.5)));
        assert_eq!(workload.ratio("PyTorch, eager", 2), None);
        assert_eq!(workload.ranking(), ["JAX, bfloat16", "PyTorch, eager"]);
    }

    #[test]
    fn the_summary_compares_in_the_same_precision() {
        let page = tables(&results());
        let line = page.lines().find(|line| line.starts_with("| `td3bc`")).unwrap();
        assert!(
            line.contains("PyTorch, eager | 3.00 [2.00, 4.00]") && line.ends_with("| – updates/s | – | none | – |"),
            "{line}"
        );
    }

    #[test]
    fn other_work_is_told() {
        let results = results();
        let runs = &results.workloads["td3bc"].peers;
        assert_eq!(same("td3bc", &runs[0]), "yes");
        assert_eq!(same("td3bc", &runs[1]), "216,329 parameters");
        assert_eq!(same("td3bc", &runs[2]), "bfloat16");
        let more = PeerRun { flops: Some(5e8), batch: 100, ..runs[0].clone() };
        assert_eq!(same("td3bc", &more), "batch 100, 500 million operations");
    }

    #[test]
    fn prose_around_the_tables_is_kept() {
        let page = format!("# Speed\n\n{BEGIN}\nold\n{END}\n\nThe end.\n");
        let new = between(&page, "new\n").unwrap();
        assert_eq!(new, format!("# Speed\n\n{BEGIN}\n\nnew\n\n{END}\n\nThe end.\n"));
        assert_eq!(between(&new, "new").unwrap(), new);
        assert!(between("# Speed", "new").is_err());
    }
}
