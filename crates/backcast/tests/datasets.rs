//! What an experiment says of a dataset before it learns from it, and that a run belongs to the dataset it has learnt from.

use backcast::data::{Dataset, Format, Row, WriteOptions, write};
use backcast::run::{self, Observer, SelectionConfig};
use backcast::{Error, Experiment};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A damped point under a noisy controller, in the widths of the pendulum: 12 episodes of 25 rows.
struct Rows {
    episodes: usize,
    seed: u64,
    /// What actions are multiplied by.
    gain: f32,
    shuffled: bool,
}

impl Rows {
    fn write(&self, path: &Path) -> PathBuf {
        let key = backcast::core::Key::new(self.seed);
        let mut rows = Vec::new();
        for episode in 0..self.episodes as u64 {
            let mut s = [0.0; 3];
            key.fold(episode).normal(&mut s);
            for t in 0..25 {
                let mut noise = [0.0; 4];
                key.fold(episode).fold(t).normal(&mut noise);
                let a = (-0.5 * s[0] + 0.3 * noise[0]).clamp(-1.0, 1.0);
                let next = [0, 1, 2].map(|i| 0.95 * s[i] + 0.1 * a + 0.01 * noise[i + 1]);
                rows.push((s, a * self.gain, -(s[0] * s[0] + s[1] * s[1]), next, t == 24));
                s = next;
            }
        }
        if self.shuffled {
            rows.sort_by(|a, b| a.1.total_cmp(&b.1));
        }
        let mut dataset = Dataset::new(3, 1, true);
        for (obs, act, reward, next, truncated) in &rows {
            let (act, next_obs) = (&[*act][..], Some(&next[..]));
            dataset.push(Row { obs, act, reward: *reward, terminal: false, truncated: *truncated, next_obs });
        }
        write(path, Format::Npz, &dataset, &WriteOptions::default()).unwrap();
        path.into()
    }
}

const SOUND: Rows = Rows { episodes: 12, seed: 2, gain: 1.0, shuffled: false };

fn experiment(file: &Path, set: &[&str]) -> Experiment {
    let text = format!(
        "name='small'\ntask='pendulum-v1'\nseeds='0..1'\n[data]\nfile='{}'\n[algorithm]\nname='td3_bc'\nhidden=[8]\n\
         [training]\nupdates=40\nbatch=8\neval_every=20\neval_episodes=1\nfinal_episodes=1\n[[methods]]\nname='T'\n",
        file.display()
    );
    Experiment::parse_with(&text, &set.iter().map(|&s| s.to_owned()).collect::<Vec<_>>()).unwrap()
}

/// Remembers what it is warned of.
#[derive(Default)]
struct Ears(Mutex<Vec<String>>);

impl Observer for Ears {
    fn stage(&self, _: &str, _: usize) {}
    fn progress(&self, _: &str, _: u64, _: u64, _: &str) {}
    fn finished(&self, _: &str, _: &str) {}
    fn warning(&self, job: &str, what: &str) {
        self.0.lock().unwrap().push(format!("{job}: {what}"));
    }
    fn stop(&self) -> bool {
        false
    }
}

/// The outcome, or the error as a sentence; and the warnings.
fn carry_out(experiment: &Experiment, out: &Path) -> (Result<run::Outcome, Error>, Vec<String>) {
    std::fs::create_dir_all(out).unwrap();
    std::fs::write(out.join("config.toml"), experiment.to_toml()).unwrap();
    let ears = Ears::default();
    let outcome = run::carry_out(experiment, out, 1, &ears);
    (outcome, ears.0.into_inner().unwrap())
}

#[test]
fn what_check_calls_an_error_ends_a_run_unless_it_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let file = Rows { shuffled: true, ..SOUND }.write(&folder.path().join("shuffled.npz"));
    let (refused, _) = carry_out(&experiment(&file, &[]), &folder.path().join("a"));
    let error = refused.unwrap_err().to_string();
    for part in ["shuffled.npz", "disagreements", "rows are out of order", "data.accept=[\"disagreements\"]"] {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    assert!(!folder.path().join("a/learners").exists());

    let accepting = experiment(&file, &["data.accept=['disagreements']"]);
    let (outcome, warnings) = carry_out(&accepting, &folder.path().join("b"));
    let told = outcome.unwrap().data.warnings;
    assert!(told.iter().any(|w| w.contains("disagreements")), "{told:?}");
    assert!(warnings.iter().any(|w| w.starts_with("data: ") && w.contains("disagreements")), "{warnings:?}");

    let (outcome, warnings) = carry_out(&experiment(&SOUND.write(&file), &[]), &folder.path().join("c"));
    assert_eq!((outcome.unwrap().data.warnings, warnings), (vec![], vec![]));
}

/// The pendulum's limit is 2.
#[test]
fn actions_beyond_the_limit_are_counted_and_most_of_them_refused() {
    let folder = tempfile::tempdir().unwrap();
    let few = Rows { gain: 4.0, ..SOUND }.write(&folder.path().join("few.npz"));
    let (outcome, warnings) = carry_out(&experiment(&few, &[]), &folder.path().join("few"));
    assert!(outcome.is_ok());
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.contains("% of the values lie beyond ±2, up to 4: they are clipped"), "{warning}");

    let most = Rows { gain: 700.0, ..SOUND }.write(&folder.path().join("most.npz"));
    let (outcome, _) = carry_out(&experiment(&most, &[]), &folder.path().join("most"));
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("actions_beyond") && error.contains("up to 700: they are in other units"), "{error}");
    let clipping = experiment(&most, &["data.clip_actions=2.0"]);
    assert!(carry_out(&clipping, &folder.path().join("clipped")).0.is_ok());
}

#[test]
fn a_run_is_not_continued_judged_or_exported_with_another_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let (live, out) = (folder.path().join("live.npz"), folder.path().join("run"));
    let small = experiment(&SOUND.write(&live), &[]);
    assert!(carry_out(&small, &out).0.is_ok());
    // Again with the same rows: nothing is wrong, and nothing is done again.
    let (again, _) = carry_out(&small, &out);
    let kept = again.unwrap().data.fingerprint;
    assert_eq!(run::fingerprint_of(&out, &small.data).unwrap(), Some(kept.clone()));
    let runs = [out.clone()];
    let quick = SelectionConfig { updates: 20, ..SelectionConfig::default() };
    assert!(run::select(&runs, None, &quick, 1, &run::Silent).is_ok());

    Rows { seed: 3, ..SOUND }.write(&live);
    let (other, _) = carry_out(&small, &out);
    let error = other.unwrap_err();
    assert!(matches!(error, Error::OtherDataset { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("live.npz") && said.contains(&kept) && said.contains("another folder"), "{said}");
    let judged = run::select(&runs, None, &quick, 1, &run::Silent).unwrap_err();
    assert!(matches!(judged, Error::OtherDataset { .. }), "{judged}");
    // A dataset that was asked for by name is not the run's, and need not be.
    let by_another = run::select(&runs, Some(&SOUND.write(&folder.path().join("b.npz"))), &quick, 1, &run::Silent);
    assert!(by_another.is_ok());
    // The old rows, and all is well.
    SOUND.write(&live);
    assert!(carry_out(&small, &out).0.is_ok());
    // Nor is the guard got rid of by losing its file.
    for damage in [Some("[{"), None] {
        match damage {
            Some(text) => std::fs::write(out.join("data.json"), text).unwrap(),
            None => std::fs::remove_file(out.join("data.json")).unwrap(),
        }
        let error = carry_out(&small, &out).0.unwrap_err().to_string();
        assert!(error.contains("begin in another folder") && !error.contains("delete"), "{error}");
    }
}

#[test]
fn the_best_share_of_one_episode_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let one = Rows { episodes: 1, ..SOUND }.write(&folder.path().join("one.npz"));
    let (outcome, _) = carry_out(&experiment(&one, &["data.best_episodes=0.1"]), &folder.path().join("a"));
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("best_episodes") && error.contains("one episode"), "{error}");
    let many = experiment(&SOUND.write(&one), &["data.best_episodes=0.1"]);
    assert!(carry_out(&many, &folder.path().join("b")).0.is_ok());
}
