//! Linear systems whose matrix nobody writes down.

use backcast_core::Real;

pub(super) fn dot(a: &[Real], b: &[Real]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum()
}

// ANCHOR: conjugate_gradients
/// Solves A·x = b for a symmetric positive A, known by its products alone, from x = 0 (Hestenes & Stiefel 1952). `work` is x, and
/// room for A·p, the residual b − A·x and the direction p.
pub(super) fn conjugate_gradients(
    mut product_with: impl FnMut(&[Real], &mut [Real]),
    b: &[Real],
    iterations: usize,
    [x, product, residual, direction]: [&mut Vec<Real>; 4],
) {
    x.clear();
    x.resize(b.len(), 0.0);
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
