//! A run is killed, interrupted or without room, and goes on to the same bits.

use super::*;
use backcast::core::Key;
use std::time::{Duration, Instant, SystemTime};

/// How often a process is killed, unless `BACKCAST_KILLS` says otherwise.
const KILLS: u64 = 50;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// `kill -9` at moments drawn at random, again and again, and at the end the bits of a run that nobody disturbed.
/// `BACKCAST_KILLS=1000` for a long night, `BACKCAST_KILL_SEED` for the same moments again.
#[test]
fn killed_at_any_moment_a_run_ends_with_the_same_bits() {
    let kills = number("BACKCAST_KILLS").unwrap_or(KILLS);
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").subsec_nanos() as u64;
    let seed = number("BACKCAST_KILL_SEED").unwrap_or(nanos);
    println!("BACKCAST_KILL_SEED={seed}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = experiment(folder.path(), 200);
    let run = |out: &Path| {
        let mut command =
            xtask(&["run", &file.display().to_string(), "--jobs", "1", "--out", &out.display().to_string()]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let whole = folder.path().join("whole");
    let clock = Instant::now();
    succeed(&mut run(&whole));
    let undisturbed = clock.elapsed();
    let expected = essence(&whole);

    let moments = Key::new(seed).name("moments");
    let (mut killed, mut finished, mut checkpoints) = (0, 0, 0);
    while killed < kills {
        let out = folder.path().join(format!("killed-{finished}"));
        loop {
            // Short enough that a run is killed several times on its way.
            let moment = undisturbed.mul_f64(0.02 + 0.25 * moments.fold(killed).unit() as f64);
            let mut child = run(&out).spawn().expect("it starts");
            let begin = Instant::now();
            let ended = loop {
                match child.try_wait().expect("a child of ours") {
                    Some(status) => break Some(status),
                    None if killed < kills && begin.elapsed() >= moment => break None,
                    None => std::thread::sleep(Duration::from_micros(200)),
                }
            };
            match ended {
                Some(status) => {
                    assert!(status.success(), "after {killed} kills: {status}, BACKCAST_KILL_SEED={seed}");
                    break;
                }
                None => {
                    child.kill().expect("a child of ours");
                    child.wait().expect("a child of ours");
                    killed += 1;
                    checkpoints += whole_checkpoints(&out);
                }
            }
        }
        assert!(essence(&out) == expected, "{}: other bits, BACKCAST_KILL_SEED={seed}", out.display());
        std::fs::remove_dir_all(&out).expect("removed");
        finished += 1;
    }
    println!(
        "{killed} kills, {checkpoints} checkpoints found whole, {finished} runs to the end, {:?}",
        clock.elapsed()
    );
    assert!(checkpoints > 0, "nobody was killed after a checkpoint: the moments are too early");
}

#[test]
fn two_at_once_do_not_harm_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = experiment(folder.path(), 100);
    let out = folder.path().join("run");
    let words = ["run", &file.display().to_string(), "--out", &out.display().to_string()];
    let children: Vec<_> = (0..4)
        .map(|_| xtask(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts"))
        .collect();
    let ends: Vec<(Option<i32>, String)> =
        children.into_iter().map(|child| said(&child.wait_with_output().expect("a child of ours"))).collect();
    // One works; the others say who, or come when it is done and find everything kept.
    assert!(ends.iter().any(|(code, _)| *code == Some(0)), "{ends:?}");
    for (code, text) in &ends {
        assert!(*code == Some(0) || *code == Some(4) && text.contains("is at work here"), "{code:?}: {text}");
    }
    let alone = folder.path().join("alone");
    succeed(&mut xtask(&["run", words[1], "--out", &alone.display().to_string()]));
    assert!(essence(&out) == essence(&alone));
}

/// Sends a signal to a process of ours.
#[cfg(unix)]
fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args([name, &pid.to_string()]).status().expect("kill is everywhere");
    assert!(status.success());
}

#[cfg(unix)]
#[test]
fn an_interruption_saves_and_has_a_code_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = experiment(folder.path(), 100_000);
    for name in ["-INT", "-TERM"] {
        let out = folder.path().join(name);
        let mut command = xtask(&["run", &file.display().to_string(), "--out", &out.display().to_string()]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let begin = Instant::now();
        while whole_checkpoints(&out) == 0 {
            assert!(begin.elapsed() < Duration::from_secs(60), "no checkpoint after a minute");
            std::thread::sleep(Duration::from_millis(20));
        }
        let look = succeed(&mut xtask(&["watch", "--once", &out.display().to_string()]));
        assert!(look.contains("at work") && look.contains("/100000"), "{look}");
        signal(name, child.id());
        let (code, text) = said(&child.wait_with_output().expect("a child of ours"));
        assert_eq!(code, Some(130), "{text}");
        assert!(text.contains("Everything so far is saved") && text.contains("--resume"), "{text}");
        assert!(whole_checkpoints(&out) > 0);
        let look = succeed(&mut xtask(&["watch", "--once", &out.display().to_string()]));
        assert!(look.contains("nobody is at work"), "{look}");
    }
}

/// A limit on the size of files stands in for a full disk: checkpoints do not fit.
#[cfg(unix)]
#[test]
fn without_room_nothing_is_lost_and_the_code_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = experiment(folder.path(), 60);
    let (whole, out) = (folder.path().join("whole"), folder.path().join("run"));
    succeed(&mut xtask(&["run", &file.display().to_string(), "--out", &whole.display().to_string()]));

    let (program, file, out_text) =
        (env!("CARGO_BIN_EXE_xtask"), file.display().to_string(), out.display().to_string());
    // 512 bytes at a time: the configuration fits, a checkpoint does not.
    let script = r#"trap '' XFSZ; ulimit -f 16; exec "$0" run "$1" --jobs 1 --out "$2""#;
    let output = Command::new("sh").args(["-c", script, program, &file, &out_text]).output().expect("sh is everywhere");
    let (code, text) = said(&output);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("the disk is full") && text.contains("give the same command again"), "{text}");
    succeed(&mut xtask(&["run", &file, "--out", &out_text]));
    assert!(essence(&out) == essence(&whole));
}
