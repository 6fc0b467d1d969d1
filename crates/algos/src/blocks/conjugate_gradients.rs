//! Conjugate gradients (Hestenes & Stiefel 1952), for linear systems whose matrix is known by its products alone.

use backcast_core::Real;

/// ⟨a, b⟩, summed in double precision.
pub fn dot(a: &[Real], b: &[Real]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum()
}

/// The solution of a system, and room to find it. It grows to the size of the largest.
#[derive(Clone, Debug, Default)]
pub struct ConjugateGradients {
    /// x.
    pub solution: Vec<Real>,
    /// A·p.
    product: Vec<Real>,
    /// b − A·x.
    residual: Vec<Real>,
    /// p.
    direction: Vec<Real>,
}

impl ConjugateGradients {
    // ANCHOR: conjugate_gradients
    /// Solves A·x = b for a symmetric positive A, from x = 0, in at most so many iterations. `product_with` writes A·p.
    pub fn solve(
        &mut self,
        mut product_with: impl FnMut(&[Real], &mut [Real]),
        b: &[Real],
        iterations: usize,
    ) {
        let Self { solution: x, product, residual, direction } = self;
        x.clear();
        x.resize(b.len(), 0.0);
        product.resize(b.len(), 0.0);
        residual.clear();
        residual.extend_from_slice(b);
        direction.clear();
        direction.extend_from_slice(b);
        let mut squared = dot(residual, residual);
        for _ in 0..iterations {
            if squared < 1e-20 {
                break;
            }
            product_with(direction, product);
            let along = squared / dot(direction, product);
            for i in 0..b.len() {
                x[i] += (along * direction[i] as f64) as Real;
                residual[i] -= (along * product[i] as f64) as Real;
            }
            let now = dot(residual, residual);
            for i in 0..b.len() {
                direction[i] = residual[i] + (now / squared * direction[i] as f64) as Real;
            }
            squared = now;
        }
    }
    // ANCHOR_END: conjugate_gradients
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_positive_is_solved() {
        let a = [[4.0, 1.0, 0.5], [1.0, 3.0, -1.0], [0.5, -1.0, 2.0]];
        let times = |x: &[Real], out: &mut [Real]| {
            let row = |row: [Real; 3]| row.iter().zip(x).map(|(a, x)| a * x).sum();
            out.iter_mut().zip(a).for_each(|(out, of)| *out = row(of));
        };
        let want = [1.0, -2.0, 0.5];
        let mut b = [0.0; 3];
        times(&want, &mut b);
        let mut gradients = ConjugateGradients::default();
        gradients.solve(times, &b, 3);
        for (x, want) in gradients.solution.iter().zip(want) {
            assert!((x - want).abs() < 1e-5, "{x} is not {want} after three steps");
        }
        gradients.solve(times, &b, 1);
        assert!((gradients.solution[0] - 1.0).abs() > 1e-2, "one step is not enough");
        gradients.solve(times, &[0.0; 3], 10);
        assert_eq!(gradients.solution, [0.0; 3]);
    }
}
