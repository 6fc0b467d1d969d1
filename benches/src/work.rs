//! What is timed: updates of algorithms, steps of the ensemble, imagined transitions.

use crate::{
    SHAPE,
    flops::{BATCH, BCQ_BATCH, IMAGINED, MEMBERS, SDM_GAN_BATCH},
};
use backcast::algos::{
    awac, bc, bcq, bear, combo, cql, edac, iql, mcq, mobile, mopo, osr, rebrac, sac, scas, sdc, sdm_gan, td3_bc,
};
use backcast::core::{
    Algorithm, Batch, Direction, Imagined, Key, Learner, Policy, Problem, Real, Source, Spec, Transitions, WorldModel,
    never,
};
use backcast::dynamics::{Ensemble, EnsembleConfig, Fit};
use backcast::imagination::{ImagineConfig, Imaginer};
use backcast::nn::{Activation, Gaussian, Init, Mlp, Precision, Store, TanhGaussian};
use backcast::penalties::{MaxAleatoric, NoPenalty, Penalty};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, Slice};
use rayon::ThreadPool;

/// The workloads that are updates of a [`learner`], by name.
pub const LEARNERS: &[&str] = &[
    "bc", "td3bc", "rebrac", "bcq", "bear", "iql", "awac", "sac", "sacn", "edac", "cql", "cql3", "mcq", "mopo",
    "combo", "mobile", "osr", "scas", "sdc", "sdm_gan",
];

/// Every workload that can be timed, by name. With `:split` or `:bf16` behind it, a workload computes large products in that
/// precision.
pub const WORKLOADS: &[&str] = &[
    "bc",
    "td3bc",
    "rebrac",
    "bcq",
    "bear",
    "iql",
    "awac",
    "sac",
    "sacn",
    "edac",
    "cql",
    "cql3",
    "mcq",
    "mopo",
    "combo",
    "mobile",
    "sdm_gan",
    "osr",
    "scas",
    "sdc",
    "dynamics",
    "rollout_mopo",
    "rollout_combo",
];

/// The name of a workload and its precision; `None` for a precision that does not exist.
pub fn parse(workload: &str) -> Option<(&str, Precision)> {
    match workload.split_once(':') {
        None => Some((workload, Precision::F32)),
        Some((name, "split")) => Some((name, Precision::Split)),
        Some((name, "bf16")) => Some((name, Precision::Bf16)),
        Some(_) => None,
    }
}

/// The algorithm of a workload and its batch size, or `None` for a name that is not in [`LEARNERS`].
///
/// Nets are 256-256 and batches 256, as the peers', and CQL has the thirty sampled actions of its default; `cql3` is CQL with
/// three hidden layers. BCQ and BEAR have their authors' 400-300 nets, 750-750 VAEs and batches of 100, MCQ its authors' 400-400
/// nets and the same VAE. ReBRAC, AWAC, SAC-N and EDAC, the last two with ten critics, have the three hidden layers of their
/// defaults, and so does COMBO. MOPO, COMBO and MOBILE have a model of the published size; MOBILE asks its five elites in each update,
/// and so does SDM-GAN, whose nets are 400-300 and whose batches are four times its authors' 512.
/// SCAS and SDC ask it in each update too. OSR and SDC have CQL's three layers, and their models of the dataset are fitted and rest.
pub fn learner(workload: &str) -> Option<(Box<dyn Learner>, usize)> {
    let (name, precision) = parse(workload)?;
    fn build<A: Algorithm>(config: A) -> Option<Box<dyn Learner>>
    where
        A::Learner: 'static,
    {
        Some(Box::new(config.build(SHAPE, Key::new(1)).expect("default configurations are sound")))
    }
    fn build_on<A: Algorithm>(config: A, precision: Precision) -> Option<Box<dyn Learner>>
    where
        A::Learner: 'static,
    {
        let model = WorldModel::new(ensemble(precision, STEPS, 1), never);
        let problem = Problem::new(SHAPE).with_model(model);
        Some(Box::new(config.build(problem, Key::new(1)).expect("default configurations are sound")))
    }
    let built = match name {
        "bc" => build(bc::Config { precision, ..Default::default() }),
        "td3bc" => build(td3_bc::Config { precision, ..Default::default() }),
        "bcq" => build(bcq::Config { precision, ..Default::default() }),
        "iql" => build(iql::Config { precision, ..Default::default() }),
        "sac" => build(sac::Config { precision, ..Default::default() }),
        "cql" => build(cql::Config { hidden: vec![256; 2], warm_start: Some(0), precision, ..Default::default() }),
        "cql3" => build(cql::Config { hidden: vec![256; 3], warm_start: Some(0), precision, ..Default::default() }),
        "rebrac" => build(rebrac::Config { precision, ..Default::default() }),
        "bear" => build(bear::Config { warm_start: 0, precision, ..Default::default() }),
        "awac" => build(awac::Config { precision, ..Default::default() }),
        "sacn" => build(edac::Config { eta: 0.0, precision, ..Default::default() }),
        "edac" => build(edac::Config { precision, ..Default::default() }),
        "mcq" => build(mcq::Config { precision, ..Default::default() }),
        "mopo" => {
            let sac = sac::Config { precision, ..Default::default() };
            build_on(mopo::Config { sac, ..Default::default() }, precision)
        }
        "combo" => {
            let cql = cql::Config { precision, ..Default::default() };
            build_on(combo::Config { cql, ..Default::default() }, precision)
        }
        "mobile" => build_on(mobile::Config { precision, ..Default::default() }, precision),
        "sdm_gan" => build_on(sdm_gan::Config { warm_start: 0, precision, ..Default::default() }, precision),
        "osr" => {
            let cql = cql::Config { precision, ..Default::default() };
            build(osr::Config { cql, warm_up: 0, ..Default::default() })
        }
        "scas" => build_on(scas::Config { precision, ..Default::default() }, precision),
        "sdc" => {
            let cql = cql::Config { precision, ..Default::default() };
            build_on(sdc::Config { cql, warm_up: 0, threshold: Some(0.05), ..Default::default() }, precision)
        }
        _ => None,
    };
    let batch = match name {
        "bcq" | "bear" => BCQ_BATCH,
        "sdm_gan" => SDM_GAN_BATCH,
        _ => BATCH,
    };
    built.map(|learner| (learner, batch))
}

/// The rows of a workload's batches that its algorithm's defaults want imagined.
pub fn imagined(workload: &str) -> usize {
    match parse(workload).map_or(workload, |w| w.0) {
        "mopo" | "mobile" => IMAGINED,
        "combo" => BATCH / 2,
        // Half of the two mixed batches, which are half of all.
        "sdm_gan" => SDM_GAN_BATCH / 4,
        _ => 0,
    }
}

/// Draws a batch of `rows`, of which the last are said to be imagined.
pub fn draw<'b>(data: &Transitions, key: Key, rows: usize, imagined: usize, staging: &'b mut Transitions) -> Batch<'b> {
    if imagined == 0 {
        return data.sample(key, rows, staging);
    }
    staging.clear();
    data.sample_into(key.name("real"), rows - imagined, staging);
    staging.begin_imagined();
    data.sample_into(key.name("imagined"), imagined, staging);
    staging.batch()
}

/// What a workload counts.
pub fn unit(workload: &str) -> &'static str {
    match parse(workload).map_or(workload, |w| w.0) {
        "dynamics" => "steps/s",
        _ if workload.starts_with("rollout") => "transitions/s",
        _ => "updates/s",
    }
}

/// Does some of the work, and says how many units.
pub type Step<'a> = Box<dyn FnMut() -> u64 + Send + 'a>;

/// How much one call of a [`Step`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// As little as can be: to see when the first unit is there.
    First,
    /// As much as makes the cost of the call itself vanish.
    Steady,
}

/// Starts of a rollout and its steps.
const STARTS: usize = 50_000;
const HORIZON: usize = 5;

/// Steps of the ensemble in one call: enough that what an epoch does besides is a hundredth of it.
const STEPS: usize = 40;

/// Hands `then` the steps of a workload on `data` for so many threads.
///
/// Algorithms work side by side, one step for each thread: an algorithm is small and uses one. The ensemble and its rollouts are
/// one step whatever the number: they share their work out among the threads.
///
/// # Panics
/// If there is no such workload.
pub fn with_steps<R>(
    workload: &str,
    data: &Transitions,
    threads: usize,
    span: Span,
    then: impl FnOnce(&mut [Step<'_>]) -> R,
) -> R {
    let pool = || rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of a few threads");
    let (name, precision) = parse(workload).unwrap_or_else(|| panic!("no workload `{workload}`"));
    match name {
        "dynamics" => {
            let mut model = ensemble(precision, if span == Span::First { 1 } else { STEPS }, threads);
            let mut fit = Fit::new(&mut model, data, Key::new(2)).expect("finite synthetic rows");
            let pool = pool();
            let mut before = 0;
            then(&mut [Box::new(move || {
                let steps = pool.install(|| fit.epoch()).steps as u64;
                let done = steps - before;
                before = steps;
                done
            })])
        }
        "rollout_mopo" => {
            let (model, actor) = (ensemble(precision, STEPS, threads), Actor::new(precision, &[256; 2], threads));
            then(&mut [rollout(model, actor, data, MaxAleatoric, 2.5, pool())])
        }
        "rollout_combo" => {
            let (model, actor) = (ensemble(precision, STEPS, threads), Actor::new(precision, &[256; 3], threads));
            then(&mut [rollout(model, actor, data, NoPenalty, 0.0, pool())])
        }
        _ => then(&mut (0..threads).map(|thread| updates(workload, data, thread)).collect::<Vec<_>>()),
    }
}

fn updates<'a>(workload: &'a str, data: &'a Transitions, thread: usize) -> Step<'a> {
    let (mut learner, batch) = learner(workload).unwrap_or_else(|| panic!("no workload `{workload}`"));
    let mut staging = Transitions::new(SHAPE).with_next_actions(parse(workload).is_some_and(|w| w.0 == "rebrac"));
    let (mut update, imagined) = (0, imagined(workload));
    Box::new(move || {
        let key = Key::new(thread as u64).fold(update);
        update += 1;
        learner.update(draw(data, key, batch, imagined, &mut staging), key);
        1
    })
}

/// The published ensemble, its epochs cut to `steps`. One row is held out: evaluation is not what is timed.
fn ensemble(precision: Precision, steps: usize, threads: usize) -> Ensemble {
    let config = EnsembleConfig {
        precision,
        members: MEMBERS,
        batch: BATCH,
        epoch_rows: Some(steps * BATCH),
        holdout_rows: 1,
        ..EnsembleConfig::default()
    };
    let mut model = Ensemble::new(config, SHAPE, Direction::Forward, Key::new(1)).expect("a sound configuration");
    model.set_parallel(threads > 1);
    model
}

fn rollout<'a, P: Penalty + Send + 'a>(
    mut model: Ensemble,
    mut actor: Actor,
    data: &'a Transitions,
    penalty: P,
    penalty_weight: Real,
    pool: ThreadPool,
) -> Step<'a> {
    let config =
        ImagineConfig { horizon: HORIZON, starts_per_call: STARTS, penalty_weight, ..ImagineConfig::default() };
    let mut imaginer = Imaginer::new(config, never, penalty).expect("a sound configuration");
    let mut buffer = Transitions::with_capacity(SHAPE, STARTS * HORIZON);
    let mut call = 0;
    Box::new(move || {
        let key = Key::new(3).fold(call);
        call += 1;
        buffer.clear();
        let mut sink = |t: Imagined<'_>| buffer.push(t.obs, t.act, t.reward, t.next_obs, t.terminal);
        pool.install(|| imaginer.imagine(&mut model, data, &mut actor, key, &mut sink)).stored as u64
    })
}

/// A tanh-Gaussian policy that has learnt nothing.
struct Actor {
    store: Store,
    net: Mlp,
}

impl Actor {
    fn new(precision: Precision, hidden: &[usize], threads: usize) -> Self {
        let mut store = Store::in_precision(precision);
        store.arena_mut().set_parallel(threads > 1);
        let sizes = [&[SHAPE.obs], hidden, &[2 * SHAPE.act]].concat();
        let net = Mlp::new(&mut store, "actor", &sizes, 1, Activation::Relu, Init::FanIn, Key::new(4));
        Self { store, net }
    }
}

impl Policy for Actor {
    fn spec(&self) -> Spec {
        SHAPE
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        let net = self.net;
        self.store.in_tiles(act, |tape, tile| {
            let y = net.forward(tape.input(obs.slice_axis(Axis(0), Slice::from(tile.clone()))));
            let base = Gaussian::from_columns(y, -5.0, 2.0);
            key.map_or_else(|| TanhGaussian { base }.mode(), |key| base.sample_from(key, tile.start).tanh())
        });
    }
}

/// How the threads of a workload divide it.
pub fn sharing(workload: &str) -> &'static str {
    let name = parse(workload).map_or(workload, |w| w.0);
    if LEARNERS.contains(&name) { "an algorithm on each thread" } else { "one ensemble on all threads" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_counts_its_units_and_its_arithmetic() {
        let data = crate::rows(2000);
        for &name in WORKLOADS.iter().filter(|name| !name.starts_with("rollout")) {
            let done = with_steps(name, &data, 1, Span::First, |steps| [steps[0](), steps[0]()]);
            assert_eq!(done, [1, 1], "{name}");
            assert!(crate::flops(name).is_some_and(|f| f.least > 0.0 && f.least <= f.plain), "{name}");
        }
        assert!(LEARNERS.iter().all(|name| WORKLOADS.contains(name)));
    }
}
