//! The two models of recorded actions.

use approx::abs_diff_eq;
use backcast_core::{Column, Key, Policy, Real, Spec, Transitions, fingerprint, restore, snapshot};
use backcast_dynamics::{ActionVae, ActionVaeConfig, Condition, GaussianBc, GaussianBcConfig};
use ndarray::{Array2, Axis};

const SPEC: Spec = Spec::new(2, 1).with_act_limit(2.0);

/// a = 1.5·tanh(2·s′₀) + small noise; *s* is unrelated to it.
fn dataset() -> Transitions {
    let mut dataset = Transitions::new(SPEC);
    let mut x = vec![0.0; 2000 * 5];
    Key::new(1).uniform(-1.0, 1.0, &mut x);
    x.chunks_exact(5).for_each(|x| dataset.push(&x[..2], &[action(x[2]) + 0.05 * x[4]], 0.0, &x[2..4], false));
    dataset
}

fn action(s: Real) -> Real {
    1.5 * (2.0 * s).tanh()
}

fn small_vae() -> ActionVaeConfig {
    ActionVaeConfig { hidden: vec![64, 64], steps: 1500, ..ActionVaeConfig::default() }
}

/// The root mean square distance of drawn actions from the rule.
fn error(policy: &mut dyn Policy, key: Option<Key>) -> Real {
    let dataset = dataset();
    let mut act = Array2::zeros((dataset.len(), 1));
    policy.act(dataset.batch().next_obs, key, act.view_mut());
    assert!(act.iter().all(|a| a.abs() <= 2.0));
    let square = |(i, a): (usize, &Real)| (a - action(dataset.row(Column::NextObs, i)[0])).powi(2);
    (act.iter().enumerate().map(square).sum::<Real>() / dataset.len() as Real).sqrt()
}

#[test]
fn the_vae_learns_what_led_to_a_state() {
    let mut vae = ActionVae::new(small_vae(), SPEC, Key::new(2)).unwrap();
    let before = error(&mut vae, Some(Key::new(3)));
    vae.fit(&dataset(), Key::new(4), &mut |_, _| true);
    assert_eq!(vae.steps(), 1500);
    let (drawn, mode) = (error(&mut vae, Some(Key::new(3))), error(&mut vae, None));
    assert!(before > 0.8 && drawn < 0.15 && mode < 0.15, "{before} {drawn} {mode}");
}

/// Conditioned on *s*, which says nothing about the action, the same VAE must fail.
#[test]
fn the_condition_is_the_one_asked_for() {
    let config = ActionVaeConfig { condition: Condition::State, steps: 500, ..small_vae() };
    let mut vae = ActionVae::new(config, SPEC, Key::new(2)).unwrap();
    vae.fit(&dataset(), Key::new(4), &mut |_, _| true);
    let error = error(&mut vae, Some(Key::new(3)));
    assert!(error > 0.5, "{error}");
}

#[test]
fn a_vae_cut_in_two_gives_the_same_bits() {
    let config = ActionVaeConfig { hidden: vec![16], steps: 20, ..ActionVaeConfig::default() };
    let dataset = dataset();
    let mut whole = ActionVae::new(config.clone(), SPEC, Key::new(2)).unwrap();
    whole.fit(&dataset, Key::new(4), &mut |step, _| step < 10);
    assert_eq!(whole.steps(), 10);
    let mut resumed = ActionVae::new(config, SPEC, Key::new(9)).unwrap();
    restore(&mut resumed, &snapshot(&mut whole)).unwrap();
    for vae in [&mut whole, &mut resumed] {
        vae.fit(&dataset, Key::new(4), &mut |_, metrics| metrics.get("loss").unwrap().is_finite());
        assert_eq!(vae.steps(), 20);
    }
    assert_eq!(fingerprint(&mut whole), fingerprint(&mut resumed));
}

#[test]
fn the_gaussian_clone_learns_mean_and_spread() {
    let config =
        GaussianBcConfig { hidden: vec![64, 64], entropy_weight: 0.0, steps: 1500, ..GaussianBcConfig::default() };
    let mut bc = GaussianBc::new(config.clone(), SPEC, Key::new(2)).unwrap();
    let mut last = (0.0, 0.0);
    bc.fit(&dataset(), Key::new(4), &mut |_, m| {
        last = (m.get("nll").unwrap(), m.get("entropy").unwrap());
        true
    });
    let (drawn, mode) = (error(&mut bc, Some(Key::new(3))), error(&mut bc, None));
    assert!(drawn < 0.2 && mode < 0.1, "{drawn} {mode}");

    // A weight on the entropy widens the distribution.
    let mut wide = GaussianBc::new(GaussianBcConfig { entropy_weight: 0.5, ..config }, SPEC, Key::new(2)).unwrap();
    let mut entropy = 0.0;
    wide.fit(&dataset(), Key::new(4), &mut |_, m| {
        entropy = m.get("entropy").unwrap();
        true
    });
    assert!(entropy > last.1 + 0.2, "{entropy} is not above {}", last.1);
}

#[test]
fn states_are_standardised_by_the_dataset() {
    // Far from zero and large: without a scale a few hundred steps would not do.
    let mut shifted = dataset();
    shifted.values_mut(Column::NextObs).iter_mut().for_each(|x| *x = 1000.0 + 50.0 * *x);
    let config = GaussianBcConfig { hidden: vec![32], entropy_weight: 0.0, steps: 800, ..GaussianBcConfig::default() };
    let mut bc = GaussianBc::new(config, SPEC, Key::new(2)).unwrap();
    bc.fit(&shifted, Key::new(4), &mut |_, _| true);
    let mut act = Array2::zeros((1, 1));
    let state = ndarray::array![[1025.0, 1000.0]];
    bc.act(state.view(), None, act.view_mut());
    assert!(abs_diff_eq!(act[[0, 0]], action(0.5), epsilon = 0.25), "{act}");
}

/// A draw for many rows is made of tiles, and a row's draw does not depend on the rows after it.
#[test]
fn draws_are_tiled_and_strided_outputs_are_written() {
    let mut vae = ActionVae::new(ActionVaeConfig { hidden: vec![8], ..small_vae() }, SPEC, Key::new(2)).unwrap();
    let states = Array2::from_shape_fn((2500, 2), |(i, j)| (i + j) as Real / 2500.0);
    let mut all = Array2::zeros((2500, 2));
    vae.sample(states.view(), Key::new(7), all.slice_axis_mut(Axis(1), (0..1).into()));
    let mut some = Array2::zeros((1500, 1));
    vae.sample(states.slice_axis(Axis(0), (0..1500).into()), Key::new(7), some.view_mut());
    assert!((0..1500).all(|i| all[[i, 0]] == some[[i, 0]]));
    // Tiles draw from keys of their own: rows 1024 apart in the same state get different actions.
    let same = Array2::zeros((1025, 2));
    let mut act = Array2::zeros((1025, 1));
    vae.sample(same.view(), Key::new(7), act.view_mut());
    assert_ne!(act[[0, 0]], act[[1024, 0]]);
    assert!(all.column(1).iter().all(|&x| x == 0.0) && all[[2499, 0]] != 0.0);
}
