use crate::CycleCheck;
use backcast_core::{
    COUNT, Column, ConfigError, Direction, Domain, Dynamics, Imagined, Key, Kind, NON_NEGATIVE, POSITIVE, Policy, Real,
    RolloutSummary, Sampling, Sink, Source, Spec, Termination, Transitions, Value, choices, hyperparameters,
};
use backcast_penalties::{Penalty, is_unknown};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

choices! {
    /// Which state of a drawn transition a chain starts from.
    pub enum Anchor {
        /// *s*, in both directions, as in ROMI's code.
        #[default]
        State,
        /// *s′*. A forward chain does not start from the *s′* of a terminal transition.
        NextState,
    }
}

choices! {
    /// What happens to a chain after a transition labelled terminal.
    pub enum StopRule {
        /// The transition is stored and the chain ends, in both directions, as in MBPO's and ROMI's code.
        #[default]
        OnTerminal,
        /// The transition is stored and the chain goes on. Backwards this keeps the ways that lead into a goal.
        Never,
    }
}

/// MOReL's pessimistic environment (Kidambi et al., arXiv:2005.05951, §4): whoever steps into the unknown is there for good.
///
/// An imagined transition whose u is beyond the threshold, or NaN, is stored with [`reward`](Halt::reward) and as terminal, and
/// its chain ends, whatever the [`StopRule`]. Its target is then the reward alone, −κ: HALT is absorbing and pays once. (Paid in
/// every step for ever it would be −κ/(1 − γ); and MOReL's released code cuts the chain without marking it terminal.)
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halt {
    /// The greatest u that counts as known; see [`ThresholdRule`](backcast_penalties::ThresholdRule).
    pub threshold: Real,
    /// −κ, in place of r̂ − λ·u. The smallest reward of the dataset, less a margin, makes sure that halting is never the better way.
    pub reward: Real,
}

impl Value for Halt {
    fn kind() -> Kind {
        Kind::Other
    }

    fn check_in(&self, _: Domain, field: &'static str) -> Result<(), ConfigError> {
        let finite = self.threshold.is_finite() && self.reward.is_finite();
        ConfigError::unless(finite, field, "must have a finite threshold and a finite reward")
    }
}

hyperparameters! {
    /// How to roll out.
    pub struct ImagineConfig {
        /// The greatest number of steps of a chain. ROMI: 5 on maze2d, antmaze and hopper, 1 on halfcheetah and walker2d.
        horizon: usize = 5, COUNT.unit("steps");
        /// Chains started by one call.
        starts_per_call: usize = 1000, COUNT;
        /// λ: what is stored is r̂ − λ·u.
        penalty_weight: Real = 0.0, NON_NEGATIVE;
        /// Where chains start.
        anchor: Anchor = Anchor::State;
        /// Where they end.
        stop: StopRule = StopRule::OnTerminal;
        /// What is taken from a predicted Gaussian.
        sampling: Sampling = Sampling::Gaussian;
        /// Whether and when a chain halts because it has come into the unknown.
        halt: Option<Halt> = None;
        /// The most uncertainty a chain may gather: the step at which the sum of its u passes this is not stored, and the chain ends. A
        /// chain goes far where the model is sure and not where it is not.
        uncertainty_budget: Option<Real> = None, POSITIVE;
    }
}

/// Recorded numbers in the place of those that one step draws from its key, beside its actions, which are the policy's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepDraws {
    /// The member of the ensemble for each chain.
    pub member: Vec<usize>,
    /// Standard normal numbers, `[chains, cols]` of the model's outputs.
    pub noise: Vec<Real>,
}

/// The rollout loop, one for both directions.
///
/// A forward model goes from *s* to *s′*, a reverse model from *s′* to *s*; the transition is stored as *(s, a, r, s′, d)*
/// either way, and the termination sees it that way.
#[derive(Debug)]
pub struct Imaginer<P> {
    /// How to roll out.
    pub config: ImagineConfig,
    /// Is *(s, a, s′)* the end of an episode? Always given forward time.
    pub termination: Termination,
    /// How much not to trust a step.
    pub penalty: P,
    cycle: Option<CycleCheck>,
    recorded: Vec<StepDraws>,
    work: Work,
}

/// Rows whose predictions by every member are held at a time. Some are needed for every thread to have its share.
const ROWS_NEARBY: usize = 4096;

/// The memory of the loop; it grows to the size of the largest call.
#[derive(Debug)]
struct Work {
    start: Transitions,
    /// The state each live chain has come to, `[rows, obs]`.
    from: Vec<Real>,
    chain: Vec<usize>,
    act: Vec<Real>,
    noise: Vec<Real>,
    mean: Vec<Real>,
    std: Vec<Real>,
    member: Vec<usize>,
    penalty: Vec<Real>,
    /// What each live chain has gathered of u.
    uncertainty: Vec<Real>,
    /// The states that were imagined in this step, `[rows, obs]`, and how far off the other direction finds them.
    to: Vec<Real>,
    distance: Vec<Real>,
}

impl<P: Penalty> Imaginer<P> {
    /// A loop with nothing in it yet.
    ///
    /// # Errors
    /// If the configuration makes no sense, or is to halt where nothing measures uncertainty.
    pub fn new(config: ImagineConfig, termination: Termination, penalty: P) -> Result<Self, ConfigError> {
        config.check()?;
        ConfigError::unless(config.halt.is_none() || !penalty.is_zero(), "halt", "needs a penalty to go by")?;
        let measured = config.uncertainty_budget.is_none() || !penalty.is_zero();
        ConfigError::unless(measured, "uncertainty_budget", "needs a penalty to add up")?;
        let work = Work {
            start: Transitions::new(Spec::new(0, 0)),
            from: Vec::new(),
            chain: Vec::new(),
            act: Vec::new(),
            noise: Vec::new(),
            mean: Vec::new(),
            std: Vec::new(),
            member: Vec::new(),
            penalty: Vec::new(),
            uncertainty: Vec::new(),
            to: Vec::new(),
            distance: Vec::new(),
        };
        Ok(Self { config, termination, penalty, cycle: None, recorded: Vec::new(), work })
    }

    /// The same loop, which stores only what a model of the other direction agrees with.
    pub fn with_cycle_check(self, check: CycleCheck) -> Self {
        Self { cycle: Some(check), ..self }
    }

    /// From now on the steps of a call take what they draw from `recorded`, one after the other, instead of from its key, which
    /// makes a call comparable with somebody else's, number for number. Steps beyond the last draw from the key.
    pub fn set_replay(&mut self, recorded: Vec<StepDraws>) {
        self.recorded = recorded;
    }

    /// Draws starts from `starts` and rolls `policy` through `model`; every imagined transition goes to `sink`.
    ///
    /// The policy is asked for the action at the state a chain has come to: forwards *π(a ∣ s)*, backwards *π(a ∣ s′)*.
    /// Each row draws one of the elites at each step. If `starts` is empty nothing happens.
    ///
    /// # Panics
    /// If the model is an inverse one, model, policy and starts are of different widths, or recorded draws do not fit.
    pub fn imagine(
        &mut self,
        model: &mut dyn Dynamics,
        starts: &dyn Source,
        policy: &mut dyn Policy,
        key: Key,
        sink: &mut dyn Sink,
    ) -> RolloutSummary {
        self.check_widths(model, starts, policy);
        if starts.is_empty() {
            return RolloutSummary::default();
        }
        self.start(model, starts, key);
        let mut summary = RolloutSummary { started: self.work.chain.len(), ..RolloutSummary::default() };
        for step in 0..self.config.horizon {
            if self.work.chain.is_empty() {
                break;
            }
            let key = key.name("step").fold(step as u64);
            self.choose(model, policy, step, key);
            self.predict(model);
            self.judge(model);
            self.store(model, step, sink, &mut summary);
        }
        summary
    }

    fn check_widths(&self, model: &dyn Dynamics, starts: &dyn Source, policy: &dyn Policy) {
        let (spec, direction) = (model.spec(), model.direction());
        let widths = |s: Spec| (s.obs, s.act);
        assert_ne!(direction, Direction::Inverse, "imagine: an inverse model predicts no state");
        assert!(
            widths(starts.spec()) == widths(spec) && widths(policy.spec()) == widths(spec),
            "imagine: a model of {spec:?}, starts of {:?}, a policy of {:?}",
            starts.spec(),
            policy.spec()
        );
        let asked = self.config.halt.is_some();
        assert!(!asked || !self.penalty.is_zero(), "imagine: nothing measures the uncertainty to halt by");
        if let Some(check) = &self.cycle {
            assert_ne!(check.direction(), direction, "imagine: a model cannot check itself, nor its like");
        }
    }

    /// Where chains start: *s* or *s′* of drawn transitions.
    fn start(&mut self, model: &dyn Dynamics, starts: &dyn Source, key: Key) {
        let (w, spec) = (&mut self.work, model.spec());
        if (w.start.spec().obs, w.start.spec().act) != (spec.obs, spec.act) {
            w.start = Transitions::new(spec);
        }
        w.start.clear();
        starts.sample_into(key.name("starts"), self.config.starts_per_call, &mut w.start);
        w.from.clear();
        w.chain.clear();
        w.uncertainty.clear();
        let column = match self.config.anchor {
            Anchor::State => Column::Obs,
            Anchor::NextState => Column::NextObs,
        };
        // Nothing happens after the end of an episode.
        let ended = model.direction() == Direction::Forward && column == Column::NextObs;
        for row in 0..w.start.len() {
            if !(ended && w.start.row(Column::Terminal, row)[0] != 0.0) {
                w.from.extend_from_slice(w.start.row(column, row));
                w.chain.push(row);
                w.uncertainty.push(0.0);
            }
        }
    }

    /// What is drawn for a step: an action of the policy, one of the elites, and the noise of its Gaussian, for each chain.
    fn choose(&mut self, model: &dyn Dynamics, policy: &mut dyn Policy, step: usize, key: Key) {
        let (w, Spec { obs, act, .. }) = (&mut self.work, model.spec());
        let (rows, cols, elites) = (w.chain.len(), 1 + obs, model.elites());
        w.act.resize(rows * act, 0.0);
        w.noise.resize(rows * cols, 0.0);
        policy.act(view(&w.from, rows, obs), Some(key.name("action")), view_mut(&mut w.act, rows, act));
        w.member.clear();
        let recorded = self.recorded.get(step);
        match recorded {
            Some(recorded) => w.member.extend(w.chain.iter().map(|&chain| recorded.member[chain])),
            None => w.member.extend((0..rows).map(|i| elites[key.name("member").below(elites.len(), i)])),
        }
        match recorded {
            _ if self.config.sampling == Sampling::Mean => (),
            Some(recorded) => {
                for (noise, chain) in w.noise.chunks_exact_mut(cols).zip(&w.chain) {
                    noise.copy_from_slice(&recorded.noise[chain * cols..][..cols]);
                }
            }
            None => key.name("noise").normal(&mut w.noise),
        }
    }

    /// What happens, by the drawn member, left in `mean`; and, where it is asked for, u.
    fn predict(&mut self, model: &mut dyn Dynamics) {
        let (config, w, Spec { obs, act, .. }) = (&self.config, &mut self.work, model.spec());
        let (rows, cols) = (w.chain.len(), 1 + obs);
        w.mean.resize(rows * cols, 0.0);
        w.std.resize(rows * cols, 0.0);
        w.penalty.clear();
        w.penalty.resize(rows, 0.0);
        let sample = |mean: &mut [Real], std: &[Real], noise: &[Real]| {
            if config.sampling == Sampling::Gaussian {
                mean.iter_mut().zip(std).zip(noise).for_each(|((x, s), z)| *x += s * *z);
            }
        };
        let asked = config.penalty_weight != 0.0 || config.halt.is_some() || config.uncertainty_budget.is_some();
        if self.penalty.is_zero() || !asked {
            let given = [view(&w.from, rows, obs), view(&w.act, rows, act)];
            let (mean, std) = (view_mut(&mut w.mean, rows, cols), view_mut(&mut w.std, rows, cols));
            model.predict_elite(given, &w.member, mean, std);
            return sample(&mut w.mean, &w.std, &w.noise);
        }
        // What all members say of fifty thousand rows would go to memory and come back: a few rows at a time stay near.
        for first in (0..rows).step_by(ROWS_NEARBY) {
            let block = first..rows.min(first + ROWS_NEARBY);
            let from = view(&w.from[block.start * obs..block.end * obs], block.len(), obs);
            let act = view(&w.act[block.start * act..block.end * act], block.len(), act);
            let p = model.predict([from, act]);
            let wide = block.start * cols..block.end * cols;
            let (mean, std) = (&mut w.mean[wide.clone()], &mut w.std[wide.clone()]);
            for (i, &member) in w.member[block.clone()].iter().enumerate() {
                for c in 0..cols {
                    mean[i * cols + c] = p.mean[[member, i, c]];
                    std[i * cols + c] = p.std[[member, i, c]];
                }
            }
            sample(mean, std, &w.noise[wide]);
            self.penalty.penalty(p, view(mean, block.len(), cols), &mut w.penalty[block]);
        }
    }

    /// How far off a model of the other direction finds each step, where there is one.
    fn judge(&mut self, model: &dyn Dynamics) {
        let (Some(check), w, Spec { obs, act, .. }) = (&mut self.cycle, &mut self.work, model.spec()) else { return };
        let rows = w.chain.len();
        w.to.clear();
        w.mean.chunks_exact(1 + obs).for_each(|row| w.to.extend_from_slice(&row[1..]));
        w.distance.resize(rows, 0.0);
        let (from, to, act) = (view(&w.from, rows, obs), view(&w.to, rows, obs), view(&w.act, rows, act));
        let (s, s2) = if model.direction() == Direction::Reverse { (to, from) } else { (from, to) };
        check.distance(s, act, s2, &mut w.distance);
    }

    /// Hands transitions on in forward time, and keeps the chains that go on.
    fn store(&mut self, model: &dyn Dynamics, step: usize, sink: &mut dyn Sink, summary: &mut RolloutSummary) {
        let (config, w, Spec { obs, act, .. }) = (&self.config, &mut self.work, model.spec());
        let (rows, cols, direction, mut kept) = (w.chain.len(), 1 + obs, model.direction(), 0);
        for i in 0..rows {
            let (reward, to) = w.mean[i * cols..][..cols].split_first().expect("reward first");
            // ANCHOR: halt
            let halt = config.halt.filter(|halt| is_unknown(w.penalty[i], halt.threshold));
            let reward = halt.map_or(reward - config.penalty_weight * w.penalty[i], |halt| halt.reward);
            // ANCHOR_END: halt
            let chain = w.chain[i];
            if !reward.is_finite() || to.iter().any(|x| !x.is_finite()) {
                summary.not_finite += 1;
                continue;
            }
            let uncertainty = w.uncertainty[i] + w.penalty[i];
            if config.uncertainty_budget.is_some_and(|budget| is_unknown(uncertainty, budget)) {
                summary.uncertain += 1;
                continue;
            }
            if self.cycle.as_ref().is_some_and(|check| !check.passes(w.distance[i])) {
                summary.disagreed += 1;
                continue;
            }
            let (from, a) = (&w.from[i * obs..][..obs], &w.act[i * act..][..act]);
            // ANCHOR: forward_time
            let (s, s2) = if direction == Direction::Reverse { (to, from) } else { (from, to) };
            let terminal = halt.is_some() || (self.termination)(s, a, s2);
            let (penalty, member) = (w.penalty[i], w.member[i]);
            sink.take(Imagined { obs: s, act: a, reward, next_obs: s2, terminal, penalty, chain, step, member });
            // ANCHOR_END: forward_time
            summary.stored += 1;
            summary.terminal += terminal as usize;
            summary.halted += halt.is_some() as usize;
            if halt.is_none() && (!terminal || config.stop == StopRule::Never) {
                w.from[kept * obs..][..obs].copy_from_slice(to);
                w.chain[kept] = chain;
                w.uncertainty[kept] = uncertainty;
                kept += 1;
            }
        }
        w.from.truncate(kept * obs);
        w.chain.truncate(kept);
        w.uncertainty.truncate(kept);
    }
}

pub(crate) fn view(x: &[Real], rows: usize, cols: usize) -> ArrayView2<'_, Real> {
    ArrayView2::from_shape((rows, cols), x).expect("dense")
}

pub(crate) fn view_mut(x: &mut [Real], rows: usize, cols: usize) -> ArrayViewMut2<'_, Real> {
    ArrayViewMut2::from_shape((rows, cols), x).expect("dense")
}
