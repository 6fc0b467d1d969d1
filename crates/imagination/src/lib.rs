//! Rolling a policy through a model, forwards or backwards, into a ring of transitions.
#![forbid(unsafe_code)]

mod error;
mod imaginer;
mod policies;
mod sink;
mod starts;

pub use error::{Drive, HorizonConfig, HorizonError, model_error};
pub use imaginer::{Anchor, ImagineConfig, Imagined, Imaginer, Sampling, StopRule, Summary};
pub use policies::Uniform;
pub use sink::{Sink, Trace};
pub use starts::RowsWhere;
