use crate::EnvError;

/// What fills one cell of a maze.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// A box of side 1 m.
    Wall,
    /// Free space.
    Free,
    /// Free space with the benchmark's goal in it.
    Goal,
}

/// An axis-aligned rectangle in **observation** coordinates, metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WallBox {
    /// The corner with the smallest coordinates.
    pub min: [f64; 2],
    /// The corner with the largest coordinates.
    pub max: [f64; 2],
}

/// A maze: a grid of cells of 1 m.
///
/// Row index *w* of the drawing is the **x** coordinate and column index *h* the **y** coordinate. The wall of cell
/// (w, h) covers `[w − 0.7, w + 0.3] × [h − 0.7, h + 0.3]` in observation coordinates: integer coordinates, where
/// resets and goals sit, are *not* the middle of a cell (that is w − 0.2, h − 0.2).
///
/// ```
/// use backcast_envs::maze2d::Layout;
///
/// let umaze = Layout::umaze();
/// assert_eq!((umaze.rows(), umaze.cols()), (5, 5));
/// assert_eq!(umaze.goal(), (1, 1));
/// assert_eq!(umaze.open_cells().len(), 7); // six free cells and the goal
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    rows: usize,
    cols: usize,
    cells: Vec<Cell>,
    open: Vec<(usize, usize)>,
    goal: (usize, usize),
}

const OPEN: &str = "\
#######
#OOOOO#
#OOGOO#
#OOOOO#
#######";
const SMALL: &str = "\
######
#OOOO#
#O##O#
#OOOO#
######";
const UMAZE: &str = "\
#####
#GOO#
###O#
#OOO#
#####";
const MEDIUM: &str = "\
########
#OO##OO#
#OO#OOO#
##OOO###
#OO#OOO#
#O#OO#O#
#OOO#OG#
########";
const LARGE: &str = "\
############
#OOOO#OOOOO#
#O##O#O#O#O#
#OOOOOO#OOO#
#O####O###O#
#OO#O#OOOOO#
##O#O#O#O###
#OO#OOO#OGO#
############";
const UMAZE_EVAL: &str = "\
#####
#OOG#
#O###
#OOO#
#####";
const MEDIUM_EVAL: &str = "\
########
#OOOOOG#
#O#O##O#
#OOOO#O#
###OO###
#OOOOOO#
#OO##OO#
########";
const LARGE_EVAL: &str = "\
############
#OO#OOO#OGO#
##O###O#O#O#
#OO#O#OOOOO#
#O##O#OO##O#
#OOOOOO#OOO#
#O##O#O#O###
#OOOO#OOOOO#
############";

impl Layout {
    /// The names [`Layout::named`] knows.
    pub const NAMES: [&'static str; 8] =
        ["open", "small", "umaze", "medium", "large", "eval-umaze", "eval-medium", "eval-large"];

    /// One of the published layouts (D4RL, arXiv:2004.07219), or `None`.
    pub fn named(name: &str) -> Option<Self> {
        let drawing = match name {
            "open" => OPEN,
            "small" => SMALL,
            "umaze" => UMAZE,
            "medium" => MEDIUM,
            "large" => LARGE,
            "eval-umaze" => UMAZE_EVAL,
            "eval-medium" => MEDIUM_EVAL,
            "eval-large" => LARGE_EVAL,
            _ => return None,
        };
        Some(Self::parse(drawing).expect("the published layouts are well drawn"))
    }

    /// The 5 × 5 U-shaped maze.
    pub fn umaze() -> Self {
        Self::named("umaze").expect("a published layout")
    }

    /// Reads a drawing: lines of `#` (wall), `O` (free) and at most one `G` (goal). Without a `G` the goal is the first
    /// free cell in row-major order.
    ///
    /// # Errors
    /// [`EnvError::Layout`] naming the place of a line of another length, an unknown character, a second goal, or a
    /// drawing without a free cell.
    pub fn parse(drawing: &str) -> Result<Self, EnvError> {
        let lines: Vec<&str> = drawing.lines().collect();
        let cols = lines.first().map_or(0, |line| line.chars().count());
        let (mut cells, mut open, mut goal) = (Vec::new(), Vec::new(), None);
        for (row, line) in lines.iter().enumerate() {
            if line.chars().count() != cols {
                return Err(EnvError::Layout { row, column: 0, why: "the line is not as long as the first" });
            }
            for (column, character) in line.chars().enumerate() {
                cells.push(match character {
                    '#' => Cell::Wall,
                    'O' => Cell::Free,
                    'G' if goal.is_none() => Cell::Goal,
                    'G' => return Err(EnvError::Layout { row, column, why: "a second goal" }),
                    _ => return Err(EnvError::Layout { row, column, why: "neither `#`, `O` nor `G`" }),
                });
                match cells[cells.len() - 1] {
                    Cell::Wall => {}
                    Cell::Free => open.push((row, column)),
                    Cell::Goal => goal = Some((row, column)),
                }
            }
        }
        // The goal comes last among the cells that resets draw from, as in the original.
        let target = goal.or(open.first().copied());
        open.extend(goal);
        match target {
            Some(goal) => Ok(Self { rows: lines.len(), cols, cells, open, goal }),
            None => Err(EnvError::Layout { row: 0, column: 0, why: "there is no free cell" }),
        }
    }

    /// The number of rows: the extent along x, cells.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns: the extent along y, cells.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The cell at row `w`, column `h`; `None` outside the drawing.
    pub fn cell(&self, w: usize, h: usize) -> Option<Cell> {
        (w < self.rows && h < self.cols).then(|| self.cells[w * self.cols + h])
    }

    /// Whether row `w`, column `h` is a wall. Outside the drawing there is none.
    pub fn is_wall(&self, w: i64, h: i64) -> bool {
        w >= 0 && h >= 0 && self.cell(w as usize, h as usize) == Some(Cell::Wall)
    }

    /// The cells that resets and goals are drawn from: free cells in row-major order, then the goal's cell.
    pub fn open_cells(&self) -> &[(usize, usize)] {
        &self.open
    }

    /// The benchmark's goal, whose integer (row, column) are also its observation coordinates in metres.
    pub fn goal(&self) -> (usize, usize) {
        self.goal
    }

    /// The walls as rectangles in observation coordinates (metres), one per wall cell, row after row. Only the centre of
    /// the particle is observed: it keeps 0.1 m (its radius) away from each.
    pub fn wall_boxes(&self) -> Vec<WallBox> {
        let wall = |i: &usize| self.cells[*i] == Cell::Wall;
        (0..self.cells.len())
            .filter(wall)
            .map(|i| {
                let corner = [(i / self.cols) as f64 - 0.7, (i % self.cols) as f64 - 0.7];
                WallBox { min: corner, max: [corner[0] + 1.0, corner[1] + 1.0] }
            })
            .collect()
    }

    /// How far the surface of a particle at `position` (observation coordinates, metres) is from the nearest wall: negative
    /// where it overlaps one, and −∞ outside the drawing, where nothing can be.
    ///
    /// ```
    /// use approx::abs_diff_eq;
    /// use backcast_envs::maze2d::Layout;
    /// let maze = Layout::umaze();
    /// let near = |position, distance: f64| abs_diff_eq!(maze.clearance(position), distance, epsilon = 1e-12);
    /// assert!(near([1.0, 1.0], 0.2) && near([0.3, 1.0], -0.1) && near([0.1, 1.0], -0.3));
    /// assert_eq!(maze.clearance([9.0, 1.0]), f64::NEG_INFINITY);
    /// ```
    pub fn clearance(&self, position: [f64; 2]) -> f64 {
        let extent = [self.rows as f64 - 0.7, self.cols as f64 - 0.7];
        if (0..2).any(|i| !(-0.7..=extent[i]).contains(&position[i])) {
            return f64::NEG_INFINITY;
        }
        let distance = |wall: WallBox| {
            // Signed distances to the two slabs; both negative inside.
            let beyond = [0, 1].map(|i| (wall.min[i] - position[i]).max(position[i] - wall.max[i]));
            let [x, y] = beyond.map(|b| b.max(0.0));
            if x > 0.0 || y > 0.0 { x.hypot(y) } else { beyond[0].max(beyond[1]) }
        };
        self.wall_boxes().into_iter().map(distance).fold(f64::INFINITY, f64::min) - super::physics::RADIUS
    }

    /// Where a particle that is shoved straight from `from` towards `to` ends: there, or where a wall stops it, to the
    /// centimetre (observation coordinates, metres). One that starts a little inside a wall, as soft contacts allow, goes no
    /// deeper.
    pub(crate) fn as_far_as(&self, from: [f64; 2], to: [f64; 2]) -> [f64; 2] {
        let deepest = self.clearance(from).min(0.0);
        let steps = ((to[0] - from[0]).hypot(to[1] - from[1]) / 0.01).ceil().max(1.0) as usize;
        let place = |step: usize| {
            let t = step as f64 / steps as f64;
            if step == steps { to } else { [0, 1].map(|i| from[i] + t * (to[i] - from[i])) }
        };
        let blocked = (1..=steps).find(|&step| self.clearance(place(step)) < deepest);
        blocked.map_or(to, |step| if step == 1 { from } else { place(step - 1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_where_the_benchmark_has_them() {
        for (name, goal) in [("umaze", (1, 1)), ("medium", (6, 6)), ("large", (7, 9)), ("open", (2, 3))] {
            assert_eq!(Layout::named(name).unwrap().goal(), goal, "{name}");
        }
        assert_eq!(Layout::named("small").unwrap().goal(), (1, 1));
        assert_eq!(Layout::named("nowhere"), None);
    }

    #[test]
    fn every_published_layout_is_closed_and_connected() {
        for name in Layout::NAMES {
            let layout = Layout::named(name).unwrap();
            let (rows, cols) = (layout.rows() as i64, layout.cols() as i64);
            let border = |w, h| w == 0 || h == 0 || w == rows - 1 || h == cols - 1;
            for (w, h) in (0..rows).flat_map(|w| (0..cols).map(move |h| (w, h))) {
                assert!(!border(w, h) || layout.is_wall(w, h), "{name}: hole in the border at {w}, {h}");
            }
            let mut reached = vec![layout.goal()];
            let mut next = 0;
            while let Some(&(w, h)) = reached.get(next) {
                next += 1;
                for (w, h) in [(w, h - 1), (w, h + 1), (w - 1, h), (w + 1, h)] {
                    if !layout.is_wall(w as i64, h as i64) && !reached.contains(&(w, h)) {
                        reached.push((w, h));
                    }
                }
            }
            assert_eq!(reached.len(), layout.open_cells().len(), "{name}");
        }
    }

    #[test]
    fn bad_drawings_are_named_by_place() {
        assert!(matches!(Layout::parse("###\n#O#\n##"), Err(EnvError::Layout { row: 2, .. })));
        assert!(matches!(Layout::parse("###\n#?#\n###"), Err(EnvError::Layout { row: 1, column: 1, .. })));
        assert!(matches!(Layout::parse("####\n#GG#\n####"), Err(EnvError::Layout { row: 1, column: 2, .. })));
        assert!(Layout::parse("##\n##").is_err() && Layout::parse("").is_err());
    }

    #[test]
    fn wall_boxes_sit_seven_tenths_before_their_index() {
        let boxes = Layout::umaze().wall_boxes();
        assert_eq!(boxes.len(), 25 - 7);
        assert_eq!(boxes[0], WallBox { min: [-0.7, -0.7], max: [-0.7 + 1.0, -0.7 + 1.0] });
    }
}
