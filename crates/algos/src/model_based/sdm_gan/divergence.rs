//! Three distances between two samples of pairs *(s, u)*, one of the dataset and one of the policy: how each is learnt,
//! and what the policy does to make it small. Weights of rows of *F* are those of a mean: none is negative, and they
//! add up to 1.

use crate::blocks::mmd::{Kernel, beside, kernels};
use backcast_core::{Key, Real, choices};
use backcast_nn::{Mlp, Shape, Var};

choices! {
    /// The distance between the occupancy of the dataset and that of the policy.
    pub enum Divergence {
        /// Jensen–Shannon, by a discriminator that tells one from the other.
        #[default]
        JensenShannon,
        /// Wasserstein-1, by a witness whose slope is held at 1.
        Wasserstein,
        /// The maximum mean discrepancy of a kernel: nothing is learnt for it.
        Mmd,
    }
}

/// Pairs *(s, u)* of the dataset, `[1, n, obs + act]`, those of the policy, `[1, m, obs + act]`, and the weights of
/// these, `[1, m, 1]`.
#[derive(Clone, Copy)]
pub(super) struct Compared<'t> {
    pub(super) real: Var<'t>,
    pub(super) fake: Var<'t>,
    pub(super) weight: Var<'t>,
}

/// The mean with these weights, whatever they add up to; 0 where all are 0.
fn mean_of<'t>(weight: Var<'t>, x: Var<'t>) -> Var<'t> {
    (weight * x).sum() * (weight.sum() + TINY).recip()
}

/// Keeps a mean finite whose weights are all 0.
const TINY: Real = 1e-12;

// ANCHOR: jensen_shannon
/// (5)  L_D = ½ ( BCE(D(real), c) + BCE(D(F), 0) ),   c ~ U[`lowest`, 1)
///
/// D = σ(x), so that BCE(D, c) = ln(1 + eˣ) − c·x.
pub(super) fn jensen_shannon(d: Mlp, samples: Compared<'_>, lowest: Real, key: Key) -> Var<'_> {
    let Compared { real, fake, weight } = samples;
    let (x, at_fake) = (d.forward(real), d.forward(fake));
    let label = x.tape().uniform(x.shape(), lowest, 1.0, key);
    ((x.softplus() - label * x).mean() + (weight * at_fake.softplus()).sum()) * 0.5
}

/// (6)  L_G = BCE(D(F), 1), which does not vanish where D is sure
pub(super) fn fool<'t>(d: Mlp, fake: Var<'t>, weight: Var<'t>) -> Var<'t> {
    (weight * (-d.forward(fake)).softplus()).sum()
}
// ANCHOR_END: jensen_shannon

// ANCHOR: wasserstein
/// (5)  L_D = E[ D(F) ] − E[ D(real) ] + w·E[ (‖∇D(x̂)‖ − 1)² ],   x̂ = κ·real + (1 − κ)·F, κ ~ U[0, 1)
///
/// The third term before its weight is returned too.
pub(super) fn wasserstein(d: Mlp, samples: Compared<'_>, w: Real, key: Key) -> (Var<'_>, Var<'_>) {
    let Compared { real, fake, weight } = samples;
    let tape = real.tape();
    let pairs = real.shape().rows.min(fake.shape().rows);
    let kappa = tape.uniform(Shape::new(1, pairs, 1), 0.0, 1.0, key);
    let between =
        (kappa * real.rows(0, pairs) + (-kappa + 1.0) * fake.rows(0, pairs)).detach().watch();
    let slope = tape.grad(d.forward(between).sum(), between);
    let penalty = mean_of(weight.rows(0, pairs), (slope.norm_cols() - 1.0).square());
    ((weight * d.forward(fake)).sum() - d.forward(real).mean() + penalty * w, penalty)
}

/// (6)  L_G = −E[ D(F) ]
pub(super) fn climb<'t>(d: Mlp, fake: Var<'t>, weight: Var<'t>) -> Var<'t> {
    -(weight * d.forward(fake)).sum()
}
// ANCHOR_END: wasserstein

// ANCHOR: discrepancy
/// (6)  L_G = mean over groups of √( E k(x,x′) − 2 E k(x,y) + E k(y,y′) + 10⁻⁶ ),   x of F, y of the dataset, `group` of each
pub(super) fn discrepancy<'t>(
    samples: Compared<'t>,
    group: usize,
    kernel: Kernel,
    sigma: Real,
) -> Var<'t> {
    let Compared { real, fake, weight } = samples;
    let groups = Shape::new(1, fake.shape().rows / group, group * group);
    let mean = |x: Var<'t>, y: Var<'t>, weights: Var<'t>| {
        let k = kernels(x, y, group, kernel, sigma);
        (k * weights).sum_cols() * (weights.sum_cols() + TINY).recip()
    };
    let [w, beside] = [weight.repeat_rows(group), beside(weight, group)];
    let (of_fake, of_pairs) = ((w * beside).reshape(groups), w.reshape(groups));
    let of_real = kernels(real, real, group, kernel, sigma).mean_cols();
    (mean(fake, fake, of_fake) - mean(fake, real, of_pairs) * 2.0 + of_real + 1e-6).sqrt().mean()
}
// ANCHOR_END: discrepancy
