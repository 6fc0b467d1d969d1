//! Ensembles on environments whose answer is known.

use backcast_core::{Column, Direction, Dynamics, Key, Real, Spec, Transitions};
use backcast_dynamics::{Ensemble, EnsembleConfig, Fit, FitReport};

/// s′ = A·s + B·a with an invertible A; r = s₀ + 2·a₀ − s′₁.
fn step(s: &[Real], a: &[Real]) -> ([Real; 3], Real) {
    let s2 = [
        0.9 * s[0] + 0.2 * s[1] + 0.3 * a[0],
        -0.1 * s[0] + 0.95 * s[1] - 0.2 * a[1],
        0.1 * s[1] + 1.05 * s[2] + 0.1 * a[0] + 0.1 * a[1],
    ];
    (s2, s[0] + 2.0 * a[0] - s2[1])
}

fn linear_dataset(rows: usize, key: Key) -> Transitions {
    let mut dataset = Transitions::new(Spec::new(3, 2));
    let mut x = vec![0.0; rows * 5];
    key.uniform(-1.0, 1.0, &mut x);
    for x in x.chunks_exact(5) {
        let (s2, r) = step(&x[..3], &x[3..]);
        dataset.push(&x[..3], &x[3..], r, &s2, false);
    }
    dataset
}

fn small() -> EnsembleConfig {
    EnsembleConfig {
        members: 3,
        elites: 2,
        hidden: vec![32, 32],
        weight_decay: vec![0.0; 3],
        lr: 3e-3,
        batch: 128,
        max_epochs: Some(40),
        ..EnsembleConfig::default()
    }
}

fn fitted(config: EnsembleConfig, dataset: &Transitions, direction: Direction) -> (Ensemble, FitReport) {
    let mut model = Ensemble::new(config, dataset.spec(), direction, Key::new(1)).unwrap();
    let report = model.fit(dataset, Key::new(2), &mut |_| true).unwrap();
    (model, report)
}

/// The root mean square error of the best elite in the predicted state, relative to the size of the change.
fn relative_error(model: &mut Ensemble, test: &Transitions) -> Real {
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
fn a_linear_system_is_learnt_in_both_directions() {
    let (dataset, test) = (linear_dataset(4000, Key::new(10)), linear_dataset(500, Key::new(11)));
    for direction in [Direction::Forward, Direction::Reverse] {
        let (mut model, report) = fitted(small(), &dataset, direction);
        let error = relative_error(&mut model, &test);
        assert!(error < 0.03, "{direction:?}: {error}, {report:?}");
    }
}

#[test]
fn an_inverse_model_finds_the_action() {
    let (dataset, test) = (linear_dataset(4000, Key::new(10)), linear_dataset(500, Key::new(11)));
    let (mut model, _) = fitted(small(), &dataset, Direction::Inverse);
    let best = model.elites()[0];
    let p = model.predict([test.batch().obs, test.batch().next_obs]);
    assert_eq!(p.mean.dim(), (3, 500, 2));
    let square = |row: usize, c: usize| (p.mean[[best, row, c]] - test.row(Column::Act, row)[c]).powi(2);
    let mse = (0..500).flat_map(|row| (0..2).map(move |c| (row, c))).map(|(r, c)| square(r, c)).sum::<Real>() / 1000.0;
    assert!(mse.sqrt() < 0.05, "{}", mse.sqrt());
}

/// s′ = s + ½a + σ(s)·ε with σ between 0.05 and 0.45, r = a + 0.2·ε: the loss has a known minimum, mean(1 + ln σ²).
#[test]
fn the_likelihood_of_noise_that_depends_on_the_state_reaches_its_optimum() {
    let sigma = |s: Real| 0.25 + 0.2 * s;
    let noisy = |rows: usize, key: Key| {
        let (mut x, mut z) = (vec![0.0; rows * 2], vec![0.0; rows * 2]);
        key.name("x").uniform(-1.0, 1.0, &mut x);
        key.name("z").normal(&mut z);
        let mut dataset = Transitions::new(Spec::new(1, 1));
        for (x, z) in x.chunks_exact(2).zip(z.chunks_exact(2)) {
            let s2 = x[0] + 0.5 * x[1] + sigma(x[0]) * z[0];
            dataset.push(&x[..1], &x[1..], x[1] + 0.2 * z[1], &[s2], false);
        }
        dataset
    };
    let (dataset, test) = (noisy(8000, Key::new(30)), noisy(4000, Key::new(31)));
    // A finished fit goes back to each member's best *mean*, where its variance may still be far off. The likelihood's own
    // optimum is where training leads, so the fit is left without finishing it.
    let config = EnsembleConfig { lr: 1e-3, ..small() };
    let mut model = Ensemble::new(config, dataset.spec(), Direction::Forward, Key::new(1)).unwrap();
    let mut fit = Fit::new(&mut model, &dataset, Key::new(2)).unwrap();
    (0..40).for_each(|_| drop(fit.epoch()));
    drop(fit);
    let bounds = model.log_var_bounds().map(<[Real]>::to_vec);
    let p = model.predict([test.batch().obs, test.batch().act]);
    let (n, members) = (test.len() as f64, p.mean.dim().0);
    for member in 0..members {
        let (mut loss, mut best) = ([0.0f64; 2], [0.0f64; 2]);
        for row in 0..test.len() {
            let truth = [test.row(Column::Reward, row)[0], test.row(Column::NextObs, row)[0]];
            let true_sigma = [0.2, sigma(test.row(Column::Obs, row)[0])];
            for c in 0..2 {
                let (m, s) = (p.mean[[member, row, c]], p.std[[member, row, c]]);
                let l = 2.0 * s.ln();
                assert!(l > bounds[0][c] && l < bounds[1][c], "ln σ² = {l} is outside {bounds:?}");
                loss[c] += (((m - truth[c]) / s).powi(2) + l) as f64 / n;
                best[c] += (1.0 + 2.0 * true_sigma[c].ln()) as f64 / n;
            }
        }
        // Both sides are taken over the same rows, so most of their scatter, √(2/4000) = 0.022, cancels.
        for c in 0..2 {
            let gap = loss[c] - best[c];
            assert!(gap > -0.02 && gap < 0.08, "member {member}, column {c}: {} against {}", loss[c], best[c]);
        }
    }
}
