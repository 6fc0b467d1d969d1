use crate::SumTree;
use backcast_core::{ConfigError, Key, Real, Source, Spec, Transitions};
use std::sync::{Mutex, PoisonError};

/// Who is drawn how often: row *i* with probability *wᵢ^α / Σ w^α*, with or without replacement inside a batch.
///
/// Owns no rows. [`Priorities::over`] lends it to the rows it was made for, as a [`Source`].
///
/// ```
/// use backcast_core::{Transitions, Key, Source, Spec};
/// use backcast_data::Priorities;
/// let mut rows = Transitions::new(Spec::new(1, 1));
/// (0..4).for_each(|i| rows.push(&[i as _], &[0.0], 0.0, &[0.0], false));
/// let by = Priorities::new(&[0.0, 1.0, 1.0, 1.0], 1.0, false).unwrap();
/// let mut staging = Transitions::new(rows.spec());
/// let batch = by.over(&rows).sample(Key::new(0), 3, &mut staging);
/// // Three draws without replacement from three rows of weight: each comes once, and row 0 never.
/// assert_eq!(batch.obs.sum(), 1.0 + 2.0 + 3.0);
/// ```
#[derive(Debug)]
pub struct Priorities {
    replacement: bool,
    // Draws without replacement take leaves out of the tree and put them back: the same tree before and after.
    state: Mutex<Draw>,
}

#[derive(Clone, Debug)]
struct Draw {
    tree: SumTree,
    taken: Vec<(usize, f64)>,
}

impl Draw {
    fn put_back(&mut self) {
        for (row, weight) in self.taken.drain(..) {
            self.tree.set(row, weight);
        }
    }
}

impl Clone for Priorities {
    fn clone(&self) -> Self {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { replacement: self.replacement, state: Mutex::new(state) }
    }
}

impl Priorities {
    /// Priorities from one weight for each row, raised to `exponent`.
    ///
    /// # Errors
    /// If a weight is negative or not finite, or none is positive.
    pub fn new(weights: &[Real], exponent: Real, replacement: bool) -> Result<Self, ConfigError> {
        let powers: Vec<f64> = weights
            .iter()
            // 0⁰ is 1, but a row of weight zero is not to be drawn whatever the exponent.
            .map(|&w| if w == 0.0 { 0.0 } else { (w as f64).powf(exponent as f64) })
            .collect();
        let bad = weights.iter().zip(&powers).position(|(&w, p)| w < 0.0 || !w.is_finite() || !p.is_finite());
        if let Some(row) = bad {
            let why = format!("must be finite and not negative, and row {row} has {}", weights[row]);
            return Err(ConfigError { field: "weights", why });
        }
        let tree = SumTree::new(powers);
        ConfigError::unless(
            tree.total() > 0.0 && tree.total().is_finite(),
            "weights",
            "must have a positive sum: when all returns are equal and `weight_k` is 0, every weight is 0",
        )?;
        Ok(Self { replacement, state: Mutex::new(Draw { tree, taken: Vec::new() }) })
    }

    /// The rows as a source that draws by these priorities.
    ///
    /// # Panics
    /// If there are not as many rows as weights.
    pub fn over<'a>(&'a self, rows: &'a Transitions) -> Prioritised<'a> {
        let weights = self.lock().tree.len();
        assert_eq!(rows.len(), weights, "Priorities::over: {} rows and {weights} weights", rows.len());
        Prioritised { rows, by: self }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Draw> {
        // A panic while rows were taken leaves them listed in `taken`: the next draw puts them back first.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows drawn by [`Priorities`].
///
/// Without replacement, once every row of positive weight has been drawn in a batch, all are put back and may come again.
#[derive(Clone, Copy, Debug)]
pub struct Prioritised<'a> {
    rows: &'a Transitions,
    by: &'a Priorities,
}

impl Source for Prioritised<'_> {
    fn spec(&self) -> Spec {
        self.rows.spec()
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn sample_into(&self, key: Key, rows: usize, out: &mut Transitions) {
        let mut draw = self.by.lock();
        draw.put_back();
        for i in 0..rows {
            if draw.tree.total() <= 0.0 {
                draw.put_back();
            }
            let words = key.block(i as u64);
            let unit = ((words[0] as u64 | (words[1] as u64) << 32) >> 11) as f64 / (1u64 << 53) as f64;
            let row = draw.tree.find(unit * draw.tree.total());
            if !self.by.replacement {
                let weight = draw.tree.get(row);
                draw.taken.push((row, weight));
                draw.tree.set(row, 0.0);
            }
            out.push_row(self.rows, row);
        }
        draw.put_back();
    }
}
