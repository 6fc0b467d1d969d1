//! Every measure beside numbers that other code computed; and that the comparison can fail.
//!
//! The fixture is one safetensors file, made by `tools/golden/penalties.py`: `mean` and `std` `[members, rows, cols]`, `outcome`
//! `[rows, cols]`, `u/<measure>` `[rows]` in double precision; for the inconsistency of values also `draws`
//! `[elites, rows·samples, obs]`, `elites`, and `weights` of the value tanh(w·s) + ‖s‖²/10.

use backcast_core::{Prediction, Real};
use backcast_penalties::{PenaltyConfig, ValueInconsistency};
use ndarray::{Array2, Array3, ArrayD, ArrayView2};
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};

/// Relative, with a floor of a thousandth of the largest number of a measure.
const BOUND: f64 = 1e-5;

struct Fixture {
    mean: Array3<Real>,
    std: Array3<Real>,
    outcome: Array2<Real>,
    draws: Array3<Real>,
    elites: Vec<usize>,
    weights: Vec<f64>,
    u: BTreeMap<String, Vec<f64>>,
}

fn fixture() -> Fixture {
    let file =
        SafeTensors::deserialize(include_bytes!("golden/penalties/penalties.safetensors")).expect("a safetensors file");
    let tensors: BTreeMap<String, ArrayD<f64>> = file
        .iter()
        .map(|(name, view)| {
            let values = match view.dtype() {
                Dtype::F32 => view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b) as f64).collect(),
                Dtype::F64 => view.data().as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
                other => panic!("{name} is of type {other:?}"),
            };
            (name.to_owned(), ArrayD::from_shape_vec(view.shape(), values).expect("as long as its shape says"))
        })
        .collect();
    let real = |name: &str| tensors[name].mapv(|x| x as Real);
    let u =
        tensors.iter().filter_map(|(name, x)| Some((name.strip_prefix("u/")?.to_owned(), x.iter().copied().collect())));
    Fixture {
        mean: real("mean").into_dimensionality().expect("[members, rows, cols]"),
        std: real("std").into_dimensionality().expect("[members, rows, cols]"),
        outcome: real("outcome").into_dimensionality().expect("[rows, cols]"),
        draws: real("draws").into_dimensionality().expect("[elites, rows * samples, obs]"),
        elites: tensors["elites"].iter().map(|&e| e as usize).collect(),
        weights: tensors["weights"].iter().copied().collect(),
        u: u.collect(),
    }
}

/// What our measures say of the fixture, by the fixture's names.
fn ours(f: &Fixture) -> BTreeMap<String, Vec<Real>> {
    let p = Prediction { mean: f.mean.view(), std: f.std.view() };
    let rows = f.mean.dim().1;
    let mut all = BTreeMap::new();
    for config in PenaltyConfig::MEASURES {
        let mut u = vec![0.0; rows];
        config.build().penalty(p, f.outcome.view(), &mut u);
        all.insert(config.name().to_owned(), u);
    }
    let mut value = |states: ArrayView2<'_, Real>, out: &mut [Real]| {
        for (v, s) in out.iter_mut().zip(states.rows()) {
            let (dot, square) = s.iter().zip(&f.weights).fold((0.0, 0.0), |(dot, square), (&s, w)| {
                let s = s as f64;
                (dot + s * w, square + s * s)
            });
            *v = (dot.tanh() + 0.1 * square) as Real;
        }
    };
    let mut u = vec![0.0; rows];
    let mut inconsistency = ValueInconsistency::new(f.draws.dim().1 / rows);
    inconsistency.penalty_with(p, &f.elites, f.draws.view(), &mut value, &mut u);
    all.insert("value_inconsistency".to_owned(), u);
    all
}

/// The largest error of one measure; NaN is the largest of all.
fn error(ours: &[Real], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    let relative = |(o, t): (&Real, &f64)| (*o as f64 - t).abs() / t.abs().max(1e-3 * largest);
    ours.iter().zip(theirs).map(relative).fold(0.0, |a: f64, b| if a.is_nan() || a > b { a } else { b })
}

/// The measures that are further off than the bound, with their errors.
fn wrong(f: &Fixture) -> BTreeMap<String, f64> {
    let ours = ours(f);
    assert_eq!(ours.keys().collect::<BTreeSet<_>>(), f.u.keys().collect::<BTreeSet<_>>(), "measures and the fixture's");
    let errors = ours.iter().map(|(name, u)| (name.clone(), error(u, &f.u[name])));
    errors.filter(|(_, error)| error.is_nan() || *error > BOUND).collect()
}

#[test]
fn every_measure_equals_its_fixture() {
    let wrong = wrong(&fixture());
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn one_number_nudged_is_refused() {
    for name in fixture().u.keys() {
        let mut nudged = fixture();
        nudged.u.get_mut(name).expect("a measure")[7] *= 1.0 + 5e-5;
        let largest = nudged.u[name].iter().fold(0.0f64, |most, x| most.max(x.abs()));
        if nudged.u[name][7] < 1e-2 * largest {
            // Below the floor a relative nudge is nothing: nudge by the floor's measure.
            nudged.u.get_mut(name).expect("a measure")[7] += 5e-5 * largest;
        }
        assert_eq!(wrong(&nudged).keys().collect::<Vec<_>>(), [name]);
    }
}

/// Columns read reward last, or the wrong member among the elites: every measure that looks notices.
#[test]
fn a_swapped_layout_is_refused() {
    let mut swapped = fixture();
    let last = |x: &Array3<Real>| {
        let cols = x.dim().2;
        Array3::from_shape_fn(x.dim(), |(i, row, c)| x[[i, row, (c + 1) % cols]])
    };
    (swapped.mean, swapped.std) = (last(&swapped.mean), last(&swapped.std));
    let wrong = wrong(&swapped);
    for name in
        ["max_pairwise_states", "max_deviation", "ensemble_std", "log_likelihood_variance", "value_inconsistency"]
    {
        assert!(wrong.contains_key(name), "{name} did not notice: {wrong:?}");
    }
    let mut other = fixture();
    other.elites = vec![0, 3, 1];
    assert_eq!(self::wrong(&other).keys().collect::<Vec<_>>(), ["value_inconsistency"]);
}
