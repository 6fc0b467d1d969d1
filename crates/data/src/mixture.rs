use backcast_core::{Key, Real, Source, Spec, Transitions};

/// Batches of which a share *η* comes from imagination: real rows first, then imagined ones; the batch says how many are real.
///
/// Of `rows` rows, *⌊rows·η + 0.1⌋* are imagined and **all the others** are real. ROMI's code rounds both parts down after
/// adding 0.1, *⌊rows·(1−η) + 0.1⌋ + ⌊rows·η + 0.1⌋*; that is the same where *rows·η* is whole, as in its settings with
/// batches of 100, and one row short of the batch elsewhere (256 rows at *η* = 0.1 would be 230 + 25). Here the batch is
/// always full, and the odd row is a real one.
///
/// ```
/// use backcast_core::{Transitions, Key, Source, Spec};
/// use backcast_data::{Mixture, ReplayBuffer};
/// let mut real = Transitions::new(Spec::new(1, 1));
/// real.push(&[0.0], &[0.0], 0.0, &[0.0], false);
/// let mut imagined = ReplayBuffer::new(real.spec(), 8);
/// imagined.push(&[1.0], &[0.0], 0.0, &[0.0], false);
/// let mixture = Mixture::new(&real, &imagined, 0.7);
/// let mut staging = Transitions::new(real.spec());
/// let batch = mixture.sample(Key::new(0), 100, &mut staging);
/// assert_eq!((batch.obs.sum(), batch.real), (70.0, 30));
/// ```
#[derive(Clone, Copy)]
pub struct Mixture<'a> {
    real: &'a dyn Source,
    imagined: &'a dyn Source,
    ratio: Real,
}

impl<'a> Mixture<'a> {
    /// A share `ratio` of `imagined` rows among `real` ones.
    ///
    /// # Panics
    /// If `ratio` is not in `[0, 1]` or the widths differ.
    pub fn new(real: &'a dyn Source, imagined: &'a dyn Source, ratio: Real) -> Self {
        assert!((0.0..=1.0).contains(&ratio), "Mixture::new: {ratio} is not a share");
        let (a, b) = (real.spec(), imagined.spec());
        assert!(a.obs == b.obs && a.act == b.act, "Mixture::new: real rows of {a:?}, imagined rows of {b:?}");
        Self { real, imagined, ratio }
    }

    // ANCHOR: counts
    /// How many real and how many imagined rows a batch of `rows` has.
    pub fn counts(&self, rows: usize) -> [usize; 2] {
        let imagined = (rows as f64 * self.ratio as f64 + 0.1).floor() as usize;
        [rows - imagined, imagined]
    }
    // ANCHOR_END: counts
}

impl Source for Mixture<'_> {
    fn spec(&self) -> Spec {
        self.real.spec()
    }

    /// The rows of both parts together.
    fn len(&self) -> usize {
        self.real.len() + self.imagined.len()
    }

    /// # Panics
    /// If a part is empty that a row is due from.
    fn sample_into(&self, key: Key, rows: usize, out: &mut Transitions) {
        let [real, imagined] = self.counts(rows);
        for (part, name, rows) in [(self.real, "real", real), (self.imagined, "imagined", imagined)] {
            assert!(rows == 0 || !part.is_empty(), "Mixture: {rows} {name} rows are due and there are none");
            if name == "imagined" {
                out.begin_imagined();
            }
            part.sample_into(key.name(name), rows, out);
        }
    }
}
