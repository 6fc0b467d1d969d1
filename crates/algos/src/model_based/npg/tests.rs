use super::*;
use crate::morel::{Pay, Pessimism};
use backcast_core::{
    Algorithm, ConfigError, DatasetStats, Direction, Policy, Problem, Spec, Stored, Transitions,
    WorldModel, fingerprint, never, restore, snapshot,
};
use backcast_dynamics::{Ensemble, EnsembleConfig};
use backcast_nn::{Gaussian, Shape};
use backcast_penalties::ThresholdRule;
use nalgebra::{DMatrix, DVector};
use ndarray::Array2;
use safetensors::SafeTensors;

const POINT: Spec = Spec::new(1, 1).with_act_limit(2.0);

/// A point that moves by its action, x′ = x + a/10, and is rewarded for being near 0; a dataset of random actions; a
/// model of it.
fn world_model(spread: Real) -> (Transitions, Problem) {
    let mut dataset = Transitions::new(POINT);
    for i in 0..2000 {
        let mut x = [0.0; 2];
        Key::new(1).fold(i).uniform(-1.0, 1.0, &mut x);
        let (x, a) = (spread * x[0], 2.0 * x[1]);
        dataset.push(&[x], &[a], 1.0 - x.abs(), &[x + 0.1 * a], false);
    }
    let config = EnsembleConfig {
        members: 3,
        elites: 2,
        hidden: vec![24, 24],
        weight_decay: vec![0.0; 3],
        lr: 3e-3,
        batch: 64,
        max_epochs: Some(40),
        ..Default::default()
    };
    let mut model = Ensemble::new(config, POINT, Direction::Forward, Key::new(2)).expect("sound");
    model.fit(&dataset, Key::new(3), &mut |_| true).expect("finite rows");
    let holdout = Some(model.holdout(&dataset, Key::new(3)));
    let dataset_stats = DatasetStats {
        holdout,
        initial: Some(dataset.clone()),
        least_reward: Some(0.0),
        ..DatasetStats::default()
    };
    (dataset, Problem::from(WorldModel::new(model, never)).with_stats(dataset_stats))
}

fn small() -> Config {
    let pessimism = Pessimism { threshold: ThresholdRule::Quantile(1.0), ..Default::default() };
    Config {
        pessimism,
        paths: 20,
        horizon: 25,
        gamma: 0.95,
        warm_start: 0,
        hidden: vec![8, 8],
        value_hidden: vec![16],
        value_batch: 64,
        ..Default::default()
    }
}

fn iterate(npg: &mut Npg, dataset: &Transitions, from: u64, to: u64) -> Vec<Metrics> {
    let mut sunk = Transitions::new(dataset.spec());
    let each = |i: u64| {
        let key = Key::new(5).fold(i);
        sunk.clear();
        npg.imagine(dataset, key.name("imagination"), &mut sunk);
        npg.update(dataset.rows(0, 8), key)
    };
    (from..to).map(each).collect()
}

/// The net has a shape of its own here, and a batch of rows to be asked about.
fn tiny() -> (Npg, Vec<Real>) {
    let (_, world_model) = world_model(1.0);
    let config = Config { hidden: vec![4, 3], ..small() };
    let mut npg = config.build(world_model, Key::new(4)).expect("sound");
    let mut x = vec![0.0; 3 * 37];
    Key::new(6).normal(&mut x);
    for (i, x) in x.chunks(3).enumerate() {
        npg.paths.rows.push(&x[..1], &x[1..2], x[2], &x[2..3], i % 7 == 0);
        npg.paths.chain.push(i % 5);
    }
    let range = npg.actor.range();
    npg.store.params_mut()[range.clone()]
        .iter_mut()
        .for_each(|p| *p = if *p == 0.0 { 0.1 } else { 1.5 * *p });
    let mut v = vec![0.0; range.len()];
    Key::new(7).normal(&mut v);
    (npg, v)
}

fn assert_near(found: &[Real], want: &[Real], bound: f64, what: &str) {
    assert_eq!(found.len(), want.len(), "{what}");
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let off = norm(&mut found.iter().zip(want).map(|(&a, &b)| a as f64 - b as f64));
    let size = norm(&mut want.iter().map(|&x| x as f64));
    assert!(
        size > 0.0 && off <= bound * size,
        "{what}: off by {off} of {size}: {found:?}, not {want:?}"
    );
}

/// F·v against F itself, row of J by row of J, and its solution against Cholesky's; and against KL differentiated twice.
#[test]
fn the_fisher_product_is_that_of_the_dense_matrix_and_of_kl_differentiated_twice() {
    let (mut npg, v) = tiny();
    let damping = 0.07;
    let mut product = vec![0.0; v.len()];
    Npg::fisher_product(&mut npg.store, &npg.actor, &npg.paths.rows, damping, &v, &mut product);

    let (n, rows) = (v.len(), npg.paths.rows.len());
    let precision = (-2.0 * npg.store.params()[npg.actor.log_std] as f64).exp();
    let mut dense = vec![0.0f64; n * n];
    for row in 0..rows {
        let tape = npg.store.tape();
        let mean = npg.actor.at(tape.input(npg.paths.rows.rows(row, 1).obs)).mean;
        let mut j = vec![0.0; n];
        tape.grad_params(mean.sum(), npg.actor.range(), &mut j);
        for a in 0..n {
            (0..n).for_each(|b| {
                dense[a * n + b] += precision * j[a] as f64 * j[b] as f64 / rows as f64
            });
        }
    }
    dense[n * n - 1] += 2.0;
    (0..n).for_each(|i| dense[i * n + i] += damping as f64);
    let by_matrix: Vec<Real> = dense
        .chunks(n)
        .map(|row| row.iter().zip(&v).map(|(f, &v)| f * v as f64).sum::<f64>() as Real)
        .collect();
    assert_near(&product, &by_matrix, 1e-4, "dense");

    let exact = DMatrix::from_row_slice(n, n, &dense).cholesky().expect("F is positive");
    let exact = exact.solve(&DVector::from_iterator(n, v.iter().map(|&v| v as f64)));
    let exact: Vec<Real> = exact.iter().map(|&x| x as Real).collect();
    let mut solver = ConjugateGradients::default();
    let fisher = |v: &[Real], out: &mut [Real]| {
        Npg::fisher_product(&mut npg.store, &npg.actor, &npg.paths.rows, damping, v, out);
    };
    solver.solve(fisher, &v, 4 * n);
    assert_near(&solver.solution, &exact, 1e-3, "Cholesky");

    let (tape, actor) = (npg.store.tape(), &npg.actor);
    let pi = actor.at(tape.input(npg.paths.rows.batch().obs));
    let old = Gaussian { mean: pi.mean.detach(), log_std: pi.log_std.detach() };
    let spread = (old.log_std * 2.0).exp() + (old.mean - pi.mean).square();
    let kl = (spread * (pi.log_std * -2.0).exp() * 0.5 + pi.log_std - old.log_std).mean();
    let mut parts = vec![(actor.log_std..actor.log_std + 1, Shape::new(1, 1, 1))];
    for (layer, d) in actor.net.layers().zip(actor.dims.windows(2)) {
        let (weight, end) = (layer.weight_range(), layer.range().end);
        parts.push((weight.end..end, Shape::new(1, 1, d[1])));
        parts.push((weight, Shape::new(1, d[0], d[1])));
    }
    let slope = parts.into_iter().map(|(at, shape)| {
        let along = tape.fill(shape, |out| out.copy_from_slice(&v[at.clone()]));
        (tape.grad(kl, tape.parameter(at.start, shape)) * along).sum()
    });
    let slope = slope.reduce(|a, b| a + b).expect("there are parameters");
    let mut twice = vec![0.0; n];
    tape.grad_params(slope, actor.range(), &mut twice);
    twice.iter_mut().zip(&v).for_each(|(x, v)| *x += damping * v);
    assert_near(&product, &twice, 1e-4, "KL twice");
}

/// An iteration recorded from a second implementation, which differentiates KL twice and sums advantages path by path.
#[test]
fn an_iteration_is_that_of_a_second_implementation() {
    let bytes = include_bytes!("../../../../parity/tests/golden/iterations/npg.safetensors");
    let file = SafeTensors::deserialize(bytes).expect("a safetensors file");
    let tensor = |name: &str| -> Vec<Real> {
        let data = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        data.data()
            .chunks_exact(4)
            .map(|x| f32::from_le_bytes(x.try_into().expect("four bytes")) as Real)
            .collect()
    };
    let spec = Spec::new(3, 2).with_act_limit(2.0);
    let model = EnsembleConfig {
        members: 2,
        elites: 1,
        hidden: vec![4],
        weight_decay: vec![0.0; 2],
        ..Default::default()
    };
    let model = Ensemble::new(model, spec, Direction::Forward, Key::new(1)).expect("sound");
    let mut row = Transitions::new(spec);
    row.push(&[0.0; 3], &[0.0; 2], 0.0, &[0.0; 3], false);
    let dataset_stats = DatasetStats {
        holdout: Some(row.clone()),
        initial: Some(row),
        least_reward: Some(0.0),
        ..DatasetStats::default()
    };
    let config = Config {
        paths: 3,
        horizon: 7,
        gamma: 0.95,
        lambda: 0.9,
        iterations: 8,
        damping: 0.1,
        min_log_std: -0.26,
        hidden: vec![5, 4],
        value_hidden: vec![6],
        value_batch: 1000,
        ..small()
    };
    let mut npg = config
        .build(Problem::from(WorldModel::new(model, never)).with_stats(dataset_stats), Key::new(2))
        .expect("sound");
    npg.store.visit(&mut |name, slot| {
        let Slot::Tensor(_, values) = slot else { panic!("{name} is a tensor") };
        values.copy_from_slice(&tensor(&format!("params/{name}")));
    });
    let before = snapshot(&mut npg.store);
    let [s, u, r, s2, d, chain] = ["obs", "act", "reward", "next_obs", "terminal", "chain"]
        .map(|name| tensor(&format!("paths/{name}")));
    for row in 0..r.len() {
        npg.paths.rows.push(
            &s[3 * row..][..3],
            &u[2 * row..][..2],
            r[row],
            &s2[3 * row..][..3],
            d[row] == 1.0,
        );
        npg.paths.chain.push(chain[row] as usize);
    }
    let metrics = npg.iteration(Key::new(3));
    assert_near(&npg.paths.target, &tensor("target"), 1e-5, "targets of V");
    assert_near(&npg.paths.advantage, &tensor("advantage"), 1e-5, "advantages");
    assert_near(&npg.scratch.gradient, &tensor("gradient"), 1e-4, "gradient");
    assert_near(
        &npg.scratch.solver.solution,
        &tensor("solution"),
        1e-3,
        "solution of conjugate gradients",
    );
    assert_near(&[metrics.get("kl").expect("a metric")], &tensor("kl"), 1e-3, "KL");
    assert_near(
        &[metrics.get("value_loss").expect("a metric")],
        &tensor("value_loss"),
        1e-4,
        "loss of V",
    );
    npg.store.visit(&mut |name, slot| {
        let (Slot::Tensor(_, now), Stored::Tensor(_, was)) = (slot, &before[name]) else {
            panic!("{name} is a tensor")
        };
        let change =
            |now: &[Real]| now.iter().zip(was).map(|(now, was)| now - was).collect::<Vec<_>>();
        assert_near(&change(now), &change(&tensor(&format!("final/{name}"))), 1e-2, name);
    });
}

/// The policy finds its way to 0, step by step of the size that was asked for, whatever the draws: by the end at least
/// half of what the first paths fell short of 25, the pay of 25 steps at 0, is made good.
#[test]
fn it_climbs_in_imagination() {
    for key in 4..8 {
        let (dataset, world_model) = world_model(1.0);
        let config =
            Config { paths: 40, log_std: -1.0, min_log_std: -2.0, kl_bound: Some(0.03), ..small() };
        let mut npg = config.build(world_model, Key::new(key)).expect("sound");
        let metrics = iterate(&mut npg, &dataset, 0, 30);
        let of = |name: &str, i: usize| metrics[i].get(name).expect("a metric");
        let kl: Vec<Real> = (0..30).map(|i| of("kl", i)).collect();
        // gᵀx·α² = δ is twice the divergence, where F tells the whole story; where it does not, the step is halved.
        assert!(kl.iter().all(|&kl| kl > 0.0 && kl <= 0.03), "key {key}: {kl:?}");
        assert!(kl.iter().sum::<Real>() / 30.0 > 0.005, "key {key}: {kl:?}");
        assert!((0..30).all(|i| (0.0..=1.0).contains(&of("paths_halted", i))));
        let [early, late] = [0, 25]
            .map(|first| (first..first + 5).map(|i| of("path_return", i)).sum::<Real>() / 5.0);
        assert!(25.0 - late < 0.5 * (25.0 - early), "key {key}: {early} at first, {late} at last");
        let obs = Array2::from_shape_vec((2, 1), vec![-0.8, 0.8]).expect("two rows");
        let mut act = Array2::zeros((2, 1));
        npg.act(obs.view(), None, act.view_mut());
        assert!(
            act[[0, 0]] > 0.3 && act[[1, 0]] < -0.3,
            "key {key}: {act} at −0.8 and 0.8: it goes home"
        );
    }
}

#[test]
fn a_key_gives_the_same_bits_on_any_threads_and_after_a_restart() {
    let run = |threads, key, restart: bool| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            let (dataset, own) = world_model(1.0);
            let config = Config { warm_start: 2, ..small() };
            let mut npg = config.build(own, Key::new(key)).expect("sound");
            iterate(&mut npg, &dataset, 0, 3);
            if restart {
                let mut other = config.build(world_model(1.0).1, Key::new(99)).expect("sound");
                restore(&mut other, &snapshot(&mut npg)).expect("the same tensors");
                npg = other;
            }
            iterate(&mut npg, &dataset, 3, 5);
            fingerprint(&mut npg)
        })
    };
    let one = run(1, 4, false);
    assert_eq!(one, run(4, 4, false));
    assert_eq!(one, run(1, 4, true));
    assert_ne!(one, run(1, 5, false));
}

/// What is imagined of a policy that runs away: HALT ends a path with its penalty, the released code's truncation does
/// neither.
#[test]
fn paths_end_in_the_unknown_absorbed_or_truncated() {
    let run = |absorbing| {
        let (dataset, world_model) = world_model(0.3);
        let mut config = Config { absorbing, horizon: 40, ..small() };
        (config.pessimism.pay, config.pessimism.kappa) = (Pay::Once, Some(77.0));
        let mut npg = config.build(world_model, Key::new(4)).expect("sound");
        // Always to the right, far out of the box.
        let bias = npg.actor.net.range().end - 1;
        npg.store.params_mut()[bias] = 5.0;
        let mut rows = Transitions::new(POINT);
        let summary = npg.imagine(&dataset, Key::new(8), &mut rows);
        assert_eq!((summary.started, summary.stored), (60, rows.len()), "{summary:?}");
        assert!(rows.values(Column::Act).iter().all(|a| a.abs() <= 2.0), "the environment clips");
        assert!(
            npg.paths.rows.values(Column::Act).iter().any(|u| *u > 1.5),
            "the density is of what was drawn"
        );
        assert_eq!(npg.paths.rows.len(), rows.len());
        (npg, summary, rows)
    };
    let (npg, summary, rows) = run(true);
    assert!(
        summary.halted == 60 && summary.terminal == 60 && npg.paths.truncations() == 60,
        "{summary:?}"
    );
    let halted = |row: usize| rows.row(Column::Terminal, row)[0] == 1.0;
    assert!((0..rows.len()).all(|row| halted(row) == (rows.row(Column::Reward, row)[0] == -77.0)));

    let (npg, truncated, rows) = run(false);
    assert!(
        truncated.halted >= 60 && truncated.terminal == 0 && npg.paths.truncations() == 60,
        "{truncated:?}"
    );
    assert!(
        truncated.stored >= summary.stored && truncated.stored < 60 * 40,
        "{truncated:?}, {summary:?}"
    );
    assert!(rows.values(Column::Reward).iter().all(|r| *r > -77.0));
    assert!((0..60).all(|chain| npg.paths.chain.iter().filter(|&&c| c == chain).count() >= 4));
}

#[test]
fn paths_start_where_episodes_do_or_anywhere() {
    let starts = |random_starts, initial: Option<Transitions>| {
        let (dataset, mut problem) = world_model(1.0);
        problem.dataset.initial = initial;
        let config = Config { random_starts, horizon: 1, paths: 40, ..small() };
        let mut npg = config.build(problem, Key::new(4))?;
        let mut rows = Transitions::new(POINT);
        npg.imagine(&dataset, Key::new(9), &mut rows);
        Ok::<_, ConfigError>(rows.values(Column::Obs).iter().filter(|x| **x == 0.123).count())
    };
    let mut first = Transitions::new(POINT);
    first.push(&[0.123], &[0.0], 0.0, &[0.0], false);
    assert_eq!(starts(0.0, Some(first.clone())), Ok(120));
    assert_eq!(starts(0.25, Some(first.clone())), Ok(90));
    assert_eq!(starts(1.0, Some(first)), Ok(0));
    assert_eq!(starts(1.0, None), Ok(0));
    assert_eq!(starts(0.5, None).expect_err("nowhere to start").field, "random_starts");
}

#[test]
fn cloning_comes_first() {
    let spec = Spec::new(1, 1).with_act_limit(2.0);
    let (_, world_model) = world_model(1.0);
    let mut dataset = Transitions::new(spec);
    for i in 0..256 {
        let x = Key::new(10).fold(i).unit() * 2.0 - 1.0;
        dataset.push(&[x], &[1.6 * x], 0.0, &[0.0], false);
    }
    let config = Config { warm_start: 400, actor_lr: 1e-2, ..small() };
    let mut npg = config.build(world_model, Key::new(4)).expect("sound");
    assert_eq!(npg.rollouts().map(|how| (how.every, how.horizon)), Some((400, 1)));
    let mut loss = Vec::new();
    for step in 0..400 {
        loss.push(
            npg.update(dataset.batch(), Key::new(11).fold(step))
                .get("cloning_loss")
                .expect("it clones"),
        );
    }
    assert!(loss[399] < 1e-3 && loss[0] > 0.1, "{} to {}", loss[0], loss[399]);
    assert_eq!(npg.rollouts().map(|how| (how.every, how.horizon)), Some((1, 25)));
    assert_eq!(npg.update(dataset.batch(), Key::new(12)).iter().count(), 0, "nothing was imagined");
}

/// Without a key it acts with μ, clipped; samples lie about that.
#[test]
fn it_acts_with_its_mean_in_the_box() {
    let (mut npg, _) = tiny();
    let obs = Array2::from_shape_fn((200, 1), |(row, _)| row as Real * 0.1 - 10.0);
    let mut act = [const { Vec::<Real>::new() }; 2].map(|_| Array2::zeros((200, 1)));
    npg.act(obs.view(), None, act[0].view_mut());
    npg.act(obs.view(), Some(Key::new(13)), act[1].view_mut());
    assert!(act.iter().flatten().all(|a| a.abs() <= 2.0));
    let tape = npg.store.tape();
    npg.actor.net.forward(tape.input(obs.view())).read(|mean| {
        assert!(mean.iter().zip(&act[0]).all(|(m, a)| m.clamp(-1.0, 1.0) * 2.0 == *a));
        let std = npg.config.log_std.exp();
        let inside = mean.iter().zip(&act[1]).filter(|(m, a)| (*a / 2.0 - **m).abs() < std).count();
        assert!((100..190).contains(&inside), "{inside} of 200 within a deviation");
    });
}
