//! The adversary's step: its gradient against one tape that holds all members, and what every step promises.

use approx::abs_diff_eq;
use backcast_core::{
    Column, Direction, Dynamics, Key, Real, Slot, Spec, State, Stored, Transitions, fingerprint, restore, snapshot,
};
use backcast_dynamics::{Adversary, Ensemble, EnsembleConfig, Played, Trainer};
use backcast_nn::{Activation, Init, Mlp, Shape, Store, Var, soft_clamp};
use std::collections::BTreeMap;

const SPEC: Spec = Spec::new(3, 2);
const MEMBERS: usize = 4;
const ROWS: usize = 24;

fn config() -> EnsembleConfig {
    EnsembleConfig {
        members: MEMBERS,
        elites: 3,
        hidden: vec![9, 7],
        weight_decay: vec![0.0; 3],
        max_log_var: 1.0,
        min_log_var: -3.0,
        ..Default::default()
    }
}

fn transitions(key: Key, rows: usize) -> Transitions {
    let mut x = vec![0.0; rows * 9];
    key.normal(&mut x);
    let mut dataset = Transitions::new(SPEC);
    x.chunks_exact(9)
        .for_each(|x| dataset.push(&x[..3], &x[3..5], x[5], &[x[0] + 0.3 * x[6], x[1], x[2] + x[8]], false));
    dataset
}

/// A model of which a few steps have been taken, so that members and bounds differ from where they began.
fn model(direction: Direction) -> (Ensemble, Transitions) {
    let dataset = transitions(Key::new(1), 200);
    let mut model = Ensemble::new(config(), SPEC, direction, Key::new(2)).unwrap();
    let mut trainer = Trainer::new(&model, 1e-2);
    let rows: Vec<usize> = (0..MEMBERS * ROWS).collect();
    (0..20).for_each(|_| {
        trainer.step(&mut model, &dataset, |member| &rows[member * ROWS..][..ROWS]);
    });
    model.visit(&mut |name, slot| match (name, slot) {
        ("input_mean", Slot::Tensor(_, x)) => x.copy_from_slice(&[0.1, -0.2, 0.3, 0.0, 0.05]),
        ("input_std", Slot::Tensor(_, x)) => x.copy_from_slice(&[1.1, 0.9, 1.0, 0.8, 1.2]),
        // Not the first three, and not in order.
        ("elite.0", Slot::Count(e)) => *e = 3,
        ("elite.1", Slot::Count(e)) => *e = 0,
        ("elite.2", Slot::Count(e)) => *e = 2,
        _ => {}
    });
    (model, dataset)
}

fn rows_of(step: usize) -> Vec<usize> {
    (0..MEMBERS * ROWS).map(|i| Key::new(3).fold(step as u64).below(200, i)).collect()
}

fn advantages() -> Vec<Real> {
    let mut a = vec![0.0; 17];
    Key::new(4).normal(&mut a);
    a
}

fn step(adversary: &mut Adversary, model: &mut Ensemble, dataset: &Transitions, number: usize, weight: Real) -> Played {
    let (rows, played) = (rows_of(number), transitions(Key::new(5).fold(number as u64), 17));
    adversary.step(model, dataset, |member| &rows[member * ROWS..][..ROWS], &played, &advantages(), weight)
}

fn tensor(all: &BTreeMap<String, Stored>, name: &str) -> Vec<Real> {
    match &all[name] {
        Stored::Tensor(_, values) => values.clone(),
        Stored::Count(n) => panic!("{name} is {n}"),
    }
}

/// (μ − y)²·e^(−ℓ) + ℓ of every member, `[members, rows, cols]`.
fn terms<'t>(net: Mlp, [low, high]: [Var<'t>; 2], x: Var<'t>, y: Var<'t>) -> Var<'t> {
    let out = net.forward(x);
    let log_var = soft_clamp(out.cols(4, 4), low, high);
    (out.cols(0, 4) - y).square() * (-log_var).exp() + log_var
}

/// The gradient is that of λ·E[A·ln Σᵢ pᵢ/|E|] + ℒ_MLE on one tape, through the logarithm of the sum itself: no responsibility
/// is named there.
#[test]
fn the_gradient_is_that_of_one_tape_with_all_members() {
    for direction in [Direction::Forward, Direction::Reverse] {
        let (mut model, dataset) = model(direction);
        let before = snapshot(&mut model);
        let (weight, rows, played) = (0.7, rows_of(0), transitions(Key::new(5).fold(0), 17));
        let mut adversary = Adversary::new(&model, 1e-3);
        let said = step(&mut adversary, &mut model, &dataset, 0, weight);
        let moments = snapshot(&mut adversary);

        let mut store = Store::default();
        let net =
            Mlp::new(&mut store, "net", &[5, 9, 7, 8], MEMBERS, Activation::Swish, Init::TruncatedNormal, Key::new(0));
        for member in 0..MEMBERS {
            let part =
                |i| ["weight", "bias"].map(|part| tensor(&before, &format!("store.member.{member}.net.{i}.{part}")));
            let values: Vec<Real> = (0..3).flat_map(part).flatten().collect();
            net.load_member(&mut store, member, &values);
        }
        let bounds = ["min_log_var", "max_log_var"].map(|bound| {
            let values = tensor(&before, &format!("store.member.0.{bound}"));
            store.tensor(bound, Shape::new(1, 1, 4), |x| x.copy_from_slice(&values))
        });
        let split = direction.split();
        let (mean, std) = (tensor(&before, "input_mean"), tensor(&before, "input_std"));
        let input = |data: &Transitions, row: usize| -> Vec<Real> {
            let given = split.given.iter().flat_map(|&c| data.row(c, row).to_vec());
            given.zip(mean.iter().zip(&std)).map(|(x, (m, s))| (x - m) / s).collect()
        };
        let target = |data: &Transitions, row: usize| -> Vec<Real> {
            let [to, from] = [split.predicted[1], split.given[0]].map(|c| data.row(c, row).to_vec());
            let change = to.iter().zip(from).map(|(x, a)| x - a);
            data.row(Column::Reward, row).iter().copied().chain(change).collect()
        };
        let mut gradient = vec![0.0; store.len()];
        let tape = store.tape();
        let fill = |members: usize, rows: usize, width: usize, of: &dyn Fn(usize) -> Vec<Real>| {
            tape.fill(Shape::new(members, rows, width), |out| {
                out.chunks_exact_mut(width).enumerate().for_each(|(i, out)| out.copy_from_slice(&of(i)));
            })
        };
        let [low, high] = bounds.map(|at| tape.parameter(at, Shape::new(1, 1, 4)));
        let x = fill(MEMBERS, ROWS, 5, &|i| input(&dataset, rows[i]));
        let y = fill(MEMBERS, ROWS, 4, &|i| target(&dataset, rows[i]));
        let fit = terms(net, [low, high], x, y).sum() * (1.0 / (4 * ROWS) as Real) + (high.sum() - low.sum()) * 0.01;
        let x = fill(1, 17, 5, &|i| input(&played, i));
        let y = fill(1, 17, 4, &|i| target(&played, i));
        let ln_p = (terms(net, [low, high], x, y).sum_cols() + 4.0 * (std::f64::consts::TAU.ln() as Real)) * -0.5;
        let [a, b, c] = [3, 0, 2].map(|elite| ln_p.member(elite));
        let most = a.max(b).max(c).detach();
        let mixture = ((a - most).exp() + (b - most).exp() + (c - most).exp()).ln() + most - (3.0 as Real).ln();
        let advantage = tape.column(&advantages());
        let adversarial = (mixture * advantage).mean();
        let loss = adversarial * weight + fit;
        tape.grad_params(loss, 0..gradient.len(), &mut gradient);

        for (ours, theirs) in [
            (said.fit_loss, fit.item()),
            (said.adversarial_loss, adversarial.item()),
            (said.log_prob, mixture.mean().item()),
        ] {
            assert!(
                abs_diff_eq!(ours, theirs, epsilon = 2e-5 * theirs.abs().max(1.0)),
                "{direction:?}: {ours} is not {theirs}"
            );
        }
        let mut theirs = Vec::new();
        let mut whole = Store::default();
        let copy =
            Mlp::new(&mut whole, "net", &[5, 9, 7, 8], MEMBERS, Activation::Swish, Init::TruncatedNormal, Key::new(0));
        let net_len = copy.range().len();
        whole.params_mut().copy_from_slice(&gradient[..net_len]);
        let near = |name: &str, ours: Vec<Real>, theirs: &[Real]| {
            let norm = |x: &mut dyn Iterator<Item = Real>| x.map(|x| (x as f64).powi(2)).sum::<f64>().sqrt();
            let off = norm(&mut ours.iter().zip(theirs).map(|(m, g)| m / (1.0 - 0.9) - g));
            let size = norm(&mut theirs.iter().copied());
            assert!(size > 1e-3 && off < 2e-5 * size, "{direction:?}, {name}: {off:e} of {size:e}");
        };
        for member in 0..MEMBERS {
            copy.save_member(&mut whole, member, &mut theirs);
            near(&format!("member {member}"), tensor(&moments, &format!("adam.{member}.m")), &theirs);
        }
        near("bounds", tensor(&moments, "bounds.m"), &gradient[net_len..]);
    }
}

/// What went well for the policy becomes less likely than without the adversary, what went badly more.
#[test]
fn what_is_to_the_advantage_of_the_policy_becomes_unlikely() {
    let good = {
        let mut played = transitions(Key::new(6), 64);
        played.values_mut(Column::Reward).iter_mut().enumerate().for_each(|(i, r)| *r = (i % 2) as Real);
        played
    };
    let advantage: Vec<Real> = (0..64).map(|i| if i % 2 == 1 { 1.0 } else { -1.0 }).collect();
    let predicted = |weight: Real| {
        let (mut model, dataset) = model(Direction::Forward);
        let mut adversary = Adversary::new(&model, 1e-3);
        for number in 0..200 {
            let rows = rows_of(number);
            adversary.step(&mut model, &dataset, |m| &rows[m * ROWS..][..ROWS], &good, &advantage, weight);
        }
        let batch = good.batch();
        let elites = model.elites().to_vec();
        let p = model.predict([batch.obs, batch.act]);
        elites.iter().map(|&e| p.mean.index_axis(ndarray::Axis(0), e).column(0).mean().unwrap()).sum::<Real>() / 3.0
    };
    let (honest, adversarial) = (predicted(0.0), predicted(0.3));
    assert!(adversarial < honest - 0.05, "the reward promised is {adversarial} with the adversary, {honest} without");
}

#[test]
fn a_weight_of_zero_is_maximum_likelihood_to_the_bit() {
    let (mut a, dataset) = model(Direction::Forward);
    let (mut b, _) = model(Direction::Forward);
    let (mut adversary, mut trainer) = (Adversary::new(&a, 1e-3), Trainer::new(&b, 1e-3));
    for number in 0..3 {
        let rows = rows_of(number);
        let loss = trainer.step(&mut b, &dataset, |member| &rows[member * ROWS..][..ROWS]);
        assert_eq!(step(&mut adversary, &mut a, &dataset, number, 0.0).fit_loss, loss);
    }
    assert_eq!(fingerprint(&mut a), fingerprint(&mut b));
}

#[test]
fn a_step_goes_on_from_a_snapshot_to_the_same_bits_for_any_number_of_threads() {
    let run = |threads: usize, cut: bool| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (mut model, dataset) = model(Direction::Forward);
            model.set_parallel(threads > 1);
            let mut adversary = Adversary::new(&model, 1e-3);
            for number in 0..6 {
                if cut && number == 3 {
                    let (saved, opponent) = (snapshot(&mut model), snapshot(&mut adversary));
                    model = Ensemble::new(config(), SPEC, Direction::Forward, Key::new(9)).unwrap();
                    adversary = Adversary::new(&model, 1e-3);
                    restore(&mut model, &saved).unwrap();
                    restore(&mut adversary, &opponent).unwrap();
                }
                step(&mut adversary, &mut model, &dataset, number, 0.5);
            }
            (fingerprint(&mut model), fingerprint(&mut adversary))
        })
    };
    let whole = run(1, false);
    assert_eq!(whole, run(1, true), "cut in two");
    assert_eq!(whole, run(2, false), "two threads");
    assert_eq!(whole, run(4, false), "four threads");
}

#[test]
fn steps_allocate_nothing_once_warm() {
    let (mut model, dataset) = model(Direction::Forward);
    let mut adversary = Adversary::new(&model, 1e-3);
    let (rows, played, advantage) = (rows_of(0), transitions(Key::new(5), 17), advantages());
    let mut step = || {
        adversary.step(&mut model, &dataset, |member| &rows[member * ROWS..][..ROWS], &played, &advantage, 0.5);
    };
    assert!(allocation_counter::measure(&mut step).count_total > 0, "the first step must grow the buffers");
    step();
    assert_eq!(allocation_counter::measure(&mut step).count_total, 0);
}

#[test]
#[should_panic(expected = "Adversary::step: 17 advantages for 3 rows")]
fn advantages_that_do_not_fit_are_refused() {
    let (mut model, dataset) = model(Direction::Forward);
    let rows = rows_of(0);
    let played = transitions(Key::new(5), 3);
    Adversary::new(&model, 1e-3).step(&mut model, &dataset, |m| &rows[m * ROWS..][..ROWS], &played, &advantages(), 0.5);
}
