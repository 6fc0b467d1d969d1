//! `cargo xtask doctor`: what this machine has, and what that means for runs.

use std::process::Command;

/// One thing looked at.
struct Finding {
    what: &'static str,
    found: String,
    means: String,
}

pub(crate) fn main() -> anyhow::Result<()> {
    for Finding { what, found, means } in findings() {
        println!("{what:>10}: {found}\n{:12}{means}", "");
    }
    Ok(())
}

fn findings() -> Vec<Finding> {
    vec![instructions(), tiles(), cores(), memory(), disk(), mujoco(), python(), queues(), git()]
}

fn instructions() -> Finding {
    let isa = backcast::nn::isa();
    let means = match isa {
        backcast::nn::Isa::Avx512 => "the widest kernels there are; the bits of AVX2 and NEON",
        backcast::nn::Isa::Avx2 => "half the width of AVX-512; the same bits, products about half as fast",
        backcast::nn::Isa::Neon => "the same bits as on x86 with AVX2 or AVX-512; how fast, nobody has measured",
        backcast::nn::Isa::Portable => "no vector kernels for this processor: other last digits, several times slower",
    };
    Finding { what: "kernels", found: format!("{isa:?}"), means: means.into() }
}

fn tiles() -> Finding {
    let (found, means) = match backcast::nn::amx_available() {
        true => (
            "AMX tiles",
            "precision = \"split\" or \"bf16\" makes large products faster; what that changes is in the book",
        ),
        false => {
            ("no AMX tiles", "precision = \"split\" and \"bf16\" are computed without tiles, slowly: leave it at full")
        }
    };
    Finding { what: "tiles", found: found.into(), means: means.into() }
}

fn cores() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let means =
        format!("{cores} jobs at a time unless --jobs says otherwise; a job is a model or an algorithm of one seed");
    Finding { what: "cores", found: cores.to_string(), means }
}

fn memory() -> Finding {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<f64>().ok().map(|kilobytes| kilobytes / 1024.0 / 1024.0)
    };
    let Some((free, all)) = of("MemAvailable:").zip(of("MemTotal:")) else {
        return Finding { what: "memory", found: "unknown".into(), means: "this system does not say in /proc".into() };
    };
    let means = match free {
        free if free < 2.0 => {
            "little: a dataset of a million rows with its copies needs about one GiB; close something"
        }
        _ => {
            "a million rows of 17 + 6 columns take 0.2 GiB; an algorithm that imagines keeps as much again for each job"
        }
    };
    Finding { what: "memory", found: format!("{free:.1} of {all:.1} GiB free"), means: means.into() }
}

fn disk() -> Finding {
    let unknown = || Finding { what: "disk", found: "unknown".into(), means: "`df` does not say".into() };
    let Some(text) = said("df", &["-Pk", "."]) else { return unknown() };
    let free = text.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)).and_then(|n| n.parse::<f64>().ok());
    let Some(free) = free.map(|kilobytes| kilobytes / 1024.0 / 1024.0) else { return unknown() };
    let means = match free {
        free if free < 1.0 => "too little for long: a full disk stops a run with exit code 3, and nothing is lost",
        _ => {
            "a run of small nets takes some megabytes; what is imagined is in the checkpoints of algorithms that imagine"
        }
    };
    Finding { what: "disk", found: format!("{free:.1} GiB free here"), means: means.into() }
}

fn mujoco() -> Finding {
    let (found, means) = match backcast::envs::mujoco::Install::find() {
        Ok(install) => (
            install.library().version().to_owned(),
            "hopper, half-cheetah, walker2d, reacher, ant and antmaze can be simulated; the release is part of a score",
        ),
        Err(_) => (
            "none".to_owned(),
            "environments of our own physics need none; `cargo xtask mujoco setup` fetches it for the others",
        ),
    };
    Finding { what: "MuJoCo", found, means: means.into() }
}

fn python() -> Finding {
    let program = std::env::var("BACKCAST_PYTHON").unwrap_or_else(|_| "python3".into());
    let packages = ["numpy", "onnxruntime", "tensorboard", "h5py"];
    let Some(version) = said(&program, &["--version"]) else {
        let means = "nothing needs it; tests that compare with Python's readers say SKIPPED";
        return Finding { what: "Python", found: "none".into(), means: means.into() };
    };
    let has = |package: &&str| said(&program, &["-c", &format!("import {package}")]).is_some();
    let (there, absent): (Vec<&str>, Vec<&str>) = packages.iter().partition(|package| has(package));
    let means = match absent.is_empty() {
        true => "every comparison with Python's readers is run".to_owned(),
        false => format!("tests that compare with {} say SKIPPED; nothing else needs it", absent.join(", ")),
    };
    let with = if there.is_empty() { String::new() } else { format!(" with {}", there.join(", ")) };
    Finding { what: "Python", found: format!("{}{with}", version.trim()), means }
}

fn queues() -> Finding {
    let there: Vec<&str> = [("sbatch", "Slurm"), ("hq", "HyperQueue")]
        .into_iter()
        .filter(|(program, _)| is_there(program))
        .map(|(_, name)| name)
        .collect();
    match there.is_empty() {
        true => Finding {
            what: "queues",
            found: "none".into(),
            means: "sweeps run here, on all cores; --engine slurm or hq where such a queue is".into(),
        },
        false => Finding { what: "queues", found: there.join(", "), means: "for sweeps: --engine slurm or hq".into() },
    }
}

fn git() -> Finding {
    match said("git", &["--version"]) {
        Some(version) => Finding {
            what: "git",
            found: version.trim().into(),
            means: "reports name the commit of the source, and whether files differ from it".into(),
        },
        None => Finding { what: "git", found: "none".into(), means: "reports cannot name the source's commit".into() },
    }
}

/// Whether there is a program of this name; a queue's own may refuse to say anything without its server.
fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// What a program says, if it is there and succeeds.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_found_is_said_with_what_it_means() {
        let all = findings();
        assert!(all.len() >= 8);
        for Finding { what, found, means } in all {
            assert!(!found.is_empty() && means.len() > 20, "{what}: {found}: {means}");
        }
        assert_eq!(said("a-program-that-does-not-exist", &[]), None);
        assert!(is_there("sh") && !is_there("a-program-that-does-not-exist"));
    }
}
