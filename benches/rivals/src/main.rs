//! One step of one small net in other Rust libraries, beside ours.
//!
//! A net 23 → 256 → 256 → 1 with ReLUs, a batch of 256, the mean of squared errors, its gradient, Adam: the step that every
//! critic takes. One thread. Everybody gets the same numbers, and the losses that are printed show that everybody learns.
//!
//! ```sh
//! cd benches/rivals && RAYON_NUM_THREADS=1 cargo run --release
//! ```
#![forbid(unsafe_code)]

use std::time::Instant;

const BATCH: usize = 256;
const SIZES: [usize; 4] = [23, 256, 256, 1];
const RATE: f32 = 3e-4;
/// Steps of one window, and windows.
const STEPS: usize = 50;
const WINDOWS: usize = 9;

/// Does a step and, if asked, says what the loss was before it.
type Step = Box<dyn FnMut(bool) -> Option<f32>>;

/// The numbers everybody gets.
struct Problem {
    /// `[BATCH, 23]`.
    x: Vec<f32>,
    /// `[BATCH, 1]`.
    y: Vec<f32>,
}

fn problem() -> Problem {
    let mut x = vec![0.0; BATCH * SIZES[0]];
    backcast_core::Key::new(1).normal(&mut x);
    let y = x.chunks_exact(SIZES[0]).map(|row| row[0] * row[1] + row[2]).collect();
    Problem { x, y }
}

fn main() {
    let mut rivals: Vec<(&str, Step)> =
        vec![("backcast-nn", ours::step(problem())), ("ndarray, by hand", by_hand::step(problem()))];
    #[cfg(feature = "burn")]
    rivals.push(("burn, flex", with_burn::step(problem())));
    #[cfg(feature = "candle")]
    rivals.push(("candle", with_candle::step(problem())));

    let firsts: Vec<f32> = rivals.iter_mut().map(|(_, step)| step(true).expect("asked for")).collect();
    let mut times = vec![Vec::new(); rivals.len()];
    // In turns, so that a busy moment of the machine is everybody's.
    for window in 0..=WINDOWS {
        for ((_, step), times) in rivals.iter_mut().zip(&mut times) {
            let begin = Instant::now();
            for _ in 0..STEPS {
                step(false);
            }
            // The first warms up.
            if window > 0 {
                times.push(begin.elapsed().as_secs_f64() * 1e6 / STEPS as f64);
            }
        }
    }
    println!("one step of 23-256-256-1 on {BATCH} rows, one thread; µs, median of {WINDOWS} windows of {STEPS} steps");
    let mut own = 0.0;
    for (i, (name, step)) in rivals.iter_mut().enumerate() {
        let times = &mut times[i];
        times.sort_by(f64::total_cmp);
        let median = times[WINDOWS / 2];
        own = if i == 0 { median } else { own };
        let (first, last) = (firsts[i], step(true).expect("asked for"));
        println!(
            "{name:18} {median:8.1} [{:.1}-{:.1}]  {:.2} times ours  loss {first:.2} → {last:.1e}",
            times[0],
            times[WINDOWS - 1],
            median / own
        );
    }
}

mod ours {
    use super::{BATCH, Problem, RATE, SIZES, Step};
    use backcast_core::Key;
    use backcast_nn::{Activation, Adam, Init, Mlp, Store};
    use ndarray::Array2;

    pub(crate) fn step(problem: Problem) -> Step {
        let x = Array2::from_shape_vec((BATCH, SIZES[0]), problem.x).expect("as many numbers");
        let y = Array2::from_shape_vec((BATCH, 1), problem.y).expect("as many numbers");
        let mut store = Store::default();
        let net = Mlp::new(&mut store, "net", &SIZES, 1, Activation::Relu, Init::FanIn, Key::new(2));
        let mut adam = Adam::new(net.range(), RATE);
        Box::new(move |ask| {
            let loss = adam.minimise(&mut store, |tape| {
                (net.forward(tape.input(x.view())) - tape.input(y.view())).square().mean()
            });
            ask.then_some(loss)
        })
    }
}

/// What one writes in an afternoon: `dot`, element by element, a new array for every result.
mod by_hand {
    use super::{BATCH, Problem, RATE, SIZES, Step};
    use backcast_core::Key;
    use ndarray::{Array, Array1, Array2, Axis, Dimension, Zip};

    struct Layer {
        weight: Array2<f32>,
        bias: Array1<f32>,
        moments: Moments<Array2<f32>>,
        bias_moments: Moments<Array1<f32>>,
    }

    struct Moments<T> {
        m: T,
        v: T,
    }

    fn adam<D: Dimension>(p: &mut Array<f32, D>, g: &Array<f32, D>, moments: &mut Moments<Array<f32, D>>, t: i32) {
        let (one, two) = (1.0 - 0.9f32.powi(t), 1.0 - 0.999f32.powi(t));
        Zip::from(p).and(g).and(&mut moments.m).and(&mut moments.v).for_each(|p, &g, m, v| {
            *m = 0.9 * *m + 0.1 * g;
            *v = 0.999 * *v + 0.001 * g * g;
            *p -= RATE * (*m / one) / ((*v / two).sqrt() + 1e-8);
        });
    }

    pub(crate) fn step(problem: Problem) -> Step {
        let x = Array2::from_shape_vec((BATCH, SIZES[0]), problem.x).expect("as many numbers");
        let y = Array2::from_shape_vec((BATCH, 1), problem.y).expect("as many numbers");
        let layer = |(i, d): (usize, &[usize])| {
            let mut numbers = vec![0.0; d[0] * d[1]];
            let bound = (d[0] as f32).sqrt().recip();
            Key::new(2).fold(i as u64).uniform(-bound, bound, &mut numbers);
            let weight = Array2::from_shape_vec((d[0], d[1]), numbers).expect("as many numbers");
            let (w, b) = (Array2::zeros(weight.dim()), Array1::zeros(d[1]));
            Layer {
                bias: b.clone(),
                moments: Moments { m: w.clone(), v: w },
                bias_moments: Moments { m: b.clone(), v: b },
                weight,
            }
        };
        let mut layers: Vec<Layer> = SIZES.windows(2).enumerate().map(layer).collect();
        let mut t = 0;
        Box::new(move |ask| {
            t += 1;
            let mut inputs = vec![x.clone()];
            for (i, layer) in layers.iter().enumerate() {
                let sum = inputs[i].dot(&layer.weight) + &layer.bias;
                inputs.push(if i + 1 < layers.len() { sum.mapv(|z| z.max(0.0)) } else { sum });
            }
            let error = inputs.last().expect("an output") - &y;
            let loss = ask.then(|| error.mapv(|e| e * e).mean().expect("a row"));
            let mut gradient = error * (2.0 / BATCH as f32);
            for (i, layer) in layers.iter_mut().enumerate().rev() {
                let of_weight = inputs[i].t().dot(&gradient).as_standard_layout().into_owned();
                let of_bias = gradient.sum_axis(Axis(0));
                if i > 0 {
                    gradient = gradient.dot(&layer.weight.t());
                    Zip::from(&mut gradient).and(&inputs[i]).for_each(|g, &h| *g = if h > 0.0 { *g } else { 0.0 });
                }
                adam(&mut layer.weight, &of_weight, &mut layer.moments, t);
                adam(&mut layer.bias, &of_bias, &mut layer.bias_moments, t);
            }
            loss
        })
    }
}

#[cfg(feature = "burn")]
mod with_burn {
    use super::{BATCH, Problem, RATE, SIZES, Step};
    use burn::nn::{Linear, LinearConfig, Relu};
    use burn::optim::{AdamConfig, GradientsParams};
    use burn::prelude::*;
    use burn::tensor::TensorData;

    #[derive(Module, Debug)]
    struct Net {
        first: Linear,
        second: Linear,
        last: Linear,
        activation: Relu,
    }

    impl Net {
        fn forward(&self, x: Tensor<2>) -> Tensor<2> {
            let h = self.activation.forward(self.first.forward(x));
            self.last.forward(self.activation.forward(self.second.forward(h)))
        }
    }

    pub(crate) fn step(problem: Problem) -> Step {
        let device = Device::flex().autodiff();
        let linear = |i: usize| LinearConfig::new(SIZES[i], SIZES[i + 1]).init(&device);
        let net = Net { first: linear(0), second: linear(1), last: linear(2), activation: Relu::new() };
        let x = Tensor::<2>::from_data(TensorData::new(problem.x, [BATCH, SIZES[0]]), &device);
        let y = Tensor::<2>::from_data(TensorData::new(problem.y, [BATCH, 1]), &device);
        let mut adam = AdamConfig::new().init();
        let mut net = Some(net);
        Box::new(move |ask| {
            let before = net.take().expect("put back below");
            let loss = (before.forward(x.clone()) - y.clone()).square().mean();
            let gradients = GradientsParams::from_grads(loss.backward(), &before);
            net = Some(adam.step(RATE as f64, before, gradients));
            ask.then(|| loss.into_scalar::<f32>())
        })
    }
}

#[cfg(feature = "candle")]
mod with_candle {
    use super::{BATCH, Problem, RATE, SIZES, Step};
    use candle_core::{DType, Device, Tensor};
    use candle_nn::{AdamW, Module, Optimizer, ParamsAdamW, VarBuilder, VarMap, linear}; // tidy: allow

    pub(crate) fn step(problem: Problem) -> Step {
        let device = Device::Cpu;
        let variables = VarMap::new();
        let builder = VarBuilder::from_varmap(&variables, DType::F32, &device);
        let layers: Vec<_> = (0..3)
            .map(|i| linear(SIZES[i], SIZES[i + 1], builder.pp(i.to_string())).expect("a layer of these sizes"))
            .collect();
        let x = Tensor::from_vec(problem.x, (BATCH, SIZES[0]), &device).expect("as many numbers");
        let y = Tensor::from_vec(problem.y, (BATCH, 1), &device).expect("as many numbers");
        // Without decay it is Adam.
        let settings = ParamsAdamW { lr: RATE as f64, weight_decay: 0.0, ..ParamsAdamW::default() };
        let mut adam = AdamW::new(variables.all_vars(), settings).expect("variables of one device");
        let mut step = move |ask: bool| -> candle_core::Result<Option<f32>> {
            let h = layers[0].forward(&x)?.relu()?;
            let h = layers[1].forward(&h)?.relu()?;
            let loss = (layers[2].forward(&h)? - &y)?.sqr()?.mean_all()?;
            adam.backward_step(&loss)?;
            if ask { loss.to_scalar().map(Some) } else { Ok(None) }
        };
        Box::new(move |ask| step(ask).expect("a step on these shapes"))
    }
}
