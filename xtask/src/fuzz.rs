//! `cargo xtask fuzz`: feeds readers bytes until one of them breaks a rule.

use anyhow::{Context, bail, ensure};
use backcast::core::{Spec, Transitions};
use backcast::data::{self, Dataset, Format, Row, WriteOptions, store::Stored};
use backcast::{nn, storage};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every target, and the longest input that it is given.
const TARGETS: [(&str, usize); 7] = [
    ("d4rl", 16_384),
    ("npz", 4096),
    ("minari", 16_384),
    ("columns", 4096),
    ("joint", 4096),
    ("checkpoint", 4096),
    ("experiment", 8192),
];

/// Coverage instrumentation of the stable compiler, in the form that libFuzzer understands.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions -Ccodegen-units=1";

/// An input may take this long, and the process this much memory, before that counts as a fault.
const SECONDS: u32 = 10;
const MEGABYTES: u32 = 1024;

/// What is fuzzed, and for how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// d4rl, npz, minari, columns, joint, checkpoint or experiment; all of them, one after another, by default
    target: Option<String>,
    /// Inputs to try
    #[arg(long, default_value_t = 100_000)]
    runs: u64,
    /// Stop a target after so many seconds, if that is sooner
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Try this file alone, such as a crash that was found
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
}

pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    let chosen = |name: &str| args.target.as_deref().is_none_or(|target| target == name);
    let targets: Vec<_> = TARGETS.into_iter().filter(|(name, _)| chosen(name)).collect();
    if targets.is_empty() {
        let names = TARGETS.map(|(name, _)| name).join(", ");
        bail!("there is no target `{}`; there are {names}", args.target.unwrap_or_default());
    }
    let place = crate::root().join("target/fuzz");
    for (name, longest) in targets {
        let program = build(name, &place)?;
        let (corpus, crashes) = (place.join("corpus").join(name), place.join("crashes"));
        [&corpus, &crashes].into_iter().try_for_each(std::fs::create_dir_all)?;
        let mut run = Command::new(program);
        run.arg(format!("-artifact_prefix={}/{name}-", crashes.display()));
        run.args([format!("-timeout={SECONDS}"), format!("-rss_limit_mb={MEGABYTES}")]);
        match &args.input {
            Some(input) => run.arg(input),
            None => {
                seed(name, &corpus).with_context(|| format!("seeds for {name}"))?;
                run.args([
                    format!("-runs={}", args.runs),
                    format!("-max_len={longest}"),
                    "-print_final_stats=1".into(),
                ]);
                run.args(args.seconds.map(|seconds| format!("-max_total_time={seconds}"))).arg(&corpus)
            }
        };
        println!("{name}");
        let done = run.status().context("the target cannot be started")?;
        ensure!(
            done.success(),
            "{name} broke; the input is in {}, and `cargo xtask fuzz {name} --input FILE` tries it again",
            crashes.display()
        );
    }
    Ok(())
}

fn build(name: &str, place: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let version = Command::new("rustc").arg("-vV").output().context("rustc")?;
    let version = String::from_utf8(version.stdout)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let manifest = crate::root().join("fuzz/Cargo.toml");
    let mut build = Command::new(cargo);
    // With a target named, build scripts and macros are left without instrumentation.
    build.args(["build", "--release", "--locked", "--target", host, "--bin", name]).env("RUSTFLAGS", FLAGS);
    build.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(place);
    if name == "experiment" {
        build.args(["--features", "experiment"]);
    }
    ensure!(build.status().context("cargo")?.success(), "{name} does not build");
    Ok(place.join(host).join("release").join(name))
}

/// A dataset of three short episodes.
fn dataset(next_obs: bool) -> Dataset {
    let mut dataset = Dataset::new(2, 1, next_obs);
    for t in 0..7 {
        let (x, next) = (t as f32 as _, [(t + 1) as f32 as _, 1.0]);
        let next_obs = next_obs.then_some(&next[..]);
        dataset.push(Row { obs: &[x, 1.0], act: &[0.5], reward: x, terminal: t == 2, truncated: t == 4, next_obs });
    }
    dataset
}

/// Small files to begin with.
fn seed(target: &str, corpus: &Path) -> anyhow::Result<()> {
    let with = |format: Format, name: &str, dataset: &Dataset, options: &WriteOptions| -> anyhow::Result<PathBuf> {
        let path = corpus.join(name);
        if !path.exists() {
            data::write(&path, format, dataset, options)?;
        }
        Ok(path)
    };
    let plain = WriteOptions::default();
    let mut rich = dataset(true);
    rich.push_info("qpos", 1, vec![0.25; 7]);
    rich.set_note("author", "A");
    match target {
        "d4rl" => {
            with(Format::D4rl, "seed-plain", &dataset(false), &plain)?;
            with(Format::D4rl, "seed-rich", &rich, &plain)?;
            let odd = crate::root().join("crates/data/tests/fixtures/h5py_odd.h5");
            std::fs::copy(odd, corpus.join("seed-odd"))?;
        }
        "npz" => {
            for (name, format) in [("npz", Format::Npz), ("trajectories", Format::Trajectories)] {
                with(format, &format!("seed-{name}"), &rich, &plain)?;
            }
            with(Format::NeoRl, "seed-neorl", &dataset(true), &plain)?;
        }
        "minari" => {
            let folder = corpus.with_file_name("minari-seed");
            let _ = std::fs::remove_dir_all(&folder);
            data::write(&folder, Format::Minari, &rich, &plain)?;
            let metadata = std::fs::read(folder.join("data/metadata.json"))?;
            let length = u16::try_from(metadata.len())?.to_le_bytes();
            let main = std::fs::read(folder.join("data/main_data.hdf5"))?;
            std::fs::write(corpus.join("seed"), [&length[..], &metadata, &main].concat())?;
        }
        "columns" => {
            with(Format::Columns, "seed-log", &rich, &plain)?;
            let mut rows = Transitions::new(Spec::new(2, 1));
            (0..5).for_each(|t| rows.push(&[0.0, 1.0], &[0.5], 1.0, &[1.0, 1.0], t == 4));
            Stored::write(&corpus.join("seed-transitions"), &rows)?;
        }
        "joint" => {
            // Two agents, two numbers each, three actions; two episodes.
            let numbers: Vec<_> = (0..24).map(|i| (i % 3) as f32 as _).collect();
            let ends = [false, false, true, false, false, true];
            let rich: [(&str, &[usize]); 4] =
                [("next_observations", &[6, 2, 2]), ("state", &[6, 3]), ("next_state", &[6, 3]), ("other", &[6])];
            for (name, more) in [("seed-plain", &rich[..0]), ("seed-rich", &rich)] {
                let mut file = data::npz::create(&corpus.join(name))?;
                let always: [(&str, &[usize]); 3] =
                    [("observations", &[6, 2, 2]), ("actions", &[6, 2]), ("rewards", &[6])];
                for (array, shape) in always.iter().chain(more) {
                    file.reals(array, shape, &numbers[..shape.iter().product()])?;
                }
                file.flags("terminals", &ends)?;
                file.finish()?;
            }
        }
        "checkpoint" => {
            let mut store = nn::Store::default();
            let key = backcast::core::Key::new(0);
            nn::Mlp::new(&mut store, "net", &[3, 2, 1], 1, nn::Activation::Relu, nn::Init::FanIn, key);
            storage::save(&mut store, &BTreeMap::from([("note".into(), "text".into())]), &corpus.join("seed"))?;
        }
        _ => {
            let experiments = std::fs::read_dir(crate::root().join("experiments"))?;
            for path in experiments.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()? {
                if path.extension().is_some_and(|e| e == "toml") {
                    std::fs::copy(&path, corpus.join(path.file_name().context("a name")?))?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_source_a_place_in_the_manifest_and_seeds_that_fit() {
        let root = crate::root();
        let manifest = std::fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
        let folder = std::env::temp_dir().join(format!("backcast-seeds-{}", std::process::id()));
        for (name, longest) in TARGETS {
            assert!(root.join(format!("fuzz/targets/{name}.rs")).exists(), "{name}");
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            let corpus = folder.join(name);
            std::fs::create_dir_all(&corpus).unwrap();
            seed(name, &corpus).unwrap();
            let seeds: Vec<_> =
                std::fs::read_dir(&corpus).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).collect();
            assert!(!seeds.is_empty() && seeds.iter().all(|n| *n <= longest as u64), "{name}: {seeds:?}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
