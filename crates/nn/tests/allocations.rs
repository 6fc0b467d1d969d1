//! A steady-state update allocates nothing.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use backcast_core::{Key, Normal, Real};
use backcast_nn::{
    Activation, Adam, Gaussian, Init, Mlp, Precision, Shape, Store, TanhGaussian, Vae, polyak, soft_clamp,
};
use ndarray::Array2;

/// Allocations of 50 steps after three that fill the arena.
fn allocations(mut step: impl FnMut(Key)) -> u64 {
    (0..3).for_each(|i| step(Key::new(i)));
    allocation_counter::measure(|| (3..53).for_each(|i| step(Key::new(i)))).count_total
}

fn inputs(rows: usize, cols: usize, name: &str) -> Array2<Real> {
    Key::new(1).name(name).array((rows, cols), Normal::default())
}

#[test]
fn the_counter_counts() {
    let mut kept = vec![];
    let n = allocations(|_| kept.push(Box::new(0)));
    assert!(n >= 50, "{n} allocations of 50 boxes");
}

/// Two critics towards the smaller target plus a policy through them: Adam twice, Polyak, targets without gradients.
#[test]
fn a_critic_and_policy_step_allocates_nothing() {
    let (obs, act, next, reward) = (inputs(64, 5, "o"), inputs(64, 2, "a"), inputs(64, 5, "n"), inputs(64, 1, "r"));
    let mut store = Store::default();
    let policy = Mlp::new(&mut store, "policy", &[5, 32, 32, 4], 1, Activation::Relu, Init::FanIn, Key::new(1));
    let critics = Mlp::new(&mut store, "critics", &[7, 32, 32, 1], 2, Activation::Relu, Init::FanIn, Key::new(2));
    let targets = critics.duplicate(&mut store, "targets");
    let mut critic_adam = Adam::new(critics.range(), 3e-4).with_decoupled_decay(1e-4);
    let mut policy_adam = Adam::new(policy.range(), 3e-4);
    let n = allocations(|key| {
        critic_adam.minimise(&mut store, |tape| {
            let target = tape.no_grad(|tape| {
                let next = tape.input(next.view());
                let base = Gaussian::from_columns(policy.forward(next), -5.0, 2.0);
                let (action, log_prob) = TanhGaussian { base }.sample(key.name("next"));
                let value = targets.forward(next.cat(action)).min_members() - log_prob * 0.1;
                tape.input(reward.view()) + value * 0.99
            });
            let q = critics.forward(tape.input(obs.view()).cat(tape.input(act.view())));
            (q - target).square().mean()
        });
        policy_adam.minimise(&mut store, |tape| {
            let obs = tape.input(obs.view());
            let base = Gaussian::from_columns(policy.forward(obs), -5.0, 2.0);
            let (action, log_prob) = TanhGaussian { base }.sample(key.name("action"));
            (log_prob * 0.1 - critics.forward(obs.cat(action)).min_members()).mean()
        });
        polyak(&mut store, &targets, &critics, 0.005);
    });
    assert_eq!(n, 0, "allocations in 50 steps");
}

#[test]
fn an_ensemble_step_allocates_nothing() {
    let (x, y) = (inputs(64, 7, "x"), inputs(64, 6, "y"));
    let mut store = Store::default();
    let net =
        Mlp::new(&mut store, "ensemble", &[7, 48, 48, 12], 7, Activation::Swish, Init::TruncatedNormal, Key::new(1));
    let bounds = [-10.0, 0.5].map(|at: Real| {
        let name = if at < 0.0 { "low" } else { "high" };
        store.tensor(name, Shape::new(1, 1, 6), |out| out.fill(at))
    });
    let mut adam = Adam::new(0..store.len(), 1e-3);
    for layer in net.layers() {
        adam = adam.with_l2(layer, 1e-4);
    }
    let mut best = vec![];
    let n = allocations(|_| {
        adam.minimise(&mut store, |tape| {
            let [low, high] = bounds.map(|at| tape.parameter(at, Shape::new(1, 1, 6)));
            let output = net.forward(tape.input(x.view()));
            let log_var = soft_clamp(output.cols(6, 6), low, high);
            let error = (output.cols(0, 6) - tape.input(y.view())).square();
            let per_member = (error * (-log_var).exp() + log_var).sum() * (1.0 / (64.0 * 6.0));
            per_member + (high.sum() - low.sum()) * 0.01
        });
        net.save_member(&mut store, 3, &mut best);
    });
    assert_eq!(n, 0, "allocations in 50 steps");
}

#[test]
fn an_autoencoder_step_allocates_nothing() {
    let (c, x) = (inputs(64, 5, "c"), inputs(64, 2, "x"));
    let mut store = Store::default();
    let vae = Vae::new(&mut store, "vae", 5, 2, 4, &[32, 32], 1.0, Key::new(1));
    let mut adam = Adam::new(vae.range(), 1e-3);
    let n = allocations(|key| {
        adam.minimise(&mut store, |tape| vae.loss(tape.input(c.view()), tape.input(x.view()), 0.5, key));
        let tape = store.tape();
        vae.sample(tape.input(c.view()), key).read(|x| assert!(x[0].is_finite()));
    });
    assert_eq!(n, 0, "allocations in 50 steps");
}

/// A gradient inside the loss: twice the tape, still nothing.
#[test]
fn a_gradient_penalty_step_allocates_nothing() {
    let x = inputs(64, 5, "x");
    let mut store = Store::default();
    let critic = Mlp::new(&mut store, "critic", &[5, 32, 32, 1], 1, Activation::Relu, Init::FanIn, Key::new(1));
    let mut adam = Adam::new(critic.range(), 1e-4);
    let n = allocations(|_| {
        adam.minimise(&mut store, |tape| {
            let x = tape.input(x.view());
            let slope = tape.grad(critic.forward(x).sum(), x);
            (slope.norm_cols() - 1.0).square().mean()
        });
    });
    assert_eq!(n, 0, "allocations in 50 steps");
}

/// On bf16 tiles, where the machine has them: what is packed stays in the arena.
#[test]
fn a_step_on_tiles_allocates_nothing() {
    if !backcast_nn::amx_available() {
        eprintln!("SKIPPED: a_step_on_tiles_allocates_nothing: this machine has no bf16 tiles (AMX)");
        return;
    }
    let x = inputs(256, 23, "x");
    for precision in [Precision::Split, Precision::Bf16] {
        let mut store = Store::default();
        store.arena_mut().set_precision(precision);
        let net = Mlp::new(&mut store, "net", &[23, 100, 100, 1], 2, Activation::Relu, Init::FanIn, Key::new(1));
        let mut adam = Adam::new(net.range(), 1e-3);
        let n = allocations(|_| {
            adam.minimise(&mut store, |tape| net.forward(tape.input(x.view())).square().mean());
        });
        assert_eq!(n, 0, "allocations in 50 steps, {precision:?}");
    }
}
