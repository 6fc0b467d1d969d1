use crate::{Real, Shape};
use backcast_core::Key;
use serde::{Deserialize, Serialize};

/// How a layer's parameters are drawn. `fan_in` is the number of inputs of the layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// Weights and biases uniform in ±1/√fan_in: PyTorch's `nn.Linear`.
    FanIn,
    /// Weights from a normal with deviation 1/(2√fan_in) cut off at two deviations, biases zero: the ensembles of MBPO and MOPO.
    TruncatedNormal,
    /// Weights with orthonormal columns or rows times the gain, biases zero (Saxe, McClelland & Ganguli, arXiv:1312.6120).
    Orthogonal(Real),
    /// Weights uniform in ±gain·√(6/(fan_in + fan_out)), biases zero (Glorot & Bengio 2010).
    Xavier(Real),
    /// Weights and biases uniform in ±bound: the last layers of EDAC.
    Uniform(Real),
}

impl Init {
    /// Draws a weight, `[members, in, out]`: every member from a key of its own, so that members differ.
    pub(crate) fn weight(self, key: Key, shape: Shape, out: &mut [Real]) {
        let (fan_in, fan_out) = (shape.rows as Real, shape.cols as Real);
        for (member, w) in out.chunks_exact_mut(shape.rows * shape.cols).enumerate() {
            let key = key.fold(member as u64);
            match self {
                Self::FanIn => key.uniform(-fan_in.sqrt().recip(), fan_in.sqrt().recip(), w),
                Self::TruncatedNormal => truncated_normal(key, 0.5 / fan_in.sqrt(), w),
                Self::Orthogonal(gain) => orthogonal(key, shape, gain, w),
                Self::Xavier(gain) => {
                    let bound = gain * (6.0 / (fan_in + fan_out)).sqrt();
                    key.uniform(-bound, bound, w);
                }
                Self::Uniform(bound) => key.uniform(-bound, bound, w),
            }
        }
    }

    /// Draws a bias, `[members, 1, out]`, of a layer with `fan_in` inputs.
    pub(crate) fn bias(self, key: Key, fan_in: usize, shape: Shape, out: &mut [Real]) {
        let bound = match self {
            Self::FanIn => (fan_in as Real).sqrt().recip(),
            Self::Uniform(bound) => bound,
            _ => 0.0,
        };
        for (member, b) in out.chunks_exact_mut(shape.cols).enumerate() {
            key.fold(member as u64).uniform(-bound, bound, b);
        }
    }
}

/// Normal numbers beyond two deviations are drawn again.
fn truncated_normal(key: Key, std: Real, out: &mut [Real]) {
    key.normal(out);
    for (i, x) in out.iter_mut().enumerate() {
        let mut attempt = 0;
        while x.abs() > 2.0 {
            key.fold(i as u64).fold(attempt).normal(std::slice::from_mut(x));
            attempt += 1;
        }
        *x *= std;
    }
}

/// The Q of a QR decomposition of a normal matrix, its signs fixed by R's diagonal, so that Q is uniform (Haar).
fn orthogonal(key: Key, shape: Shape, gain: Real, out: &mut [Real]) {
    let (tall, thin) = (shape.rows.max(shape.cols), shape.rows.min(shape.cols));
    let mut normal = vec![0.0; tall * thin];
    key.normal(&mut normal);
    let matrix = nalgebra::DMatrix::from_iterator(tall, thin, normal.iter().map(|&x| x as f64));
    let (q, r) = matrix.qr().unpack();
    for i in 0..shape.rows {
        for j in 0..shape.cols {
            let (row, col) = if shape.rows >= shape.cols { (i, j) } else { (j, i) };
            out[i * shape.cols + j] = gain * (q[(row, col)] * r[(col, col)].signum()) as Real;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::{abs_diff_eq, assert_abs_diff_eq};
    use nalgebra::DMatrix;

    fn draw(init: Init, rows: usize, cols: usize) -> Vec<Real> {
        let shape = Shape::new(2, rows, cols);
        let mut w = vec![0.0; shape.len()];
        init.weight(Key::new(4), shape, &mut w);
        w
    }

    #[test]
    fn orthogonal_matrices_are_orthogonal() {
        for (rows, cols) in [(20, 7), (7, 20), (9, 9)] {
            let w = draw(Init::Orthogonal(1.5), rows, cols);
            let w = DMatrix::from_row_iterator(rows, cols, w[..rows * cols].iter().map(|&x| f64::from(x)));
            let gram = if rows >= cols { w.tr_mul(&w) } else { &w * w.transpose() };
            assert_abs_diff_eq!(gram, DMatrix::identity(gram.nrows(), gram.ncols()) * 2.25, epsilon = 1e-5);
        }
    }

    #[test]
    fn draws_have_their_spread_and_members_differ() {
        for (init, std) in [
            // A normal cut at two deviations has 0.8796 of its deviation left.
            (Init::TruncatedNormal, 0.8796 * 0.5 / 100f64.sqrt()),
            (Init::FanIn, 0.1 / 3f64.sqrt()),
            (Init::Uniform(0.003), 0.003 / 3f64.sqrt()),
            (Init::Xavier(1.0), (6.0 / 200.0 / 3.0f64).sqrt()),
        ] {
            let w = draw(init, 100, 100);
            assert_ne!(w[..10_000], w[10_000..], "{init:?}");
            let spread = (w.iter().map(|&x| (x as f64).powi(2)).sum::<f64>() / w.len() as f64).sqrt();
            assert!(abs_diff_eq!(spread / std, 1.0, epsilon = 0.03), "{init:?}: {spread} is not {std}");
        }
    }
}
