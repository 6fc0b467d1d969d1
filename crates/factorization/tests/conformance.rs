//! What every algorithm must do, run for every algorithm of the crate.

mod shared;

use approx::abs_diff_eq;
use backcast_core::{Key, Real, Stored, fingerprint, snapshot};
use ndarray::Array1;
use rayon::prelude::*;
use shared::{Case, Looks, Rows, every};
use std::collections::BTreeMap;

/// `updates` on batches that differ.
fn train(case: &Case, learner: &mut dyn shared::Learns, updates: std::ops::Range<u64>) {
    for update in updates {
        let rows = Rows::drawn(case.widths, 24, Key::new(77).fold(update));
        learner.learn(&rows, Key::new(78).fold(update));
    }
}

#[test]
fn the_same_key_gives_the_same_bits_and_another_key_other_nets() {
    for case in every() {
        let [mut a, mut b, mut c] = [1, 1, 2].map(|key| case.build(Key::new(key)));
        let (first, other) = (snapshot(a.as_mut()), snapshot(c.as_mut()));
        for (tensor, stored) in &first {
            let Stored::Tensor(_, values) = stored else { continue };
            let drawn = values.iter().any(|x| *x != values[0]);
            assert!(!drawn || other[tensor] != *stored, "{}: `{tensor}` does not depend on the key", case.name);
        }
        [&mut a, &mut b, &mut c].into_iter().for_each(|learner| train(&case, learner.as_mut(), 0..5));
        assert_eq!(fingerprint(a.as_mut()), fingerprint(b.as_mut()), "{}", case.name);
        assert_ne!(fingerprint(a.as_mut()), fingerprint(c.as_mut()), "{}", case.name);
        assert_ne!(snapshot(a.as_mut()), first, "{} does not learn", case.name);
    }
}

/// Through a file, into an algorithm that began elsewhere; and on from there to the same bits.
#[test]
fn a_restored_learner_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("learner.safetensors");
    for case in every() {
        let [mut a, mut b] = [1, 2].map(|key| case.build(Key::new(key)));
        train(&case, a.as_mut(), 0..7);
        backcast_storage::save(a.as_mut(), &BTreeMap::new(), &file).unwrap();
        backcast_storage::load(b.as_mut(), &file).unwrap();
        assert_eq!(fingerprint(a.as_mut()), fingerprint(b.as_mut()), "{}", case.name);
        // Over the next copy of the targets.
        [&mut a, &mut b].into_iter().for_each(|learner| train(&case, learner.as_mut(), 7..14));
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
                train(&case, learner.as_mut(), 0..5);
                // Rows enough to be shared out.
                learner.learn(&Rows::drawn(case.widths, 600, Key::new(5)), Key::new(6));
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
fn updates_allocate_nothing() {
    // For every update of these the test makes a policy, truncations, or columns.
    for case in every().into_iter().filter(|case| !["coma", "joint fqe", "groups"].contains(&case.name)) {
        let (mut learner, rows) = (case.build(Key::new(13)), Rows::drawn(case.widths, 32, Key::new(14)));
        (0..6).for_each(|update| _ = learner.learn(&rows, Key::new(15).fold(update)));
        let counted = allocation_counter::measure(|| {
            (6..26).for_each(|update| _ = learner.learn(&rows, Key::new(15).fold(update)));
        });
        assert_eq!(counted.count_total, 0, "{}", case.name);
    }
    // The counter counts.
    assert!(allocation_counter::measure(|| drop(std::hint::black_box(Box::new(0)))).count_total > 0);
}

/// A target is its net of some updates ago, or follows (1 − τ)·θ̄ + τ·θ, and nothing else moves it.
#[test]
fn targets_are_moved_by_no_gradient() {
    for case in every().into_iter().filter(|case| case.looks != Looks::Nowhere) {
        let mut learner = case.build(Key::new(9));
        let (mut moves, mut tensors) = (0, 0);
        for step in 1..=10 {
            let before = snapshot(learner.as_mut());
            train(&case, learner.as_mut(), step..step + 1);
            let after = snapshot(learner.as_mut());
            for (tensor, now) in after.iter().filter(|(tensor, _)| shared::online_of(tensor).is_some()) {
                let online = &after[&shared::online_of(tensor).expect("a target's")];
                let (Stored::Tensor(_, now), Stored::Tensor(_, was), Stored::Tensor(_, online)) =
                    (now, &before[tensor], online)
                else {
                    panic!("{tensor} is a tensor")
                };
                tensors += 1;
                moves += usize::from(now != was);
                for ((now, was), online) in now.iter().zip(was).zip(online) {
                    let want = match case.tau {
                        Some(tau) => was + tau * (online - was),
                        None if step % shared::COPY_EVERY == 0 => *online,
                        None => *was,
                    };
                    let exact = abs_diff_eq!(*now, want, epsilon = 1e-6 * (1.0 + was.abs()));
                    assert!(exact, "{}, update {step}: `{tensor}` went from {was} to {now} under {online}", case.name);
                }
            }
        }
        assert!(tensors > 0, "{} has no targets", case.name);
        assert!(moves > 0, "{}: targets never move", case.name);
    }
}

/// Where every row is terminal, targets are rewards: whatever the next state, the same bits.
#[test]
fn nothing_is_bootstrapped_through_a_terminal_row() {
    for case in every().into_iter().filter(|case| case.looks == Looks::Beside) {
        let trained = |next: u64, terminal: bool| {
            let mut learner = case.build(Key::new(3));
            for update in 0..3 {
                let mut rows = Rows::drawn(case.widths, 16, Key::new(4).fold(update));
                let other = Rows::drawn(case.widths, 16, Key::new(next).fold(update));
                (rows.next_state, rows.next_obs, rows.next_act) = (other.next_state, other.next_obs, other.next_act);
                rows.terminal = Array1::from_elem(16, Real::from(u8::from(terminal)));
                learner.learn(&rows, Key::new(5).fold(update));
            }
            fingerprint(learner.as_mut())
        };
        assert_eq!(trained(1, true), trained(2, true), "{}", case.name);
        assert_ne!(trained(1, false), trained(2, false), "{} never looks ahead", case.name);
    }
}

/// The same rows again and again, all terminal so that what is aimed at stays: the loss falls. (That of IQL's V need not: it follows a
/// value which learns.)
#[test]
fn losses_fall_on_one_batch() {
    every().into_par_iter().for_each(|case| {
        let mut learner = case.build(Key::new(21));
        let mut rows = Rows::drawn(case.widths, 24, Key::new(22));
        rows.terminal.fill(1.0);
        let mut first: BTreeMap<&str, Real> = BTreeMap::new();
        let mut last = first.clone();
        for _ in 0..400 {
            // One key: MA-CQL's joint actions stay too.
            for (name, value) in
                learner.learn(&rows, Key::new(23)).iter().filter(|(name, _)| ["loss", "critic_loss"].contains(name))
            {
                first.entry(name).or_insert(value);
                last.insert(name, value);
            }
        }
        assert!(!first.is_empty(), "{}", case.name);
        for (name, before) in first {
            // A penalty may take a loss below zero.
            assert!(last[name] < 0.8 * before.abs(), "{}: {name} was {before} and is {}", case.name, last[name]);
        }
    });
}

/// Losses are means over rows: their order is nothing.
#[test]
fn the_order_of_the_rows_does_not_matter() {
    for case in every().into_iter().filter(|case| !case.draws && case.looks != Looks::After) {
        let rows = Rows::drawn(case.widths, 20, Key::new(31));
        let order: Vec<usize> = (0..20).map(|row| (row * 7 + 3) % 20).collect();
        let [one, other] = [rows.clone(), rows.select(&order)].map(|rows| {
            let mut learner = case.build(Key::new(32));
            learner.learn(&rows, Key::new(33))
        });
        for ((name, a), (_, b)) in one.iter().zip(other.iter()) {
            assert!(abs_diff_eq!(a, b, epsilon = 1e-5 * a.abs().max(1.0)), "{}: {name}: {a} and {b}", case.name);
        }
        // And half of the rows have another mean.
        let mut learner = case.build(Key::new(32));
        let half = learner.learn(&rows.select(&order[..10]), Key::new(33));
        assert!(one.iter().zip(half.iter()).any(|((_, a), (_, b))| (a - b).abs() > 1e-4), "{}", case.name);
    }
}
