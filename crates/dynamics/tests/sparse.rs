//! Rewards that are seldom paid: what the likelihood leaves to its variance, and what a weighted one does not.

use backcast_core::{Direction, Dynamics, Key, Real, Spec, Transitions};
use backcast_dynamics::{Ensemble, EnsembleConfig};

/// Small steps in a square; one is paid where a step ends in a circle, a twentieth of the square.
fn square(rows: usize, key: Key) -> Transitions {
    let mut dataset = Transitions::new(Spec::new(2, 2));
    let mut x = vec![0.0; rows * 4];
    key.uniform(-1.0, 1.0, &mut x);
    for x in x.chunks_exact(4) {
        let s2 = [x[0] + 0.03 * x[2], x[1] + 0.03 * x[3]];
        let paid = (s2[0] - 0.5).hypot(s2[1] - 0.5) < 0.25;
        dataset.push(&x[..2], &x[2..], paid as u8 as Real, &s2, false);
    }
    dataset
}

/// The share of the reward's variance that the best elite leaves unexplained.
fn unexplained(beta_nll: Real, key: Key) -> Real {
    let (dataset, test) = (square(20_000, key.name("log")), square(4_000, key.name("test")));
    let config = EnsembleConfig {
        members: 2,
        elites: 1,
        hidden: vec![32, 32],
        weight_decay: vec![0.0; 3],
        max_epochs: Some(60),
        patience: 60,
        beta_nll,
        ..EnsembleConfig::default()
    };
    let mut model = Ensemble::new(config, dataset.spec(), Direction::Reverse, key.name("init")).unwrap();
    model.fit(&dataset, key.name("fit"), &mut |_| true).unwrap();
    let best = model.elites()[0];
    let p = model.predict([test.batch().next_obs, test.batch().act]);
    let n = test.len() as Real;
    let mean = test.batch().reward.sum() / n;
    let (mut error, mut variance) = (0.0, 0.0);
    for (row, &r) in test.batch().reward.iter().enumerate() {
        error += (p.mean[[best, row, 0]] - r).powi(2) / n;
        variance += (r - mean).powi(2) / n;
    }
    error / variance
}

#[test]
fn a_weighted_likelihood_learns_where_a_sparse_reward_is_paid() {
    let key = Key::new(50);
    let [plain, weighted] = [0.0, 0.5].map(|beta| unexplained(beta, key));
    assert!(weighted < 0.35, "{key:?}: {weighted} of the reward's variance is unexplained");
    assert!(weighted < 0.5 * plain, "{key:?}: {weighted} with weights, {plain} without");
}
