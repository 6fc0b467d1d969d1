//! The value at s′ that targets of critics are made of.

use crate::blocks::actor::Actor;
use backcast_core::{Key, Real};
use backcast_nn::{Mlp, TanhGaussian, Var};

// ANCHOR: soft_value
/// min_j Q′_j(s′,a′) − α ln π(a′∣s′),   a′ ~ π(·∣s′)
pub fn soft_value<'t>(actor: Actor, target: Mlp, s2: Var<'t>, ln_alpha: Real, key: Key) -> Var<'t> {
    let backup = Backup { best_of: None, ln_alpha: Some(ln_alpha) };
    next_value(backup, target, s2, actor.at(s2), actor.limit, key)
}
// ANCHOR_END: soft_value

// ANCHOR: next_value
/// How the value at s′ is taken.
#[derive(Clone, Copy, Debug)]
pub struct Backup {
    /// Of the best of so many actions, if of more than one.
    pub best_of: Option<usize>,
    /// ln α, if entropy counts.
    pub ln_alpha: Option<Real>,
}

/// min_j Q′_j(s′,a′), less α ln π(a′∣s′) if entropy counts; or min_j max_k Q′_j(s′,a′_k)
pub fn next_value<'t>(
    backup: Backup,
    target: Mlp,
    s2: Var<'t>,
    pi2: TanhGaussian<'t>,
    limit: Real,
    key: Key,
) -> Var<'t> {
    if let Some(n) = backup.best_of {
        let (a2, _) = pi2.repeat_rows(n).sample(key);
        let a2 = a2.reshape(backcast_nn::Shape::new(1, s2.shape().rows, n * a2.shape().cols));
        return target.values(s2, a2 * limit).max_cols().min_members();
    }
    let (a2, log_pi) = pi2.sample(key);
    let q = target.forward(s2.cat(a2 * limit)).min_members();
    backup.ln_alpha.map_or(q, |ln_alpha| q - s2.tape().scalar(ln_alpha).exp() * log_pi)
}
// ANCHOR_END: next_value
