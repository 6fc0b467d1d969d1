use super::*;
use crate::blocks::conservative::{candidates, soft_maximum};
use crate::model_based::combo::{Mu, Pushed, Rho};
use backcast_core::{Policy, Transitions};
use backcast_nn::Gaussian;
use backcast_nn::{Shape, Store};
use ndarray::Array2;

fn rows(limit: Real) -> Transitions {
    let mut rows = Transitions::new(Spec::new(2, 2).with_act_limit(limit));
    for i in 0..64 {
        let mut x = [0.0; 6];
        Key::new(1).fold(i).normal(&mut x);
        rows.push(&x[..2], &[x[2].tanh() * limit, x[3].tanh() * limit], x[0], &x[4..], i % 5 == 0);
    }
    rows
}

fn small() -> Config {
    Config { hidden: vec![16], warm_start: Some(0), ..Default::default() }
}

fn run(config: Config, updates: u64) -> Metrics {
    let rows = rows(2.0);
    let mut cql = config.build(rows.spec(), Key::new(2)).expect("a sound configuration");
    (0..updates)
        .map(|step| cql.update(rows.batch(), Key::new(3).fold(step)))
        .last()
        .expect("an update")
}

/// Q(a) = Σ c_d a_d has ∫ exp Q da = Π 2 sinh(c_d)/c_d over the box, and each of 3n samples estimates it, whatever the
/// two policies are.
#[test]
fn the_sum_over_candidates_estimates_the_integral() {
    let n = 40_000;
    for (trial, (c, means)) in
        [([1.5, -0.7], [0.0, 0.3]), ([0.2, 3.0], [-0.2, 0.1]), ([-2.0, 0.5], [0.4, 0.0])]
            .into_iter()
            .enumerate()
    {
        let mut store = Store::default();
        let tape = store.tape();
        let policy = |mean: Real, ln_std: Real| {
            let fill = |x| tape.fill(Shape::new(1, 1, 2), |out| out.fill(x));
            TanhGaussian { base: Gaussian { mean: fill(mean), log_std: fill(ln_std) } }
        };
        let (pi, pi2) = (policy(means[0], 0.1), policy(means[1], 0.0));
        let (actions, log_density) = candidates(pi, pi2, n, Key::new(4).fold(trial as u64));
        let slope = tape.fill(Shape::new(1, 1, 2), |out| out.copy_from_slice(&c));
        let q = (actions.reshape(Shape::new(1, 3 * n, 2)) * slope).sum_cols().reshape(Shape::new(
            1,
            1,
            3 * n,
        ));
        let exact: f64 =
            c.iter().map(|&c| 2.0 * (c as f64).sinh() / c as f64).product::<f64>().ln();
        let lse = soft_maximum(q, log_density, 3 * n).item() as f64;
        let error = lse - (3.0 * n as f64).ln() - exact;
        // The terms' own spread tells how far off their sum may be.
        let deviation = (q - log_density).exp().read(|x| {
            let mean = x.iter().map(|&x| x as f64).sum::<f64>() / x.len() as f64;
            (x.iter().map(|&x| (x as f64 / mean - 1.0).powi(2)).sum::<f64>()).sqrt()
                / x.len() as f64
        });
        assert!(deviation < 0.02, "trial {trial}: weights spread too far to tell: {deviation}");
        assert!(
            error.abs() < 5.0 * deviation,
            "trial {trial}: {error} against a deviation of {deviation}"
        );
    }
}

/// The loss, the value and the gap of one batch, against the critics evaluated the plain way and, with one candidate of each
/// kind, against the definition: in a batch that is all of the dataset, and in mixed ones in which values are pushed down everywhere
/// or in imagined states alone, of all actions or of those of one distribution.
#[test]
fn the_stacked_evaluation_is_the_plain_one() {
    use {Mu::*, Rho::*};
    for (real, rho, mu) in [
        (64, Mixture, SoftMaximum),
        (23, Mixture, SoftMaximum),
        (23, Model, SoftMaximum),
        (50, Mixture, Policy),
        (50, Model, Uniform),
        (1, Model, Policy),
    ] {
        let dataset = rows(2.0);
        let mut rows = Transitions::new(dataset.spec());
        (0..real).for_each(|i| rows.push_row(&dataset, i));
        rows.begin_imagined();
        (real..64).for_each(|i| rows.push_row(&dataset, i));
        let (batch, key, mut pushed) = (rows.batch(), Key::new(6), Pushed { rho, mu });
        let config = Config { n_action_samples: 1, ..small() };
        let mut cql = config.build_base(rows.spec(), Key::new(5)).expect("a sound configuration");
        cql.set_rates();
        cql.actor_step(batch, None, key.name("first"), |_, _| None);
        let nets = cql.core.nets;
        let tape = cql.core.store.tape();
        let Transition { s, a, r, s2, alive } = Transition::on(tape, batch);
        let first = if rho == Model { real } else { 0 };
        let [pi, pi2] = [s, s2].map(|s| nets.actor.at(s.rows(first, 64 - first)));
        let (actions, log_density) = candidates(pi, pi2, 1, key.name("candidates"));
        let below = s.rows(first, 64 - first);
        let high = match mu {
            SoftMaximum => {
                let sum = (0..3).map(|k| {
                    let q = nets.critic.forward(below.cat(actions.cols(2 * k, 2) * 2.0));
                    (q - log_density.cols(k, 1)).exp()
                });
                sum.reduce(|a, b| a + b).expect("three candidates").ln()
            }
            Uniform => nets.critic.forward(below.cat(actions.cols(0, 2) * 2.0)),
            Policy => nets.critic.forward(below.cat(actions.cols(2, 2) * 2.0)),
        };
        let q = nets.critic.forward(s.cat(a));
        let backup = Backup { best_of: None, ln_alpha: None };
        let next =
            next_value(backup, nets.critic_target, s2, nets.actor.at(s2), 2.0, key.name("target"));
        let error = (q - (r + alive * next * 0.99)).square().mean().item() * 2.0;
        let want = [q.mean().item(), (high.mean() - q.rows(0, real).mean()).item()];
        let metrics = cql.critic_step(batch, key, &mut pushed);
        let [loss, q, gap] =
            ["critic_loss", "q", "gap"].map(|name| metrics.get(name).expect("a metric"));
        let close = |x: Real, y: Real| (x - y).abs() < 1e-5 * y.abs().max(1.0);
        assert!(
            close(q, want[0]) && close(gap, want[1]),
            "{real} {rho:?} {mu:?}: {q} {gap} are not {want:?}"
        );
        assert!(close(loss, error + 10.0 * want[1]), "{real} {rho:?} {mu:?}: {loss}");
    }
}

#[test]
fn the_multiplier_rises_where_the_gap_exceeds_its_threshold() {
    let at = |threshold| {
        let config = Config { target_action_gap: Some(threshold), critic_lr: 1e-2, ..small() };
        let learnt = run(config, 20).get("ln_multiplier").expect("a metric");
        assert_eq!(run(small(), 1).get("ln_multiplier"), None);
        learnt
    };
    let gap = run(small(), 1).get("gap").expect("a metric") * 5.0;
    let (above, below) = (at(gap - 30.0), at(gap + 30.0));
    assert!(above > 0.15 && below < -0.15, "{above} above the threshold, {below} below");
}

/// Where the dataset has a single action, the critics come to prefer it to all others.
#[test]
fn the_penalty_closes_the_gap() {
    let mut rows = Transitions::new(Spec::new(1, 1));
    (0..64).for_each(|_| rows.push(&[0.0], &[0.5], 1.0, &[0.0], true));
    let gap = |weight| {
        let config = Config { cql_alpha: weight, critic_lr: 3e-3, ..small() };
        let mut cql = config.build(rows.spec(), Key::new(7)).expect("a sound configuration");
        let metrics = (0..300).map(|step| cql.update(rows.batch(), Key::new(10).fold(step))).last();
        metrics.expect("an update").get("gap").expect("a metric")
    };
    let (free, priced) = (gap(0.0), gap(5.0));
    assert!(priced < free - 1.0, "{priced} with the penalty, {free} without");
}

/// Over triples the constant in the gap is ln 3, not ln 3n; with one candidate of each kind there is no difference.
#[test]
fn three_at_a_time_differ_by_their_number() {
    let gap = |samples, three_way| {
        run(Config { n_action_samples: samples, three_way, ..small() }, 1)
            .get("gap")
            .expect("a metric")
    };
    assert_eq!(gap(1, true), gap(1, false));
    let difference = gap(10, false) - gap(10, true);
    // Jensen: a logarithm of few is smaller still.
    assert!((2.3..2.8).contains(&difference), "{difference} where ln 10 = 2.303 is the least");
}

#[test]
fn a_warm_start_clones() {
    let mut rows = Transitions::new(Spec::new(1, 1).with_act_limit(2.0));
    (0..64).for_each(|i| rows.push(&[0.0], &[-1.2 + 0.2 * (i % 3) as Real], -9.0, &[0.0], true));
    let config = Config { alpha: 1e-3, warm_start: Some(700), actor_lr: 3e-3, ..small() };
    let mut cql = config.build(rows.spec(), Key::new(8)).expect("a sound configuration");
    let mut critic_loss = vec![];
    for step in 0..700 {
        critic_loss.extend(cql.update(rows.batch(), Key::new(9).fold(step)).get("q"));
    }
    let mut act = Array2::zeros((1, 1));
    cql.act(Array2::zeros((1, 1)).view(), None, act.view_mut());
    assert!((act[[0, 0]] + 1.0).abs() < 0.1, "{}", act[[0, 0]]);
    // The critics learn meanwhile.
    assert!(critic_loss[699] < critic_loss[0] - 0.5, "{} to {}", critic_loss[0], critic_loss[699]);
}
