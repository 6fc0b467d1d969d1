//! `cargo xtask export`: a trained policy for other programs, and a card that says where it comes from.

use anyhow::{Context, bail};
use backcast::export::{ExportedPolicy, Head, OPSET};
use backcast::run::{self, LearnResult, Summary};
use backcast::storage::{Local, replace};
use backcast::{Experiment, Method};
use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

/// Which policy, and where to.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder of the run
    run: PathBuf,
    /// Whose policy, where there are several methods
    #[arg(long, value_name = "NAME")]
    method: Option<String>,
    /// Of which seed; the first by default
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The form of the file
    #[arg(long, value_enum)]
    to: Form,
    /// The file; a card is written beside it, FILE.md
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// The form of an exported policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// Tensors by name, and in the header what is done with them
    Safetensors,
    /// A graph from raw observations to actions, for any inference engine
    Onnx,
}

pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    let experiment = run::experiment_of(&args.run)?;
    let method = method(&experiment, args.method.as_deref())?;
    let seed = args.seed.unwrap_or(experiment.seeds.0.start);
    let algorithm = experiment.algorithm_of(method)?;
    let mut agent = run::trained(&args.run, &experiment, method, seed)?;
    let policy = ExportedPolicy::of(&mut agent, &algorithm)?;
    let bytes = match args.to {
        Form::Safetensors => policy.to_safetensors(),
        Form::Onnx => policy.to_onnx(),
    };
    crate::report::not_a_record(&args.run, &args.out)?;
    let text = card(&args, &experiment, method, seed, &policy)?;
    replace(&Local, &args.out, &bytes).with_context(|| args.out.display().to_string())?;
    let mut name = args.out.clone().into_os_string();
    name.push(".md");
    let path = PathBuf::from(name);
    replace(&Local, &path, text.as_bytes()).with_context(|| path.display().to_string())?;
    println!("{}: {}, seed {seed}, {} bytes\n{}", args.out.display(), method.name, bytes.len(), path.display());
    Ok(())
}

/// The method of this name, or the only one.
fn method<'a>(experiment: &'a Experiment, name: Option<&str>) -> anyhow::Result<&'a Method> {
    let all = || experiment.methods.iter().map(|method| method.name.as_str()).collect::<Vec<_>>().join(", ");
    match name {
        Some(name) => match experiment.methods.iter().find(|method| method.name == name) {
            Some(method) => Ok(method),
            None => bail!("--method: there is no method `{name}`; there are: {}", all()),
        },
        None if experiment.methods.len() == 1 => Ok(&experiment.methods[0]),
        None => bail!("say whose policy by --method: {}", all()),
    }
}

/// A file of results, if it is there.
fn read<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(backcast::json::from_str(&text).with_context(|| path.display().to_string())?)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| path.display().to_string()),
    }
}

/// What whoever finds the file must know.
fn card(
    args: &Args,
    experiment: &Experiment,
    method: &Method,
    seed: u64,
    policy: &ExportedPolicy,
) -> anyhow::Result<String> {
    let mut text = String::new();
    let (spec, limit) = (policy.spec(), policy.act_limit);
    let form = match args.to {
        Form::Safetensors => {
            "safetensors; what is done with the tensors stands as JSON under `policy` in its header".into()
        }
        Form::Onnx => format!(
            "ONNX, opset {OPSET}; input `obs`, outputs `action`, `mean`{}",
            match policy.head {
                Head::Tanh => "",
                _ => ", `log_std`",
            }
        ),
    };
    writeln!(text, "# {}: {}, seed {seed}\n", experiment.name, method.name)?;
    if !experiment.about.is_empty() {
        writeln!(text, "{}\n", experiment.about.trim())?;
    }
    writeln!(text, "| | |\n|---|---|")?;
    writeln!(text, "| task | `{}` |", experiment.task)?;
    writeln!(text, "| algorithm | `{}` |", policy.algorithm)?;
    writeln!(text, "| file | {form} |")?;
    writeln!(text, "| observations | `[rows, {}]`, raw: the normaliser is part of the policy |", spec.obs)?;
    writeln!(
        text,
        "| actions | `[rows, {}]` in [−{limit}, {limit}], deterministic: as they are evaluated |",
        spec.act
    )?;
    let mean = match policy.head {
        Head::Tanh => "the action: there is no distribution",
        Head::GaussianAroundTanh => "the action; `log_std` is of a Gaussian around it",
        Head::TanhGaussian { .. } => "of the Gaussian before the tanh, and so is `log_std`: action = limit·tanh(mean)",
        Head::Clamped => {
            "of the Gaussian in units of the limit, and so is `log_std`: action = limit·clamp(mean, −1, 1)"
        }
    };
    writeln!(text, "| `mean` | {mean} |")?;
    let folder = run::learner_folder(&args.run, method, seed);
    match read::<LearnResult>(&folder.join("result.json"))? {
        Some(result) => {
            let episodes = experiment.training.final_episodes;
            let error = result.score_std / (episodes as f64).sqrt();
            writeln!(
                text,
                "| score of this policy | {:.2}, standard error {error:.2}, over {episodes} episodes |",
                result.score
            )?;
            for warning in &result.warnings {
                writeln!(text, "| warning | {warning} |")?;
            }
        }
        None => writeln!(text, "| score of this policy | none: its training has not come to its end |")?,
    }
    if let Some(summary) = read::<Summary>(&args.run.join("summary.json"))? {
        if let Some(own) = summary.methods.iter().find(|own| own.name == method.name) {
            let seeds = own.seeds.len();
            writeln!(
                text,
                "| score of the method | {:.1} interquartile mean, {} {}, over {seeds} seed{} |",
                own.iqm,
                own.spread.name(),
                own.spread,
                if seeds == 1 { "" } else { "s" }
            )?;
        }
        writeln!(text, "| source | {} |", summary.commit)?;
    }
    let data = experiment.data_of(method)?;
    let of_method = Experiment { data, ..experiment.clone() };
    let environment = backcast::envs::make(&experiment.task).map_err(backcast::Error::from)?;
    match run::load(&of_method, environment.spec()) {
        Ok(dataset) => {
            run::is_of_run(&args.run, &of_method.data, &dataset)?;
            writeln!(text, "| data | {}; {} transitions |", dataset.summary.source, dataset.rows().len())?;
            for warning in &dataset.summary.warnings {
                writeln!(text, "| warning | {warning} |")?;
            }
        }
        Err(error) => writeln!(text, "| data | not read: {error} |")?,
    }
    // Kept when it was learnt from, and so there whatever has become of the file.
    let kept = run::fingerprint_of(&args.run, &of_method.data)?.unwrap_or_else(|| "not kept".into());
    writeln!(text, "| fingerprint of the data | `{kept}` |")?;
    writeln!(
        text,
        "\nA score is the mean normalised return of the last policy, 0 for a random policy and 100 for the task's"
    )?;
    writeln!(text, "reference, or the mean return where the task has no reference.")?;
    writeln!(text, "\n## Configuration\n\n```toml\n{}```", experiment.to_toml())?;
    Ok(text)
}
