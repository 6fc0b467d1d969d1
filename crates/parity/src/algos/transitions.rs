//! The rows of a fixture as transitions.

use super::{Fixture, ParityError, Tensor};
use backcast_core::{Real, Spec, Transitions};

/// What a fixture of transitions holds beside parameters and draws.
pub(super) trait RecordedColumns {
    /// That an agent can be made for the spec.
    fn check_spec(&self) -> Result<(), ParityError>;

    /// The transitions in `folder`, some rows for each update; with the action recorded at the next state if `next_actions`.
    fn columns(&self, folder: &str, next_actions: bool) -> Result<Vec<Transitions>, ParityError>;
}

impl RecordedColumns for Fixture {
    fn check_spec(&self) -> Result<(), ParityError> {
        let Spec { obs, act, act_limit } = self.spec;
        match obs > 0 && act > 0 && act_limit > 0.0 && act_limit.is_finite() {
            true => Ok(()),
            false => {
                Err(self.note("spec", format!("obs {obs}, act {act}, act_limit {act_limit} are not all positive")))
            }
        }
    }

    fn columns(&self, folder: &str, next_actions: bool) -> Result<Vec<Transitions>, ParityError> {
        let Spec { obs: width, act, .. } = self.spec;
        let missing = || ParityError::Missing { file: self.file.clone(), tensor: format!("{folder}/obs") };
        let obs = self.tensors.get(&format!("{folder}/obs")).ok_or_else(missing)?;
        let (updates, rows) = match obs.shape[..] {
            [updates, rows, _] if rows > 0 => (updates, rows),
            // Neither fits: the error says what was expected.
            _ => (1, 1),
        };
        if let Some(real) = self.real.filter(|&real| real > rows) {
            return Err(self.note("real", format!("{real} of {rows} rows")));
        }
        let column = |name: &str, width| self.tensor(&format!("{folder}/{name}"), &[updates, rows, width]);
        let (s, a, r) = (column("obs", width)?, column("act", act)?, column("reward", 1)?);
        let (s2, d) = (column("next_obs", width)?, column("terminal", 1)?);
        let a2 = next_actions.then(|| column("next_act", act)).transpose()?;
        let row = |of: &Tensor, i: usize, cols: usize| -> Vec<Real> {
            of.values[i * cols..][..cols].iter().map(|&x| x as Real).collect()
        };
        let batch = |update: usize| {
            let mut columns = Transitions::new(self.spec).with_next_actions(next_actions);
            for i in update * rows..(update + 1) * rows {
                if self.real == Some(columns.len()) {
                    columns.begin_imagined();
                }
                let (s, a, r, s2) = (row(s, i, width), row(a, i, act), r.values[i] as Real, row(s2, i, width));
                let terminal = d.values[i] != 0.0;
                match a2 {
                    Some(a2) => columns.push_followed(&s, &a, r, &s2, terminal, &row(a2, i, act)),
                    None => columns.push(&s, &a, r, &s2, terminal),
                }
            }
            columns
        };
        Ok((0..updates).map(batch).collect())
    }
}

/// The paths of the transitions in `folder`, with the action recorded at the next state if `next_actions`.
pub(super) fn columns_of(folder: &str, next_actions: bool) -> Vec<String> {
    let columns = ["obs", "act", "reward", "next_obs", "terminal", "next_act"];
    columns[..if next_actions { 6 } else { 5 }].iter().map(|column| format!("{folder}/{column}")).collect()
}
