use ndarray::NdFloat;

/// The `q`-quantile of ascending numbers, interpolated linearly between neighbours (definition 7 of Hyndman & Fan 1996); of
/// none, NaN.
///
/// ```
/// use backcast_core::quantile;
/// assert_eq!([0.0, 0.25, 0.5, 1.0].map(|q| quantile(&[1.0, 2.0, 4.0], q)), [1.0, 1.5, 2.0, 4.0]);
/// ```
///
/// # Panics
/// If `q` is not in 0 ..= 1.
pub fn quantile<T: NdFloat>(sorted: &[T], q: f64) -> T {
    assert!((0.0..=1.0).contains(&q), "quantile: {q} is no share");
    let Some(last) = sorted.len().checked_sub(1) else { return T::nan() };
    let place = q * last as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * T::from(place.fract()).expect("a number between 0 and 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_line_lie_on_it() {
        let line: Vec<f64> = (0..=20).map(f64::from).collect();
        assert_eq!([0.0, 0.05, 0.5, 0.975, 1.0].map(|q| quantile(&line, q)), [0.0, 1.0, 10.0, 19.5, 20.0]);
        assert_eq!(quantile(&[7.0], 0.3), 7.0);
        assert!(quantile::<f32>(&[], 0.3).is_nan());
        // What is beyond the place does not count.
        assert_eq!(quantile(&[1.0, 2.0, f64::INFINITY], 0.5), 2.0);
    }
}
