//! Asking for uncertainty allocates nothing once it is warm.

use backcast_core::{Key, Normal, Prediction, Real};
use backcast_penalties::{PenaltyConfig, ValueInconsistency};
use ndarray::{Array3, ArrayView2, Axis};

const SHAPE: (usize, usize, usize) = (5, 64, 4);

fn drawn(label: &str, change: impl Fn(Real) -> Real) -> Array3<Real> {
    Key::new(1).name(label).array(SHAPE, Normal::default()).mapv_into(change)
}

fn allocations(mut ask: impl FnMut()) -> u64 {
    ask();
    allocation_counter::measure(|| (0..5).for_each(|_| ask())).count_total
}

#[test]
fn no_measure_allocates() {
    let (mean, std) = (drawn("mean", |x| x), drawn("std", |x| 0.1 + x.abs()));
    let p = Prediction { mean: mean.view(), std: std.view() };
    let mut u = vec![0.0; SHAPE.1];
    for config in PenaltyConfig::MEASURES {
        let mut penalty = config.build();
        let n = allocations(|| penalty.penalty(p, mean.index_axis(Axis(0), 0), &mut u));
        assert_eq!(n, 0, "{}", config.name());
    }
    let mut inconsistency = ValueInconsistency::new(10);
    let mut value = |states: ArrayView2<'_, Real>, out: &mut [Real]| {
        out.iter_mut().zip(states.rows()).for_each(|(v, s)| *v = s[0] - s[2]);
    };
    let n = allocations(|| inconsistency.penalty(p, &[0, 2, 3], Key::new(1), &mut value, &mut u));
    assert_eq!(n, 0, "value inconsistency");
    let mut kept = vec![];
    assert!(allocations(|| kept.push(Box::new(0))) > 0, "the counter counts");
}
