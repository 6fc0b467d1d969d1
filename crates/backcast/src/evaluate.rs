use backcast_core::{Env, Key, Policy};
use ndarray::Array2;

/// The undiscounted returns of `episodes` episodes, one world each, all stepped side by side.
///
/// Episode `i` starts from `key.name("start").fold(i)` whatever the policy, so that two policies are compared on the same
/// starts. The policy is given a key for each step, for those that draw candidates (BCQ, BEAR); one that would act at random
/// with it is to be handed over as [`Agent::as_evaluated`](crate::Agent::as_evaluated) gives it.
pub fn evaluate<E>(
    policy: &mut dyn Policy,
    world: impl Fn() -> Result<Box<dyn Env + Send>, E>,
    episodes: usize,
    key: Key,
) -> Result<Vec<f64>, E> {
    let spec = policy.spec();
    let mut worlds = (0..episodes).map(|_| world()).collect::<Result<Vec<_>, _>>()?;
    let (mut obs, mut act) = (Array2::zeros((episodes, spec.obs)), Array2::zeros((episodes, spec.act)));
    let mut returns = vec![0.0; episodes];
    for (i, world) in worlds.iter_mut().enumerate() {
        world.reset(key.name("start").fold(i as u64), obs.row_mut(i).into_slice().expect("rows are dense"));
    }
    let mut running = vec![true; episodes];
    let mut step = 0;
    while running.contains(&true) {
        policy.act(obs.view(), Some(key.name("act").fold(step)), act.view_mut());
        step += 1;
        for (i, world) in worlds.iter_mut().enumerate() {
            if running[i] {
                let to = obs.row_mut(i).into_slice().expect("rows are dense");
                let outcome = world.step(act.row(i).to_slice().expect("rows are dense"), to);
                returns[i] += outcome.reward as f64;
                running[i] = !(outcome.terminated || outcome.truncated);
            }
        }
    }
    Ok(returns)
}
