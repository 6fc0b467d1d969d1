//! What keeps joint values to a dataset: CQL's term for many parts.
//!
//! CQL presses down what a policy might do and lifts what was done: ln Σ_a exp Q(s,a) − Q(s,a). For *n* parts the sum is over
//! |A|ⁿ joint actions.
//!
//! | penalty | presses on | grows with the parts |
//! |---|---|---|
//! | [`joint`], MA-CQL | all joint actions, by samples | like *n* |
//! | [`counterfactual`], CFCQL (Shao et al., NeurIPS 2023, arXiv:2309.12696) | what one part might have done while the others did what they did | hardly |
//!
//! The second is a sum over parts of CQL's own term, weighed by λᵢ that add up to one; for one part both are CQL. CFCQL's own code
//! for discrete actions masks those that are not available, has recurrent utilities and TD(λ) targets, and half the squared error:
//! none of that is here.

use crate::learner::Nets;
use crate::parts::{Parts, drawn, side_by_side};
use backcast_core::{ConfigError, Key, Real};
use backcast_nn::{Shape, Var};
use serde::{Deserialize, Serialize};

/// How values are kept to a dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name", deny_unknown_fields)]
pub enum Conservatism {
    /// Not at all.
    #[default]
    None,
    /// MA-CQL.
    Joint {
        /// α.
        weight: Real,
        /// Joint actions drawn for each row: 100 in CFCQL's code.
        n_action_samples: usize,
    },
    /// CFCQL.
    Counterfactual {
        /// α.
        weight: Real,
        /// How the weight is spread over the parts.
        spread: Spread,
    },
}

/// λ: how CFCQL's weight is spread over the parts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// λᵢ = 1/n.
    Even,
    /// λ = softmax of `τ·KL(μᵢ‖βᵢ)`, μᵢ = softmax of Q_tot over the part's own actions, βᵢ a cloned policy.
    Softmax(Real),
    /// λᵢ = 1 where that divergence is the largest: the code's "temperature 100".
    Largest,
}

impl Conservatism {
    pub(crate) fn check(self) -> Result<(), ConfigError> {
        let sound = match self {
            Self::None => true,
            Self::Joint { weight, n_action_samples } => weight >= 0.0 && weight.is_finite() && n_action_samples > 0,
            Self::Counterfactual { weight, spread } => {
                let spread = !matches!(spread, Spread::Softmax(t) if !t.is_finite());
                weight >= 0.0 && weight.is_finite() && spread
            }
        };
        ConfigError::unless(sound, "conservatism", "needs a weight of at least 0, samples and a finite temperature")
    }

    pub(crate) fn weight(self) -> Real {
        match self {
            Self::None => 0.0,
            Self::Joint { weight, .. } | Self::Counterfactual { weight, .. } => weight,
        }
    }

    pub(crate) fn needs_behaviour(self) -> bool {
        matches!(self, Self::Counterfactual { spread: Spread::Softmax(_) | Spread::Largest, .. })
    }
}

// ANCHOR: joint
/// ln Σ_u exp Q_tot(s,u), by `n_action_samples` joint actions drawn uniformly: the mean over rows. The number of joint actions, a constant, is
/// left out.
pub(crate) fn joint<'t>(nets: Nets, all: Var<'t>, state: Var<'t>, n_action_samples: usize, key: Key) -> Var<'t> {
    let Shape { members, rows, cols } = all.shape();
    let repeated = all.repeat_rows(n_action_samples);
    let taken = drawn(all.tape(), Shape::new(members, rows * n_action_samples, cols), key);
    let total = nets.total(Parts::of(repeated, taken, state.repeat_rows(n_action_samples)));
    let drawn =
        total.reshape(Shape::new(1, rows, n_action_samples)).log_sum_exp_cols() - (n_action_samples as Real).ln();
    // Relative to one joint action, as if each had been counted once.
    (drawn + members as Real * (cols as Real).ln()).mean()
}
// ANCHOR_END: joint

// ANCHOR: counterfactual
/// E[ Σᵢ λᵢ(s) ln Σ_a exp Q_tot(s, (u₋ᵢ, a)) ]; λ gets no gradient.
pub(crate) fn counterfactual<'t>(
    nets: Nets,
    all: Var<'t>,
    taken: Var<'t>,
    state: Var<'t>,
    behaviour: Option<Var<'t>>,
    spread: Spread,
) -> Var<'t> {
    let Shape { members: parts, rows, cols: actions } = all.shape();
    let own =
        |part: usize| nets.total(Parts::deviations(all, taken, state, part)).reshape(Shape::new(1, rows, actions));
    let pressed = |part: usize| own(part).log_sum_exp_cols();
    match behaviour {
        None => (1..parts).fold(pressed(0), |sum, part| sum + pressed(part)).mean() * (parts as Real).recip(),
        Some(behaviour) => {
            let apart = |part: usize| divergence(own(part).detach(), behaviour.member(part));
            let apart = (1..parts).fold(apart(0), |left, part| left.cat(apart(part)));
            let lambda = match spread {
                Spread::Softmax(temperature) => softmax(apart * temperature),
                Spread::Largest => apart.arg_max_cols(),
                Spread::Even => apart * 0.0 + (parts as Real).recip(),
            };
            let pressed = (1..parts).fold(pressed(0), |left, part| left.cat(pressed(part)));
            (lambda.detach() * pressed).sum_cols().mean()
        }
    }
}
// ANCHOR_END: counterfactual

/// KL(softmax `q` ‖ softmax `logits`) of each row, `[1, rows, 1]`.
fn divergence<'t>(q: Var<'t>, logits: Var<'t>) -> Var<'t> {
    let (mine, theirs) = (q - q.log_sum_exp_cols(), logits - logits.log_sum_exp_cols());
    (mine.exp() * (mine - theirs)).sum_cols()
}

fn softmax(x: Var<'_>) -> Var<'_> {
    (x - x.log_sum_exp_cols()).exp()
}

/// −E[ Σᵢ ln βᵢ(uᵢ∣τᵢ) ] of policies with these logits, `[parts, rows, actions]`.
pub(crate) fn cloning<'t>(logits: Var<'t>, taken: Var<'t>) -> Var<'t> {
    let log_probability = ((logits - logits.log_sum_exp_cols()) * taken).sum_cols();
    -side_by_side(log_probability).sum_cols().mean()
}
