//! What an ensemble promises whatever it is fitted to: determinism, resumption, members that differ, no allocation.

use backcast_core::{Column, Direction, Dynamics, Key, Real, Spec, Transitions, fingerprint, restore, snapshot};
use backcast_dynamics::{Ensemble, EnsembleConfig, Fit, FitError, StoppedBy};
use ndarray::{Array2, Array3};

const SPEC: Spec = Spec::new(3, 2);

fn config() -> EnsembleConfig {
    EnsembleConfig {
        members: 4,
        elites: 3,
        hidden: vec![24, 24],
        weight_decay: vec![1e-5, 2e-5, 3e-5],
        batch: 64,
        max_epochs: Some(6),
        ..EnsembleConfig::default()
    }
}

fn dataset(rows: usize) -> Transitions {
    let mut x = vec![0.0; rows * 9];
    Key::new(20).uniform(-1.0, 1.0, &mut x);
    let mut dataset = Transitions::new(SPEC);
    x.chunks_exact(9).for_each(|x| dataset.push(&x[..3], &x[3..5], x[0] * x[3] + 0.1 * x[5], &x[6..9], false));
    dataset
}

fn model(direction: Direction, seed: u64) -> Ensemble {
    Ensemble::new(config(), SPEC, direction, Key::new(seed)).unwrap()
}

/// A model from a file is judged on the rows that its fit held out, and no member has trained on them.
#[test]
fn the_held_out_rows_are_known_without_the_fit() {
    let (dataset, mut ensemble) = (dataset(500), model(Direction::Forward, 1));
    let [known, other] = [2, 3].map(|key| ensemble.holdout(&dataset, Key::new(key)));
    let fit = Fit::new(&mut ensemble, &dataset, Key::new(2)).unwrap();
    assert_eq!(*fit.holdout(), known);
    assert_eq!(known.len(), 100);
    assert_ne!(known, other);
    let rows = |of: &Transitions| (0..of.len()).map(|i| of.row(Column::Obs, i).to_vec()).collect::<Vec<_>>();
    let held = rows(&known);
    let trained = (0..4).flat_map(|m| fit.bootstrap(m)).map(|&row| dataset.row(Column::Obs, row).to_vec());
    assert!(trained.into_iter().all(|row| !held.contains(&row)));
}

#[test]
fn members_keep_rows_of_their_own() {
    let (dataset, mut ensemble) = (dataset(500), model(Direction::Forward, 1));
    let mut fit = Fit::new(&mut ensemble, &dataset, Key::new(2)).unwrap();
    let rows: Vec<Vec<usize>> = (0..4).map(|m| fit.bootstrap(m).to_vec()).collect();
    for (i, a) in rows.iter().enumerate() {
        assert_eq!(a.len(), 400);
        let mut distinct = a.clone();
        distinct.sort_unstable();
        distinct.dedup();
        // With replacement: 1 − 1/e of 400 distinct rows, about 253 ± 7.
        assert!((210..300).contains(&distinct.len()), "{}", distinct.len());
        assert!(rows[..i].iter().all(|b| a != b));
    }
    fit.epoch();
    assert!((0..4).all(|m| fit.bootstrap(m) == rows[m]), "rows are drawn once, not once an epoch");
}

#[test]
fn a_fit_cut_in_two_gives_the_same_bits() {
    let dataset = dataset(300);
    let mut whole = model(Direction::Reverse, 1);
    let mut fit = Fit::new(&mut whole, &dataset, Key::new(2)).unwrap();
    (0..3).for_each(|_| drop(fit.epoch()));
    let saved = snapshot(&mut fit);
    let rest: Vec<_> = (0..3).map(|_| fit.epoch()).collect();
    assert_eq!(fit.done(), Some(StoppedBy::MaxEpochs));
    let (end, report) = (fingerprint(&mut fit), fit.finish());

    // Another start; everything that matters comes from the snapshot.
    let mut resumed = model(Direction::Reverse, 99);
    let mut fit = Fit::new(&mut resumed, &dataset, Key::new(2)).unwrap();
    restore(&mut fit, &saved).unwrap();
    assert_eq!((0..3).map(|_| fit.epoch()).collect::<Vec<_>>(), rest);
    assert_eq!(fingerprint(&mut fit), end);
    assert_eq!(fit.finish(), report);
    assert_eq!(fingerprint(&mut resumed), fingerprint(&mut whole));
    assert_eq!((report.epochs, report.steps), (6, 6 * 4));
}

#[test]
fn a_reloaded_ensemble_has_the_same_elites_and_predictions() {
    let (dataset, mut one) = (dataset(300), model(Direction::Forward, 1));
    let report = one.fit(&dataset, Key::new(2), &mut |_| true).unwrap();
    assert_eq!(report.elites.len(), 3);
    let mse = |m: &usize| report.holdout_mse[*m];
    assert!(report.elites.windows(2).all(|w| mse(&w[0]) <= mse(&w[1])), "{report:?}");
    let worst = (0..4).find(|m| !report.elites.contains(m)).unwrap();
    assert!(report.elites.iter().all(|e| mse(e) <= mse(&worst)), "{report:?}");
    assert!(report.calibration.len() == 4 && report.calibration.iter().all(|c| c[0] <= c[1] && c[1] <= 1.0));

    let mut two = model(Direction::Forward, 2);
    restore(&mut two, &snapshot(&mut one)).unwrap();
    assert_eq!((two.elites(), two.holdout_mse()), (one.elites(), one.holdout_mse()));
    let given = [dataset.batch().obs, dataset.batch().act];
    assert_eq!(one.predict(given).mean, two.predict(given).mean);
}

#[test]
fn threads_change_nothing() {
    // More rows than a tile, so that there is something to share out.
    let dataset = dataset(1300);
    let member_of_row: Vec<usize> = (0..dataset.len()).map(|i| Key::new(3).below(4, i)).collect();
    let run = |threads: Option<usize>| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(1)).build().unwrap();
        pool.install(|| {
            let mut ensemble = model(Direction::Forward, 1);
            ensemble.set_parallel(threads.is_some());
            let mut fit = Fit::new(&mut ensemble, &dataset, Key::new(2)).unwrap();
            fit.epoch();
            fit.finish();
            let given = [dataset.batch().obs, dataset.batch().act];
            let (mut mean, mut std) = (Array2::zeros((dataset.len(), 4)), Array2::zeros((dataset.len(), 4)));
            ensemble.predict_elite(given, &member_of_row, mean.view_mut(), std.view_mut());
            let p = ensemble.predict(given);
            (p.mean.to_owned(), p.std.to_owned(), mean, std)
        })
    };
    let alone = run(None);
    for threads in [1, 2, 4] {
        assert!(run(Some(threads)) == alone, "{threads} threads");
    }
    // Asking one member for a row gives what asking all gives.
    let picked = |all: &Array3<Real>| Array2::from_shape_fn((dataset.len(), 4), |(i, c)| all[[member_of_row[i], i, c]]);
    assert!(picked(&alone.0) == alone.2 && picked(&alone.1) == alone.3);
}

#[test]
fn no_rows_give_no_predictions() {
    let mut ensemble = model(Direction::Forward, 1);
    let (s, a) = (Array2::zeros((0, 3)), Array2::zeros((0, 2)));
    assert_eq!(ensemble.predict([s.view(), a.view()]).mean.dim(), (4, 0, 4));
    let (mut mean, mut std) = (Array2::zeros((0, 4)), Array2::zeros((0, 4)));
    ensemble.predict_elite([s.view(), a.view()], &[], mean.view_mut(), std.view_mut());
}

#[test]
fn predictions_and_steps_allocate_nothing_once_warm() {
    let (dataset, mut ensemble) = (dataset(1300), model(Direction::Forward, 1));
    let rows: Vec<usize> = (0..dataset.len()).map(|i| i % 4).collect();
    let (mut mean, mut std) = (Array2::zeros((dataset.len(), 4)), Array2::zeros((dataset.len(), 4)));
    let mut predict = || {
        let given = [dataset.batch().obs, dataset.batch().act];
        ensemble.predict(given);
        ensemble.predict_elite(given, &rows, mean.view_mut(), std.view_mut());
    };
    assert!(allocation_counter::measure(&mut predict).count_total > 0, "the first call must grow the buffers");
    assert_eq!(allocation_counter::measure(&mut predict).count_total, 0);

    // An epoch allocates for its report, but not once per step: ten times the steps, the same allocations.
    let epoch = |epoch_rows: usize| {
        let config = EnsembleConfig { epoch_rows: Some(epoch_rows), ..config() };
        let mut ensemble = Ensemble::new(config, SPEC, Direction::Forward, Key::new(1)).unwrap();
        let mut fit = Fit::new(&mut ensemble, &dataset, Key::new(2)).unwrap();
        fit.epoch();
        allocation_counter::measure(|| drop(fit.epoch())).count_total
    };
    assert_eq!(epoch(64), epoch(640));
}

#[test]
fn an_epoch_can_be_capped_and_fitting_stopped() {
    let dataset = dataset(1000);
    let config = EnsembleConfig { epoch_rows: Some(100), ..config() };
    let mut ensemble = Ensemble::new(config, SPEC, Direction::Forward, Key::new(1)).unwrap();
    let mut epochs = 0;
    let report = ensemble
        .fit(&dataset, Key::new(2), &mut |p| {
            epochs = p.epoch;
            p.epoch < 3
        })
        .unwrap();
    // 100 rows in batches of 64 are two steps.
    assert_eq!((report.steps, report.epochs, epochs, report.stopped_by), (6, 3, 3, StoppedBy::Watcher));
}

/// Pure noise cannot be learnt: after the first epochs nothing improves by a tenth, and fitting stops by itself.
#[test]
fn fitting_stops_when_patience_ends() {
    let dataset = dataset(400);
    let config = EnsembleConfig { patience: 2, improvement: 0.5, max_epochs: None, ..config() };
    let mut ensemble = Ensemble::new(config, SPEC, Direction::Inverse, Key::new(1)).unwrap();
    let mut stale = vec![];
    let report = ensemble
        .fit(&dataset, Key::new(2), &mut |p| {
            stale.push(p.stale);
            p.epoch < 100
        })
        .unwrap();
    assert_eq!(report.stopped_by, StoppedBy::Patience);
    assert!(stale.ends_with(&[1, 2, 3]), "more than 2 epochs in a row: {stale:?}");
}

#[test]
fn bad_datasets_and_configurations_are_named() {
    let mut ensemble = model(Direction::Forward, 1);
    let mut bad = dataset(10);
    bad.values_mut(backcast_core::Column::NextObs)[3 * 7 + 1] = Real::NAN;
    let error = Fit::new(&mut ensemble, &bad, Key::new(0)).unwrap_err();
    assert_eq!(error, FitError::NotFinite { column: backcast_core::Column::NextObs, row: 7 });
    assert_eq!(error.to_string(), "column NextObs of row 7 is not finite");
    assert_eq!(Fit::new(&mut ensemble, &dataset(1), Key::new(0)).unwrap_err(), FitError::TooFewRows { rows: 1 });

    let field = |change: fn(&mut EnsembleConfig)| {
        let mut config = EnsembleConfig::default();
        change(&mut config);
        config.check().err().map(|e| e.field)
    };
    assert_eq!(field(|_| ()), None);
    assert_eq!(field(|c| c.elites = 8), Some("elites"));
    assert_eq!(field(|c| c.hidden = vec![200; 3]), Some("weight_decay"));
    assert_eq!(field(|c| c.hidden = vec![]), Some("hidden"));
    assert_eq!(field(|c| c.min_log_var = 1.0), Some("min_log_var"));
    assert_eq!(field(|c| c.lr = Real::NAN), Some("lr"));
    assert_eq!(field(|c| c.holdout_fraction = 1.0), Some("holdout_fraction"));
    assert_eq!(field(|c| c.epoch_rows = Some(0)), Some("epoch_rows"));
}
