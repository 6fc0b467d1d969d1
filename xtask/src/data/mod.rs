//! `cargo xtask data`: look into datasets of every format, convert and divide them, describe and make them.

mod convert;
mod list;

use anyhow::Context;
use backcast::data::{self, DataError, Dataset, Format, ReadOptions, Truncations, WriteOptions, store::Stored};
use backcast::{DataConfig, envs, online, run};
use clap::Subcommand;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What to do with a dataset.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tasks whose datasets can be generated, and the datasets in a folder with their formats
    List {
        /// The folder
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// What is in a dataset: arrays, rows, episodes, returns, ranges
    Show {
        /// A file or folder of any format
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// What is wrong with a dataset; fails if anything would spoil learning from it
    Check {
        /// A file or folder of any format
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a dataset in another format, and read it back to see that not a bit has changed
    Convert(convert::Convert),
    /// Divide a dataset in two: by episodes at random, by their returns, or by rows
    Split(convert::Split),
    /// A page of markdown that says what a dataset is
    Card {
        /// A file or folder of any format
        file: PathBuf,
        #[command(flatten)]
        reading: Reading,
        /// The heading; the file's name by default
        #[arg(long)]
        name: Option<String>,
        /// The file to write instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Make a dataset: of a maze with the noisy way-point controller, of the pendulum, or of an algorithm that learns online
    Generate {
        /// The task, such as maze2d-umaze or hopper-medium-replay
        task: String,
        /// Rows to record
        #[arg(long, default_value_t = 1_000_000)]
        rows: usize,
        /// Seed of the generator
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Standard deviation of the noise on the controller's actions
        #[arg(long, default_value_t = 0.5)]
        noise: f64,
        /// Steps after which an online algorithm's run ends
        #[arg(long)]
        steps: Option<usize>,
        /// Without the oddities of the published files: every observation fresh, every reward for the state it leads to
        #[arg(long)]
        clean: bool,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        writing: Writing,
    },
}

/// How a dataset is read.
#[derive(clap::Args)]
struct Reading {
    /// What the file is, where its content does not tell: d4rl, npz, neorl, trajectories, minari, minari-arrow or columns
    #[arg(long, value_name = "FORMAT")]
    from: Option<Format>,
    /// Where it was truncated: `recorded`, `jumps` (antmaze: where the position jumps), or a horizon such as 1000
    #[arg(long, value_name = "CUTS", default_value = "recorded", value_parser = truncations)]
    truncations: Truncations,
    /// Pull actions back into ±LIMIT, as D4RL does with adroit's demonstrations
    #[arg(long, value_name = "LIMIT", value_parser = limit)]
    clip: Option<f32>,
}

/// How a dataset is written.
#[derive(clap::Args)]
struct Writing {
    /// The format, where the name does not tell: d4rl, npz, neorl, trajectories, minari, minari-arrow or columns
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Leave something out: infos, NAME of an info, notes, next_observations, NAME or folder of an array that was not read, or
    /// unread for all of those; may be given again
    #[arg(long, value_name = "FIELD")]
    without: Vec<String>,
    /// To Minari: let an episode's last observation stand in for the one after it, where the dataset does not know that one
    #[arg(long)]
    repeat_final: bool,
}

fn truncations(text: &str) -> Result<Truncations, String> {
    match (text, text.parse()) {
        ("recorded", _) => Ok(Truncations::Recorded),
        ("jumps", _) => Ok(Truncations::Jumps),
        (_, Ok(rows)) if rows > 0 => Ok(Truncations::Horizon(rows)),
        _ => Err("neither `recorded`, nor `jumps`, nor a number of rows".into()),
    }
}

fn limit(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|limit| *limit > 0.0).ok_or_else(|| "a limit is a positive number".into())
}

impl Reading {
    fn read(&self, path: &Path) -> anyhow::Result<Dataset> {
        let clip_actions = self.clip.map(|limit| limit as _);
        data::read(path, &ReadOptions { format: self.from, truncations: self.truncations, clip_actions })
            .map_err(|e| advise(path, e))
    }
}

impl Writing {
    fn format(&self, path: &Path) -> anyhow::Result<Format> {
        anyhow::ensure!(!path.as_os_str().is_empty(), "an empty path names no file to write");
        self.format.or_else(|| Format::from_name_of(path)).with_context(|| {
            let names = Format::ALL.map(Format::name).join(", ");
            format!("{}: its name tells no format; give --format, one of {names}", path.display())
        })
    }

    /// Writes `log`, making folders on the way.
    fn write_quietly(&self, path: &Path, dataset: &Dataset) -> anyhow::Result<()> {
        let format = self.format(path)?;
        make_room(path)?;
        let options = WriteOptions { without: self.without.clone(), repeat_final: self.repeat_final };
        data::write(path, format, dataset, &options).map_err(|e| advise(path, e))
    }

    /// The same, and says so.
    fn write(&self, path: &Path, dataset: &Dataset) -> anyhow::Result<()> {
        self.write_quietly(path, dataset)?;
        let format = self.format(path)?;
        println!("{}: {format}, {} rows, {} episodes", path.display(), dataset.len(), dataset.episodes().len());
        Ok(())
    }
}

/// The folders above `path`.
fn make_room(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    folder.map_or(Ok(()), |folder| std::fs::create_dir_all(folder).with_context(|| folder.display().to_string()))
}

/// The error, and what to do next where it does not say so itself.
fn advise(path: &Path, error: DataError) -> anyhow::Error {
    let shown = path.display();
    let next = match &error {
        DataError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            "`cargo xtask data list FOLDER` names the datasets of a folder".into()
        }
        DataError::Io { .. } => "see that the file may be read, its folder written, and the disk is not full".into(),
        DataError::Missing { .. } | DataError::Shape { .. } | DataError::Kind { .. } => format!(
            "`cargo xtask data show {shown}` lists its arrays; if it is another format than was found, name it with --from"
        ),
        DataError::Value { .. } => format!("`cargo xtask data check {shown}` says what else is wrong with it"),
        DataError::Format { .. } | DataError::Damaged { .. } => {
            "fetch or generate it again, and compare its length or hash with where it came from".into()
        }
        DataError::TooLarge { .. } => "it is damaged, or made to exhaust memory; fetch it again".into(),
        DataError::Empty { .. } => format!("`cargo xtask data show {shown}` says what is there"),
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}\n  next: {next}")
}

pub(crate) fn main(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List { folder } => list::main(&folder)?,
        Command::Show { file, .. } | Command::Check { file, .. } if are_transitions(&file) => transitions(&file)?,
        Command::Show { file, json } => {
            let shown = data::show(&file).map_err(|e| advise(&file, e))?;
            print(&shown, json)?;
        }
        Command::Check { file, json } => {
            let checked = data::check(&file).map_err(|e| advise(&file, e))?;
            print(&checked, json)?;
            if !checked.passed() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Convert(convert) => convert.main()?,
        Command::Split(split) => split.main()?,
        Command::Card { file, reading, name, out } => {
            let dataset = reading.read(&file)?;
            let stem = file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
            let card = data::card::card(&name.unwrap_or(stem), &dataset);
            match out {
                Some(out) => std::fs::write(&out, card).with_context(|| out.display().to_string())?,
                None => std::io::stdout().lock().write_all(card.as_bytes())?,
            }
        }
        Command::Generate { task, rows, seed, noise, steps, clean, out, writing } => {
            use backcast::envs::maze2d::generate::Quirks;
            let quirks = if clean { Quirks::Clean } else { Quirks::Published };
            let config = DataConfig { rows, seed, noise, quirks, ..DataConfig::default() };
            let (mut dataset, how) = match online::Recipe::named(&task) {
                Some((recipe, quality)) => {
                    let recipe = online::Recipe { seed, steps: steps.unwrap_or(recipe.steps), ..recipe };
                    let how = match envs::registry::simulator(&recipe.environment) {
                        Some(release) => format!("SAC online in {}, MuJoCo {release}, seed {seed}", recipe.environment),
                        None => format!("SAC online in {}, seed {seed}", recipe.environment),
                    };
                    match crate::online::generate(&recipe, quality, rows, &out)? {
                        Some(dataset) => (dataset, how),
                        None => {
                            println!("Interrupted. The runs are saved; give the same command to go on.");
                            return Ok(ExitCode::from(crate::exit::INTERRUPTED));
                        }
                    }
                }
                None => (run::generate(&task, &config)?, format!("{rows} rows, seed {seed}, noise {noise}")),
            };
            dataset.set_note("task", &task);
            dataset.set_note("generated", how);
            writing.write(&out, &dataset)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a file holds transitions, though it may be none.
fn are_transitions(path: &Path) -> bool {
    path.is_file() && matches!(Stored::open(path), Ok(_) | Err(DataError::Empty { .. }))
}

/// A column file of transitions is no dataset: what can be said of it is its size, and whether its checksums hold.
fn transitions(path: &Path) -> anyhow::Result<()> {
    use backcast::core::Source;
    let stored = Stored::open(path).map_err(|e| advise(path, e))?;
    stored.verify().map_err(|e| match e {
        // It would be advised to do what is being done.
        DataError::Value { .. } => e.into(),
        other => advise(path, other),
    })?;
    let (spec, rows) = (stored.spec(), stored.len());
    println!("{}  (transitions)", path.display());
    println!("  rows      {rows} of {} observations and {} actions within ±{}", spec.obs, spec.act, spec.act_limit);
    println!("  every checksum holds, and every value is a number");
    Ok(())
}

fn print<T: serde::Serialize + std::fmt::Display>(value: &T, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(value)?)?;
    } else {
        writeln!(out, "{value}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncations_and_limits_are_read_from_words() {
        assert_eq!(truncations("recorded"), Ok(Truncations::Recorded));
        assert_eq!(
            (truncations("jumps"), truncations("1000")),
            (Ok(Truncations::Jumps), Ok(Truncations::Horizon(1000)))
        );
        assert!(
            truncations("0").is_err() && truncations("often").is_err() && limit("0").is_err() && limit("nan").is_err()
        );
        assert_eq!(limit("1"), Ok(1.0));
    }

    #[test]
    fn errors_end_with_what_to_do_next() {
        let path = Path::new("absent.hdf5");
        let error = data::read(path, &ReadOptions::default()).map_err(|e| advise(path, e)).unwrap_err();
        assert!(error.to_string().contains("next: `cargo xtask data list"), "{error}");
    }
}
