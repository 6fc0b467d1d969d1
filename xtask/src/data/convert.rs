//! A dataset from one format to another, and one into two.

use super::{Reading, Writing, advise, make_room};
use anyhow::{Context, bail, ensure};
use backcast::data::{self, Dataset, Options, ReadOptions, store::Stored};
use std::path::{Path, PathBuf};

/// From where to where.
#[derive(clap::Args)]
pub(super) struct Convert {
    /// A file or folder of any format
    from_path: PathBuf,
    /// The file or folder to write
    to: PathBuf,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    writing: Writing,
    /// To a column file: the transitions that algorithms draw, instead of the rows as recorded
    #[arg(long, conflicts_with_all = ["format", "repeat_final"])]
    transitions: bool,
    /// Say what was done as JSON
    #[arg(long, conflicts_with = "transitions")]
    json: bool,
}

/// What [`Convert`] did.
#[derive(serde::Serialize)]
struct Converted<'a> {
    from: &'a Path,
    to: &'a Path,
    format: data::Format,
    rows: usize,
    episodes: usize,
    /// The same before and after.
    fingerprint: String,
    infos: Vec<&'a str>,
    /// What the first file holds and the second does not, because it was asked for.
    left_out: Vec<&'a data::Unread>,
}

impl Convert {
    pub(super) fn main(self) -> anyhow::Result<()> {
        let dataset = self.reading.read(&self.from_path)?;
        if self.transitions {
            // A limit that actions were pulled back to is the box they live in.
            let act_limit = self.reading.clip.unwrap_or(1.0) as _;
            return transitions(&self.to, &dataset, &Options { act_limit, ..Options::default() });
        }
        self.writing.write_quietly(&self.to, &dataset)?;
        // Seeing is believing: what a program promises about files should not be taken from the program.
        let format = self.writing.format(&self.to)?;
        let options = ReadOptions { format: Some(format), ..ReadOptions::default() };
        let again = data::read(&self.to, &options).map_err(|e| advise(&self.to, e))?;
        let unread = dataset.unread().to_vec();
        let kept = if self.writing.without.is_empty() { dataset } else { dataset.without(&self.writing.without) };
        let (before, after) = (kept.fingerprint(), again.fingerprint());
        ensure!(before == after, "{}: reads back differently, {after} for {before}", self.to.display());
        let converted = Converted {
            from: &self.from_path,
            to: &self.to,
            format,
            rows: kept.len(),
            episodes: kept.episodes().len(),
            fingerprint: after.to_string(),
            infos: kept.infos().iter().map(|info| info.name.as_str()).collect(),
            left_out: unread.iter().collect(),
        };
        if self.json {
            println!("{}", serde_json::to_string_pretty(&converted)?);
            return Ok(());
        }
        println!("{}: {format}, {} rows, {} episodes", self.to.display(), converted.rows, converted.episodes);
        unread.iter().for_each(|unread| println!("left out  {unread}"));
        println!("read back to the same bits, fingerprint {after}");
        Ok(())
    }
}

fn transitions(to: &Path, dataset: &Dataset, options: &Options) -> anyhow::Result<()> {
    let (episodic, report) = dataset.transitions(options)?;
    make_room(to)?;
    Stored::write(to, episodic.transitions()).map_err(|e| advise(to, e))?;
    let stored = Stored::open(to).map_err(|e| advise(to, e))?;
    stored.verify().map_err(|e| advise(to, e))?;
    let dropped = report.rows - report.kept;
    println!("{}: {} transitions of {} rows, {dropped} dropped", to.display(), report.kept, report.rows);
    Ok(())
}

/// What of what goes where.
#[derive(clap::Args)]
pub(super) struct Split {
    /// A file or folder of any format
    file: PathBuf,
    /// The first part
    part: PathBuf,
    /// The rest
    rest: PathBuf,
    /// The share of the episodes in the first part, in (0, 1), drawn at random
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["best", "worst", "rows"])]
    share: Option<f64>,
    /// Seed of the draw
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The share with the highest returns instead
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["worst", "rows"])]
    best: Option<f64>,
    /// The share with the lowest returns instead
    #[arg(long, value_name = "SHARE", conflicts_with = "rows")]
    worst: Option<f64>,
    /// The first so many rows instead
    #[arg(long, value_name = "N")]
    rows: Option<usize>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    writing: Writing,
}

impl Split {
    fn how(&self) -> anyhow::Result<data::Split> {
        Ok(match (self.share, self.best, self.worst, self.rows) {
            (Some(share), ..) => data::Split::Random { share, seed: self.seed },
            (_, Some(share), ..) => data::Split::Best(share),
            (_, _, Some(share), _) => data::Split::Worst(share),
            (.., Some(rows)) => data::Split::Rows(rows),
            _ => bail!("say how to divide it: --share 0.1, --best 0.1, --worst 0.1 or --rows 10000"),
        })
    }

    pub(super) fn main(self) -> anyhow::Result<()> {
        let how = self.how()?;
        ensure!(self.part != self.rest, "the two parts need two names");
        [&self.part, &self.rest].into_iter().try_for_each(|path| self.writing.format(path).map(drop))?;
        let dataset = self.reading.read(&self.file)?;
        let parts = dataset.split(how).with_context(|| {
            format!("{} has {} rows in {} episodes", self.file.display(), dataset.len(), dataset.episodes().len())
        })?;
        for (path, part) in [&self.part, &self.rest].into_iter().zip(&parts) {
            self.writing.write(path, part)?;
        }
        let given_up = dataset.len() - parts[0].len() - parts[1].len();
        if given_up > 0 {
            println!(
                "{given_up} rows are in neither: their stored next state was another episode's, and nothing would show it"
            );
        }
        Ok(())
    }
}
