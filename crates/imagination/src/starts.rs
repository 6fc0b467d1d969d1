use backcast_core::{Key, Source, Spec, Transitions};

/// The rows of a dataset that fulfil a condition, drawn uniformly: goal states, first states, the states of good trajectories.
///
/// Uniform starts are the [`Transitions`] themselves; prioritised ones any other [`Source`].
#[derive(Clone, Debug)]
pub struct RowsWhere<'a> {
    data: &'a Transitions,
    rows: Vec<usize>,
}

impl<'a> RowsWhere<'a> {
    /// The rows of `data` for which `holds(data, row)`.
    pub fn new(data: &'a Transitions, holds: impl Fn(&Transitions, usize) -> bool) -> Self {
        Self { data, rows: (0..data.len()).filter(|&row| holds(data, row)).collect() }
    }

    /// The rows, in order.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }
}

impl Source for RowsWhere<'_> {
    fn spec(&self) -> Spec {
        self.data.spec()
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn sample_into(&self, key: Key, rows: usize, out: &mut Transitions) {
        for i in 0..rows {
            out.push_row(self.data, self.rows[key.below(self.rows.len(), i)]);
        }
    }
}
