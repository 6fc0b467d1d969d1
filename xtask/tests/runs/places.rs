//! Where a run may be, what it may be called, and what it may remove.

use super::*;

fn run(file: &Path, out: &Path, more: &[&str]) -> (Option<i32>, String) {
    let (file, out) = (file.display().to_string(), out.display().to_string());
    said(&xtask(&[&["run", &file, "--out", &out, "--methods", "mopo"], more].concat()).output().expect("it starts"))
}

#[test]
fn only_what_a_run_was_writing_itself_is_swept_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, out) = (experiment(folder.path(), 10), folder.path().join("run"));
    std::fs::create_dir_all(out.join("learners/mopo-seed-0")).expect("a folder");
    std::fs::create_dir_all(out.join("mine")).expect("a folder");
    let theirs =
        ["thesis.unfinished", "mine/.x.0.unfinished", ".unfinished", ".x.unfinished", "learners/.y.z.unfinished"];
    let ours = [".config.toml.0.unfinished", "learners/mopo-seed-0/.checkpoint.safetensors.12.unfinished"];
    for name in theirs.iter().chain(&ours) {
        std::fs::write(out.join(name), "words").expect("written");
    }
    // Nothing says yet that this is a run's folder.
    let (code, text) = run(&file, &out, &["--quick", "--set", "training.updates=nonsense"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(theirs.iter().chain(&ours).all(|name| out.join(name).exists()));
    for _ in 0..2 {
        let (code, text) = run(&file, &out, &[]);
        assert_eq!(code, Some(0), "{text}");
    }
    for name in theirs {
        assert!(out.join(name).exists(), "{name} is gone");
    }
    for name in ours {
        assert!(!out.join(name).exists(), "{name} is still there");
    }
}

#[test]
fn runs_are_not_put_inside_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, out) = (experiment(folder.path(), 10), folder.path().join("all/first"));
    let (code, text) = run(&file, &out, &[]);
    assert_eq!(code, Some(0), "{text}");
    let before = files(folder.path());
    for inside in ["all/first/learners", "all/first/a/b", "all"] {
        let (code, text) = run(&file, &folder.path().join(inside), &[]);
        assert_eq!(code, Some(1), "{inside}: {text}");
        assert!(text.contains("all/first") && text.contains("--out"), "{inside}: {text}");
    }
    let sweep = folder.path().join("sweep.toml");
    std::fs::write(&sweep, "name = 's'\nexperiment = 'tiny.toml'\n[grid]\ntraining.batch = [4, 8]\n").expect("written");
    let place = out.join("sweep").display().to_string();
    let (code, text) = said(&xtask(&["sweep", &sweep.display().to_string(), "--out", &place]).output().unwrap());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is the folder of another run"), "{text}");
    std::fs::remove_file(&sweep).expect("removed");
    assert_eq!(files(folder.path()), before, "something was left behind");
}

#[test]
fn names_that_are_no_folders_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = experiment(folder.path(), 10);
    for (setting, want) in [
        ("name=''", "`name` is empty"),
        ("name='  '", "`name` is empty"),
        ("name='..'", "`name` is `..`"),
        ("name='../elsewhere'", "`name` is `../elsewhere`"),
        ("methods=[{name=''}]", "`methods[0].name` is empty"),
        ("methods=[{name='a'}, {name='../b'}]", "`methods[1].name` is `../b`"),
    ] {
        let words = ["run", &file.display().to_string(), "--set", setting];
        let (code, text) = said(&xtask(&words).current_dir(folder.path()).output().expect("it starts"));
        assert_eq!(code, Some(1), "{setting}: {text}");
        assert!(text.contains(want), "{setting}: {text}");
        assert!(!folder.path().join("runs").exists(), "{setting}");
    }
    let sweep = folder.path().join("sweep.toml");
    std::fs::write(&sweep, "name = ''\nexperiment = 'tiny.toml'\n[grid]\ntraining.batch = [4, 8]\n").expect("written");
    let (code, text) =
        said(&xtask(&["sweep", &sweep.display().to_string()]).current_dir(folder.path()).output().unwrap());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("`name` is empty") && !folder.path().join("runs").exists(), "{text}");

    let manifest = folder.path().join("runs.jsonl");
    for out in ["../away", "/away", "a/../../b", ""] {
        let line = format!(
            "{{\"index\":0,\"experiment\":\"tiny.toml\",\"set\":[],\"seed\":0,\"out\":\"{out}\",\"point\":0,\"rung\":0}}\n"
        );
        std::fs::write(&manifest, line).expect("written");
        let words = ["run", "--manifest", &manifest.display().to_string(), "--index", "0"];
        let (code, text) = said(&xtask(&words).output().expect("it starts"));
        assert_eq!(code, Some(1), "{out}: {text}");
        assert!(text.contains("line 1") && text.contains("`out`"), "{out}: {text}");
    }
}
