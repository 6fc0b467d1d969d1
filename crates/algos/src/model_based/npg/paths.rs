//! Whole trajectories, and the advantages of their steps.

use backcast_core::{Column, Imagined, ObsScaler, Real, Spec, Transitions};

/// Paths, step after step: all first steps of a member's paths, then all second steps …, member after member.
pub(super) struct Paths {
    /// States as the policy sees them, and its actions in units of their limit, as drawn: not clipped.
    pub(super) rows: Transitions,
    /// The path of each row.
    pub(super) chain: Vec<usize>,
    /// The number of steps each path may have: fewer than the horizon where it was truncated.
    truncated_at: Vec<usize>,
    /// Of each row.
    pub(super) advantage: Vec<Real>,
    /// What the value of each row's state should be.
    pub(super) target: Vec<Real>,
    carry: Vec<f64>,
    raw: Transitions,
}

/// Rows differentiated at once. Fixed, so that bits do not depend on anything else.
const TILE: usize = 4096;

/// (first row, rows) of each tile of `rows`.
pub(super) fn tiles(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).step_by(TILE).map(move |first| (first, TILE.min(rows - first)))
}

/// Steps that the released code leaves of a path, however soon it comes into the unknown.
const LEAST: usize = 4;

impl Paths {
    /// Memory for `chains` paths of `horizon` steps.
    pub(super) fn new(spec: Spec, chains: usize, horizon: usize) -> Self {
        let most = chains * horizon;
        Self {
            rows: Transitions::with_capacity(spec, most),
            chain: Vec::with_capacity(most),
            truncated_at: vec![usize::MAX; chains],
            advantage: Vec::new(),
            target: Vec::new(),
            carry: Vec::new(),
            raw: Transitions::new(spec),
        }
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.chain.clear();
        self.truncated_at.fill(usize::MAX);
    }

    pub(super) fn chains(&self) -> usize {
        self.truncated_at.len()
    }

    /// How many paths were truncated in the unknown, or halted there, at whatever step.
    pub(super) fn truncations(&self) -> usize {
        self.truncated_at.iter().filter(|&&at| at != usize::MAX).count()
    }

    /// Takes a transition of path `chain` unless that was truncated before. `unknown` says whether it led into the
    /// unknown.
    pub(super) fn take(
        &mut self,
        t: Imagined<'_>,
        chain: usize,
        unknown: bool,
        obs_scaler: &ObsScaler,
    ) -> bool {
        if t.step >= self.truncated_at[chain] {
            return false;
        }
        if unknown && self.truncated_at[chain] == usize::MAX {
            self.truncated_at[chain] = LEAST.max(t.step + 1);
        }
        let limit = self.rows.spec().act_limit;
        self.raw.clear();
        self.raw.push(t.obs, t.act, t.reward, t.next_obs, t.terminal);
        obs_scaler.to_learner(self.raw.values_mut(Column::Obs));
        obs_scaler.to_learner(self.raw.values_mut(Column::NextObs));
        self.raw.values_mut(Column::Act).iter_mut().for_each(|a| *a /= limit);
        self.rows.push_row(&self.raw, 0);
        self.chain.push(chain);
        true
    }

    // ANCHOR: gae
    /// (2)  δ_t = r_t + γ(1−d_t)·V(s_{t+1}) − V(s_t),   A_t = δ_t + γλ·A_{t+1};   V's target: A_t + V(s_t)
    ///
    /// `value` and `next_value` are V(s) and V(s′) of each row.
    pub(super) fn estimate(
        &mut self,
        value: &[Real],
        next_value: &[Real],
        gamma: Real,
        lambda: Real,
    ) {
        let (gamma, lambda) = (gamma as f64, lambda as f64);
        let [reward, terminal] = [Column::Reward, Column::Terminal].map(|c| self.rows.values(c));
        self.advantage.resize(reward.len(), 0.0);
        self.target.resize(reward.len(), 0.0);
        self.carry.clear();
        self.carry.resize(self.truncated_at.len(), 0.0);
        // Later steps of a path stand behind earlier ones.
        for row in (0..reward.len()).rev() {
            let alive = 1.0 - terminal[row] as f64;
            let delta =
                reward[row] as f64 + gamma * alive * next_value[row] as f64 - value[row] as f64;
            let carry = &mut self.carry[self.chain[row]];
            *carry = delta + gamma * lambda * *carry;
            self.advantage[row] = *carry as Real;
            self.target[row] = (*carry + value[row] as f64) as Real;
        }
    }

    /// (A − mean)/(deviation + 10⁻⁶) over all rows.
    pub(super) fn normalise(&mut self) {
        let n = self.advantage.len().max(1) as f64;
        let mean = self.advantage.iter().map(|&a| a as f64).sum::<f64>() / n;
        let std =
            (self.advantage.iter().map(|&a| (a as f64 - mean).powi(2)).sum::<f64>() / n).sqrt();
        self.advantage.iter_mut().for_each(|a| *a = ((*a as f64 - mean) / (std + 1e-6)) as Real);
    }
    // ANCHOR_END: gae
}
