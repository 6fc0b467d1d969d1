use backcast_nn::ReplayError;

/// Why a fixture cannot be replayed. Each names the file and the place in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParityError {
    /// The bytes are not a fixture.
    #[error("{file}: {why}")]
    Format {
        /// The file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// One of the notes (algorithm, spec, configuration) or what it leads to makes no sense.
    #[error("{file}: {note}: {why}")]
    Note {
        /// The file.
        file: String,
        /// Which.
        note: String,
        /// What is wrong.
        why: String,
    },
    /// The algorithm has, or reports, what the fixture does not.
    #[error("{file}: there is no `{tensor}`")]
    Missing {
        /// The file.
        file: String,
        /// The tensor's path.
        tensor: String,
    },
    /// The fixture has what the algorithm does not.
    #[error("{file}: `{tensor}` is nothing that the algorithm has")]
    Unknown {
        /// The file.
        file: String,
        /// The tensor's path.
        tensor: String,
    },
    /// A tensor has another shape than the algorithm's.
    #[error("{file}: `{tensor}` has shape {found:?}, and here it is {expected:?}")]
    Shape {
        /// The file.
        file: String,
        /// The tensor's path.
        tensor: String,
        /// The shape in the fixture.
        found: Vec<usize>,
        /// The shape the algorithm has.
        expected: Vec<usize>,
    },
    /// A recorded draw is not what the algorithm asks for: too few, too many, or of another shape.
    #[error("{file}: `{tensor}`: {source}")]
    Draw {
        /// The file.
        file: String,
        /// The draw's path, `draws/<update>/<number>`.
        tensor: String,
        /// What was asked for and what was there.
        source: ReplayError,
    },
}
