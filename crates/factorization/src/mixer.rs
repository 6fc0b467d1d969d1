//! Mixers: one value of the whole, *Q_tot(s, u)*, from the values of the parts.
//!
//! | mixer | Q_tot | can represent | the parts' best actions are the joint best |
//! |---|---|---|---|
//! | [`Vdn`] (arXiv:1706.05296) | Σ Qᵢ | sums | always |
//! | [`Qmix`] (arXiv:1803.11485) | f_s(Q₁ … Qₙ), increasing in each | what is monotone | always |
//! | [`Qplex`] (arXiv:2008.01062) | Σ Qᵢ + Σ (λᵢ(s,u) − 1)·Aᵢ, λᵢ > 0 | everything of which that is true | always |
//! | [`Unrestricted`] | any net of the Qᵢ and s | everything | not at all: it has to be told who acts |
//!
//! The last column is *individual–global–max* (IGM): it lets parts act by themselves.

use crate::parts::{Parts, Widths};
use backcast_core::Key;
use backcast_nn::{Activation, Init, Mlp, Real, Store, Var};
use serde::{Deserialize, Serialize};

/// A mixer of any kind.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::large_enum_variant, reason = "handles, copied a few times an update; boxes could not be copied")]
pub enum Mixer {
    /// A sum.
    Vdn(Vdn),
    /// A monotone function.
    Qmix(Qmix),
    /// Advantages weighed by what all do.
    Qplex(Qplex),
    /// Anything.
    Unrestricted(Unrestricted),
}

/// Which mixer, and how wide; defaults of the authors' code (`oxwhirl/wqmix`, `wjh720/QPLEX`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name", deny_unknown_fields)]
pub enum MixerConfig {
    /// Value decomposition networks: a sum.
    Vdn,
    /// A monotone function of `embed` hidden units, whose weights are nets of the state, with `hyper` hidden units.
    Qmix {
        /// Units of the mixing layer.
        embed: usize,
        /// Hidden units of the nets that make its weights.
        hyper: usize,
    },
    /// Duplex dueling, with `heads` weights for each part.
    Qplex {
        /// Weights that are added up.
        heads: usize,
        /// Hidden units of the nets that make them.
        hyper: usize,
        /// Whether values are first scaled and shifted by nets of the state, as in the code's settings for SMAC. In the matrix games
        /// the scale soon goes to zero, and with it whatever tells the actions apart.
        scaled: bool,
    },
}

impl MixerConfig {
    /// QMIX as published: 32 units, made by nets of 64.
    pub const QMIX: Self = Self::Qmix { embed: 32, hyper: 64 };
    /// QPLEX with the published 10 heads, made by nets of 64, its values as they are.
    pub const QPLEX: Self = Self::Qplex { heads: 10, hyper: 64, scaled: false };

    /// Makes the mixer, its parameters named `name` in the store.
    pub fn build(self, store: &mut Store, name: &str, widths: Widths, key: Key) -> Mixer {
        match self {
            Self::Vdn => Mixer::Vdn(Vdn),
            Self::Qmix { embed, hyper } => Mixer::Qmix(Qmix::new(store, name, widths, embed, hyper, key)),
            Self::Qplex { heads, hyper, scaled } => {
                Mixer::Qplex(Qplex::new(store, name, widths, heads, hyper, key).with_scale(scaled))
            }
        }
    }
}

impl Mixer {
    /// *Q_tot*, `[1, rows, 1]`.
    pub fn mix<'t>(&self, parts: Parts<'t>) -> Var<'t> {
        match self {
            Self::Vdn(mixer) => mixer.mix(parts),
            Self::Qmix(mixer) => mixer.mix(parts),
            Self::Qplex(mixer) => mixer.mix(parts),
            Self::Unrestricted(mixer) => mixer.mix(parts),
        }
    }
}

/// Value decomposition networks (Sunehag et al., arXiv:1706.05296): Q_tot = Σ Qᵢ.
#[derive(Clone, Copy, Debug)]
pub struct Vdn;

impl Vdn {
    // ANCHOR: vdn
    /// Q_tot = Σ Qᵢ
    pub fn mix<'t>(&self, parts: Parts<'t>) -> Var<'t> {
        parts.chosen.sum_cols()
    }
    // ANCHOR_END: vdn
}

/// A net of the state: `state → hyper → outputs`.
fn hyper(store: &mut Store, name: String, state: usize, hidden: usize, outputs: usize, key: Key) -> Mlp {
    Mlp::new(store, &name, &[state, hidden, outputs], 1, Activation::Relu, Init::FanIn, key)
}

/// QMIX (Rashid et al., ICML 2018, arXiv:1803.11485): two layers whose weights are nets of the state and never negative.
#[derive(Clone, Copy, Debug)]
pub struct Qmix {
    first: Mlp,
    shift: Mlp,
    second: Mlp,
    value: Mlp,
    embed: usize,
}

impl Qmix {
    fn new(store: &mut Store, name: &str, widths: Widths, embed: usize, hidden: usize, key: Key) -> Self {
        let Widths { parts, state, .. } = widths;
        let first = hyper(store, format!("{name}.w1"), state, hidden, parts * embed, key);
        let shift = Mlp::new(store, &format!("{name}.b1"), &[state, embed], 1, Activation::Relu, Init::FanIn, key);
        let second = hyper(store, format!("{name}.w2"), state, hidden, embed, key);
        let value = hyper(store, format!("{name}.v"), state, embed, 1, key);
        Self { first, shift, second, value, embed }
    }

    // ANCHOR: qmix
    /// Q_tot = |W₂(s)|·ELU( |W₁(s)|·(Q₁ … Qₙ) + b₁(s) ) + V(s)
    pub fn mix<'t>(&self, Parts { chosen, state, .. }: Parts<'t>) -> Var<'t> {
        let w1 = self.first.forward(state).abs();
        let weighed = |i| chosen.cols(i, 1) * w1.cols(i * self.embed, self.embed);
        let sum = (0..chosen.shape().cols).fold(self.shift.forward(state), |sum, i| sum + weighed(i));
        (elu(sum) * self.second.forward(state).abs()).sum_cols() + self.value.forward(state)
    }
    // ANCHOR_END: qmix
}

/// x where x > 0, eˣ − 1 elsewhere.
pub(crate) fn elu(x: Var<'_>) -> Var<'_> {
    x.relu() + (-(-x).relu()).exp() - 1.0
}

/// QPLEX (Wang et al., ICLR 2021, arXiv:2008.01062): values add up, advantages are weighed by positive numbers that depend on what
/// all do. In the form of the authors' code that subtracts one from the weights, where advantages get no gradient through them.
#[derive(Clone, Copy, Debug)]
pub struct Qplex {
    scale: Mlp,
    shift: Mlp,
    key: Mlp,
    state: Mlp,
    joint: Mlp,
    heads: usize,
    scaled: bool,
}

/// What keeps a weight from being zero.
const POSITIVE: Real = 1e-10;

impl Qplex {
    fn new(store: &mut Store, name: &str, widths: Widths, heads: usize, hidden: usize, key: Key) -> Self {
        let Widths { parts, state, actions, .. } = widths;
        Self {
            scale: hyper(store, format!("{name}.scale"), state, hidden, parts, key),
            shift: hyper(store, format!("{name}.shift"), state, hidden, parts, key),
            key: hyper(store, format!("{name}.key"), state, hidden, heads, key),
            state: hyper(store, format!("{name}.state"), state, hidden, heads * parts, key),
            joint: hyper(store, format!("{name}.joint"), state + parts * actions, hidden, heads * parts, key),
            heads,
            scaled: true,
        }
    }

    fn with_scale(self, scaled: bool) -> Self {
        Self { scaled, ..self }
    }

    // ANCHOR: qplex
    /// Qᵢ ← wᵢ(s)·Qᵢ + vᵢ(s) if scaled,  Aᵢ = Qᵢ − max Qᵢ,  Q_tot = Σ Qᵢ + Σ (λᵢ(s,u) − 1)·Aᵢ,
    /// λᵢ = Σ_h |k_h(s)|·σ(φ_h(s)ᵢ)·σ(ψ_h(s,u)ᵢ)
    pub fn mix<'t>(&self, Parts { chosen, best, state, joint }: Parts<'t>) -> Var<'t> {
        let parts = chosen.shape().cols;
        let (q, top) = match self.scaled {
            false => (chosen, best),
            true => {
                let (w, v) = (self.scale.forward(state).abs() + POSITIVE, self.shift.forward(state));
                (chosen * w + v, best * w + v)
            }
        };
        let keys = self.key.forward(state).abs() + POSITIVE;
        let states = self.state.forward(state).sigmoid();
        let actions = self.joint.forward(state.cat(joint)).sigmoid();
        let head = |h: usize| keys.cols(h, 1) * states.cols(h * parts, parts) * actions.cols(h * parts, parts);
        let lambda = (1..self.heads).fold(head(0), |sum, h| sum + head(h));
        q.sum_cols() + ((lambda - 1.0) * (q - top).detach()).sum_cols()
    }
    // ANCHOR_END: qplex
}

/// Any function of the parts' values and the state: what Weighted QMIX (Rashid et al., NeurIPS 2020, arXiv:2006.10800) holds its
/// monotone mixer against. Three hidden layers.
#[derive(Clone, Copy, Debug)]
pub struct Unrestricted(Mlp);

impl Unrestricted {
    /// Hidden layers of `hidden` units, named `name` in the store.
    pub fn new(store: &mut Store, name: &str, widths: Widths, hidden: usize, key: Key) -> Self {
        let dims = [widths.parts + widths.state, hidden, hidden, hidden, 1];
        Self(Mlp::new(store, name, &dims, 1, Activation::Relu, Init::FanIn, key))
    }

    /// Q*(s, u) = net(Q₁ … Qₙ, s)
    pub fn mix<'t>(&self, Parts { chosen, state, .. }: Parts<'t>) -> Var<'t> {
        self.0.forward(chosen.cat(state))
    }
}
