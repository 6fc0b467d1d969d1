//! Continuous groups: what a sum over them knows, and what it cannot.

use backcast_core::{Key, Learner, Policy, Real, Source, Spec, Transitions};
use backcast_factorization::{Group, Groups, GroupsConfig};
use ndarray::Array2;

const SPEC: Spec = Spec::new(1, 4).with_act_limit(2.0);

/// Two groups of two columns; actions uniform in the box, one state after which everything ends.
fn dataset(rows: usize, key: Key, pays: impl Fn(&[Real]) -> Real) -> Transitions {
    let mut dataset = Transitions::new(SPEC);
    for row in 0..rows {
        let mut a = [0.0; 4];
        key.fold(row as u64).uniform(-2.0, 2.0, &mut a);
        dataset.push(&[1.0], &a, pays(&a), &[1.0], true);
    }
    dataset
}

/// The share of each group: nearest to its own corner pays most.
fn share(a: &[Real], best: [Real; 2]) -> Real {
    -a.iter().zip(best).map(|(a, b)| (a - b).powi(2)).sum::<Real>() / 4.0
}

fn sum(a: &[Real]) -> Real {
    share(&a[..2], [1.0, -1.0]) + share(&a[2..], [-1.0, 0.5])
}

/// Worth nothing by itself: what the one does right the other must, too.
fn product(a: &[Real]) -> Real {
    a[0] * a[2] / 2.0
}

fn learnt(dataset: &Transitions, groups: &[usize], cloning: &[Real], updates: u64) -> Groups {
    let groups = groups.iter().zip(cloning).map(|(&columns, &cloning)| Group { columns, cloning }).collect();
    let config = GroupsConfig {
        groups,
        critic_lr: 3e-3,
        actor_lr: 3e-3,
        tau: 0.05,
        hidden: vec![32, 32],
        ..GroupsConfig::default()
    };
    let mut learner = config.build(SPEC, Key::new(3)).unwrap();
    let mut staging = Transitions::new(SPEC);
    for update in 0..updates {
        let key = Key::new(4).fold(update);
        learner.update(dataset.sample(key, 128, &mut staging), key);
    }
    learner
}

/// The root of the mean squared error on rows that nobody learnt from, as a share of what is to be explained.
fn unexplained(learner: &mut Groups, pays: impl Fn(&[Real]) -> Real) -> Real {
    let tried = dataset(500, Key::new(99), pays);
    let batch = tried.batch();
    let values = learner.values(batch.obs, batch.act);
    let mean = batch.reward.mean().unwrap();
    let off: Real = values.iter().zip(batch.reward).map(|(v, r)| (v - r).powi(2)).sum();
    let all: Real = batch.reward.iter().map(|r| (r - mean).powi(2)).sum();
    (off / all).sqrt()
}

#[test]
fn a_sum_over_groups_is_exact_where_rewards_add_up_and_biased_where_they_multiply() {
    let added = dataset(600, Key::new(1), sum);
    let [mut two, mut one] = [vec![2, 2], vec![4]].map(|groups| learnt(&added, &groups, &[0.4, 0.4], 500));
    let (apart, whole) = (unexplained(&mut two, sum), unexplained(&mut one, sum));
    assert!(apart < 0.12, "{apart} of a sum is unexplained");
    assert!(apart < whole, "a net of all columns knows more of a sum: {whole} and {apart}");

    let multiplied = dataset(600, Key::new(2), product);
    let [mut two, mut one] = [vec![2, 2], vec![4]].map(|groups| learnt(&multiplied, &groups, &[0.4, 0.4], 500));
    // The best sum is zero everywhere; a net may do worse, by what it makes of the rows it saw.
    let (apart, whole) = (unexplained(&mut two, product), unexplained(&mut one, product));
    assert!(apart > 0.9, "a sum explains a product: {apart}");
    assert!(whole < 0.5, "and one net of all columns does not: {whole}");
}

#[test]
fn each_group_is_kept_to_the_dataset_by_its_own_weight() {
    let dataset = dataset(600, Key::new(5), sum);
    let acts = |cloning: [Real; 2]| {
        let mut act = Array2::zeros((1, 4));
        learnt(&dataset, &[2, 2], &cloning, 500).act(Array2::ones((1, 1)).view(), None, act.view_mut());
        act.row(0).to_vec()
    };
    // The mean of the dataset, zero, pays −0.5 and −0.31.
    let first = |act: &[Real]| share(&act[..2], [1.0, -1.0]);
    let second = |act: &[Real]| share(&act[2..], [-1.0, 0.5]);
    let free = acts([0.0, 0.0]);
    assert!(first(&free) > -0.2 && second(&free) > -0.15, "{free:?}");
    let half = acts([100.0, 0.0]);
    assert!(half[..2].iter().all(|a| a.abs() < 0.35) && second(&half) > -0.15, "{half:?}");
}

#[test]
fn nonsense_is_refused_by_field() {
    let sound = GroupsConfig::default();
    let groups = |columns, cloning| GroupsConfig { groups: vec![Group { columns, cloning }], ..sound.clone() };
    for (field, config) in [
        ("gamma", GroupsConfig { gamma: 1.5, ..sound.clone() }),
        ("critic_lr", GroupsConfig { critic_lr: 0.0, ..sound.clone() }),
        ("actor_lr", GroupsConfig { actor_lr: Real::INFINITY, ..sound.clone() }),
        ("tau", GroupsConfig { tau: 0.0, ..sound.clone() }),
        ("hidden", GroupsConfig { hidden: vec![0], ..sound.clone() }),
        ("groups", groups(0, 0.4)),
        ("groups", groups(4, -1.0)),
    ] {
        assert_eq!(config.check().unwrap_err().field, field);
    }
    assert!(groups(3, 0.4).build(SPEC, Key::new(1)).err().unwrap().to_string().contains("3 columns"));
    assert!(sound.build(SPEC, Key::new(1)).is_ok());
}
