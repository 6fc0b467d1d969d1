//! Losses and gradients in double precision, written out by hand: what the tape should give if it never rounded.

use backcast_nn::{Mlp, Real};
use ndarray::{Array2, Axis};

/// The activation between layers.
#[derive(Clone, Copy)]
pub(crate) enum Hidden {
    Relu,
    Swish,
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

impl Hidden {
    fn value(self, x: f64) -> f64 {
        match self {
            Self::Relu => x.max(0.0),
            Self::Swish => x * sigmoid(x),
        }
    }

    fn slope(self, x: f64) -> f64 {
        match self {
            Self::Relu => (x > 0.0) as u8 as f64,
            Self::Swish => sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x))),
        }
    }
}

/// Runs one member of `net` forwards, `loss` on its output, and the gradient back into `gradient`, over the net's range.
/// `loss` gives its value and its derivative with respect to the output.
pub(crate) fn member(
    net: &Mlp,
    params: &[Real],
    (member, hidden): (usize, Hidden),
    x: &Array2<f64>,
    loss: impl Fn(&Array2<f64>) -> (f64, Array2<f64>),
    gradient: &mut [f64],
) -> f64 {
    let first = net.range().start;
    let layers: Vec<_> = net.layers().collect();
    let slots = |i: usize, inputs: usize| {
        let (weights, all) = (layers[i].weight_range(), layers[i].range());
        let outputs = weights.len() / net.members() / inputs;
        let weight = weights.start + member * inputs * outputs;
        let bias = weights.end + member * outputs;
        assert!(bias + outputs <= all.end);
        (weight..weight + inputs * outputs, bias..bias + outputs)
    };
    let wide = |range: std::ops::Range<usize>| params[range].iter().map(|&v| v as f64).collect::<Vec<_>>();
    let (mut inputs, mut sums, mut weights) = (vec![x.clone()], vec![], vec![]);
    for i in 0..layers.len() {
        let x = &inputs[i];
        let (w, b) = slots(i, x.ncols());
        let weight = Array2::from_shape_vec((x.ncols(), b.len()), wide(w)).expect("a weight's shape");
        let bias = Array2::from_shape_vec((1, b.len()), wide(b)).expect("a bias's shape");
        let sum = x.dot(&weight) + &bias;
        inputs.push(if i + 1 == layers.len() { sum.clone() } else { sum.mapv(|v| hidden.value(v)) });
        sums.push(sum);
        weights.push(weight);
    }
    let (value, mut g) = loss(inputs.last().expect("an output"));
    for i in (0..layers.len()).rev() {
        if i + 1 < layers.len() {
            g *= &sums[i].mapv(|v| hidden.slope(v));
        }
        let (w, b) = slots(i, inputs[i].ncols());
        let of_weight = inputs[i].t().dot(&g);
        gradient[w.start - first..w.end - first].iter_mut().zip(&of_weight).for_each(|(o, v)| *o += v);
        gradient[b.start - first..b.end - first].iter_mut().zip(&g.sum_axis(Axis(0))).for_each(|(o, v)| *o += v);
        g = g.dot(&weights[i].t());
    }
    value
}

/// mean (q − y)² and its derivative.
pub(crate) fn squares(q: &Array2<f64>, y: &Array2<f64>) -> (f64, Array2<f64>) {
    let n = q.len() as f64;
    let error = q - y;
    ((&error * &error).sum() / n, error * (2.0 / n))
}

/// mean ((μ − y)²·e^{−ℓ} + ℓ), ℓ softly held between the bounds, and its derivative; columns of `output` are μ, then raw ℓ.
pub(crate) fn likelihood(output: &Array2<f64>, y: &Array2<f64>, [low, high]: [f64; 2]) -> (f64, Array2<f64>) {
    let (n, cols) = (y.len() as f64, y.ncols());
    let (mut value, mut g) = (0.0, Array2::zeros(output.raw_dim()));
    for (r, row) in y.outer_iter().enumerate() {
        for (c, &y) in row.iter().enumerate() {
            let (mean, raw) = (output[[r, c]], output[[r, cols + c]]);
            let held = high - softplus(high - raw);
            let log_var = low + softplus(held - low);
            let (error, precision) = (mean - y, (-log_var).exp());
            value += (error * error * precision + log_var) / n;
            g[[r, c]] = 2.0 * error * precision / n;
            g[[r, cols + c]] = (1.0 - error * error * precision) / n * sigmoid(held - low) * sigmoid(high - raw);
        }
    }
    (value, g)
}
