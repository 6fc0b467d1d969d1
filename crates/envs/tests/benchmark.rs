//! The aggregate figures of maze2d: returns of three policies, and the statistics of generated datasets.
//!
//! The expected returns are means of 100 episodes of another simulation, with their standard errors. Ours are means of many
//! more, and each must lie within two combined standard errors; the seeds are printed with the figures.
#![allow(clippy::print_stderr, reason = "the measured figures are to be seen")]

use approx::abs_diff_eq;
use backcast_core::{Env, Key, Real};
use backcast_envs::maze2d::controller::WaypointController;
use backcast_envs::maze2d::generate::{GeneratorConfig, generate};
use backcast_envs::maze2d::{Layout, Maze2d};
use backcast_envs::reference_scores;

const EPISODES: u64 = 2000;

#[derive(Clone, Copy, Debug)]
enum Who {
    Random,
    Stale,
    Replan,
}

/// Mean and standard error of the undiscounted return.
fn returns(task: &str, who: Who, key: Key) -> (f64, f64) {
    let mut maze = Maze2d::named(task).unwrap();
    let mut controller = WaypointController::new(maze.layout(), key.name("controller"));
    let mut obs = [0.0; 4];
    let all: Vec<f64> = (0..EPISODES)
        .map(|episode| {
            let key = key.fold(episode);
            maze.reset(key.name("reset"), &mut obs);
            if matches!(who, Who::Replan) {
                controller.forget();
            }
            (0..maze.horizon() as u64)
                .map(|t| {
                    let mut act = [0.0; 2];
                    match who {
                        Who::Random => key.fold(t).uniform(-1.0, 1.0, &mut act),
                        _ => {
                            let (state, target) = (maze.state(), maze.target());
                            act = controller.command(state.position, state.velocity, target).action.map(|a| a as Real);
                        }
                    }
                    f64::from(maze.step(&act, &mut obs).reward)
                })
                .sum()
        })
        .collect();
    let n = all.len() as f64;
    let mean = all.iter().sum::<f64>() / n;
    let variance = all.iter().map(|r| (r - mean) * (r - mean)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// Task; mean and standard error for the random policy, the stale plan and re-planning.
const TABLE: [(&str, [(f64, f64); 3]); 6] = [
    ("maze2d-umaze-v1", [(21.4, 4.1), (160.8, 13.0), (218.3, 5.3)]),
    ("maze2d-medium-v1", [(28.1, 6.9), (271.9, 26.4), (427.9, 9.4)]),
    ("maze2d-large-v1", [(9.2, 3.4), (251.7, 33.2), (558.0, 11.6)]),
    ("maze2d-umaze-dense-v1", [(68.3, 4.8), (192.8, 9.9), (231.3, 4.6)]),
    ("maze2d-medium-dense-v1", [(56.9, 9.4), (289.8, 25.4), (442.2, 8.9)]),
    ("maze2d-large-dense-v1", [(38.8, 7.9), (280.4, 31.9), (578.8, 11.3)]),
];

#[test]
fn returns_of_three_policies_are_those_of_the_benchmark() {
    let key = Key::new(20);
    for (task, expected) in TABLE {
        for (who, (mean, error)) in [Who::Random, Who::Stale, Who::Replan].into_iter().zip(expected) {
            let (ours, our_error) = returns(task, who, key.name(task));
            let z = (ours - mean) / error.hypot(our_error);
            let normalised = reference_scores(task).unwrap();
            eprintln!(
                "{task} {who:?}: {ours:.1} ± {our_error:.1} (normalised {:.1} ± {:.1}), expected {mean} ± {error}, z {z:+.2}",
                normalised.mean(ours),
                normalised.deviation(our_error)
            );
            assert!(z.abs() < 2.0, "seed {key:?}: {task} {who:?}");
        }
    }
}

/// The ends of the scale are themselves means of 100 episodes: they must lie within what such a mean scatters.
#[test]
fn reference_scores_are_the_random_policy_and_the_stale_plan() {
    let key = Key::new(21);
    for (task, _) in TABLE {
        let reference = reference_scores(task).unwrap();
        for (who, published) in [(Who::Random, reference.min), (Who::Stale, reference.max)] {
            let (ours, error) = returns(task, who, key.name(task));
            let of_hundred = error * (EPISODES as f64 / 100.0).sqrt();
            let z = (ours - published) / error.hypot(of_hundred);
            eprintln!("{task} {who:?}: {ours:.1} ± {error:.1}, published {published:.1} ± {of_hundred:.1}, z {z:+.2}");
            assert!(z.abs() < 2.0, "seed {key:?}: {task} {who:?}");
        }
    }
}

/// Segment ends per million rows, and the fraction of rows that the sparse task pays.
///
/// The expected figures are of single datasets of one million rows of another simulation (the published umaze file has 12 459 ends,
/// with noise). Such a dataset scatters by `scatter`, measured over 80 datasets of ours; twice, for theirs and ours, is √2 as much.
/// The fractions are held to three standard deviations around the mean of twelve of our datasets; the other simulation's (0.073,
/// 0.022, 0.008 to 0.012 with noise) lie inside.
#[test]
fn generated_datasets_have_the_published_statistics() {
    let key = Key::new(22);
    for (maze, patience, noise, expected, scatter, paid) in [
        ("umaze", 300, 0.5, 12_490.0, 73.0, 0.073..=0.0845),
        ("umaze", 300, 0.0, 13_670.0, 70.0, 0.066..=0.078),
        ("medium", 600, 0.5, 5930.0, 66.0, 0.018..=0.027),
        ("large", 800, 0.5, 4110.0, 32.0, 0.007..=0.012),
    ] {
        let layout = Layout::named(maze).unwrap();
        let config = GeneratorConfig { noise, ..GeneratorConfig::published(1_000_000, patience) };
        let dataset = generate(&layout, &config, key.name(maze));
        let ends = dataset.truncated.iter().filter(|&&end| end).count() as f64;
        let fraction = dataset.reward.iter().map(|&r| f64::from(r)).sum::<f64>() / 1e6;
        eprintln!("{maze}, noise {noise}: {ends} ends and {fraction:.4} of rows paid per million");
        assert!(
            abs_diff_eq!(ends, expected, epsilon = 3.0 * scatter * 2f64.sqrt()),
            "seed {key:?}: {ends}, expected {expected}"
        );
        assert!(paid.contains(&fraction), "seed {key:?}: {fraction}, expected {paid:?}");
    }
}
