/// What can go wrong when an environment is asked for by name or described by text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// No environment has this name.
    #[error("there is no environment `{name}`; near names: {}", .near.join(", "))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The registered names closest to it, closest first.
        near: Vec<String>,
    },
    /// MuJoCo is not here, or does not do what is asked.
    #[error("MuJoCo: {why}")]
    Mujoco {
        /// What is wrong, and what to do about it where that is known.
        why: String,
    },
    /// An environment whose state cannot be pushed.
    #[error("the states of `{name}` cannot be pushed")]
    NotPushable {
        /// The name of the environment.
        name: String,
    },
    /// A maze drawing that makes no sense.
    #[error("maze layout, row {row}, column {column}: {why}")]
    Layout {
        /// Row of the drawing, from 0 at the top.
        row: usize,
        /// Column of the drawing, from 0 at the left.
        column: usize,
        /// What is wrong there.
        why: &'static str,
    },
}
