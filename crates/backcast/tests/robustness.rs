//! Policies from perturbed states: the same pushes for all, times that are counted right, and runs that can be interrupted.

use backcast::core::{Env, Key, Policy, Real, Spec, Step};
use backcast::data::{Support, SupportConfig};
use backcast::envs::push::{Level, Pushable};
use backcast::envs::{EnvError, make, make_pushable};
use backcast::run::{self, Observer, Outcome, Summary};
use backcast::{Error, Experiment, Perturbed, Pushes, Wait, evaluate, evaluate_perturbed};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

type Calls = Arc<Mutex<Vec<(usize, Level, Key)>>>;

/// A place on a line, moved by at most a tenth a step; a push puts it half a metre to one side. Keeps a list of its pushes.
struct Line {
    place: Real,
    steps: usize,
    calls: Calls,
}

impl Env for Line {
    fn spec(&self) -> Spec {
        Spec::new(1, 1)
    }

    fn horizon(&self) -> usize {
        30
    }

    fn reset(&mut self, _: Key, obs: &mut [Real]) {
        (self.place, self.steps) = (0.0, 0);
        obs[0] = self.place;
    }

    fn step(&mut self, act: &[Real], obs: &mut [Real]) -> Step {
        self.place += 0.1 * act[0].clamp(-1.0, 1.0);
        self.steps += 1;
        obs[0] = self.place;
        Step { reward: -self.place.abs(), terminated: false, truncated: self.steps >= 30 }
    }
}

impl Pushable for Line {
    fn push(&mut self, level: Level, key: Key, obs: &mut [Real]) {
        self.calls.lock().unwrap().push((self.steps, level, key));
        let size = [0.0, 0.05, 0.55, 2.55][level as usize];
        self.place += if key.below(2, 0) == 0 { size } else { -size };
        obs[0] = self.place;
    }
}

/// Goes home by so much of a full step.
struct Home(Real);

impl Policy for Home {
    fn spec(&self) -> Spec {
        Spec::new(1, 1)
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, _: Option<Key>, mut act: ArrayViewMut2<'_, Real>) {
        act.assign(&obs.mapv(|x| if x.abs() < 0.1 { 0.0 } else { -self.0 * x.signum() }));
    }
}

/// A dataset that stayed within a tenth of zero.
fn near_zero() -> Support {
    let dataset = Array2::from_shape_fn((201, 1), |(i, _)| (i as Real - 100.0) / 1000.0);
    Support::of(dataset.view(), SupportConfig::default(), Key::new(0)).unwrap()
}

fn on_the_line(
    policy: &mut dyn Policy,
    level: Level,
    at: &[usize],
    seed: u64,
) -> (Perturbed, Vec<(usize, Level, Key)>) {
    let (calls, support) = (Calls::default(), near_zero());
    let env = || Ok::<_, EnvError>(Box::new(Line { place: 0.0, steps: 0, calls: calls.clone() }) as Box<_>);
    let pushes = Pushes { level, at, support: &support };
    let perturbed = evaluate_perturbed(policy, env, 4, pushes, Key::new(seed)).unwrap();
    let calls = calls.lock().unwrap().clone();
    (perturbed, calls)
}

#[test]
fn steps_are_counted_from_the_push_to_the_support_or_to_the_end_of_the_episode() {
    let wait = |steps, back| Wait { steps, back };
    // 0.55 → 0.45, 0.35, 0.25, 0.15, 0.05.
    let (perturbed, _) = on_the_line(&mut Home(1.0), Level::Moderate, &[10], 1);
    assert_eq!(perturbed.waits, [wait(5, true); 4]);
    // The perturbed state is not one that a step led to: four of thirty are outside.
    assert!((perturbed.outside - 4.0 / 30.0).abs() < 1e-12, "{}", perturbed.outside);
    assert!(perturbed.returns.iter().all(|r| (r + 0.45 + 0.35 + 0.25 + 0.15 + 0.05 * 16.0).abs() < 1e-5));
    // A push that does not leave the support is felt for no step.
    let (perturbed, _) = on_the_line(&mut Home(1.0), Level::Slight, &[10], 1);
    assert_eq!((perturbed.waits, perturbed.outside), (vec![wait(0, true); 4], 0.0));
    // Who does nothing never comes back: cut off at the end; a second push cuts the first wait off.
    let (perturbed, _) = on_the_line(&mut Home(0.0), Level::Large, &[10], 1);
    assert_eq!(perturbed.waits, [wait(20, false); 4]);
    let (perturbed, _) = on_the_line(&mut Home(0.1), Level::Moderate, &[5, 12], 1);
    assert_eq!(perturbed.waits[0], wait(7, false));
    assert!(perturbed.waits.len() == 8 && perturbed.waits.iter().all(|w| w.steps <= 18), "{:?}", perturbed.waits);
    // Back exactly when the next push comes is back.
    let (perturbed, _) = on_the_line(&mut Home(1.0), Level::Moderate, &[5, 10], 1);
    assert_eq!(perturbed.waits[..2], [wait(5, true); 2]);
    // Back with the very last step is back, one step less is not.
    for (at, want) in [(25, wait(5, true)), (26, wait(4, false)), (29, wait(1, false))] {
        assert_eq!(on_the_line(&mut Home(1.0), Level::Moderate, &[at], 1).0.waits, [want; 4]);
    }
}

#[test]
fn every_policy_meets_the_same_pushes_and_another_seed_others() {
    let (_, quick) = on_the_line(&mut Home(1.0), Level::Moderate, &[5, 12], 1);
    let (_, lazy) = on_the_line(&mut Home(0.0), Level::Moderate, &[5, 12], 1);
    assert_eq!(quick, lazy);
    assert_eq!(quick.iter().map(|call| call.0).collect::<Vec<_>>(), [5, 5, 5, 5, 12, 12, 12, 12]);
    let keys = |calls: &[(usize, Level, Key)]| calls.iter().map(|call| call.2).collect::<Vec<_>>();
    let mut different = keys(&quick);
    different.sort_by_key(|key| key.block(0));
    different.dedup();
    assert_eq!(different.len(), 8, "each push of each episode is another");
    // A harder level pushes the same way.
    let (_, large) = on_the_line(&mut Home(1.0), Level::Large, &[5, 12], 1);
    assert_eq!(keys(&quick), keys(&large));
    assert_ne!(keys(&quick), keys(&on_the_line(&mut Home(1.0), Level::Moderate, &[5, 12], 2).1));
    assert!(on_the_line(&mut Home(1.0), Level::None, &[5, 12], 1).1.is_empty());
}

/// In every kind of environment: an evaluation without pushes is the ordinary one, to the bit.
#[test]
fn no_push_is_the_ordinary_evaluation() {
    struct Fixed(Spec);
    impl Policy for Fixed {
        fn spec(&self) -> Spec {
            self.0
        }
        fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, mut act: ArrayViewMut2<'_, Real>) {
            let noise = key.map_or(0.0, |key| key.unit());
            for (mut act, obs) in act.rows_mut().into_iter().zip(obs.rows()) {
                act.iter_mut().zip(obs).for_each(|(a, x)| *a = noise - 0.7 * x);
            }
        }
    }
    for task in ["pendulum-v1", "dmsd", "maze2d-umaze-v1"] {
        let spec = make(task).unwrap().spec();
        let mut dataset = Array2::zeros((50, spec.obs));
        Key::new(1).normal(dataset.as_slice_mut().unwrap());
        let support = Support::of(dataset.view(), SupportConfig::default(), Key::new(0)).unwrap();
        let plain = evaluate(&mut Fixed(spec), || make(task), 6, Key::new(9)).unwrap();
        let perturbed = |level| {
            let pushes = Pushes { level, at: &[20, 40], support: &support };
            evaluate_perturbed(&mut Fixed(spec), || make_pushable(task), 6, pushes, Key::new(9)).unwrap()
        };
        let none = perturbed(Level::None);
        assert_eq!(plain, none.returns, "{task}");
        assert!(none.waits.is_empty());
        let large = perturbed(Level::Large);
        assert_ne!(plain, large.returns, "{task}");
        assert_eq!(large.waits.len(), 12);
    }
}

fn tiny() -> Experiment {
    let text = r#"
        name = "tiny"
        task = "dmsd"
        seeds = "3..5"
        standardise = true
        [data]
        file = "log.hdf5"
        [algorithm]
        name = "bc"
        hidden = [8]
        [model]
        hidden = [8, 8, 8, 8]
        max_epochs = 1
        epoch_rows = 512
        [training]
        updates = 200
        batch = 10
        eval_every = 100
        eval_episodes = 1
        final_episodes = 3
        [robustness]
        episodes = 3
        at = [20, 60]
        support = { rows = 500, quantile = 0.95 }
        [[methods]]
        name = "BC"
        [[methods]]
        name = "BC, much at random"
        data = { mix = { random = 0.5, of = "rows" } }
        [[methods]]
        name = "BCQ"
        algorithm = { name = "bcq", hidden = [8], vae_hidden = [8], act_samples = 2, target_samples = 2 }
        [[methods]]
        name = "mopo"
        algorithm = { name = "mopo", rollouts = { every = 70, starts = 20, horizon = 2, keep = 2, real = 0.3 }, sac = { hidden = [8] } }
    "#;
    Experiment::parse(text).expect("a sound experiment")
}

/// The experiment with a dataset in `folder`, of actions at random.
fn with_dataset(folder: &Path) -> Experiment {
    let mut experiment = tiny();
    let (mut env, mut dataset) = (make("dmsd").unwrap(), backcast::data::Dataset::new(6, 2, true));
    let (mut obs, mut next, mut act) = ([0.0; 6], [0.0; 6], [0.0; 2]);
    for episode in 0..10 {
        env.reset(Key::new(1).fold(episode), &mut obs);
        for t in 0..100 {
            Key::new(2).fold(episode).fold(t).uniform(-1.0, 1.0, &mut act);
            let step = env.step(&act, &mut next);
            let (reward, truncated) = (step.reward, step.truncated);
            let row =
                backcast::data::Row { obs: &obs, act: &act, reward, terminal: false, truncated, next_obs: Some(&next) };
            dataset.push(row);
            obs = next;
        }
    }
    let file = folder.join("log.hdf5");
    backcast::data::d4rl::write(&file, &dataset).unwrap();
    experiment.data.file = Some(file);
    experiment
}

/// Says stop at the `nth` question.
struct StopAt(AtomicUsize);

impl Observer for StopAt {
    fn stage(&self, _: &str, _: usize) {}
    fn progress(&self, _: &str, _: u64, _: u64, _: &str) {}
    fn finished(&self, _: &str, _: &str) {}
    fn stop(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_err()
    }
}

fn essence(outcome: &Outcome) -> String {
    serde_json::to_string(&outcome.robustness).expect("plain values")
}

#[test]
fn a_run_ends_with_pushes_and_continues_where_it_was_interrupted_among_them() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = with_dataset(folder.path());
    let whole = folder.path().join("whole");
    let one = run::carry_out(&experiment, &whole, 1, &run::Silent).unwrap();
    assert_eq!(one.robustness.len(), 8);
    for (learner, perturbed) in one.learners.iter().zip(&one.robustness) {
        assert_eq!((&learner.method, learner.seed), (&perturbed.method, perturbed.seed));
        // As many episodes as the last evaluation, and the same.
        assert_eq!((learner.score, learner.score_std), (perturbed.levels[0].score, perturbed.levels[0].score_std));
        let waits: Vec<usize> = perturbed.levels.iter().map(|l| l.waits.len()).collect();
        assert_eq!(waits, [0, 6, 6, 6]);
        assert!(perturbed.levels[1].score != perturbed.levels[3].score);
    }
    // Half of the rows replaced is another support.
    assert_ne!(one.robustness[0].radius, one.robustness[2].radius);
    assert_eq!(one.robustness[0].radius, one.robustness[4].radius);

    let broken = folder.path().join("broken");
    let (mut among_them, mut patience) = (0, 1);
    let end = loop {
        match run::carry_out(&experiment, &broken, 2, &StopAt(AtomicUsize::new(patience))) {
            Ok(outcome) => break outcome,
            Err(Error::Interrupted) => {
                let kept = std::fs::read_dir(broken.join("learners")).map_or(0, |all| {
                    all.flatten().filter(|learner| learner.path().join("robustness.json").exists()).count()
                });
                among_them += (1..8).contains(&kept) as usize;
            }
            Err(error) => panic!("{error}"),
        }
        patience = if patience < 12 { patience + 4 } else { 12 };
    };
    assert!(among_them > 0, "it was never interrupted among pushes");
    assert_eq!(essence(&one), essence(&end));

    // A file that is lost is measured again, the others are taken.
    std::fs::remove_file(broken.join("learners/bcq-seed-4/robustness.json")).unwrap();
    let again = run::carry_out(&experiment, &broken, 1, &run::Silent).unwrap();
    assert_eq!(essence(&one), essence(&again));

    let summary = Summary::of(&experiment, &one, "abc");
    run::write_summary(&summary, &whole).unwrap();
    run::write_metrics(&experiment, &one, &whole).unwrap();
    let text = std::fs::read_to_string(whole.join("summary.json")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let large = &value["methods"][0]["robustness"][3];
    assert_eq!((&large["level"], &large["pushes"], &large["window"]), (&"large".into(), &12.into(), &40.into()));
    assert!(large["out"].as_u64().unwrap() > 6 && large["away_iqm"].as_f64().unwrap() > 1.0, "{large}");
    let metrics = std::fs::read_to_string(whole.join("metrics.csv")).unwrap();
    for line in ["BC,3,200,slight_score,", "mopo,4,200,large_steps_away,"] {
        assert!(metrics.contains(line), "{line} is missing");
    }
    // Without the table nothing is perturbed and nothing is said.
    let plain = Experiment { robustness: None, ..experiment };
    let outcome = run::carry_out(&plain, &folder.path().join("plain"), 2, &run::Silent).unwrap();
    assert!(outcome.robustness.is_empty() && Summary::of(&plain, &outcome, "abc").methods[0].robustness.is_empty());
}
