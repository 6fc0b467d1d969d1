use crate::FEWEST_FOR_INTERVAL;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Where one more number will be found with probability `level`, if it is drawn from the same normal distribution as `values`:
/// x̄ ± t·s·√(1 + 1/n), with t of Student's distribution with n − 1 degrees of freedom.
///
/// It is wide where there are few: with three values and 99 % it reaches 11.5 standard deviations to either side. None for
/// fewer than two values, or where one is not finite.
///
/// ```
/// # use approx::assert_abs_diff_eq;
/// # use backcast_stats::prediction_interval;
/// let (low, high) = prediction_interval(&[1.0, 2.0, 3.0], 0.95).unwrap();
/// // t = 4.303, s = 1, √(4/3) = 1.155.
/// assert_abs_diff_eq!(low, -2.968, epsilon = 1e-3);
/// assert_abs_diff_eq!(high, 6.968, epsilon = 1e-3);
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

/// Where *all* the numbers of one more run will be found, but for a share `rate` of runs: for each number a low and a high end.
///
/// `runs` are runs of the same kind, `[runs][numbers]`. A band for each number by itself would hold each of a hundred numbers 99
/// times in 100, and the whole run once in three. This one is for the run: *mₖ ± c·sₖ·√(1 + 1/n)*, with mean *mₖ* and deviation
/// *sₖ* of each number, and one *c* for all of them. It comes from leaving each run out: *Tᵢ*, the largest deviation among the
/// numbers of run *i*, in the units of such a band around the others; *ln c* is where the `rate` greatest of one more *ln T*
/// begin, by Student's distribution, as in [`prediction_interval`]. Numbers of one run may depend on each other in any way.
///
/// The rate is that for normal numbers. Where they are skewed it is up to twice that: a test measures both.
///
/// None for fewer than five runs, without numbers, or where one is not finite.
///
/// ```
/// # use backcast_stats::simultaneous_band;
/// let runs: Vec<Vec<f64>> = [0.9, 1.0, 1.1, 1.05, 0.95].iter().map(|x| vec![*x, 10.0 * x]).collect();
/// let band = simultaneous_band(&runs, 0.02).unwrap();
/// assert!(band.len() == 2 && band[1].0 < 9.0 && 11.0 < band[1].1);
/// ```
///
/// # Panics
/// If runs have different numbers of numbers, or `rate` is not between 0 and 1.
pub fn simultaneous_band(runs: &[Vec<f64>], rate: f64) -> Option<Vec<(f64, f64)>> {
    assert!(0.0 < rate && rate < 1.0, "simultaneous_band: a rate of {rate} is not between 0 and 1");
    let numbers = runs.first().map_or(0, Vec::len);
    assert!(runs.iter().all(|run| run.len() == numbers), "simultaneous_band: runs of different lengths");
    let finite = runs.iter().flatten().all(|x| x.is_finite());
    if runs.len() < FEWEST_FOR_INTERVAL || numbers == 0 || !finite {
        return None;
    }
    let largest = |left_out: usize| {
        let others = || runs.iter().enumerate().filter(|(i, _)| *i != left_out).map(|(_, run)| run);
        let deviation = |k: usize| {
            let (mean, reach) = mean_and_reach(others().map(|run| run[k]));
            (runs[left_out][k] - mean).abs() / reach
        };
        // No run is taken to be nearer than one such width: few numbers can agree by chance.
        (0..numbers).map(deviation).fold(1.0, f64::max).ln()
    };
    let logs: Vec<f64> = (0..runs.len()).map(largest).collect();
    // Only the upper end is asked for, so that `rate` is all above it.
    let (_, high) = prediction_interval(&logs, 1.0 - 2.0 * rate.min(0.4999))?;
    let band = |k: usize| {
        let (mean, reach) = mean_and_reach(runs.iter().map(|run| run[k]));
        (mean - high.exp() * reach, mean + high.exp() * reach)
    };
    Some((0..numbers).map(band).collect())
}

/// The mean of some numbers, and s·√(1 + 1/n), no less than a ten-thousandth of the largest: what hardly moves is not held to
/// its last digit.
fn mean_and_reach(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    let variance = values.clone().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let least = 1e-4 * values.map(f64::abs).fold(1e-12, f64::max);
    (mean, (variance * (1.0 + 1.0 / n)).sqrt().max(least))
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;
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
            assert!(abs_diff_eq!(share, level, epsilon = 4.0 * error), "{key:?} n {n}: {share} of {level}");
        }
    }

    #[test]
    fn says_nothing_where_nothing_is_known() {
        assert_eq!(prediction_interval(&[1.0], 0.9), None);
        assert_eq!(prediction_interval(&[1.0, f64::NAN], 0.9), None);
        assert_eq!(prediction_interval(&[2.0, 2.0], 0.9), Some((2.0, 2.0)));
    }

    /// Runs of `groups` curves of `steps` numbers, each drawn towards the one before it; `bend` makes them skewed.
    fn curves(key: Key, runs: usize, [groups, steps]: [usize; 2], bend: fn(f64) -> f64) -> Vec<Vec<f64>> {
        let run = |run: usize| {
            let mut noise = vec![0.0; groups * steps];
            key.fold(run as u64).normal(&mut noise);
            for at in (0..groups * steps).filter(|at| at % steps > 0) {
                noise[at] = 0.9 * noise[at - 1] + 0.436 * noise[at];
            }
            noise.into_iter().map(|x| bend(x.into())).collect()
        };
        (0..runs).map(run).collect()
    }

    /// How often one more run has a number outside the band of `n`.
    fn outside(n: usize, shape: [usize; 2], bend: fn(f64) -> f64, rate: f64) -> f64 {
        let (key, trials, fresh) = (Key::new(23).fold(n as u64), 60, 20);
        let mut out = 0;
        for trial in 0..trials {
            let runs = curves(key.fold(trial), n + fresh, shape, bend);
            let band = simultaneous_band(&runs[..n], rate).unwrap();
            let holds = |run: &Vec<f64>| run.iter().zip(&band).all(|(x, (low, high))| (low..=high).contains(&x));
            out += runs[n..].iter().filter(|run| !holds(run)).count();
        }
        out as f64 / (trials as usize * fresh) as f64
    }

    #[test]
    fn a_whole_run_is_inside_as_often_as_it_says() {
        for (n, shape) in [(12, [18, 20]), (20, [30, 3])] {
            let normal = outside(n, shape, |x| x, 0.05);
            assert!((0.01..0.08).contains(&normal), "{n} runs, {shape:?}: {normal} of 0.05");
            let skewed = outside(n, shape, |x| (0.7 * x).exp(), 0.05);
            assert!(skewed < 0.12, "{n} runs, {shape:?}, skewed: {skewed} of 0.05");
            // What a band for each number by itself does with the same runs.
            let runs = curves(Key::new(29), n + 1, shape, |x| x);
            let each = |k: usize| prediction_interval(&runs[..n].iter().map(|run| run[k]).collect::<Vec<_>>(), 0.95);
            let band: Vec<_> = (0..runs[0].len()).map(|k| each(k).unwrap()).collect();
            assert!(runs[n].iter().zip(band).any(|(x, (low, high))| !(low..=high).contains(x)));
        }
    }

    #[test]
    fn a_band_needs_five_runs_and_numbers() {
        let run = |x: f64| vec![x, 1.0];
        let four: Vec<Vec<f64>> = [0.0, 1.0, 2.0, 3.0].map(run).into();
        assert_eq!(simultaneous_band(&four, 0.1), None);
        assert_eq!(simultaneous_band(&[four.clone(), vec![run(f64::NAN)]].concat(), 0.1), None);
        assert_eq!(simultaneous_band(&vec![vec![]; 5], 0.1), None);
        // A number that never moves has a band all the same, and a narrow one.
        let (low, high) = simultaneous_band(&[four, vec![run(4.0)]].concat(), 0.1).unwrap()[1];
        assert!(low < 1.0 && 1.0 < high && high < 1.01, "{low} {high}");
    }
}
