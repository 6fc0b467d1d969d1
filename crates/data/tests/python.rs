//! What others say of our files, and we of theirs: h5py with D4RL's reading rules, numpy, and Minari itself.
//!
//! Needs a `python3` with numpy, h5py and minari (for the arrow layout also pyarrow); another than the one on the path can be
//! named by the variable `BACKCAST_PYTHON`. Without one, each test says loudly that it was skipped.
#![allow(clippy::unnecessary_cast)] // `Real` is `f64` in some builds.

mod shared;

use backcast_core::Real;
use backcast_data::{Dataset, Format, ReadOptions, WriteOptions, read, write};
use shared::{Next, counters};
use std::path::Path;
use std::process::Command;

/// A Python with the modules, or a loud line and `None`.
#[allow(clippy::print_stderr)]
fn python(test: &str, modules: &str) -> Option<String> {
    let python = std::env::var("BACKCAST_PYTHON").unwrap_or_else(|_| "python3".into());
    let tried = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    if tried.is_ok_and(|done| done.status.success()) {
        return Some(python);
    }
    eprintln!("SKIPPED: {test}: there is no {python} with {modules}");
    None
}

/// Runs `script` with `path` as its argument; its assertions are the test.
fn runs(python: &str, script: &str, path: &Path) {
    let done = Command::new(python).arg("-c").arg(script).arg(path).output().unwrap();
    assert!(done.status.success(), "{}\n{}", script, String::from_utf8_lossy(&done.stderr));
}

/// Episodes of 4, 3 and 5 rows: ended, cut, cut. With infos and a note.
fn dataset(next: Next) -> Dataset {
    let mut dataset = counters(&[4, 3, 5], &[true, false, false], next);
    dataset.push_info("qpos", 2, (0..24).map(|i| i as Real / 4.0).collect());
    dataset.set_note("author", "[\"A\"]");
    dataset
}

const D4RL: &str = r#"
import sys, h5py, numpy as np
# The rules of offline_env.get_dataset: every array by its path, scalars where there is no axis.
data = {}
with h5py.File(sys.argv[1], "r") as f:
    def keep(name, item):
        if isinstance(item, h5py.Dataset):
            try: data[name] = item[:]
            except ValueError: data[name] = item[()]
    f.visititems(keep)
n = data["observations"].shape[0]
assert data["observations"].shape == (12, 1) and data["actions"].shape == (12, 1), data["observations"].shape
if data["rewards"].shape == (n, 1): data["rewards"] = data["rewards"][:, 0]
assert data["rewards"].shape == (n,)
if data["terminals"].shape == (n, 1): data["terminals"] = data["terminals"][:, 0]
assert data["terminals"].shape == (n,)
# The rules of qlearning_dataset.
rows = []
for i in range(n - 1):
    if bool(data["timeouts"][i]): continue
    rows.append((float(data["observations"][i, 0]), float(data["observations"][i + 1, 0]), bool(data["terminals"][i])))
assert rows[0] == (1000.0, 1001.0, False) and rows[3] == (1003.0, 2000.0, True), rows
assert len(rows) == 10 and not any(r[0] == 2002.0 for r in rows), rows
assert data["infos/qpos"].shape == (12, 2) and data["infos/qpos"][1, 0] == 0.5
assert bytes(data["metadata/notes"]).decode() == '{"author":"[\\"A\\"]"}'
"#;

#[test]
fn d4rls_own_rules_read_our_hdf5() {
    let Some(python) = python("d4rls_own_rules_read_our_hdf5", "numpy, h5py") else { return };
    let directory = tempfile::tempdir().unwrap();
    for next in [Next::None, Next::True] {
        let path = directory.path().join("ours.hdf5");
        write(&path, Format::D4rl, &dataset(next), &WriteOptions::default()).unwrap();
        runs(&python, D4RL, &path);
    }
}

const NPZ: &str = r#"
import sys, numpy as np
folder = sys.argv[1]
d = np.load(folder + "/npz.npz")
assert d["observations"].shape == (12, 1) and d["terminals"].dtype == bool and d["infos/qpos"][1, 0] == 0.5
t = np.load(folder + "/trajectories.npz")
assert list(t["offsets"]) == [0, 4, 7, 12]
n = dict(np.load(folder + "/neorl.npz"))
# The rules of NeoRL's loader: a zero before the index, then the first two trajectories.
n["index"] = np.insert(n["index"], 0, 0)
two = {k: (v[0:2] if k == "index" else v[0:int(n["index"][2])]) for k, v in n.items()}
assert n["truncated"].shape == (12, 1) and n["truncated"].sum() == 2
# And of NeoRL-2's, which counts trajectories by both flags.
assert list(np.where(np.logical_or(n["done"], n["truncated"]))[0] + 1) == [4, 7, 12]
assert two["obs"].shape == (7, 1) and two["reward"].shape == (7, 1) and two["done"].sum() == 1, two
# And theirs for us: packed, of other types and orders, in the versions of the format.
rng = np.arange(24.0)
np.savez_compressed(folder + "/theirs.npz", observations=np.asfortranarray(rng.reshape(8, 3)), actions=rng[:16].reshape(8, 2).astype(">f8") / 64,
    rewards=rng[:8, None].astype(np.float16), terminals=(rng[:8] == 3).astype(np.uint8), timeouts=rng[:8] == 7, label=np.array("text"))
np.savez(folder + "/list.npz", **{f"{i}/{k}": v for i in range(12) for k, v in dict(observations=rng[:6].reshape(2, 3) + i,
    actions=rng[:4].reshape(2, 2), rewards=rng[:2], terminals=np.array([False, i == 5])).items()})
np.savez(folder + "/pickled.npz", observations=np.array([{}, None]), actions=rng[:2, None])
"#;

#[test]
fn numpy_reads_our_npz_and_we_read_numpys() {
    let Some(python) = python("numpy_reads_our_npz_and_we_read_numpys", "numpy") else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for format in [Format::Npz, Format::Trajectories, Format::NeoRl] {
        let without = if format == Format::NeoRl { vec!["infos".into(), "notes".into()] } else { vec![] };
        let options = WriteOptions { without, ..WriteOptions::default() };
        write(&path(&format!("{format}.npz")), format, &dataset(Next::True), &options).unwrap();
    }
    runs(&python, NPZ, directory.path());
    let theirs = read(&path("theirs.npz"), &ReadOptions::default()).unwrap();
    for t in 0..8 {
        let (row, x) = (theirs.row(t), t as Real);
        assert_eq!(row.obs, [3.0 * x, 3.0 * x + 1.0, 3.0 * x + 2.0]);
        assert_eq!((row.act[1], row.reward, row.terminal, row.truncated), ((2.0 * x + 1.0) / 64.0, x, t == 3, t == 7));
    }
    assert_eq!(Format::detect(&path("list.npz")).unwrap(), Format::Trajectories);
    let list = read(&path("list.npz"), &ReadOptions::default()).unwrap();
    assert_eq!((list.len(), list.episodes().len(), list.row(23).obs), (24, 12, &[14.0, 15.0, 16.0][..]));
    assert_eq!((0..24).filter(|&t| list.row(t).terminal).collect::<Vec<_>>(), [11]);
    let error = read(&path("pickled.npz"), &ReadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("`observations`"), "{error}");
}

const MINARI_READS: &str = r#"
import sys, numpy as np, minari
d = minari.MinariDataset(sys.argv[1] + "/data")
assert d.total_episodes == 3 and d.total_steps == 12 and d.spec.dataset_id == "backcast/ours-v0", d.spec
assert d.observation_space.shape == (1,) and d.action_space.high[0] == 1.0, d.action_space
e = list(d.iterate_episodes())
assert [len(x.rewards) for x in e] == [4, 3, 5] and e[1].observations[:, 0].tolist() == [2000, 2001, 2002, 2003]
assert e[0].terminations.tolist() == [False] * 3 + [True] and e[1].truncations.tolist() == [False, False, True]
assert e[0].observations.dtype == d.observation_space.dtype and d.observation_space.contains(e[0].observations[0])
assert e[2].infos["qpos"][0].tolist() == [3.5, 3.75]
assert d.storage.metadata["author"] == {"A"}
few = d.filter_episodes(lambda x: bool(x.truncations[-1]))
assert few.total_episodes == 2 and few.total_steps == 8
"#;

const MINARI_WRITES: &str = r#"
import sys, json, os, numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import flatten
from minari.dataset.minari_storage import MinariStorage
from minari.data_collector import EpisodeBuffer
form, root = sys.argv[1].rsplit("/", 1)[1], sys.argv[1] + "/data"
os.makedirs(root)
box = lambda *shape: spaces.Box(-np.inf, np.inf, shape, np.float64)
obs = spaces.Dict({"observation": box(3), "goal": spaces.Box(-1, 1, (2,), np.float32), "inner": spaces.Dict({"b": spaces.Discrete(3, start=1), "a": box(2, 2)}),
    "pair": spaces.Tuple([spaces.MultiBinary(2), spaces.MultiDiscrete([2, 3])])})
storage = MinariStorage.new(root, obs, spaces.Box(-1, 1, (2,), np.float32), data_format=form)
flat = []
for e, n in enumerate([3, 2, 12]):
    m = n + 1
    whole = {"observation": 100.0 * e + np.arange(3 * m).reshape(m, 3), "goal": np.full((m, 2), 0.5 * e, np.float32),
        "inner": {"b": np.arange(m) % 3 + 1, "a": np.arange(4 * m).reshape(m, 2, 2) / 8.0},
        "pair": (np.arange(2 * m, dtype=np.int8).reshape(m, 2) % 2, np.stack([np.arange(m) % 2, np.arange(m) % 3], 1))}
    for t in range(m):
        one = {"observation": whole["observation"][t], "goal": whole["goal"][t], "inner": {k: v[t] for k, v in whole["inner"].items()}, "pair": tuple(v[t] for v in whole["pair"])}
        flat.append(flatten(obs, one))
    storage.update_episodes([EpisodeBuffer(id=None, seed=7, options=None, observations=whole, actions=np.arange(2 * n).reshape(n, 2).astype(np.float32) / 64,
        rewards=np.arange(n) / 4.0, terminations=np.arange(n) == (n - 1 if e == 0 else -1), truncations=np.arange(n) == (n - 1 if e == 2 else -1),
        infos={"qpos": np.arange(2.0 * m).reshape(m, 2), "deep": {"x": np.arange(float(m))}, **({"some": np.arange(5.0)} if form == "hdf5" else {})})])
np.savetxt(sys.argv[1] + "/flat.txt", np.array(flat))
storage.update_metadata({"dataset_id": "toy/all-v0", "minari_version": "0.5.3", "author": {"A"}})
"#;

#[test]
fn minari_reads_our_datasets_and_we_read_minaris() {
    let test = "minari_reads_our_datasets_and_we_read_minaris";
    for (format, name, modules) in [
        (Format::Minari, "hdf5", "numpy, h5py, PIL, minari"),
        (Format::MinariArrow, "arrow", "numpy, PIL, minari, pyarrow"),
    ] {
        if format == Format::MinariArrow && !cfg!(feature = "arrow") {
            continue;
        }
        let Some(python) = python(test, modules) else { return };
        let directory = tempfile::tempdir().unwrap();
        let ours = directory.path().join("ours");
        write(&ours, format, &dataset(Next::True), &WriteOptions::default()).unwrap();
        runs(&python, MINARI_READS, &ours);

        let theirs = directory.path().join(name);
        runs(&python, MINARI_WRITES, &theirs);
        assert_eq!(Format::detect(&theirs).unwrap(), format);
        let dataset = read(&theirs, &ReadOptions::default()).unwrap();
        let text = std::fs::read_to_string(theirs.join("flat.txt")).unwrap();
        let flat: Vec<Vec<Real>> =
            text.lines().map(|line| line.split(' ').map(|x| x.parse().unwrap()).collect()).collect();
        assert_eq!((dataset.len(), dataset.widths()), (17, [flat[0].len(), 2]));
        // The second episode has no flag, and another follows: it was cut.
        let ends: Vec<_> = dataset.episodes().iter().map(|e| (e.rows, e.end)).collect();
        use backcast_data::End::{Terminal, Truncated};
        assert_eq!(ends, [(3, Terminal), (2, Truncated), (12, Truncated)]);
        let mut at = 0;
        for episode in dataset.episodes() {
            for t in episode.first..episode.after() {
                assert_eq!(
                    (dataset.row(t).obs, dataset.row(t).next_obs),
                    (&flat[at][..], Some(&flat[at + 1][..])),
                    "row {t}"
                );
                at += 1;
            }
            at += 1;
        }
        let infos: Vec<_> =
            dataset.infos().iter().map(|info| (info.name.as_str(), info.width, info.values[4])).collect();
        assert_eq!(infos, [("deep/x", 1, 1.0), ("qpos", 2, 4.0)], "{name}");
        assert_eq!((&dataset.notes()["dataset_id"][..], &dataset.notes()["author"][..]), ("toy/all-v0", "[\"A\"]"));
    }
}

/// Fails with the first of the cut files in a folder that h5py opens.
const OPENS: &str = r#"
import sys, glob, h5py
for path in sorted(glob.glob(sys.argv[1] + "/cut_*.h5")):
    try:
        h5py.File(path).close()
        raise SystemExit(path + " was opened")
    except OSError: pass
"#;

#[test]
fn we_refuse_the_cut_files_that_h5py_refuses_and_read_thousands_of_chunks() {
    let test = "we_refuse_the_cut_files_that_h5py_refuses_and_read_thousands_of_chunks";
    let Some(python) = python(test, "numpy, h5py") else { return };
    let directory = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/layouts.py");
    let done = Command::new(&python).arg(script).arg(directory.path()).arg("20").output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let files = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|path| path.to_string_lossy().contains("layout_")).collect();
    assert!(files.len() >= 12);
    for (number, path) in files.iter().enumerate() {
        let dataset = read(path, &ReadOptions::default()).unwrap_or_else(|error| panic!("{error}"));
        assert!(dataset.len() >= 800, "{}: {} rows", path.display(), dataset.len());
        for t in 0..dataset.len() {
            let (row, x) = (dataset.row(t), t as Real);
            assert_eq!((row.obs, row.reward), (&[x, x + 0.125, x + 0.25][..], x / 2.0), "{}, row {t}", path.display());
            assert_eq!((row.terminal, row.truncated), (t % 40 == 19, t % 40 == 39), "{}, row {t}", path.display());
        }
        let bytes = std::fs::read(path).unwrap();
        let (seed, key) = (number as u64, backcast_core::Key::new(number as u64).name("cut"));
        for i in 0..20 {
            let length = key.below(bytes.len(), i);
            let cut = directory.path().join(format!("cut_{number}_{i}.h5"));
            std::fs::write(&cut, &bytes[..length]).unwrap();
            let refused = read(&cut, &ReadOptions { format: Some(Format::D4rl), ..ReadOptions::default() });
            assert!(refused.is_err(), "{}, seed {seed}, cut to {length}", path.display());
        }
    }
    runs(&python, OPENS, directory.path());
}

/// Cuts behind a link by a path, which no listing of arrays has.
const LINKS: &str = r#"
import sys, h5py, numpy as np
for name, versions in (("old", None), ("new", "latest")):
    with h5py.File(sys.argv[1] + f"/{name}.h5", "w", libver=versions) as f:
        f["observations"], f["actions"] = np.zeros((6, 2), "f4"), np.zeros((6, 1), "f4")
        f["rewards"], f["terminals"] = np.zeros(6, "f4"), np.zeros(6, bool)
        f["there/timeouts"] = np.arange(6) % 3 == 2
        f["timeouts"] = h5py.SoftLink("/there/timeouts")
        f["infos/other"] = h5py.ExternalLink("elsewhere.h5", "/qpos")
        f["kind"], f["name"], f["number"] = np.dtype("f4"), "a name", 3.5
        f.create_group("empty")
"#;

#[test]
fn links_by_a_path_and_single_values_are_named() {
    let test = "links_by_a_path_and_single_values_are_named";
    let Some(python) = python(test, "numpy, h5py") else { return };
    let directory = tempfile::tempdir().unwrap();
    runs(&python, LINKS, directory.path());
    for name in ["old", "new"] {
        let dataset = read(&directory.path().join(format!("{name}.h5")), &ReadOptions::default()).unwrap();
        let mut unread: Vec<_> = dataset.unread().iter().map(|unread| &unread.name[..]).collect();
        unread.sort_unstable();
        assert_eq!(unread, ["infos/other", "name", "number", "timeouts"], "{name}");
        assert_eq!(dataset.infos().iter().map(|info| &info.name[..]).collect::<Vec<_>>(), ["there/timeouts"], "{name}");
    }
}
