//! A policy without its algorithm: observations in, actions out, for programs that are not ours.
//!
//! What is exported is the policy as it is evaluated, from raw observations on: normaliser, net, squashing, action scale. Two
//! forms: [safetensors](ExportedPolicy::to_safetensors), which [`ExportedPolicy::from_safetensors`] reads back, and
//! [ONNX](ExportedPolicy::to_onnx), which every inference engine reads.
//!
//! ```
//! use backcast::{Agent, AlgorithmConfig, core::{Key, Spec}, export::ExportedPolicy};
//! use ndarray::Array2;
//!
//! let algorithm = AlgorithmConfig::Sac(Default::default());
//! let mut agent = Agent::new(&algorithm, None, Spec::new(3, 1), Key::new(0))?;
//! let policy = ExportedPolicy::of(&mut agent, &algorithm)?;
//! let again = ExportedPolicy::from_safetensors(&policy.to_safetensors())?;
//! assert_eq!(policy, again);
//! let answer = again.answer(Array2::from_elem((2, 3), 0.5).view());
//! assert_eq!(answer.action.dim(), (2, 1));
//! assert!(answer.log_std.is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![allow(clippy::unnecessary_cast, reason = "`as f32` does something in double precision")]

mod onnx;

use crate::{Agent, AlgorithmConfig};
use backcast_algos::blocks::actor::{LOG_STD_BOUNDS, NARROW_LOG_STD_BOUNDS};
use backcast_algos::{combo, edac, mcq, mobile, mopo, morel, osr, rambo, sdc};
use backcast_core::{Policy, Real, Spec, Stored, snapshot};
use backcast_nn::Activation;
use ndarray::{Array1, Array2, ArrayView2, Axis, Slice};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

pub use onnx::OPSET;

/// Why a policy is not exported, or not read back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// Its action is no function of the observation alone.
    #[error(
        "`{0}` chooses among candidates that it draws at every step: no net from observations to actions says what it does"
    )]
    Candidates(&'static str),
    /// The file is not an exported policy.
    #[error("not an exported policy: {0}")]
    Format(String),
}

/// How the last layer's output becomes an action.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Head {
    /// *limit·tanh(y)*.
    Tanh,
    /// A Gaussian around *limit·tanh(y)* with a deviation of its own for each dimension, in units of the action. The action is
    /// its mean.
    GaussianAroundTanh,
    /// A Gaussian before the tanh: the first half of the columns are its mean, the second ln σ, held between `low` and `high`.
    /// The action is *limit·tanh(mean)*.
    TanhGaussian {
        /// The least ln σ.
        low: f32,
        /// The greatest.
        high: f32,
    },
    /// A Gaussian around *y* with a deviation of its own for each dimension, in units of the limit. The action is
    /// *limit·clamp(y, −1, 1)*.
    Clamped,
}

impl Head {
    fn squashed([low, high]: [Real; 2]) -> Self {
        Self::TanhGaussian { low: low as f32, high: high as f32 }
    }
}

/// One affine layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// `[inputs, outputs]`.
    pub weight: Array2<f32>,
    /// `[outputs]`.
    pub bias: Array1<f32>,
}

/// A policy as numbers, in single precision.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportedPolicy {
    /// The algorithm that learnt it.
    pub algorithm: String,
    /// Actions lie in [−limit, limit].
    pub act_limit: f32,
    /// What is subtracted from an observation, `[obs]`.
    pub mean: Array1<f32>,
    /// What it is then divided by, `[obs]`.
    pub std: Array1<f32>,
    /// The layers of the net.
    pub layers: Vec<Layer>,
    /// The activation between them.
    pub hidden: Activation,
    /// What comes after the last.
    pub head: Head,
    /// ln σ of each dimension, `[act]`, where it does not depend on the observation.
    pub log_std: Option<Array1<f32>>,
}

/// What a policy says to some observations.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The action as it is evaluated, `[rows, act]`.
    pub action: Array2<f32>,
    /// The mean of its distribution, in the units of the [`Head`]; the action where it has none. `[rows, act]`.
    pub mean: Array2<f32>,
    /// ln σ, where it has a distribution, `[rows, act]`.
    pub log_std: Option<Array2<f32>>,
}

/// What stands in the header of a safetensors file, under `policy`.
#[derive(Serialize, Deserialize)]
struct Header {
    algorithm: String,
    act_limit: f32,
    hidden: Activation,
    #[serde(flatten)]
    head: Head,
}

impl ExportedPolicy {
    /// The policy of `agent`, which learnt by `algorithm`.
    ///
    /// # Errors
    /// If it chooses among candidates (BCQ, BEAR, SDM-GAN).
    pub fn of(agent: &mut Agent, algorithm: &AlgorithmConfig) -> Result<Self, ExportError> {
        use AlgorithmConfig as A;
        let mut hidden = Activation::Relu;
        let head = match algorithm {
            A::Bcq(_) | A::Bear(_) | A::SdmGan(_) => return Err(ExportError::Candidates(algorithm.name())),
            A::Bc(_) | A::Td3Bc(_) | A::Rebrac(_) | A::Scas(_) => Head::Tanh,
            A::Iql(config) if config.deterministic => Head::Tanh,
            A::Iql(_) | A::Awac(_) => Head::GaussianAroundTanh,
            A::Npg(_) => {
                hidden = Activation::Tanh;
                Head::Clamped
            }
            A::Edac(edac::Config { log_std_bounds, .. })
            | A::Mcq(mcq::Config { log_std_bounds, .. })
            | A::Mobile(mobile::Config { log_std_bounds, .. }) => Head::squashed(*log_std_bounds),
            A::Sac(sac) | A::Mopo(mopo::Config { sac, .. }) | A::Morel(morel::Config { sac, .. }) => {
                Head::squashed(sac.log_std_bounds.unwrap_or(LOG_STD_BOUNDS))
            }
            A::Rambo(rambo::Config { sac, .. }) => Head::squashed(sac.log_std_bounds.unwrap_or(NARROW_LOG_STD_BOUNDS)),
            A::Osr(osr::Config { cql, .. }) => Head::squashed(cql.log_std_bounds.unwrap_or(LOG_STD_BOUNDS)),
            A::Cql(cql) | A::Combo(combo::Config { cql, .. }) | A::Sdc(sdc::Config { cql, .. }) => {
                Head::squashed(cql.log_std_bounds.unwrap_or(NARROW_LOG_STD_BOUNDS))
            }
        };
        let act_limit = agent.spec().act_limit as f32;
        let normaliser = agent.normaliser().clone();
        let [mean, std] = [normaliser.mean(), normaliser.std()].map(|x| x.iter().map(|&x| x as f32).collect());
        let state = snapshot(agent);
        let tensor = |name: &str| match state.get(name) {
            Some(Stored::Tensor(shape, values)) => Some((shape, values.iter().map(|&x| x as f32).collect::<Vec<_>>())),
            _ => None,
        };
        let layers = (0..)
            .map_while(|i| {
                let (shape, weight) = tensor(&format!("actor.{i}.weight"))?;
                let (_, bias) = tensor(&format!("actor.{i}.bias"))?;
                // `[members, inputs, outputs]`, of one member.
                let weight = Array2::from_shape_vec((shape[1], shape[2]), weight).expect("as many as its shape says");
                Some(Layer { weight, bias: bias.into() })
            })
            .collect();
        // IQL and AWAC hold theirs where it is used.
        let log_std = match head {
            Head::GaussianAroundTanh => tensor("actor.log_std").map(|(_, x)| Array1::from(x).clamp(-5.0, 2.0)),
            Head::Clamped => tensor("log_std").map(|(_, x)| x.into()),
            _ => None,
        };
        let policy = Self { algorithm: algorithm.name().into(), act_limit, mean, std, layers, hidden, head, log_std };
        policy.check()?;
        Ok(policy)
    }

    /// Widths of observations and actions, and the limit of the latter.
    pub fn spec(&self) -> Spec {
        let last = self.layers.last().map_or(0, |layer| layer.bias.len());
        let act = if matches!(self.head, Head::TanhGaussian { .. }) { last / 2 } else { last };
        Spec { act_limit: self.act_limit as _, ..Spec::new(self.mean.len(), act) }
    }

    fn check(&self) -> Result<(), ExportError> {
        let bad = |why: String| Err(ExportError::Format(why));
        if self.layers.is_empty() {
            return bad("the actor has no layers".into());
        }
        let mut width = self.mean.len();
        if self.std.len() != width {
            return bad(format!("{width} means and {} deviations", self.std.len()));
        }
        for (i, layer) in self.layers.iter().enumerate() {
            if layer.weight.nrows() != width || layer.weight.ncols() != layer.bias.len() {
                return bad(format!("layer {i} is {:?} after {width} columns", layer.weight.dim()));
            }
            width = layer.bias.len();
        }
        let own = matches!(self.head, Head::GaussianAroundTanh | Head::Clamped);
        match &self.log_std {
            Some(log_std) if !own || log_std.len() != width => {
                bad(format!("{} deviations for {width} columns", log_std.len()))
            }
            None if own => bad("the deviations are missing".into()),
            _ => Ok(()),
        }
    }

    /// What the policy says to raw observations, `[rows, obs]`.
    ///
    /// # Panics
    /// If they are of another width.
    pub fn answer(&self, obs: ArrayView2<'_, f32>) -> Answer {
        assert_eq!(obs.ncols(), self.mean.len(), "answer: observations of another width");
        let mut x = (&obs - &self.mean) / &self.std;
        for (i, layer) in self.layers.iter().enumerate() {
            x = x.dot(&layer.weight) + &layer.bias;
            if i + 1 < self.layers.len() {
                x.mapv_inplace(match self.hidden {
                    Activation::Identity => |x| x,
                    Activation::Relu => |x: f32| x.max(0.0),
                    Activation::LeakyRelu => |x: f32| if x > 0.0 { x } else { 0.01 * x },
                    Activation::Tanh => f32::tanh,
                    Activation::Swish => |x: f32| x / (1.0 + (-x).exp()),
                });
            }
        }
        let limit = self.act_limit;
        let own = |rows: usize| {
            let log_std = self.log_std.as_ref()?;
            Some(log_std.broadcast((rows, log_std.len())).expect("a row for each").to_owned())
        };
        let rows = x.nrows();
        match self.head {
            Head::Tanh | Head::GaussianAroundTanh => {
                let action = x.mapv(|y| limit * y.tanh());
                Answer { mean: action.clone(), action, log_std: own(rows) }
            }
            Head::Clamped => Answer { action: x.mapv(|y| limit * y.clamp(-1.0, 1.0)), mean: x, log_std: own(rows) },
            Head::TanhGaussian { low, high } => {
                let act = x.ncols() / 2;
                let columns = |from: usize| x.slice_axis(Axis(1), Slice::from(from..from + act)).to_owned();
                let (mean, log_std) = (columns(0), columns(act).clamp(low, high));
                Answer { action: mean.mapv(|y| limit * y.tanh()), mean, log_std: Some(log_std) }
            }
        }
    }

    /// The policy as a safetensors file: `normaliser.mean`, `normaliser.std`, `actor.0.weight`, `actor.0.bias`, …, `log_std`; what
    /// is to be done with them stands as JSON under `policy` in the header.
    pub fn to_safetensors(&self) -> Vec<u8> {
        let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
        let mut put = |name: String, shape: Vec<usize>, values: &mut dyn Iterator<Item = &f32>| {
            tensors.insert(name, (shape, values.flat_map(|x| x.to_le_bytes()).collect()));
        };
        put("normaliser.mean".into(), vec![self.mean.len()], &mut self.mean.iter());
        put("normaliser.std".into(), vec![self.std.len()], &mut self.std.iter());
        for (i, Layer { weight, bias }) in self.layers.iter().enumerate() {
            put(format!("actor.{i}.weight"), weight.shape().to_vec(), &mut weight.iter());
            put(format!("actor.{i}.bias"), vec![bias.len()], &mut bias.iter());
        }
        if let Some(log_std) = &self.log_std {
            put("log_std".into(), vec![log_std.len()], &mut log_std.iter());
        }
        let views = tensors.iter().map(|(name, (shape, bytes))| {
            (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("four bytes a number"))
        });
        let header = Header {
            algorithm: self.algorithm.clone(),
            act_limit: self.act_limit,
            hidden: self.hidden,
            head: self.head,
        };
        // One entry: several would stand in the order of a randomly seeded map.
        let notes = HashMap::from([(HEADER.to_owned(), crate::json::to_string(&header).expect("plain values"))]);
        safetensors::serialize(views, Some(notes)).expect("names and shapes are sound")
    }

    /// Reads what [`to_safetensors`](Self::to_safetensors) wrote.
    ///
    /// # Errors
    /// If it is something else, or damaged where that can be seen.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, ExportError> {
        let format = |why: String| ExportError::Format(why);
        let (_, notes) = SafeTensors::read_metadata(bytes).map_err(|e| format(e.to_string()))?;
        let text = notes.metadata().as_ref().and_then(|notes| notes.get(HEADER));
        let text = text.ok_or_else(|| format(format!("there is no `{HEADER}` in its header")))?;
        let Header { algorithm, act_limit, hidden, head } =
            crate::json::from_str(text).map_err(|e| format(format!("`{HEADER}`: {e}")))?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| format(e.to_string()))?;
        let read = |name: &str| -> Result<Option<Shaped>, ExportError> {
            let Ok(view) = file.tensor(name) else { return Ok(None) };
            if view.dtype() != Dtype::F32 {
                return Err(format(format!("`{name}` is of type {:?}", view.dtype())));
            }
            let word = |b: &[u8]| f32::from_le_bytes(b.try_into().expect("four bytes"));
            Ok(Some((view.shape().to_vec(), view.data().chunks_exact(4).map(word).collect())))
        };
        let row = |name: &str| Ok(read(name)?.map(|(_, values)| Array1::from(values)));
        let must = |name: &str| row(name)?.ok_or_else(|| format(format!("there is no `{name}`")));
        let mut layers = Vec::new();
        while let Some((shape, values)) = read(&format!("actor.{}.weight", layers.len()))? {
            let name = format!("actor.{}", layers.len());
            let [inputs, outputs] = shape[..] else { return Err(format(format!("`{name}.weight` is {shape:?}"))) };
            let weight = Array2::from_shape_vec((inputs, outputs), values).map_err(|e| format(e.to_string()))?;
            layers.push(Layer { weight, bias: must(&format!("{name}.bias"))? });
        }
        let (mean, std) = (must("normaliser.mean")?, must("normaliser.std")?);
        let policy = Self { algorithm, act_limit, mean, std, layers, hidden, head, log_std: row("log_std")? };
        policy.check()?;
        Ok(policy)
    }
}

/// A shape, and the values in row-major order.
type Shaped = (Vec<usize>, Vec<f32>);

/// The name of what says what the tensors are.
const HEADER: &str = "policy";
