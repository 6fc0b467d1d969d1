//! The maze from above: where the data have been, and where imagination goes.

use crate::report::MazeReport;
use crate::svg::{WIDTH, open, path, short};
use std::fmt::Write;

/// How much of the outer wall is left out on each side, in cells.
const CROP: f64 = 0.55;

/// Paths drawn in a panel: more would be a scribble.
const MOST_PATHS: usize = 48;

/// Levels of the heat map: enough to look smooth, few enough to draw each as one path.
const LEVELS: usize = 12;

/// Which way a panel's trajectories were imagined.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Panel {
    /// From a recorded state back in time: the dot is where the path ends.
    Reverse,
    /// From a recorded state onwards: the dot is where the path begins.
    Forward,
}

/// Walls, the data's occupancy on a logarithmic scale, the goal, and one direction's imagined trajectories.
///
/// The maze stands as its layout is written: the first observation coordinate is the row and grows downwards, the second
/// is the column and grows to the right. The wall of cell *(w, h)* covers *[w − 0.7, w + 0.3] × [h − 0.7, h + 0.3]*.
pub(crate) fn panel(maze: &MazeReport, panel: Panel) -> String {
    let (rows, columns) = (maze.rows.len(), maze.rows.iter().map(|r| r.chars().count()).max().unwrap_or(0));
    // Most of the outer wall says nothing and is left out of the picture.
    let (wide, high) = (columns.max(2) as f64 - 2.0 * CROP, rows.max(2) as f64 - 2.0 * CROP);
    let unit = WIDTH / wide;
    let place = |(x, y): (f64, f64)| ((y + 0.7 - CROP) * unit, (x + 0.7 - CROP) * unit);
    let depth = high * unit;
    let height = depth + 46.0;
    let (label, trajectories, kind) = match panel {
        Panel::Reverse => ("paths imagined backwards, each ending in a recorded state", &maze.reverse, 0),
        Panel::Forward => ("paths imagined forwards, each beginning in a recorded state", &maze.forward, 1),
    };
    let mut out = open(height, &format!("the maze from above with {label}"));

    let _ = write!(out, "<svg width=\"{WIDTH}\" height=\"{depth:.1}\" viewBox=\"0 0 {WIDTH} {depth:.1}\">");
    let (bins_x, bins_y, counts) = &maze.occupancy;
    let most = counts.iter().copied().fold(0.0, f64::max).ln_1p();
    if *bins_x > 0 && *bins_y > 0 && most > 0.0 {
        // Bins divide the whole layout, walls included; the first index is the row direction.
        let (bw, bh) = (columns as f64 * unit / *bins_y as f64, rows as f64 * unit / *bins_x as f64);
        let mut levels = vec![String::new(); LEVELS + 1];
        for (i, &count) in counts.iter().enumerate().filter(|(_, c)| **c > 0.0) {
            let level = (count.ln_1p() / most * LEVELS as f64).ceil() as usize;
            let (x0, y0) = place((-0.7, -0.7));
            let (x, y) = (x0 + (i % bins_y) as f64 * bw, y0 + (i / bins_y) as f64 * bh);
            // A hair wider than the bin, or seams show between neighbours.
            let _ =
                write!(levels[level.min(LEVELS)], "M{x:.1} {y:.1}h{:.1}v{:.1}h-{:.1}z", bw + 0.2, bh + 0.2, bw + 0.2);
        }
        for (level, d) in levels.iter().enumerate().filter(|(_, d)| !d.is_empty()) {
            let opacity = 0.5 * level as f64 / LEVELS as f64;
            let _ = write!(out, "<path class=\"heat\" fill-opacity=\"{opacity:.2}\" d=\"{d}\"/>");
        }
    }
    // One path for all walls: apart, their edges would show.
    let mut walls = String::new();
    for (w, row) in maze.rows.iter().enumerate() {
        for (h, _) in row.chars().enumerate().filter(|(_, cell)| *cell == '#') {
            let (x, y) = place((w as f64 - 0.7, h as f64 - 0.7));
            let _ = write!(walls, "M{x:.1} {y:.1}h{0:.1}v{0:.1}h-{0:.1}z", unit + 0.4);
        }
    }
    let _ = write!(out, "<path class=\"wall\" d=\"{walls}\"/>");
    let (gx, gy) = place(maze.goal);
    let radius = maze.goal_radius * unit;
    let _ = write!(
        out,
        "<circle class=\"goal\" cx=\"{gx:.1}\" cy=\"{gy:.1}\" r=\"{radius:.1}\"/><circle class=\"goal-dot\" cx=\"{gx:.1}\" cy=\"{gy:.1}\" r=\"2.5\"/>"
    );

    let _ = write!(out, "<g class=\"k{kind}\">");
    // Evenly spread over all of them, so that the picture is of the whole and not of the first call.
    for trajectory in trajectories.iter().step_by(trajectories.len().div_ceil(MOST_PATHS).max(1)) {
        // A state that is no number, or far outside, would only stretch the picture.
        let inside = |p: &&(f64, f64)| (-1.0..rows as f64).contains(&p.0) && (-1.0..columns as f64).contains(&p.1);
        let points = trajectory.iter().filter(inside).map(|&p| place(p));
        let _ = write!(out, "<path class=\"path\" d=\"{}\"/>", path(points));
        let real = if panel == Panel::Reverse { trajectory.last() } else { trajectory.first() };
        if let Some((x, y)) = real.filter(|p| inside(p)).map(|&p| place(p)) {
            let _ = write!(out, "<circle class=\"fill\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\"/>");
        }
    }
    out += "</g></svg>";
    let _ = write!(out, "<g class=\"k{kind}\">");
    let what = if panel == Panel::Reverse {
        "recorded state, where the path ends"
    } else {
        "recorded state, where the path begins"
    };
    let at = depth + 20.0;
    let _ = write!(
        out,
        "<circle class=\"fill\" cx=\"6\" cy=\"{:.1}\" r=\"3\"/><text x=\"16\" y=\"{at:.1}\">{what}</text>",
        at - 4.0
    );
    let _ = write!(
        out,
        "<path class=\"path\" style=\"opacity:1\" d=\"M{0} {1:.1}h22\"/><text x=\"{2}\" y=\"{at:.1}\">imagined</text>",
        WIDTH - 86.0,
        at - 4.0,
        WIDTH - 58.0
    );
    let _ = write!(
        out,
        "</g><circle class=\"goal\" cx=\"6\" cy=\"{:.1}\" r=\"5\"/><text x=\"16\" y=\"{:.1}\">rewarded, radius {}</text>",
        at + 15.0,
        at + 19.0,
        short(maze.goal_radius)
    );
    let _ = write!(
        out,
        "<rect class=\"heat\" x=\"{0}\" y=\"{1:.1}\" width=\"22\" height=\"9\" fill-opacity=\".5\"/><text x=\"{2}\" y=\"{3:.1}\">data</text>",
        WIDTH - 86.0,
        at + 11.0,
        WIDTH - 58.0,
        at + 19.0
    );
    out + "</svg>"
}
