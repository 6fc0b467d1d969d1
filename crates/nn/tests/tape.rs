//! What a tape promises besides numbers: who receives gradients, what is kept, and what is refused.

use approx::{abs_diff_eq, assert_abs_diff_eq};
use backcast_core::{Key, Normal, Real, State, fingerprint};
use backcast_nn::{Activation, Adam, Arena, Init, Linear, Mlp, Shape, Store, Tape, Var};
use ndarray::Array2;
use std::cell::RefCell;

fn inputs(rows: usize, cols: usize, name: &str) -> Array2<Real> {
    Key::new(1).name(name).array((rows, cols), Normal::default())
}

fn net(store: &mut Store, name: &str, dims: &[usize]) -> Mlp {
    Mlp::new(store, name, dims, 2, Activation::Tanh, Init::FanIn, Key::new(3).name(name))
}

/// The bits of one net's parameters.
fn bits(store: &Store, net: &Mlp) -> Vec<impl Eq + std::fmt::Debug + use<>> {
    store.params()[net.range()].iter().map(|x| x.to_bits()).collect()
}

#[test]
fn nothing_passes_detach() {
    let mut store = Store::default();
    let tape = store.tape();
    let x = tape.input(inputs(3, 4, "x").view());
    tape.grad(x.detach().square().sum(), x).read(|g| assert_eq!(g, [0.0; 12]));
    // Of x·detach(x), one factor is a constant.
    let g = tape.grad((x * x.detach()).sum(), x);
    x.read(|x| g.read(|g| assert_eq!(g, x)));
    let held = x.detach();
    tape.grad(held.square().sum(), held).read(|g| x.read(|x| assert_eq!(g[5], 2.0 * x[5])));
}

#[test]
fn nothing_passes_no_grad() {
    let mut store = Store::default();
    let net = net(&mut store, "net", &[4, 5, 1]);
    let x = inputs(3, 4, "x");
    let mut gradient = vec![1.0; net.range().len()];
    let tape = store.tape();
    let inside = tape.no_grad(|tape| net.forward(tape.input(x.view())));
    let outside = net.forward(tape.input(x.view()));
    inside.read(|a| outside.read(|b| assert_eq!(a, b)));
    tape.grad_params(inside.square().sum(), net.range(), &mut gradient);
    assert!(gradient.iter().all(|&g| g == 0.0), "{gradient:?}");
    // Beside a value outside, only that one counts: ∂(in·out) = in·∂out.
    tape.grad_params((inside * outside).sum(), net.range(), &mut gradient);
    let mut half = vec![0.0; gradient.len()];
    tape.grad_params(outside.square().sum() * 0.5, net.range(), &mut half);
    assert!(gradient.iter().any(|&g| g != 0.0));
    for (a, b) in gradient.iter().zip(&half) {
        assert_abs_diff_eq!(a, b, epsilon = 1e-5 * (1.0 + b.abs()));
    }
}

/// A scope keeps its result and one node, whatever happened inside, even if the result is a parameter or an old value.
#[test]
fn no_grad_rolls_the_arena_back() {
    let mut store = Store::default();
    let net = net(&mut store, "net", &[4, 64, 64, 1]);
    let x = inputs(100, 4, "x");
    let settle = |tape: Tape<'_>| {
        let y = tape.no_grad(|tape| net.forward(tape.input(x.view())));
        y.read(|y| y.to_vec())
    };
    let want = settle(store.tape());
    let bytes = store.arena_mut().bytes();
    let tape = store.tape();
    for i in 0..100 {
        assert_eq!(tape.len(), i);
        assert_eq!(settle(tape), want, "pass {i}");
    }
    // A hundred results of 200 numbers are far less than one pass through the net.
    assert!(store.arena_mut().bytes() < 2 * bytes, "{bytes} bytes became {}", store.arena_mut().bytes());

    let tape = store.tape();
    let before = tape.input(x.view()).square();
    let kept = before.read(|x| x.to_vec());
    let layer = net.layers().next().expect("a layer").range().start;
    let weight = tape.no_grad(|tape| tape.parameter(layer, Shape::new(2, 4, 64)));
    let nested = tape.no_grad(|tape| tape.no_grad(|tape| tape.scalar(2.0)) * tape.scalar(3.0));
    assert_eq!(nested.item(), 6.0);
    before.read(|x| assert_eq!(x, kept));
    // The parameter first seen inside is a constant outside, and is recorded anew when asked for again.
    let again = tape.parameter(layer, Shape::new(2, 4, 64));
    weight.read(|a| again.read(|b| assert_eq!(a, b)));
    tape.grad((weight * again).sum(), again).read(|g| weight.read(|w| assert_eq!(g, w)));
}

/// A critic in the policy's loss keeps its parameters bit for bit, and the policy moves.
#[test]
fn only_the_named_net_moves() {
    let mut store = Store::default();
    let critic = net(&mut store, "critic", &[5, 6, 1]);
    let policy = net(&mut store, "policy", &[3, 6, 2]);
    let other = net(&mut store, "other", &[3, 6, 2]);
    let obs = inputs(7, 3, "obs");
    let mut adam = Adam::new(policy.range(), 1e-2);
    let before = [critic, policy, other].map(|n| bits(&store, &n));
    for _ in 0..5 {
        adam.minimise(&mut store, |tape| {
            let obs = tape.input(obs.view());
            -critic.forward(obs.cat(policy.forward(obs))).mean()
        });
    }
    let after = [critic, policy, other].map(|n| bits(&store, &n));
    assert_eq!(before[0], after[0], "the critic moved");
    assert_ne!(before[1], after[1], "the policy did not move");
    assert_eq!(before[2], after[2], "a net that takes no part moved");
}

#[test]
fn nets_outside_the_loss_have_zero_gradients() {
    let mut store = Store::default();
    let (a, b) = (net(&mut store, "a", &[3, 4, 1]), net(&mut store, "b", &[3, 4, 1]));
    let x = inputs(2, 3, "x");
    let mut gradient = vec![Real::NAN; store.len()];
    let tape = store.tape();
    let loss = a.forward(tape.input(x.view())).mean();
    tape.grad_params(loss, 0..gradient.len(), &mut gradient);
    assert!(gradient[a.range()].iter().any(|&g| g != 0.0));
    assert!(gradient[b.range()].iter().all(|&g| g == 0.0));
    // Recorded, but not on the way to the loss.
    let _ = b.forward(tape.input(x.view()));
    tape.grad_params(loss, 0..gradient.len(), &mut gradient);
    assert!(gradient[b.range()].iter().all(|&g| g == 0.0));
    // A range of its own gives the same numbers; so does a range that cuts through tensors.
    let mut part = vec![Real::NAN; a.range().len() - 4];
    tape.grad_params(loss, a.range().start + 3..a.range().end - 1, &mut part);
    assert_eq!(part, gradient[a.range().start + 3..a.range().end - 1]);
    let z = tape.scalar(1.0);
    tape.grad(loss, z).read(|g| assert_eq!(g, [0.0]));
}

/// The same parameters read in two shapes are two nodes; their gradients add up.
#[test]
fn one_tensor_in_two_shapes_receives_both_gradients() {
    let mut store = Store::default();
    let at = store.tensor("x", Shape::new(1, 2, 2), |x| x.copy_from_slice(&[1.0, 2.0, 3.0, 4.0]));
    let tape = store.tape();
    let (square, row) = (tape.parameter(at, Shape::new(1, 2, 2)), tape.parameter(at, Shape::new(1, 1, 4)));
    assert_eq!((square.shape(), row.shape()), (Shape::new(1, 2, 2), Shape::new(1, 1, 4)));
    row.read(|x| assert_eq!(x, [1.0, 2.0, 3.0, 4.0]));
    let mut gradient = [0.0; 4];
    tape.grad_params(square.square().sum() + row.sum() * 10.0, at..at + 4, &mut gradient);
    assert_eq!(gradient, [12.0, 14.0, 16.0, 18.0]);
    // The first two numbers alone.
    tape.grad_params(tape.parameter(at, Shape::new(1, 1, 2)).square().sum() + row.sum(), at..at + 4, &mut gradient);
    assert_eq!(gradient, [3.0, 5.0, 1.0, 1.0]);
}

/// One member alone gives the bits it gives among the others, and its gradients reach its own parameters, added to theirs.
#[test]
fn one_member_alone_is_the_same_member() {
    let mut store = Store::default();
    let net = Mlp::new(&mut store, "net", &[5, 40, 3], 3, Activation::Swish, Init::FanIn, Key::new(3));
    let x = inputs(70, 5, "x");
    let [mut together, mut alone, mut both] = [(); 3].map(|()| vec![Real::NAN; net.range().len()]);
    for member in 0..3 {
        // Asked for first or second, in either order.
        for first in [false, true] {
            let tape = store.tape();
            let x = tape.input(x.view());
            let early = first.then(|| net.forward_member(x, member));
            let all = net.forward(x);
            let one = early.unwrap_or_else(|| net.forward_member(x, member));
            let same = all.member(member);
            assert_eq!(one.shape(), same.shape());
            one.read(|a| same.read(|b| assert_eq!(a, b, "member {member}")));
            let mut out = Array2::zeros((70, 3));
            one.write_to(out.view_mut());
            one.read(|a| assert_eq!(a, out.as_slice().expect("dense")));
            tape.grad_params(same.square().mean(), net.range(), &mut together);
            tape.grad_params(one.square().mean(), net.range(), &mut alone);
            tape.grad_params(one.square().mean() + same.square().mean(), net.range(), &mut both);
            assert!(alone.iter().any(|&g| g != 0.0));
            for ((together, alone), both) in together.iter().zip(&alone).zip(&both) {
                assert_abs_diff_eq!(together, alone, epsilon = 1e-6 * (1.0 + together.abs()));
                assert!(
                    abs_diff_eq!(2.0 * together, both, epsilon = 1e-6 * (1.0 + together.abs())),
                    "{both} is not twice {together}"
                );
            }
        }
    }
}

/// Tapes over one slice of parameters work on any number of threads at once.
#[test]
fn inference_may_go_parallel() {
    let mut store = Store::default();
    let net = net(&mut store, "net", &[3, 8, 2]);
    let x = inputs(5, 3, "x");
    let forward = |tape: Tape<'_>| net.forward(tape.input(x.view())).read(|y| y.to_vec());
    let want = forward(store.tape());
    let params = store.params();
    std::thread::scope(|scope| {
        let run = || forward(Tape::over(params, &RefCell::new(Arena::default())));
        let threads = [0, 1, 2].map(|_| scope.spawn(run));
        threads.into_iter().for_each(|t| assert_eq!(t.join().expect("a thread"), want));
    });
}

#[test]
fn gradients_at_zero_norm_are_zero() {
    let mut store = Store::default();
    let tape = store.tape();
    let x = tape.fill(Shape::new(1, 2, 2), |out| out.copy_from_slice(&[0.0, 0.0, 3.0, 4.0]));
    let norm = x.norm_cols();
    norm.read(|n| assert_eq!(n, [0.0, 5.0]));
    tape.grad(norm.sum(), x).read(|g| {
        for (g, want) in g.iter().zip([0.0, 0.0, 0.6, 0.8]) {
            assert_abs_diff_eq!(*g, want, epsilon = 1e-6);
        }
    });
}

#[test]
fn a_batch_without_rows_gives_zero_gradients() {
    let mut store = Store::default();
    let net = Mlp::new(&mut store, "net", &[130, 8, 1], 2, Activation::Relu, Init::FanIn, Key::new(3));
    let mut gradient = vec![Real::NAN; store.len()];
    let tape = store.tape();
    let loss = net.forward(tape.input(Array2::zeros((0, 130)).view())).square().sum();
    assert_eq!(loss.item(), 0.0);
    tape.grad_params(loss, net.range(), &mut gradient);
    assert!(gradient.iter().all(|&g| g == 0.0));
}

/// Views that are not dense, such as transposes and every second row, are read as what they show.
#[test]
fn inputs_may_have_any_strides() {
    let mut store = Store::default();
    let tape = store.tape();
    let x = inputs(4, 6, "x");
    tape.input(x.t()).read(|v| assert_eq!(v, x.t().iter().copied().collect::<Vec<_>>()));
    let thin = x.slice(ndarray::s![..;2, 1..]);
    tape.input(thin).read(|v| assert_eq!(v, thin.iter().copied().collect::<Vec<_>>()));
    let stack = ndarray::stack![ndarray::Axis(0), x, x];
    let swapped = stack.view().permuted_axes([2, 0, 1]);
    let v = tape.input3(swapped);
    assert_eq!(v.shape().dims(), [6, 2, 4]);
    v.read(|v| assert_eq!(v, swapped.iter().copied().collect::<Vec<_>>()));
}

#[test]
fn a_second_arena_gives_the_same_numbers() {
    let mut store = Store::default();
    let net = net(&mut store, "net", &[3, 8, 2]);
    let x = inputs(5, 3, "x");
    let forward = |tape: Tape<'_>| net.forward(tape.input(x.view())).read(|y| y.to_vec());
    let want = forward(store.tape());
    let arena = RefCell::new(Arena::default());
    assert_eq!(forward(store.tape_in(&arena)), want);
}

/// A target starts equal to its net and follows it; members come and go one by one.
#[test]
fn targets_and_members() {
    let mut store = Store::default();
    let online = net(&mut store, "online", &[3, 4, 1]);
    let target = online.duplicate(&mut store, "target");
    assert_eq!(bits(&store, &online), bits(&store, &target));
    store.params_mut()[online.range()].iter_mut().for_each(|x| *x += 1.0);
    let before = store.params()[target.range()].to_vec();
    backcast_nn::polyak(&mut store, &target, &online, 0.25);
    for ((after, before), online) in
        store.params()[target.range()].iter().zip(&before).zip(&store.params()[online.range()])
    {
        assert_abs_diff_eq!(*after, 0.75 * before + 0.25 * online, epsilon = 1e-6);
    }
    backcast_nn::polyak(&mut store, &target, &online, 1.0);
    assert_eq!(bits(&store, &online), bits(&store, &target));

    let mut saved = vec![];
    let whole = store.params().to_vec();
    online.save_member(&mut store, 1, &mut saved);
    assert_eq!(saved.len() * 2, online.range().len());
    online.load_member(&mut store, 0, &saved);
    let x = inputs(5, 3, "x");
    let tape = store.tape();
    let y = online.forward(tape.input(x.view()));
    let (first, second) = (y.member(0), y.member(1));
    first.read(|a| second.read(|b| assert_eq!(a, b)));
    assert_eq!(store.params()[target.range()], whole[target.range()], "another net changed");
}

/// Every tensor has one name, and the fingerprint sees each of them.
#[test]
fn the_state_of_a_store_is_all_of_it() {
    let mut store = Store::default();
    let a = net(&mut store, "a", &[3, 4, 1]);
    let layer = Linear::new(&mut store, "head", 4, 2, 1, Init::Uniform(0.1), Key::new(0));
    let mut names = vec![];
    store.visit(&mut |name, _| names.push(name.to_owned()));
    let want = ["a.0.weight", "a.0.bias", "a.1.weight", "a.1.bias", "head.weight", "head.bias"];
    assert_eq!(names, want);
    assert_eq!(layer.range().end, store.len());
    let before = fingerprint(&mut store);
    for at in [a.range().start, a.range().end - 1, store.len() - 1] {
        store.params_mut()[at] += 1.0;
        assert_ne!(fingerprint(&mut store), before);
        store.params_mut()[at] -= 1.0;
    }
}

/// Programmer errors panic, naming the operation and both shapes.
#[test]
fn shapes_that_do_not_fit_are_named() {
    let (x, y, z) = (Shape::new(1, 2, 3), Shape::new(1, 4, 3), Shape::new(2, 2, 4));
    type Bad = for<'t> fn([Var<'t>; 3]) -> Var<'t>;
    let cases: [(&str, &[&str], Bad); 13] = [
        ("+", &["[1, 2, 3]", "[1, 4, 3]"], |[x, y, _]| x + y),
        ("·", &["[1, 2, 3]", "[2, 2, 4]"], |[x, _, z]| x * z),
        ("min", &["[1, 2, 3]", "[1, 4, 3]"], |[x, y, _]| x.min(y)),
        ("matmul", &["[1, 2, 3]", "[1, 4, 3]"], |[x, y, _]| x.matmul(y, false, false)),
        ("linear", &["[1, 2, 3]", "[1, 4, 3]"], |[x, y, _]| x.linear(y, y, Activation::Relu)),
        ("cat", &["[1, 2, 1]", "[1, 4, 1]"], |[x, y, _]| x.cat(y)),
        ("sum_to", &["[1, 2, 3]", "[1, 4, 3]"], |[x, y, _]| x.sum_to(y.shape())),
        ("spread", &["[1, 2, 3]", "[1, 4, 3]"], |[x, y, _]| x.spread(y.shape())),
        ("reshape", &["[1, 2, 3]", "[1, 4, 3]"], |[x, y, _]| x.reshape(y.shape())),
        ("cols", &["2..5", "[1, 2, 3]"], |[x, _, _]| x.cols(2, 3)),
        ("sum_groups", &["3", "[1, 4, 3]"], |[_, y, _]| y.sum_groups(3)),
        ("member", &["2", "[2, 2, 4]"], |[_, _, z]| z.member(2)),
        ("grad", &["[1, 1, 1]"], |[x, _, _]| x.tape().grad(x, x)),
    ];
    for (operation, shapes, bad) in cases {
        let panic = std::panic::catch_unwind(|| {
            let mut store = Store::default();
            let tape = store.tape();
            bad([x, y, z].map(|shape| tape.fill(shape, |out| out.fill(1.0))));
        });
        let panic = panic.expect_err(operation);
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string())).expect("a message");
        assert!(text.contains(operation), "{operation}: {text}");
        assert!(shapes.iter().all(|shape| text.contains(shape)), "{operation}: {text}");
    }
}

#[test]
#[should_panic(expected = "another tape")]
fn values_of_two_tapes_do_not_mix() {
    let store = Store::default();
    let (a, b) = (RefCell::default(), RefCell::default());
    let _ = store.tape_in(&a).scalar(1.0) + store.tape_in(&b).scalar(2.0);
}

/// Rows of a layer norm have mean 0 and variance 1 (up to its ε), whatever the scale of the input; one member alone has the
/// bits it has in the stack.
#[test]
fn layer_norm_standardises_rows_and_members_alike() {
    let mut store = Store::default();
    let net = Mlp::new(&mut store, "net", &[5, 32, 32, 1], 3, Activation::Relu, Init::FanIn, Key::new(1))
        .with_layer_norm(true);
    let tape = store.tape();
    let x = tape.normal(Shape::new(1, 7, 5), Key::new(2)) * 30.0;
    let y = (x * 10.0 + 3.0).layer_norm_cols();
    y.read(|y| {
        for row in y.chunks_exact(5) {
            let mean = row.iter().sum::<Real>() / 5.0;
            let variance = row.iter().map(|v| (v - mean) * (v - mean)).sum::<Real>() / 5.0;
            assert!(
                abs_diff_eq!(mean, 0.0, epsilon = 1e-5) && abs_diff_eq!(variance, 1.0, epsilon = 1e-3),
                "{mean} {variance}"
            );
        }
    });
    let all = net.forward(x);
    for member in 0..3 {
        let (alone, stacked) = (net.forward_member(x, member), all.member(member));
        alone.read(|a| stacked.read(|b| assert_eq!(a, b)));
    }
}

/// A tape without history gives the values of one with it, and the derivative of what is watched.
#[test]
fn a_watched_value_can_be_differentiated_without_history() {
    let mut store = Store::default();
    let net = net(&mut store, "net", &[4, 9, 9, 1]);
    let x = inputs(7, 4, "x");
    let (params, arenas) = (store.params(), [RefCell::new(Arena::default()), RefCell::new(Arena::default())]);
    let [full, lean] = [Tape::over(params, &arenas[0]), Tape::without_history(params, &arenas[1])].map(|tape| {
        let x = tape.input(x.view()).watch();
        let y = net.forward(x);
        let slope = tape.grad(y.square().sum(), x);
        [y, slope].map(|v| v.read(|v| v.to_vec()))
    });
    assert_eq!(full, lean);
    assert!(full[1].iter().any(|&g| g != 0.0));
}

/// What is gone is never read by mistake.
#[test]
#[should_panic(expected = "the numbers of a value are gone")]
fn what_is_not_watched_says_that_it_is_gone() {
    let mut store = Store::default();
    let net = net(&mut store, "net", &[4, 9, 9, 1]);
    let x = inputs(7, 4, "x");
    let arena = RefCell::new(Arena::default());
    let tape = Tape::without_history(store.params(), &arena);
    let x = tape.input(x.view());
    tape.grad(net.forward(x).square().sum(), x);
}
