//! Numbers in units of their own deviation.

use backcast_core::Real;

/// (x − mean)/(deviation + 10⁻⁶), the deviation that of a population; equal numbers become 0.
pub fn standardise(x: &mut [Real]) {
    let n = x.len().max(1) as Real;
    let mean = x.iter().sum::<Real>() / n;
    let std = (x.iter().map(|x| (x - mean) * (x - mean)).sum::<Real>() / n).sqrt();
    x.iter_mut().for_each(|x| *x = (*x - mean) / (std + 1e-6));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_are_0_and_1() {
        let mut x = [1.0, 2.0, 4.0, 9.0];
        standardise(&mut x);
        let mean = x.iter().sum::<Real>() / 4.0;
        let square = x.iter().map(|x| x * x).sum::<Real>() / 4.0;
        assert!(mean.abs() < 1e-6 && (square - 1.0).abs() < 1e-5, "{x:?}");
        let mut equals = [0.5; 3];
        standardise(&mut equals);
        assert_eq!(equals, [0.0; 3]);
    }
}
