use crate::Sink;
use backcast_core::{Column, Columns, ConfigError, Direction, Dynamics, Key, Policy, Real, Source, Spec, Termination};
use backcast_penalties::Penalty;
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

/// Which state of a drawn transition a chain starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// *s*, in both directions, as in ROMI's code.
    #[default]
    State,
    /// *s′*. A forward chain does not start from the *s′* of a terminal transition.
    NextState,
}

/// What happens to a chain after a transition labelled terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopRule {
    /// The transition is stored and the chain ends, in both directions, as in MBPO's and ROMI's code.
    #[default]
    OnTerminal,
    /// The transition is stored and the chain goes on. Backwards this keeps the ways that lead into a goal.
    Never,
}

/// What is taken from a predicted Gaussian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// A sample.
    #[default]
    Gaussian,
    /// The mean.
    Mean,
}

/// How to roll out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImagineConfig {
    /// The greatest number of steps of a chain. ROMI: 5 on maze2d, antmaze and hopper, 1 on halfcheetah and walker2d.
    pub horizon: usize,
    /// Chains started by one call.
    pub starts_per_call: usize,
    /// λ: what is stored is r̂ − λ·u.
    pub penalty_weight: Real,
    /// Where chains start.
    pub anchor: Anchor,
    /// Where they end.
    pub stop: StopRule,
    /// What is taken from a predicted Gaussian.
    pub sampling: Sampling,
}

impl Default for ImagineConfig {
    fn default() -> Self {
        Self {
            horizon: 5,
            starts_per_call: 1000,
            penalty_weight: 0.0,
            anchor: Anchor::State,
            stop: StopRule::OnTerminal,
            sampling: Sampling::Gaussian,
        }
    }
}

impl ImagineConfig {
    /// Whether every field makes sense.
    ///
    /// # Errors
    /// The first field that does not, and what it must be instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        ConfigError::unless(self.horizon >= 1, "horizon", "must be at least 1")?;
        ConfigError::unless(self.starts_per_call >= 1, "starts_per_call", "must be at least 1")?;
        let positive = self.penalty_weight >= 0.0 && self.penalty_weight.is_finite();
        ConfigError::unless(positive, "penalty_weight", "must not be negative")
    }
}

/// One imagined transition, in forward time whatever the direction of the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Imagined<'a> {
    /// *s*, `[obs]`.
    pub obs: &'a [Real],
    /// *a*, `[act]`.
    pub act: &'a [Real],
    /// r̂ − λ·u.
    pub reward: Real,
    /// *s′*, `[obs]`.
    pub next_obs: &'a [Real],
    /// Whether the termination says that the episode ends here.
    pub terminal: bool,
    /// u, before the weight.
    pub penalty: Real,
    /// The number of the start within the call.
    pub chain: usize,
    /// Steps from the start, from 0.
    pub step: usize,
    /// The member of the ensemble that was drawn.
    pub member: usize,
}

/// What a call made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Chains started.
    pub started: usize,
    /// Transitions handed to the sink.
    pub stored: usize,
    /// Of these, how many are terminal.
    pub terminal: usize,
    /// Predictions that were NaN or infinite. They are not stored, and their chains end.
    pub not_finite: usize,
}

/// Recorded numbers in the place of those that one step draws from its key, beside its actions, which are the policy's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepDraws {
    /// The member of the ensemble for each chain.
    pub member: Vec<usize>,
    /// Standard normal numbers, `[chains, cols]` of the model's outputs.
    pub noise: Vec<Real>,
}

/// The roll-out loop, one for both directions.
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
    recorded: Vec<StepDraws>,
    work: Work,
}

/// The memory of the loop; it grows to the size of the largest call.
#[derive(Debug)]
struct Work {
    start: Columns,
    /// The state each live chain has come to, `[rows, obs]`.
    from: Vec<Real>,
    chain: Vec<usize>,
    act: Vec<Real>,
    noise: Vec<Real>,
    mean: Vec<Real>,
    std: Vec<Real>,
    member: Vec<usize>,
    penalty: Vec<Real>,
}

impl<P: Penalty> Imaginer<P> {
    /// A loop with nothing in it yet.
    ///
    /// # Errors
    /// If the configuration makes no sense.
    pub fn new(config: ImagineConfig, termination: Termination, penalty: P) -> Result<Self, ConfigError> {
        config.check()?;
        let work = Work {
            start: Columns::new(Spec::new(0, 0)),
            from: Vec::new(),
            chain: Vec::new(),
            act: Vec::new(),
            noise: Vec::new(),
            mean: Vec::new(),
            std: Vec::new(),
            member: Vec::new(),
            penalty: Vec::new(),
        };
        Ok(Self { config, termination, penalty, recorded: Vec::new(), work })
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
    ) -> Summary {
        let (spec, direction) = (model.spec(), model.direction());
        let widths = |s: Spec| (s.obs, s.act);
        assert_ne!(direction, Direction::Inverse, "imagine: an inverse model predicts no state");
        assert!(
            widths(starts.spec()) == widths(spec) && widths(policy.spec()) == widths(spec),
            "imagine: a model of {spec:?}, starts of {:?}, a policy of {:?}",
            starts.spec(),
            policy.spec()
        );
        let (config, w) = (&self.config, &mut self.work);
        let (obs, act, cols) = (spec.obs, spec.act, 1 + spec.obs);
        if starts.is_empty() {
            return Summary::default();
        }
        if widths(w.start.spec()) != widths(spec) {
            w.start = Columns::new(spec);
        }
        w.start.clear();
        starts.sample_into(key.name("starts"), config.starts_per_call, &mut w.start);
        w.from.clear();
        w.chain.clear();
        for row in 0..w.start.len() {
            let column = match config.anchor {
                Anchor::State => Column::Obs,
                Anchor::NextState => Column::NextObs,
            };
            // Nothing happens after the end of an episode.
            let ended = direction == Direction::Forward && column == Column::NextObs;
            if !(ended && w.start.row(Column::Terminal, row)[0] != 0.0) {
                w.from.extend_from_slice(w.start.row(column, row));
                w.chain.push(row);
            }
        }
        let mut summary = Summary { started: w.chain.len(), ..Summary::default() };
        for step in 0..config.horizon {
            let rows = w.chain.len();
            if rows == 0 {
                break;
            }
            let key = key.name("step").fold(step as u64);
            w.act.resize(rows * act, 0.0);
            w.noise.resize(rows * cols, 0.0);
            w.mean.resize(rows * cols, 0.0);
            w.std.resize(rows * cols, 0.0);
            w.penalty.clear();
            w.penalty.resize(rows, 0.0);
            policy.act(view(&w.from, rows, obs), Some(key.name("action")), view_mut(&mut w.act, rows, act));
            let elites = model.elites();
            w.member.clear();
            let recorded = self.recorded.get(step);
            match recorded {
                Some(recorded) => w.member.extend(w.chain.iter().map(|&chain| recorded.member[chain])),
                None => w.member.extend((0..rows).map(|i| elites[key.name("member").below(elites.len(), i)])),
            }
            let given = [view(&w.from, rows, obs), view(&w.act, rows, act)];
            if self.penalty.is_zero() || config.penalty_weight == 0.0 {
                let (mean, std) = (view_mut(&mut w.mean, rows, cols), view_mut(&mut w.std, rows, cols));
                model.predict_elite(given, &w.member, mean, std);
            } else {
                let p = model.predict(given);
                self.penalty.penalty(p, &mut w.penalty);
                for (i, &member) in w.member.iter().enumerate() {
                    for c in 0..cols {
                        w.mean[i * cols + c] = p.mean[[member, i, c]];
                        w.std[i * cols + c] = p.std[[member, i, c]];
                    }
                }
            }
            if config.sampling == Sampling::Gaussian {
                match recorded {
                    Some(recorded) => {
                        for (noise, chain) in w.noise.chunks_exact_mut(cols).zip(&w.chain) {
                            noise.copy_from_slice(&recorded.noise[chain * cols..][..cols]);
                        }
                    }
                    None => key.name("noise").normal(&mut w.noise),
                }
                for ((x, s), z) in w.mean.iter_mut().zip(&w.std).zip(&w.noise) {
                    *x += s * z;
                }
            }
            let mut kept = 0;
            for i in 0..rows {
                let (reward, to) = w.mean[i * cols..][..cols].split_first().expect("reward first");
                let reward = reward - config.penalty_weight * w.penalty[i];
                let chain = w.chain[i];
                if !reward.is_finite() || to.iter().any(|x| !x.is_finite()) {
                    summary.not_finite += 1;
                    continue;
                }
                let (from, a) = (&w.from[i * obs..][..obs], &w.act[i * act..][..act]);
                // ANCHOR: forward_time
                let (s, s2) = if direction == Direction::Reverse { (to, from) } else { (from, to) };
                let terminal = (self.termination)(s, a, s2);
                let (penalty, member) = (w.penalty[i], w.member[i]);
                sink.take(Imagined { obs: s, act: a, reward, next_obs: s2, terminal, penalty, chain, step, member });
                // ANCHOR_END: forward_time
                summary.stored += 1;
                summary.terminal += terminal as usize;
                if !terminal || config.stop == StopRule::Never {
                    w.from[kept * obs..][..obs].copy_from_slice(to);
                    w.chain[kept] = chain;
                    kept += 1;
                }
            }
            w.from.truncate(kept * obs);
            w.chain.truncate(kept);
        }
        summary
    }
}

pub(crate) fn view(x: &[Real], rows: usize, cols: usize) -> ArrayView2<'_, Real> {
    ArrayView2::from_shape((rows, cols), x).expect("dense")
}

pub(crate) fn view_mut(x: &mut [Real], rows: usize, cols: usize) -> ArrayViewMut2<'_, Real> {
    ArrayViewMut2::from_shape((rows, cols), x).expect("dense")
}
