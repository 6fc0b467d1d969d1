//! Parts of datasets: nothing is lost, nothing is doubled, and a leak is still known for one.
#![allow(clippy::unnecessary_cast)] // `Real` is `f64` in some builds.

mod shared;

use backcast_core::Real;
use backcast_data::{Dataset, Options, Split};
use shared::{Next, counters};

fn firsts(dataset: &Dataset) -> Vec<Real> {
    dataset.episodes().iter().map(|e| dataset.row(e.first).obs[0]).collect()
}

#[test]
fn a_random_split_is_of_whole_episodes_and_the_seed_decides() {
    let lengths: Vec<usize> = (1..=20).collect();
    let dataset = counters(&lengths, &[true; 20], Next::True);
    let split = |seed| dataset.split(Split::Random { share: 0.25, seed }).unwrap();
    let [validation, training] = split(3);
    assert_eq!((validation.episodes().len(), training.episodes().len()), (5, 15));
    assert_eq!(validation.len() + training.len(), dataset.len());
    let mut all = [firsts(&validation), firsts(&training)].concat();
    all.sort_by(Real::total_cmp);
    assert_eq!(all, firsts(&dataset));
    assert!(firsts(&validation).is_sorted() && firsts(&training).is_sorted());
    assert_eq!(split(3)[0], validation);
    assert!((0..5).any(|seed| split(seed)[0] != validation));
}

#[test]
fn best_and_worst_are_by_return_and_an_unfinished_episode_is_neither() {
    // Returns 6, 3, 10, 1, and an unfinished one of 21.
    let mut dataset = counters(&[4, 3, 5, 2], &[true; 4], Next::None);
    let open = counters(&[7], &[true], Next::None);
    (0..6).for_each(|t| dataset.push(open.row(t)));
    let of = |split| dataset.split(split).unwrap().map(|part| firsts(&part));
    assert_eq!(of(Split::Best(0.4)), [vec![1000.0, 3000.0], vec![2000.0, 4000.0, 1000.0]]);
    assert_eq!(of(Split::Worst(0.2)), [vec![4000.0], vec![1000.0, 2000.0, 3000.0, 1000.0]]);
    // As many as there are candidates, and no more.
    assert_eq!(of(Split::Best(0.99))[1], [1000.0]);
}

#[test]
fn a_split_by_rows_is_where_it_says_and_infos_and_notes_come_along() {
    let mut dataset = counters(&[4, 3], &[true, false], Next::True);
    dataset.push_info("age", 2, (0..14).map(|i| i as Real).collect());
    dataset.set_note("author", "A");
    let [first, rest] = dataset.split(Split::Rows(2)).unwrap();
    assert_eq!((first.len(), rest.len(), rest.infos()[0].values[0]), (2, 5, 4.0));
    assert_eq!((first.episodes().len(), rest.episodes().len()), (1, 2));
    assert_eq!((first.notes(), rest.notes()), (dataset.notes(), dataset.notes()));
}

#[test]
fn a_leak_stays_a_leak_whatever_follows_it_now() {
    let dataset = counters(&[3; 8], &[false; 8], Next::Leaking);
    for seed in 0..20 {
        for part in dataset.split(Split::Random { share: 0.4, seed }).unwrap() {
            let (data, report) = part.transitions(&Options::default()).unwrap();
            // Two true transitions in each episode; a third would be a jump into another one.
            assert_eq!(data.transitions().len(), 2 * part.episodes().len(), "seed {seed}: {report:?}");
            let batch = data.transitions().batch();
            assert!((0..batch.len()).all(|i| batch.next_obs[[i, 0]] == batch.obs[[i, 0]] + 1.0), "seed {seed}");
        }
    }
}

#[test]
fn a_lone_leak_is_left_out_or_masked_since_nothing_would_betray_it() {
    let dataset = counters(&[3; 8], &[false; 8], Next::Leaking);
    let one = dataset.split(Split::Random { share: 0.1, seed: 1 }).unwrap()[0].clone();
    assert_eq!((one.len(), one.episodes().len()), (2, 1));
    assert_eq!(one.transitions(&Options::default()).unwrap().0.transitions().len(), 2);
    let dataset = counters(&[3; 8], &[true; 8], Next::Leaking);
    let one = dataset.split(Split::Random { share: 0.1, seed: 1 }).unwrap()[0].clone();
    assert_eq!((one.len(), one.row(2).next_obs), (3, Some(one.row(2).obs)));
}

#[test]
fn shares_and_counts_that_make_no_sense_are_refused() {
    let dataset = counters(&[4, 3], &[true, true], Next::None);
    for split in [Split::Best(0.0), Split::Worst(1.0), Split::Random { share: f64::NAN, seed: 0 }] {
        assert_eq!(dataset.split(split).unwrap_err().field, "share");
    }
    for rows in [0, 7] {
        assert_eq!(dataset.split(Split::Rows(rows)).unwrap_err().field, "rows");
    }
    assert_eq!(counters(&[4], &[true], Next::None).split(Split::Best(0.5)).unwrap_err().field, "share");
}
