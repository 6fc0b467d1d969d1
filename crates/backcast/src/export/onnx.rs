//! The policy as an ONNX model: a graph of a dozen kinds of nodes, in protocol buffers written by hand.
//!
//! Field numbers are those of `onnx.proto` (IR version 8, opset 13). A message is a sequence of fields, each a key
//! (number and wire type) and a value; that is all there is to writing one.

use super::{ExportedPolicy, Head, Layer};
use backcast_nn::Activation;
use ndarray::{Axis, Slice};

/// The version of the operators that a model asks for.
pub const OPSET: u64 = 13;
const IR_VERSION: u64 = 8;
const FLOAT: u64 = 1;

/// A message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A whole number.
    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(self, field: u64, message: Message) -> Self {
        self.bytes(field, &message.0)
    }
}

/// A graph being drawn: nodes in the order in which they are computed.
#[derive(Default)]
struct Graph {
    nodes: Vec<Message>,
    constants: Vec<Message>,
}

impl Graph {
    /// A node of one output, which is called `output`.
    fn node(&mut self, kind: &str, inputs: &[&str], output: &str) -> String {
        let message = inputs.iter().fold(Message::default(), |message, input| message.text(1, input));
        self.nodes.push(message.text(2, output).text(3, &format!("{kind}:{output}")).text(4, kind));
        output.to_owned()
    }

    fn constant<'a>(&mut self, name: &str, dims: &[usize], values: impl IntoIterator<Item = &'a f32>) -> String {
        let raw: Vec<u8> = values.into_iter().flat_map(|x| x.to_le_bytes()).collect();
        let message = dims.iter().fold(Message::default(), |message, &dim| message.number(1, dim as u64));
        self.constants.push(message.number(2, FLOAT).text(8, name).bytes(9, &raw));
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
fn value(name: &str, width: usize) -> Message {
    let rows = Message::default().text(2, "rows");
    let columns = Message::default().number(1, width as u64);
    let shape = Message::default().message(1, rows).message(1, columns);
    let tensor = Message::default().number(1, FLOAT).message(2, shape);
    Message::default().text(1, name).message(2, Message::default().message(1, tensor))
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
        let drawn = nodes.into_iter().fold(Message::default(), |message, node| message.message(1, node));
        let drawn = drawn.text(2, "policy");
        let drawn = constants.into_iter().fold(drawn, |message, constant| message.message(5, constant));
        let drawn = drawn.message(11, value("obs", spec.obs));
        let drawn = outputs.into_iter().fold(drawn, |message, name| message.message(12, value(name, spec.act)));
        let opset = Message::default().text(1, "").number(2, OPSET);
        let note = Message::default().text(1, "algorithm").text(2, &self.algorithm);
        let model = Message::default().number(1, IR_VERSION).text(2, "backcast").text(3, env!("CARGO_PKG_VERSION"));
        model.message(7, drawn).message(8, opset).message(14, note).0
    }
}
