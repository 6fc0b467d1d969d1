use super::Layout;

/// Tabular Q-iteration on the grid of a maze: which neighbouring cell to go to, for every cell and any target cell.
///
/// 50 sweeps, γ = 0.99, reward 1 while standing on the target; the moves are, in order of preference where values tie,
/// stay, y − 1, y + 1, x − 1, x + 1. A move into a wall or off the grid stays where it is; a walk may *start* in a wall
/// cell (a particle hugging a wall rounds to it) and leave it.
#[derive(Clone, Debug)]
pub struct Planner {
    rows: usize,
    cols: usize,
    wall: Vec<bool>,
    /// For every target cell, once it has been asked for: the best next cell of every cell.
    next: Vec<Option<Vec<usize>>>,
}

const SWEEPS: usize = 50;
const DISCOUNT: f64 = 0.99;
/// A walk that has not arrived after this many moves ends there.
const LONGEST_WALK: usize = 100;

impl Planner {
    /// A planner for `layout`.
    pub fn new(layout: &Layout) -> Self {
        let (rows, cols) = (layout.rows(), layout.cols());
        let wall = (0..rows * cols).map(|i| layout.is_wall((i / cols) as i64, (i % cols) as i64)).collect();
        Self { rows, cols, wall, next: vec![None; rows * cols] }
    }

    /// The cells of the greedy walk from `start` to `target`, without `start` itself and with `target` last. From the target
    /// it is the target alone; where the target cannot be reached it is 100 cells that go nowhere.
    ///
    /// # Panics
    /// If a cell lies outside the grid.
    pub fn walk(&mut self, start: (usize, usize), target: (usize, usize)) -> Vec<(usize, usize)> {
        let [mut at, target] = [start, target].map(|(row, column)| {
            assert!(row < self.rows && column < self.cols, "Planner::walk: ({row}, {column}) is off the grid");
            row * self.cols + column
        });
        if self.next[target].is_none() {
            self.next[target] = Some(self.solve(target));
        }
        let next = self.next[target].as_ref().expect("solved above");
        let mut cells = Vec::new();
        for _ in 0..LONGEST_WALK {
            at = next[at];
            cells.push((at / self.cols, at % self.cols));
            if at == target {
                break;
            }
        }
        cells
    }

    /// The best next cell of every cell, by Q-iteration.
    fn solve(&self, target: usize) -> Vec<usize> {
        let cells = self.wall.len();
        let moves: Vec<[usize; 5]> = (0..cells).map(|cell| self.moves(cell)).collect();
        let mut value = vec![0.0; cells];
        let mut best = vec![0; cells];
        for _ in 0..SWEEPS {
            let old = value.clone();
            for cell in 0..cells {
                let reward = f64::from(u8::from(cell == target));
                let q = moves[cell].map(|to| reward + DISCOUNT * old[to]);
                // The first of the largest, as numpy's argmax.
                let arg = (1..5).fold(0, |best, i| if q[i] > q[best] { i } else { best });
                (value[cell], best[cell]) = (q[arg], moves[cell][arg]);
            }
        }
        best
    }

    /// Where the five moves lead from `cell`.
    fn moves(&self, cell: usize) -> [usize; 5] {
        let (row, column) = (cell / self.cols, cell % self.cols);
        let open = |possible: bool, to: usize| if possible && !self.wall[to] { to } else { cell };
        [
            cell,
            open(column > 0, cell.wrapping_sub(1)),
            open(column + 1 < self.cols, cell + 1),
            open(row > 0, cell.wrapping_sub(self.cols)),
            open(row + 1 < self.rows, cell + self.cols),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_through_the_umaze_is_the_only_one() {
        let mut planner = Planner::new(&Layout::umaze());
        assert_eq!(planner.walk((3, 1), (1, 1)), [(3, 2), (3, 3), (2, 3), (1, 3), (1, 2), (1, 1)]);
        assert_eq!(planner.walk((1, 1), (1, 1)), [(1, 1)]);
        // From a wall cell beside the corridor.
        assert_eq!(planner.walk((0, 2), (1, 1)), [(1, 2), (1, 1)]);
    }

    /// Breadth-first distances, computed another way.
    #[test]
    fn walks_are_shortest_paths_through_free_cells() {
        for name in Layout::NAMES {
            let layout = Layout::named(name).unwrap();
            let mut planner = Planner::new(&layout);
            for &target in layout.open_cells() {
                let mut distance = std::collections::HashMap::from([(target, 0)]);
                let mut queue = std::collections::VecDeque::from([target]);
                while let Some((w, h)) = queue.pop_front() {
                    for to in [(w - 1, h), (w + 1, h), (w, h - 1), (w, h + 1)] {
                        if !layout.is_wall(to.0 as i64, to.1 as i64) && !distance.contains_key(&to) {
                            distance.insert(to, distance[&(w, h)] + 1);
                            queue.push_back(to);
                        }
                    }
                }
                for &start in layout.open_cells() {
                    let walk = planner.walk(start, target);
                    assert_eq!(walk.len(), distance[&start].max(1), "{name} {start:?} to {target:?}");
                    assert_eq!(walk.last(), Some(&target));
                    assert!(walk.iter().all(|c| !layout.is_wall(c.0 as i64, c.1 as i64)));
                }
            }
        }
    }
}
