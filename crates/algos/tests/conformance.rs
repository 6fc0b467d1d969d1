//! What every learner must do, run for every learner of the crate.

use backcast_algos::{bc, bcq, cql, iql, sac, td3_bc};
use backcast_core::*;
use backcast_nn::Precision;
use ndarray::Array2;

const SPEC: Spec = Spec::new(3, 2);

fn log(rows: u64) -> Columns {
    let mut log = Columns::new(SPEC);
    for i in 0..rows {
        let key = Key::new(70).fold(i);
        let (mut s, mut a, mut s2) = ([0.0; 3], [0.0; 2], [0.0; 3]);
        key.name("s").normal(&mut s);
        key.name("a").uniform(-1.0, 1.0, &mut a);
        key.name("s2").normal(&mut s2);
        log.push(&s, &a, s[0] + a[1], &s2, key.below(10, 0) == 0);
    }
    log
}

/// Small versions of every learner.
fn every(key: Key) -> Vec<(&'static str, Box<dyn Learner>)> {
    fn build<A: Algorithm>(config: A, key: Key) -> (&'static str, Box<dyn Learner>)
    where
        A::Learner: 'static,
    {
        (A::NAME, Box::new(config.build(SPEC, key).expect("a sound configuration")))
    }
    let hidden = || vec![16, 16];
    vec![
        build(bc::Config { hidden: hidden(), ..Default::default() }, key),
        build(td3_bc::Config { hidden: hidden(), ..Default::default() }, key),
        build(bcq::Config { hidden: hidden(), vae_hidden: hidden(), act_samples: 5, ..Default::default() }, key),
        build(iql::Config { hidden: hidden(), layer_norm: true, ..Default::default() }, key),
        build(iql::Config { hidden: hidden(), ..Default::default() }, key),
        build(iql::Config { hidden: hidden(), deterministic: true, dropout: 0.1, ..Default::default() }, key),
        build(sac::Config { hidden: hidden(), ..Default::default() }, key),
        build(sac::Config { hidden: hidden(), layer_norm: true, cloning: Some(2.5), ..Default::default() }, key),
        build(cql::Config { hidden: hidden(), warm_start: 3, actor_rate: 3e-4, ..Default::default() }, key),
        build(
            cql::Config {
                hidden: hidden(),
                warm_start: 0,
                samples: 4,
                three_way: true,
                entropy_backup: true,
                layer_norm: true,
                actor_rate: 3e-4,
                ..Default::default()
            },
            key,
        ),
        build(
            cql::Config {
                hidden: hidden(),
                warm_start: 0,
                samples: 4,
                max_backup: true,
                lagrange: Some(10.0),
                actor_rate: 3e-4,
                ..Default::default()
            },
            key,
        ),
    ]
}

fn train(learner: &mut dyn Learner, from: u64, to: u64) {
    let log = log(300);
    let mut staging = Columns::new(SPEC);
    for step in from..to {
        let key = Key::new(71).fold(step);
        let metrics = learner.update(log.sample(key.name("batch"), 32, &mut staging), key);
        assert!(metrics.iter().all(|(_, x)| x.is_finite()), "{metrics:?}");
    }
}

#[test]
fn the_same_key_gives_the_same_bits_and_another_key_another_learner() {
    let pairs = every(Key::new(1)).into_iter().zip(every(Key::new(1))).zip(every(Key::new(2)));
    for (((name, mut a), (_, mut b)), (_, mut c)) in pairs {
        train(a.as_mut(), 0, 5);
        train(b.as_mut(), 0, 5);
        train(c.as_mut(), 0, 5);
        assert_eq!(fingerprint(a.as_mut()), fingerprint(b.as_mut()), "{name}");
        assert_ne!(fingerprint(a.as_mut()), fingerprint(c.as_mut()), "{name}");
    }
}

#[test]
fn a_restored_learner_goes_on_to_the_same_bits() {
    for ((name, mut a), (_, mut b)) in every(Key::new(1)).into_iter().zip(every(Key::new(2))) {
        train(a.as_mut(), 0, 7);
        restore(b.as_mut(), &snapshot(a.as_mut())).unwrap();
        train(a.as_mut(), 7, 12);
        train(b.as_mut(), 7, 12);
        assert_eq!(fingerprint(a.as_mut()), fingerprint(b.as_mut()), "{name}");
    }
}

#[test]
fn batches_of_one_row_and_of_terminal_rows_work() {
    let mut terminal = Columns::new(SPEC);
    (0..8).for_each(|_| terminal.push(&[0.1; 3], &[0.2; 2], 1.0, &[0.0; 3], true));
    for (name, mut learner) in every(Key::new(3)) {
        for batch in [log(1).batch(), terminal.batch()] {
            let metrics = learner.update(batch, Key::new(4));
            assert!(metrics.iter().all(|(_, x)| x.is_finite()), "{name}: {metrics:?}");
        }
        assert_eq!(first_non_finite(learner.as_mut()), None, "{name}");
    }
}

/// Where every row is terminal, values are rewards: nothing is bootstrapped, whatever the next state. CQL lifts the value of
/// the log's actions above their return, so that it is its target that must be the reward.
#[test]
fn nothing_is_bootstrapped_through_a_terminal_row() {
    for (name, mut learner) in every(Key::new(5)) {
        let mut rows = Columns::new(SPEC);
        (0..64).for_each(|_| rows.push(&[0.5; 3], &[0.5; 2], 2.0, &[9.0; 3], true));
        let mut q = None;
        for step in 0..2500 {
            let metrics = learner.update(rows.batch(), Key::new(6).fold(step));
            q = metrics.get("target").or(metrics.get("q"));
        }
        if let Some(q) = q {
            assert!((q - 2.0).abs() < 0.1, "{name}: q is {q}");
        }
    }
}

/// One state, actions recorded uniformly, the best of them at +½: cloning stays at the mean, every other learner leaves it
/// for the better.
#[test]
fn learners_prefer_what_pays() {
    let mut rows = Columns::new(SPEC);
    for i in 0..512 {
        let mut a = [0.0; 2];
        Key::new(10).fold(i).uniform(-1.0, 1.0, &mut a);
        let reward = -a.iter().map(|a| (a - 0.5) * (a - 0.5)).sum::<Real>();
        rows.push(&[0.2; 3], &a, 10.0 * reward, &[0.2; 3], true);
    }
    for (name, mut learner) in every(Key::new(11)) {
        let mut staging = Columns::new(SPEC);
        for step in 0..3000 {
            let key = Key::new(12).fold(step);
            learner.update(rows.sample(key.name("batch"), 64, &mut staging), key);
        }
        let mut act = Array2::zeros((1, 2));
        learner.act(Array2::from_elem((1, 3), 0.2).view(), None, act.view_mut());
        // The mean of the log, (0, 0), loses 0.5 against the best action.
        let lost: Real = act.iter().map(|a| (a - 0.5) * (a - 0.5)).sum();
        let good = if name == "bc" { (0.35..0.65).contains(&lost) } else { lost < 0.35 };
        assert!(good, "{name} acts {act} and loses {lost}");
    }
}

#[test]
fn nan_in_any_tensor_is_named() {
    for (name, mut learner) in every(Key::new(7)) {
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
            assert_eq!(first_non_finite(learner.as_mut()).map(|(t, _)| t), Some(bad.clone()), "{name}");
            restore(learner.as_mut(), &before).unwrap();
        }
    }
}

#[test]
fn updates_allocate_nothing() {
    let log = log(300);
    for (name, mut learner) in every(Key::new(13)) {
        let mut staging = Columns::new(SPEC);
        let mut steps = |from: u64, to: u64| {
            for step in from..to {
                let key = Key::new(14).fold(step);
                learner.update(log.sample(key.name("batch"), 32, &mut staging), key);
            }
        };
        steps(0, 4);
        let counted = allocation_counter::measure(|| steps(4, 24));
        assert_eq!(counted.count_total, 0, "{name}");
    }
    // The counter counts.
    assert!(allocation_counter::measure(|| drop(std::hint::black_box(Box::new(0)))).count_total > 0);
}

/// Without a key the action depends on the observation, not on the row it stands in; and it stays in the box.
#[test]
fn deterministic_actions_do_not_depend_on_the_row() {
    let obs =
        Array2::from_shape_fn((70, 3), |(row, col)| if row % 7 == 3 { 0.3 } else { (row * 3 + col) as Real * 0.1 });
    for (name, mut learner) in every(Key::new(8)) {
        train(learner.as_mut(), 0, 20);
        let mut act = Array2::zeros((70, 2));
        learner.act(obs.view(), None, act.view_mut());
        assert!(act.iter().all(|a| a.abs() <= 1.0), "{name}");
        for row in (3..70).step_by(7) {
            assert_eq!(act.row(row), act.row(3), "{name}: rows {row} and 3 see the same and act differently");
        }
    }
}

#[test]
fn targets_move_only_by_polyak() {
    for (name, mut learner) in every(Key::new(9)) {
        let tensors = |learner: &mut dyn Learner| snapshot(learner);
        for step in 0..6 {
            let before = tensors(learner.as_mut());
            train(learner.as_mut(), step, step + 1);
            let after = tensors(learner.as_mut());
            for (tensor, target) in after.iter().filter(|(t, _)| t.contains("_target.")) {
                let online = &after[&tensor.replace("_target", "")];
                let (Stored::Tensor(_, now), Stored::Tensor(_, was), Stored::Tensor(_, online)) =
                    (target, &before[tensor], online)
                else {
                    panic!("{tensor} is a tensor")
                };
                for ((now, was), online) in now.iter().zip(was).zip(online) {
                    let polyak = was + 0.005 * (online - was);
                    let moved = (now - polyak).abs() <= 1e-6 * (1.0 + was.abs());
                    // TD3+BC moves its targets every second update.
                    assert!(moved || now == was, "{name}: `{tensor}` went from {was} to {now} under {online}");
                }
            }
        }
    }
}

/// A precision that is asked for reaches the learner's products: other bits, nearly the same metrics.
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn precision_reaches_every_learner() {
    if !backcast_nn::amx_available() {
        return eprintln!("SKIPPED: precision_reaches_every_learner: this machine has no bf16 tiles (AMX)");
    }
    fn twins<A: Algorithm>(mut config: A, with: impl Fn(&mut A, Precision)) -> [Box<dyn Learner>; 2]
    where
        A::Learner: 'static,
    {
        [Precision::F32, Precision::Split].map(|precision| {
            with(&mut config, precision);
            Box::new(config.build(SPEC, Key::new(5)).expect("a sound configuration")) as Box<dyn Learner>
        })
    }
    macro_rules! twins {
        ($($config:expr),*) => {[$(twins($config, |c, precision| c.precision = precision)),*]};
    }
    let hidden = || vec![64, 64];
    let all = twins![
        bc::Config { hidden: hidden(), ..Default::default() },
        td3_bc::Config { hidden: hidden(), ..Default::default() },
        bcq::Config { hidden: hidden(), vae_hidden: hidden(), ..Default::default() },
        iql::Config { hidden: hidden(), ..Default::default() },
        sac::Config { hidden: hidden(), ..Default::default() },
        cql::Config { hidden: hidden(), warm_start: 0, ..Default::default() }
    ];
    let log = log(256);
    for (i, [mut exact, mut split]) in all.into_iter().enumerate() {
        let [a, b] = [&mut exact, &mut split].map(|learner| learner.update(log.batch(), Key::new(6)));
        for ((name, x), (_, y)) in a.iter().zip(b.iter()) {
            assert!((x - y).abs() <= 1e-3 * (1.0 + x.abs()), "learner {i}, {name}: {x} and {y}");
        }
        assert_ne!(fingerprint(exact.as_mut()), fingerprint(split.as_mut()), "learner {i} computes in f32 alone");
    }
}

#[test]
fn bad_values_are_refused_by_field() {
    fn refused<A: Algorithm>(config: A, field: &str) {
        let error = config.check().expect_err(field);
        assert_eq!(error.field, field, "{error}");
        assert!(config.build(SPEC, Key::new(0)).is_err());
    }
    refused(bc::Config { actor_rate: 0.0, ..Default::default() }, "actor_rate");
    refused(bc::Config { hidden: vec![], ..Default::default() }, "hidden");
    refused(td3_bc::Config { gamma: 1.5, ..Default::default() }, "gamma");
    refused(td3_bc::Config { alpha: -1.0, ..Default::default() }, "alpha");
    refused(td3_bc::Config { policy_noise: -0.1, ..Default::default() }, "policy_noise");
    refused(td3_bc::Config { noise_clip: -0.1, ..Default::default() }, "noise_clip");
    refused(td3_bc::Config { policy_period: 0, ..Default::default() }, "policy_period");
    refused(td3_bc::Config { polyak: 0.0, ..Default::default() }, "polyak");
    refused(td3_bc::Config { critic_rate: Real::NAN, ..Default::default() }, "critic_rate");
    refused(bcq::Config { lambda: 1.1, ..Default::default() }, "lambda");
    refused(bcq::Config { phi: -0.1, ..Default::default() }, "phi");
    refused(bcq::Config { kl_weight: -0.1, ..Default::default() }, "kl_weight");
    refused(bcq::Config { target_samples: 0, ..Default::default() }, "target_samples");
    refused(bcq::Config { act_samples: 0, ..Default::default() }, "act_samples");
    refused(bcq::Config { vae_rate: -1.0, ..Default::default() }, "vae_rate");
    refused(bcq::Config { vae_hidden: vec![0], ..Default::default() }, "vae_hidden");
    refused(iql::Config { expectile: 1.0, ..Default::default() }, "expectile");
    refused(iql::Config { beta: -1.0, ..Default::default() }, "beta");
    refused(iql::Config { weight_bound: 0.0, ..Default::default() }, "weight_bound");
    refused(iql::Config { dropout: 1.0, ..Default::default() }, "dropout");
    refused(iql::Config { value_rate: 0.0, ..Default::default() }, "value_rate");
    refused(sac::Config { alpha: 0.0, ..Default::default() }, "alpha");
    refused(sac::Config { alpha_rate: -1e-4, ..Default::default() }, "alpha_rate");
    refused(sac::Config { target_entropy: Some(Real::NAN), ..Default::default() }, "target_entropy");
    refused(sac::Config { cloning: Some(-2.5), ..Default::default() }, "cloning");
    refused(sac::Config { actor_rate: 0.0, ..Default::default() }, "actor_rate");
    refused(sac::Config { hidden: vec![4; 8], ..Default::default() }, "hidden");
    refused(cql::Config { weight: -1.0, ..Default::default() }, "weight");
    refused(cql::Config { weight: Real::INFINITY, ..Default::default() }, "weight");
    refused(cql::Config { samples: 0, ..Default::default() }, "samples");
    refused(cql::Config { lagrange: Some(Real::NAN), ..Default::default() }, "lagrange");
    refused(cql::Config { max_backup: true, entropy_backup: true, ..Default::default() }, "entropy_backup");
    refused(cql::Config { alpha: -1.0, ..Default::default() }, "alpha");
    refused(cql::Config { critic_rate: 0.0, ..Default::default() }, "critic_rate");
    refused(cql::Config { gamma: -0.1, ..Default::default() }, "gamma");
}
