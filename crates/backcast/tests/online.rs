//! Datasets of an algorithm that learns online: their shape, and that an interrupted one comes to the same bits.

use backcast::algos::{online as algo, sac};
use backcast::core::{Key, Policy};
use backcast::data::{Dataset, End};
use backcast::online::{Quality, Recipe, Saved, generate};
use backcast::run::{Observer, Silent};
use backcast::{Error, envs, evaluate};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Two masses for a few episodes; whoever is evaluated first is medium.
fn recipe() -> Recipe {
    let small = sac::Config { hidden: vec![16, 16], ..Default::default() };
    let online = algo::Config { explore: 100, batch: 16, ..Default::default() };
    let (environment, medium) = ("dmsd".into(), f64::NEG_INFINITY);
    Recipe {
        environment,
        medium,
        steps: 1000,
        eval_every: 250,
        eval_episodes: 2,
        online,
        sac: small,
        ..Recipe::default()
    }
}

/// Stops after so many reports.
struct Impatient(AtomicUsize);

impl Observer for Impatient {
    fn stage(&self, _: &str, _: usize) {}
    fn progress(&self, _: &str, _: u64, _: u64, _: &str) {}
    fn finished(&self, _: &str, _: &str) {}
    fn stop(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
    }
}

fn rows(dataset: &Dataset) -> Vec<String> {
    (0..dataset.len()).map(|t| format!("{:?}", dataset.row(t))).collect()
}

#[test]
fn datasets_have_the_rows_and_the_ends_that_were_asked_for() {
    let work = tempfile::tempdir().unwrap();
    let make = |quality, count| generate(&recipe(), quality, count, work.path(), 2, &Silent).unwrap();
    for (quality, asked, expected) in [
        (Quality::Random, 250, 250),
        (Quality::Medium, 250, 250),
        (Quality::MediumExpert, 400, 400),
        (Quality::Expert, 150, 150),
        // Runs are medium at the end of the episode that passes step 250, the third: two of them are enough.
        (Quality::MediumReplay, 400, 600),
        (Quality::FullReplay, 5000, 1000),
    ] {
        let dataset = make(quality, asked);
        assert_eq!((dataset.len(), dataset.has_next_obs()), (expected, true), "{quality:?}");
        let episodes = dataset.episodes();
        assert!(episodes.iter().all(|e| e.end == End::Truncated && e.rows <= 100), "{quality:?}");
        // Rows of an episode follow each other.
        for e in &episodes {
            for t in e.first + 1..e.after() {
                assert_eq!(dataset.row(t - 1).next_obs.unwrap(), dataset.row(t).obs, "{quality:?}, row {t}");
            }
        }
    }
}

#[test]
fn an_interrupted_generation_comes_to_the_same_bits() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let whole = generate(&recipe(), Quality::MediumExpert, 300, one.path(), 1, &Silent).unwrap();
    let mut times = 0;
    let pieces = loop {
        let patience = Impatient(AtomicUsize::new(2));
        match generate(&recipe(), Quality::MediumExpert, 300, other.path(), 1, &patience) {
            Ok(dataset) => break dataset,
            Err(Error::Interrupted) => times += 1,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(times >= 3, "interrupted {times} times");
    assert_eq!(rows(&whole), rows(&pieces));
}

#[test]
fn a_saved_policy_is_the_one_that_was_evaluated_and_damage_is_noticed() {
    let work = tempfile::tempdir().unwrap();
    generate(&recipe(), Quality::Expert, 10, work.path(), 1, &Silent).unwrap();
    let folder = work.path().join("run-0/expert");
    let returns = |policy: &mut dyn Policy| evaluate(policy, || envs::make("dmsd"), 3, Key::new(5)).unwrap();
    let first = returns(&mut Saved::load(&folder).unwrap());
    assert_eq!(first, returns(&mut Saved::load(&folder).unwrap()));
    let medium = Saved::load(&work.path().join("run-0/medium")).unwrap();
    assert_ne!(first, returns(&mut { medium }));

    let path = folder.join("learner.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    assert!(Saved::load(&folder).is_err());
}

#[test]
fn a_level_that_is_never_reached_is_said() {
    let work = tempfile::tempdir().unwrap();
    let recipe = Recipe { medium: 1e9, ..recipe() };
    let error = generate(&recipe, Quality::MediumReplay, 10, work.path(), 1, &Silent).err().unwrap().to_string();
    assert!(error.contains("run 0 did not come to a return of 1000000000 in 1000 steps"), "{error}");
    assert!(Recipe::named("hopper").is_none() && Recipe::named("pendulum-medium").is_none());
}
