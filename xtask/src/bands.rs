//! `cargo xtask bands`: what an experiment's curves look like when all is well, from finished runs of it.

use anyhow::Context;
use backcast::{
    Experiment,
    run::{Bands, Kept, Observer, Point},
    storage::{Disk, Local, replace},
};
use std::path::{Path, PathBuf};

/// Which runs, and where the bands go.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folders of runs of one experiment with different seeds, five at least
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The file; experiments/bands/NAME.toml by default, where `run` looks for it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    let kept = Kept::of(&args.runs)?;
    let name = format!("experiments/bands/{}.toml", kept.settings.name);
    let out = args.out.unwrap_or_else(|| crate::root().join(name));
    let file = crate::root().join("experiments").join(format!("{}.toml", kept.settings.name));
    // Of a file of one's own elsewhere, the runs themselves say how many seeds a run has.
    let seeds = match std::fs::read_to_string(&file) {
        Ok(text) => Experiment::parse(&text).with_context(|| file.display().to_string())?.seeds.0.count(),
        Err(_) => backcast::run::experiment_of(&args.runs[0])?.seeds.0.count(),
    };
    // From what is kept, so that anybody can make the same bands of it.
    let curves = kept.to_csv();
    let kept = Kept::from_csv(&curves, kept.settings, &out)?;
    let bands = Bands::of(&kept, seeds)?;
    if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Local.create_folder(folder).with_context(|| folder.display().to_string())?;
    }
    let head = "# Where the curves of this experiment are expected; made by `cargo xtask bands`.\n\n";
    replace(&Local, &out, format!("{head}{}", bands.to_toml()).as_bytes())
        .with_context(|| out.display().to_string())?;
    let table = out.with_extension("csv");
    replace(&Local, &table, curves.as_bytes()).with_context(|| table.display().to_string())?;
    println!("{}: {} bands of {} seeds", out.display(), bands.bands.len(), bands.seeds.len());
    let strays = left_out(&kept, seeds)?;
    println!("each left out of the bands of the others: {strays} of {} have a number outside", bands.seeds.len());
    Ok(())
}

/// How many of the seeds have a number outside the bands of the others.
fn left_out(kept: &Kept, seeds: usize) -> anyhow::Result<usize> {
    let mut strays = 0;
    for (seed, curves) in &kept.seeds {
        strays += usize::from(Bands::of(&kept.without(*seed), seeds)?.stray(curves));
    }
    Ok(strays)
}

/// The bands that stand beside an experiment's file, if they are of its settings; if they are of others, a word about it.
pub(crate) fn beside(file: &Path, experiment: &Experiment) -> anyhow::Result<(Option<Bands>, Option<String>)> {
    let name = file.file_name().unwrap_or_default();
    let path = file.with_file_name("bands").join(name);
    Ok(match Bands::read(&path)? {
        Some(bands) if bands.fits(experiment) => (Some(bands), None),
        Some(_) => {
            (None, Some(format!("{} is of other settings; its curves are not compared with them", path.display())))
        }
        None => (None, None),
    })
}

/// Hands everything on, and says when a curve leaves its band.
pub(crate) struct Watching<'a> {
    pub(crate) bands: Option<&'a Bands>,
    pub(crate) to: &'a dyn Observer,
}

impl Observer for Watching<'_> {
    fn stage(&self, name: &str, jobs: usize) {
        self.to.stage(name, jobs);
    }

    fn progress(&self, job: &str, done: u64, total: u64, note: &str) {
        self.to.progress(job, done, total, note);
    }

    fn finished(&self, job: &str, note: &str) {
        self.to.finished(job, note);
    }

    fn evaluated(&self, job: &str, method: &str, curve: &[Point]) {
        self.to.evaluated(job, method, curve);
        for complaint in self.bands.iter().flat_map(|bands| bands.complaints(method, curve)) {
            self.to.warning(job, &complaint);
        }
    }

    fn warning(&self, job: &str, what: &str) {
        self.to.warning(job, what);
    }

    fn stop(&self) -> bool {
        self.to.stop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bands of settings that no experiment has any more would never be looked at again.
    #[test]
    fn the_bands_that_are_kept_are_of_the_experiments_beside_them() {
        let folder = crate::root().join("experiments/bands");
        let mut kept: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        kept.retain(|path| path.extension().is_some_and(|e| e == "toml"));
        kept.sort();
        assert!(kept.len() >= 2, "{kept:?}");
        for path in kept {
            let file = crate::root().join("experiments").join(path.file_name().unwrap());
            let experiment = Experiment::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
            let (bands, word) = beside(&file, &experiment).unwrap();
            let bands = bands.unwrap_or_else(|| panic!("{}: {word:?}", path.display()));
            for band in &bands.bands {
                let named = experiment.methods.iter().any(|method| method.name == band.method);
                let n = band.updates.len();
                let whole = n > 0 && band.low.len() == n && band.high.len() == n;
                assert!(named && whole, "{}: {}, {}", path.display(), band.method, band.metric);
            }
            // They come out of the curves beside them, and hold as often as they say: of those left out, the chance that more
            // than two stray at a rate of 2 % is below one in a hundred.
            let table = path.with_extension("csv");
            let text = std::fs::read_to_string(&table).unwrap();
            let curves = Kept::from_csv(&text, bands.settings.clone(), &table).unwrap();
            let seeds = experiment.seeds.0.clone().count();
            assert_eq!(Bands::of(&curves, seeds).unwrap(), bands, "{}", path.display());
            assert!(left_out(&curves, seeds).unwrap() <= 2, "{}", path.display());
            assert!(!bands.seeds.iter().any(|seed| experiment.seeds.0.contains(seed)), "{}", path.display());
        }
    }
}
