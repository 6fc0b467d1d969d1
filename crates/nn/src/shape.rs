use std::fmt;

/// `[members, rows, cols]`: an ensemble, a pair of critics and a single net are one code path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Independent nets side by side.
    pub members: usize,
    /// Rows of a batch, or inputs of a weight.
    pub rows: usize,
    /// Features of a row, or outputs of a weight.
    pub cols: usize,
}

impl Shape {
    /// `[1, 1, 1]`, the shape of a loss.
    pub const SCALAR: Self = Self::new(1, 1, 1);

    /// `[members, rows, cols]`.
    pub const fn new(members: usize, rows: usize, cols: usize) -> Self {
        Self { members, rows, cols }
    }

    /// The number of values.
    pub const fn len(self) -> usize {
        self.members * self.rows * self.cols
    }

    /// Whether there is no value.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The three sizes in order.
    pub const fn dims(self) -> [usize; 3] {
        [self.members, self.rows, self.cols]
    }

    /// The shape both broadcast to: sizes are equal or one of them is 1.
    ///
    /// # Panics
    /// If they do not fit, naming `operation` and both shapes.
    pub(crate) fn join(self, other: Self, operation: &str) -> Self {
        let one = |a: usize, b: usize| match (a, b) {
            (1, b) => b,
            (a, 1) => a,
            (a, b) if a == b => a,
            _ => panic!("{operation}: shapes {self:?} and {other:?} do not fit"),
        };
        Self::new(one(self.members, other.members), one(self.rows, other.rows), one(self.cols, other.cols))
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}, {}]", self.members, self.rows, self.cols)
    }
}
