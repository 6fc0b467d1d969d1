use crate::{Column, Real, Spec, State};
use ndarray::{ArrayView2, ArrayView3, ArrayViewMut2, Axis};
use serde::{Deserialize, Serialize};

/// Forward *p(s′, r ∣ s, a)*, reverse *p(s, r ∣ s′, a)*, inverse *p(a ∣ s, s′)*: three ways to split the columns of one
/// transition into what is given and what is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// *p(r, s′ ∣ s, a)*: what happens next.
    Forward,
    /// *p(r, s ∣ s′, a)*: what may have led here (ROMI, arXiv:2110.00188, §3.1).
    Reverse,
    /// *p(a ∣ s, s′)*: what was done.
    Inverse,
}

/// The columns a model is given and those it predicts, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// The two input columns, side by side.
    pub given: [Column; 2],
    /// The output columns, side by side: **reward first** where there is one (as in MOPO and ROMI).
    pub predicted: &'static [Column],
    /// A predicted state is modelled as a change from this column.
    pub anchor: Option<Column>,
}

impl Direction {
    // ANCHOR: split
    /// Which columns this direction is given and which it predicts.
    pub const fn split(self) -> Split {
        use Column::{Act, NextObs, Obs, Reward};
        match self {
            Self::Forward => Split { given: [Obs, Act], predicted: &[Reward, NextObs], anchor: Some(Obs) },
            Self::Reverse => Split { given: [NextObs, Act], predicted: &[Reward, Obs], anchor: Some(NextObs) },
            Self::Inverse => Split { given: [Obs, NextObs], predicted: &[Act], anchor: None },
        }
    }
    // ANCHOR_END: split

    /// The word used in files and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Reverse => "reverse",
            Self::Inverse => "inverse",
        }
    }
}

/// Diagonal Gaussians of an ensemble in the units of the data, residuals already added to the anchor.
#[derive(Clone, Copy, Debug)]
pub struct Prediction<'a> {
    /// `[members, rows, cols]`; the columns are those of [`Split::predicted`].
    pub mean: ArrayView3<'a, Real>,
    /// `[members, rows, cols]`, positive.
    pub std: ArrayView3<'a, Real>,
}

/// A learned model of transitions in one direction.
pub trait Dynamics: State + Send {
    /// Widths of the transitions it was made for.
    fn spec(&self) -> Spec;

    /// What it is given and what it predicts.
    fn direction(&self) -> Direction;

    /// Itself, for whoever needs more than this trait says and knows which type to look for; nothing where there is no more.
    fn as_any_mut(&mut self) -> Option<&mut dyn std::any::Any> {
        None
    }

    /// The members that imagination may draw from, best first.
    fn elites(&self) -> &[usize];

    /// Every member's Gaussian for each row of the two given columns, `[rows, width]` each.
    fn predict(&mut self, given: [ArrayView2<'_, Real>; 2]) -> Prediction<'_>;

    /// The Gaussian of member `member_of_row[i]` for row `i`, written to `mean` and `std`, `[rows, cols]` each.
    ///
    /// Unless overridden, asks every member and picks; a model that can evaluate one member alone should do so.
    ///
    /// # Panics
    /// If the numbers of rows differ, or there is no such member.
    fn predict_elite(
        &mut self,
        given: [ArrayView2<'_, Real>; 2],
        member_of_row: &[usize],
        mut mean: ArrayViewMut2<'_, Real>,
        mut std: ArrayViewMut2<'_, Real>,
    ) {
        let p = self.predict(given);
        for (i, &member) in member_of_row.iter().enumerate() {
            mean.row_mut(i).assign(&p.mean.index_axis(Axis(0), member).row(i));
            std.row_mut(i).assign(&p.std.index_axis(Axis(0), member).row(i));
        }
    }
}
