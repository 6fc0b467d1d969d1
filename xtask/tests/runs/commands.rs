//! Names of any letters: in files, on the command line, and in the commands that a run tells.

use super::*;
use std::os::unix::fs::PermissionsExt;

/// What a shell, a list and a table would each like to take apart.
const NAMES: [&str; 3] = ["BC, 'fewer' \"samples\" $HOME `id` \\ ;", "BC", "BC, fewer"];

/// An experiment of two moments, with these methods.
fn experiment(folder: &Path) -> PathBuf {
    let method = |name: &str| format!("[[methods]]\nname = {name:?}\n");
    let text = format!(
        "name = 'x'\ntask = 'pendulum-v1'\nseeds = '0..1'\n[data]\nrows = 1000\n[algorithm]\nname = 'bc'\nhidden = [4]\n\
         [training]\nupdates = 4\nbatch = 4\neval_every = 2\neval_episodes = 1\nfinal_episodes = 1\n{}",
        NAMES.map(method).concat()
    );
    let path = folder.join("x.toml");
    std::fs::write(&path, text).expect("written");
    path
}

/// The fields of every line, as RFC 4180 has it.
fn fields(text: &str) -> Vec<Vec<String>> {
    let (mut lines, mut line, mut field, mut quoted) = (vec![], vec![], String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => field.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => line.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                line.push(std::mem::take(&mut field));
                lines.push(std::mem::take(&mut line));
            }
            letter => field.push(letter),
        }
    }
    lines
}

#[test]
fn methods_of_any_name_are_chosen_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, out) = (experiment(folder.path()), folder.path().join("run"));
    let run = |methods: &[&str]| {
        let mut command = xtask(&["run", &file.display().to_string(), "--out", &out.display().to_string()]);
        command.args(methods.iter().flat_map(|method| ["--methods", method]));
        said(&command.output().expect("it starts"))
    };
    let list = format!("{}, BC", NAMES[0]);
    for (methods, want) in [
        (&[NAMES[0]][..], &[0][..]),
        (&["BC, fewer"], &[2]),
        (&["BC,BC, fewer"], &[1, 2]),
        (&[NAMES[2], " BC "], &[1, 2]),
        (&[&list], &[0, 1]),
        (&[], &[0, 1, 2]),
    ] {
        let (code, text) = run(methods);
        assert_eq!(code, Some(0), "{methods:?}: {text}");
        let all = fields(&std::fs::read_to_string(out.join("metrics.csv")).expect("metrics"));
        assert_eq!(all[0], ["method", "seed", "update", "metric", "value"]);
        assert!(all.iter().all(|line| line.len() == 5), "{all:?}");
        let mut found: Vec<usize> =
            all[1..].iter().map(|l| NAMES.iter().position(|name| *name == l[0]).expect("a method")).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, want, "{methods:?}");
    }
    let (code, text) = run(&["BC, many"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("no method `many`") && NAMES.iter().all(|name| text.contains(&format!("\n  {name}"))),
        "{text}"
    );
}

/// A program of this name that says something, or hands its words on to the runner.
fn program(folder: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(folder.join(name), format!("#!/bin/sh\n{text}\n")).expect("written");
    std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(0o755)).expect("made a program");
}

#[test]
fn the_command_of_a_report_does_the_same_in_a_shell() {
    let folder = tempfile::tempdir().expect("a folder");
    let odd = folder.path().join("it's \"a\", $HOME;\\ folder");
    std::fs::create_dir(&odd).expect("a folder");
    let (file, out, again) = (experiment(&odd).display().to_string(), odd.join("run"), odd.join("words"));
    let words = [
        "run",
        &file,
        "--seeds",
        "0..1",
        "--methods",
        NAMES[0],
        "--methods",
        NAMES[1],
        "--set",
        "about=it's $5, \"all\"",
    ];
    let place = out.display().to_string();
    let words = [&words[..], &["--out", &place]].concat();
    succeed(&mut xtask(&words));
    let report = std::fs::read_to_string(out.join("report.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let told = report["command"].as_str().expect("a command");

    let programs = folder.path().join("programs");
    program(&programs, "cargo", "shift\nprintf '%s\\n' \"$@\" >\"$WORDS\"\nexec \"$XTASK\" \"$@\"");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a path"));
    let mut shell = Command::new("sh");
    shell.args(["-c", told]).env("PATH", path).env("WORDS", &again).env("XTASK", env!("CARGO_BIN_EXE_xtask"));
    let text = succeed(&mut shell);
    assert!(text.contains("kept"), "{text}");
    assert_eq!(std::fs::read_to_string(again).expect("words").lines().collect::<Vec<_>>(), words, "{told}");
}

#[test]
fn the_commit_is_that_of_the_program_and_not_of_where_it_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, out) = (experiment(folder.path()).display().to_string(), folder.path().join("run"));
    let programs = folder.path().join("programs");
    program(&programs, "git", "echo fa11acefa11ace");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a path"));
    succeed(xtask(&["run", &file, "--out", &out.display().to_string(), "--methods", "BC"]).env("PATH", path));
    let summary: backcast::run::Summary =
        serde_json::from_slice(&std::fs::read(out.join("summary.json")).expect("a summary")).expect("JSON");
    assert_ne!(summary.commit, "fa11acefa11ace with changes");
    assert_eq!(summary.commit, option_env!("BACKCAST_COMMIT").unwrap_or("built without a commit"));
}

/// By default CQL begins with more updates of cloning than this experiment has.
#[test]
fn a_method_of_which_nothing_is_left_is_refused_and_a_part_that_rests_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = super::experiment(folder.path(), 30).display().to_string();
    let run = |out: &str, warm_start: &str| {
        let out = folder.path().join(out);
        let cql =
            format!("methods=[{{name='CQL', algorithm={{name='cql', hidden=[4], n_action_samples=1{warm_start}}}}}]");
        let words = ["run", &file, "--out", &out.display().to_string(), "--set", &cql];
        let (code, text) = said(&xtask(&words).output().expect("it starts"));
        (code, text, out)
    };
    let (code, text, out) = run("cloning", "");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("nothing of the method is left") && text.contains("`warm_start`"), "{text}");
    assert!(!out.exists(), "a folder was left behind");

    let (code, text, out) = run("half", ", warm_start=15");
    assert_eq!(code, Some(0), "{text}");
    let told = "CQL: for 15 of 30 updates the policy only clones";
    assert!(text.contains(told) && text.contains("set it to 0"), "{text}");
    let page = std::fs::read_to_string(out.join("report.html")).expect("a report");
    assert!(page.contains(told) && !page.contains("95 %"), "{page}");

    let (code, text, _) = run("whole", ", warm_start=0");
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("only clones") && !text.contains("95 %") && text.contains("range"), "{text}");
}
