use backcast_core::{Key, Prediction, Real};
use ndarray::{ArrayView2, ArrayView3};

/// 𝒰(s, a) = stdᵢ (1/K) Σₖ V(s′ᵢₖ), s′ᵢₖ ~ pᵢ(· ∣ s, a), i over the elites: how differently valuable the members' next states
/// are.
///
/// MOBILE (Sun et al., ICML 2023), where V(s′) = minⱼ Q′ⱼ(s′, a′) with the target critics and a′ of the current policy, K = 10,
/// and 𝒰 is taken off the target of imagined rows. The deviation is a sample's (divided by *n − 1*), as in the authors' code,
/// which leaves PyTorch's default; with one elite it is 0. Only the state columns are sampled.
///
/// It is no function of a prediction alone, hence no [`Penalty`](crate::Penalty): it wants draws and a value. It is meant for
/// the inside of an algorithm's update; after the first call of a size it allocates nothing.
///
/// ```
/// use approx::assert_abs_diff_eq;
/// use backcast_core::{Key, Prediction, Real};
/// use backcast_penalties::ValueInconsistency;
/// use ndarray::{Array3, ArrayView2, array};
///
/// // Two elites of three agree on nothing: they lead to 1 and to 3. The value of a state is ten times its number.
/// let mean = array![[[0.0, 1.0]], [[0.0, 3.0]], [[0.0, 99.0]]];
/// let std = Array3::zeros((3, 1, 2));
/// let p = Prediction { mean: mean.view(), std: std.view() };
/// let mut value = |states: ArrayView2<'_, Real>, out: &mut [Real]| {
///     out.iter_mut().zip(states.column(0)).for_each(|(v, s)| *v = 10.0 * s);
/// };
/// let mut u = [0.0];
/// ValueInconsistency::new(10).penalty(p, &[0, 1], Key::new(1), &mut value, &mut u);
/// assert_abs_diff_eq!(u[0], (20.0 * 20.0 / 2.0 as Real).sqrt(), epsilon = 1e-4);
/// ```
#[derive(Clone, Debug)]
pub struct ValueInconsistency {
    samples: usize,
    noise: Vec<Real>,
    states: Vec<Real>,
    values: Vec<Real>,
    /// Of each elite and row, the mean value of its samples.
    means: Vec<f64>,
}

impl ValueInconsistency {
    /// With `samples` draws from each elite: K, 10 in the paper.
    ///
    /// # Panics
    /// If there is to be no sample.
    pub fn new(samples: usize) -> Self {
        assert!(samples > 0, "ValueInconsistency::new: no samples");
        Self { samples, noise: Vec::new(), states: Vec::new(), values: Vec::new(), means: Vec::new() }
    }

    /// K.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Writes 𝒰, `[rows]`, for every row of `p`, `[members, rows, cols]`, reward in column 0.
    ///
    /// `value` is asked once for each elite, in their order: it is given states `[rows·samples, obs]`, the samples of one row
    /// one after the other, and writes their values, `[rows·samples]`. Elite *e* (by its place in `elites`) draws from
    /// `key.fold(e)`.
    ///
    /// # Panics
    /// If `out` is not as long as `p` has rows, or an elite is no member.
    pub fn penalty(
        &mut self,
        p: Prediction<'_>,
        elites: &[usize],
        key: Key,
        value: &mut dyn FnMut(ArrayView2<'_, Real>, &mut [Real]),
        out: &mut [Real],
    ) {
        let (_, rows, cols) = p.mean.dim();
        let mut noise = std::mem::take(&mut self.noise);
        let each = rows * self.samples * (cols - 1);
        noise.resize(elites.len() * each, 0.0);
        noise.chunks_exact_mut(each.max(1)).enumerate().for_each(|(e, z)| key.fold(e as u64).normal(z));
        let draws = ArrayView3::from_shape((elites.len(), rows * self.samples, cols - 1), &noise).expect("dense");
        self.penalty_with(p, elites, draws, value, out);
        self.noise = noise;
    }

    /// The same with standard normal numbers `draws`, `[elites, rows·samples, obs]`, such as recorded ones.
    ///
    /// # Panics
    /// If the shapes do not fit, or an elite is no member.
    pub fn penalty_with(
        &mut self,
        p: Prediction<'_>,
        elites: &[usize],
        draws: ArrayView3<'_, Real>,
        value: &mut dyn FnMut(ArrayView2<'_, Real>, &mut [Real]),
        out: &mut [Real],
    ) {
        let (members, rows, cols) = p.mean.dim();
        let (obs, samples) = (cols - 1, rows * self.samples);
        assert!(
            p.mean.dim() == p.std.dim()
                && out.len() == rows
                && draws.dim() == (elites.len(), samples, obs)
                && elites.iter().all(|&i| i < members),
            "ValueInconsistency: {} numbers, draws {:?} and elites {elites:?} for a prediction of mean {:?} and std {:?}",
            out.len(),
            draws.dim(),
            p.mean.dim(),
            p.std.dim()
        );
        self.states.resize(samples * obs, 0.0);
        self.values.resize(samples, 0.0);
        self.means.clear();
        // ANCHOR: value_inconsistency
        for (&i, draws) in elites.iter().zip(draws.outer_iter()) {
            for (k, (state, z)) in self.states.chunks_exact_mut(obs).zip(draws.rows()).enumerate() {
                let row = k / self.samples;
                for (c, (x, z)) in state.iter_mut().zip(z).enumerate() {
                    *x = p.mean[[i, row, 1 + c]] + p.std[[i, row, 1 + c]] * z;
                }
            }
            let states = ArrayView2::from_shape((samples, obs), &self.states).expect("dense");
            value(states, &mut self.values);
            let mean = |of_row: &[Real]| of_row.iter().map(|&v| v as f64).sum::<f64>() / self.samples as f64;
            self.means.extend(self.values.chunks_exact(self.samples).map(mean));
        }
        let n = elites.len();
        for (row, u) in out.iter_mut().enumerate() {
            let [_, variance] = crate::penalty::moments(self.means.iter().skip(row).step_by(rows).copied());
            *u = if n < 2 { 0.0 } else { (variance * n as f64 / (n - 1) as f64).sqrt() as Real };
        }
        // ANCHOR_END: value_inconsistency
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;
    use ndarray::{Array3, array};

    /// V(s) = s₀ + 10·s₁.
    fn linear(states: ArrayView2<'_, Real>, out: &mut [Real]) {
        out.iter_mut().zip(states.rows()).for_each(|(v, s)| *v = s[0] + 10.0 * s[1]);
    }

    #[test]
    fn it_is_the_deviation_of_the_elites_mean_values() {
        // Rewards 100 apart and member 1 far off do not matter: neither is asked.
        let mean = array![
            [[0.0, 1.0, 0.0], [0.0, 2.0, 2.0]],
            [[0.0, 500.0, 0.0], [0.0, 0.0, 90.0]],
            [[100.0, 3.0, 1.0], [100.0, 2.0, 2.0]]
        ];
        let std = Array3::zeros((3, 2, 3));
        let p = Prediction { mean: mean.view(), std: std.view() };
        let (mut u, mut asked) = ([9.0; 2], 0);
        let mut value = |states: ArrayView2<'_, Real>, out: &mut [Real]| {
            assert_eq!((states.dim(), out.len()), ((8, 2), 8));
            asked += 1;
            linear(states, out);
        };
        ValueInconsistency::new(4).penalty(p, &[2, 0], Key::new(1), &mut value, &mut u);
        // Row 0: values 1 and 13, sample deviation √72. Row 1: both 22.
        assert!(abs_diff_eq!(u[0], 72f32.sqrt() as Real, epsilon = 1e-5) && u[1] == 0.0, "{u:?}");
        assert_eq!(asked, 2);
        ValueInconsistency::new(4).penalty(p, &[1], Key::new(1), &mut linear, &mut u);
        assert_eq!(u, [0.0; 2]);
    }

    #[test]
    fn samples_belong_to_their_row_and_are_averaged() {
        // One column; values are squares, so that noise matters. Draws ±1: the mean of (μ ± σ)² is μ² + σ².
        let (mean, std) = (
            array![[[0.0, 1.0], [0.0, 2.0]], [[0.0, 0.0], [0.0, 2.0]]],
            array![[[9.0, 1.0], [9.0, 0.5]], [[9.0, 0.0], [9.0, 1.5]]],
        );
        let p = Prediction { mean: mean.view(), std: std.view() };
        let draws = array![[[1.0], [-1.0], [1.0], [-1.0]], [[1.0], [-1.0], [1.0], [-1.0]]];
        let mut square = |s: ArrayView2<'_, Real>, out: &mut [Real]| {
            out.iter_mut().zip(s.column(0)).for_each(|(v, s)| *v = s * s);
        };
        let mut u = [9.0; 2];
        ValueInconsistency::new(2).penalty_with(p, &[0, 1], draws.view(), &mut square, &mut u);
        // Row 0: 2 and 0; row 1: 4.25 and 6.25: both deviate by √2.
        assert!(u.iter().all(|&u| abs_diff_eq!(u, 2f32.sqrt() as Real, epsilon = 1e-6)), "{u:?}");
    }

    #[test]
    fn a_value_that_is_nan_is_not_hidden() {
        let x = Array3::ones((2, 2, 2));
        let p = Prediction { mean: x.view(), std: x.view() };
        let mut u = [0.0; 2];
        let mut value = |_: ArrayView2<'_, Real>, out: &mut [Real]| {
            out.fill(1.0);
            out[0] = Real::NAN;
        };
        ValueInconsistency::new(3).penalty(p, &[0, 1], Key::new(1), &mut value, &mut u);
        assert!(u[0].is_nan() && u[1] == 0.0, "{u:?}");
    }

    #[test]
    fn the_key_decides_the_draws() {
        let x = Array3::ones((3, 5, 3));
        let p = Prediction { mean: x.view(), std: x.view() };
        let mut inconsistency = ValueInconsistency::new(10);
        let mut ask = |key| {
            let mut u = [0.0; 5];
            inconsistency.penalty(p, &[0, 2], key, &mut linear, &mut u);
            u
        };
        assert_eq!(ask(Key::new(1)), ask(Key::new(1)));
        assert_ne!(ask(Key::new(1)), ask(Key::new(2)));
        // Members draw apart: with the same draws equal members would agree.
        assert!(ask(Key::new(1)).iter().all(|&u| u > 0.0));
    }
}
