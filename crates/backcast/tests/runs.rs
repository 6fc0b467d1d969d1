//! Whole experiments, tiny ones: interrupted anywhere and continued, on any number of threads, they come to the same bits.

use backcast::run::{self, Observer, Outcome, Summary};
use backcast::{Error, Experiment, data::d4rl};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

fn tiny() -> Experiment {
    let text = r#"
        name = "tiny"
        task = "maze2d-umaze-sparse-v1"
        seeds = "3..5"
        standardise = true
        [data]
        rows = 3000
        [algorithm]
        name = "bcq"
        hidden = [8]
        vae_hidden = [8]
        act_samples = 2
        target_samples = 2
        [model]
        hidden = [8, 8, 8, 8]
        max_epochs = 2
        epoch_rows = 512
        [imagination]
        rows = 600
        starts_per_call = 50
        refresh_every = 130
        agreement = 1.0
        uncertainty_budget = 20.0
        policy = "vae"
        [rollout_vae]
        hidden = [8]
        steps = 600
        [training]
        updates = 300
        batch = 10
        eval_every = 100
        eval_episodes = 1
        final_episodes = 2
        [[methods]]
        name = "reverse"
        imagine = "reverse"
        [[methods]]
        name = "forward"
        imagine = "forward"
        [[methods]]
        name = "data alone"
        [[methods]]
        name = "mopo"
        algorithm = { name = "mopo", rollouts = { every = 70, starts = 20, horizon = 2, keep = 2, real = 0.3 }, sac = { hidden = [8] } }
        [[methods]]
        name = "rambo"
        algorithm = { name = "rambo", lambda = 0.1, model_steps = 3, model_batch = 8, cloning_epochs = 1, rollouts = { every = 70, starts = 20, horizon = 2, keep = 2, real = 0.3 }, sac = { hidden = [8] } }
        [[methods]]
        name = "sdm-gan"
        algorithm = { name = "sdm_gan", epoch = 30, warm_start = 2, real_epochs = 1, target_samples = 2, act_samples = 2, hidden = [8], rollouts = { every = 70, starts = 20, horizon = 2, keep = 2 } }
        [[methods]]
        name = "morel"
        algorithm = { name = "morel", rollouts = { every = 70, starts = 20, horizon = 5, keep = 2, real = 0.3 }, sac = { hidden = [8] } }
        [[methods]]
        name = "osr"
        algorithm = { name = "osr", warm_up = 150, inverse = { encoder_hidden = [8], decoder_hidden = [8], latent = 2 }, cql = { hidden = [8], n_action_samples = 2 } }
        [[methods]]
        name = "sdc"
        algorithm = { name = "sdc", warm_up = 150, calibration = 90, mmd_samples = 2, transition = { hidden = [8] }, cql = { hidden = [8], n_action_samples = 2 } }
        [[methods]]
        name = "scas"
        algorithm = { name = "scas", beta = 0.1, hidden = [8] }
        [[methods]]
        name = "npg"
        algorithm = { name = "npg", paths = 2, horizon = 5, warm_start = 190, iterations = 3, hidden = [8], value_hidden = [8], random_starts = 0.5 }
    "#;
    Experiment::parse(text).expect("a sound experiment")
}

/// Says stop at the `nth` question.
struct StopAt(AtomicUsize);

impl Observer for StopAt {
    fn stage(&self, _: &str, _: usize) {}
    fn progress(&self, _: &str, _: u64, _: u64, _: &str) {}
    fn finished(&self, _: &str, _: &str) {}
    fn stop(&self) -> bool {
        // Counts down and stays at zero.
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_err()
    }
}

/// What must not differ: everything but the seconds.
fn essence(outcome: &Outcome) -> String {
    let mut outcome = outcome.clone();
    outcome.stages.clear();
    outcome.models.iter_mut().for_each(|m| m.seconds = 0.0);
    outcome.learners.iter_mut().for_each(|l| l.seconds = 0.0);
    serde_json::to_string(&outcome).expect("plain values")
}

/// The tensors of every checkpoint, byte for byte, without the header (which holds seconds).
fn tensors(out: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = vec![];
    for folder in ["models", "learners"] {
        let mut stack = vec![out.join(folder)];
        while let Some(folder) = stack.pop() {
            // Without imagination there are no models.
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    stack.push(path);
                } else if path.extension().is_some_and(|e| e == "safetensors") {
                    let bytes = std::fs::read(&path).expect("the file is there");
                    let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
                    let name = path.strip_prefix(out).expect("below the folder").display().to_string();
                    found.push((name, bytes[8 + header..].to_vec()));
                }
            }
        }
    }
    found.sort();
    found
}

#[test]
fn interrupted_anywhere_a_run_continues_to_the_same_bits_on_any_number_of_threads() {
    let experiment = tiny();
    let whole = tempfile::tempdir().unwrap();
    let one = run::carry_out(&experiment, whole.path(), 1, &run::Silent).unwrap();

    let threads = tempfile::tempdir().unwrap();
    let three = run::carry_out(&experiment, threads.path(), 3, &run::Silent).unwrap();
    assert_eq!(essence(&one), essence(&three));
    assert_eq!(tensors(whole.path()), tensors(threads.path()));

    // Stop again and again, a little later each time, until it gets through.
    let broken = tempfile::tempdir().unwrap();
    let (mut interruptions, mut patience) = (0, 1);
    let end = loop {
        match run::carry_out(&experiment, broken.path(), 2, &StopAt(AtomicUsize::new(patience))) {
            Ok(outcome) => break outcome,
            Err(Error::Interrupted) => interruptions += 1,
            Err(error) => panic!("after {interruptions} interruptions: {error}"),
        }
        patience = patience * 3 / 2 + 1;
        assert!(interruptions < 100, "it never gets through");
    };
    assert!(interruptions >= 5, "it was interrupted only {interruptions} times");
    assert_eq!(essence(&one), essence(&end));
    assert_eq!(tensors(whole.path()), tensors(broken.path()));
}

#[test]
fn starts_and_rollout_policies_are_chosen_by_the_file() {
    use backcast::algos::romi::{ReversePolicy, Starts};
    let mut seen = Vec::new();
    for (starts, policy) in [
        (Starts::Uniform, ReversePolicy::Uniform),
        (Starts::Uniform, ReversePolicy::Gaussian),
        (Starts::Goal, ReversePolicy::Uniform),
        (Starts::ReturnPrioritised, ReversePolicy::Uniform),
    ] {
        let (mut experiment, folder) = (tiny(), tempfile::tempdir().unwrap());
        experiment.seeds = backcast::Seeds(3..4);
        experiment.rollout_gaussian.hidden = vec![8];
        experiment.rollout_gaussian.steps = 100;
        (experiment.imagination.starts, experiment.imagination.policy) = (starts, policy);
        run::carry_out(&experiment, folder.path(), 2, &run::Silent).unwrap();
        let learner = tensors(folder.path()).into_iter().find(|(name, _)| name.starts_with("learners/reverse"));
        let learner = learner.expect("a checkpoint of the reverse method").1;
        assert!(!seen.contains(&learner), "{starts:?} starts with {policy:?} actions change nothing");
        seen.push(learner);
    }

    let (mut experiment, folder) = (tiny(), tempfile::tempdir().unwrap());
    experiment.imagination.starts = Starts::Goal;
    experiment.imagination.goal_reward = 2.0;
    let error = run::carry_out(&experiment, folder.path(), 2, &run::Silent).unwrap_err().to_string();
    assert!(error.contains("imagination.`goal_reward` is 2"), "{error}");
}

#[test]
fn a_dataset_from_a_file_is_the_dataset_that_was_generated() {
    let folder = tempfile::tempdir().unwrap();
    let mut experiment = tiny();
    let generated = run::load(&experiment, backcast::core::Spec::new(4, 2)).unwrap();
    let file = folder.path().join("log.hdf5");
    d4rl::write(&file, &run::generate(&experiment.task, &experiment.data).unwrap()).unwrap();
    experiment.data.file = Some(file);
    let read = run::load(&experiment, backcast::core::Spec::new(4, 2)).unwrap();
    assert_eq!(generated.episodic.transitions(), read.episodic.transitions());
    assert_eq!(generated.summary.transitions, read.summary.transitions);
}

#[test]
fn a_dataset_of_another_environment_is_refused_with_both_widths() {
    let experiment = tiny();
    let error = run::load(&experiment, backcast::core::Spec::new(6, 2)).err().expect("an error").to_string();
    assert!(error.contains("4 and 2 wide") && error.contains("6 and 2"), "{error}");
}

#[test]
fn a_damaged_result_is_named_and_not_taken() {
    let (experiment, folder) = (tiny(), tempfile::tempdir().unwrap());
    run::carry_out(&experiment, folder.path(), 2, &run::Silent).unwrap();
    let result = folder.path().join("learners/reverse-seed-3/result.json");
    std::fs::write(&result, "{\"method\": ").unwrap();
    let error = run::carry_out(&experiment, folder.path(), 2, &run::Silent).unwrap_err().to_string();
    assert!(error.contains("result.json") && error.contains("delete it"), "{error}");
}

#[test]
fn the_summary_has_the_promised_form() {
    let (experiment, folder) = (tiny(), tempfile::tempdir().unwrap());
    let outcome = run::carry_out(&experiment, folder.path(), 2, &run::Silent).unwrap();
    let summary = Summary::of(&experiment, &outcome, "abc");
    run::write_summary(&summary, folder.path()).unwrap();
    let text = std::fs::read_to_string(folder.path().join("summary.json")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["experiment"], "tiny");
    assert_eq!(value["commit"], "abc");
    let method = &value["methods"][0];
    assert_eq!(method["seeds"], serde_json::json!([3, 4]));
    assert_eq!(method["scores"].as_array().unwrap().len(), 2);
    assert!(method["iqm"].is_f64());
    // Two seeds have a range, and no interval.
    assert_eq!(method["spread"]["range"].as_array().unwrap().len(), 2, "{}", method["spread"]);
    assert!(method["spread"]["interval95"].is_null());
    assert_eq!(method["task"], "maze2d-umaze-sparse-v1");
}

/// Methods with datasets of their own: other qualities, the best episodes alone, and an algorithm that asks for next actions.
#[test]
fn methods_learn_from_datasets_of_their_own() {
    let text = r#"
        name = "ladder"
        task = "pendulum-v1"
        seeds = "0..1"
        [data]
        rows = 2000
        noise = 0.1
        [algorithm]
        name = "bc"
        hidden = [8]
        [training]
        updates = 60
        batch = 16
        eval_every = 30
        eval_episodes = 1
        final_episodes = 1
        [[methods]]
        name = "expert"
        [[methods]]
        name = "medium"
        data = { quality = "medium" }
        [[methods]]
        name = "best of medium"
        data = { quality = "medium", best_episodes = 0.1 }
        [[methods]]
        name = "medium again"
        data = { quality = "medium" }
        [[methods]]
        name = "next actions"
        algorithm = { name = "rebrac", hidden = [8] }
        [[methods]]
        name = "best next actions"
        data = { best_episodes = 0.2 }
        algorithm = { name = "rebrac", hidden = [8] }
    "#;
    let (experiment, folder) = (Experiment::parse(text).unwrap(), tempfile::tempdir().unwrap());
    let outcome = run::carry_out(&experiment, folder.path(), 2, &run::Silent).unwrap();
    assert_eq!(outcome.learners.len(), 6);
    let essences: Vec<_> = tensors(folder.path()).into_iter().filter(|(name, _)| name.contains("checkpoint")).collect();
    let of =
        |method: &str| &essences.iter().find(|(name, _)| name.contains(&format!("{method}-seed"))).expect(method).1;
    assert_eq!(of("/medium"), of("medium-again"));
    assert_ne!(of("/expert"), of("/medium"));
    assert_ne!(of("best-of-medium"), of("/medium"));
    assert_ne!(of("/next-actions"), of("best-next-actions"));
}

#[test]
fn every_experiment_of_the_workspace_reads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let mut count = 0;
    for file in
        std::fs::read_dir(folder).unwrap().flatten().filter(|f| f.path().extension().is_some_and(|e| e == "toml"))
    {
        let text = std::fs::read_to_string(file.path()).unwrap();
        let experiment = Experiment::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", file.path().display()));
        assert_eq!(Experiment::parse(&experiment.to_toml()).unwrap(), experiment);
        count += 1;
    }
    assert!(count >= 5, "{count} experiments");
}
