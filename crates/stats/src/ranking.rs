//! How good an order is: of policies by an estimate against their order by what they really earn.

/// Spearman's rank correlation of `a` and `b`: Pearson's of their ranks, equal values sharing the mean of theirs
/// (Spearman 1904). `None` where there is no order: fewer than two pairs, all values of one side equal, or a NaN.
///
/// ```
/// use backcast_stats::spearman;
/// // Monotone is 1, however crooked.
/// assert_eq!(spearman(&[1.0, 2.0, 3.0], &[0.1, 0.2, 99.0]), Some(1.0));
/// assert_eq!(spearman(&[1.0, 1.0], &[0.1, 0.2]), None);
/// ```
///
/// # Panics
/// If the lengths differ.
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    assert_eq!(a.len(), b.len(), "spearman: {} values beside {}", a.len(), b.len());
    if a.iter().chain(b).any(|x| x.is_nan()) {
        return None;
    }
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    let size = (product(&a, &a) * product(&b, &b)).sqrt();
    (size > 0.0).then(|| product(&a, &b) / size)
}

/// Kendall's τ-b of `a` and `b`: agreeing pairs less disagreeing ones, over the geometric mean of the pairs that either side
/// orders (Kendall 1945). `None` where there is no order, as for [`spearman`].
///
/// # Panics
/// If the lengths differ.
pub fn kendall(a: &[f64], b: &[f64]) -> Option<f64> {
    assert_eq!(a.len(), b.len(), "kendall: {} values beside {}", a.len(), b.len());
    if a.iter().chain(b).any(|x| x.is_nan()) {
        return None;
    }
    let sign = |x: &[f64], i: usize, j: usize| x[i].total_cmp(&x[j]) as i64;
    let (mut agreeing, mut of_a, mut of_b) = (0, 0, 0);
    for j in 0..a.len() {
        for i in 0..j {
            // −0 and 0 are equal values.
            let (x, y) = (if a[i] == a[j] { 0 } else { sign(a, i, j) }, if b[i] == b[j] { 0 } else { sign(b, i, j) });
            agreeing += x * y;
            of_a += x * x;
            of_b += y * y;
        }
    }
    let size = (of_a as f64 * of_b as f64).sqrt();
    (size > 0.0).then(|| agreeing as f64 / size)
}

/// What choosing by `estimate` costs: the best of `truth` less the best among the `k` that are estimated highest (regret@k;
/// Fu et al., arXiv:2103.16596). 0 if the best is among them; in the units of `truth`. Of equal estimates the earlier is taken.
///
/// ```
/// use backcast_stats::regret_at;
/// let (estimate, truth) = ([0.9, 0.5, 0.7], [10.0, 30.0, 20.0]);
/// assert_eq!([1, 2, 3].map(|k| regret_at(k, &estimate, &truth)), [20.0, 10.0, 0.0]);
/// ```
///
/// # Panics
/// If the lengths differ or `k` is not in `1..=` their number.
pub fn regret_at(k: usize, estimate: &[f64], truth: &[f64]) -> f64 {
    assert_eq!(estimate.len(), truth.len(), "regret_at: {} estimates of {} values", estimate.len(), truth.len());
    assert!((1..=truth.len()).contains(&k), "regret_at: the best {k} of {}", truth.len());
    let mut order: Vec<usize> = (0..truth.len()).collect();
    // An estimate that is no number is trusted least.
    let trust = |i: usize| if estimate[i].is_nan() { f64::NEG_INFINITY } else { estimate[i] };
    order.sort_by(|&i, &j| trust(j).total_cmp(&trust(i)));
    let best = |of: &mut dyn Iterator<Item = usize>| of.map(|i| truth[i]).fold(f64::NEG_INFINITY, f64::max);
    best(&mut (0..truth.len())) - best(&mut order[..k].iter().copied())
}

/// Ranks from 0, ties sharing their mean.
fn ranks(x: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|&i, &j| x[i].total_cmp(&x[j]));
    let mut ranks = vec![0.0; x.len()];
    let mut first = 0;
    for equal in order.chunk_by(|&i, &j| x[i] == x[j]) {
        let shared = first as f64 + (equal.len() as f64 - 1.0) / 2.0;
        equal.iter().for_each(|&i| ranks[i] = shared);
        first += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    /// By hand: ranks of a are 0 1½ 1½ 3 4, of b 1 0 2 4 3; deviations from 2 multiply to 2 + 1 + 0 + 2 + 2 = 7, squares to
    /// 9.5 and 10.
    #[test]
    fn ties_share_their_ranks() {
        let (a, b) = ([1.0, 2.0, 2.0, 5.0, 9.0], [20.0, 10.0, 30.0, 50.0, 40.0]);
        let rho = spearman(&a, &b).unwrap();
        assert_abs_diff_eq!(rho, 7.0 / (9.5f64 * 10.0).sqrt(), epsilon = 1e-12);
        // Ordered by a: nine pairs, of which (1,2) and (4,5) disagree.
        let tau = kendall(&a, &b).unwrap();
        assert_abs_diff_eq!(tau, 5.0 / 90f64.sqrt(), epsilon = 1e-12);
    }

    #[test]
    fn the_ends_of_the_scale_and_what_has_no_order() {
        let up = [3.0, -1.0, 7.5, 0.0];
        let down = up.map(|x: f64| -x.powi(3));
        for correlation in [spearman, kendall] {
            assert_abs_diff_eq!(correlation(&up, &up).unwrap(), 1.0, epsilon = 1e-12);
            assert_abs_diff_eq!(correlation(&up, &down).unwrap(), -1.0, epsilon = 1e-12);
            assert_eq!(correlation(&up, &[2.0; 4]), None);
            assert_eq!(correlation(&[1.0], &[1.0]), None);
            assert_eq!(correlation(&[], &[]), None);
            assert_eq!(correlation(&[1.0, f64::NAN], &[1.0, 2.0]), None);
        }
        assert_eq!(kendall(&[0.0, -0.0], &[1.0, 2.0]), None);
    }

    /// Over all orders of five, both correlations average to zero, and Kendall's is the smaller in size on average.
    #[test]
    fn over_all_orders_they_average_to_nothing() {
        fn orders(left: Vec<f64>, so_far: Vec<f64>, out: &mut Vec<Vec<f64>>) {
            if left.is_empty() {
                out.push(so_far);
                return;
            }
            for i in 0..left.len() {
                let (mut left, mut so_far) = (left.clone(), so_far.clone());
                so_far.push(left.remove(i));
                orders(left, so_far, out);
            }
        }
        let (first, mut all) = (vec![1.0, 2.0, 3.0, 4.0, 5.0], vec![]);
        orders(first.clone(), vec![], &mut all);
        assert_eq!(all.len(), 120);
        let of = |f: fn(&[f64], &[f64]) -> Option<f64>| all.iter().map(|o| f(&first, o).unwrap()).collect::<Vec<_>>();
        let (rho, tau) = (of(spearman), of(kendall));
        assert_abs_diff_eq!(rho.iter().sum::<f64>(), 0.0, epsilon = 1e-9);
        assert_abs_diff_eq!(tau.iter().sum::<f64>(), 0.0, epsilon = 1e-9);
        // Var ρ = 1/(n−1), Var τ = 2(2n+5)/(9n(n−1)).
        let variance = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>() / 120.0;
        assert_abs_diff_eq!(variance(&rho), 0.25, epsilon = 1e-9);
        assert_abs_diff_eq!(variance(&tau), 30.0 / 180.0, epsilon = 1e-9);
    }

    #[test]
    fn regret_falls_with_k_and_is_nothing_at_the_end() {
        let (estimate, truth) = ([0.2, f64::NAN, 0.1, 0.9], [5.0, 9.0, 7.0, -3.0]);
        assert_eq!([1, 2, 3, 4].map(|k| regret_at(k, &estimate, &truth)), [12.0, 4.0, 2.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "the best 0 of 2")]
    fn choosing_none_is_refused() {
        regret_at(0, &[1.0, 2.0], &[1.0, 2.0]);
    }
}
