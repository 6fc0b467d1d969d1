//! Whole trajectories of a policy in the pessimistic MDP of a model.

use backcast_core::{
    Column, Direction, Dynamics, Imagined, Key, ObsScaler, Prediction, Real, Slot, Source, Spec,
    State, Transitions,
};
use ndarray::ArrayView2;

/// One member of a model, and a world that clips actions: what the others say is asked only where it is doubted.
pub(super) struct SingleMember<'a> {
    pub(super) model: &'a mut dyn Dynamics,
    pub(super) member: [usize; 1],
    pub(super) clipped: &'a mut Vec<Real>,
}

impl State for SingleMember<'_> {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.model.visit(f);
    }
}

impl Dynamics for SingleMember<'_> {
    fn spec(&self) -> Spec {
        self.model.spec()
    }

    fn direction(&self) -> Direction {
        self.model.direction()
    }

    fn elites(&self) -> &[usize] {
        &self.member
    }

    fn predict(&mut self, [s, a]: [ArrayView2<'_, Real>; 2]) -> Prediction<'_> {
        let limit = self.model.spec().act_limit;
        self.clipped.clear();
        self.clipped.extend(a.iter().map(|a| a.clamp(-limit, limit)));
        self.model.predict([s, ArrayView2::from_shape(a.dim(), self.clipped).expect("dense")])
    }
}

/// First states: a share of them of random rows of the log, the others of first observations of its episodes.
pub(super) struct Starts<'a> {
    pub(super) initial: Option<&'a Transitions>,
    pub(super) dataset: &'a dyn Source,
    pub(super) random: Real,
}

impl Source for Starts<'_> {
    fn spec(&self) -> Spec {
        self.dataset.spec()
    }

    fn len(&self) -> usize {
        self.dataset.len() + self.initial.map_or(0, Transitions::len)
    }

    fn sample_into(&self, key: Key, rows: usize, out: &mut Transitions) {
        let random = match self.initial {
            Some(_) => (rows as f64 * self.random as f64).round() as usize,
            None => rows,
        };
        self.dataset.sample_into(key.name("random"), random, out);
        if let Some(initial) = self.initial {
            initial.sample_into(key.name("initial"), rows - random, out);
        }
    }
}

/// Paths, step after step: all first steps of a member's paths, then all second steps …, member after member.
pub(super) struct Paths {
    /// States as the policy sees them, and its actions in units of their limit, as drawn: not clipped.
    pub(super) rows: Transitions,
    /// The path of each row.
    pub(super) chain: Vec<usize>,
    /// The number of steps each path may have: fewer than the horizon where it was cut.
    cut: Vec<usize>,
    /// Of each row.
    pub(super) advantage: Vec<Real>,
    /// What the value of each row's state should be.
    pub(super) target: Vec<Real>,
    carry: Vec<f64>,
    raw: Transitions,
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
            cut: vec![usize::MAX; chains],
            advantage: Vec::new(),
            target: Vec::new(),
            carry: Vec::new(),
            raw: Transitions::new(spec),
        }
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.chain.clear();
        self.cut.fill(usize::MAX);
    }

    pub(super) fn chains(&self) -> usize {
        self.cut.len()
    }

    /// Whether the path was cut in the unknown, or halted there, at whatever step.
    pub(super) fn cuts(&self) -> usize {
        self.cut.iter().filter(|&&cut| cut != usize::MAX).count()
    }

    /// Takes a transition of path `chain` unless that was cut before. `unknown` says whether it led into the unknown.
    pub(super) fn take(
        &mut self,
        t: Imagined<'_>,
        chain: usize,
        unknown: bool,
        obs_scaler: &ObsScaler,
    ) -> bool {
        if t.step >= self.cut[chain] {
            return false;
        }
        if unknown && self.cut[chain] == usize::MAX {
            self.cut[chain] = LEAST.max(t.step + 1);
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
        self.carry.resize(self.cut.len(), 0.0);
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
