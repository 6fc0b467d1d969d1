//! What mixers can represent and what they cannot, on games whose answer is known.

use approx::{abs_diff_eq, assert_abs_diff_eq};
use backcast_core::{Key, Real, restore, snapshot};
use backcast_factorization::games::{self, MatrixGame, every};
use backcast_factorization::{
    Config, Conservatism, Joint, JointBatch, Lesson, Method, MixerConfig, Spread, Weighting, Widths,
    counterfactual_advantage,
};
use ndarray::{Array1, Array2, Array3};
use rayon::prelude::*;

const SCALED: MixerConfig = MixerConfig::Qplex { heads: 10, hyper: 64, scaled: true };
/// The same kinds, small, for where nothing depends on their width.
const NARROW: [MixerConfig; 4] = [
    MixerConfig::Vdn,
    MixerConfig::Qmix { embed: 8, hyper: 16 },
    MixerConfig::Qplex { heads: 3, hyper: 16, scaled: false },
    MixerConfig::Qplex { heads: 3, hyper: 16, scaled: true },
];
const MIXERS: [MixerConfig; 4] = [MixerConfig::Vdn, MixerConfig::QMIX, MixerConfig::QPLEX, SCALED];

fn config(method: Method) -> Config {
    Config { method, lr: 1e-2, copy_every: 20, hidden: vec![], ..Config::default() }
}

fn learnt(game: &MatrixGame, method: Method, seed: u64) -> (Joint, Vec<usize>) {
    Lesson::new(game).teach(&config(method), 1500, Key::new(seed)).unwrap()
}

/// An untrained algorithm of three parts in some states, with hidden layers.
fn untrained(mixer: MixerConfig, seed: u64) -> (Joint, Array2<Real>, Array3<Real>) {
    let widths = Widths { parts: 3, actions: 4, obs: 2, state: 5 };
    let config = Config { method: Method::Mixed { mixer }, hidden: vec![8], ..Config::default() };
    let learner = config.build(widths, Key::new(seed)).unwrap();
    let (mut state, mut obs) = (Array2::zeros((6, 5)), Array3::zeros((3, 6, 2)));
    Key::new(seed).name("state").normal(state.as_slice_mut().unwrap());
    Key::new(seed).name("obs").normal(obs.as_slice_mut().unwrap());
    (learner, state, obs)
}

/// Row `at` of a state and its observations, once for each joint action.
fn repeated(state: &Array2<Real>, obs: &Array3<Real>, at: usize, rows: usize) -> (Array2<Real>, Array3<Real>) {
    let (parts, _, width) = obs.dim();
    let states = Array2::from_shape_fn((rows, state.ncols()), |(_, col)| state[[at, col]]);
    (states, Array3::from_shape_fn((parts, rows, width), |(part, _, col)| obs[[part, at, col]]))
}

#[test]
fn who_finds_the_best_action_of_the_game_that_is_not_monotone() {
    let game = games::non_monotone();
    let monotone = [MixerConfig::Vdn, MixerConfig::QMIX].map(|mixer| (Method::Mixed { mixer }, 0.0));
    let others = [
        Method::Mixed { mixer: MixerConfig::QPLEX },
        Method::WeightedQmix { weighting: Weighting::Optimistic, alpha: 0.1, star: 32 },
        Method::WeightedQmix { weighting: Weighting::Central, alpha: 0.1, star: 32 },
        Method::Qtran { other: 1.0 },
    ];
    let every = monotone.into_iter().chain(others.map(|method| (method, 8.0)));
    let jobs: Vec<_> = every.flat_map(|(method, pays)| [0, 1].map(|seed| (method, pays, seed))).collect();
    jobs.into_par_iter().for_each(|(method, pays, seed)| {
        // Utilities of a hidden layer at a moderate rate: with others QMIX may also end in a fit that is the better of two and takes
        // the best action, see the page on credit.
        let config = Config { lr: 3e-3, copy_every: 100, hidden: vec![64], ..config(method) };
        let (_, act) = Lesson::new(&game).teach(&config, 1200, Key::new(seed)).unwrap();
        assert_eq!(game.pays(&act), pays, "{method:?}, seed {seed}: {act:?}");
    });
}

#[test]
fn the_best_of_the_parts_is_the_best_of_the_whole() {
    for mixer in MIXERS {
        for seed in 0..20 {
            let (mut learner, state, obs) = untrained(mixer, seed);
            let (greedy, all) = (learner.greedy(obs.view()), every(3, 4));
            for row in 0..6 {
                let (states, seen) = repeated(&state, &obs, row, all.nrows());
                let values = learner.total(states.view(), seen.view(), all.view());
                let best = values.iter().copied().fold(Real::NEG_INFINITY, Real::max);
                let at = all.rows().into_iter().position(|u| u == greedy.row(row)).unwrap();
                let scale = best.abs().max(1.0);
                assert!(values[at] >= best - 1e-6 * scale, "{mixer:?}, seed {seed}: {} and {best}", values[at]);
            }
        }
    }
}

#[test]
fn a_monotone_mixer_never_takes_a_better_part_ill() {
    let uniform = Array3::from_elem((3, 6, 4), 0.25);
    let act = Array2::from_shape_fn((6, 3), |(row, part)| (row + part) % 4);
    for mixer in [MixerConfig::Vdn, MixerConfig::QMIX] {
        for seed in 0..50 {
            let (mut learner, state, obs) = untrained(mixer, seed);
            let credit = learner.credit(state.view(), obs.view(), act.view(), uniform.view());
            assert!(credit.slope.iter().all(|&slope| slope >= 0.0), "{mixer:?}, seed {seed}: {}", credit.slope);
        }
    }
}

#[test]
fn credit_through_a_sum_is_the_counterfactual_and_the_baseline_is_fair() {
    let game = games::additive(3, 4, Key::new(8));
    let (mut learner, act) = learnt(&game, Method::Mixed { mixer: MixerConfig::Vdn }, 2);
    assert_eq!(act, game.best());
    let lesson = Lesson::new(&game);
    let batch = lesson.batch();
    let rows = batch.act.nrows();
    let mut policy = Array3::zeros((3, rows, 4));
    Key::new(9).uniform(0.1, 1.0, policy.as_slice_mut().unwrap());
    for mut row in policy.rows_mut() {
        let sum = row.sum();
        row /= sum;
    }
    let credit = learner.credit(batch.state, batch.obs, batch.act, policy.view());
    for ((at, implicit), counterfactual) in credit.implicit.indexed_iter().zip(&credit.counterfactual) {
        assert!(abs_diff_eq!(implicit, counterfactual, epsilon = 1e-4), "{at:?}: {implicit} and {counterfactual}");
        assert_eq!(credit.slope[at], 1.0);
    }
    // What a part may expect of itself is no credit: Σ_a π(a)·A(a) = 0, whatever the mixer.
    for mixer in MIXERS {
        let (mut learner, _) = learnt(&game, Method::Mixed { mixer }, 3);
        let credit = learner.credit(batch.state, batch.obs, batch.act, policy.view());
        // The first part's actions, the others at their first: every sixteenth row. Each row has a policy of its own; take one.
        let (one, values) = (policy.index_axis(ndarray::Axis(1), 0).row(0).to_owned(), lesson.values(&mut learner));
        let own: Vec<Real> = (0..4).map(|a| values[16 * a]).collect();
        let q = Array2::from_shape_fn((4, 4), |(_, a)| own[a]);
        let pi = Array2::from_shape_fn((4, 4), |(_, a)| one[a]);
        let advantage = counterfactual_advantage(q.view(), pi.view(), &[0, 1, 2, 3]);
        let expected: Real = advantage.iter().zip(&one).map(|(a, p)| a * p).sum();
        assert!(abs_diff_eq!(expected, 0.0, epsilon = 1e-5), "{mixer:?}: {expected}");
        assert!(abs_diff_eq!(credit.counterfactual[[0, 0]], advantage[0], epsilon = 1e-4), "{mixer:?}");
    }
}

#[test]
fn a_sum_is_exact_where_payoffs_add_up_and_biased_where_they_do_not() {
    let vdn = Method::Mixed { mixer: MixerConfig::Vdn };
    let worst = |game: &MatrixGame| {
        let (mut learner, _) = learnt(game, vdn, 1);
        let lesson = Lesson::new(game);
        let values = lesson.values(&mut learner);
        let errors = values.iter().zip(lesson.batch().reward).map(|(value, pays)| (value - pays).abs());
        errors.fold(0.0, Real::max)
    };
    assert!(worst(&games::additive(3, 3, Key::new(4))) < 1e-3);
    // The closest sum to exclusive or is one half everywhere.
    assert_abs_diff_eq!(worst(&games::exclusive_or(2)), 0.5, epsilon = 0.1);
    // A sum learnt from half of the joint actions, each part's each action among them, knows the other half.
    let game = games::additive(2, 4, Key::new(4));
    let half: Vec<usize> = (0..16).filter(|row| (row / 4 + row % 4) % 4 < 2).collect();
    let seen = game.every().select(ndarray::Axis(0), &half);
    let (mut learner, act) = Lesson::of(&game, seen).teach(&config(vdn), 1500, Key::new(1)).unwrap();
    let all = Lesson::new(&game);
    let values = all.values(&mut learner);
    assert!(values.iter().zip(all.batch().reward).all(|(value, pays)| abs_diff_eq!(*value, *pays, epsilon = 1e-2)));
    assert_eq!(act, game.best());
}

/// The penalty at the first update, before anything moved.
fn penalty(parts: usize, conservatism: Conservatism, mixer: MixerConfig) -> Real {
    let game = games::additive(parts, 3, Key::new(1));
    let lesson = Lesson::new(&game);
    let mut learner =
        Config { conservatism, ..config(Method::Mixed { mixer }) }.build(lesson.widths(), Key::new(2)).unwrap();
    learner.update(lesson.batch(), Key::new(3)).get("penalty").unwrap()
}

#[test]
fn for_one_part_both_penalties_are_conservative_q_learning_and_for_more_the_joint_one_is_larger() {
    let joint = Conservatism::Joint { weight: 1.0, n_action_samples: 4000 };
    let each = |spread| Conservatism::Counterfactual { weight: 1.0, spread };
    let vdn = MixerConfig::Vdn;
    let (one, other) = (penalty(1, joint, vdn), penalty(1, each(Spread::Even), vdn));
    assert_abs_diff_eq!(one, other, epsilon = 0.02);
    for spread in [Spread::Even, Spread::Softmax(1.0), Spread::Largest] {
        assert_abs_diff_eq!(penalty(1, each(spread), vdn), other, epsilon = 1e-5);
    }
    let mut last = one;
    for parts in 2..5 {
        let (joint, even) = (penalty(parts, joint, vdn), penalty(parts, each(Spread::Even), vdn));
        assert!(joint > last + 0.5 && joint > even + 0.5, "{parts} parts: {joint} and {even}");
        assert!(abs_diff_eq!(even, other, epsilon = 0.7), "{parts} parts: {even}");
        last = joint;
    }
}

#[test]
fn values_are_kept_to_what_was_done() {
    // Half of the joint actions were never tried; all that were paid the same.
    let game = MatrixGame::new(ndarray::ArrayD::zeros(ndarray::IxDyn(&[4, 4])));
    let seen = Array2::from_shape_vec((3, 2), vec![0, 0, 0, 1, 1, 0]).unwrap();
    let kinds = [
        Conservatism::Joint { weight: 0.5, n_action_samples: 16 },
        Conservatism::Counterfactual { weight: 0.5, spread: Spread::Even },
        Conservatism::Counterfactual { weight: 0.5, spread: Spread::Softmax(1.0) },
    ];
    let act = |conservatism, mixer| {
        let config = Config { conservatism, ..config(Method::Mixed { mixer }) };
        Lesson::of(&game, seen.clone()).teach(&config, 300, Key::new(4)).unwrap().1
    };
    let pairs = kinds.into_iter().flat_map(|kind| NARROW.map(|mixer| (kind, mixer)));
    pairs.collect::<Vec<_>>().into_par_iter().for_each(|(conservatism, mixer)| {
        let act = act(conservatism, mixer);
        assert!(act.iter().all(|&a| a < 2), "{conservatism:?}, {mixer:?}: {act:?}");
    });
    // Left to themselves they hope for something of what nobody tried.
    let free = NARROW.map(|mixer| act(Conservatism::None, mixer));
    assert!(free.iter().all(|act| act.iter().any(|&a| a >= 2)), "nothing was tempting: {free:?}");
}

/// Two steps: the first part's first action chooses between a game that pays 7 whatever one does, and one that pays 8 if both take
/// their second action, 1 if one does and 0 if none (Rashid et al., arXiv:1803.11485, §5).
#[test]
fn a_monotone_mixer_solves_the_game_of_two_steps_and_a_sum_does_not() {
    let mut rows: Vec<(usize, [usize; 2], Real, usize, Real)> = Vec::new();
    for a in 0..2 {
        for b in 0..2 {
            rows.push((0, [a, b], 0.0, 1 + a, 0.0));
            rows.push((1, [a, b], 7.0, 1, 1.0));
            rows.push((2, [a, b], [0.0, 1.0, 8.0][a + b], 2, 1.0));
        }
    }
    let n = rows.len();
    let onehot =
        |of: &dyn Fn(usize) -> usize| Array2::from_shape_fn((n, 3), |(row, s)| Real::from(u8::from(of(row) == s)));
    let (state, next) = (onehot(&|row| rows[row].0), onehot(&|row| rows[row].3));
    let seen = |state: &Array2<Real>| Array3::from_shape_fn((2, n, 3), |(_, row, s)| state[[row, s]]);
    let (obs, next_obs) = (seen(&state), seen(&next));
    let act = Array2::from_shape_fn((n, 2), |(row, part)| rows[row].1[part]);
    let reward: Array1<Real> = rows.iter().map(|row| row.2).collect();
    let terminal: Array1<Real> = rows.iter().map(|row| row.4).collect();
    let batch = JointBatch {
        state: state.view(),
        obs: obs.view(),
        act: act.view(),
        reward: reward.view(),
        next_state: next.view(),
        next_obs: next_obs.view(),
        terminal: terminal.view(),
    };
    for (mixer, first) in [(MixerConfig::QMIX, 1), (MixerConfig::QPLEX, 1), (MixerConfig::Vdn, 0)] {
        let config = Config { gamma: 0.99, hidden: vec![16], ..config(Method::Mixed { mixer }) };
        let widths = Widths { parts: 2, actions: 2, obs: 3, state: 3 };
        let mut learner = config.build(widths, Key::new(6)).unwrap();
        (0..3000).for_each(|update| _ = learner.update(batch, Key::new(7).fold(update)));
        let start = Array3::from_shape_fn((2, 1, 3), |(_, _, s)| Real::from(u8::from(s == 0)));
        assert_eq!(learner.greedy(start.view())[[0, 0]], first, "{mixer:?}");
    }
}

#[test]
fn a_learner_saves_and_goes_on_to_the_same_bits() {
    let game = games::climbing();
    let lesson = Lesson::new(&game);
    for method in [
        Method::Mixed { mixer: MixerConfig::QPLEX },
        Method::WeightedQmix { weighting: Weighting::Central, alpha: 0.5, star: 8 },
        Method::Qtran { other: 0.1 },
    ] {
        let conservatism = Conservatism::Counterfactual { weight: 0.1, spread: Spread::Softmax(0.5) };
        let config = Config { conservatism, hidden: vec![4], copy_every: 7, ..config(method) };
        let build = |seed| config.build(lesson.widths(), Key::new(seed)).unwrap();
        let (mut one, mut other) = (build(1), build(2));
        assert!(snapshot(&mut one) != snapshot(&mut other));
        let teach = |learner: &mut Joint, updates: std::ops::Range<u64>| {
            updates.for_each(|update| _ = learner.update(lesson.batch(), Key::new(3).fold(update)));
        };
        teach(&mut one, 0..10);
        restore(&mut other, &snapshot(&mut one)).unwrap();
        teach(&mut one, 10..25);
        teach(&mut other, 10..25);
        assert!(snapshot(&mut one) == snapshot(&mut other), "{method:?}");
    }
}

#[test]
fn nonsense_is_refused_by_field() {
    let sound = Config::default();
    let mixer = MixerConfig::Qmix { embed: 0, hyper: 8 };
    for (field, config) in [
        ("gamma", Config { gamma: 1.5, ..sound.clone() }),
        ("lr", Config { lr: 0.0, ..sound.clone() }),
        ("copy_every", Config { copy_every: 0, ..sound.clone() }),
        ("hidden", Config { hidden: vec![8, 0], ..sound.clone() }),
        ("method", Config { method: Method::Mixed { mixer }, ..sound.clone() }),
        ("method", Config { method: Method::Qtran { other: -1.0 }, ..sound.clone() }),
        (
            "conservatism",
            Config { conservatism: Conservatism::Joint { weight: 1.0, n_action_samples: 0 }, ..sound.clone() },
        ),
    ] {
        assert_eq!(config.check().unwrap_err().field, field);
    }
}
