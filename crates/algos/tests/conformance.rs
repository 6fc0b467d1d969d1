//! What every algorithm must do, run for every algorithm of the crate.

mod shared;

use backcast_core::*;
use backcast_nn::{Activation, Init, Mlp, Store};
use ndarray::{Array2, Axis, Slice};
use rayon::prelude::*;
use shared::{Case, SPEC, columns, dataset, every, going_on, train};
use std::collections::BTreeMap;

#[test]
fn the_same_key_gives_the_same_bits_and_another_key_other_nets() {
    for case in every() {
        let [mut a, mut b, mut c] = [1, 1, 2].map(|key| case.build(Key::new(key)));
        let (first, other) = (snapshot(a.as_mut()), snapshot(c.as_mut()));
        for (tensor, stored) in &first {
            let Stored::Tensor(_, values) = stored else { continue };
            // What begins at a constant is the same for every key.
            // So is a model, which the algorithm is built on, and what is measured of the dataset.
            let given = tensor.starts_with("model.") || tensor.ends_with(".scale");
            let drawn = values.iter().any(|x| *x != values[0]) && !given;
            assert!(
                !drawn || other[tensor] != *stored,
                "{}: `{tensor}` does not depend on the key",
                case.name
            );
        }
        [&mut a, &mut b, &mut c].into_iter().for_each(|learner| train(learner.as_mut(), 0, 5));
        assert_eq!(fingerprint(a.as_mut()), fingerprint(b.as_mut()), "{}", case.name);
        assert_ne!(fingerprint(a.as_mut()), fingerprint(c.as_mut()), "{}", case.name);
    }
}

/// Through a file, into an algorithm that began elsewhere; and on from there to the same bits.
#[test]
fn a_restored_learner_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("learner.safetensors");
    for case in every() {
        let [mut a, mut b] = [1, 2].map(|key| case.build(Key::new(key)));
        train(a.as_mut(), 0, 7);
        backcast_storage::save(a.as_mut(), &BTreeMap::new(), &file).unwrap();
        backcast_storage::load(b.as_mut(), &file).unwrap();
        assert_eq!(fingerprint(a.as_mut()), fingerprint(b.as_mut()), "{}", case.name);
        let obs = dataset(40).batch().obs.to_owned();
        let [x, y] = [&mut a, &mut b].map(|learner| {
            let mut act = Array2::zeros((40, 2));
            learner.act(obs.view(), None, act.view_mut());
            train(learner.as_mut(), 7, 12);
            act
        });
        assert_eq!(x, y, "{}", case.name);
        assert_eq!(fingerprint(a.as_mut()), fingerprint(b.as_mut()), "{}", case.name);
    }
}

#[test]
fn the_bits_do_not_depend_on_the_threads_at_work() {
    let trained = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let trained = every().into_par_iter().map(|case| {
                let mut learner = case.build(Key::new(1));
                train(learner.as_mut(), 0, 5);
                (case.name, fingerprint(learner.as_mut()))
            });
            trained.collect::<Vec<_>>()
        })
    };
    let one = trained(1);
    assert_eq!(one, trained(2));
    assert_eq!(one, trained(4));
}

#[test]
fn batches_of_one_row_and_of_terminal_rows_work() {
    let mut terminal = columns();
    (0..8).for_each(|_| {
        terminal.push_followed(&[0.1; 3], &[0.2; 2], 1.0, &[0.0; 3], true, &[0.0; 2])
    });
    for case in every() {
        let (name, mut learner) = (case.name, case.build(Key::new(3)));
        for batch in [dataset(1).batch(), terminal.batch()] {
            let metrics = learner.update(batch, Key::new(4));
            assert!(metrics.iter().all(|(_, x)| x.is_finite()), "{name}: {metrics:?}");
        }
        assert_eq!(first_non_finite(learner.as_mut()), None, "{name}");
    }
}

/// Where every row is terminal, values are rewards: nothing is bootstrapped, whatever the next state. CQL lifts the value of
/// the dataset's actions above their return, so that it is its target that must be the reward.
#[test]
fn nothing_is_bootstrapped_through_a_terminal_row() {
    let mut rows = columns();
    (0..64).for_each(|_| rows.push_followed(&[0.5; 3], &[0.5; 2], 2.0, &[9.0; 3], true, &[0.7; 2]));
    every().into_par_iter().for_each(|case| {
        let case = case.with_each(|key| ["critic_lr", "value_lr"].contains(&key), 1e-3);
        let (name, mut learner) = (case.name, case.build(Key::new(5)));
        let mut q = None;
        for step in 0..700 {
            let metrics = learner.update(rows.batch(), Key::new(6).fold(step));
            q = metrics.get("target").or(metrics.get("q"));
        }
        if let Some(q) = q {
            assert!((q - 2.0).abs() < 0.1, "{name}: q is {q}");
        }
    });
}

/// Whether all that it does with a batch is cloning: behaviour cloning, and NPG's beginning.
fn clones(name: &str) -> bool {
    ["bc", "npg"].contains(&name)
}

/// One state, actions recorded uniformly, the best of them at +½: cloning stays at the mean, every other algorithm leaves it
/// for the better.
///
/// SDM-GAN resembles the dataset only where it goes on, so that for it nothing ends and the future is worth nothing instead; and its
/// batches are four in one.
#[test]
fn learners_prefer_what_pays() {
    let rows = |terminal| {
        let mut rows = columns();
        for i in 0..512 {
            let mut a = [0.0; 2];
            Key::new(10).fold(i).uniform(-1.0, 1.0, &mut a);
            let reward = -a.iter().map(|a| (a - 0.5) * (a - 0.5)).sum::<Real>();
            rows.push_followed(&[0.2; 3], &a, 10.0 * reward, &[0.2; 3], terminal, &[0.0; 2]);
        }
        rows
    };
    let [terminal, going_on] = [true, false].map(rows);
    every().into_par_iter().for_each(|case| {
        let case = case.with_each(|key| key.ends_with("_lr") && key != "alpha_lr", 1e-3);
        let (case, rows, batch) = match case.name {
            "sdm_gan" => (case.with("gamma", 0.0), &going_on, 4 * 64),
            // Nothing holds its policy back while its critics know nothing: it is sooner at a corner than they at the slope.
            "td3" => (case.with("actor_lr", 2e-4), &terminal, 64),
            _ => (case, &terminal, 64),
        };
        let (name, mut learner) = (case.name, case.build(Key::new(11)));
        let mut staging = columns();
        for step in 0..900 {
            let key = Key::new(12).fold(step);
            learner.update(rows.sample(key.name("batch"), batch, &mut staging), key);
        }
        let mut act = Array2::zeros((1, 2));
        learner.act(Array2::from_elem((1, 3), 0.2).view(), None, act.view_mut());
        // The mean of the dataset, (0, 0), loses 0.5 against the best action.
        let lost: Real = act.iter().map(|a| (a - 0.5) * (a - 0.5)).sum();
        let good = if clones(name) { (0.35..0.65).contains(&lost) } else { lost < 0.35 };
        assert!(good, "{name} acts {act} and loses {lost}: {:?}", case.config);
    });
}

#[test]
fn nan_in_any_tensor_is_named() {
    for case in every() {
        let (name, mut learner) = (case.name, case.build(Key::new(7)));
        let mut tensors = vec![];
        learner.visit(&mut |tensor, slot| {
            if let Slot::Tensor(..) = slot {
                tensors.push(tensor.to_owned());
            }
        });
        for bad in tensors {
            let before = snapshot(learner.as_mut());
            learner.visit(&mut |tensor, slot| {
                if let (true, Slot::Tensor(_, values)) = (tensor == bad, slot) {
                    *values.last_mut().unwrap() = Real::NAN;
                }
            });
            assert_eq!(
                first_non_finite(learner.as_mut()).map(|(t, _)| t),
                Some(bad.clone()),
                "{name}"
            );
            restore(learner.as_mut(), &before).unwrap();
        }
    }
}

#[test]
fn updates_allocate_nothing() {
    let dataset = dataset(300);
    for case in every() {
        let (name, mut learner) = (case.name, case.build(Key::new(13)));
        let mut staging = columns();
        let mut steps = |from: u64, to: u64| {
            for step in from..to {
                let key = Key::new(14).fold(step);
                staging.clear();
                dataset.sample_into(key.name("batch"), 20, &mut staging);
                staging.begin_imagined();
                dataset.sample_into(key.name("imagined"), 12, &mut staging);
                learner.update(staging.batch(), key);
            }
        };
        steps(0, 4);
        let counted = allocation_counter::measure(|| steps(4, 24));
        assert_eq!(counted.count_total, 0, "{name}");
    }
    // The counter counts.
    assert!(
        allocation_counter::measure(|| drop(std::hint::black_box(Box::new(0)))).count_total > 0
    );
}

/// A key gives the same imagined transitions on any number of threads, another key others; all are finite; and once it is warm,
/// imagining allocates nothing.
#[test]
fn imagining_is_a_function_of_its_key_and_allocates_nothing() {
    let dataset = dataset(300);
    let mut imagining = 0;
    for case in every() {
        if !case.uses_model {
            continue;
        }
        let mut learner = case.build(Key::new(19));
        let Some(rollouts) = learner.rollouts().cloned() else {
            let mut rows = Transitions::new(SPEC);
            let made = learner.imagine(&dataset, Key::new(20), &mut rows);
            assert!(
                made.stored == 0 && rows.is_empty(),
                "{}: no rollouts, and yet rows",
                case.name
            );
            continue;
        };
        imagining += 1;
        let imagined = |threads, key| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut learner = case.build(Key::new(19));
            let mut rows = Transitions::new(SPEC);
            pool.install(|| learner.imagine(&dataset, Key::new(key), &mut rows));
            rows
        };
        let one = imagined(1, 20);
        assert!(
            !one.is_empty() && one.len() <= rollouts.starts * rollouts.horizon,
            "{}: {}",
            case.name,
            one.len()
        );
        assert!(
            one.batch().obs.iter().chain(one.batch().reward).all(|x| x.is_finite()),
            "{}",
            case.name
        );
        assert!(one == imagined(2, 20) && one == imagined(4, 20), "{}: threads", case.name);
        assert!(one != imagined(1, 21), "{}: another key", case.name);

        let mut rows = Transitions::with_capacity(SPEC, 9 * rollouts.starts * rollouts.horizon);
        let mut calls = |from: u64, to: u64| {
            for call in from..to {
                learner.imagine(&dataset, Key::new(22).fold(call), &mut rows);
            }
        };
        calls(0, 4);
        let counted = allocation_counter::measure(|| calls(4, 8));
        assert_eq!(counted.count_total, 0, "{}", case.name);
    }
    assert!(imagining >= 1);
}

/// Without a key the action depends on the observation, not on the row it stands in or on the rows beside it; and it stays in
/// the box.
#[test]
fn deterministic_actions_do_not_depend_on_the_row() {
    let obs = Array2::from_shape_fn((70, 3), |(row, col)| {
        if row % 7 == 3 { 0.3 } else { (row * 3 + col) as Real * 0.1 }
    });
    for case in every() {
        let (name, mut learner) = (case.name, case.build(Key::new(8)));
        train(learner.as_mut(), 0, 20);
        let mut act = Array2::zeros((70, 2));
        learner.act(obs.view(), None, act.view_mut());
        assert!(act.iter().all(|a| a.abs() <= 1.0), "{name}");
        for row in (3..70).step_by(7) {
            assert_eq!(
                act.row(row),
                act.row(3),
                "{name}: rows {row} and 3 see the same and act differently"
            );
        }
        for row in 0..70 {
            let mut alone = Array2::zeros((1, 2));
            learner.act(obs.slice_axis(Axis(0), Slice::from(row..=row)), None, alone.view_mut());
            assert_eq!(act.row(row), alone.row(0), "{name}: row {row} acts otherwise when alone");
        }
    }
}

/// What acts is the net that learns: the actor's tensors, taken out by name and evaluated on a tape of the test's own. BCQ, BEAR
/// and SDM-GAN, which choose among candidates, and NPG, whose actor is another, are checked where their nets can be reached.
#[test]
fn acting_is_the_actors_forward_pass_to_the_bit() {
    let obs = dataset(50).batch().obs.to_owned();
    let mut compared = 0;
    for case in
        every().into_iter().filter(|case| !["bcq", "bear", "npg", "sdm_gan"].contains(&case.name))
    {
        let (name, mut learner) = (case.name, case.build(Key::new(15)));
        train(learner.as_mut(), 0, 6);
        let mut act = Array2::zeros((50, 2));
        learner.act(obs.view(), None, act.view_mut());
        let saved = snapshot(learner.as_mut());
        let layers = (0..).map_while(|i| match &saved.get(&format!("actor.{i}.weight")) {
            Some(Stored::Tensor(shape, _)) => Some(shape.clone()),
            _ => None,
        });
        let dims: Vec<usize> = [vec![3], layers.map(|shape| shape[2]).collect()].concat();
        let mut store = Store::default();
        let net =
            Mlp::new(&mut store, "actor", &dims, 1, Activation::Relu, Init::FanIn, Key::new(16));
        let actor = saved
            .iter()
            .filter(|(tensor, _)| net_of(tensor) == Some("actor") && !tensor.ends_with("log_std"));
        restore(
            &mut store,
            &actor.map(|(tensor, stored)| (tensor.clone(), stored.clone())).collect(),
        )
        .unwrap();
        let tape = store.tape();
        net.forward(tape.input(obs.view())).cols(0, 2).tanh().read(|want| {
            assert_eq!(act.as_slice().expect("dense"), want, "{name}");
        });
        compared += 1;
    }
    assert!(compared >= 14, "{compared} algorithms compared");
}

/// The net that a tensor of a store belongs to.
fn net_of(tensor: &str) -> Option<&str> {
    tensor.split_once('.').map(|(net, _)| net)
}

/// A target's elements all follow (1 − τ)·θ̄ + τ·θ, or, where targets wait for the actor, none moves; and the targets of every
/// algorithm that has any do move.
#[test]
fn targets_move_only_by_polyak() {
    for case in every() {
        let (name, tau) = (case.name, 0.02 as Real);
        let case = case.with_each(|key| key == "tau", 0.02);
        // Critics that rest leave their targets where they are.
        let case = if name == "sdm_gan" { case.with("warm_start", 0) } else { case };
        let mut learner = case.build(Key::new(9));
        let (mut moves, mut targets) = (0, 0);
        for step in 0..6 {
            let before = snapshot(learner.as_mut());
            train(learner.as_mut(), step, step + 1);
            let after = snapshot(learner.as_mut());
            for (tensor, target) in after.iter().filter(|(t, _)| t.contains("_target.")) {
                let (Stored::Tensor(_, now), Stored::Tensor(_, was), Stored::Tensor(_, online)) =
                    (target, &before[tensor], &after[&tensor.replace("_target", "")])
                else {
                    panic!("{tensor} is a tensor")
                };
                targets += 1;
                if now == was {
                    continue;
                }
                moves += 1;
                for ((now, was), online) in now.iter().zip(was).zip(online) {
                    let want = was + tau * (online - was);
                    let exact = (now - want).abs() <= 1e-6 * (1.0 + was.abs());
                    assert!(exact, "{name}: `{tensor}` went from {was} to {now} under {online}");
                }
            }
        }
        // TD3's descendants move them every second update.
        assert_eq!(
            moves,
            if ["td3", "td3_bc", "rebrac", "scas"].contains(&name) { targets / 2 } else { targets },
            "{name}"
        );
        assert_eq!(targets > 0, !clones(name), "{name}");
    }
}

/// A loss is a mean over rows, and the draws of a row are its own: exchanging rows between two batches, place by place, must
/// leave the sum of the two losses as it is. So must every metric that is a mean; a row that saw another's draws, target or
/// advantage would tell.
///
/// Nothing learns (rates too small to move a number), so that all losses of an update are taken at the same parameters. The
/// weight λ of TD3+BC and its kin is a function of the whole batch, and drops out where all values have one sign. SDM-GAN's means
/// are over the rows that go on, so that all of its do; its MMD and its gradient
/// penalty are of pairs of rows.
#[test]
fn rows_of_two_batches_can_be_exchanged() {
    let order: Vec<usize> = (0..32).map(|i| (i * 11 + 5) % 32).collect();
    let batches = |all: &Transitions| {
        let pick = |from: &dyn Fn(usize) -> usize| {
            let mut rows = columns();
            (0..20).for_each(|i| rows.push_row(all, from(i)));
            // What is imagined is so by its place.
            rows.begin_imagined();
            (20..32).for_each(|i| rows.push_row(all, from(i)));
            rows
        };
        // The second batch is a permutation of the first.
        let straight = [pick(&|i| i), pick(&|i| order[i])];
        let exchanged = [
            pick(&|i| if i % 3 == 0 { order[i] } else { i }),
            pick(&|i| if i % 3 == 0 { i } else { order[i] }),
        ];
        (straight, exchanged)
    };
    let (some_end, none_ends) = (batches(&dataset(64)), batches(&going_on(64)));
    for case in every() {
        let (straight, exchanged) = if case.name == "sdm_gan" { &none_ends } else { &some_end };
        let still = case.with_each(|key| key.ends_with("_lr"), 1e-30);
        let still =
            still.with_each(|key| key == "tau", 1e-30).with_each(|key| key == "policy_period", 1);
        let still = still.with_each(|key| key == "gradient_penalty", 0.0);
        let metrics = |rows: &Transitions| {
            let mut learner = still.build(Key::new(17));
            one_sign(learner.as_mut());
            learner.update(rows.batch(), Key::new(18))
        };
        let [a, b] = straight.each_ref().map(metrics);
        let [c, d] = exchanged.each_ref().map(metrics);
        // Of pairs of rows.
        let mmd = case.value("divergence").is_some_and(|d| d.as_str() == Some("mmd"));
        let mean = |metric: &str| metric != "gradient_penalty" && !(mmd && metric == "actor_loss");
        for (i, (name, x)) in a.iter().enumerate().filter(|(_, (name, _))| mean(name)) {
            let value = |m: &Metrics| m.iter().nth(i).expect("the same metrics").1 as f64;
            let (before, after) = (x as f64 + value(&b), value(&c) + value(&d));
            let size = [x as f64, value(&b), value(&c), value(&d)]
                .map(f64::abs)
                .into_iter()
                .fold(1.0, f64::max);
            let bound = 1e-6 * size * 2.0;
            assert!(
                (before - after).abs() <= bound,
                "{}: {name}: {before} before, {after} after",
                case.name
            );
        }
        // What no draw enters is the same for the two orders of the same rows.
        for (name, x) in a.iter().filter(|(metric, _)| drawless(&case, metric)) {
            let y = b.get(name).expect("the same metrics");
            assert!((x - y).abs() <= 1e-6 * x.abs().max(1.0), "{}: {name}: {x} and {y}", case.name);
        }
    }
}

/// Whether a metric depends on no draw.
fn drawless(case: &Case, metric: &str) -> bool {
    let dropout = case.value("dropout").and_then(|rate| rate.as_float()).unwrap_or(0.0);
    match case.name {
        "iql" if dropout > 0.0 => metric != "actor_loss",
        // A loss on the real rows alone depends on which rows these are.
        "npg" | "sdm_gan" => false,
        "td3_bc" if case.value("clone_real").and_then(|real| real.as_bool()) == Some(true) => {
            metric == "q"
        }
        "bc" | "iql" => true,
        "td3" | "td3_bc" | "rebrac" => ["actor_loss", "q"].contains(&metric),
        _ => metric == "q",
    }
}

/// Lifts all critics by the same: every value is positive.
fn one_sign(learner: &mut dyn Learner) {
    learner.visit(&mut |tensor, slot| {
        if let (true, Slot::Tensor(_, values)) =
            (tensor.starts_with("critic") && tensor.ends_with("2.bias"), slot)
        {
            values.iter_mut().for_each(|b| *b += 4.0);
        }
    });
}

/// A precision that is asked for reaches the algorithm's products: other bits, nearly the same metrics.
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn precision_reaches_every_learner() {
    if !backcast_nn::amx_available() {
        return eprintln!(
            "SKIPPED: precision_reaches_every_learner: this machine has no bf16 tiles (AMX)"
        );
    }
    let dataset = dataset(256);
    for case in every() {
        let wide = case.with_each(|key| key.ends_with("hidden"), vec![64, 64]);
        let [mut exact, mut split] = ["f32", "split"].map(|precision| {
            wide.with_each(|key| key == "precision", precision).build(Key::new(5))
        });
        let [a, b] =
            [&mut exact, &mut split].map(|learner| learner.update(dataset.batch(), Key::new(6)));
        for ((metric, x), (_, y)) in a.iter().zip(b.iter()) {
            assert!(
                (x - y).abs() <= 1e-3 * (1.0 + x.abs()),
                "{}, {metric}: {x} and {y}",
                case.name
            );
        }
        assert_ne!(
            fingerprint(exact.as_mut()),
            fingerprint(split.as_mut()),
            "{} computes in f32 alone",
            case.name
        );
    }
}

/// A name that is logged is a name that is explained, and the other way round.
#[test]
fn every_metric_is_explained() {
    let mut logged = std::collections::BTreeSet::new();
    let data = dataset(64);
    for case in every() {
        let mut learner = case.build(Key::new(23));
        for update in 0..12 {
            let mut rows = columns();
            // An agent on whole paths learns from what it imagines alone.
            if learner.rollouts().is_some_and(|how| how.every == 1) {
                learner.imagine(&data, Key::new(24).fold(update), &mut rows);
                rows = columns();
            }
            data.sample_into(Key::new(25).fold(update), 32, &mut rows);
            logged.extend(
                learner
                    .update(rows.batch(), Key::new(26).fold(update))
                    .iter()
                    .map(|(name, _)| name),
            );
        }
    }
    let explained: std::collections::BTreeSet<_> =
        backcast_algos::blocks::metrics::METRICS.iter().map(|(name, _)| *name).collect();
    let unexplained: Vec<_> = logged.difference(&explained).collect();
    assert!(unexplained.is_empty(), "logged and not explained: {unexplained:?}");
    // What an iteration of NPG reports comes after longer than this test: its tests read these names.
    let of_npg =
        ["kl", "log_std", "path_length", "path_return", "paths_halted", "step", "value_loss"];
    let never: Vec<_> =
        explained.difference(&logged).filter(|name| !of_npg.contains(name)).collect();
    assert!(never.is_empty(), "explained and never logged: {never:?}");
}
