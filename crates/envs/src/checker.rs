//! Does an environment keep the promises of [`Env`]? A checker for one's own environments.

use backcast_core::{Env, Key, Real, Termination};

/// A broken promise. Steps count from 1 within an episode; step 0 is the reset.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Finding {
    /// A width, the action limit or the horizon is zero, negative or not finite.
    #[error("the spec makes no sense: {what}")]
    Spec {
        /// Which part of it.
        what: &'static str,
    },
    /// An element of the observation was not written.
    #[error("step {step} left element {index} of the observation unwritten or NaN")]
    Unwritten {
        /// The step.
        step: usize,
        /// The element.
        index: usize,
    },
    /// An element of the observation is infinite.
    #[error("step {step} made element {index} of the observation infinite")]
    Infinite {
        /// The step.
        step: usize,
        /// The element.
        index: usize,
    },
    /// The reward is NaN or infinite.
    #[error("step {step} paid a reward that is not finite")]
    Reward {
        /// The step.
        step: usize,
    },
    /// The same key did not start the same episode.
    #[error("two resets with the same key differ in element {index}")]
    ResetNotDeterministic {
        /// The element.
        index: usize,
    },
    /// Many keys started one and the same episode.
    #[error("the reset does not depend on its key")]
    ResetIgnoresKey,
    /// The same key and actions did not give the same observation, reward or ending.
    #[error("step {step} of two runs with the same key and actions differs")]
    StepNotDeterministic {
        /// The first step that differs.
        step: usize,
    },
    /// An action outside the box was not treated as the nearest one inside.
    #[error("an action outside the box is not treated as the nearest one inside at step {step}")]
    ActionNotClipped {
        /// The step.
        step: usize,
    },
    /// An episode was not cut off at its horizon, or cut off before.
    #[error("the episode was cut off at step {at:?}, its horizon is {horizon}")]
    Horizon {
        /// The first step that was `truncated`, if any up to the horizon was.
        at: Option<usize>,
        /// The horizon.
        horizon: usize,
    },
    /// The environment and the termination function disagree.
    #[error("at step {step} the environment says terminated = {env}, the termination function the opposite")]
    Termination {
        /// The step.
        step: usize,
        /// What the environment says.
        env: bool,
    },
}

/// What one step showed, for comparison to the bit.
#[derive(Clone, PartialEq)]
struct Frame {
    obs: Vec<u64>,
    reward: u64,
    endings: [bool; 2],
}

/// Runs a few episodes of random actions and returns every promise they broke; each kind at its first occurrence.
///
/// Checked: the spec; that observations are written in full and finite, rewards finite; that reset and step are functions of
/// the key and the actions, to the bit; that resets depend on the key; that actions are clipped to the box; that episodes are
/// cut off exactly at the horizon; and, given `termination`, that it agrees with the environment.
///
/// ```
/// use backcast_core::{Key, never};
/// use backcast_envs::{checker::check, pendulum::Pendulum};
///
/// assert_eq!(check(&mut Pendulum::default(), Some(never), Key::new(1)), []);
/// ```
pub fn check(env: &mut dyn Env, termination: Option<Termination>, key: Key) -> Vec<Finding> {
    let (spec, horizon) = (env.spec(), env.horizon());
    for (holds, what) in [
        (spec.obs > 0, "no observation"),
        (spec.act > 0, "no action"),
        (spec.act_limit > 0.0 && spec.act_limit.is_finite(), "the action limit"),
        (horizon > 0, "the horizon is 0"),
    ] {
        if !holds {
            return vec![Finding::Spec { what }];
        }
    }
    let mut findings = Findings(Vec::new());
    let limit = spec.act_limit;
    let actions: Vec<Vec<Real>> = (0..horizon)
        .map(|t| {
            let mut act = vec![0.0; spec.act];
            key.name("actions").fold(t as u64).uniform(-2.0 * limit, 2.0 * limit, &mut act);
            // Some steps at both ends of the range, so that even a short episode leaves the box.
            if t % 3 == 0 {
                act.iter_mut().for_each(|x| *x = (2.0 * limit).copysign(*x));
            }
            act
        })
        .collect();
    let clipped: Vec<Vec<Real>> = actions.iter().map(|a| a.iter().map(|x| x.clamp(-limit, limit)).collect()).collect();

    let first = run(env, termination, key.name("episode"), &clipped, &mut findings);
    let second = run(env, termination, key.name("episode"), &clipped, &mut findings);
    if let Some(index) = (0..spec.obs).find(|&i| first[0].obs[i] != second[0].obs[i]) {
        findings.add(Finding::ResetNotDeterministic { index });
    }
    let differs = |one: &[Frame], two: &[Frame]| one.iter().zip(two).position(|(a, b)| a != b);
    match differs(&first, &second) {
        Some(0) => {}
        Some(step) => findings.add(Finding::StepNotDeterministic { step }),
        None => {
            let wild = run(env, termination, key.name("episode"), &actions, &mut findings);
            if let Some(step) = differs(&first, &wild) {
                findings.add(Finding::ActionNotClipped { step });
            }
        }
    }
    let mut others = (0..8).map(|i| run(env, termination, key.name("others").fold(i), &clipped[..1], &mut findings));
    if others.all(|other| other[0].obs == first[0].obs) {
        findings.add(Finding::ResetIgnoresKey);
    }
    findings.0
}

/// One kind of finding is reported once.
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, finding: Finding) {
        if !self.0.iter().any(|f| std::mem::discriminant(f) == std::mem::discriminant(&finding)) {
            self.0.push(finding);
        }
    }
}

/// One episode under `actions`, stopped early if it terminates.
fn run(
    env: &mut dyn Env,
    termination: Option<Termination>,
    key: Key,
    actions: &[Vec<Real>],
    findings: &mut Findings,
) -> Vec<Frame> {
    let (spec, horizon) = (env.spec(), env.horizon());
    // NaN everywhere: what a step does not write stays visible.
    let mut obs = vec![Real::NAN; spec.obs];
    env.reset(key, &mut obs);
    look(&obs, 0, findings);
    let bits = |obs: &[Real]| obs.iter().map(|&x| f64::to_bits(x as f64)).collect();
    let mut frames = vec![Frame { obs: bits(&obs), reward: 0, endings: [false; 2] }];
    let mut truncated = None;
    for (step, act) in (1..).zip(actions) {
        let before = std::mem::replace(&mut obs, vec![Real::NAN; spec.obs]);
        let outcome = env.step(act, &mut obs);
        look(&obs, step, findings);
        if !outcome.reward.is_finite() {
            findings.add(Finding::Reward { step });
        }
        if termination.is_some_and(|ends| ends(&before, act, &obs) != outcome.terminated) {
            findings.add(Finding::Termination { step, env: outcome.terminated });
        }
        if outcome.truncated && truncated.is_none() {
            truncated = Some(step);
        }
        frames.push(Frame {
            obs: bits(&obs),
            reward: f64::to_bits(outcome.reward as f64),
            endings: [outcome.terminated, outcome.truncated],
        });
        if outcome.terminated {
            return frames;
        }
    }
    let due = (actions.len() >= horizon).then_some(horizon);
    if truncated != due {
        findings.add(Finding::Horizon { at: truncated, horizon });
    }
    frames
}

fn look(obs: &[Real], step: usize, findings: &mut Findings) {
    if let Some(index) = obs.iter().position(|x| x.is_nan()) {
        findings.add(Finding::Unwritten { step, index });
    }
    if let Some(index) = obs.iter().position(|x| x.is_infinite()) {
        findings.add(Finding::Infinite { step, index });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Spec, Step, never};

    #[test]
    fn every_registered_environment_keeps_its_promises() {
        for name in crate::registry::NAMES {
            let mut env = crate::registry::make(name).unwrap();
            assert_eq!(check(&mut *env, crate::registry::termination(name), Key::new(6)), [], "{name}");
        }
    }

    /// A counter with one fault at a time.
    #[derive(Default)]
    struct Faulty {
        fault: &'static str,
        x: Real,
        steps: usize,
        calls: usize,
    }

    impl Env for Faulty {
        fn spec(&self) -> Spec {
            if self.fault == "spec" { Spec::new(1, 0) } else { Spec::new(1, 1) }
        }

        fn horizon(&self) -> usize {
            5
        }

        fn reset(&mut self, key: Key, obs: &mut [Real]) {
            self.calls += 1;
            self.steps = 0;
            self.x = match self.fault {
                "key" => 0.5,
                "reset" => self.calls as Real,
                _ => key.unit(),
            };
            obs[0] = self.x;
        }

        fn step(&mut self, act: &[Real], obs: &mut [Real]) -> Step {
            self.steps += 1;
            self.calls += 1;
            self.x += if self.fault == "clip" { act[0] } else { act[0].clamp(-1.0, 1.0) };
            if self.fault == "step" && self.steps == 3 {
                self.x += self.calls as Real;
            }
            match self.fault {
                "unwritten" => {}
                "infinite" => obs[0] = Real::INFINITY,
                _ => obs[0] = self.x,
            }
            Step {
                reward: if self.fault == "reward" { Real::NAN } else { 1.0 },
                terminated: self.fault == "termination" && self.steps == 2,
                truncated: self.steps == if self.fault == "horizon" { 4 } else { 5 },
            }
        }
    }

    #[test]
    fn each_fault_is_found_and_named() {
        for (fault, expected) in [
            ("", None),
            ("spec", Some(Finding::Spec { what: "no action" })),
            ("key", Some(Finding::ResetIgnoresKey)),
            ("reset", Some(Finding::ResetNotDeterministic { index: 0 })),
            ("step", Some(Finding::StepNotDeterministic { step: 3 })),
            ("unwritten", Some(Finding::Unwritten { step: 1, index: 0 })),
            ("infinite", Some(Finding::Infinite { step: 1, index: 0 })),
            ("reward", Some(Finding::Reward { step: 1 })),
            ("horizon", Some(Finding::Horizon { at: Some(4), horizon: 5 })),
            ("termination", Some(Finding::Termination { step: 2, env: true })),
        ] {
            let findings = check(&mut Faulty { fault, ..Faulty::default() }, Some(never), Key::new(0));
            match expected {
                None => assert_eq!(findings, []),
                Some(expected) => assert!(findings.contains(&expected), "{fault}: {findings:?}"),
            }
        }
    }

    #[test]
    fn actions_that_leave_the_box_are_found() {
        let findings = check(&mut Faulty { fault: "clip", ..Faulty::default() }, None, Key::new(0));
        assert_eq!(findings, [Finding::ActionNotClipped { step: 1 }]);
    }
}
