use statrs::distribution::{ContinuousCDF, StudentsT};

/// Where one more number will be found with probability `level`, if it is drawn from the same normal distribution as `values`:
/// x̄ ± t·s·√(1 + 1/n), with t of Student's distribution with n − 1 degrees of freedom.
///
/// It is wide where there are few: with three values and 99 % it reaches 11.5 standard deviations to either side. None for
/// fewer than two values, or where one is not finite.
///
/// ```
/// # use backcast_stats::prediction_interval;
/// let (low, high) = prediction_interval(&[1.0, 2.0, 3.0], 0.95).unwrap();
/// // t = 4.303, s = 1, √(4/3) = 1.155.
/// assert!((low + 2.968).abs() < 1e-3 && (high - 6.968).abs() < 1e-3);
/// ```
///
/// # Panics
/// If `level` is not between 0 and 1.
pub fn prediction_interval(values: &[f64], level: f64) -> Option<(f64, f64)> {
    assert!(0.0 < level && level < 1.0, "prediction_interval: a level of {level} is not between 0 and 1");
    let n = values.len() as f64;
    if values.len() < 2 || values.iter().any(|x| !x.is_finite()) {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let t = StudentsT::new(0.0, 1.0, n - 1.0).expect("a degree of freedom").inverse_cdf(0.5 + level / 2.0);
    let reach = t * (variance * (1.0 + 1.0 / n)).sqrt();
    Some((mean - reach, mean + reach))
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::Key;

    #[test]
    fn holds_the_next_number_as_often_as_it_says() {
        let (key, trials) = (Key::new(17), 4000);
        for (n, level) in [(3, 0.8), (4, 0.95), (10, 0.99)] {
            let held = (0..trials).filter(|&trial| {
                let mut drawn = vec![0.0; n + 1];
                key.fold(n as u64).fold(trial).normal(&mut drawn);
                let drawn: Vec<f64> = drawn.iter().map(|&x| 5.0 - 2.0 * x as f64).collect();
                let (low, high) = prediction_interval(&drawn[..n], level).unwrap();
                (low..=high).contains(&drawn[n])
            });
            let share = held.count() as f64 / trials as f64;
            let error = (level * (1.0 - level) / trials as f64).sqrt();
            assert!((share - level).abs() < 4.0 * error, "{key:?} n {n}: {share} of {level}");
        }
    }

    #[test]
    fn says_nothing_where_nothing_is_known() {
        assert_eq!(prediction_interval(&[1.0], 0.9), None);
        assert_eq!(prediction_interval(&[1.0, f64::NAN], 0.9), None);
        assert_eq!(prediction_interval(&[2.0, 2.0], 0.9), Some((2.0, 2.0)));
    }
}
