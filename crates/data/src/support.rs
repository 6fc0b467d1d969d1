use crate::{Normaliser, Scale};
use backcast_core::{ConfigError, Domain, FRACTION, Key, Real, hyperparameters};
use ndarray::{ArrayView2, Axis};

hyperparameters! {
    /// How the support of a dataset is drawn.
    pub struct SupportConfig {
        /// Rows of the dataset that stand for all of it, drawn without replacement.
        rows: usize = 20_000, Domain::within(2.0, f64::INFINITY);
        /// The share of those rows that lie within the support of the others, in (0, 1].
        quantile: f64 = 0.99, FRACTION;
    }
}

/// Where a dataset has been: what lies as near to one of its observations as these lie to each other.
///
/// Observations are standardised, column by column. The radius is a quantile of the distances from each of the rows that stand
/// for the dataset to the nearest of the *others* (leave one out), so that by construction a row like the recorded ones is inside
/// with that probability. Distances are exact: the rows lie in a tree of halves (a k-d tree; Bentley 1975), which needs no
/// width at compile time.
///
/// ```
/// use backcast_core::Key;
/// use backcast_data::{Support, SupportConfig};
/// use ndarray::Array2;
///
/// // A ring of radius 1, and nothing in its middle.
/// let buffer = Array2::from_shape_fn((400, 2), |(i, k)| {
///     let angle = i as backcast_core::Real / 400.0 * std::f32::consts::TAU as backcast_core::Real;
///     if k == 0 { angle.cos() } else { angle.sin() }
/// });
/// let support = Support::of(buffer.view(), SupportConfig::default(), Key::new(0))?;
/// assert!(support.contains(&[0.6, 0.8]) && !support.contains(&[0.0, 0.0]));
/// # Ok::<(), backcast_core::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Support {
    normaliser: Normaliser,
    width: usize,
    /// Standardised rows in the order of the tree.
    rows: Vec<Real>,
    radius: Real,
}

/// Rows that are looked at one by one.
const LEAF: usize = 16;

impl Support {
    /// The support of `obs`, `[rows, obs]`; `key` draws the rows that stand for it.
    ///
    /// # Errors
    /// If the configuration makes no sense, or there are fewer than two rows.
    pub fn of(obs: ArrayView2<'_, Real>, config: SupportConfig, key: Key) -> Result<Self, ConfigError> {
        config.check()?;
        let all = obs.nrows();
        ConfigError::unless(all >= 2, "rows", format!("{all} in the dataset; a row needs another to be near to"))?;
        let normaliser = Normaliser::fit(obs, Scale::AtLeast(1e-3));
        let mut drawn: Vec<usize> = (0..all).collect();
        if all > config.rows {
            key.name("rows").shuffle(&mut drawn);
            drawn.truncate(config.rows);
        }
        let mut chosen = obs.select(Axis(0), &drawn);
        normaliser.apply(chosen.view_mut());
        let mut order: Vec<usize> = (0..drawn.len()).collect();
        halve(&mut order, 0, &chosen.view());
        let rows = chosen.select(Axis(0), &order);
        let (width, rows) = (rows.ncols(), rows.into_raw_vec_and_offset().0);
        let mut support = Self { normaliser, width, rows, radius: 0.0 };
        let mut nearest: Vec<Real> = (0..drawn.len()).map(|own| support.nearest(support.row(own), Some(own))).collect();
        nearest.sort_unstable_by(Real::total_cmp);
        let rank = (config.quantile * nearest.len() as f64).ceil() as usize;
        support.radius = nearest[rank.clamp(1, nearest.len()) - 1];
        Ok(support)
    }

    /// How far from the nearest row a state may be, in standardised units.
    pub fn radius(&self) -> Real {
        self.radius
    }

    /// The distance from `obs`, `[obs]`, to the nearest row, in standardised units.
    ///
    /// # Panics
    /// If the width is another.
    pub fn distance(&self, obs: &[Real]) -> Real {
        let width = self.width;
        assert_eq!(obs.len(), width, "Support::distance: [{}] where rows are [{width}]", obs.len());
        let stats = self.normaliser.mean().iter().zip(self.normaliser.std());
        let standard: Vec<Real> = obs.iter().zip(stats).map(|(x, (mean, std))| (x - mean) / std).collect();
        self.nearest(&standard, None)
    }

    /// Whether `obs`, `[obs]`, lies within the support. What is no number does not.
    ///
    /// # Panics
    /// If the width is another.
    pub fn contains(&self, obs: &[Real]) -> bool {
        self.distance(obs) <= self.radius
    }

    fn row(&self, row: usize) -> &[Real] {
        &self.rows[row * self.width..][..self.width]
    }

    fn nearest(&self, to: &[Real], but: Option<usize>) -> Real {
        let mut best = Real::INFINITY;
        self.search(0..self.rows.len() / self.width, 0, to, but, &mut best);
        best.sqrt()
    }

    /// The smallest squared distance from `to` to the rows `of`, if it is below `best`.
    fn search(&self, of: std::ops::Range<usize>, depth: usize, to: &[Real], but: Option<usize>, best: &mut Real) {
        let mut look = |row: usize| {
            let square: Real = self.row(row).iter().zip(to).map(|(a, b)| (a - b) * (a - b)).sum();
            if square < *best && Some(row) != but {
                *best = square;
            }
        };
        if of.len() <= LEAF {
            return of.for_each(look);
        }
        let (middle, column) = (of.start + of.len() / 2, depth % self.width);
        look(middle);
        let beyond = to[column] - self.row(middle)[column];
        let halves = [of.start..middle, middle + 1..of.end];
        let [near, far] = if beyond < 0.0 {
            halves
        } else {
            let [low, high] = halves;
            [high, low]
        };
        self.search(near, depth + 1, to, but, best);
        if beyond * beyond < *best {
            self.search(far, depth + 1, to, but, best);
        }
    }
}

/// Puts the middle of `order` along one column into its middle, what is lower before and what is higher behind it; then the
/// same with both halves along the next column.
fn halve(order: &mut [usize], depth: usize, rows: &ArrayView2<'_, Real>) {
    if order.len() <= LEAF {
        return;
    }
    let (middle, column) = (order.len() / 2, depth % rows.ncols());
    order.select_nth_unstable_by(middle, |&a, &b| rows[[a, column]].total_cmp(&rows[[b, column]]).then(a.cmp(&b)));
    let (low, high) = order.split_at_mut(middle);
    halve(low, depth + 1, rows);
    halve(&mut high[1..], depth + 1, rows);
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;
    use backcast_core::Normal;
    use ndarray::Array2;

    fn normal(rows: usize, width: usize, key: Key) -> Array2<Real> {
        key.array((rows, width), Normal::default())
    }

    fn whole(quantile: f64) -> SupportConfig {
        SupportConfig { rows: usize::MAX, quantile }
    }

    /// The tree finds what looking at every pair finds, on rows with ties and in several widths.
    #[test]
    fn nearest_is_nearest() {
        let seed = 40;
        for (width, rows) in [(1, 50), (2, 333), (3, 1000), (6, 700)] {
            let mut dataset = normal(rows, width, Key::new(seed).name("log"));
            // Whole columns of equal values, and equal rows.
            dataset.column_mut(0).mapv_inplace(|x| (x * 2.0).round());
            let first = dataset.row(0).to_owned();
            dataset.row_mut(1).assign(&first);
            let support = Support::of(dataset.view(), whole(0.9), Key::new(1)).unwrap();
            let mut standard = dataset.clone();
            support.normaliser.apply(standard.view_mut());
            let slow = |to: &[Real], but: Option<usize>| {
                let rows = standard.rows().into_iter().enumerate().filter(|(i, _)| Some(*i) != but);
                let square =
                    |row: ndarray::ArrayView1<'_, Real>| row.iter().zip(to).map(|(a, b)| (a - b) * (a - b)).sum();
                rows.map(|(_, row)| square(row)).fold(Real::INFINITY, Real::min).sqrt()
            };
            let queries = normal(200, width, Key::new(seed).name("queries"));
            for query in queries.rows() {
                let mut own = query.to_owned().insert_axis(Axis(0));
                support.normaliser.apply(own.view_mut());
                let (fast, slow) = (support.distance(query.as_slice().unwrap()), slow(own.as_slice().unwrap(), None));
                assert!(
                    abs_diff_eq!(fast, slow, epsilon = 1e-6 * (1.0 + slow)),
                    "seed {seed}, width {width}: {fast}, {slow}"
                );
            }
            let mut apart: Vec<Real> = (0..rows).map(|i| slow(standard.row(i).as_slice().unwrap(), Some(i))).collect();
            apart.sort_by(Real::total_cmp);
            let want = apart[(0.9 * rows as f64).ceil() as usize - 1];
            assert!(
                abs_diff_eq!(support.radius(), want, epsilon = 1e-6),
                "width {width}: {} is not {want}",
                support.radius()
            );
        }
    }

    /// On a line of points one apart the radius is one spacing; the units of a column do not matter.
    #[test]
    fn a_known_set_has_the_support_one_would_draw() {
        for unit in [1.0, 1000.0] {
            let line = Array2::from_shape_fn((101, 2), |(i, k)| if k == 0 { unit * i as Real } else { 5.0 });
            let support = Support::of(line.view(), whole(0.99), Key::new(0)).unwrap();
            for (at, second, inside) in
                [(50.0, 5.0, true), (50.4, 5.0, true), (-0.9, 5.0, true), (-1.1, 5.0, false), (50.0, 5.1, false)]
            {
                assert_eq!(support.contains(&[unit * at, second]), inside, "{at}, {second}, unit {unit}");
            }
            assert!(!support.contains(&[Real::NAN, 5.0]) && !support.contains(&[Real::INFINITY, 5.0]));
        }
    }

    /// Fresh draws from where the dataset comes from are inside about as often as the quantile says.
    #[test]
    fn the_quantile_is_kept_by_rows_like_the_recorded_ones() {
        let seed = 8;
        let dataset = normal(5000, 3, Key::new(seed).name("log"));
        let support =
            Support::of(dataset.view(), SupportConfig { rows: 2000, quantile: 0.95 }, Key::new(seed)).unwrap();
        let fresh = normal(4000, 3, Key::new(seed).name("fresh"));
        let inside = fresh.rows().into_iter().filter(|r| support.contains(r.as_slice().unwrap())).count();
        // Of the radius, 2000 draws; of the share, 4000: together a standard error of about 0.006.
        assert!(
            abs_diff_eq!(inside as f64 / 4000.0, 0.95, epsilon = 0.025),
            "seed {seed}: {inside} of 4000 are inside"
        );
        assert!(!support.contains(&[9.0, 0.0, 0.0]));
    }

    #[test]
    fn the_same_key_chooses_the_same_rows() {
        let dataset = normal(3000, 2, Key::new(2));
        let of = |key| Support::of(dataset.view(), SupportConfig { rows: 100, quantile: 0.9 }, Key::new(key)).unwrap();
        assert_eq!((of(1).radius, of(1).rows), (of(1).radius, of(1).rows));
        assert_ne!(of(1).rows, of(2).rows);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let (one, two) = (Array2::zeros((1, 2)), Array2::zeros((2, 2)));
        let of = |obs: &Array2<Real>, rows, quantile| {
            Support::of(obs.view(), SupportConfig { rows, quantile }, Key::new(0)).map_err(|e| e.field)
        };
        assert_eq!(of(&one, 10, 0.9).unwrap_err(), "rows");
        assert_eq!(of(&two, 1, 0.9).unwrap_err(), "rows");
        assert_eq!(of(&two, 10, 0.0).unwrap_err(), "quantile");
        assert_eq!(of(&two, 10, Real::NAN.into()).unwrap_err(), "quantile");
        // Two equal rows are a support of one point.
        let point = of(&two, 10, 1.0).unwrap();
        assert!(point.contains(&[0.0, 0.0]) && !point.contains(&[0.1, 0.0]));
    }
}
