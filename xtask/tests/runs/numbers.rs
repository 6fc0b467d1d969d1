//! Numbers that are not finite: they go out and come back, or are refused where they come in.

use super::*;
use backcast::core::Key;
use backcast::data::{Dataset, Format, Row, WriteOptions, write};

/// An algorithm on the pendulum's own dataset, and its file.
fn pendulum(folder: &Path, rest: &str) -> String {
    let text = format!(
        "name = 'x'\ntask = 'pendulum-v1'\nseeds = '0..1'\nmethods = [{{ name = 'a' }}]\n[training]\nupdates = 200\nbatch = 16\n\
         eval_every = 100\neval_episodes = 1\nfinal_episodes = 1\n{rest}"
    );
    let path = folder.join("x.toml");
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

fn run(file: &str, out: &Path, more: &[&str]) -> (Option<i32>, String) {
    let out = out.display().to_string();
    said(&xtask(&[&["run", file, "--out", &out], more].concat()).output().expect("it starts"))
}

/// No message may promise a file that is not there.
fn promises_nothing_that_is_missing(text: &str, out: &Path) {
    let there = files(out).iter().any(|path| path.ends_with("checkpoint.safetensors"));
    assert!(there || !text.contains("checkpoint"), "{text}");
}

#[test]
fn an_infinite_metric_goes_out_and_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let rest = "[data]\nrows = 1000\nrewards = { affine = { scale = 2e18, shift = 0.0 } }\n[algorithm]\nname = 'td3_bc'\nhidden = [8]\n";
    let (file, out) = (pendulum(folder.path(), rest), folder.path().join("run"));
    let (code, text) = run(&file, &out, &[]);
    assert_eq!(code, Some(0), "{text}");
    let path = out.join("learners/a-seed-0/result.json");
    let kept = std::fs::read(&path).expect("a result");
    let result: LearnResult = backcast::json::from_slice(&kept).expect("a result");
    let infinite = |value: &f64| value.is_infinite();
    assert!(result.curve.iter().flat_map(|p| &p.metrics).any(|(_, value)| infinite(value)), "{result:?}");
    let csv = std::fs::read_to_string(out.join("metrics.csv")).expect("metrics");
    let value = |line: &str| line.rsplit(',').next().expect("five fields").parse::<f64>();
    assert!(csv.lines().skip(1).any(|line| infinite(&value(line).expect("a number"))), "{csv}");
    for command in [&["report"][..], &["watch", "--once"]] {
        succeed(&mut xtask(&[command, &[&out.display().to_string()]].concat()));
    }

    // Interrupted before its summary, and once more before its result: its checkpoint knows the way here.
    for gone in ["summary.json", "learners/a-seed-0/result.json"] {
        std::fs::remove_file(out.join(gone)).expect("removed");
        let (code, text) = run(&file, &out, &["--resume"]);
        assert_eq!(code, Some(0), "{gone}: {text}");
    }
    let again: LearnResult = backcast::json::from_slice(&std::fs::read(&path).unwrap()).expect("a result");
    assert_eq!(again.curve, result.curve);
}

#[test]
fn what_stops_being_a_number_after_the_last_evaluation_ends_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let rest = "[data]\nrows = 1000\n[algorithm]\nname = 'td3_bc'\nhidden = [8]\nactor_lr = 1e38\ncritic_lr = 1e38\n";
    let (file, out) = (pendulum(folder.path(), rest), folder.path().join("run"));
    let (code, text) = run(&file, &out, &["--set", "training.updates=5"]);
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("not finite") && text.contains("nothing was saved"), "{text}");
    promises_nothing_that_is_missing(&text, &out);
}

#[test]
fn a_setting_that_is_no_number_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let rest = "[data]\nrows = 1000\n[[published]]\nlabel = 'theirs'\nscore = nan\n";
    let (file, out) = (pendulum(folder.path(), rest), folder.path().join("run"));
    let (code, text) = run(&file, &out, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("`published[0].score` is nan") && !out.exists(), "{text}");
}

#[test]
fn a_dataset_with_a_number_far_outside_is_told_where_it_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, out) = (folder.path().join("outlier.npz"), folder.path().join("run"));
    let (mut dataset, key) = (Dataset::new(3, 1, true), Key::new(1));
    let obs = |t: u64| [0, 1, 2].map(|i| if (t, i) == (5, 0) { 1e30 } else { key.fold(3 * t + i).unit() });
    for t in 0..400 {
        let (reward, truncated) = (-key.name("reward").fold(t).unit(), t % 100 == 99);
        dataset.push(Row {
            obs: &obs(t),
            act: &[0.5],
            reward,
            terminal: false,
            truncated,
            next_obs: Some(&obs(t + 1)),
        });
    }
    write(&path, Format::Npz, &dataset, &WriteOptions::default()).expect("written");
    let file = pendulum(folder.path(), "[algorithm]\nname = 'td3_bc'\nhidden = [8]\n");
    let (code, text) = run(&file, &out, &["--data", &path.display().to_string()]);
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("row 5, column 0 of the observations") && text.contains("1e30"), "{text}");
    promises_nothing_that_is_missing(&text, &out);
}
