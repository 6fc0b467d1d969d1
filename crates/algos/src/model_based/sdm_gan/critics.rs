//! The critics: targets that average the values of many actions at s′, and a step that leaps over what explodes.

use super::{Config, Nets, SdmGan, implicit::NOISE_BOUND, played::Played, rows::Rows};
use crate::blocks::value::soft_clipped;
use backcast_core::{Batch, Key, Real};
use backcast_nn::{BLOCK_ROWS, Mlp, Shape, Tape, Var};

/// What is computed before the tapes that learn from it. It grows once.
#[derive(Default)]
pub(super) struct Work {
    /// Normal numbers behind ξ and ε of (2), `[rows·(K − 1), obs]` and `[rows·K, noise]`.
    pub(super) shifts: Vec<Real>,
    pub(super) epsilon: Vec<Real>,
    /// Targets (2), `[rows]`.
    pub(super) y: Vec<Real>,
    pub(super) played: Played,
}

/// x²/2 as far as δ, from there on δ·(|x| − δ/2).
fn huber(x: Var<'_>, delta: Real) -> Var<'_> {
    let held = x.clamp(-delta, delta);
    held * (x - held * 0.5)
}

/// (3)  Σ_j E[ huber(Q_j(s,a) − y) ], and the mean of Q
fn misfit<'t>(
    critic: Mlp,
    delta: Real,
    tape: Tape<'t>,
    batch: &Batch<'_>,
    rows: &Rows,
    y: &[Real],
) -> (Var<'t>, Real) {
    let q = critic.forward(rows.of(tape, batch.obs).cat(rows.of(tape, batch.act)));
    let error = q - tape.column(y);
    let mean = q.mean().item();
    (huber(error, delta).mean() * 2.0, mean)
}

impl SdmGan {
    // ANCHOR: targets
    /// (2)  y = clip(r) + γ(1−d)·Q̄′,   Q̄′ = (1/K) Σ_k [ λ min_j Q′_j + (1−λ) max_j Q′_j ](s′+ξ_k, π′(s′+ξ_k, ε_k))
    ///
    /// The last ξ_k is 0. A few states at a time: with all their actions they are as many rows as the inner caches
    /// hold.
    pub(super) fn targets(&mut self, batch: &Batch<'_>, rows: &Rows, key: Key) {
        let Nets { actor_target, critic_target, .. } = self.nets;
        let obs = batch.spec.obs;
        let &Config { gamma, lambda, target_samples: k, state_noise, noise_clip, .. } =
            &self.config;
        let Work { shifts, epsilon, y, .. } = &mut self.work;
        let tape = self.store.tape_without_history();
        let normal = |rows, cols, name| tape.normal(Shape::new(1, rows, cols), key.name(name));
        normal(rows.len() * (k - 1), obs, "states").copy_into(shifts);
        normal(rows.len() * k, actor_target.noise, "actions").copy_into(epsilon);
        y.clear();
        let at_once = (BLOCK_ROWS / k).max(1);
        let mut left = rows.iter();
        while y.len() < rows.len() {
            let states = at_once.min(rows.len() - y.len());
            let tape = self.store.tape_without_history();
            let shifts = &shifts[y.len() * (k - 1) * obs..];
            let s2 = tape.fill(Shape::new(1, states * k, obs), |out| {
                for (state, out) in out.chunks_exact_mut(k * obs).enumerate() {
                    let s2 = batch.next_obs.row(left.next().expect("as many as were counted"));
                    for out in out.chunks_exact_mut(obs) {
                        out.iter_mut().zip(s2).for_each(|(out, &x)| *out = x);
                    }
                    let xi = &shifts[state * (k - 1) * obs..][..(k - 1) * obs];
                    let xi = xi.iter().map(|z| (state_noise * z).clamp(-noise_clip, noise_clip));
                    out.iter_mut().zip(xi).for_each(|(x, xi)| *x += xi);
                }
            });
            let noise = Shape::new(1, states * k, actor_target.noise);
            let epsilon = &epsilon[y.len() * k * noise.cols..][..states * k * noise.cols];
            let epsilon = tape.fill(noise, |out| out.copy_from_slice(epsilon));
            let epsilon = epsilon.clamp(-NOISE_BOUND, NOISE_BOUND);
            let a2 = actor_target.bounded(actor_target.before_tanh(s2, epsilon));
            let q = soft_clipped(critic_target.forward(s2.cat(a2)), lambda);
            q.reshape(Shape::new(1, states, k)).mean_cols().read(|q| y.extend_from_slice(q));
        }
        let (least, greatest) = self.rewards;
        for (y, row) in y.iter_mut().zip(rows.iter()) {
            // A comparison that NaN fails, so that it is seen.
            let value = if y.abs() >= self.config.value_bound { 0.0 } else { *y };
            let alive = 1.0 - batch.terminal[[row, 0]];
            let r = batch.reward[[row, 0]];
            let r = if r < least { least } else { r };
            let r = if r > greatest { greatest } else { r };
            *y = r + gamma * alive * value;
        }
    }
    // ANCHOR_END: targets

    // ANCHOR: critic_step
    /// (3)  L_Q(θ) = Σ_j E[ huber(Q_j(s,a) − y) ]; a step where it is below ϑ, none in the warm start
    pub(super) fn critic_step(&mut self, batch: &Batch<'_>, rows: &Rows, key: Key) -> (Real, Real) {
        self.targets(batch, rows, key);
        let critic = self.nets.critic;
        let delta = self.config.huber;
        let y = &self.work.y;
        let tape = self.store.tape_without_history();
        let (now, q) = misfit(critic, delta, tape, batch, rows, y);
        let loss = now.item();
        if !self.warming_up() && loss < self.guard.threshold {
            self.critic_adam
                .minimise(&mut self.store, |tape| misfit(critic, delta, tape, batch, rows, y).0);
        }
        self.guard.note(loss);
        (loss, q)
    }
    // ANCHOR_END: critic_step
}
