use super::{Compared, Kind, ParityError};
use backcast_core::{Real, Spec};
use backcast_nn::{Draw, ReplayError};
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};

/// A tensor of a fixture, in double precision whatever the file has.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its numbers in row-major order.
    pub values: Vec<f64>,
}

impl Tensor {
    /// `values` in row-major order.
    pub fn new(shape: &[usize], values: impl IntoIterator<Item = f64>) -> Self {
        Self { shape: shape.to_vec(), values: values.into_iter().collect() }
    }

    /// ‖·‖₂ of all numbers.
    pub fn norm(&self) -> f64 {
        self.values.iter().map(|x| x * x).sum::<f64>().sqrt()
    }
}

/// What other code did in a few updates. `crates/parity/tests/golden/README.md` describes the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Fixture {
    /// The file's name, for errors.
    pub file: String,
    /// The short name of the algorithm, such as `cql`.
    pub algorithm: String,
    /// Widths of the batches: columns of an observation, columns of an action.
    pub spec: Spec,
    /// The algorithm's configuration in JSON; what it leaves out has its default.
    pub config: String,
    /// How many rows of each batch are real ones, the first; none is all.
    pub real: Option<usize>,
    /// The configuration, in JSON, of the model whose parameters are the tensors `model/…`; none where nothing is asked of one.
    pub model: Option<String>,
    /// What made it, in words.
    pub source: String,
    /// Every tensor by its path.
    pub tensors: BTreeMap<String, Tensor>,
}

/// What the note `format` says.
const FORMAT: &str = "backcast-parity-1";

impl Fixture {
    /// Reads a fixture from the bytes of a safetensors file; `file` is what errors call it.
    ///
    /// # Errors
    /// If it is no whole safetensors file, holds other types than F32 and F64, or lacks a note.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, ParityError> {
        let format = |why: String| ParityError::Format { file: file.into(), why };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| format(e.to_string()))?;
        let notes = header.metadata().clone().unwrap_or_default();
        let note = |name: &str| notes.get(name).cloned().ok_or_else(|| format(format!("there is no note `{name}`")));
        let version = note("format")?;
        if version != FORMAT {
            return Err(format(format!("it is in format `{version}`, not `{FORMAT}`")));
        }
        let mut tensors = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(bytes).map_err(|e| format(e.to_string()))?.iter() {
            let data = view.data();
            let values = match view.dtype() {
                Dtype::F32 => data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b) as f64).collect(),
                Dtype::F64 => data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
                other => return Err(format(format!("`{name}` is of type {other:?}, not F32 or F64"))),
            };
            tensors.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), values });
        }
        let spec = serde_json::from_str(&note("spec")?).map_err(|e| format(format!("note `spec`: {e}")))?;
        let (algorithm, config, source) = (note("algorithm")?, note("config")?, note("source")?);
        let real =
            notes.get("real").map(|real| real.parse().map_err(|e| format(format!("note `real`: {e}")))).transpose()?;
        let model = notes.get("model").cloned();
        Ok(Self { file: file.into(), algorithm, spec, config, real, model, source, tensors })
    }

    /// A complaint about a note.
    pub fn note(&self, note: &str, why: String) -> ParityError {
        ParityError::Note { file: self.file.clone(), note: note.into(), why }
    }

    /// The tensor at `path`, which must have this shape.
    ///
    /// # Errors
    /// If it is not there, or has another.
    pub fn tensor(&self, path: &str, expected: &[usize]) -> Result<&Tensor, ParityError> {
        let (file, tensor) = (self.file.clone(), path.to_owned());
        match self.tensors.get(path) {
            None => Err(ParityError::Missing { file, tensor }),
            Some(found) if found.shape == expected => Ok(found),
            Some(found) => {
                Err(ParityError::Shape { file, tensor, found: found.shape.clone(), expected: expected.to_vec() })
            }
        }
    }

    /// The draws of one update: `draws/<update>/0` and on, until one is not there.
    pub fn draws(&self, update: usize) -> Vec<Draw> {
        let draw = |number: usize| {
            let Tensor { shape, values } = self.tensors.get(&format!("draws/{update}/{number}"))?;
            Some(Draw { shape: shape.clone(), values: values.iter().map(|&x| x as Real).collect() })
        };
        (0..).map_while(draw).collect()
    }

    /// A complaint about a draw.
    pub fn draw_error(&self, update: usize, source: ReplayError) -> ParityError {
        let tensor = format!("draws/{update}/{}", source.number());
        ParityError::Draw { file: self.file.clone(), tensor, source }
    }

    /// That nothing of the fixture was left without a look at it: all but `inputs` and draws is compared.
    ///
    /// # Errors
    /// The first tensor that was.
    pub fn check_all_compared(
        &self,
        compared: &[Compared],
        inputs: &[String],
        updates: usize,
    ) -> Result<(), ParityError> {
        let folder = |kind| match kind {
            Kind::Loss => "losses",
            Kind::Gradient => "gradients",
            Kind::Parameter => "params",
            Kind::Change => "final",
            Kind::Transition => "transitions",
        };
        let known: BTreeSet<_> = compared.iter().map(|c| format!("{}/{}", folder(c.kind), c.name)).collect();
        let draws: BTreeSet<_> = (0..updates)
            .flat_map(|update| (0..self.draws(update).len()).map(move |number| format!("draws/{update}/{number}")))
            .collect();
        let used = |path: &&String| known.contains(*path) || inputs.contains(path) || draws.contains(*path);
        match self.tensors.keys().find(|path| !used(path)) {
            None => Ok(()),
            Some(path) => Err(ParityError::Unknown { file: self.file.clone(), tensor: path.clone() }),
        }
    }
}
