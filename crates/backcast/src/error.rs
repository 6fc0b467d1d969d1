use std::{io, path::PathBuf};

/// Why an experiment could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The experiment file.
    #[error(transparent)]
    Experiment(#[from] crate::ExperimentError),
    /// A configuration value.
    #[error("{section}.{source}")]
    Config {
        /// The table of the experiment file.
        section: &'static str,
        /// The field.
        source: backcast_core::ConfigError,
    },
    /// The dataset.
    #[error(transparent)]
    Data(#[from] backcast_data::DataError),
    /// The task.
    #[error(transparent)]
    Env(#[from] backcast_envs::EnvError),
    /// The models.
    #[error(transparent)]
    Fit(#[from] backcast_dynamics::FitError),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] backcast_storage::CheckpointError),
    /// A file of the run.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the run that is not what it should be.
    #[error("{path}: {why}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The parts do not fit each other.
    #[error("{0}")]
    Mismatch(String),
    /// A dataset that is not the one a run has learnt from.
    #[error(
        "{dataset}: not the dataset that {} has learnt from: its fingerprint is {found}, the run's is {kept}; put the old \
         one back, or give another folder for a new run", .run.display()
    )]
    OtherDataset {
        /// What was read.
        dataset: String,
        /// The folder of the run.
        run: PathBuf,
        /// The fingerprint of what the run has learnt from.
        kept: String,
        /// The fingerprint of what is there now.
        found: String,
    },
    /// A dataset that nobody should learn from unless they know what is wrong with it.
    #[error(
        "{dataset}: {}\n  `cargo xtask data check` says more; to learn from it all the same, name what you accept: \
         --set 'data.accept=[{}]'", .findings.iter().map(|(_, message)| message.as_str()).collect::<Vec<_>>().join("\n  "),
         .findings.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ")
    )]
    Unsound {
        /// What was read.
        dataset: String,
        /// The short name of each finding, and its sentence.
        findings: Vec<(String, String)>,
    },
    /// A value stopped being a number.
    #[error("{job}: `{tensor}`[{index}] is not finite at update {update}; {hint}")]
    NotFinite {
        /// The job.
        job: String,
        /// The tensor's name.
        tensor: String,
        /// Its first bad element.
        index: usize,
        /// The update after which it was found.
        update: u64,
        /// What to do, and where the last good checkpoint is, if there is one.
        hint: String,
    },
    /// Somebody else is at work there.
    #[error("{path}: {holder} is at work here; wait for it, or end it")]
    Busy {
        /// The folder of the run.
        path: PathBuf,
        /// Who.
        holder: crate::run::Holder,
    },
    /// A folder that is not a run's own.
    #[error("{path}: {why} {run}, which is the folder of another run; give --out a folder of its own")]
    Place {
        /// The folder.
        path: PathBuf,
        /// How the two lie.
        why: &'static str,
        /// The folder of the other run.
        run: PathBuf,
    },
    /// Asked to stop; everything is saved.
    #[error("interrupted; everything so far is saved")]
    Interrupted,
}

impl Error {
    /// Whether it failed for want of room on a disk. What was saved before is whole, and the run can go on when there is room.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => backcast_storage::is_disk_full(source),
            Self::Checkpoint(error) => error.is_disk_full(),
            _ => false,
        }
    }
}
