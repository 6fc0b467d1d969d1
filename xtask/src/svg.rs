//! Figures as scalable drawings, written by hand: axes, lines with bands, strips of dots.
//!
//! A figure is about 420 units wide, so that its text keeps a readable size on a telephone; a page places several side by
//! side. Colours are variables of [`STYLE`], which has a light and a dark set; every series also has its own dash pattern,
//! so that nothing depends on colour alone.

use backcast::stats::Spread;
use std::fmt::Write;

/// The colours and strokes of every figure. The palette is told apart with every common form of colour blindness.
pub(crate) const STYLE: &str = "
:root{--paper:#faf9f6;--card:#fff;--ink:#1c1e21;--soft:#5b6168;--line:#dcd9d2;--wall:#3f4750;--heat:#77736b;
--c0:#0a63a8;--c1:#c4520a;--c2:#00806a;--c3:#8a4f9e;--c4:#8f6c00;--c5:#3a86b4}
@media(prefers-color-scheme:dark){:root{--paper:#13161a;--card:#1a1e23;--ink:#e9e7e2;--soft:#a0a7ae;--line:#323941;
--wall:#07090b;--heat:#a39f96;--c0:#62b3ee;--c1:#f58f50;--c2:#43cba5;--c3:#cda2e6;--c4:#dcb748;--c5:#93d0f3}}
svg{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',sans-serif;font-variant-numeric:tabular-nums}
svg text{fill:var(--ink)}svg .soft{fill:var(--soft)}svg .strong{font-weight:650}
svg .grid{stroke:var(--line);fill:none}svg .rule{stroke:var(--soft);stroke-dasharray:1 3;fill:none}
svg .mid{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
svg .k0{--k:var(--c0)}svg .k1{--k:var(--c1)}svg .k2{--k:var(--c2)}svg .k3{--k:var(--c3)}svg .k4{--k:var(--c4)}
svg .k5{--k:var(--c5)}svg .k9{--k:var(--soft)}
svg .mid,svg .stroke{stroke:var(--k)}svg .band{fill:var(--k);opacity:.16}svg .fill{fill:var(--k)}
svg .d1{stroke-dasharray:7 4}svg .d2{stroke-dasharray:2 4}svg .d3{stroke-dasharray:9 3 2 3}
svg .wall{fill:var(--wall)}svg .heat{fill:var(--heat)}svg .frame{fill:none;stroke:var(--wall)}
svg .path{fill:none;stroke:var(--k);stroke-width:1.6;opacity:.7;stroke-linejoin:round}
svg .goal{fill:none;stroke:var(--c2);stroke-width:1.6;stroke-dasharray:3 3}svg .goal-dot{fill:var(--c2)}
svg .halo{paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round}
";

/// The width of every figure.
pub(crate) const WIDTH: f64 = 420.0;

/// Text made safe inside a tag or an attribute.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The opening tag of a figure with a spoken description.
pub(crate) fn open(height: f64, label: &str) -> String {
    let label = escape(label);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{label}\">"
    )
}

/// A figure as a file of its own, with its colours inside and paper behind.
pub(crate) fn standalone(figure: &str) -> String {
    let (tag, rest) = figure.split_once('>').expect("a figure opens with a tag");
    format!(
        "{tag}><style>{STYLE}</style><rect width=\"100%\" height=\"100%\" rx=\"6\" style=\"fill:var(--card)\"/>{rest}\n"
    )
}

/// A map from values to places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Axis {
    /// An axis that shows all of `values` between the places `from` and `to`, rounded outwards to whole ticks.
    pub(crate) fn around(values: impl Iterator<Item = f64>, log: bool, from: f64, to: f64) -> Self {
        let usable = values.filter(|v| v.is_finite() && (!log || *v > 0.0)).map(|v| if log { v.log10() } else { v });
        let (mut low, mut high) = usable.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low < 1e-12 {
            (low, high) = (low - 0.5, high + 0.5);
        }
        let mut axis = Self { low, high, from, to, log };
        if log {
            // Half a decade is a fair margin on a logarithmic axis.
            (axis.low, axis.high) = ((low * 2.0).floor() / 2.0, (high * 2.0).ceil() / 2.0);
        } else {
            let step = step(low, high);
            (axis.low, axis.high) = ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step);
        }
        axis
    }

    /// The place of `value`.
    pub(crate) fn at(self, value: f64) -> f64 {
        let v = if self.log { value.log10() } else { value };
        self.from + (v - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// The values that get a tick.
    pub(crate) fn ticks(self) -> Vec<f64> {
        if self.log {
            let decades = self.low.floor() as i32..=self.high.ceil() as i32;
            // Few decades leave room for 2 and 5.
            let marks: &[f64] = if self.high - self.low > 2.1 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let all = decades.flat_map(|d| marks.iter().map(move |m| m * 10f64.powi(d)));
            return all.filter(|v| (self.low - 1e-9..=self.high + 1e-9).contains(&v.log10())).collect();
        }
        let step = step(self.low, self.high);
        let count = ((self.high - self.low) / step).round() as usize;
        (0..=count).map(|i| self.low + i as f64 * step).collect()
    }
}

/// The distance between ticks: 1, 2 or 5 times a power of ten, for about five of them.
fn step(low: f64, high: f64) -> f64 {
    let rough = (high - low) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let nice = [1.0, 2.0, 5.0, 10.0].into_iter().find(|m| m * power >= rough * 0.999).unwrap_or(10.0);
    nice * power
}

/// A number as short as a tick can be: `250k`, `1.5M`, `0.02`.
pub(crate) fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    if scaled != 0.0 && scaled.abs() < 1e-3 {
        return format!("{scaled:.0e}").replace('-', "−");
    }
    let text = format!("{scaled:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{}{unit}", if text == "-0" { "0" } else { text }).replace('-', "−")
}

/// One line of a chart.
pub(crate) struct Series<'a> {
    pub(crate) name: &'a str,
    /// Which colour and dash pattern; `None` for a muted reference.
    pub(crate) kind: Option<usize>,
    /// Each point: x, middle, lower and upper end of the band.
    pub(crate) points: Vec<[f64; 4]>,
}

impl Series<'_> {
    fn class(&self) -> String {
        match self.kind {
            Some(k) => format!("k{} d{}", k % 6, k % 4),
            None => "k9 d2".into(),
        }
    }
}

/// Lines with bands over a common axis.
pub(crate) struct Chart<'a> {
    /// What a listener is told.
    pub(crate) label: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    pub(crate) log: bool,
    pub(crate) series: Vec<Series<'a>>,
    /// Horizontal reference lines: value and name.
    pub(crate) rules: Vec<(f64, &'a str)>,
}

impl Chart<'_> {
    /// The chart as a drawing.
    pub(crate) fn draw(&self) -> String {
        // Several muted references may be of one kind.
        let mut names: Vec<(String, &str)> = self.series.iter().map(|s| (s.class(), s.name)).collect();
        names.dedup();
        let (legend, top) = legend(&names);
        let (left, right, height) = (46.0, WIDTH - 10.0, top + 250.0);
        let bottom = height - 40.0;
        let mut out = open(height, self.label) + &legend;

        let points = || self.series.iter().flat_map(|s| &s.points);
        let x = Axis::around(points().map(|p| p[0]), false, left, right);
        let heights = points().flat_map(|p| p[1..].iter().copied()).chain(self.rules.iter().map(|r| r.0));
        let y = Axis::around(heights, self.log, bottom, top + 18.0);

        let _ = write!(out, "<text class=\"soft\" x=\"2\" y=\"{:.1}\">{}</text>", top + 4.0, escape(self.y));
        for tick in y.ticks() {
            let at = y.at(tick);
            let _ = write!(out, "<path class=\"grid\" d=\"M{left} {at:.1}H{right}\"/>");
            let label = short(tick);
            let _ = write!(
                out,
                "<text class=\"soft\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                left - 6.0,
                at + 4.0
            );
        }
        for tick in x.ticks() {
            let at = x.at(tick);
            let anchor = if at > right - 14.0 { "end" } else { "middle" };
            let at = if anchor == "end" { right } else { at };
            let (y, label) = (bottom + 17.0, short(tick));
            let _ =
                write!(out, "<text class=\"soft\" x=\"{at:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{label}</text>");
        }
        let _ = write!(
            out,
            "<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (left + right) / 2.0,
            height - 6.0,
            escape(self.x)
        );
        for (value, name) in &self.rules {
            let at = y.at(*value);
            let _ = write!(
                out,
                "<path class=\"rule\" d=\"M{left} {at:.1}H{right}\"/><text class=\"soft halo\" x=\"{left}\" dx=\"6\" y=\"{:.1}\">{}</text>",
                at - 5.0,
                escape(name)
            );
        }
        let usable = |p: &&[f64; 4]| p.iter().all(|v| v.is_finite()) && (!self.log || p[1..].iter().all(|&v| v > 0.0));
        for series in &self.series {
            let class = series.class();
            let points: Vec<&[f64; 4]> = series.points.iter().filter(usable).collect();
            let line = |at: usize| points.iter().map(move |p| (x.at(p[0]), y.at(p[at])));
            let _ = write!(out, "<path class=\"band {class}\" d=\"{}Z\"/>", path(line(3).chain(line(2).rev())));
            let _ = write!(out, "<path class=\"mid {class}\" d=\"{}\"/>", path(line(1)));
        }
        if points().next().is_none() {
            let middle = (top + bottom) / 2.0;
            let _ = write!(
                out,
                "<text class=\"soft\" x=\"210\" y=\"{middle}\" text-anchor=\"middle\">nothing recorded</text>"
            );
        }
        out + "</svg>"
    }
}

/// The `d` of a path through `points`.
pub(crate) fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut d = String::new();
    for (i, (x, y)) in points.enumerate() {
        let _ = write!(d, "{}{x:.1} {y:.1}", if i == 0 { "M" } else { "L" });
    }
    d
}

/// A legend in as many lines as it needs, and the height below it.
fn legend(names: &[(String, &str)]) -> (String, f64) {
    let (mut out, mut x, mut y) = (String::new(), 0.0, 12.0);
    for (class, name) in names {
        let width = 34.0 + 6.6 * name.chars().count() as f64;
        if x > 0.0 && x + width > WIDTH {
            (x, y) = (0.0, y + 18.0);
        }
        let _ = write!(
            out,
            "<path class=\"mid {class}\" d=\"M{x:.1} {:.1}h22\"/><text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
            y - 4.0,
            x + 28.0,
            escape(name)
        );
        x += width + 8.0;
    }
    (out, y + 24.0)
}

/// One line of a [`ladder`].
pub(crate) struct Rungs<'a> {
    pub(crate) name: &'a str,
    /// Which colour and dash pattern.
    pub(crate) kind: usize,
    /// For each category, if there is one: the middle, and the lower and the upper end of its interval.
    pub(crate) points: Vec<Option<[f64; 3]>>,
}

/// Lines over named categories, beside each other so that their intervals can be told apart.
pub(crate) fn ladder(label: &str, x: &str, y: &str, categories: &[&str], lines: &[Rungs<'_>]) -> String {
    let names: Vec<(String, &str)> =
        lines.iter().map(|l| (format!("k{} d{}", l.kind % 6, l.kind % 4), l.name)).collect();
    let (legend, top) = legend(&names);
    let (left, right, height) = (46.0, WIDTH - 10.0, top + 250.0);
    let bottom = height - 40.0;
    let mut out = open(height, label) + &legend;
    let heights = lines.iter().flat_map(|l| l.points.iter().flatten().flatten().copied());
    let axis = Axis::around(heights, false, bottom, top + 18.0);
    let _ = write!(out, "<text class=\"soft\" x=\"2\" y=\"{:.1}\">{}</text>", top + 4.0, escape(y));
    for tick in axis.ticks() {
        let (at, tick) = (axis.at(tick), short(tick));
        let _ = write!(
            out,
            "<path class=\"grid\" d=\"M{left} {at:.1}H{right}\"/><text class=\"soft\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            left - 6.0,
            at + 4.0
        );
    }
    let wide = (right - left) / categories.len().max(1) as f64;
    let middle = |category: usize| left + (category as f64 + 0.5) * wide;
    let mut under = |at: f64, y: f64, text: &str| {
        let text = escape(text);
        let _ = write!(out, "<text class=\"soft\" x=\"{at:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{text}</text>");
    };
    categories.iter().enumerate().for_each(|(i, name)| under(middle(i), bottom + 17.0, name));
    under((left + right) / 2.0, height - 6.0, x);
    let apart = (0.7 * wide / lines.len().max(1) as f64).min(9.0);
    for (i, line) in lines.iter().enumerate() {
        let aside = (i as f64 - (lines.len() as f64 - 1.0) / 2.0) * apart;
        let points: Vec<(f64, [f64; 3])> = (line.points.iter().enumerate())
            .filter_map(|(at, p)| p.filter(|p| p.iter().all(|v| v.is_finite())).map(|p| (middle(at) + aside, p)))
            .collect();
        let class = &names[i].0;
        let joined = path(points.iter().map(|(x, [middle, ..])| (*x, axis.at(*middle))));
        let _ = write!(out, "<g class=\"{class}\"><path class=\"mid {class}\" d=\"{joined}\"/>");
        for (x, [middle, low, high]) in points {
            let [middle, low, high] = [middle, low, high].map(|v| axis.at(v));
            let _ = write!(
                out,
                "<path class=\"stroke\" style=\"stroke-dasharray:none\" d=\"M{x:.1} {low:.1}V{high:.1}\"/><circle class=\"fill\" cx=\"{x:.1}\" cy=\"{middle:.1}\" r=\"2.6\"/>"
            );
        }
        out += "</g>";
    }
    out + "</svg>"
}

/// One row of a [`strip`].
pub(crate) struct Row<'a> {
    pub(crate) name: &'a str,
    /// One dot for each run.
    pub(crate) dots: &'a [f64],
    /// The summary.
    pub(crate) middle: f64,
    /// The interval around the summary, or the range of the runs.
    pub(crate) spread: Option<Spread>,
    /// Which colour; `None` for a muted reference.
    pub(crate) kind: Option<usize>,
}

/// A summary and the ends around it, as a [`Rungs`] has them.
pub(crate) fn around(middle: f64, spread: Spread) -> [f64; 3] {
    let [low, high] = spread.ends();
    [middle, low, high]
}

/// Rows of dots over one axis: every run, the summary as a diamond, an interval as a bar, a range in words alone: its ends are dots.
pub(crate) fn strip(label: &str, axis: &str, rows: &[Row<'_>]) -> String {
    let (left, right, pitch) = (8.0, WIDTH - 12.0, 48.0);
    let (bottom, height) = (8.0 + pitch * rows.len() as f64, 50.0 + pitch * rows.len() as f64);
    let mut out = open(height, label);
    let values = rows.iter().flat_map(|r| {
        let ends = r.spread.map_or([r.middle; 2], Spread::ends);
        r.dots.iter().copied().chain(ends).chain([r.middle])
    });
    let x = Axis::around(values.chain([0.0]), false, left, right);
    for tick in x.ticks() {
        let at = x.at(tick);
        let anchor = if at > right - 14.0 {
            "end"
        } else if at < left + 8.0 {
            "start"
        } else {
            "middle"
        };
        let _ = write!(
            out,
            "<path class=\"grid\" d=\"M{at:.1} 4V{bottom:.1}\"/><text class=\"soft\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            bottom + 16.0,
            short(tick)
        );
    }
    let middle = (left + right) / 2.0;
    let (y, axis) = (bottom + 36.0, escape(axis));
    let _ = write!(out, "<text class=\"soft\" x=\"{middle:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{axis}</text>");
    for (i, row) in rows.iter().enumerate() {
        let (base, k) = (8.0 + pitch * i as f64, row.kind.map_or(9, |k| k % 6));
        let (strong, soft) = if row.kind.is_some() { ("strong", "") } else { ("soft", "soft") };
        let _ = write!(
            out,
            "<g class=\"k{k}\"><text class=\"{strong} halo\" x=\"{left}\" y=\"{:.1}\">{}</text><text class=\"{strong} halo\" x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">{}",
            base + 12.0,
            escape(row.name),
            base + 12.0,
            format!("{:.1}", row.middle).replace('-', "−")
        );
        if let Some(spread) = row.spread {
            let [low, high] = spread.ends();
            let text = match spread {
                Spread::Interval95(_) => format!("[{low:.1}, {high:.1}]"),
                Spread::Range(_) => format!("{low:.1} to {high:.1}"),
            };
            let text = text.replace('-', "−");
            let _ = write!(out, "<tspan class=\"soft\" dx=\"6\" style=\"font-weight:400\">{text}</tspan>");
        }
        out += "</text>";
        let y = base + 28.0;
        if let Some(Spread::Interval95([low, high])) = row.spread {
            let _ = write!(
                out,
                "<path class=\"stroke\" style=\"stroke-width:7;opacity:.28;stroke-linecap:round\" d=\"M{:.1} {y}H{:.1}\"/>",
                x.at(low),
                x.at(high)
            );
        }
        for dot in row.dots.iter().filter(|d| d.is_finite()) {
            let at = x.at(*dot);
            let _ = write!(out, "<circle class=\"fill\" cx=\"{at:.1}\" cy=\"{y}\" r=\"3.6\" opacity=\".62\"/>");
        }
        let at = x.at(row.middle);
        let fill = if soft.is_empty() { "fill:var(--card)" } else { "fill:none" };
        let _ = write!(
            out,
            "<path class=\"stroke\" style=\"{fill};stroke-width:2\" d=\"M{at:.1} {:.1}l6.5 6.5l-6.5 6.5l-6.5 -6.5z\"/></g>",
            y - 6.5
        );
    }
    out + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        let axis = Axis::around([3.0, 137.0].into_iter(), false, 0.0, 100.0);
        assert_eq!(axis.ticks(), [0.0, 50.0, 100.0, 150.0]);
        assert_eq!((axis.at(0.0), axis.at(75.0), axis.at(150.0)), (0.0, 50.0, 100.0));
        let log = Axis::around([0.012, 4.0].into_iter(), true, 0.0, 1.0);
        let ticks = log.ticks();
        assert!(ticks.len() == 4 && (ticks[0] - 0.01).abs() < 1e-9 && ticks[3] == 10.0, "{ticks:?}");
        // Nothing, one value, and numbers that are none.
        assert!(Axis::around([].into_iter(), false, 0.0, 1.0).at(0.5).is_finite());
        assert!(Axis::around([7.0, f64::NAN, 7.0].into_iter(), false, 0.0, 1.0).at(7.0).is_finite());
        assert!(Axis::around([0.0, -1.0].into_iter(), true, 0.0, 1.0).at(1.0).is_finite());
    }

    #[test]
    fn numbers_on_ticks_are_short() {
        let shown = [0.0, 50.0, 0.25, 10_000.0, 250_000.0, 1_500_000.0, -20.0, 1e-5].map(short);
        assert_eq!(shown, ["0", "50", "0.25", "10k", "250k", "1.5M", "−20", "1e−5"]);
    }

    #[test]
    fn a_ladder_has_every_line_and_leaves_gaps_where_nothing_was_measured() {
        let line = |name, kind, points| Rungs { name, kind, points };
        let lines = [
            line("a", 0, vec![Some([1.0, 0.5, 2.0]), None, Some([3.0, 2.0, 4.0])]),
            line("b", 7, vec![Some([f64::NAN; 3]), Some([-1.0, -2.0, 0.0]), Some([0.0, 0.0, 0.0])]),
        ];
        let drawn = ladder("l", "push", "score", &["none", "slight", "large"], &lines);
        assert_eq!((drawn.matches("<circle").count(), drawn.matches("class=\"stroke\"").count()), (4, 4));
        assert!(drawn.contains("slight") && drawn.contains("k1 d3") && !drawn.contains("NaN"));
        assert!(ladder("l", "x", "y", &[], &[]).ends_with("</svg>"));
    }

    #[test]
    fn a_chart_holds_its_series_and_leaves_out_what_is_no_number() {
        let series = Series {
            name: "a < b",
            kind: Some(1),
            points: vec![[0.0, 1.0, 0.5, 2.0], [1.0, f64::NAN, 0.0, 0.0], [2.0, 3.0, 2.0, 4.0]],
        };
        let chart =
            Chart { label: "l", x: "step", y: "score", log: false, series: vec![series], rules: vec![(2.0, "bound")] };
        let drawn = chart.draw();
        assert!(drawn.contains("a &lt; b") && drawn.contains("bound") && !drawn.contains("NaN"));
        assert_eq!(drawn.matches("class=\"mid k1 d1\"").count(), 2);
        let empty = Chart { series: vec![], rules: vec![], ..chart };
        assert!(empty.draw().contains("nothing recorded"));
        assert!(standalone(&drawn).contains("<style>") && standalone(&drawn).ends_with("</svg>\n"));
    }
}
