//! The conservative gap: how much more a critic thinks of actions it tries than of those the dataset has (CQL, arXiv:2006.04779).

use backcast_core::{Key, Real};
use backcast_nn::{Shape, TanhGaussian, Var};

// ANCHOR: candidates
/// `n` actions each from the uniform distribution, π(·∣s) and π(·∣s′), for every row, in units of their limit, and the logarithms
/// of their densities: `[1, rows, 3n·act]` and `[1, rows, 3n]`, the three kinds in turn.
pub fn candidates<'t>(
    pi: TanhGaussian<'t>,
    pi2: TanhGaussian<'t>,
    n: usize,
    key: Key,
) -> (Var<'t>, Var<'t>) {
    let (uniform, log_uniform) = uniform(pi.base.mean, n, key);
    let (here, log_here) = pi.repeat_rows(n).sample(key.name("here"));
    let (next, log_next) = pi2.repeat_rows(n).sample(key.name("next"));
    let rows = pi.base.mean.shape().rows;
    (
        side_by_side(uniform.cat(here).cat(next), rows),
        side_by_side(log_uniform.cat(log_here).cat(log_next), rows),
    )
}

/// (3)  LSE_j(s) = ln Σ_k [ exp(Q_j(s,a_k) − ln p(a_k)) ] of every `width` consecutive candidates
pub fn soft_maximum<'t>(q: Var<'t>, log_density: Var<'t>, width: usize) -> Var<'t> {
    let weighed = q - log_density;
    let Shape { members, rows, cols } = weighed.shape();
    weighed.reshape(Shape::new(members, rows * cols / width, width)).log_sum_exp_cols()
}
// ANCHOR_END: candidates

/// gap_j(s) = ln Σ_{k≥1} exp Q_j(s,a_k) − Q_j(s,a_0), from the values of actions side by side, `[N, rows, 1 + k]`: `[N, rows, 1]`
pub fn gap(q: Var<'_>) -> Var<'_> {
    q.cols_from(1).log_sum_exp_cols() - q.cols(0, 1)
}

/// `n` actions from the uniform distribution for every row of `like`, `[1, rows, act]`, in units of their limit, and ln p of each:
/// `[1, rows·n, act]` and `[1, rows·n, 1]`.
pub fn uniform<'t>(like: Var<'t>, n: usize, key: Key) -> (Var<'t>, Var<'t>) {
    let (tape, Shape { rows, cols: act, .. }) = (like.tape(), like.shape());
    let log_half = -std::f64::consts::LN_2 as Real;
    let log_density = tape.fill(Shape::new(1, rows * n, 1), |out| out.fill(act as Real * log_half));
    (tape.uniform(Shape::new(1, rows * n, act), -1.0, 1.0, key.name("uniform")), log_density)
}

/// Consecutive rows of a state side by side: `[1, rows·n, cols]` as `[1, rows, n·cols]`.
pub fn side_by_side(x: Var<'_>, rows: usize) -> Var<'_> {
    let Shape { rows: all, cols, .. } = x.shape();
    x.reshape(Shape::new(1, rows, all / rows.max(1) * cols))
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_nn::Store;

    /// Two critics, two states, three candidates, against the sum in double precision.
    #[test]
    fn a_soft_maximum_is_the_logarithm_of_a_sum() {
        let mut store = Store::default();
        let tape = store.tape();
        let given = |shape: Shape, from: Real| {
            tape.fill(shape, |out| {
                out.iter_mut().enumerate().for_each(|(i, x)| *x = from + i as Real * 0.37 % 1.0)
            })
        };
        let (q, log_p) = (given(Shape::new(2, 2, 3), 2.0), given(Shape::new(1, 2, 3), -1.0));
        let [values, densities] = [q, log_p].map(|x| x.read(<[Real]>::to_vec));
        soft_maximum(q, log_p, 3).read(|all| {
            for (i, &lse) in all.iter().enumerate() {
                let (critic, row) = (i / 2, i % 2);
                let term =
                    |k| f64::from(values[critic * 6 + row * 3 + k] - densities[row * 3 + k]).exp();
                let expected = (term(0) + term(1) + term(2)).ln();
                assert!((f64::from(lse) - expected).abs() < 1e-5, "{lse} is not {expected}");
            }
        });
    }

    /// Where every action is worth the same, the gap of k candidates is ln k.
    #[test]
    fn the_gap_of_equal_values_is_the_logarithm_of_their_number() {
        let mut store = Store::default();
        let q = store.tape().fill(Shape::new(1, 4, 6), |q| q.fill(-3.0));
        gap(q).read(|gap| {
            assert!(gap.iter().all(|g| (g - (5.0 as Real).ln()).abs() < 1e-5), "{gap:?}")
        });
    }

    #[test]
    fn uniform_actions_have_the_density_of_the_box() {
        let mut store = Store::default();
        let like = store.tape().fill(Shape::new(1, 3, 2), |x| x.fill(0.0));
        let (a, log_p) = uniform(like, 50, Key::new(1));
        assert_eq!((a.shape().dims(), log_p.shape().dims()), ([1, 150, 2], [1, 150, 1]));
        a.read(|a| assert!(a.iter().all(|a| (-1.0..1.0).contains(a))));
        log_p.read(|p| assert!(p.iter().all(|p| (p - (0.25 as Real).ln()).abs() < 1e-6)));
    }
}
