//! Sweeps: the same summary whoever carries the runs out, and whatever befell them.

use super::*;
use std::time::{Duration, Instant};

/// A sweep of the tiny experiment's algorithm alone, and its file.
fn sweep(folder: &Path, rest: &str) -> PathBuf {
    experiment(folder, 20);
    let path = folder.join("sweep.toml");
    let text = format!(
        "name = 'tiny sweep'\nexperiment = 'tiny.toml'\nset = [\"methods=[{{ name = 'alone' }}]\"]\nseeds = '0..2'\n\
         [grid]\nalgorithm.alpha = [0.5, 2.5]\nalgorithm.actor_lr = [1e-4, 1e-2]\n{rest}"
    );
    std::fs::write(&path, text).expect("written");
    path
}

fn carry_out(file: &Path, out: &Path, more: &[&str]) -> Command {
    let (file, out) = (file.display().to_string(), out.display().to_string());
    xtask(&[&["sweep", &file, "--out", &out], more].concat())
}

fn summary(out: &Path) -> Vec<u8> {
    std::fs::read(out.join("summary.json")).expect("a summary")
}

/// A program of this name that stands in for a queue: it does the tasks of its array one after the other and, the first time,
/// loses the last of them, as when a node dies.
#[cfg(unix)]
fn queue(folder: &Path, name: &str, variable: &str) {
    use std::os::unix::fs::PermissionsExt;
    let text = format!(
        r#"#!/bin/sh
array= previous= script= offset=
for word; do
    case $word in --array=*) array=${{word#--array=}} ;; esac
    case $previous in --array) array=$word ;; esac
    previous=$word script=$offset offset=$word
done
tasks=
for part in $(echo "$array" | tr , ' '); do tasks="$tasks $(seq "${{part%-*}}" "${{part#*-}}")"; done
set -- $tasks
lost=$(eval echo "\$$#")
for task; do
    if [ "$task" = "$lost" ] && [ ! -e {folder}/{name}.lost ]; then touch {folder}/{name}.lost; continue; fi
    {variable}=$task "$script" "$offset" >>{folder}/{name}.log 2>&1 || exit 1
done
"#,
        folder = folder.display()
    );
    let path = folder.join(name);
    std::fs::write(&path, text).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("made a program");
}

#[cfg(unix)]
#[test]
fn a_sweep_has_the_same_summary_whoever_carries_it_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = sweep(folder.path(), "");
    let local = folder.path().join("local");
    let text = succeed(&mut carry_out(&file, &local, &["--jobs", "2"]));
    assert!(text.contains("algorithm.alpha=2.5") && text.contains("8 runs"), "{text}");
    let lines = std::fs::read_to_string(local.join("runs.jsonl")).expect("a manifest");
    assert_eq!(lines.lines().count(), 8);

    let look = succeed(&mut xtask(&["watch", &local.display().to_string()]));
    assert!(look.contains("8 of 8 runs finished"), "{look}");

    // Asked for again, a finished run does nothing and says so.
    let manifest = local.join("runs.jsonl").display().to_string();
    let before = std::fs::metadata(local.join("p0001-seed-1/report.json")).expect("a report").modified().unwrap();
    let text = succeed(&mut xtask(&["run", "--manifest", &manifest, "--index", "3"]));
    assert!(text.contains("p0001-seed-1 is finished"), "{text}");
    let after = std::fs::metadata(local.join("p0001-seed-1/report.json")).expect("a report").modified().unwrap();
    assert_eq!(before, after);

    let programs = folder.path().join("programs");
    std::fs::create_dir(&programs).expect("a folder");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a path"));
    for (engine, program, variable) in [("slurm", "sbatch", "SLURM_ARRAY_TASK_ID"), ("hq", "hq", "HQ_TASK_ID")] {
        queue(&programs, program, variable);
        let out = folder.path().join(engine);
        let mut order = carry_out(&file, &out, &["--engine", engine]);
        let (code, text) = said(&order.env("PATH", &path).output().expect("it starts"));
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("1 of 8 runs are not finished") && text.contains("p0003-seed-1"), "{text}");
        let mut order = carry_out(&file, &out, &["--engine", engine]);
        let text = succeed(order.env("PATH", &path));
        assert!(text.contains("7 of 8 runs are finished already"), "{text}");
        assert_eq!(summary(&out), summary(&local), "{engine}");
    }
    let (_, text) =
        said(&carry_out(&file, &folder.path().join("none"), &["--engine", "hq"]).env("PATH", "").output().unwrap());
    assert!(text.contains("cannot start `hq`"), "{text}");

    // The folder is of this sweep.
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap().replace("2.5", "3.5")).unwrap();
    let (code, text) = said(&carry_out(&file, &local, &[]).output().unwrap());
    assert_eq!(code, Some(1));
    assert!(text.contains("is of another sweep"), "{text}");
}

#[test]
fn a_sweep_that_was_killed_is_finished_by_the_same_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = sweep(folder.path(), "");
    let (whole, out) = (folder.path().join("whole"), folder.path().join("killed"));
    succeed(&mut carry_out(&file, &whole, &[]));
    let finished = || files(&out).iter().filter(|path| path.ends_with("summary.json")).count();
    let mut child =
        carry_out(&file, &out, &["--jobs", "2"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    while finished() < 2 {
        assert!(begin.elapsed() < Duration::from_secs(60), "no run after a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("a child of ours");
    child.wait().expect("a child of ours");
    // Its own children may still be at work; they are waited for.
    succeed(&mut carry_out(&file, &out, &[]));
    assert_eq!(summary(&out), summary(&whole));
}

#[test]
fn halving_goes_by_the_log_and_goes_on_to_the_same_bits() {
    for (criterion, more) in [("fqe", "updates = 30"), ("held_out", "data.seed = 7")] {
        let folder = tempfile::tempdir().expect("a folder");
        let rest = format!("[halving]\ncriterion = '{criterion}'\nrungs = [15, 40]\nkeep = 0.5\n{more}");
        let file = sweep(folder.path(), &rest);
        let out = folder.path().join("halved");
        succeed(&mut carry_out(&file, &out, &[]));
        let first = summary(&out);
        let value: serde_json::Value = serde_json::from_slice(&first).expect("a summary");
        let came_far = |p: &&serde_json::Value| p["rung"] == 1;
        let left: Vec<u64> =
            value["points"].as_array().unwrap().iter().filter(came_far).map(|p| p["point"].as_u64().unwrap()).collect();
        assert_eq!(left.len(), 2, "{value}");
        assert_eq!(value["rungs"][0].as_array().unwrap().len(), 4);

        // In two steps or at once: the same algorithm.
        let manifest = std::fs::read_to_string(out.join("runs.jsonl")).expect("a manifest");
        let last: serde_json::Value = serde_json::from_str(manifest.lines().last().unwrap()).expect("a line");
        let at_once = folder.path().join("at-once").display().to_string();
        let base = folder.path().join("tiny.toml").display().to_string();
        let seed = last["seed"].as_u64().unwrap();
        let seeds = format!("{seed}..{}", seed + 1);
        let mut order = xtask(&["run", &base, "--out", &at_once, "--seeds", &seeds]);
        for setting in last["set"].as_array().unwrap() {
            order.args(["--set", setting.as_str().unwrap()]);
        }
        succeed(&mut order);
        assert!(essence(Path::new(&at_once)) == essence(&out.join(last["out"].as_str().unwrap())), "{criterion}");

        // Whatever the environment had said of the first rung, the same points would have gone on.
        std::fs::remove_dir_all(out.join("rung-1")).expect("removed");
        for (i, path) in files(&out).iter().enumerate() {
            if path.ends_with("result.json") {
                let text = std::fs::read_to_string(path).expect("read");
                let mut result: serde_json::Value = serde_json::from_str(&text).expect("a result");
                result["score"] = serde_json::json!(1000.0 * i as f64);
                std::fs::write(path, result.to_string()).expect("written");
            } else if path.ends_with("fqe.json") {
                std::fs::remove_file(path).expect("removed");
            }
        }
        succeed(&mut carry_out(&file, &out, &[]));
        let second: serde_json::Value = serde_json::from_slice(&summary(&out)).expect("a summary");
        assert_eq!(second["rungs"], value["rungs"], "{criterion}");
    }
}
