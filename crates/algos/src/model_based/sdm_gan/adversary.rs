//! The adversary: what tells the policy's pairs *(s, u)* from the dataset's, and what the policy does about it.

use super::{
    Config, Divergence, Nets, SdmGan,
    divergence::{Compared, climb, discrepancy, fool, jensen_shannon, wasserstein},
    played::Played,
    rows::{Parts, Rows},
};
use backcast_core::{Batch, Key, Real, Spec};
use backcast_nn::{Tape, Var};

/// u of recorded actions: atanh(a/limit), a/limit held 10⁻⁷ inside (−1, 1).
fn undone(a: Var<'_>, limit: Real) -> Var<'_> {
    let a = (a * limit.recip()).clamp(-1.0 + 1e-7, 1.0 - 1e-7);
    ((a + 1.0).ln() - (-a + 1.0).ln()) * 0.5
}

/// (s, u) of rows of the dataset.
fn pairs<'t>(tape: Tape<'t>, batch: &Batch<'_>, rows: &Rows) -> Var<'t> {
    rows.of(tape, batch.obs).cat(undone(rows.of(tape, batch.act), batch.spec.act_limit))
}

// ANCHOR: resemblance
/// (6)  L_G of the policy's pairs *(s, f(s, ε))* against the rows `truth`; 0 where there is nothing to compare
pub(super) fn resemblance<'t>(
    config: &Config,
    nets: Nets,
    played: &Played,
    tape: Tape<'t>,
    batch: &Batch<'_>,
    truth: &Rows,
) -> Var<'t> {
    if !played.is_comparable(truth) {
        return tape.scalar(0.0);
    }
    let order = played.order(config, truth);
    let s = order.read(tape, &played.states, batch.spec.obs);
    let u = nets.actor.before_tanh(s, order.read(tape, &played.epsilon, nets.actor.noise));
    let fake = s.cat(u);
    let weight = order.read(tape, &played.weights, 1);
    match (config.divergence, nets.discriminator) {
        (Divergence::JensenShannon, Some(d)) => fool(d, fake, weight),
        (Divergence::Wasserstein, Some(d)) => climb(d, fake, weight),
        _ => {
            let real = pairs(tape, batch, truth).rows(0, order.rows);
            let compared = Compared { real, fake, weight };
            discrepancy(compared, order.group, config.kernel, config.sigma)
        }
    }
}
// ANCHOR_END: resemblance

impl SdmGan {
    // ANCHOR: discriminator_step
    /// (5)  L_D, with F as it was played. Also the gradient penalty, of the divergence that has one.
    pub(super) fn discriminator_step(
        &mut self,
        batch: &Batch<'_>,
        parts: &Parts,
        key: Key,
    ) -> Option<(Real, Option<Real>)> {
        let played = &self.work.played;
        if !played.is_comparable(&parts.truth) {
            return None;
        }
        let Spec { obs, act, .. } = batch.spec;
        let order = played.order(&self.config, &parts.truth);
        let &Config { divergence, label, gradient_penalty, .. } = &self.config;
        let (d, adam) = self.nets.discriminator.zip(self.discriminator_adam.as_mut())?;
        Some(adam.minimise_with(&mut self.store, |tape| {
            let s = order.read(tape, &played.states, obs);
            let fake = s.cat(order.read(tape, &played.actions, act));
            let weight = order.read(tape, &played.weights, 1);
            let compared = Compared { real: pairs(tape, batch, &parts.truth), fake, weight };
            if divergence == Divergence::JensenShannon {
                return (jensen_shannon(d, compared, label, key), None);
            }
            let (loss, penalty) = wasserstein(d, compared, gradient_penalty, key);
            (loss, Some(penalty.item()))
        }))
    }
    // ANCHOR_END: discriminator_step
}
