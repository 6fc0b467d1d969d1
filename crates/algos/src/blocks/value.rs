//! The value at s′ that targets of critics are made of.

use crate::blocks::actor::Actor;
use backcast_core::{ConfigError, Key, Real};
use backcast_nn::{Mlp, TanhGaussian, Var};

// ANCHOR: soft_clipped
/// λ min_j Q_j + (1−λ) max_j Q_j, of `[N, rows, cols]`: clipped double Q-learning, less pessimistic where λ < 1 (BCQ, BEAR)
pub fn soft_clipped(q: Var<'_>, lambda: Real) -> Var<'_> {
    q.min_members() * lambda + q.max_members() * (1.0 - lambda)
}
// ANCHOR_END: soft_clipped

// ANCHOR: bellman_error
/// Σ_j E[ (Q_j(s,a) − y)² ] of every critic j against the same targets, and the mean of Q over critics and rows
pub fn bellman_error<'t>(critic: Mlp, s: Var<'t>, a: Var<'t>, y: Var<'t>) -> (Var<'t>, Real) {
    let q = critic.forward(s.cat(a));
    ((q - y).square().mean() * critic.members() as Real, q.mean().item())
}
// ANCHOR_END: bellman_error

// ANCHOR: soft_policy_loss
/// E[ α ln π(ã∣s) − min_j Q_j(s,ã) ], ã ~ π(·∣s), SAC's loss of the policy, and what `temperature` makes of ln π: α and the entropy
pub fn soft_policy_loss<'t>(
    actor: Actor,
    critic: Mlp,
    s: Var<'t>,
    key: Key,
    temperature: impl FnOnce(Var<'t>) -> (Var<'t>, Real),
) -> (Var<'t>, Real) {
    let (sampled, log_pi) = actor.at(s).sample(key);
    let (alpha, entropy) = temperature(log_pi);
    let q = critic.forward(s.cat(sampled * actor.limit)).min_members();
    ((alpha * log_pi - q).mean(), entropy)
}
// ANCHOR_END: soft_policy_loss

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

impl Backup {
    /// Whether the best of several actions and entropy are not asked for together.
    ///
    /// # Errors
    /// If they are.
    pub fn check(max_backup: bool, entropy_backup: bool) -> Result<(), ConfigError> {
        let why = "does not go with `max_backup`, whose best action has no density";
        ConfigError::unless(!(max_backup && entropy_backup), "entropy_backup", why)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::Spec;
    use backcast_nn::{Activation, Init, Shape, Store};

    const SPEC: Spec = Spec::new(2, 1).with_act_limit(2.0);

    fn critics(store: &mut Store) -> Mlp {
        Mlp::new(store, "critic", &[3, 8, 1], 3, Activation::Relu, Init::FanIn, Key::new(1))
    }

    #[test]
    fn a_clipped_value_is_between_the_smallest_and_the_largest() {
        let mut store = Store::default();
        let tape = store.tape();
        let q = tape.fill(Shape::new(3, 1, 1), |q| q.copy_from_slice(&[1.0, 5.0, 3.0]));
        for (lambda, want) in [(1.0, 1.0), (0.0, 5.0), (0.75, 2.0)] {
            assert_eq!(soft_clipped(q, lambda).item(), want);
        }
    }

    #[test]
    fn errors_are_summed_over_critics() {
        let mut store = Store::default();
        let critic = critics(&mut store);
        let tape = store.tape();
        let [s, a, y] = [2, 1, 1].map(|cols| tape.normal(Shape::new(1, 9, cols), Key::new(2)));
        let (loss, mean) = bellman_error(critic, s, a, y);
        let each = [0, 1, 2].map(|j| critic.forward_member(s.cat(a), j));
        let errors = each.map(|q| (q - y).square().mean().item());
        assert!((loss.item() - errors.iter().sum::<Real>()).abs() < 1e-5);
        let means = each.map(|q| q.mean().item());
        assert!((mean - means.iter().sum::<Real>() / 3.0).abs() < 1e-6);
    }

    /// A dearer entropy makes the loss of a policy whose ln π is positive greater, by the same critics and samples.
    #[test]
    fn the_loss_of_a_policy_counts_entropy_by_the_temperature() {
        let mut store = Store::default();
        let critic = critics(&mut store);
        let actor = Actor::new(&mut store, SPEC, &[8], [-5.0, 2.0], Key::new(3));
        let tape = store.tape();
        let s = tape.normal(Shape::new(1, 9, 2), Key::new(4));
        let loss = |alpha| {
            let temperature = |log_pi: Var<'_>| {
                let entropy = -log_pi.mean().item();
                (tape.scalar(alpha), entropy)
            };
            soft_policy_loss(actor, critic, s, Key::new(5), temperature)
        };
        let (free, entropy) = loss(0.0);
        let (dear, same) = loss(2.0);
        assert_eq!(entropy, same);
        assert!((dear.item() - free.item() + 2.0 * entropy).abs() < 1e-5);
    }
}
