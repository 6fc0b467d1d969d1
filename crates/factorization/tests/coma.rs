//! COMA on games whose answer is known.

use approx::{abs_diff_eq, assert_abs_diff_eq};
use backcast_core::{Key, Real};
use backcast_factorization::games::{self, MatrixGame};
use backcast_factorization::{Coma, ComaConfig, Widths, coma::Paths, counterfactual_advantage};
use ndarray::{Array1, Array2, Array3};

fn config() -> ComaConfig {
    ComaConfig {
        critic_lr: 1e-2,
        policy_lr: 1e-2,
        copy_every: 10,
        anneal: 300,
        hidden: vec![],
        critic_hidden: vec![16],
        ..ComaConfig::default()
    }
}

fn practised(game: &MatrixGame, seed: u64) -> (Coma, Vec<usize>) {
    config().practise(game, 600, 32, Key::new(seed)).unwrap()
}

#[test]
fn parts_find_the_best_where_payoffs_add_up() {
    for seed in 0..3 {
        let game = games::additive(3, 3, Key::new(seed).name("game"));
        assert_eq!(practised(&game, seed).1, game.best(), "seed {seed}");
    }
}

/// It learns from what it does: where whoever dares alone loses 12 it mostly stays away from the best, and never ends with a loss.
#[test]
fn few_dare_alone() {
    let game = games::non_monotone();
    let pays: Vec<Real> = (0..4).map(|seed| game.pays(&practised(&game, seed).1)).collect();
    assert!(pays.iter().all(|&pays| pays >= 0.0) && pays.iter().filter(|&&pays| pays == 0.0).count() >= 2, "{pays:?}");
}

/// What a critic of a part says of each of its actions while the others do what they do is the game's own row; and what a part may
/// expect of itself is no advantage: Σ_a π(a)·A(a) = 0.
#[test]
fn critics_know_the_payoffs_and_the_baseline_is_fair() {
    let game = games::additive(2, 3, Key::new(5));
    // Nobody learns to act, so that everything is played for ever.
    let config = ComaConfig { policy_lr: 1e-9, epsilon: [1.0, 1.0], ..config() };
    let (mut learner, _) = config.practise(&game, 800, 32, Key::new(2)).unwrap();
    let every = game.every();
    let n = every.nrows();
    let (state, obs) = (Array2::ones((n, 1)), Array3::ones((2, n, 1)));
    let (ones, zeros) = (Array1::ones(n), Array1::zeros(n));
    let batch = Paths {
        state: state.view(),
        obs: obs.view(),
        act: every.view(),
        reward: zeros.view(),
        terminal: ones.view(),
        truncated: zeros.view(),
    };
    let (q, pi) = (learner.values(batch), learner.probabilities(obs.view()));
    for (row, u) in every.rows().into_iter().enumerate() {
        for part in 0..2 {
            for a in 0..3 {
                let mut other = u.to_vec();
                other[part] = a;
                let (got, want) = (q[[part, row, a]], game.pays(&other));
                assert!(abs_diff_eq!(got, want, epsilon = 0.1), "part {part}, {other:?}: {got} and {want}");
            }
            let q = Array2::from_shape_fn((3, 3), |(_, a)| q[[part, row, a]]);
            let pi = Array2::from_shape_fn((3, 3), |(_, a)| pi[[part, row, a]]);
            let advantage = counterfactual_advantage(q.view(), pi.view(), &[0, 1, 2]);
            let expected: Real = advantage.iter().zip(pi.row(0)).map(|(a, p)| a * p).sum();
            assert_abs_diff_eq!(expected, 0.0, epsilon = 1e-5);
        }
    }
}

/// The game of two steps (Rashid et al., arXiv:1803.11485, §5): the first part's first action leads where 7 is certain, its second where two
/// must agree on their second for 8. Played by the policy itself, which is paid for the second before it can agree.
#[test]
fn paths_of_two_steps_are_learnt_from_their_end() {
    let widths = Widths { parts: 2, actions: 2, obs: 3, state: 3 };
    for seed in 0..2 {
        let mut learner = config().build(widths, Key::new(seed)).unwrap();
        let at = |s: &[usize]| Array2::from_shape_fn((s.len(), 3), |(row, i)| Real::from(u8::from(s[row] == i)));
        let seen =
            |s: &[usize]| Array3::from_shape_fn((2, s.len(), 3), |(_, row, i)| Real::from(u8::from(s[row] == i)));
        let games = 32;
        for update in 0..500 {
            let key = Key::new(seed).name("play").fold(update);
            let first = learner.act(seen(&vec![0; games]).view(), Some(key.fold(0)));
            let second: Vec<usize> = first.rows().into_iter().map(|u| 1 + u[0]).collect();
            let then = learner.act(seen(&second).view(), Some(key.fold(1)));
            let pays = |game: usize| match second[game] {
                1 => 7.0,
                _ => [0.0, 1.0, 8.0][then.row(game).sum()],
            };
            let rows = 2 * games;
            let states: Vec<usize> = (0..rows).map(|row| if row % 2 == 0 { 0 } else { second[row / 2] }).collect();
            let act = Array2::from_shape_fn((rows, 2), |(row, part)| match row % 2 {
                0 => first[[row / 2, part]],
                _ => then[[row / 2, part]],
            });
            let reward = Array1::from_shape_fn(rows, |row| if row % 2 == 0 { 0.0 } else { pays(row / 2) });
            let terminal = Array1::from_shape_fn(rows, |row| (row % 2) as Real);
            learner.update(Paths {
                state: at(&states).view(),
                obs: seen(&states).view(),
                act: act.view(),
                reward: reward.view(),
                terminal: terminal.view(),
                truncated: Array1::zeros(rows).view(),
            });
        }
        let act = learner.act(seen(&[0, 2]).view(), None);
        let total = if act[[0, 0]] == 0 { 7.0 } else { [0.0, 1.0, 8.0][act.row(1).sum()] };
        assert!(total >= 7.0, "seed {seed}: earns {total}: {act}");
    }
}

#[test]
fn nonsense_is_refused_by_field() {
    let sound = ComaConfig::default();
    for (field, config) in [
        ("gamma", ComaConfig { gamma: 1.5, ..sound.clone() }),
        ("lambda", ComaConfig { lambda: -0.5, ..sound.clone() }),
        ("critic_lr", ComaConfig { critic_lr: 0.0, ..sound.clone() }),
        ("policy_lr", ComaConfig { policy_lr: Real::NAN, ..sound.clone() }),
        ("copy_every", ComaConfig { copy_every: 0, ..sound.clone() }),
        ("epsilon", ComaConfig { epsilon: [0.5, 2.0], ..sound.clone() }),
        ("hidden", ComaConfig { hidden: vec![0], ..sound.clone() }),
        ("critic_hidden", ComaConfig { critic_hidden: vec![0], ..sound.clone() }),
    ] {
        assert_eq!(config.check().unwrap_err().field, field);
    }
}

#[test]
#[should_panic(expected = "neither terminal nor cut")]
fn a_path_without_an_end_is_refused() {
    let mut learner = config().build(Widths { parts: 1, actions: 2, obs: 1, state: 1 }, Key::new(1)).unwrap();
    let (one, zeros) = (Array2::ones((2, 1)), Array1::zeros(2));
    learner.update(Paths {
        state: one.view(),
        obs: Array3::ones((1, 2, 1)).view(),
        act: Array2::zeros((2, 1)).view(),
        reward: zeros.view(),
        terminal: zeros.view(),
        truncated: zeros.view(),
    });
}
