//! Datasets of several agents who act at once, each with one of a few actions, for a reward they share.
//!
//! | array | shape | |
//! |---|---|---|
//! | `observations` | `[N, agents, obs]` | what each sees |
//! | `actions` | `[N, agents]`, integers from 0 | what each does |
//! | `rewards` | `[N]` or `[N, 1]` | *r*, of all of them |
//! | `terminals` | `[N]` or `[N, 1]`, booleans or 0 and 1 | the environment ended after this row |
//! | `timeouts` | the same, optional | the recording was truncated after this row |
//! | `next_observations` | `[N, agents, obs]`, optional | what each sees next |
//! | `state`, `next_state` | `[N, state]`, optional, both or neither | all there is to see |
//!
//! Anything else is passed over. A truncation is never a terminal. Where a file does not hold what comes next, it is taken from the row after,
//! and the last row of an episode makes no transition.

use crate::arrays::ReadArrays;
use crate::{DataError, Format, format};
use backcast_core::{Key, Real};
use ndarray::{Array1, Array2, Array3, Axis};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A joint dataset in memory, row after row.
#[derive(Clone, Debug, PartialEq)]
pub struct JointDataset {
    /// Where it came from.
    pub origin: PathBuf,
    /// Actions an agent has.
    pub actions: usize,
    /// What each sees, `[rows, agents, obs]`.
    pub obs: Array3<Real>,
    /// What each does, `[rows, agents]`.
    pub act: Array2<usize>,
    /// What it pays, `[rows]`.
    pub reward: Array1<Real>,
    /// Whether the environment ended after a row.
    pub terminal: Vec<bool>,
    /// Whether the recording was truncated after a row.
    pub truncated: Vec<bool>,
    /// What each sees next, as [`obs`](Self::obs), where it is recorded.
    pub next_obs: Option<Array3<Real>>,
    /// *s* and *s′*, `[rows, state]`, where they are recorded.
    pub states: Option<[Array2<Real>; 2]>,
}

impl JointDataset {
    /// Reads a file of agents with `actions` actions each: HDF5, npz or columns, by its content.
    ///
    /// # Errors
    /// Typed, naming the file and the dataset: one that is missing, of a shape that fits no other, not of numbers; an action that is
    /// no whole number below `actions`, a number that is not finite, with row and column; no rows. Never panics on a damaged file.
    pub fn read(path: &Path, actions: usize) -> Result<Self, DataError> {
        Self::read_from(&*format::open(path, Format::detect(path)?)?, actions)
    }

    /// As [`read`](Self::read), from any container of arrays.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_from(file: &dyn ReadArrays, actions: usize) -> Result<Self, DataError> {
        // All shapes are compared before any data are read: a file that cannot be right costs nothing.
        let shape = file.entry("observations")?.shape;
        let [rows, agents, obs] = shape[..] else {
            return Err(file.misshapen("observations", shape, "[rows, agents, obs]".into()));
        };
        if rows == 0 {
            return Err(DataError::Empty { file: file.path().into(), why: "the datasets have no rows" });
        }
        if agents == 0 || obs == 0 {
            return Err(file.misshapen("observations", shape, "[rows, agents, obs] with something in each".into()));
        }
        let expect = |name: &str, expected: &[usize]| {
            let found = file.entry(name)?.shape;
            if found == expected { Ok(()) } else { Err(file.misshapen(name, found, format!("{expected:?}"))) }
        };
        expect("actions", &[rows, agents])?;
        file.vector("rewards", rows)?;
        file.vector("terminals", rows)?;
        let truncated = file.has("timeouts");
        if truncated {
            file.vector("timeouts", rows)?;
        }
        let next = file.has("next_observations");
        if next {
            expect("next_observations", &shape)?;
        }
        let state = if file.has("state") || file.has("next_state") {
            let [_, width] = file.matrix("state", Some(rows))?;
            expect("next_state", &[rows, width])?;
            Some(width)
        } else {
            None
        };

        let seen = |name: &str| {
            // A damaged file may declare sizes whose product is no number; reading then refuses it.
            let values = finite(file, name, agents.saturating_mul(obs))?;
            let found = vec![values.len()];
            Array3::from_shape_vec((rows, agents, obs), values)
                .map_err(|_| file.misshapen(name, found, format!("{rows} x {agents} x {obs} numbers")))
        };
        let states = |width: usize| {
            let read = |name: &str| {
                let values = finite(file, name, width)?;
                let found = vec![values.len()];
                Array2::from_shape_vec((rows, width), values)
                    .map_err(|_| file.misshapen(name, found, format!("{rows} x {width} numbers")))
            };
            Ok::<_, DataError>([read("state")?, read("next_state")?])
        };
        let (obs, next_obs): (_, Option<Array3<Real>>) =
            (seen("observations")?, next.then(|| seen("next_observations")).transpose()?);
        Ok(Self {
            origin: file.path().into(),
            actions,
            obs,
            act: taken(file, rows, agents, actions)?,
            reward: Array1::from(finite(file, "rewards", 1)?),
            terminal: file.flags("terminals")?,
            truncated: if truncated { file.flags("timeouts")? } else { vec![false; rows] },
            next_obs,
            states: state.map(states).transpose()?,
        })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.reward.len()
    }

    /// Whether there is no row; never so for a dataset that was read.
    pub fn is_empty(&self) -> bool {
        self.reward.is_empty()
    }

    /// Agents.
    pub fn agents(&self) -> usize {
        self.act.ncols()
    }

    /// The rows of each episode, in order; the last one may be unfinished.
    pub fn episodes(&self) -> Vec<Range<usize>> {
        let (mut all, mut first) = (Vec::new(), 0);
        for row in 0..self.len() {
            if self.terminal[row] || self.truncated[row] || row + 1 == self.len() {
                all.push(first..row + 1);
                first = row + 1;
            }
        }
        all
    }

    /// Numbers of whole episodes in two parts, the first of about `share` of them, drawn by `key`; one at least on either side, where
    /// there are two.
    pub fn split(&self, share: f64, key: Key) -> [Vec<usize>; 2] {
        let mut order: Vec<usize> = (0..self.episodes().len()).collect();
        key.name("split").shuffle(&mut order);
        let most = order.len().saturating_sub(1).max(1);
        let mut rest = order.split_off(((share * order.len() as f64).round() as usize).clamp(1, most).min(order.len()));
        order.sort_unstable();
        rest.sort_unstable();
        [order, rest]
    }

    /// The transitions of some episodes: rows whose next observation is known, their own or the row's after.
    pub fn transitions(&self, episodes: &[usize]) -> JointTransitions {
        let all = self.episodes();
        let (mut rows, mut next, mut first) = (Vec::new(), Vec::new(), Vec::new());
        for episode in episodes.iter().map(|&e| all[e].clone()) {
            for row in episode.clone() {
                let follows = row + 1 < episode.end;
                // Nothing follows what ended: whatever stands in its place is multiplied by nothing.
                if follows || self.next_obs.is_some() || self.terminal[row] {
                    rows.push(row);
                    next.push(if follows { row + 1 } else { row });
                    first.push(row == episode.start);
                }
            }
        }
        let after = |own: Option<&Array3<Real>>| match own {
            Some(own) => own.select(Axis(0), &rows),
            None => self.obs.select(Axis(0), &next),
        };
        JointTransitions {
            obs: self.obs.select(Axis(0), &rows),
            act: self.act.select(Axis(0), &rows),
            reward: self.reward.select(Axis(0), &rows),
            next_obs: after(self.next_obs.as_ref()),
            states: self.states.as_ref().map(|states| states.each_ref().map(|s| s.select(Axis(0), &rows))),
            terminal: rows.iter().map(|&row| Real::from(u8::from(self.terminal[row]))).collect(),
            // A last row is its own successor here; what would have been done next is not known and nobody's.
            next_act: self.act.select(Axis(0), &next),
            first,
            rows,
        }
    }
}

/// Joint transitions, owned.
#[derive(Clone, Debug, PartialEq)]
pub struct JointTransitions {
    /// The rows of the dataset they are.
    pub rows: Vec<usize>,
    /// What each sees, `[rows, agents, obs]`.
    pub obs: Array3<Real>,
    /// What each does, `[rows, agents]`.
    pub act: Array2<usize>,
    /// What it pays, `[rows]`.
    pub reward: Array1<Real>,
    /// What each sees next, `[rows, agents, obs]`.
    pub next_obs: Array3<Real>,
    /// What each does next, `[rows, agents]`; on the last row of an episode what was done in it.
    pub next_act: Array2<usize>,
    /// *s* and *s′*, `[rows, state]`.
    pub states: Option<[Array2<Real>; 2]>,
    /// 1 where the environment ended, `[rows]`.
    pub terminal: Array1<Real>,
    /// Whether an episode begins with a row.
    pub first: Vec<bool>,
}

/// All numbers of an array of `width` columns, if they are numbers.
fn finite(file: &dyn ReadArrays, name: &str, width: usize) -> Result<Vec<Real>, DataError> {
    let values = file.reals(name)?;
    match values.iter().position(|x| !x.is_finite()) {
        None => Ok(values),
        Some(at) => Err(value(file, name, (at / width, at % width), values[at], "a finite number")),
    }
}

fn taken(file: &dyn ReadArrays, rows: usize, agents: usize, actions: usize) -> Result<Array2<usize>, DataError> {
    let values = file.reals("actions")?;
    // Written so that what is no number is found too.
    let sound = |x: Real| x >= 0.0 && x < actions as Real && x.fract() == 0.0;
    match values.iter().position(|&x| !sound(x)) {
        None => {
            let found = vec![values.len()];
            Array2::from_shape_vec((rows, agents), values.into_iter().map(|x| x as usize).collect())
                .map_err(|_| file.misshapen("actions", found, format!("{rows} x {agents} numbers")))
        }
        Some(at) => {
            let expected = "a whole number below the number of actions";
            Err(value(file, "actions", (at / agents, at % agents), values[at], expected))
        }
    }
}

fn value(file: &dyn ReadArrays, dataset: &str, at: (usize, usize), value: Real, expected: &'static str) -> DataError {
    let (row, column) = at;
    DataError::Value { file: file.path().into(), dataset: dataset.into(), row, column, value: value as f64, expected }
}
