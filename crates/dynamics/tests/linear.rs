//! Ensembles on worlds whose answer is known.

use backcast_core::{Column, Columns, Direction, Dynamics, Key, Real, Spec};
use backcast_dynamics::{Ensemble, EnsembleConfig, FitReport};

/// s′ = A·s + B·a with an invertible A; r = s₀ + 2·a₀ − s′₁.
fn step(s: &[Real], a: &[Real]) -> ([Real; 3], Real) {
    let s2 = [
        0.9 * s[0] + 0.2 * s[1] + 0.3 * a[0],
        -0.1 * s[0] + 0.95 * s[1] - 0.2 * a[1],
        0.1 * s[1] + 1.05 * s[2] + 0.1 * a[0] + 0.1 * a[1],
    ];
    (s2, s[0] + 2.0 * a[0] - s2[1])
}

fn linear_log(rows: usize, key: Key) -> Columns {
    let mut log = Columns::new(Spec::new(3, 2));
    let mut x = vec![0.0; rows * 5];
    key.uniform(-1.0, 1.0, &mut x);
    for x in x.chunks_exact(5) {
        let (s2, r) = step(&x[..3], &x[3..]);
        log.push(&x[..3], &x[3..], r, &s2, false);
    }
    log
}

fn small() -> EnsembleConfig {
    EnsembleConfig {
        members: 3,
        elites: 2,
        hidden: vec![32, 32],
        decay: vec![0.0; 3],
        learning_rate: 3e-3,
        batch: 128,
        max_epochs: Some(40),
        ..EnsembleConfig::default()
    }
}

fn fitted(config: EnsembleConfig, log: &Columns, direction: Direction) -> (Ensemble, FitReport) {
    let mut model = Ensemble::new(config, log.spec(), direction, Key::new(1)).unwrap();
    let report = model.fit(log, Key::new(2), &mut |_| true).unwrap();
    (model, report)
}

/// The root mean square error of the best elite in the predicted state, relative to the deviation of the change.
fn relative_error(model: &mut Ensemble, test: &Columns) -> Real {
    let split = model.direction().split();
    let best = model.elites()[0];
    let p = model.predict(split.given.map(|c| test.batch().column(c)));
    let (mut error, mut change) = (0.0, 0.0);
    for row in 0..test.len() {
        let truth = test.row(split.predicted[1], row);
        let anchor = test.row(split.anchor.unwrap(), row);
        for (i, (y, a)) in truth.iter().zip(anchor).enumerate() {
            error += (p.mean[[best, row, 1 + i]] - y).powi(2);
            change += (y - a).powi(2);
        }
    }
    (error / change).sqrt()
}

#[test]
fn a_linear_world_is_learnt_in_both_directions() {
    let (log, test) = (linear_log(4000, Key::new(10)), linear_log(500, Key::new(11)));
    for direction in [Direction::Forward, Direction::Reverse] {
        let (mut model, report) = fitted(small(), &log, direction);
        let error = relative_error(&mut model, &test);
        eprintln!("{direction:?}: {error} {report:?}");
        assert!(error < 0.05, "{direction:?}: {error}, {report:?}");
    }
}

#[test]
fn an_inverse_model_finds_the_action() {
    let (log, test) = (linear_log(4000, Key::new(10)), linear_log(500, Key::new(11)));
    let (mut model, _) = fitted(small(), &log, Direction::Inverse);
    let best = model.elites()[0];
    let p = model.predict([test.batch().obs, test.batch().next_obs]);
    assert_eq!(p.mean.dim(), (3, 500, 2));
    let square = |row: usize, c: usize| (p.mean[[best, row, c]] - test.row(Column::Act, row)[c]).powi(2);
    let mse = (0..500).flat_map(|row| (0..2).map(move |c| (row, c))).map(|(r, c)| square(r, c)).sum::<Real>() / 1000.0;
    assert!(mse.sqrt() < 0.05, "{}", mse.sqrt());
}
