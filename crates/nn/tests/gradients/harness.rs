//! Cases, random inputs, and the comparison with differences.

use backcast_core::{Key, Slot, State};
use backcast_nn::{Real, Shape, Store, Tape, Var};
use std::{collections::BTreeSet, fmt};

/// Errors are relative to the derivative, or absolute where it is below 1.
const FIRST: Real = 1e-7;
const SECOND: Real = 1e-6;

/// Where the inputs are drawn from.
#[derive(Clone, Copy)]
pub(crate) enum Domain {
    /// Standard normal.
    Normal,
    /// 0.3 … 3.
    Positive,
    /// At odd multiples of 0.05 and all different, over all inputs of the case: at least 0.1 from a tie and 0.05 from zero or
    /// any multiple of 0.1.
    Spaced,
}

pub(crate) type Of1 = for<'t> fn(Var<'t>) -> Var<'t>;
pub(crate) type Of2 = for<'t> fn(Var<'t>, Var<'t>) -> Var<'t>;
pub(crate) type Of3 = for<'t> fn(Var<'t>, Var<'t>, Var<'t>) -> Var<'t>;
/// A value as a function of every parameter in a store.
pub(crate) type Function = Box<dyn for<'t> Fn(Tape<'t>) -> Var<'t>>;

/// Fills a store with what is to be differentiated, and returns the function of it.
type Build = Box<dyn Fn(&mut Store, Key) -> Function>;

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) build: Build,
}

/// Makes tensors of `shapes` and hands their places on.
pub(crate) fn tensors(store: &mut Store, domain: Domain, shapes: &[Shape], key: Key) -> Vec<(usize, Shape)> {
    let total: usize = shapes.iter().map(|s| s.len()).sum();
    let mut x = vec![0.0; total];
    match domain {
        Domain::Normal => key.normal(&mut x),
        Domain::Positive => key.uniform(0.3, 3.0, &mut x),
        Domain::Spaced => {
            let start = -(total as Real / 2.0).floor();
            x.iter_mut().enumerate().for_each(|(i, x)| *x = (start + i as Real) * 0.1 + 0.05);
            key.shuffle(&mut x);
        }
    }
    let mut rest = &x[..];
    let mut place = |(i, &shape): (usize, &Shape)| {
        let (now, later) = rest.split_at(shape.len());
        rest = later;
        (store.tensor(&format!("x{i}"), shape, |out| out.copy_from_slice(now)), shape)
    };
    shapes.iter().enumerate().map(&mut place).collect()
}

/// A random shape with up to three members.
pub(crate) fn shape(key: Key) -> Shape {
    let pick = |from: &[usize], i| from[key.below(from.len(), i)];
    Shape::new(pick(&[1, 2, 3], 0), pick(&[1, 2, 4], 1), pick(&[1, 2, 3, 5], 2))
}

pub(crate) fn case(
    name: impl Into<String>,
    domain: Domain,
    shapes: impl Fn(Key) -> Vec<Shape> + 'static,
    f: impl for<'t> Fn(&[Var<'t>]) -> Var<'t> + Copy + 'static,
) -> Case {
    let build = move |store: &mut Store, key: Key| -> Function {
        let places = tensors(store, domain, &shapes(key.name("shapes")), key.name("values"));
        Box::new(move |tape| {
            let x: Vec<_> = places.iter().map(|&(at, shape)| tape.parameter(at, shape)).collect();
            f(&x)
        })
    };
    Case { name: name.into(), build: Box::new(build) }
}

/// A function of one tensor of random shape.
pub(crate) fn one(name: &str, domain: Domain, f: Of1) -> Case {
    case(name, domain, |key| vec![shape(key)], move |x| f(x[0]))
}

/// A function of two tensors of the same random shape.
pub(crate) fn two(name: &str, domain: Domain, f: Of2) -> Case {
    case(name, domain, |key| vec![shape(key); 2], move |x| f(x[0], x[1]))
}

/// A function of three tensors of the same random shape.
pub(crate) fn three(name: &str, domain: Domain, f: Of3) -> Case {
    case(name, domain, |key| vec![shape(key); 3], move |x| f(x[0], x[1], x[2]))
}

#[derive(Default)]
pub(crate) struct Worst {
    first: (Real, String),
    second: (Real, String),
}

impl Worst {
    pub(crate) fn join(&mut self, other: &Self) {
        for (mine, theirs) in [(&mut self.first, &other.first), (&mut self.second, &other.second)] {
            if theirs.0 > mine.0 {
                *mine = theirs.clone();
            }
        }
    }
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((a, x), (b, y)) = (&self.first, &self.second);
        write!(f, "{a:.1e} first order ({x}), {b:.1e} second order ({y})")
    }
}

/// Every tensor of the store, `(offset, shape)`.
fn places(store: &mut Store) -> Vec<(usize, Shape)> {
    let (mut at, mut all) = (0, vec![]);
    store.visit(&mut |_, slot| {
        let Slot::Tensor(dims, values) = slot else { panic!("a store has tensors only") };
        all.push((at, Shape::new(dims[0], dims[1], dims[2])));
        at += values.len();
    });
    all
}

/// Σ r⊙y + ½Σ s⊙y².
fn first_loss(y: Var<'_>, key: Key) -> Var<'_> {
    let (r, s) = (y.tape().normal(y.shape(), key.name("r")), y.tape().normal(y.shape(), key.name("s")));
    (r * y).sum() + (s * y.square()).sum() * 0.5
}

/// Σ q⊙∂L + ½‖∂L‖² over every tensor.
fn second_loss<'t>(tape: Tape<'t>, loss: Var<'t>, places: &[(usize, Shape)], key: Key) -> Var<'t> {
    let terms = places.iter().enumerate().map(|(i, &(at, shape))| {
        let g = tape.grad(loss, tape.parameter(at, shape));
        assert_eq!(g.shape(), shape, "a gradient has the shape of what it is taken of");
        let q = tape.normal(shape, key.name("q").fold(i as u64));
        (q * g).sum() + g.square().sum() * 0.5
    });
    terms.reduce(|a, b| a + b).expect("a case has a tensor")
}

/// The derivative of `f` along each parameter: central differences at h and 2h, extrapolated (Richardson), error O(h⁴).
///
/// `None` where the two disagree: a ReLU somewhere in a net changes sides within 2h, and no difference means anything there.
fn differences(store: &mut Store, f: &dyn Fn(Tape<'_>) -> Real) -> Option<Vec<Real>> {
    const H: Real = 6e-5;
    let central = |store: &mut Store, i: usize, h: Real| {
        let x = store.params()[i];
        let [up, down] = [x + h, x - h].map(|x| {
            store.params_mut()[i] = x;
            f(store.tape())
        });
        store.params_mut()[i] = x;
        (up - down) / (2.0 * h)
    };
    let extrapolate = |(near, far): (Real, Real)| {
        // Truncation explains no more than some 1e-8 of the third derivative. NaN is passed on, to fail.
        let kink = (near - far).abs() > 1e-5 * near.abs().max(1.0);
        (!kink).then_some((4.0 * near - far) / 3.0)
    };
    (0..store.len()).map(|i| extrapolate((central(store, i, H), central(store, i, 2.0 * H)))).collect()
}

fn compare(what: &str, of: &str, got: &[Real], want: &[Real], bound: Real, worst: &mut (Real, String)) {
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let error = (got - want).abs() / want.abs().max(1.0);
        // Written so that NaN fails.
        assert!(error <= bound, "{what}, {of}: parameter {i}: {got} is not {want} (error {error:e})");
        if error > worst.0 {
            *worst = (error, of.to_owned());
        }
    }
}

/// Both orders of one case; notes every operation recorded on the way. False if the point drawn lies at a kink.
pub(crate) fn check(case: &Case, seed: u64, worst: &mut Worst, seen: &mut BTreeSet<&'static str>) -> bool {
    let key = Key::new(seed).name(&case.name);
    let mut store = Store::default();
    let function = (case.build)(&mut store, key);
    let of = format!("{} (seed {seed})", case.name);
    let places = places(&mut store);
    let (range, mut gradient) = (0..store.len(), vec![0.0; store.len()]);

    let value = |tape: Tape<'_>| first_loss(function(tape), key).item();
    let Some(numeric) = differences(&mut store, &value) else { return false };
    let tape = store.tape();
    tape.grad_params(first_loss(function(tape), key), range.clone(), &mut gradient);
    compare("first order", &of, &gradient, &numeric, FIRST, &mut worst.first);

    let value = |tape: Tape<'_>| second_loss(tape, first_loss(function(tape), key), &places, key).item();
    let Some(numeric) = differences(&mut store, &value) else { return false };
    let tape = store.tape();
    tape.grad_params(second_loss(tape, first_loss(function(tape), key), &places, key), range, &mut gradient);
    seen.extend((0..tape.len()).map(|i| tape.operation(i)));
    compare("second order", &of, &gradient, &numeric, SECOND, &mut worst.second);
    true
}
