use serde::{Deserialize, Serialize};

/// How long something was waited for, and whether it came.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waited {
    /// The time until it came, or until nobody looked any more. Not negative.
    pub time: f64,
    /// Whether it came. If not, the time is *censored*: all that is known is that it would have been longer.
    pub came: bool,
}

/// The share of those who still wait, over time: the product-limit estimate of *S(t)* (Kaplan & Meier 1958).
///
/// Times that were cut off are neither thrown away (the fast ones would be left) nor taken for the real thing (the slow ones
/// would look fast). At each time at which something came, *S* is multiplied by the share of those still watched for which it
/// did not; one that was cut off at that very time is still watched.
///
/// ```
/// use approx::assert_abs_diff_eq;
/// use backcast_stats::{Survival, Waited};
/// let came = |time| Waited { time, came: true };
/// let cut = |time| Waited { time, came: false };
/// let survival = Survival::new(&[came(1.0), cut(2.0), came(3.0), came(4.0), cut(9.0)]);
/// assert_abs_diff_eq!(survival.waiting(3.0), 4.0 / 5.0 * 2.0 / 3.0, epsilon = 1e-12);
/// assert_eq!(survival.median(), Some(4.0));
/// // One unit all wait, two units four fifths do.
/// assert_abs_diff_eq!(survival.restricted_mean(3.0), 1.0 + 2.0 * 0.8, epsilon = 1e-12);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Survival {
    /// Each time at which something came, and the share that waits after it.
    steps: Vec<(f64, f64)>,
}

impl Survival {
    /// The estimate from `all` waits.
    ///
    /// # Panics
    /// If there is none, or a time is negative or no number.
    pub fn new(all: &[Waited]) -> Self {
        assert!(!all.is_empty(), "Survival::new: nobody waited");
        if let Some(bad) = all.iter().find(|w| w.time.is_nan() || w.time < 0.0) {
            panic!("Survival::new: a time of {}", bad.time);
        }
        let mut all = all.to_vec();
        all.sort_by(|a, b| a.time.total_cmp(&b.time));
        let (mut steps, mut waiting, mut watched) = (Vec::new(), 1.0, all.len());
        for same in all.chunk_by(|a, b| a.time == b.time) {
            let came = same.iter().filter(|w| w.came).count();
            if came > 0 {
                waiting *= (watched - came) as f64 / watched as f64;
                steps.push((same[0].time, waiting));
            }
            watched -= same.len();
        }
        Self { steps }
    }

    /// *S(t)*: the share that waits longer than `time`. After the last time at which something came, it stays as it is.
    pub fn waiting(&self, time: f64) -> f64 {
        let before = self.steps.partition_point(|(at, _)| *at <= time);
        before.checked_sub(1).map_or(1.0, |last| self.steps[last].1)
    }

    /// The first time after which at most half wait; `None` if more than half wait to the end.
    pub fn median(&self) -> Option<f64> {
        // A share of exactly a half may be a hair above it.
        self.steps.iter().find(|(_, waiting)| *waiting <= 0.5 + 1e-12).map(|(at, _)| *at)
    }

    /// The mean of *min(time, horizon)*: the area below *S* from 0 to `horizon`. Unlike the mean it needs no guess about those
    /// that were cut off, provided that some were watched until `horizon`.
    pub fn restricted_mean(&self, horizon: f64) -> f64 {
        let (mut area, mut from, mut waiting) = (0.0, 0.0, 1.0);
        for &(at, after) in self.steps.iter().take_while(|(at, _)| *at < horizon) {
            area += waiting * (at - from);
            (from, waiting) = (at, after);
        }
        area + waiting * (horizon - from).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::{abs_diff_eq, assert_abs_diff_eq};
    use backcast_core::Key;

    fn waits(times: &[i32]) -> Vec<Waited> {
        times.iter().map(|&t| Waited { time: f64::from(t.abs()), came: t > 0 }).collect()
    }

    /// The remission times under 6-mercaptopurine of Freireich et al. (1963), a worked example of most textbooks; − is cut off.
    #[test]
    fn the_textbook_example_comes_out() {
        let times = [6, 6, 6, -6, 7, -9, 10, -10, -11, 13, 16, -17, -19, -20, 22, 23, -25, -32, -32, -34, -35];
        let survival = Survival::new(&waits(&times));
        for (time, want) in [
            (5.0, 1.0),
            (6.0, 0.857),
            (7.0, 0.807),
            (10.0, 0.753),
            (13.0, 0.690),
            (16.0, 0.627),
            (22.0, 0.538),
            (40.0, 0.448),
        ] {
            assert!(
                abs_diff_eq!(survival.waiting(time), want, epsilon = 6e-4),
                "S({time}) is {}",
                survival.waiting(time)
            );
        }
        assert_eq!(survival.median(), Some(23.0));
        let (low, high) = (survival.restricted_mean(6.0), survival.restricted_mean(35.0));
        assert_eq!(low, 6.0);
        let by_hand = 6.0
            + 0.857_142_9
            + 0.806_722_7 * 3.0
            + 0.752_941_2 * 3.0
            + 0.690_196_1 * 3.0
            + 0.627_451 * 6.0
            + 0.537_815_1
            + 0.448_179_3 * 12.0;
        assert_abs_diff_eq!(high, by_hand, epsilon = 1e-5);
    }

    /// Where nothing was cut off before the horizon, the restricted mean is the plain mean of min(time, horizon), and the share
    /// that waits the plain share.
    #[test]
    fn without_cuts_it_is_counting() {
        for seed in 0..50 {
            let key = Key::new(seed);
            let times: Vec<i32> = (0..37).map(|i| key.below(30, i) as i32 + 1).collect();
            // All are watched to 20; later ones are cut.
            let cut: Vec<i32> = times.iter().map(|&t| if t > 20 { -20 } else { t }).collect();
            let survival = Survival::new(&waits(&cut));
            for horizon in [0.5, 4.0, 20.0] {
                let mean = times.iter().map(|&t| f64::from(t).min(horizon)).sum::<f64>() / 37.0;
                let got = survival.restricted_mean(horizon);
                assert!(abs_diff_eq!(got, mean, epsilon = 1e-12), "seed {seed}: {got} is not {mean}");
                let share = times.iter().filter(|&&t| f64::from(t) > horizon).count() as f64 / 37.0;
                assert!(
                    horizon >= 20.0 || abs_diff_eq!(survival.waiting(horizon), share, epsilon = 1e-12),
                    "seed {seed}"
                );
            }
        }
    }

    /// Exponential waits, cut off at random: the estimate finds the median that dropping the cut ones, or counting them as
    /// come, gets wrong.
    #[test]
    fn censoring_is_seen_through() {
        let (seed, n) = (6, 4000);
        let mut unit = vec![0.0; 2 * n];
        Key::new(seed).uniform(1e-6, 1.0, &mut unit);
        let exponential = |u: backcast_core::Real, mean: f64| -(u as f64).ln() * mean;
        let all: Vec<Waited> = (0..n)
            .map(|i| {
                let (wait, cut) = (exponential(unit[i], 10.0), exponential(unit[n + i], 8.0));
                Waited { time: wait.min(cut), came: wait <= cut }
            })
            .collect();
        let true_median = 10.0 * std::f64::consts::LN_2;
        let median = Survival::new(&all).median().unwrap();
        assert!(abs_diff_eq!(median, true_median, epsilon = 0.7), "seed {seed}: {median}");
        let plain = |mut times: Vec<f64>| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        };
        let dropped = plain(all.iter().filter(|w| w.came).map(|w| w.time).collect());
        let taken = plain(all.iter().map(|w| w.time).collect());
        assert!(dropped < true_median - 2.0 && taken < true_median - 2.0, "{dropped}, {taken}");
    }

    #[test]
    fn the_ends_of_the_scale() {
        let never = Survival::new(&waits(&[-5, -3]));
        assert_eq!((never.median(), never.waiting(99.0), never.restricted_mean(7.0)), (None, 1.0, 7.0));
        let at_once = Survival::new(&[Waited { time: 0.0, came: true }; 3]);
        assert_eq!((at_once.median(), at_once.waiting(0.0), at_once.restricted_mean(7.0)), (Some(0.0), 0.0, 0.0));
        assert_eq!(Survival::new(&waits(&[1, 2, 3, 4])).median(), Some(2.0));
    }

    #[test]
    #[should_panic(expected = "nobody waited")]
    fn nobody_is_refused() {
        Survival::new(&[]);
    }
}
