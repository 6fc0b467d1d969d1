//! The policy as an ONNX model: a graph of a dozen kinds of nodes, in protocol buffers.

use super::{ExportedPolicy, Head, Layer};
use backcast_nn::Activation;
use ndarray::{Axis, Slice};
use prost::Message;

/// The version of the operators that a model asks for.
pub const OPSET: u64 = 13;
const IR_VERSION: i64 = 8;
const FLOAT: i32 = 1;

/// The messages of `onnx.proto`, with the fields that a policy needs, whose numbers are those of IR version 8.
mod proto {
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Model {
        #[prost(int64, required, tag = "1")]
        pub(super) ir_version: i64,
        #[prost(string, required, tag = "2")]
        pub(super) producer_name: String,
        #[prost(string, required, tag = "3")]
        pub(super) producer_version: String,
        #[prost(message, required, tag = "7")]
        pub(super) graph: Graph,
        #[prost(message, repeated, tag = "8")]
        pub(super) opset_import: Vec<OperatorSet>,
        #[prost(message, repeated, tag = "14")]
        pub(super) metadata: Vec<Note>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct OperatorSet {
        #[prost(string, required, tag = "1")]
        pub(super) domain: String,
        #[prost(int64, required, tag = "2")]
        pub(super) version: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Note {
        #[prost(string, required, tag = "1")]
        pub(super) key: String,
        #[prost(string, required, tag = "2")]
        pub(super) value: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Graph {
        #[prost(message, repeated, tag = "1")]
        pub(super) nodes: Vec<Node>,
        #[prost(string, required, tag = "2")]
        pub(super) name: String,
        #[prost(message, repeated, tag = "5")]
        pub(super) constants: Vec<Tensor>,
        #[prost(message, repeated, tag = "11")]
        pub(super) inputs: Vec<Value>,
        #[prost(message, repeated, tag = "12")]
        pub(super) outputs: Vec<Value>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Node {
        #[prost(string, repeated, tag = "1")]
        pub(super) inputs: Vec<String>,
        #[prost(string, repeated, tag = "2")]
        pub(super) outputs: Vec<String>,
        #[prost(string, required, tag = "3")]
        pub(super) name: String,
        #[prost(string, required, tag = "4")]
        pub(super) operator: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Tensor {
        #[prost(int64, repeated, packed = "false", tag = "1")]
        pub(super) dims: Vec<i64>,
        #[prost(int32, required, tag = "2")]
        pub(super) data_type: i32,
        #[prost(string, required, tag = "8")]
        pub(super) name: String,
        #[prost(bytes = "vec", required, tag = "9")]
        pub(super) raw: Vec<u8>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Value {
        #[prost(string, required, tag = "1")]
        pub(super) name: String,
        #[prost(message, required, tag = "2")]
        pub(super) r#type: Type,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Type {
        #[prost(message, required, tag = "1")]
        pub(super) tensor: TensorType,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct TensorType {
        #[prost(int32, required, tag = "1")]
        pub(super) element: i32,
        #[prost(message, required, tag = "2")]
        pub(super) shape: Shape,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Shape {
        #[prost(message, repeated, tag = "1")]
        pub(super) dims: Vec<Dimension>,
    }

    /// A size or, where it is free, its name.
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Dimension {
        #[prost(int64, optional, tag = "1")]
        pub(super) size: Option<i64>,
        #[prost(string, optional, tag = "2")]
        pub(super) name: Option<String>,
    }
}

/// A graph being drawn: nodes in the order in which they are computed.
#[derive(Default)]
struct Graph {
    nodes: Vec<proto::Node>,
    constants: Vec<proto::Tensor>,
}

impl Graph {
    /// A node of one output, which is called `output`.
    fn node(&mut self, kind: &str, inputs: &[&str], output: &str) -> String {
        self.nodes.push(proto::Node {
            inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
            outputs: vec![output.to_owned()],
            name: format!("{kind}:{output}"),
            operator: kind.to_owned(),
        });
        output.to_owned()
    }

    fn constant<'a>(&mut self, name: &str, dims: &[usize], values: impl IntoIterator<Item = &'a f32>) -> String {
        self.constants.push(proto::Tensor {
            dims: dims.iter().map(|&dim| dim as i64).collect(),
            data_type: FLOAT,
            name: name.to_owned(),
            raw: values.into_iter().flat_map(|x| x.to_le_bytes()).collect(),
        });
        name.to_owned()
    }

    fn affine(&mut self, name: &str, x: &str, layer: &Layer) -> String {
        let weight = self.constant(&format!("{name}.weight"), layer.weight.shape(), &layer.weight);
        let bias = self.constant(&format!("{name}.bias"), &[layer.bias.len()], &layer.bias);
        self.node("Gemm", &[x, &weight, &bias], name)
    }

    /// `limit` times `x`, as `output`.
    fn scaled(&mut self, x: &str, output: &str) {
        self.node("Mul", &[x, "act_limit"], output);
    }

    /// ln σ of every row from that of all rows.
    fn repeated(&mut self, log_std: &str, like: &str) {
        let shape = self.node("Shape", &[like], "rows_and_acts");
        self.node("Expand", &[log_std, &shape], "log_std");
    }
}

/// `[rows, width]` of numbers under a name.
fn value(name: &str, width: usize) -> proto::Value {
    let rows = proto::Dimension { size: None, name: Some("rows".into()) };
    let columns = proto::Dimension { size: Some(width as i64), name: None };
    let tensor = proto::TensorType { element: FLOAT, shape: proto::Shape { dims: vec![rows, columns] } };
    proto::Value { name: name.to_owned(), r#type: proto::Type { tensor } }
}

/// The columns of a layer from `from` on, `count` of them.
fn columns(layer: &Layer, from: usize, count: usize) -> Layer {
    let slice = Slice::from(from..from + count);
    Layer {
        weight: layer.weight.slice_axis(Axis(1), slice).to_owned(),
        bias: layer.bias.slice_axis(Axis(0), slice).to_owned(),
    }
}

impl ExportedPolicy {
    /// The policy as an ONNX model of [`OPSET`]: the input `obs`, `[rows, obs]`, raw; the outputs `action`, `mean` and, where the
    /// policy has one, `log_std`, each `[rows, act]`: those of [`answer`](Self::answer).
    pub fn to_onnx(&self) -> Vec<u8> {
        let (mut graph, spec) = (Graph::default(), self.spec());
        graph.constant("normaliser.mean", &[spec.obs], &self.mean);
        graph.constant("normaliser.std", &[spec.obs], &self.std);
        graph.constant("act_limit", &[], &[self.act_limit]);
        let centred = graph.node("Sub", &["obs", "normaliser.mean"], "centred");
        let mut x = graph.node("Div", &[&centred, "normaliser.std"], "normalised");
        let (last, hidden) = self.layers.split_last().expect("a policy has a layer");
        for (i, layer) in hidden.iter().enumerate() {
            let sum = graph.affine(&format!("actor.{i}"), &x, layer);
            let output = format!("hidden.{i}");
            x = match self.hidden {
                Activation::Identity => sum,
                Activation::Relu => graph.node("Relu", &[&sum], &output),
                // Its slope below zero is 0.01 unless an attribute says otherwise.
                Activation::LeakyRelu => graph.node("LeakyRelu", &[&sum], &output),
                Activation::Tanh => graph.node("Tanh", &[&sum], &output),
                Activation::Swish => {
                    let gate = graph.node("Sigmoid", &[&sum], &format!("gate.{i}"));
                    graph.node("Mul", &[&sum, &gate], &output)
                }
            };
        }
        if let Some(log_std) = &self.log_std {
            graph.constant("log_std.all", &[log_std.len()], log_std);
        }
        match self.head {
            Head::Tanh | Head::GaussianAroundTanh => {
                let y = graph.affine("actor.last", &x, last);
                let squashed = graph.node("Tanh", &[&y], "squashed");
                graph.scaled(&squashed, "action");
                graph.node("Identity", &["action"], "mean");
            }
            Head::Clamped => {
                graph.affine("mean", &x, last);
                let [low, high] = [("low", -1.0), ("high", 1.0)].map(|(name, x)| graph.constant(name, &[], &[x]));
                let clamped = graph.node("Clip", &["mean", &low, &high], "clamped");
                graph.scaled(&clamped, "action");
            }
            Head::TanhGaussian { low, high } => {
                graph.affine("mean", &x, &columns(last, 0, spec.act));
                let squashed = graph.node("Tanh", &["mean"], "squashed");
                graph.scaled(&squashed, "action");
                let free = graph.affine("log_std.free", &x, &columns(last, spec.act, spec.act));
                let [low, high] = [("low", low), ("high", high)].map(|(name, x)| graph.constant(name, &[], &[x]));
                graph.node("Clip", &[&free, &low, &high], "log_std");
            }
        }
        if self.log_std.is_some() {
            graph.repeated("log_std.all", "mean");
        }
        let mut outputs = vec!["action", "mean"];
        outputs.extend((!matches!(self.head, Head::Tanh)).then_some("log_std"));

        let Graph { nodes, constants } = graph;
        let graph = proto::Graph {
            nodes,
            name: "policy".into(),
            constants,
            inputs: vec![value("obs", spec.obs)],
            outputs: outputs.into_iter().map(|name| value(name, spec.act)).collect(),
        };
        let model = proto::Model {
            ir_version: IR_VERSION,
            producer_name: "backcast".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph,
            opset_import: vec![proto::OperatorSet { domain: String::new(), version: OPSET as i64 }],
            metadata: vec![proto::Note { key: "algorithm".into(), value: self.algorithm.clone() }],
        };
        model.encode_to_vec()
    }
}
