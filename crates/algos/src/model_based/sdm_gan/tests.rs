use super::*;
use crate::blocks::{candidates::ROWS_AT_ONCE, mmd::Kernel};
use backcast_core::{
    Algorithm, Column, DatasetStats, Direction, Dynamics, ObsScaler, Policy, Problem, Spec,
    Transitions, WorldModel, first_non_finite, never,
};
use backcast_dynamics::{Ensemble, EnsembleConfig};
use backcast_nn::{Activation, Init, Shape};
use divergence::{Compared, discrepancy, wasserstein};
use ndarray::Array2;
use played::{Order, Played};

const SPEC: Spec = Spec::new(2, 2).with_act_limit(2.0);
const ROWS: usize = 48;
const REAL: usize = 30;

fn rows() -> Transitions {
    let mut rows = Transitions::new(SPEC);
    for i in 0..ROWS {
        if i == REAL {
            rows.begin_imagined();
        }
        let mut x = [0.0; 6];
        Key::new(1).fold(i as u64).normal(&mut x);
        rows.push(
            &x[..2],
            &[x[2].tanh() * 2.0, x[3].tanh() * 2.0],
            x[0] - 0.2,
            &x[4..],
            i % 5 == 0,
        );
    }
    rows
}

fn model(spec: Spec) -> Ensemble {
    let small = EnsembleConfig {
        members: 4,
        elites: 3,
        hidden: vec![6],
        weight_decay: vec![0.0; 2],
        ..Default::default()
    };
    Ensemble::new(small, spec, Direction::Forward, Key::new(2)).expect("a sound configuration")
}

/// A model whose observations are scaled before the policy sees them.
fn world_model() -> WorldModel {
    WorldModel::new(model(SPEC), never).with_scaler(ObsScaler::new(&[0.5, -1.0], &[2.0, 0.25]))
}

fn small() -> Config {
    Config {
        hidden: vec![16, 16],
        target_samples: 3,
        epoch: 10,
        warm_start: 0,
        ..Default::default()
    }
}

fn build(config: Config) -> SdmGan {
    config.build(world_model(), Key::new(3)).expect("a sound configuration")
}

/// The share of real rows in each epoch of the authors' schedule, epochs counted from 1.
#[test]
fn the_share_of_real_rows_falls_after_the_warm_start() {
    let config = Config::default();
    for epoch in 1..=120u64 {
        let steps = (epoch as f64 - 41.0).div_euclid(5.0);
        let want = (1.0 - 0.1 * steps).clamp(0.5, 1.0) as Real;
        for update in [(epoch - 1) * 1000, epoch * 1000 - 1] {
            let share = config.real_share(update);
            assert!(
                (share - want).abs() < 1e-6,
                "epoch {epoch}, update {update}: {share} is not {want}"
            );
        }
    }
    assert_eq!((config.real_share(44_999), config.real_share(45_000)), (1.0, 0.9));
}

/// Of a batch, half of which is of the dataset in any case.
#[test]
fn a_learner_asks_for_more_of_what_it_imagines_as_it_goes_on() {
    let mut sdm_gan =
        build(Config { epoch: 2, warm_start: 1, real_epochs: 1, real_step: 0.2, ..small() });
    let mut shares = vec![];
    for step in 0..10 {
        shares.push((sdm_gan.real_share().expect("it imagines") * 100.0).round() as u32);
        sdm_gan.update(rows().batch(), Key::new(4).fold(step));
    }
    assert_eq!(shares, [100, 100, 100, 100, 90, 90, 80, 80, 75, 75]);
}

#[test]
fn noise_has_half_the_columns_of_the_state_and_ten_at_most() {
    for (obs, noise_dim, want) in
        [(1, None, 1), (3, None, 1), (11, None, 5), (45, None, 10), (11, Some(50), 50)]
    {
        let spec = Spec::new(obs, 1);
        let config = Config { noise_dim, hidden: vec![4], ..Default::default() };
        let learner = config
            .build(WorldModel::new(model(spec), never), Key::new(5))
            .expect("a sound configuration");
        assert_eq!(
            learner.nets.actor.net.inputs(),
            obs + want,
            "{obs} columns, {noise_dim:?} asked for"
        );
    }
}

/// (2) with more samples than are evaluated together, all at once and by the plain way.
#[test]
fn targets_are_means_over_noisy_next_states() {
    let dataset_stats = DatasetStats {
        least_reward: Some(-0.5),
        greatest_reward: Some(0.4),
        reward_std: Some(0.1),
        ..DatasetStats::default()
    };
    let config = Config {
        target_samples: ROWS_AT_ONCE + 1,
        reward_margin: 2.0,
        value_bound: 0.3,
        ..small()
    };
    let mut sdm_gan = config
        .build(Problem::from(world_model()).with_stats(dataset_stats), Key::new(3))
        .expect("a sound configuration");
    // Values of some size.
    sdm_gan.visit(&mut |name, slot| match slot {
        Slot::Tensor(_, x) if name.starts_with("critic_target.2.weight") => {
            x.iter_mut().for_each(|x| *x *= 10.0)
        }
        _ => {}
    });
    let (rows, k, noise) = (rows(), ROWS_AT_ONCE + 1, 1);
    let parts = Parts::of(&rows.batch());
    sdm_gan.targets(&rows.batch(), &parts.values, Key::new(6));
    let (mut kept, mut dropped, mut clipped) = (0, 0, 0);
    for (i, row) in parts.values.iter().enumerate() {
        let Work { shifts, epsilon, .. } = &sdm_gan.work;
        let mut states: Vec<Real> = rows.row(Column::NextObs, row).repeat(k);
        let shifted = states.iter_mut().zip(&shifts[i * (k - 1) * 2..][..(k - 1) * 2]);
        shifted.for_each(|(x, z)| *x += (3e-4 * z).clamp(-0.05, 0.05));
        let epsilon: Vec<Real> =
            epsilon[i * k * noise..][..k * noise].iter().map(|e| e.clamp(-3.0, 3.0)).collect();
        let (nets, tape) = (sdm_gan.nets, sdm_gan.store.tape());
        let s2 = tape.fill(Shape::new(1, k, 2), |x| x.copy_from_slice(&states));
        let e = tape.fill(Shape::new(1, k, noise), |x| x.copy_from_slice(&epsilon));
        let a2 = nets.actor_target.net.forward(s2.cat(e)).tanh() * 2.0;
        let [x, y] =
            [0, 1].map(|j| nets.critic_target.forward_member(s2.cat(a2), j).read(<[Real]>::to_vec));
        let pairs =
            x.iter().zip(&y).map(|(x, y)| 0.75 * x.min(*y) as f64 + 0.25 * x.max(*y) as f64);
        let value = pairs.sum::<f64>() / k as f64;
        let r = rows.row(Column::Reward, row)[0];
        let held = r.clamp(-0.7, 0.6);
        let counted = if value.abs() < 0.3 { value } else { 0.0 };
        let alive = 1.0 - rows.row(Column::Terminal, row)[0] as f64;
        let want = held as f64 + 0.99 * alive * counted;
        let got = sdm_gan.work.y[i];
        assert!((got as f64 - want).abs() < 1e-5, "row {row}: {got} is not {want}");
        (kept, dropped) = if value.abs() < 0.3 { (kept + 1, dropped) } else { (kept, dropped + 1) };
        clipped += usize::from(held != r);
    }
    assert!(
        kept > 1 && dropped > 1 && clipped > 1,
        "{kept} kept, {dropped} dropped, {clipped} rewards clipped"
    );
}

/// A batch whose loss is beyond the threshold moves no critic, and is remembered.
#[test]
fn an_exploding_batch_is_not_followed() {
    let mut sdm_gan = build(small());
    let critics = |sdm_gan: &SdmGan| sdm_gan.store.params()[sdm_gan.nets.critic.range()].to_vec();
    let actor = |sdm_gan: &SdmGan| sdm_gan.store.params()[sdm_gan.nets.actor.net.range()].to_vec();
    let mut wild = rows();
    wild.values_mut(Column::Reward).iter_mut().for_each(|r| *r *= 1e5);
    let mut followed = vec![];
    for step in 0..10 {
        let before = (critics(&sdm_gan), actor(&sdm_gan));
        let batch = if step % 5 == 4 { &wild } else { &rows() };
        let loss = sdm_gan
            .update(batch.batch(), Key::new(7).fold(step))
            .get("critic_loss")
            .expect("a metric");
        assert_eq!(loss > 1000.0, step % 5 == 4, "{loss}");
        followed.push(critics(&sdm_gan) != before.0);
        assert_eq!(actor(&sdm_gan) != before.1, step % 2 == 0, "everything else goes on");
    }
    assert_eq!(followed, [true, true, true, true, false, true, true, true, true, false]);
    assert_eq!(sdm_gan.critic_adam.steps(), 8);
    // Two losses of about 10⁷ among ten.
    assert!(sdm_gan.guard.threshold > 1e5, "{}", sdm_gan.guard.threshold);
}

#[test]
fn critics_rest_in_the_warm_start_and_the_policy_does_not() {
    let mut sdm_gan = build(Config { epoch: 3, warm_start: 2, ..small() });
    let nets = sdm_gan.nets;
    let of = |sdm_gan: &SdmGan, net: Mlp| sdm_gan.store.params()[net.range()].to_vec();
    let first = [nets.critic, nets.actor.net].map(|net| of(&sdm_gan, net));
    for step in 0..6 {
        let metrics = sdm_gan.update(rows().batch(), Key::new(8).fold(step));
        assert!(
            metrics.get("q_size").expect("a metric") > 0.0
                && metrics.get("critic_loss").expect("a metric") > 0.0
        );
    }
    assert_eq!(of(&sdm_gan, nets.critic), first[0]);
    assert_ne!(of(&sdm_gan, nets.actor.net), first[1]);
    assert_eq!(of(&sdm_gan, nets.critic_target), first[0]);
    sdm_gan.update(rows().batch(), Key::new(9));
    assert_ne!(of(&sdm_gan, nets.critic), first[0]);
}

/// (4) row by row: where the model says, in the agent's units, by the elite that was drawn; rows that end count
/// nothing.
#[test]
fn pairs_go_one_step_further_and_end_where_episodes_do() {
    fn far(_: &[Real], _: &[Real], s2: &[Real]) -> bool {
        s2[0] > 1.0
    }
    let config = Config { state_noise: 0.1, ..small() };
    let world_model = WorldModel { termination: far, ..world_model() };
    let mut sdm_gan = config.build(world_model, Key::new(3)).expect("a sound configuration");
    let (rows, mut plain) = (rows(), model(SPEC));
    let starts = Parts::of(&rows.batch()).starts;
    sdm_gan.play(&rows.batch(), &starts, Key::new(10));
    let (obs_scaler, n) = (ObsScaler::new(&[0.5, -1.0], &[2.0, 0.25]), starts.len());
    let elites = plain.elites().to_vec();
    let Played { states, weights, taken, elite, z, actions, .. } = &sdm_gan.work.played;
    let (mut ended, mut drawn) = (0, [0; 3]);
    let mut counted = vec![];
    for (i, row) in starts.iter().enumerate() {
        let (s, a) = (&states[i * 2..][..2], &taken[i * 2..][..2]);
        let moved = s
            .iter()
            .zip(rows.row(Column::Obs, row))
            .map(|(x, y)| (x - y).abs())
            .fold(0.0, Real::max);
        assert!(moved > 0.0 && moved <= 0.05 + 1e-6, "{moved}");
        assert!(a.iter().zip(&actions[i * 2..]).all(|(a, u)| (a - 2.0 * u.tanh()).abs() < 1e-5));
        let mut own = s.to_vec();
        obs_scaler.to_model(&mut own);
        let given =
            [&own[..], a].map(|x| Array2::from_shape_vec((1, 2), x.to_vec()).expect("a row"));
        let p = plain.predict([given[0].view(), given[1].view()]);
        let place = (elite[i] * 3.0) as usize;
        drawn[place] += 1;
        let at = |col| {
            p.mean[[elites[place], 0, 1 + col]]
                + p.std[[elites[place], 0, 1 + col]] * z[i * 2 + col]
        };
        let mut s2 = [at(0), at(1)];
        let ends = far(&[], &[], &s2);
        obs_scaler.to_learner(&mut s2);
        for (got, want) in states[(n + i) * 2..].iter().zip(s2) {
            assert!((got - want).abs() < 1e-4, "row {row}: {got} is not {want}");
        }
        let begins = rows.row(Column::Terminal, row)[0] == 0.0;
        counted.extend([(i, begins), (n + i, begins && !ends)]);
        ended += usize::from(begins && ends);
    }
    assert!(ended > 0 && drawn.iter().all(|&n| n > 0), "{ended} ended, {drawn:?}");
    let all = counted.iter().filter(|(_, counts)| *counts).count();
    for (i, counts) in counted {
        let want = if counts { 1.0 / all as Real } else { 0.0 };
        assert!((weights[i] - want).abs() < 1e-6, "row {i} of F: {} is not {want}", weights[i]);
    }
}

/// What the model predicts that is no number leaves the state where it was.
#[test]
fn a_prediction_that_is_no_number_is_no_change() {
    let mut world_model = WorldModel::new(model(SPEC), never);
    world_model.dynamics.visit(&mut |name, slot| match slot {
        Slot::Tensor(_, x) if name.ends_with("net.1.bias") => x[1] = Real::NAN,
        _ => {}
    });
    let mut sdm_gan = small().build(world_model, Key::new(3)).expect("a sound configuration");
    let rows = rows();
    let metrics = sdm_gan.update(rows.batch(), Key::new(11));
    assert!(metrics.iter().all(|(_, x)| x.is_finite()), "{metrics:?}");
    let states = &sdm_gan.work.played.states;
    let (first, then) = states.split_at(states.len() / 2);
    assert!(first.chunks(2).zip(then.chunks(2)).all(|(s, s2)| s[0] == s2[0] && s[1] != s2[1]));
    assert_eq!(first_non_finite(&mut sdm_gan), None);
}

/// The witness ⟨w, x⟩ has slope w everywhere.
#[test]
fn the_gradient_penalty_of_a_line_is_its_slope_s() {
    let mut store = Store::default();
    let line =
        Mlp::new(&mut store, "line", &[4, 1], 1, Activation::Identity, Init::FanIn, Key::new(12));
    store.params_mut()[line.range()].copy_from_slice(&[2.0, -1.0, 0.0, 2.0, 0.7]);
    let tape = store.tape();
    let sample = |rows, name| tape.normal(Shape::new(1, rows, 4), Key::new(13).name(name));
    let weight =
        tape.fill(Shape::new(1, 5, 1), |w| w.copy_from_slice(&[0.25, 0.5, 0.0, 0.25, 0.0]));
    let compared = Compared { real: sample(3, "real"), fake: sample(5, "fake"), weight };
    let (loss, penalty) = wasserstein(line, compared, 10.0, Key::new(14));
    assert!((penalty.item() - 4.0).abs() < 1e-5, "(3 − 1)² is not {}", penalty.item());
    let at = |x: Var<'_>| line.forward(x).read(|x| x.to_vec());
    let (real, fake) = (at(compared.real), at(compared.fake));
    let want =
        0.25 * fake[0] + 0.5 * fake[1] + 0.25 * fake[3] - real.iter().sum::<Real>() / 3.0 + 40.0;
    assert!((loss.item() - want).abs() < 1e-4, "{} is not {want}", loss.item());
}

/// The derivative of the penalty by the witness's parameters, through its derivative by the pairs, against differences.
#[test]
fn the_gradient_penalty_is_differentiated_through_slopes() {
    let mut store = Store::default();
    // Smooth units: a difference of a kink says nothing.
    let d = Mlp::new(
        &mut store,
        "d",
        &[3, 8, 6, 1],
        1,
        Activation::Tanh,
        Init::Xavier(1.5),
        Key::new(15),
    );
    let value = |store: &mut Store, out: Option<&mut [Real]>| {
        let tape = store.tape();
        let sample = |name| tape.normal(Shape::new(1, 7, 3), Key::new(16).name(name));
        let weight = tape
            .fill(Shape::new(1, 7, 1), |w| w.copy_from_slice(&[0.2, 0.2, 0.0, 0.1, 0.2, 0.1, 0.2]));
        let (_, penalty) = wasserstein(
            d,
            Compared { real: sample("real"), fake: sample("fake"), weight },
            1.0,
            Key::new(17),
        );
        out.into_iter().for_each(|out| tape.grad_params(penalty, d.range(), out));
        penalty.item()
    };
    let mut gradient = vec![0.0; d.range().len()];
    value(&mut store, Some(&mut gradient));
    let size = gradient.iter().map(|g| g * g).sum::<Real>().sqrt();
    assert!(size > 1e-2, "the gradient is {size}");
    let step = 1e-2;
    let mut at = |sign: Real| {
        let moved = |store: &mut Store, by: Real| {
            store.params_mut()[d.range()]
                .iter_mut()
                .zip(&gradient)
                .for_each(|(p, g)| *p += by * g / size);
        };
        moved(&mut store, sign * step);
        let value = value(&mut store, None);
        moved(&mut store, -sign * step);
        value
    };
    let slope = (at(1.0) - at(-1.0)) / (2.0 * step);
    assert!((slope / size - 1.0).abs() < 0.02, "{slope} along a gradient of size {size}");
}

/// Groups of four with weights, summed pair by pair in double precision.
#[test]
fn the_discrepancy_is_a_weighted_sum_over_pairs() {
    let mut store = Store::default();
    let tape = store.tape();
    let sample = |name| tape.normal(Shape::new(1, 8, 2), Key::new(18).name(name)) * 0.7;
    let (real, fake) = (sample("real"), sample("fake") + 0.4);
    let weights = [0.25, 0.25, 0.0, 0.125, 0.125, 0.125, 0.125, 0.0];
    let weight = tape.fill(Shape::new(1, 8, 1), |w| w.copy_from_slice(&weights));
    for (kernel, sigma) in [(Kernel::Laplacian, 0.7), (Kernel::Gaussian, 1.3)] {
        let got = discrepancy(Compared { real, fake, weight }, 4, kernel, sigma).item();
        let [x, y] =
            [fake, real].map(|x| x.read(|x| x.iter().map(|&x| x as f64).collect::<Vec<_>>()));
        let k = |x: &[f64], y: &[f64]| {
            let d = [x[0] - y[0], x[1] - y[1]];
            let size = match kernel {
                Kernel::Laplacian => d[0].abs() + d[1].abs(),
                Kernel::Gaussian => d[0] * d[0] + d[1] * d[1],
            };
            (-size / (2.0 * sigma as f64)).exp()
        };
        let mut want = 0.0;
        for group in [0..4, 4..8] {
            let total: Real = group.clone().map(|i| weights[i]).sum();
            let mut square = 1e-6;
            for i in group.clone() {
                for j in group.clone() {
                    let (v, w) = ((weights[i] / total) as f64, (weights[j] / total) as f64);
                    let at = |of: &[f64], i: usize| [of[2 * i], of[2 * i + 1]];
                    square +=
                        v * w * k(&at(&x, i), &at(&x, j)) - 0.5 * v * k(&at(&x, i), &at(&y, j));
                    square += k(&at(&y, i), &at(&y, j)) / 16.0;
                }
            }
            want += square.sqrt() / 2.0;
        }
        assert!((got as f64 - want).abs() < 1e-5, "{kernel:?}: {got} is not {want}");
    }
}

/// Every row of F has one place, and each group has rows of both halves.
#[test]
fn groups_are_drawn_from_all_of_f() {
    let order = Order::of(64, 64, Some(8));
    let mut store = Store::default();
    let numbers: Vec<Real> = (0..64).map(|i| i as Real).collect();
    let mut rows = order.read(store.tape(), &numbers, 1).read(|x| x.to_vec());
    for group in rows.chunks(8) {
        assert_eq!(group.iter().filter(|&&row| row < 32.0).count(), 4, "{group:?}");
    }
    rows.sort_unstable_by(Real::total_cmp);
    assert_eq!(rows, numbers);
    let few = Order::of(64, 5, Some(8));
    assert_eq!((few.rows, few.group), (5, 5));
}

/// The more draws there are to choose from, the more the first critic promises.
#[test]
fn it_acts_by_the_best_of_some_draws() {
    let (mut promised, obs) = (vec![], rows().batch().obs.to_owned());
    for act_samples in [1, 5, 50] {
        let mut sdm_gan = build(Config { act_samples, ..small() });
        let mut act = Array2::zeros((ROWS, 2));
        sdm_gan.act(obs.view(), Some(Key::new(19)), act.view_mut());
        let (critic, tape) = (sdm_gan.nets.critic, sdm_gan.store.tape());
        let q = critic.forward_member(tape.input(obs.view()).cat(tape.input(act.view())), 0);
        promised.push(q.mean().item());
    }
    assert!(promised[0] + 1e-3 < promised[1] && promised[1] + 1e-3 < promised[2], "{promised:?}");
}

/// The dataset has actions near ±0.6 and none between. A density with one mode has no less between two equal intervals
/// than in the lesser of them; what the policy does has much less.
#[test]
fn a_policy_of_noise_has_both_modes_of_the_dataset() {
    fn ends(_: &[Real], _: &[Real], _: &[Real]) -> bool {
        true
    }
    let spec = Spec::new(1, 1);
    let mut dataset = Transitions::new(spec);
    for i in 0..2000 {
        let (key, mut x) = (Key::new(20).fold(i), [0.0; 2]);
        key.normal(&mut x);
        let side = if i % 2 == 0 { 0.6 } else { -0.6 };
        dataset.push(&[x[0]], &[side + 0.05 * x[1]], 0.0, &[x[0]], false);
    }
    for (divergence, discriminator_lr, policy_period, updates) in [
        (Divergence::JensenShannon, 1e-3, 2, 1500),
        (Divergence::Wasserstein, 3e-3, 5, 3000),
        (Divergence::Mmd, 1e-3, 2, 1500),
    ] {
        let config = Config {
            policy_period,
            divergence,
            hidden: vec![32, 32],
            noise_dim: Some(2),
            target_samples: 1,
            warm_start: 1000,
            sigma: 0.1,
            actor_lr: 1e-3,
            discriminator_lr,
            ..Default::default()
        };
        let mut sdm_gan = config
            .build(WorldModel::new(model(spec), ends), Key::new(21))
            .expect("a sound configuration");
        let mut staging = Transitions::new(spec);
        for step in 0..updates {
            let key = Key::new(22).fold(step);
            sdm_gan.update(dataset.sample(key.name("rows"), 256, &mut staging), key);
        }
        let tape = sdm_gan.store.tape();
        let s = tape.normal(Shape::new(1, 4000, 1), Key::new(23));
        let share = sdm_gan.nets.actor.sample(s, Key::new(24)).read(|a| {
            let of = |low: Real, high: Real| {
                a.iter().filter(|&&a| low <= a && a < high).count() as f64 / 4000.0
            };
            [of(-0.9, -0.3), of(-0.3, 0.3), of(0.3, 0.9)]
        });
        let [left, between, right] = share;
        assert!(
            left.min(right) > 0.25 && between < 0.5 * left.min(right),
            "{divergence:?}: {share:?}"
        );
    }
}
