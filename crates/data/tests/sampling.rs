//! Replay buffers, sum trees, priorities, mixtures and episode splitting against the plainest thing that could be right.
#![allow(clippy::unnecessary_cast)] // `Real` is `f64` in some builds.

mod shared;

use approx::{abs_diff_eq, assert_abs_diff_eq};
use backcast_core::{Column, Key, Real, Source, Spec, State, Transitions, fingerprint, restore, snapshot};
use backcast_data::{Dataset, Mixture, Normaliser, Options, Priorities, ReplayBuffer, Row, Scale, SumTree};
use proptest::prelude::*;
use std::collections::VecDeque;

/// Rows whose observation is their own number.
fn numbered(rows: usize) -> Transitions {
    let mut columns = Transitions::new(Spec::new(1, 1));
    (0..rows).for_each(|i| columns.push(&[i as Real], &[0.0], 0.0, &[0.0], false));
    columns
}

/// The observations of a batch from `source`.
fn draw(source: &dyn Source, key: Key, rows: usize) -> Vec<usize> {
    let mut staging = Transitions::new(source.spec());
    source.sample(key, rows, &mut staging).obs.iter().map(|&x| x as usize).collect()
}

proptest! {
    #[test]
    fn a_sum_tree_finds_the_leaf_that_a_walk_along_the_weights_finds(
        weights in prop::collection::vec(0u32..4, 1..40),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0u32..4), 0..20),
        at in 0.0..1.0f64,
    ) {
        let mut naive: Vec<f64> = weights.iter().map(|&w| w as f64).collect();
        let mut tree = SumTree::new(naive.iter().copied());
        for (i, w) in changes {
            let i = i.index(naive.len());
            naive[i] = w as f64;
            tree.set(i, w as f64);
        }
        // Small whole numbers: every sum is exact.
        let total: f64 = naive.iter().sum();
        prop_assert_eq!(tree.total(), total);
        prop_assert_eq!(&tree, &SumTree::new(naive.iter().copied()));
        prop_assume!(total > 0.0);
        let (mut rest, mut expected) = (at * total, 0);
        while rest >= naive[expected] {
            rest -= naive[expected];
            expected += 1;
        }
        prop_assert_eq!(tree.find(at * total), expected);
    }

    #[test]
    fn a_sum_tree_never_finds_a_leaf_without_weight(
        weights in prop::collection::vec(prop_oneof![Just(0.0), 1e-12..1e12f64], 1..40),
        at in 0.0..=1.0f64,
    ) {
        let tree = SumTree::new(weights.iter().copied());
        prop_assume!(tree.total() > 0.0);
        // Even at the very end, where rounding could push past the last weight.
        prop_assert!(weights[tree.find(at * tree.total())] > 0.0);
    }

    #[test]
    fn a_replay_buffer_is_a_queue_that_forgets_the_oldest(
        capacity in 1usize..9,
        pushes in prop::collection::vec((0u8..100, any::<bool>(), any::<bool>()), 0..40),
    ) {
        let mut buffer = ReplayBuffer::new(Spec::new(2, 1), capacity);
        let mut queue = VecDeque::new();
        for (value, terminal, by_row) in pushes {
            let x = value as Real;
            let mut one = Transitions::new(buffer.spec());
            one.push(&[x, x + 1.0], &[x + 2.0], x + 3.0, &[x + 4.0, x + 5.0], terminal);
            if by_row { buffer.extend(&one) } else { buffer.push(&[x, x + 1.0], &[x + 2.0], x + 3.0, &[x + 4.0, x + 5.0], terminal) }
            queue.push_back(one);
            if queue.len() > capacity { queue.pop_front(); }
            prop_assert_eq!(buffer.len(), queue.len());
            prop_assert_eq!(buffer.rows().len(), queue.len());
            for (age, row) in queue.iter().enumerate() {
                for column in [Column::Obs, Column::Act, Column::Reward, Column::NextObs, Column::Terminal] {
                    prop_assert_eq!(buffer.row(column, age), row.row(column, 0));
                }
            }
        }
    }

    #[test]
    fn a_mixture_is_always_full_and_close_to_the_published_rounding(rows in 0usize..5000, ratio in 0.0..=1.0f64) {
        let real = numbered(1);
        let [from_real, imagined] = Mixture::new(&real, &real, ratio as Real).counts(rows);
        prop_assert_eq!(from_real + imagined, rows);
        let ratio = ratio as Real as f64;
        prop_assert_eq!(imagined, (rows as f64 * ratio + 0.1).floor() as usize);
        // The authors' code never takes more real rows, and at most one fewer.
        let theirs = (rows as f64 * (1.0 - ratio) + 0.1).floor() as usize;
        prop_assert!(theirs <= from_real && from_real <= theirs + 1, "{} and {}", theirs, from_real);
    }

    #[test]
    fn episodes_tile_the_dataset_and_no_transition_crosses_their_borders(
        ends in prop::collection::vec((prop::bool::weighted(0.2), prop::bool::weighted(0.2)), 1..60),
        stored in any::<bool>(),
    ) {
        let mut dataset = Dataset::new(1, 1, stored);
        for (t, &(terminal, truncated)) in ends.iter().enumerate() {
            let s = t as Real;
            // Stored next observations of the leaking sort: always the next row's.
            dataset.push(Row { obs: &[s], act: &[0.0], reward: 1.0, terminal, truncated, next_obs: stored.then_some(&[s + 1.0]) });
        }
        let episodes = dataset.episodes();
        let mut next = 0;
        for episode in &episodes {
            prop_assert_eq!(episode.first, next);
            prop_assert_eq!(episode.total, episode.rows as f64);
            next = episode.after();
            prop_assert!((episode.first..next - 1).all(|t| !ends[t].0 && !ends[t].1));
        }
        prop_assert_eq!(next, ends.len());
        let Ok((data, report)) = dataset.transitions(&Options::default()) else { return Ok(()) };
        let dropped = report.dropped_truncated + report.dropped_leaks + report.dropped_terminals + report.dropped_last;
        prop_assert_eq!(report.kept + dropped, ends.len());
        for i in 0..data.transitions().len() {
            let row = |column| data.transitions().row(column, i)[0];
            let t = row(Column::Obs) as usize;
            prop_assert_eq!(row(Column::Terminal) == 1.0, ends[t].0);
            let e = data.episode_of()[i] as usize;
            prop_assert!(data.rows_of(e).contains(&i));
            prop_assert!((episodes[e].first..episodes[e].after()).contains(&t));
            // Masked rows aside, the successor is in the same episode; the very last row may know its own.
            let successor = row(Column::NextObs) as usize;
            prop_assert!(ends[t].0 || successor < episodes[e].after() || t + 1 == ends.len());
        }
    }
}

#[test]
fn draws_without_replacement_never_repeat_and_leave_no_trace() {
    let rows = numbered(50);
    let weights: Vec<Real> = (0..50).map(|i| (i % 5) as Real).collect();
    let by = Priorities::new(&weights, 1.0, false).unwrap();
    let key = Key::new(3);
    let first = draw(&by.over(&rows), key, 40);
    let mut sorted = first.clone();
    sorted.sort();
    sorted.dedup();
    // Forty rows have weight; each comes exactly once.
    assert_eq!(sorted, (0..50).filter(|i| i % 5 != 0).collect::<Vec<_>>());
    assert_eq!(draw(&by.over(&rows), key, 40), first, "the same key draws the same rows, whatever was drawn before");
    assert_eq!(draw(&by.clone().over(&rows), key, 40), first);
    assert_ne!(draw(&by.over(&rows), key.fold(1), 40), first);
    // A batch larger than what has weight starts again instead of hanging.
    let mut counts = [0; 50];
    draw(&by.over(&rows), key, 100).into_iter().for_each(|i| counts[i] += 1);
    assert!((0..50).all(|i| if i % 5 == 0 { counts[i] == 0 } else { (2..=3).contains(&counts[i]) }), "{counts:?}");
}

#[test]
fn draws_with_replacement_follow_the_weights_and_the_exponent() {
    let rows = numbered(4);
    for exponent in [1.0, 2.0] {
        let by = Priorities::new(&[0.0, 1.0, 2.0, 3.0], exponent, true).unwrap();
        let mut counts = [0.0; 4];
        let n = 60_000;
        draw(&by.over(&rows), Key::new(1), n).into_iter().for_each(|i| counts[i] += 1.0);
        let powers = [0.0, 1.0, 2.0, 3.0].map(|w: f64| if w == 0.0 { 0.0 } else { w.powf(exponent as f64) });
        for i in 0..4 {
            let p = powers[i] / powers.iter().sum::<f64>();
            // Five standard deviations of a binomial count.
            let slack = 5.0 * (n as f64 * p * (1.0 - p)).sqrt();
            assert!(
                abs_diff_eq!(counts[i], n as f64 * p, epsilon = slack),
                "row {i}: {} of {n}, expected {p}",
                counts[i]
            );
        }
    }
}

#[test]
fn weights_that_cannot_be_drawn_by_are_refused() {
    for weights in [&[0.0, 0.0][..], &[1.0, -1.0], &[Real::NAN], &[Real::INFINITY], &[]] {
        assert_eq!(Priorities::new(weights, 1.0, false).unwrap_err().field, "weights", "{weights:?}");
    }
}

#[test]
fn a_mixture_takes_real_rows_first_and_each_part_by_its_own_key() {
    let (real, imagined) = (numbered(1000), {
        let mut buffer = ReplayBuffer::new(Spec::new(1, 1), 100);
        (0..150).for_each(|i| buffer.push(&[-1.0 - i as Real], &[0.0], 0.0, &[0.0], false));
        buffer
    });
    let mut staging = Transitions::new(Spec::new(1, 1));
    let mixture = Mixture::new(&real, &imagined, 0.7);
    let values: Vec<Real> = mixture.sample(Key::new(5), 100, &mut staging).obs.iter().copied().collect();
    assert!(values[..30].iter().all(|&x| x >= 0.0) && values[30..].iter().all(|&x| x < -50.0), "{values:?}");
    // Changing the share must not change which real rows come first.
    let fewer: Vec<Real> =
        Mixture::new(&real, &imagined, 0.9).sample(Key::new(5), 100, &mut staging).obs.iter().copied().collect();
    assert_eq!(fewer[..10], values[..10]);
    assert_eq!(Mixture::new(&real, &imagined, 0.1).counts(256), [231, 25]);
    assert_eq!(Mixture::new(&real, &imagined, 0.7).counts(100), [30, 70]);
}

#[test]
fn sampling_allocates_nothing_once_it_is_warm() {
    let rows = numbered(5000);
    let mut buffer = ReplayBuffer::new(rows.spec(), 3000);
    buffer.extend(&rows);
    let weights: Vec<Real> = (0..5000).map(|i| i as Real).collect();
    let [with, without] = [true, false].map(|replacement| Priorities::new(&weights, 1.0, replacement).unwrap());
    let mut staging = Transitions::new(rows.spec());
    let mut step = |key: Key| {
        for by in [&with, &without] {
            let prioritised = by.over(&rows);
            Mixture::new(&prioritised, &buffer, 0.5).sample(key, 256, &mut staging);
        }
        buffer.push(&[0.0], &[0.0], 0.0, &[0.0], true);
        buffer.push_row(&rows, 17);
    };
    // The first call fills the staging area, and the counter is seen to count.
    assert!(allocation_counter::measure(|| step(Key::new(0))).count_total > 0);
    let counted = allocation_counter::measure(|| (1..20).for_each(|i| step(Key::new(i))));
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

#[test]
fn a_replay_buffer_never_allocates_after_its_birth() {
    let rows = numbered(100);
    let mut buffer = ReplayBuffer::new(rows.spec(), 1000);
    let counted = allocation_counter::measure(|| (0..25).for_each(|_| buffer.extend(&rows)));
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

#[test]
fn a_replay_buffer_is_saved_and_restored_to_the_bit() {
    for pushed in [0, 3, 8, 21] {
        let mut one = ReplayBuffer::new(Spec::new(1, 1), 8);
        one.extend(&numbered(pushed));
        let mut two = ReplayBuffer::new(Spec::new(1, 1), 8);
        two.extend(&numbered(5));
        restore(&mut two, &snapshot(&mut one)).unwrap();
        assert_eq!(fingerprint(&mut one), fingerprint(&mut two), "{pushed}");
        for buffer in [&mut one, &mut two] {
            buffer.push(&[77.0], &[0.0], 0.0, &[0.0], false);
        }
        let ages =
            |buffer: &ReplayBuffer| (0..buffer.len()).map(|age| buffer.row(Column::Obs, age)[0]).collect::<Vec<_>>();
        assert_eq!(ages(&one), ages(&two));
        let untouched = {
            let mut buffer = ReplayBuffer::new(Spec::new(1, 1), 8);
            buffer.extend(&numbered(pushed));
            buffer.push(&[77.0], &[0.0], 0.0, &[0.0], false);
            ages(&buffer)
        };
        assert_eq!(ages(&one), untouched, "visiting changes nothing");
        assert_eq!(draw(&one, Key::new(1), 50), draw(&two, Key::new(1), 50));
    }
}

#[test]
fn a_replay_buffer_restored_from_foreign_counters_still_answers() {
    let mut buffer = ReplayBuffer::new(Spec::new(1, 1), 4);
    buffer.visit(&mut |_, slot| {
        if let backcast_core::Slot::Count(count) = slot {
            *count = u64::MAX;
        }
    });
    assert_eq!(buffer.len(), 4);
    buffer.push(&[1.0], &[0.0], 0.0, &[0.0], false);
    assert_eq!(buffer.row(Column::Obs, 3), [1.0]);
}

#[test]
fn a_normaliser_undoes_itself_survives_serialising_and_refuses_nonsense() {
    let mut columns = Transitions::new(Spec::new(3, 1));
    for i in 0..100 {
        let x = i as Real;
        columns.push(&[x, 1000.0 + 1e-3 * x, 5.0], &[0.0], 0.0, &[x + 1.0, 1000.0, 5.0], false);
    }
    let original = columns.clone();
    let normaliser = Normaliser::fit(columns.batch().obs, Scale::AtLeast(1e-3));
    // The deviation of 0, 1, …, n−1 is √((n² − 1)/12).
    let exact = ((100.0 * 100.0 - 1.0) / 12.0f64).sqrt();
    assert_abs_diff_eq!(normaliser.std()[0] as f64, exact, epsilon = 1e-4);
    assert_abs_diff_eq!(normaliser.std()[1] as f64, 1e-3 * exact, epsilon = 1e-4);
    assert_eq!((normaliser.mean()[2], normaliser.std()[2]), (5.0, 1e-3));
    let plus = Normaliser::fit(columns.batch().obs, Scale::Plus(1e-3));
    assert_abs_diff_eq!(plus.std()[0] - normaliser.std()[0], 1e-3, epsilon = 1e-5);
    assert_eq!(plus.std()[2], 1e-3);

    normaliser.apply_to_transitions(&mut columns);
    let obs = columns.batch().obs;
    assert_abs_diff_eq!(obs.column(0).mean().unwrap(), 0.0, epsilon = 1e-5);
    assert!(obs.column(2).iter().all(|&x| x == 0.0));
    let mut back = columns.batch().obs.to_owned();
    normaliser.invert(back.view_mut());
    assert_abs_diff_eq!(back, original.batch().obs, epsilon = 1e-3);

    let json = serde_json::to_string(&normaliser).unwrap();
    assert_eq!(serde_json::from_str::<Normaliser>(&json).unwrap(), normaliser);
    for bad in [r#"{"mean":[0.0],"std":[]}"#, r#"{"mean":[0.0],"std":[0.0]}"#, r#"{"mean":[0.0],"std":[-1.0]}"#] {
        assert!(serde_json::from_str::<Normaliser>(bad).is_err(), "{bad}");
    }
    let mut other = Normaliser::identity(3);
    restore(&mut other, &snapshot(&mut normaliser.clone())).unwrap();
    assert_eq!(other, normaliser);
}
