//! Heads, losses and whole modules, with respect to their inputs or their parameters.

use crate::harness::{Case, Domain::*, Function, case, one, tensors, three, two};
use backcast_core::{Key, Normal};
use backcast_nn::{
    Activation, Gaussian, Init, Mlp, Real, Shape, Store, TanhGaussian, Tape, Vae, Var, clipped_normal, expectile_loss,
    soft_clamp,
};

fn gaussian<'t>(mean: Var<'t>, log_std: Var<'t>) -> Gaussian<'t> {
    Gaussian { mean, log_std }
}

/// The ensemble's loss: Σ over members of the mean of z²·exp(−ln σ²) + ln σ², with learnt bounds on ln σ² and their penalty.
fn ensemble_nll<'t>(output: Var<'t>, target: Var<'t>, low: Var<'t>, high: Var<'t>) -> Var<'t> {
    let cols = target.shape().cols;
    let log_var = soft_clamp(output.cols(cols, cols), low, high);
    let error = (output.cols(0, cols) - target).square();
    let per_member = (error * (-log_var).exp() + log_var) * (1.0 / (target.shape().rows * cols) as Real);
    per_member.sum() + (high.sum() - low.sum()) * 0.01
}

/// Functions of tensors.
pub(crate) fn heads() -> Vec<Case> {
    let s = Shape::new;
    vec![
        three("Gaussian::log_prob", Normal, |m, l, x| gaussian(m, l * 0.5).log_prob(x)),
        case(
            "Gaussian::log_prob, one log-σ for all rows",
            Normal,
            move |_| vec![s(2, 3, 2), s(1, 1, 2), s(1, 3, 2)],
            |x| gaussian(x[0], x[1]).log_prob(x[2]),
        ),
        two("Gaussian::kl_to_standard", Normal, |m, l| gaussian(m, l * 0.5).kl_to_standard()),
        two("Gaussian::sample", Normal, |m, l| gaussian(m, l * 0.5).sample(Key::new(8))),
        case(
            "Gaussian::from_columns",
            Spaced,
            move |_| vec![s(2, 3, 4), s(2, 3, 2)],
            |x| Gaussian::from_columns(x[0], -0.5, 0.4).log_prob(x[1]),
        ),
        two("TanhGaussian::sample", Normal, |m, l| {
            let (action, log_prob) = TanhGaussian { base: gaussian(m, l * 0.5) }.sample(Key::new(9));
            action.cat(log_prob)
        }),
        three("TanhGaussian::log_prob_of_pre_tanh", Normal, |m, l, u| {
            TanhGaussian { base: gaussian(m, l * 0.5) }.log_prob_of_pre_tanh(u)
        }),
        three("TanhGaussian::log_prob", Normal, |m, l, a| {
            TanhGaussian { base: gaussian(m, l * 0.5) }.log_prob(a.tanh() * 0.8)
        }),
        two("TanhGaussian::mode", Normal, |m, l| TanhGaussian { base: gaussian(m, l) }.mode()),
        case(
            "soft_clamp",
            Normal,
            move |_| vec![s(2, 3, 2), s(1, 1, 2), s(1, 1, 2)],
            |x| soft_clamp(x[0], x[1] - 1.0, x[2] + 1.0),
        ),
        one("expectile_loss, τ = 0.7", Spaced, |u| expectile_loss(u, 0.7)),
        one("expectile_loss, τ = 0.1", Spaced, |u| expectile_loss(u, 0.1)),
        case(
            "clipped_normal",
            Normal,
            move |_| vec![s(2, 3, 2)],
            |x| x[0] * clipped_normal(x[0].tape(), x[0].shape(), Key::new(10), 0.5),
        ),
        case(
            "ensemble loss",
            Normal,
            move |_| vec![s(3, 4, 6), s(1, 4, 3), s(1, 1, 3), s(1, 1, 3)],
            |x| ensemble_nll(x[0], x[1], x[2] - 2.0, x[3] + 1.0),
        ),
        case(
            "critics' loss with the smaller target",
            Spaced,
            move |_| vec![s(2, 4, 1), s(2, 4, 1)],
            |x| (x[0] - x[1].min_members() * 0.99).square().mean(),
        ),
        case(
            "conservative loss over sampled actions",
            Normal,
            move |_| vec![s(2, 6, 1), s(2, 2, 1)],
            |x| {
                let sampled = x[0].reshape(Shape::new(2, 2, 3)).log_sum_exp_cols();
                (sampled - x[1]).mean()
            },
        ),
    ]
}

fn inputs(rows: usize, cols: usize, key: Key) -> ndarray::Array2<Real> {
    key.array((rows, cols), Normal::default())
}

fn module(name: impl Into<String>, build: impl Fn(&mut Store, Key) -> Function + 'static) -> Case {
    Case { name: name.into(), build: Box::new(build) }
}

/// (‖∂D/∂x‖ − 1)² averaged over rows (Gulrajani et al., arXiv:1704.00028, eq. 3), with the critic's own loss.
fn wasserstein_loss<'t>(critic: Mlp, tape: Tape<'t>, key: Key) -> Var<'t> {
    let [real, fake, between] = ["real", "fake", "between"].map(|name| inputs(4, 3, key.name(name)));
    let between = tape.input(between.view());
    let slope = tape.grad(critic.forward(between).sum(), between);
    let penalty = (slope.norm_cols() - 1.0).square().mean();
    let score = |x: ndarray::Array2<Real>| critic.forward(tape.input(x.view())).mean();
    score(fake) - score(real) + penalty * 10.0
}

/// Mean over i ≠ j of the cosine between members' action gradients (An et al., arXiv:2110.01548, eq. 3).
fn diversity<'t>(critics: Mlp, tape: Tape<'t>, key: Key) -> Var<'t> {
    let (obs, act) = (inputs(4, 3, key.name("obs")), inputs(4, 2, key.name("act")));
    let members = critics.members();
    let act = tape.input(act.view()).spread(Shape::new(members, 4, 2));
    let q = critics.forward(tape.input(obs.view()).cat(act));
    let slope = tape.grad(q.sum(), act);
    let unit = slope / (slope.norm_cols() + 1e-10);
    let joint = unit.sum_members().square().sum() - unit.square().sum();
    joint * (1.0 / (4 * members * (members - 1)) as Real)
}

/// Functions of the parameters of nets.
pub(crate) fn modules() -> Vec<Case> {
    let mut cases = vec![];
    for act in [Activation::Identity, Activation::Relu, Activation::LeakyRelu, Activation::Tanh, Activation::Swish] {
        cases.push(module(format!("Mlp, {act:?}"), move |store, key| {
            let net = Mlp::new(store, "net", &[3, 4, 3, 2], 2, act, Init::FanIn, key);
            let x = inputs(3, 3, key.name("x"));
            Box::new(move |tape| net.forward(tape.input(x.view())))
        }));
        cases.push(module(format!("Mlp with {act:?} at the end, its input a parameter"), move |store, key| {
            let net = Mlp::new(store, "net", &[3, 4, 2], 3, Activation::Tanh, Init::FanIn, key).with_output(act);
            let x = tensors(store, Normal, &[Shape::new(1, 2, 3)], key.name("x"))[0];
            Box::new(move |tape| net.forward(tape.parameter(x.0, x.1)))
        }));
    }
    for (act, layer_norm) in
        [(Activation::Relu, false), (Activation::Tanh, false), (Activation::Swish, false), (Activation::Tanh, true)]
    {
        cases.push(module(format!("Mlp of pairs, {act:?}, layer norm {layer_norm}"), move |store, key| {
            let net = Mlp::new(store, "net", &[5, 4, 2], 2, act, Init::FanIn, key).with_layer_norm(layer_norm);
            let x = tensors(store, Normal, &[Shape::new(1, 2, 3), Shape::new(1, 6, 2)], key.name("x"));
            Box::new(move |tape| {
                let [s, a] = [x[0], x[1]].map(|(at, shape)| tape.parameter(at, shape));
                net.forward_pairs(s, a)
            })
        }));
    }
    cases.push(module("one net in three places", |store, key| {
        let net = Mlp::new(store, "net", &[2, 3, 2], 2, Activation::Swish, Init::FanIn, key);
        let x = inputs(3, 2, key.name("x"));
        Box::new(move |tape| {
            let y = net.forward(tape.input(x.view()));
            net.forward(net.forward(y).tanh()) * y
        })
    }));
    cases.push(module("Vae::loss", |store, key| {
        let vae = Vae::new(store, "vae", 2, 2, 2, &[5, 5], 0.8, key);
        let (c, x) = (inputs(4, 2, key.name("c")), inputs(4, 2, key.name("x")));
        Box::new(move |tape| vae.loss(tape.input(c.view()), tape.input(x.view()), 0.5, key.name("z")))
    }));
    cases.push(module("Vae::sample", |store, key| {
        let vae = Vae::new(store, "vae", 2, 3, 2, &[5], 1.0, key);
        let c = inputs(4, 2, key.name("c"));
        // The encoder takes no part: its derivatives are zero.
        Box::new(move |tape| vae.sample(tape.input(c.view()), key.name("z")))
    }));
    cases.push(module("ensemble loss of seven members", |store, key| {
        let net = Mlp::new(store, "net", &[3, 4, 4], 7, Activation::Swish, Init::TruncatedNormal, key);
        let bounds = tensors(store, Normal, &[Shape::new(1, 1, 2); 2], key.name("bounds"));
        let (x, y) = (inputs(3, 3, key.name("x")), inputs(3, 2, key.name("y")));
        Box::new(move |tape| {
            let [low, high] = [bounds[0], bounds[1]].map(|(at, shape)| tape.parameter(at, shape));
            ensemble_nll(net.forward(tape.input(x.view())), tape.input(y.view()), low - 2.0, high + 0.5)
        })
    }));
    cases.push(module("policy loss through a tanh-Gaussian and a critic", |store, key| {
        let policy = Mlp::new(store, "policy", &[3, 4, 4], 1, Activation::Tanh, Init::FanIn, key);
        let critics = Mlp::new(store, "critics", &[5, 4, 1], 2, Activation::Tanh, Init::FanIn, key);
        let obs = inputs(4, 3, key.name("obs"));
        Box::new(move |tape| {
            let obs = tape.input(obs.view());
            let base = Gaussian::from_columns(policy.forward(obs), -5.0, 2.0);
            let (action, log_prob) = TanhGaussian { base }.sample(key.name("action"));
            (log_prob * 0.2 - critics.forward(obs.cat(action)).min_members()).mean()
        })
    }));
    // These contain a gradient already: their first order is a second order, their second a third.
    // Large weights keep slopes away from zero, where their norms curve too sharply for differences.
    for act in [Activation::Relu, Activation::LeakyRelu, Activation::Tanh, Activation::Swish] {
        cases.push(module(format!("gradient penalty, {act:?}"), move |store, key| {
            let critic = Mlp::new(store, "critic", &[3, 5, 4, 1], 1, act, Init::Xavier(1.5), key);
            Box::new(move |tape| wasserstein_loss(critic, tape, key))
        }));
        cases.push(module(format!("diversity of critics, {act:?}"), move |store, key| {
            let critics = Mlp::new(store, "critics", &[5, 5, 4, 1], 3, act, Init::Xavier(1.5), key);
            Box::new(move |tape| diversity(critics, tape, key))
        }));
    }
    cases
}
