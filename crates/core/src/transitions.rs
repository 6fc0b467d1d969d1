use crate::{Key, Real, Spec};
use ndarray::ArrayView2;

/// The five columns of one transition *(s, a, r, s′, d)*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// *s*, `[rows, obs]`.
    Obs,
    /// *a*, `[rows, act]`.
    Act,
    /// *r*, `[rows, 1]`.
    Reward,
    /// *s′*, `[rows, obs]`.
    NextObs,
    /// *d*, `[rows, 1]`: 1 where the episode truly ended, never where it was merely cut off.
    Terminal,
}

// ANCHOR: batch
/// Transitions borrowed from five columns. Never owns, never allocates.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The widths of the columns.
    pub spec: Spec,
    /// *s*, `[rows, obs]`.
    pub obs: ArrayView2<'a, Real>,
    /// *a*, `[rows, act]`.
    pub act: ArrayView2<'a, Real>,
    /// *r*, `[rows, 1]`.
    pub reward: ArrayView2<'a, Real>,
    /// *s′*, `[rows, obs]`.
    pub next_obs: ArrayView2<'a, Real>,
    /// *d*, `[rows, 1]`, 0 or 1.
    pub terminal: ArrayView2<'a, Real>,
    /// *a′*, the action recorded at *s′*, `[rows, act]`, where it was asked for. Zeros where *d* is 1.
    pub next_act: Option<ArrayView2<'a, Real>>,
    /// The rows before this one come from the dataset, the others from imagination.
    pub real: usize,
}
// ANCHOR_END: batch

impl<'a> Batch<'a> {
    /// The number of transitions.
    pub fn len(&self) -> usize {
        self.reward.nrows()
    }

    /// Whether there is no transition.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One column, `[rows, width]`.
    pub fn column(&self, column: Column) -> ArrayView2<'a, Real> {
        match column {
            Column::Obs => self.obs,
            Column::Act => self.act,
            Column::Reward => self.reward,
            Column::NextObs => self.next_obs,
            Column::Terminal => self.terminal,
        }
    }
}

/// Owned columns: a dataset, a model buffer, or the staging area of one minibatch.
///
/// Rows are appended with [`push`](Transitions::push); clearing keeps the memory, so a staging area allocates once.
#[derive(Clone, Debug, PartialEq)]
pub struct Transitions {
    spec: Spec,
    obs: Vec<Real>,
    act: Vec<Real>,
    reward: Vec<Real>,
    next_obs: Vec<Real>,
    terminal: Vec<Real>,
    next_act: Option<Vec<Real>>,
    /// Where imagined rows begin, if there are any.
    imagined: Option<usize>,
}

impl Transitions {
    /// No rows of the given widths.
    pub fn new(spec: Spec) -> Self {
        let [obs, act, reward, next_obs, terminal] = [const { Vec::new() }; 5];
        Self { spec, obs, act, reward, next_obs, terminal, next_act: None, imagined: None }
    }

    /// The same columns and, if `keep`, a sixth: *a′*, the action recorded at *s′*, which the few algorithms that hold their
    /// targets to the dataset ask for. Rows then come by [`push_followed`](Transitions::push_followed) or from columns that have it too.
    ///
    /// # Panics
    /// If there are rows already.
    pub fn with_next_actions(mut self, keep: bool) -> Self {
        assert!(self.is_empty(), "Transitions::with_next_actions: {} rows are here already", self.len());
        self.next_act = keep.then(Vec::new);
        self
    }

    /// *a′* of every row, row after row, if it is kept.
    pub fn next_actions(&self) -> Option<&[Real]> {
        self.next_act.as_deref()
    }

    /// No rows, with memory for `rows` of them.
    pub fn with_capacity(spec: Spec, rows: usize) -> Self {
        let mut columns = Self::new(spec);
        columns.reserve(rows);
        columns
    }

    /// Makes room for `rows` more rows.
    pub fn reserve(&mut self, rows: usize) {
        self.obs.reserve(rows * self.spec.obs);
        self.act.reserve(rows * self.spec.act);
        self.reward.reserve(rows);
        self.next_obs.reserve(rows * self.spec.obs);
        self.terminal.reserve(rows);
        self.next_act.iter_mut().for_each(|next| next.reserve(rows * self.spec.act));
    }

    /// The widths of the columns.
    pub fn spec(&self) -> Spec {
        self.spec
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.reward.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.reward.is_empty()
    }

    /// Forgets every row and keeps the memory.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Forgets every row after the first `rows`.
    pub fn truncate(&mut self, rows: usize) {
        self.obs.truncate(rows * self.spec.obs);
        self.act.truncate(rows * self.spec.act);
        self.reward.truncate(rows);
        self.next_obs.truncate(rows * self.spec.obs);
        self.terminal.truncate(rows);
        self.next_act.iter_mut().for_each(|next| next.truncate(rows * self.spec.act));
        self.imagined = self.imagined.filter(|&from| from < rows);
    }

    /// Says that the rows pushed from now on are imagined: a [`Batch`] tells its algorithm how many of its rows are
    /// [`real`](Batch::real). Forgotten when the rows are.
    ///
    /// ```
    /// use backcast_core::{Transitions, Spec};
    /// let mut rows = Transitions::new(Spec::new(1, 1));
    /// rows.push(&[0.0], &[0.0], 0.0, &[0.0], false);
    /// assert_eq!(rows.batch().real, 1);
    /// rows.begin_imagined();
    /// rows.push(&[1.0], &[0.0], 0.0, &[0.0], false);
    /// assert_eq!((rows.batch().len(), rows.batch().real), (2, 1));
    /// ```
    pub fn begin_imagined(&mut self) {
        self.imagined = Some(self.len());
    }

    /// Appends one transition.
    ///
    /// # Panics
    /// If a width differs from the spec, or next actions are kept.
    pub fn push(&mut self, obs: &[Real], act: &[Real], reward: Real, next_obs: &[Real], terminal: bool) {
        let s = self.spec;
        assert!(
            obs.len() == s.obs && act.len() == s.act && next_obs.len() == s.obs,
            "Transitions::push: widths {}, {}, {} do not fit {s:?}",
            obs.len(),
            act.len(),
            next_obs.len()
        );
        assert!(self.next_act.is_none(), "Transitions::push: a row without a next action, where every row has one");
        self.obs.extend_from_slice(obs);
        self.act.extend_from_slice(act);
        self.reward.push(reward);
        self.next_obs.extend_from_slice(next_obs);
        self.terminal.push(terminal as u8 as Real);
    }

    /// Appends one transition and *a′*, the action recorded at `next_obs`; zeros where the transition is terminal.
    ///
    /// # Panics
    /// If a width differs from the spec, or next actions are not kept.
    pub fn push_followed(
        &mut self,
        obs: &[Real],
        act: &[Real],
        reward: Real,
        next_obs: &[Real],
        terminal: bool,
        next_act: &[Real],
    ) {
        assert_eq!(
            next_act.len(),
            self.spec.act,
            "Transitions::push_followed: a next action that does not fit {:?}",
            self.spec
        );
        let mut next = self.next_act.take().expect("Transitions::push_followed: these columns keep no next actions");
        self.push(obs, act, reward, next_obs, terminal);
        next.extend_from_slice(next_act);
        self.next_act = Some(next);
    }

    /// Appends row `row` of `from`.
    ///
    /// # Panics
    /// If next actions are kept here and not there.
    pub fn push_row(&mut self, from: &Transitions, row: usize) {
        let (o, a) = (self.spec.obs, self.spec.act);
        self.obs.extend_from_slice(&from.obs[row * o..][..o]);
        self.act.extend_from_slice(&from.act[row * a..][..a]);
        self.reward.push(from.reward[row]);
        self.next_obs.extend_from_slice(&from.next_obs[row * o..][..o]);
        self.terminal.push(from.terminal[row]);
        if let Some(next) = &mut self.next_act {
            next.extend_from_slice(&followed(&from.next_act)[row * a..][..a]);
        }
    }

    /// Overwrites row `to` with row `row` of `from`.
    ///
    /// # Panics
    /// If next actions are kept here and not there.
    pub fn set_row(&mut self, to: usize, from: &Transitions, row: usize) {
        let (o, a) = (self.spec.obs, self.spec.act);
        self.obs[to * o..][..o].copy_from_slice(&from.obs[row * o..][..o]);
        self.act[to * a..][..a].copy_from_slice(&from.act[row * a..][..a]);
        self.reward[to] = from.reward[row];
        self.next_obs[to * o..][..o].copy_from_slice(&from.next_obs[row * o..][..o]);
        self.terminal[to] = from.terminal[row];
        if let Some(next) = &mut self.next_act {
            next[to * a..][..a].copy_from_slice(&followed(&from.next_act)[row * a..][..a]);
        }
    }

    /// All values of one column, row after row.
    pub fn values(&self, column: Column) -> &[Real] {
        match column {
            Column::Obs => &self.obs,
            Column::Act => &self.act,
            Column::Reward => &self.reward,
            Column::NextObs => &self.next_obs,
            Column::Terminal => &self.terminal,
        }
    }

    /// All values of one column, row after row, for transforms in place.
    pub fn values_mut(&mut self, column: Column) -> &mut [Real] {
        match column {
            Column::Obs => &mut self.obs,
            Column::Act => &mut self.act,
            Column::Reward => &mut self.reward,
            Column::NextObs => &mut self.next_obs,
            Column::Terminal => &mut self.terminal,
        }
    }

    /// The values of one column in one row.
    #[inline]
    pub fn row(&self, column: Column, row: usize) -> &[Real] {
        let width = self.spec.width(column);
        &self.values(column)[row * width..][..width]
    }

    /// Every row as a batch.
    pub fn batch(&self) -> Batch<'_> {
        self.rows(0, self.len())
    }

    /// `count` rows from `first` on as a batch.
    pub fn rows(&self, first: usize, count: usize) -> Batch<'_> {
        fn dense(values: &[Real], width: usize, first: usize, count: usize) -> ArrayView2<'_, Real> {
            let values = &values[first * width..(first + count) * width];
            ArrayView2::from_shape((count, width), values).expect("columns are dense")
        }
        let view = |column| dense(self.values(column), self.spec.width(column), first, count);
        Batch {
            spec: self.spec,
            obs: view(Column::Obs),
            act: view(Column::Act),
            reward: view(Column::Reward),
            next_obs: view(Column::NextObs),
            terminal: view(Column::Terminal),
            next_act: self.next_actions().map(|next| dense(next, self.spec.act, first, count)),
            real: self.imagined.map_or(count, |from| from.saturating_sub(first).min(count)),
        }
    }
}

fn followed(next: &Option<Vec<Real>>) -> &[Real] {
    next.as_deref().expect("Columns: rows with next actions cannot be made of rows without")
}

// ANCHOR: source
/// Anything minibatches can be drawn from: owned columns, a replay buffer, a mixture of both.
pub trait Source: Sync {
    /// The widths of the columns.
    fn spec(&self) -> Spec;

    /// The number of rows that can be drawn.
    fn len(&self) -> usize;

    /// Whether nothing can be drawn.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Draws `rows` transitions and appends them to `out`.
    ///
    /// # Panics
    /// If the source is empty and `rows` is not zero.
    fn sample_into(&self, key: Key, rows: usize, out: &mut Transitions);

    /// Draws `rows` transitions into `staging`, whose earlier content is forgotten.
    fn sample<'b>(&self, key: Key, rows: usize, staging: &'b mut Transitions) -> Batch<'b> {
        staging.clear();
        self.sample_into(key, rows, staging);
        staging.batch()
    }
}
// ANCHOR_END: source

/// Uniform draws with replacement.
impl Source for Transitions {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn len(&self) -> usize {
        self.reward.len()
    }

    fn sample_into(&self, key: Key, rows: usize, out: &mut Transitions) {
        for i in 0..rows {
            out.push_row(self, key.below(self.len(), i));
        }
    }
}
