//! Windows of work between windows of bare arithmetic.

use crate::{
    flops::flops,
    work::{Span, Step, with_steps},
};
use backcast::core::Transitions;
use backcast::nn::multiply_adds;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// How to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Threads at work.
    pub threads: usize,
    /// Windows of work; at least two.
    pub windows: usize,
    /// Length of one; it ends with the call that is then under way.
    pub window: Duration,
}

/// Several windows in short.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Half of the windows are below.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of at least one value.
    ///
    /// # Panics
    /// If there is none.
    pub fn of(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "Spread::of: no values");
        values.sort_by(f64::total_cmp);
        let (half, last) = (values.len() / 2, values.len() - 1);
        let median = if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 };
        Self { median, min: values[0], max: values[last] }
    }
}

/// What was measured, of all threads together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Units per second.
    pub rate: Spread,
    /// The ceiling beside it, in 10⁹ operations per second.
    pub ceiling: Spread,
    /// Operations per second over the ceiling, window by window; the operations are [`Flops::least`](crate::Flops::least).
    pub fraction: Spread,
    /// Cores that the process had, on average over all windows, where the system says: less than there are threads at work
    /// means that others had the rest.
    pub cores: Option<f64>,
    /// Seconds from the first unit's beginning to its end, the building of what does it included.
    pub first: f64,
}

impl Measurement {
    /// 10⁹ operations per second of a workload at its median rate.
    pub fn gflops(&self, workload: &str) -> f64 {
        self.rate.median * flops(workload).map_or(f64::NAN, |f| f.least) / 1e9
    }
}

/// Measures a workload on `data`.
///
/// # Panics
/// If there is no such workload, or no window or thread.
pub fn measure(workload: &str, data: &Transitions, settings: Settings) -> Measurement {
    let Settings { threads, windows, window } = settings;
    assert!(windows > 0 && threads > 0, "measure: {windows} windows on {threads} threads");
    let cost = flops(workload).unwrap_or_else(|| panic!("nobody has counted `{workload}`")).least / 1e9;
    let begin = Instant::now();
    with_steps(workload, data, threads, Span::First, |steps| steps[0]());
    let first = begin.elapsed().as_secs_f64();
    with_steps(workload, data, threads, Span::Steady, |steps| {
        // Caches, clocks and memory reach their steady state.
        run(steps, window.min(Duration::from_millis(300)));
        let between = (window / 2).clamp(Duration::from_millis(20), Duration::from_millis(500));
        let (mut rates, mut ceilings) = (Vec::new(), vec![ceiling(threads, between)]);
        let (begin, before) = (Instant::now(), processor_time());
        while rates.len() < windows {
            rates.push(run(steps, window));
            ceilings.push(ceiling(threads, between));
            // Where one call is much longer than a window, two are enough.
            if rates.len() >= 2 && begin.elapsed() > 2 * (window + between) * windows as u32 {
                break;
            }
        }
        let had = processor_time().zip(before).map(|(after, before)| after - before);
        let cores = had.map(|seconds| seconds / begin.elapsed().as_secs_f64());
        let beside = ceilings.windows(2).map(|c| (c[0] + c[1]) / 2.0);
        let fractions = rates.iter().zip(beside).map(|(rate, ceiling)| rate * cost / ceiling).collect();
        Measurement {
            rate: Spread::of(rates),
            ceiling: Spread::of(ceilings),
            fraction: Spread::of(fractions),
            cores,
            first,
        }
    })
}

/// Units per second of all steps together, each on a thread of its own.
fn run(steps: &mut [Step<'_>], window: Duration) -> f64 {
    together(steps.iter_mut().map(|step| {
        move || {
            let (begin, mut units) = (Instant::now(), 0);
            while begin.elapsed() < window {
                units += step();
            }
            units as f64 / begin.elapsed().as_secs_f64()
        }
    }))
}

/// 10⁹ operations per second that `threads` threads together reach with nothing but multiply–adds on registers.
pub fn ceiling(threads: usize, window: Duration) -> f64 {
    together((0..threads).map(|_| {
        move || {
            let (begin, mut operations) = (Instant::now(), 0);
            while begin.elapsed() < window {
                operations += multiply_adds(100_000).operations;
            }
            operations as f64 / begin.elapsed().as_secs_f64() / 1e9
        }
    }))
}

/// Seconds that this process has had a core, over all its threads, in hundredths; `None` where the system does not say.
fn processor_time() -> Option<f64> {
    let about = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, which may hold anything, ends with the last parenthesis.
    let mut fields = about.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut hundredths = || fields.next()?.parse::<f64>().ok();
    Some((hundredths()? + hundredths()?) / 100.0)
}

/// The sum of what the tasks return, each run on a thread of its own.
fn together<F: FnOnce() -> f64 + Send>(tasks: impl Iterator<Item = F>) -> f64 {
    std::thread::scope(|scope| {
        let threads: Vec<_> = tasks.map(|task| scope.spawn(task)).collect();
        threads.into_iter().map(|t| t.join().expect("a timed thread does not panic")).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_sorted_values() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of(vec![4.0, 1.0]), Spread { median: 2.5, min: 1.0, max: 4.0 });
    }

    #[test]
    fn a_measurement_is_whole() {
        let data = crate::rows(1000);
        let settings = Settings { threads: 2, windows: 2, window: Duration::from_millis(1) };
        let m = measure("bc", &data, settings);
        for spread in [m.rate, m.ceiling, m.fraction] {
            assert!(spread.min > 0.0 && spread.min <= spread.median && spread.median <= spread.max, "{m:?}");
            assert!(spread.max.is_finite(), "{m:?}");
        }
        assert!(m.cores.is_none_or(|cores| (0.0..1000.0).contains(&cores)), "{m:?}");
        assert!(m.first > 0.0 && m.gflops("bc") > 0.0, "{m:?}");
    }
}
