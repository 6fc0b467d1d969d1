use super::*;
use backcast_core::{
    DatasetStats, Direction, ObsScaler, Policy, Source, WorldModel, fingerprint, never,
};
use backcast_dynamics::{Ensemble, EnsembleConfig};
use ndarray::Array2;

/// On a line, where an action is a step. `steps` of any kind for the model; the policy's dataset goes to 0 from
/// anywhere in ±½.
fn dataset(steps: bool) -> Transitions {
    let mut dataset = Transitions::new(Spec::new(1, 1).with_act_limit(2.0));
    for i in 0..600 {
        let mut x = [0.0; 2];
        Key::new(1).fold(i).uniform(-1.5, 1.5, &mut x);
        match steps {
            true => dataset.push(&x[..1], &x[1..], 0.0, &[x[0] + x[1]], false),
            false => dataset.push(&[x[0] / 3.0], &[-x[0] / 3.0], 0.0, &[0.02 * x[1]], false),
        }
    }
    dataset
}

fn problem() -> Problem {
    let config = EnsembleConfig {
        members: 3,
        elites: 2,
        hidden: vec![16],
        weight_decay: vec![0.0; 2],
        lr: 1e-2,
        max_epochs: Some(30),
        ..Default::default()
    };
    let steps = dataset(true);
    let mut model =
        Ensemble::new(config, steps.spec(), Direction::Forward, Key::new(2)).expect("sound");
    model.fit(&steps, Key::new(3), &mut |_| true).expect("a fit");
    Problem::from(WorldModel::new(model, never))
        .with_stats(DatasetStats { holdout: Some(dataset(false)), ..DatasetStats::default() })
}

/// SAC: nothing but what is to be tested holds the policy to the dataset.
fn small() -> Config {
    let cql = cql::Config {
        hidden: vec![32],
        actor_lr: 3e-3,
        cql_alpha: 0.0,
        n_action_samples: 0,
        ..cql::Config::default()
    };
    let transition =
        TransitionVaeConfig { hidden: vec![16], lr: 3e-3, ..TransitionVaeConfig::default() };
    Config {
        beta: 0.3,
        width: Some(0.1),
        mmd_samples: 4,
        warm_up: 300,
        transition,
        cql,
        ..Config::default()
    }
}

fn trained(config: &Config, updates: u64) -> (Sdc, Metrics) {
    let (dataset, mut staging) =
        (dataset(false), Transitions::new(Spec::new(1, 1).with_act_limit(2.0)));
    let mut sdc = config.build(problem(), Key::new(4)).expect("a sound configuration");
    let mut metrics = Metrics::default();
    for step in 0..updates {
        let key = Key::new(5).fold(step);
        metrics = sdc.update(dataset.sample(key.name("batch"), 64, &mut staging), key);
    }
    (sdc, metrics)
}

/// Through the model, its units, the samples and the kernel, against central differences.
#[test]
fn the_slope_in_the_actions_is_that_of_finite_differences() {
    let obs_scaler = ObsScaler::new(&[0.3], &[0.7]);
    let mut sdc = {
        let mut problem = problem();
        problem.model.as_mut().expect("a model").scaler = obs_scaler;
        small().build(problem, Key::new(4)).expect("a sound configuration")
    };
    let dataset = dataset(false);
    let mut rows = Transitions::new(dataset.spec());
    (0..3).for_each(|i| rows.push_row(&dataset, i));
    sdc.draw(rows.batch(), Key::new(7));
    let mut actions = sdc.work.actions.clone();
    assert_eq!(actions.len(), 3 * 4);
    sdc.deviation(&actions);
    let slope = sdc.model.slope.clone();
    let h = if size_of::<Real>() == 4 { 3e-3 } else { 1e-6 };
    for (i, slope) in slope.iter().enumerate() {
        let here = actions[i];
        let [above, below] = [here + h, here - h].map(|x| {
            actions[i] = x;
            sdc.deviation(&actions)
        });
        actions[i] = here;
        let want = (above - below) / (2.0 * h);
        assert!(
            (slope - want).abs() < 2e-2 * want.abs().max(0.05),
            "{i}: {slope} where differences say {want}"
        );
    }
    assert!(slope.iter().any(|g| g.abs() > 1e-2), "a slope of nothing: {slope:?}");
}

#[test]
fn the_multiplier_rises_where_the_distance_exceeds_its_threshold() {
    let learnt = |threshold| {
        let config = Config { threshold: Some(threshold), warm_up: 0, alpha_lr: 1e-2, ..small() };
        let (_, metrics) = trained(&config, 20);
        assert_eq!(metrics.get("threshold"), Some(threshold));
        (metrics.get("ln_correction").expect("a metric"), metrics.get("mmd").expect("a metric"))
    };
    let ((above, mmd), (below, _)) = (learnt(0.0), learnt(3.0));
    assert!(
        mmd > 0.0 && above > 0.15 && below < -0.15,
        "{above} above the threshold, {below} below"
    );
}

/// Beyond where the dataset has been, at ±0.9, the policy goes back; before the correction begins it does not know.
#[test]
fn beside_the_dataset_the_policy_goes_back() {
    let off = |warm_up| {
        let config = Config { warm_up, alpha_lr: 0.0, threshold: Some(0.0), ..small() };
        let (mut sdc, _) = trained(&config, 1200);
        let mut act = Array2::zeros((1, 1));
        let mut acts = |s: Real| {
            sdc.act(Array2::from_elem((1, 1), s).view(), None, act.view_mut());
            act[[0, 0]]
        };
        [0.9, -0.9].map(|s| (acts(s) + s).abs()).into_iter().fold(0.0, Real::max)
    };
    let (held, free) = (off(300), off(1200));
    assert!(held < 0.3 && free > 0.5, "off by {held}, and by {free} where nothing leads back");
}

/// The threshold is what the dataset's own actions keep to, and then stays.
#[test]
fn the_threshold_is_a_quantile_of_the_dataset_s_own_distance() {
    let at = |quantile, updates| {
        let config = Config { quantile, warm_up: 5, calibration: 10, ..small() };
        trained(&config, updates).0.eta
    };
    assert_eq!(at(0.5, 5), 0.0);
    let all = [0.0, 0.5, 1.0].map(|quantile| at(quantile, 15));
    assert!(all[0] > 0.0 && all[0] < all[1] && all[1] < all[2], "{all:?}");
    assert_eq!(at(0.5, 20), all[1], "it moves after its time");

    // By hand, of one batch.
    let config = Config { quantile: 0.5, warm_up: 0, ..small() };
    let mut sdc = config.build(problem(), Key::new(4)).expect("a sound configuration");
    let dataset = dataset(false);
    let mut rows = Transitions::new(dataset.spec());
    (0..3).for_each(|i| rows.push_row(&dataset, i));
    sdc.draw(rows.batch(), Key::new(8));
    let own = sdc.work.actions.clone();
    sdc.calibrate(rows.batch());
    let recorded: Vec<Real> = (0..3).flat_map(|i| [dataset.row(Column::Act, i)[0]; 4]).collect();
    sdc.deviation(&recorded);
    let mut distances = sdc.work.distances.clone();
    distances.sort_unstable_by(Real::total_cmp);
    assert_eq!((sdc.eta, &sdc.work.actions), (distances[1], &own), "of {distances:?}");
}

#[test]
fn the_transition_model_is_fitted_first_and_rests_then() {
    let config = Config { warm_up: 5, ..small() };
    let (mut sdc, metrics) = trained(&config, 5);
    assert!(metrics.get("transition_loss").is_some() && metrics.get("mmd").is_none());
    assert_eq!(sdc.transition.steps(), 5);
    let (mut later, metrics) = trained(&config, 7);
    assert!(metrics.get("transition_loss").is_none() && metrics.get("mmd").is_some());
    assert_eq!(fingerprint(&mut sdc.transition), fingerprint(&mut later.transition));
}
