use crate::{DataError, EpisodicTransitions, Unread};
use backcast_core::{Real, Spec, Transitions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Rows exactly as they were recorded: nothing dropped, nothing shifted.
///
/// Row *t* is *(s, a, r)* and two flags. `terminal` says that the environment ended after this row; `truncated` that the
/// recording was truncated after it, by a horizon or (maze2d) by a change of the recorder's goal. The state reached by the last
/// action of an episode is known only where `next_obs` was stored. [`Dataset::transitions`] turns rows into transitions.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    pub(crate) origin: PathBuf,
    pub(crate) widths: [usize; 2],
    pub(crate) obs: Vec<Real>,
    pub(crate) act: Vec<Real>,
    pub(crate) reward: Vec<Real>,
    pub(crate) terminal: Vec<bool>,
    pub(crate) truncated: Vec<bool>,
    pub(crate) next_obs: Option<Vec<Real>>,
    pub(crate) infos: Vec<Info>,
    notes: BTreeMap<String, String>,
    pub(crate) unread: Vec<Unread>,
}

/// A recorded quantity beside the transition, such as the simulator's `qpos`: `[rows, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// The name below `infos/`.
    pub name: String,
    /// Numbers per row.
    pub width: usize,
    /// Row after row.
    pub values: Vec<Real>,
}

/// One row of a [`Dataset`], borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// *s*, `[obs]`.
    pub obs: &'a [Real],
    /// *a*, `[act]`.
    pub act: &'a [Real],
    /// *r*.
    pub reward: Real,
    /// The environment ended here.
    pub terminal: bool,
    /// The recording was truncated here.
    pub truncated: bool,
    /// *s′*, `[obs]`, where it was stored.
    pub next_obs: Option<&'a [Real]>,
}

/// Why an episode stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The environment ended it.
    Terminal,
    /// It was cut off.
    Truncated,
    /// The dataset stops in the middle of it.
    Unfinished,
}

/// A run of consecutive rows that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// Its first row in the dataset.
    pub first: usize,
    /// How many rows it has.
    pub rows: usize,
    /// The undiscounted sum of its rewards, over **all** its rows.
    pub total: f64,
    /// Why it stops.
    pub end: End,
}

impl Episode {
    /// The row after its last.
    pub fn after(&self) -> usize {
        self.first + self.rows
    }
}

/// What becomes of rows where the environment ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TerminalRows {
    /// Kept, for learning values and policies: the bootstrap is masked there, so *s′* may be anything. Where the dataset does
    /// not know *s′*, the row's own *s* stands in.
    #[default]
    Keep,
    /// Kept where the dataset stores a true *s′*, dropped otherwise: for learning models of the dynamics.
    KeepKnown,
    /// Dropped, for learning models as ROMI does outside antmaze (arXiv:2110.00188, the authors' code).
    Drop,
}

/// How [`Dataset::transitions`] goes about it. The default is for learning policies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Rows where the environment ended.
    pub terminals: TerminalRows,
    /// Actions lie in `[−act_limit, act_limit]`; 1 by default.
    pub act_limit: Real,
    /// Whether actions beyond the limit are pulled back to it, as D4RL does with the Adroit demonstrations; no by default.
    pub clip_actions: bool,
    /// Whether to drop a row whose observation repeats the row before it across a truncation; no by default, as in the literature.
    ///
    /// D4RL's maze2d recorder does not look again after it switches goals: the row after every truncation repeats the old
    /// observation while the simulator moves on, so that row's transition spans two steps of physics.
    pub drop_stale: bool,
    /// Whether each transition keeps *a′*, the action recorded at its next state, which ReBRAC asks for; no by default. Rows
    /// that end in a state where none was recorded are then dropped.
    pub next_actions: bool,
    /// *k* in the trajectory's weight *(k + R̃)/(k + 1)*; 0 by default, which never draws the worst trajectory (ROMI).
    pub weight_k: Real,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            terminals: TerminalRows::default(),
            act_limit: 1.0,
            clip_actions: false,
            drop_stale: false,
            next_actions: false,
            weight_k: 0.0,
        }
    }
}

/// What [`Dataset::transitions`] did with every row: `rows` is the sum of `kept` and of all that was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildReport {
    /// Rows in the dataset.
    pub rows: usize,
    /// Transitions made.
    pub kept: usize,
    /// Episodes in the dataset.
    pub episodes: usize,
    /// Dropped: truncated rows with no stored next observation.
    pub dropped_truncated: usize,
    /// Dropped: truncated rows whose stored next observation is another episode's first state, and the last row of a dataset where
    /// that is the rule, since nothing follows it to compare with.
    pub dropped_leaks: usize,
    /// Dropped: terminal rows, because [`Options::terminals`] says so.
    pub dropped_terminals: usize,
    /// Dropped: a last row that nothing follows.
    pub dropped_last: usize,
    /// Dropped: repeated observations after a truncation, if [`Options::drop_stale`].
    pub dropped_stale: usize,
    /// Dropped: rows after which no action was recorded, if [`Options::next_actions`].
    pub dropped_actionless: usize,
    /// Terminal rows kept with their own state in the place of an unknown next one.
    pub masked_terminals: usize,
    /// Rows inside an episode whose stored next observation is not the next row's observation.
    pub disagreements: usize,
    /// Rows with an action value beyond the limit.
    pub beyond_limit: usize,
    /// Rows after a truncation that repeat the observation before it, dropped or not.
    pub stale: usize,
}

impl Dataset {
    /// No rows yet; with `next_obs`, every row must bring its next observation.
    pub fn new(obs: usize, act: usize, next_obs: bool) -> Self {
        Self {
            origin: PathBuf::new(),
            widths: [obs, act],
            obs: Vec::new(),
            act: Vec::new(),
            reward: Vec::new(),
            terminal: Vec::new(),
            truncated: Vec::new(),
            next_obs: next_obs.then(Vec::new),
            infos: Vec::new(),
            notes: BTreeMap::new(),
            unread: Vec::new(),
        }
    }

    /// The same dataset, said to come from `origin` in messages.
    pub fn from_origin(self, origin: impl Into<PathBuf>) -> Self {
        Self { origin: origin.into(), ..self }
    }

    /// Appends a row.
    ///
    /// # Panics
    /// If a width differs, or a next observation is missing or not expected.
    pub fn push(&mut self, row: Row<'_>) {
        let [obs, act] = self.widths;
        assert!(
            row.obs.len() == obs && row.act.len() == act && row.next_obs.is_none_or(|next| next.len() == obs),
            "Dataset::push: widths {}, {} and {:?} do not fit [{obs}, {act}]",
            row.obs.len(),
            row.act.len(),
            row.next_obs.map(<[Real]>::len)
        );
        assert_eq!(
            row.next_obs.is_some(),
            self.next_obs.is_some(),
            "Dataset::push: a next observation belongs to every row or to none"
        );
        self.obs.extend_from_slice(row.obs);
        self.act.extend_from_slice(row.act);
        self.reward.push(row.reward);
        self.terminal.push(row.terminal);
        self.truncated.push(row.truncated);
        if let (Some(all), Some(next)) = (&mut self.next_obs, row.next_obs) {
            all.extend_from_slice(next);
        }
    }

    /// Adds a recorded quantity of `width` numbers per row. They are kept in the order of their names.
    ///
    /// # Panics
    /// If there are not `width` values for every row.
    pub fn push_info(&mut self, name: impl Into<String>, width: usize, values: Vec<Real>) {
        assert_eq!(
            values.len(),
            width * self.len(),
            "Dataset::push_info: {width} numbers for each of {} rows",
            self.len()
        );
        let info = Info { name: name.into(), width, values };
        let at = self.infos.partition_point(|other| other.name <= info.name);
        self.infos.insert(at, info);
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.reward.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.reward.is_empty()
    }

    /// Where it came from; empty if from nowhere.
    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// Widths of an observation and of an action.
    pub fn widths(&self) -> [usize; 2] {
        self.widths
    }

    /// Whether next observations were stored.
    pub fn has_next_obs(&self) -> bool {
        self.next_obs.is_some()
    }

    /// The recorded quantities beside the transitions.
    pub fn infos(&self) -> &[Info] {
        &self.infos
    }

    /// Text by name about the dataset as a whole: `dataset_id`, `env_spec`, `author` …
    ///
    /// Every layout here keeps notes except NeoRL's. Those of a Minari dataset are the entries of its `metadata.json`: text
    /// as it stands, anything else as JSON.
    pub fn notes(&self) -> &BTreeMap<String, String> {
        &self.notes
    }

    /// Adds a note, or replaces one.
    pub fn set_note(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.notes.insert(name.into(), text.into());
    }

    pub(crate) fn set_notes(&mut self, notes: BTreeMap<String, String>) {
        self.notes = notes;
    }

    /// Row `t`.
    pub fn row(&self, t: usize) -> Row<'_> {
        let [_, act] = self.widths;
        Row {
            obs: self.obs_at(t),
            act: &self.act[t * act..][..act],
            reward: self.reward[t],
            terminal: self.terminal[t],
            truncated: self.truncated[t],
            next_obs: self.next_at(t),
        }
    }

    /// All values of one dataset of the D4RL layout, row after row; empty for next observations that were not stored.
    pub(crate) fn floats(&self) -> [(&'static str, usize, &[Real]); 4] {
        let [obs, act] = self.widths;
        [
            ("observations", obs, &self.obs),
            ("actions", act, &self.act),
            ("rewards", 1, &self.reward),
            ("next_observations", obs, self.next_obs.as_deref().unwrap_or_default()),
        ]
    }

    pub(crate) fn obs_at(&self, t: usize) -> &[Real] {
        &self.obs[t * self.widths[0]..][..self.widths[0]]
    }

    fn next_at(&self, t: usize) -> Option<&[Real]> {
        self.next_obs.as_ref().map(|all| &all[t * self.widths[0]..][..self.widths[0]])
    }

    /// Whether an episode stops at row `t`.
    pub(crate) fn stops(&self, t: usize) -> bool {
        self.terminal[t] || self.truncated[t]
    }

    /// The episodes in order: split after every row that is terminal **or** cut, before anything is dropped.
    pub fn episodes(&self) -> Vec<Episode> {
        let (mut episodes, mut first, mut total) = (Vec::new(), 0, 0.0);
        for t in 0..self.len() {
            total += self.reward[t] as f64;
            let end = match (self.terminal[t], self.truncated[t]) {
                (true, _) => End::Terminal,
                (_, true) => End::Truncated,
                _ if t + 1 == self.len() => End::Unfinished,
                _ => continue,
            };
            episodes.push(Episode { first, rows: t + 1 - first, total, end });
            (first, total) = (t + 1, 0.0);
        }
        episodes
    }

    /// Whether row `t`, where an episode stops, stores the first state of the next episode as its next observation.
    /// Unknown for the last row, which nothing follows, and where nothing was stored.
    pub(crate) fn leaks(&self, t: usize) -> Option<bool> {
        let next = self.next_at(t)?;
        (self.stops(t) && t + 1 < self.len()).then(|| next == self.obs_at(t + 1))
    }

    /// Whether row `t` is inside an episode and its stored next observation is not row `t + 1`'s observation.
    pub(crate) fn disagrees(&self, t: usize) -> bool {
        let inside = !self.stops(t) && t + 1 < self.len();
        inside && self.next_at(t).is_some_and(|next| next != self.obs_at(t + 1))
    }

    /// Whether row `t` repeats, across a truncation, the observation of the row before.
    pub(crate) fn is_stale(&self, t: usize) -> bool {
        t > 0 && self.truncated[t - 1] && !self.terminal[t - 1] && self.obs_at(t) == self.obs_at(t - 1)
    }

    /// The first value that is NaN or infinite.
    ///
    /// # Errors
    /// Names the dataset, the row and the column of that value.
    pub fn finite(&self) -> Result<(), DataError> {
        for (dataset, width, values) in self.floats() {
            if let Some(at) = values.iter().position(|x| !x.is_finite()) {
                return Err(DataError::Value {
                    file: self.origin.clone(),
                    dataset: dataset.into(),
                    row: at / width,
                    column: at % width,
                    value: values[at] as f64,
                    expected: "finite",
                });
            }
        }
        Ok(())
    }

    /// Pairs every row with the state that followed it **in its own episode**.
    ///
    /// | row | next observations stored | not stored |
    /// |---|---|---|
    /// | inside an episode | the stored one | the next row's observation |
    /// | cut | the stored one, unless it is the next episode's first state: then dropped | dropped |
    /// | terminal | [`Options::terminals`] | [`Options::terminals`] |
    /// | last, neither cut nor terminal | the stored one | dropped |
    ///
    /// A truncation is never stored as a terminal. Where a row is both, the environment ended. For maze2d, where a truncation is only a
    /// change of goal, the rule costs about one row in eighty and gives up no truth.
    ///
    /// # Errors
    /// If a value is NaN or infinite, or no row survives.
    pub fn transitions(&self, options: &Options) -> Result<(EpisodicTransitions, BuildReport), DataError> {
        self.finite()?;
        let episodes = self.episodes();
        let weights = trajectory_weights(&episodes, options.weight_k);
        let spec = Spec::new(self.widths[0], self.widths[1]).with_act_limit(options.act_limit);
        let mut report = BuildReport { rows: self.len(), episodes: episodes.len(), ..Default::default() };
        let leaky = (0..self.len()).any(|t| self.leaks(t) == Some(true));
        let mut columns = Transitions::new(spec).with_next_actions(options.next_actions);
        columns.reserve(self.len());
        let (mut episode_of, mut weight_of, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        let [mut act, mut next_act] = [const { Vec::new() }; 2];
        let held = |act: &[Real], out: &mut Vec<Real>| {
            let limit = if options.clip_actions { options.act_limit } else { Real::INFINITY };
            out.clear();
            out.extend(act.iter().map(|a| a.clamp(-limit, limit)));
        };
        for (index, episode) in episodes.iter().enumerate() {
            starts.push(columns.len());
            for t in episode.first..episode.after() {
                let row = self.row(t);
                report.beyond_limit += row.act.iter().any(|a| a.abs() > options.act_limit) as usize;
                report.disagreements += self.disagrees(t) as usize;
                report.stale += self.is_stale(t) as usize;
                let Some(next) = self.successor(t, leaky, options, &mut report) else { continue };
                held(row.act, &mut act);
                if options.next_actions {
                    if !row.terminal && t + 1 == episode.after() {
                        report.dropped_actionless += 1;
                        continue;
                    }
                    match row.terminal {
                        true => (next_act.clear(), next_act.resize(spec.act, 0.0)).1,
                        false => held(self.row(t + 1).act, &mut next_act),
                    }
                    columns.push_followed(row.obs, &act, row.reward, next, row.terminal, &next_act);
                } else {
                    columns.push(row.obs, &act, row.reward, next, row.terminal);
                }
                episode_of.push(index as u32);
                weight_of.push(weights[index]);
            }
        }
        starts.push(columns.len());
        report.kept = columns.len();
        if columns.is_empty() {
            return Err(DataError::Empty { file: self.origin.clone(), why: "no row has a successor to learn from" });
        }
        let initial = episodes.iter().flat_map(|e| self.obs_at(e.first)).copied().collect();
        Ok((EpisodicTransitions::new(columns, episode_of, weight_of, episodes, starts, initial), report))
    }

    // ANCHOR: successor
    /// The state that follows row `t`, or `None` and a count in the report.
    fn successor<'a>(
        &'a self,
        t: usize,
        leaky: bool,
        options: &Options,
        report: &mut BuildReport,
    ) -> Option<&'a [Real]> {
        if options.drop_stale && self.is_stale(t) {
            report.dropped_stale += 1;
            return None;
        }
        let last = t + 1 == self.len();
        // What cannot be compared, because nothing follows it, is believed exactly if the rest of the dataset is.
        let leaks = self.leaks(t).unwrap_or(self.stops(t) && leaky);
        let stored = self.next_at(t).filter(|_| !leaks);
        if self.terminal[t] {
            let kept = match (options.terminals, stored) {
                (TerminalRows::Drop, _) | (TerminalRows::KeepKnown, None) => None,
                (_, Some(next)) => Some(next),
                (TerminalRows::Keep, None) => {
                    report.masked_terminals += 1;
                    Some(self.obs_at(t))
                }
            };
            report.dropped_terminals += kept.is_none() as usize;
            kept
        } else if self.truncated[t] {
            if stored.is_none() {
                *(if leaks { &mut report.dropped_leaks } else { &mut report.dropped_truncated }) += 1;
            }
            stored
        } else {
            let next = stored.or_else(|| (!last).then(|| self.obs_at(t + 1)));
            report.dropped_last += next.is_none() as usize;
            next
        }
    }
    // ANCHOR_END: successor

    /// A dataset from whole columns that were checked to agree in rows.
    pub(crate) fn from_parts(
        widths: [usize; 2],
        [obs, act, reward]: [Vec<Real>; 3],
        next_obs: Option<Vec<Real>>,
        [terminal, truncated]: [Vec<bool>; 2],
    ) -> Self {
        let (origin, infos, notes, unread) = (PathBuf::new(), Vec::new(), BTreeMap::new(), Vec::new());
        Self { origin, widths, obs, act, reward, terminal, truncated, next_obs, infos, notes, unread }
    }

    /// Every row's flags: terminal, timeout.
    pub(crate) fn ends(&self) -> [&[bool]; 2] {
        [&self.terminal, &self.truncated]
    }
}

/// *w = (k + R̃)/(k + 1)* with *R̃ = (R − R_min)/max(1, R_max − R_min)*, one for each episode (ROMI, the authors' code).
pub fn trajectory_weights(episodes: &[Episode], k: Real) -> Vec<Real> {
    let low = episodes.iter().map(|e| e.total).fold(f64::INFINITY, f64::min);
    let high = episodes.iter().map(|e| e.total).fold(f64::NEG_INFINITY, f64::max);
    let k = k as f64;
    let weight = |e: &Episode| (k + (e.total - low) / (high - low).max(1.0)) / (k + 1.0);
    episodes.iter().map(|e| weight(e) as Real).collect()
}
