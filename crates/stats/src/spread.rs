use crate::{Bootstrap, Metric, Scores, interval};
use backcast_core::Key;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The fewest runs of a task that an interval is given for: one of three runs that is called "95 %" covers the truth three
/// times in four.
pub const FEWEST_FOR_INTERVAL: usize = 5;

/// How far the runs behind a summary lie apart, as far as so many runs can say it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// Of [`FEWEST_FOR_INTERVAL`] runs of every task or more: the 95 % bootstrap interval of the summary, its two ends.
    Interval95([f64; 2]),
    /// Of fewer: the lowest and the highest run.
    Range([f64; 2]),
}

impl Spread {
    /// That of `scores`, around `metric` of them.
    ///
    /// ```
    /// use backcast_core::Key;
    /// use backcast_stats::{Metric, Scores, Spread};
    /// let few = Scores::one_task(&[61.0, 64.0, 58.0])?;
    /// assert_eq!(Spread::of(&few, Metric::Iqm, Key::new(3)), Spread::Range([58.0, 64.0]));
    /// let enough = Scores::one_task(&[61.0, 64.0, 58.0, 70.0, 66.0])?;
    /// assert_eq!(Spread::of(&enough, Metric::Iqm, Key::new(3)).name(), "95 % interval");
    /// # Ok::<(), backcast_stats::ScoresError>(())
    /// ```
    pub fn of(scores: &Scores, metric: Metric, key: Key) -> Self {
        if Self::enough(scores) {
            let of = interval(scores, metric, Bootstrap::default(), key);
            return Self::Interval95([of.low, of.high]);
        }
        let all = (0..scores.tasks()).flat_map(|task| scores.task(task));
        let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &x| (l.min(x), h.max(x)));
        Self::Range([low, high])
    }

    /// Whether every task has [`FEWEST_FOR_INTERVAL`] runs.
    pub fn enough(scores: &Scores) -> bool {
        (0..scores.tasks()).all(|task| scores.task(task).len() >= FEWEST_FOR_INTERVAL)
    }

    /// Both ends, the lower first.
    pub fn ends(self) -> [f64; 2] {
        let (Self::Interval95(ends) | Self::Range(ends)) = self;
        ends
    }

    /// What it is: `95 % interval`, or `range`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interval95(_) => "95 % interval",
            Self::Range(_) => "range",
        }
    }

    /// Its ends, [`named`](Spread::name) if not all of its `column` of a table are of one kind.
    pub fn among(self, column: &[Self]) -> String {
        match Self::heading(column) {
            MIXED => format!("{}: {self}", self.name()),
            _ => self.to_string(),
        }
    }

    /// The heading of a column of a table.
    pub fn heading(column: &[Self]) -> &'static str {
        match column.split_first() {
            None => Self::Range([0.0; 2]).name(),
            Some((first, others)) if others.iter().all(|other| other.name() == first.name()) => first.name(),
            Some(_) => MIXED,
        }
    }
}

/// The heading of a column in which some have an interval and others have too few runs for one.
const MIXED: &str = "spread";

/// `58.0 to 64.0`.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = self.ends();
        write!(f, "{}", format!("{low:.1} to {high:.1}").replace('-', "−"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_than_five_runs_of_any_task_have_no_interval() {
        let of = |tasks: &[&[f64]]| {
            let tasks: Vec<Vec<f64>> = tasks.iter().map(|runs| runs.to_vec()).collect();
            Spread::of(&Scores::new(&tasks).unwrap(), Metric::Iqm, Key::new(1))
        };
        let five = [1.0, 2.0, 3.0, 4.0, 9.0];
        assert_eq!(of(&[&five[..4]]), Spread::Range([1.0, 4.0]));
        assert_eq!(of(&[&five, &[-3.0]]), Spread::Range([-3.0, 9.0]));
        let all = of(&[&five]);
        let whole = interval(&Scores::one_task(&five).unwrap(), Metric::Iqm, Bootstrap::default(), Key::new(1));
        assert_eq!(all, Spread::Interval95([whole.low, whole.high]));
        assert_eq!(of(&[&five, &five]).name(), "95 % interval");
    }

    #[test]
    fn a_column_says_what_it_holds() {
        let (range, whole) = (Spread::Range([-1.0, 2.0]), Spread::Interval95([0.5, 1.0]));
        assert_eq!((Spread::heading(&[range, range]), range.among(&[range])), ("range", "−1.0 to 2.0".into()));
        assert_eq!((Spread::heading(&[whole]), whole.among(&[whole])), ("95 % interval", "0.5 to 1.0".into()));
        assert_eq!(range.among(&[range, whole]), "range: −1.0 to 2.0");
        assert_eq!(whole.among(&[range, whole]), "95 % interval: 0.5 to 1.0");
    }
}
