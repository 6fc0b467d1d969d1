use backcast_core::{Env, Key, Policy, Real, Step};
use ndarray::parallel::prelude::*;
use ndarray::{Array2, Axis};

/// The undiscounted returns of `episodes` episodes, one environment each, all stepped side by side.
///
/// Episode `i` starts from `key.name("start").fold(i)` whatever the policy, so that two policies are compared on the same
/// starts. The policy is given a key for each step, for those that draw candidates (BCQ, BEAR); one that would act at random
/// with it is to be handed over as [`Agent::as_evaluated`](crate::Agent::as_evaluated) gives it.
pub fn evaluate<E>(
    policy: &mut dyn Policy,
    env: impl Fn() -> Result<Box<dyn Env + Send>, E>,
    episodes: usize,
    key: Key,
) -> Result<Vec<f64>, E> {
    let mut envs = (0..episodes).map(|_| env()).collect::<Result<Vec<_>, _>>()?;
    Ok(roll(policy, &mut envs, key, |_| {}))
}

/// The fewest environments that are worth a task of their own.
const ENVS_A_TASK: usize = 8;

/// An environment between two steps of its episode, before the policy is asked again.
pub(crate) struct Moment<'a, W: ?Sized> {
    pub(crate) episode: usize,
    /// Steps taken.
    pub(crate) steps: usize,
    pub(crate) env: &'a mut W,
    /// What the policy will see, `[obs]`.
    pub(crate) obs: &'a mut [Real],
    /// Whether the episode is over.
    pub(crate) over: bool,
}

/// The returns of one episode in each environment; `between` sees every state, the first and the last too.
pub(crate) fn roll<W: Env + Send + ?Sized>(
    policy: &mut dyn Policy,
    envs: &mut [Box<W>],
    key: Key,
    mut between: impl FnMut(Moment<'_, W>),
) -> Vec<f64> {
    let (spec, episodes) = (policy.spec(), envs.len());
    let (mut obs, mut act) = (Array2::zeros((episodes, spec.obs)), Array2::zeros((episodes, spec.act)));
    let mut returns = vec![0.0; episodes];
    for (episode, env) in envs.iter_mut().enumerate() {
        let obs = obs.row_mut(episode).into_slice().expect("rows are dense");
        env.reset(key.name("start").fold(episode as u64), obs);
        between(Moment { episode, steps: 0, env: env.as_mut(), obs, over: false });
    }
    let mut running = vec![true; episodes];
    let mut steps = 0;
    while running.contains(&true) {
        policy.act(obs.view(), Some(key.name("act").fold(steps as u64)), act.view_mut());
        steps += 1;
        // Environments do not know each other: those that are slow to step are stepped side by side, to the same bits.
        let rows = obs.axis_iter_mut(Axis(0)).into_par_iter().zip(act.axis_iter(Axis(0)).into_par_iter());
        let outcomes = envs.par_iter_mut().zip(rows).zip(&running).with_min_len(ENVS_A_TASK);
        let outcomes: Vec<Option<Step>> = outcomes
            .map(|((env, (obs, act)), running)| {
                let obs = obs.into_slice().expect("rows are dense");
                running.then(|| env.step(act.to_slice().expect("rows are dense"), obs))
            })
            .collect();
        for (episode, outcome) in outcomes.into_iter().enumerate() {
            let Some(outcome) = outcome else { continue };
            returns[episode] += outcome.reward as f64;
            let over = outcome.terminated || outcome.truncated;
            running[episode] = !over;
            let obs = obs.row_mut(episode).into_slice().expect("rows are dense");
            between(Moment { episode, steps, env: envs[episode].as_mut(), obs, over });
        }
    }
    returns
}
