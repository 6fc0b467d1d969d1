//! Runs, judged by a dataset: interrupted and continued to the same judgements, each taken again only while it is still true.

use backcast::run::{self, Observer, Selection, SelectionConfig};
use backcast::{Error, Experiment};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

fn tiny(updates: u64) -> Experiment {
    let text = format!(
        r#"
        name = "tiny"
        task = "pendulum-v1"
        seeds = "0..2"
        standardise = true
        [data]
        rows = 1000
        noise = 0.1
        [algorithm]
        name = "bc"
        hidden = [8]
        [training]
        updates = {updates}
        batch = 16
        eval_every = 20
        eval_episodes = 1
        final_episodes = 1
        [[methods]]
        name = "BC"
        [[methods]]
        name = "best"
        data = {{ best_episodes = 0.5 }}
        [[methods]]
        name = "TD3+BC"
        algorithm = {{ name = "td3_bc", hidden = [8] }}
        [[methods]]
        name = "BCQ"
        algorithm = {{ name = "bcq", hidden = [8], vae_hidden = [8], act_samples = 3, target_samples = 2 }}
    "#
    );
    Experiment::parse(&text).expect("a sound experiment")
}

/// A run in `folder/name`, with the configuration that the runner writes.
fn carried_out(experiment: &Experiment, folder: &Path, name: &str) -> PathBuf {
    let out = folder.join(name);
    std::fs::create_dir_all(&out).unwrap();
    std::fs::write(out.join("config.toml"), experiment.to_toml()).unwrap();
    run::carry_out(experiment, &out, 2, &run::Silent).unwrap();
    out
}

fn short() -> SelectionConfig {
    let mut config = SelectionConfig { updates: 130, batch: 16, ..SelectionConfig::default() };
    config.fqe.hidden = vec![8];
    config
}

/// Counts judgements, those kept apart, and says stop at the `nth` question.
#[derive(Default)]
struct Counts {
    made: AtomicUsize,
    kept: AtomicUsize,
    stop_at: Option<usize>,
    asked: AtomicUsize,
}

impl Observer for Counts {
    fn stage(&self, _: &str, _: usize) {}
    fn progress(&self, _: &str, _: u64, _: u64, _: &str) {}
    fn finished(&self, job: &str, note: &str) {
        if job != "log" {
            let count = if note == "kept" { &self.kept } else { &self.made };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn stop(&self) -> bool {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        self.stop_at.is_some_and(|n| asked >= n)
    }
}

impl Counts {
    fn seen(&self) -> [usize; 2] {
        [self.made.load(Ordering::Relaxed), self.kept.load(Ordering::Relaxed)]
    }
}

/// Everything but the seconds and the folder.
fn essence(selection: &Selection) -> String {
    let mut selection = selection.clone();
    selection.policies.iter_mut().for_each(|p| (p.seconds, p.run) = (0.0, PathBuf::new()));
    serde_json::to_string(&selection).expect("plain values")
}

#[test]
fn judgements_are_kept_while_they_are_true_and_the_same_however_they_came_about() {
    let folder = tempfile::tempdir().unwrap();
    let runs = [carried_out(&tiny(20), folder.path(), "short"), carried_out(&tiny(40), folder.path(), "long")];
    let one = Counts::default();
    let whole = run::select(&runs, None, &short(), 1, &one).unwrap();
    assert_eq!(one.seen(), [16, 0]);
    assert!(whole.policies.is_sorted_by(|a, b| a.estimate >= b.estimate));
    assert!(whole.policies.iter().all(|p| p.estimate.is_finite() && p.distance > 0.0));
    assert!(whole.policies.iter().all(|p| p.own_value.is_some() == ["TD3+BC", "BCQ"].contains(&p.method.as_str())));
    assert_eq!(whole.policies.iter().filter(|p| p.trained == 40).count(), 8);
    assert_eq!(whole.data.transitions, run::load(&tiny(20), backcast::core::Spec::new(3, 1)).unwrap().rows().len());

    let again = Counts::default();
    assert_eq!(essence(&run::select(&runs, None, &short(), 3, &again).unwrap()), essence(&whole));
    assert_eq!(again.seen(), [0, 16]);

    // Other settings judge anew, and do not push the first judgements out.
    let other = Counts::default();
    let longer = SelectionConfig { updates: 140, ..short() };
    assert_ne!(essence(&run::select(&runs[..1], None, &longer, 2, &other).unwrap()), essence(&whole));
    assert_eq!(other.seen(), [8, 0]);
    let first = Counts::default();
    run::select(&runs, None, &short(), 2, &first).unwrap();
    assert_eq!(first.seen(), [0, 16]);

    // A policy that is another now is judged anew: here, the longer run's in the shorter one's place.
    let file = "learners/bc-seed-0/checkpoint.safetensors";
    std::fs::copy(runs[1].join(file), runs[0].join(file)).unwrap();
    let changed = Counts::default();
    let replaced = run::select(&runs, None, &short(), 2, &changed).unwrap();
    assert_eq!(changed.seen(), [1, 15]);
    let of = |selection: &Selection, trained| {
        let found = selection.policies.iter().find(|p| (p.method.as_str(), p.seed, p.trained) == ("BC", 0, trained));
        found.expect("it is there").estimate
    };
    assert_eq!(of(&replaced, 20), of(&whole, 40));
    assert_ne!(of(&whole, 20), of(&whole, 40));
}

#[test]
fn interrupted_it_goes_on_to_the_same_judgements_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = tiny(20);
    let [a, b] = ["a", "b"].map(|name| carried_out(&experiment, folder.path(), name));
    let whole = run::select(&[a], None, &short(), 1, &run::Silent).unwrap();
    let stopped = Counts { stop_at: Some(7), ..Counts::default() };
    let error = run::select(std::slice::from_ref(&b), None, &short(), 2, &stopped).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    let on = Counts::default();
    let end = run::select(&[b], None, &short(), 3, &on).unwrap();
    let [made, kept] = on.seen();
    assert!(made > 0 && kept > 0 && made + kept == 8, "{made} made and {kept} kept");
    assert_eq!(essence(&end), essence(&whole));
}

#[test]
fn what_cannot_be_judged_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let says = |runs: &[PathBuf], config: &SelectionConfig| {
        run::select(runs, None, config, 1, &run::Silent).unwrap_err().to_string()
    };
    let nowhere = folder.path().join("nowhere");
    assert!(says(std::slice::from_ref(&nowhere), &short()).contains("config.toml"));

    let experiment = tiny(20);
    std::fs::create_dir_all(&nowhere).unwrap();
    std::fs::write(nowhere.join("config.toml"), experiment.to_toml()).unwrap();
    assert!(says(std::slice::from_ref(&nowhere), &short()).contains("no algorithm"));

    let maze = folder.path().join("maze");
    std::fs::create_dir_all(&maze).unwrap();
    std::fs::write(maze.join("config.toml"), "name = \"m\"\ntask = \"maze2d-umaze-sparse-v1\"").unwrap();
    let error = says(&[nowhere.clone(), maze], &short());
    assert!(error.contains("maze2d-umaze-sparse-v1") && error.contains("pendulum-v1"), "{error}");

    let never = SelectionConfig { updates: 0, ..short() };
    assert!(says(&[nowhere], &never).contains("selection.`updates` is 0"));
    assert!(says(&[], &short()).contains("no run"));
}
