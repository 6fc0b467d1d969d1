use super::Tensor;

/// What is compared, and how its error is measured. ‖·‖ is the Euclidean norm of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A loss, or another number that an update reports: |ours − theirs| / |theirs|, where |theirs| counts as at least a
    /// thousandth of the largest in the fixture.
    Loss,
    /// The gradient of an optimiser's first step: ‖ours − theirs‖ / ‖theirs‖, where ‖theirs‖ counts as at least a
    /// thousandth of the largest among the tensors of the same net.
    Gradient,
    /// A parameter after the last update: ‖ours − theirs‖ / ‖theirs‖.
    Parameter,
    /// What all updates changed in a parameter, the harder test: ‖ours − theirs‖ / ‖theirs − first‖, where ‖theirs − first‖
    /// counts as at least a thousandth of ‖first‖, below which single precision sees no change of four digits.
    Change,
    /// One column of the transitions of an imagined step: ‖ours − theirs‖ / ‖theirs‖.
    Transition,
}

impl Kind {
    /// The largest error that passes: 10⁻⁴ for losses and transitions, 10⁻³ for the others.
    pub fn bound(self) -> f64 {
        match self {
            Self::Loss | Self::Transition => 1e-4,
            Self::Gradient | Self::Parameter | Self::Change => 1e-3,
        }
    }
}

/// One quantity, ours beside a fixture's.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// What it is.
    pub kind: Kind,
    /// Its name: a metric's, or a tensor's as in [`State::visit`](backcast_core::State::visit).
    pub name: String,
    /// The update, counted from 0, for what is compared in each.
    pub update: Option<usize>,
    /// The relative error as [`Kind`] defines it; infinite or NaN where one of the two is.
    pub error: f64,
}

impl Compared {
    /// Whether the error is within its bound.
    pub fn holds(&self) -> bool {
        self.error <= self.kind.bound()
    }
}

/// ‖ours − theirs‖ of two tensors of one shape.
///
/// Only the numbers both have are compared: shapes are checked before.
pub fn difference(ours: &Tensor, theirs: &Tensor) -> f64 {
    ours.values.iter().zip(&theirs.values).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// `off` in units of `size`, but of `floor` at least. Nothing is off by nothing, whatever the unit.
pub fn relative(off: f64, size: f64, floor: f64) -> f64 {
    if off == 0.0 { 0.0 } else { off / size.max(floor) }
}

/// The error of one loss. A NaN of theirs stands for an update that has none, and so must ours.
pub(super) fn loss_error(ours: Option<f64>, theirs: f64, largest: f64) -> f64 {
    match ours {
        None if theirs.is_nan() => 0.0,
        None => f64::INFINITY,
        Some(ours) => relative((ours - theirs).abs(), theirs.abs(), 1e-3 * largest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_relative_down_to_the_floor() {
        assert_eq!(relative(0.1, 2.0, 1.0), 0.05);
        assert_eq!(relative(0.1, 0.01, 1.0), 0.1);
        assert_eq!((relative(0.0, 0.0, 0.0), relative(0.1, 0.0, 0.0)), (0.0, f64::INFINITY));
        assert_eq!(loss_error(Some(1.5), 1.0, 10.0), 0.5);
        assert_eq!(loss_error(Some(0.5), 0.0, 1000.0), 0.5);
    }

    #[test]
    fn what_is_no_number_never_holds_and_an_absent_loss_must_be_absent() {
        let holds = |error| Compared { kind: Kind::Gradient, name: String::new(), update: None, error }.holds();
        assert!(holds(1e-3) && !holds(1.1e-3) && !holds(f64::NAN) && !holds(f64::INFINITY));
        assert_eq!((loss_error(None, f64::NAN, 1.0), loss_error(None, 1.0, 1.0)), (0.0, f64::INFINITY));
        assert!(loss_error(Some(1.0), f64::NAN, 1.0).is_nan());
        let nan = Tensor::new(&[1], [f64::NAN]);
        assert!(relative(difference(&nan, &Tensor::new(&[1], [0.0])), 1.0, 1.0).is_nan());
    }
}
