//! Which rows of a batch serve which purpose.

use backcast_core::{Batch, Real};
use backcast_nn::{Shape, Tape, Var};
use ndarray::ArrayView2;
use std::ops::Range;

/// Rows of a batch that serve one purpose: some of the dataset, and some imagined.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows([Range<usize>; 2]);

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Range::len).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + use<> {
        self.0.clone().into_iter().flatten()
    }

    /// These rows of a column, `[1, rows, width]`.
    pub(super) fn of<'t>(&self, tape: Tape<'t>, column: ArrayView2<'_, Real>) -> Var<'t> {
        let width = column.ncols();
        tape.fill(Shape::new(1, self.len(), width), |out| {
            for (out, row) in out.chunks_exact_mut(width).zip(self.iter()) {
                out.iter_mut().zip(column.row(row)).for_each(|(out, &x)| *out = x);
            }
        })
    }
}

/// Three batches in one, because what is compared must be drawn apart: half of all rows are pairs of the dataset that
/// the policy's are to resemble, and the others, real and imagined, are shared out among those that values are learnt
/// on and those that the policy starts from. Fewer than four rows are everything at once.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parts {
    pub(super) values: Rows,
    pub(super) starts: Rows,
    pub(super) truth: Rows,
}

impl Parts {
    pub(super) fn of(batch: &Batch<'_>) -> Self {
        let (rows, real) = (batch.len(), batch.real);
        if rows < 4 {
            let all = Rows([0..real, real..rows]);
            return Self { values: all.clone(), starts: all, truth: Rows([0..real, 0..0]) };
        }
        let mixed = real - real.min(rows / 2);
        // The odd row of the dataset to one, the odd imagined row to the other: neither is left with none.
        let (of_log, imagined) = (mixed.div_ceil(2), (rows - real) / 2);
        Self {
            values: Rows([0..of_log, real..real + imagined]),
            starts: Rows([of_log..mixed, real + imagined..rows]),
            truth: Rows([mixed..real, 0..0]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Spec, Transitions};

    fn parts(real: usize, imagined: usize) -> Parts {
        let mut rows = Transitions::new(Spec::new(1, 1));
        (0..real).for_each(|_| rows.push(&[0.0], &[0.0], 0.0, &[0.0], false));
        rows.begin_imagined();
        (0..imagined).for_each(|_| rows.push(&[0.0], &[0.0], 0.0, &[0.0], false));
        Parts::of(&rows.batch())
    }

    /// 4·512 rows at a share of 70 % in the mixed batches.
    #[test]
    fn a_batch_is_three() {
        let Parts { values, starts, truth } = parts(1024 + 716, 308);
        assert_eq!((values.len(), starts.len(), truth.len()), (512, 512, 1024));
        assert_eq!(values, Rows([0..358, 1740..1894]));
        assert_eq!(starts, Rows([358..716, 1894..2048]));
        assert_eq!(truth, Rows([716..1740, 0..0]));
    }

    #[test]
    fn every_row_serves_once_and_every_purpose_has_one() {
        for real in 1..20 {
            for imagined in 0..20 {
                let Parts { values, starts, truth } = parts(real, imagined);
                assert!(
                    values.len() > 0 && starts.len() > 0 && truth.len() > 0,
                    "{real} and {imagined}"
                );
                assert!(truth.iter().all(|row| row < real));
                if real + imagined >= 4 {
                    let mut all: Vec<_> =
                        values.iter().chain(starts.iter()).chain(truth.iter()).collect();
                    all.sort_unstable();
                    assert_eq!(all, (0..real + imagined).collect::<Vec<_>>());
                }
            }
        }
        assert_eq!(parts(0, 9).truth.len(), 0);
    }
}
