//! Losses and whatever else algorithms measure of themselves, in a report: their curves, and where these were expected.

use crate::report::{CurvePoint, RunReport};
use crate::svg::{Chart, Series};
use maud::{Markup, PreEscaped, html as markup};
use serde::{Deserialize, Serialize};

/// One metric of the algorithms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MetricReport {
    pub(crate) name: String,
    /// In the order of the methods; empty where a method has no such metric.
    pub(crate) curves: Vec<Vec<CurvePoint>>,
}

/// What the curves were compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExpectedReport {
    /// Numbers of this run inside their bands, of how many.
    pub(crate) inside: usize,
    pub(crate) of: usize,
    /// The share of sound runs of which any number is outside.
    pub(crate) rate: f64,
    /// How many seeds the bands were made of.
    pub(crate) seeds: usize,
    pub(crate) bands: Vec<BandReport>,
}

/// The band of one metric of one method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BandReport {
    pub(crate) method: String,
    pub(crate) metric: String,
    /// Updates, lower and upper end.
    pub(crate) points: Vec<(u64, f64, f64)>,
}

/// What an algorithm measures of itself, and where it was expected.
fn metric(run: &RunReport, metric: &MetricReport) -> String {
    let bands = run.expected.iter().flat_map(|expected| &expected.bands).filter(|band| band.metric == metric.name);
    let bands = bands.filter(|band| run.methods.iter().any(|method| method.name == band.method)).map(|band| Series {
        name: "expected",
        kind: None,
        points: band.points.iter().map(|&(u, low, high)| [u as f64, 0.5 * (low + high), low, high]).collect(),
    });
    let methods = run.methods.iter().zip(&metric.curves).enumerate().map(|(k, (method, curve))| Series {
        name: &method.name,
        kind: Some(k),
        points: curve.iter().map(|p| [p.step as f64, p.mean, p.lo, p.hi]).collect(),
    });
    let series = bands.chain(methods).filter(|s| !s.points.is_empty()).collect();
    let label = format!("{} over updates", metric.name);
    Chart { label: &label, x: "updates", y: &metric.name, log: false, series, rules: vec![] }.draw()
}

/// Losses and other metrics, and how many numbers are where they were expected.
pub(crate) fn metrics(run: &RunReport) -> Markup {
    markup! {
        @if let Some(expected) = &run.expected {
            p { "Compared with " (expected.seeds) " earlier seeds of the same settings, " (expected.inside) " of " (expected.of)
                " numbers of these curves are inside their bands; of sound runs " (format!("{:.0}", 100.0 * expected.rate))
                " in 100 have any number outside." }
        }
        @if !run.metrics.is_empty() {
            details { summary { "Losses and whatever else was measured" }
                div.pair { @for m in &run.metrics { figure { h3 { (m.name) } (PreEscaped(metric(run, m))) } } }
            }
        }
    }
}
