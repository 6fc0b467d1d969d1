use backcast_core::Real;
use backcast_nn::{Shape, Tape, Var};

/// F, `[2·rows, …]`: the s̃ first, then the s̃′ in the same order.
#[derive(Default)]
pub(super) struct Played {
    pub(super) states: Vec<Real>,
    pub(super) epsilon: Vec<Real>,
    /// u.
    pub(super) actions: Vec<Real>,
    /// Weights of the rows in a mean, which add up to 1: those that end have none.
    pub(super) weights: Vec<Real>,
    /// s̃, ã in the model's units, the elite asked and the normal numbers behind what it says.
    pub(super) asked: Vec<Real>,
    pub(super) taken: Vec<Real>,
    pub(super) elite: Vec<Real>,
    pub(super) z: Vec<Real>,
}

/// Rows of F in some order: place `i` has row (i mod g)·stride + ⌊i/g⌋. With g = 1 it is theirs; else g consecutive places are rows
/// from all over F.
#[derive(Clone, Copy)]
pub(super) struct Order {
    pub(super) rows: usize,
    pub(super) group: usize,
    pub(super) stride: usize,
}

impl Order {
    /// For `rows` of `all` rows of F to be compared with as many of `truth`, in groups of `group` or alone.
    pub(super) fn of(all: usize, truth: usize, group: Option<usize>) -> Self {
        let Some(group) = group else { return Self { rows: all, group: 1, stride: all } };
        let both = all.min(truth);
        let group = group.min(both).max(1);
        Self { rows: both / group * group, group, stride: all / group }
    }

    /// Numbers of rows of F, `width` to a row, in this order.
    pub(super) fn read<'t>(self, tape: Tape<'t>, numbers: &[Real], width: usize) -> Var<'t> {
        tape.fill(Shape::new(1, self.rows, width), |out| {
            for (place, out) in out.chunks_exact_mut(width).enumerate() {
                let row = place % self.group * self.stride + place / self.group;
                out.copy_from_slice(&numbers[row * width..][..width]);
            }
        })
    }
}
