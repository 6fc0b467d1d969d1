//! The whole way: a dataset, an ensemble in either direction, a policy of the dataset's own actions, imagined transitions.

use backcast_core::{Column, Direction, Dynamics, Key, Real, Spec, Transitions, never};
use backcast_dynamics::{ActionVae, ActionVaeConfig, Condition, Ensemble, EnsembleConfig};
use backcast_imagination::{Drive, HorizonConfig, ImagineConfig, Imaginer, model_error};
use backcast_penalties::{MaxAleatoric, MaxPairwise, Penalty};
use ndarray::Axis;

const SPEC: Spec = Spec::new(2, 1);

/// A damped oscillator with a push, an invertible linear environment.
fn next(s: &[Real], a: &[Real]) -> [Real; 2] {
    [s[0] + 0.2 * s[1], 0.95 * s[1] - 0.2 * s[0] + 0.2 * a[0]]
}

/// 40 trajectories of 50 steps, pushed in the direction of motion more often than against it.
fn dataset() -> (Transitions, Vec<Vec<usize>>) {
    let (mut dataset, mut runs) = (Transitions::new(SPEC), Vec::new());
    for episode in 0..40 {
        let key = Key::new(1).fold(episode);
        let mut s = [0.0; 2];
        key.name("start").uniform(-1.0, 1.0, &mut s);
        runs.push((dataset.len()..dataset.len() + 50).collect());
        for t in 0..50 {
            let a = [0.5 * s[1].signum() + 0.5 * (2.0 * key.fold(t).unit() - 1.0)];
            let s2 = next(&s, &a);
            dataset.push(&s, &a, -s[0].abs(), &s2, false);
            s = s2;
        }
    }
    (dataset, runs)
}

fn fitted(direction: Direction, dataset: &Transitions) -> Ensemble {
    let config = EnsembleConfig {
        members: 3,
        elites: 2,
        hidden: vec![32, 32],
        weight_decay: vec![0.0; 3],
        lr: 3e-3,
        batch: 64,
        max_epochs: Some(25),
        patience: 25,
        ..EnsembleConfig::default()
    };
    let mut model = Ensemble::new(config, SPEC, direction, Key::new(2)).unwrap();
    model.fit(dataset, Key::new(3), &mut |_| true).unwrap();
    model
}

#[test]
fn imagined_transitions_obey_the_dynamics_in_both_directions() {
    let (dataset, runs) = dataset();
    for (direction, condition) in [(Direction::Forward, Condition::State), (Direction::Reverse, Condition::NextState)] {
        let mut model = fitted(direction, &dataset);
        let vae = ActionVaeConfig { condition, hidden: vec![32], steps: 300, ..ActionVaeConfig::default() };
        let mut policy = ActionVae::new(vae, SPEC, Key::new(4)).unwrap();
        policy.fit(&dataset, Key::new(5), &mut |_, _| true);

        let config = ImagineConfig { horizon: 3, starts_per_call: 700, penalty_weight: 0.01, ..Default::default() };
        let mut imaginer = Imaginer::new(config, never, MaxAleatoric).unwrap();
        let mut roll = |threads: Option<usize>| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(1)).build().unwrap();
            model.set_parallel(threads.is_some());
            let mut sink = Transitions::new(SPEC);
            pool.install(|| imaginer.imagine(&mut model, &dataset, &mut policy, Key::new(6), &mut sink));
            sink
        };
        let imagined = roll(None);
        assert_eq!(imagined.len(), 2100);
        let (mut error, mut change) = (0.0, 0.0);
        for row in 0..imagined.len() {
            let s = imagined.row(Column::Obs, row);
            let s2 = imagined.row(Column::NextObs, row);
            let truth = next(s, imagined.row(Column::Act, row));
            for i in 0..2 {
                error += (s2[i] - truth[i]).powi(2);
                change += (s2[i] - s[i]).powi(2);
            }
        }
        let relative = (error / change).sqrt();
        assert!(relative < 0.15, "{direction:?}: {relative}");
        for threads in [1, 2, 4] {
            assert!(roll(Some(threads)) == imagined, "{direction:?}, {threads} threads");
        }

        let config = HorizonConfig { horizon: 8, drive: Drive::BestMean, max_chains: 500 };
        let errors = model_error(&mut model, &dataset, &runs, config, Key::new(7));
        assert_eq!(errors.len(), 8);
        assert!(errors.iter().all(|e| e.chains == 500 && e.median < 0.3 * e.copy_median), "{direction:?}: {errors:?}");
        assert!(errors[7].median > errors[0].median, "{direction:?}: {errors:?}");
    }
}

/// The ranks of `x`; ties, which do not happen here, would be broken by position.
fn ranks(x: &[Real]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
    let mut ranks = vec![0.0; x.len()];
    order.iter().enumerate().for_each(|(rank, &i)| ranks[i] = rank as f64);
    ranks
}

/// Spearman's rank correlation.
fn spearman(x: &[Real], y: &[Real]) -> f64 {
    let n = x.len() as f64;
    let square: f64 = ranks(x).iter().zip(ranks(y)).map(|(a, b)| (a - b).powi(2)).sum();
    1.0 - 6.0 * square / (n * (n * n - 1.0))
}

/// Fitted to gentle actions only and asked about all: uncertainty must be where the error is.
#[test]
fn the_penalty_ranks_steps_by_their_error() {
    let bend = |s: &[Real], a: &[Real]| [s[0] + 0.3 * (2.0 * a[0] + s[1]).sin(), s[1] + 0.2 * a[0] * a[0]];
    let asked = |rows: usize, reach: Real, key: Key| {
        let mut x = vec![0.0; rows * 3];
        key.uniform(-1.0, 1.0, &mut x);
        let mut dataset = Transitions::new(SPEC);
        for x in x.chunks_exact(3) {
            let a = [reach * x[2]];
            dataset.push(&x[..2], &a, 0.0, &bend(&x[..2], &a), false);
        }
        dataset
    };
    let (dataset, test) = (asked(2000, 0.2, Key::new(1)), asked(1000, 1.0, Key::new(2)));
    let mut model = fitted(Direction::Forward, &dataset);
    let best = model.elites()[0];
    let p = model.predict([test.batch().obs, test.batch().act]);
    let mut uncertainty = vec![0.0; test.len()];
    MaxPairwise::default().penalty(p, p.mean.index_axis(Axis(0), best), &mut uncertainty);
    let square = |row: usize, i: usize| (p.mean[[best, row, 1 + i]] - test.row(Column::NextObs, row)[i]).powi(2);
    let error: Vec<Real> = (0..test.len()).map(|row| (square(row, 0) + square(row, 1)).sqrt()).collect();
    let rho = spearman(&uncertainty, &error);
    assert!(rho > 0.5, "{rho}");
}
