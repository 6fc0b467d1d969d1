//! Just enough of ONNX to compute a policy: a reader of protocol buffers, and an interpreter of the operators we write.

use ndarray::{Array2, ArrayD, IxDyn};
use std::collections::{BTreeMap, HashMap};

/// The fields of a message: number, and value.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Value::Bytes(value)
            }
            other => panic!("wire type {other} is not one we write"),
        };
        all.push((key >> 3, value));
    }
    all
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().expect("a number goes on");
        *bytes = rest;
        value |= ((byte & 0x7F) as u64) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    panic!("a number of more than 64 bits")
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn number(self) -> u64 {
        let Self::Number(value) = self else { panic!("not a number") };
        value
    }

    fn bytes(self) -> &'a [u8] {
        let Self::Bytes(value) = self else { panic!("not bytes") };
        value
    }

    fn text(self) -> String {
        String::from_utf8(self.bytes().to_vec()).expect("text")
    }
}

/// Every field of one number.
fn of<'a>(message: &[(u64, Value<'a>)], field: u64) -> Vec<Value<'a>> {
    message.iter().filter(|(number, _)| *number == field).map(|(_, value)| *value).collect()
}

struct Node {
    kind: String,
    inputs: Vec<String>,
    output: String,
}

pub(crate) struct Model {
    pub(crate) ir: u64,
    pub(crate) opset: u64,
    /// Names and widths.
    pub(crate) inputs: Vec<(String, usize)>,
    pub(crate) outputs: Vec<(String, usize)>,
    nodes: Vec<Node>,
    constants: HashMap<String, ArrayD<f32>>,
}

impl Model {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let model = fields(bytes);
        let graph = fields(of(&model, 7)[0].bytes());
        let constant = |value: Value<'_>| {
            let tensor = fields(value.bytes());
            assert_eq!(of(&tensor, 2)[0].number(), 1, "numbers in single precision");
            let dims: Vec<usize> = of(&tensor, 1).iter().map(|dim| dim.number() as usize).collect();
            let word = |b: &[u8]| f32::from_le_bytes(b.try_into().expect("four bytes"));
            let raw = of(&tensor, 9)[0].bytes().chunks_exact(4).map(word).collect();
            (of(&tensor, 8)[0].text(), ArrayD::from_shape_vec(IxDyn(&dims), raw).expect("as many as the shape says"))
        };
        let node = |value: Value<'_>| {
            let node = fields(value.bytes());
            let inputs = of(&node, 1).into_iter().map(Value::text).collect();
            Node { kind: of(&node, 4)[0].text(), inputs, output: of(&node, 2)[0].text() }
        };
        let ends = |field| {
            let end = |value: Value<'_>| {
                let info = fields(value.bytes());
                let tensor = fields(of(&fields(of(&info, 2)[0].bytes()), 1)[0].bytes());
                assert_eq!(of(&tensor, 1)[0].number(), 1);
                let dims = of(&fields(of(&tensor, 2)[0].bytes()), 1);
                assert_eq!(of(&fields(dims[0].bytes()), 2)[0].text(), "rows");
                (of(&info, 1)[0].text(), of(&fields(dims[1].bytes()), 1)[0].number() as usize)
            };
            of(&graph, field).into_iter().map(end).collect()
        };
        Self {
            ir: of(&model, 1)[0].number(),
            opset: of(&fields(of(&model, 8)[0].bytes()), 2)[0].number(),
            inputs: ends(11),
            outputs: ends(12),
            nodes: of(&graph, 1).into_iter().map(node).collect(),
            constants: of(&graph, 5).into_iter().map(constant).collect(),
        }
    }

    /// Every value of the graph for this input.
    pub(crate) fn run(&self, input: &str, x: &Array2<f32>) -> BTreeMap<String, Array2<f32>> {
        let mut values = self.constants.clone();
        values.insert(input.to_owned(), x.clone().into_dyn());
        for Node { kind, inputs, output } in &self.nodes {
            let arg =
                |i: usize| values.get(&inputs[i]).unwrap_or_else(|| panic!("{kind} needs `{}`", inputs[i])).clone();
            let matrix = |i: usize| arg(i).into_dimensionality::<ndarray::Ix2>().expect("a matrix");
            let scalar = |i: usize| arg(i).into_iter().next().expect("a number");
            let result = match kind.as_str() {
                "Sub" => arg(0) - arg(1),
                "Div" => arg(0) / arg(1),
                "Mul" => arg(0) * arg(1),
                "Gemm" => {
                    (matrix(0).dot(&matrix(1)) + arg(2).into_dimensionality::<ndarray::Ix1>().unwrap()).into_dyn()
                }
                "Relu" => arg(0).mapv(|x| x.max(0.0)),
                "Tanh" => arg(0).mapv(f32::tanh),
                "Clip" => arg(0).clamp(scalar(1), scalar(2)),
                "Identity" => arg(0),
                "Shape" => arg(0).shape().iter().map(|&n| n as f32).collect::<ndarray::Array1<f32>>().into_dyn(),
                "Expand" => {
                    let shape: Vec<usize> = arg(1).iter().map(|&n| n as usize).collect();
                    arg(0).broadcast(IxDyn(&shape)).expect("it fits").to_owned()
                }
                other => panic!("{other} is not an operator we write"),
            };
            assert!(values.insert(output.clone(), result).is_none(), "`{output}` is computed twice");
        }
        let matrices = values.into_iter().filter_map(|(name, value)| Some((name, value.into_dimensionality().ok()?)));
        matrices.collect()
    }
}
