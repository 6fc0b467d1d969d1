//! Throughput of whole updates, on the shapes of half-cheetah: obs 17, act 6, synthetic rows, drawing a batch included.
//!
//! Absolute figures depend on the machine and on whoever else is using it; compare only what was measured in one run.
#![forbid(unsafe_code)]

use backcast::algos::{bc, bcq, cql, iql, sac, td3_bc};
use backcast::core::{Algorithm, Columns, Key, Learner, Source, Spec};
use std::time::{Duration, Instant};

/// The workloads that can be timed, by name.
pub const WORKLOADS: [&str; 7] = ["bc", "td3bc", "bcq", "iql", "sac", "cql", "cql3"];

/// Columns of an observation and of an action.
pub const SHAPE: Spec = Spec::new(17, 6);

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Updates per second of all threads together: the median of the windows.
    pub median: f64,
    /// The slowest window.
    pub min: f64,
    /// The fastest window.
    pub max: f64,
}

/// `rows` synthetic transitions: normal observations, tanh-normal actions, next observations nearby.
pub fn rows(rows: usize) -> Columns {
    let mut columns = Columns::with_capacity(SHAPE, rows);
    let (mut s, mut a, mut drift) = ([0.0; 17], [0.0; 6], [0.0; 17]);
    for i in 0..rows {
        let key = Key::new(0).fold(i as u64);
        key.name("s").normal(&mut s);
        key.name("a").normal(&mut a);
        key.name("drift").normal(&mut drift);
        a.iter_mut().for_each(|x| *x = x.tanh());
        let next: Vec<f32> = s.iter().zip(drift).map(|(x, d)| x + 0.1 * d).collect();
        let reward = key.name("r").unit() * 2.0 - 1.0;
        columns.push(&s, &a, reward, &next, key.name("d").unit() < 0.001);
    }
    columns
}

/// The learner of a workload and its batch size, or `None` for a name that is not in [`WORKLOADS`].
///
/// All but BCQ have 256-256 nets and batches of 256, as the peers', and CQL the thirty sampled actions of its default;
/// `cql3` is CQL with three hidden layers. BCQ has its authors' 400-300 nets, 750-750 VAE and
/// batches of 100.
pub fn learner(workload: &str) -> Option<(Box<dyn Learner>, usize)> {
    let built: (Result<Box<dyn Learner>, _>, usize) = match workload {
        "bc" => (bc::Config::default().build(SHAPE, Key::new(1)).map(|l| Box::new(l) as _), 256),
        "td3bc" => (td3_bc::Config::default().build(SHAPE, Key::new(1)).map(|l| Box::new(l) as _), 256),
        "iql" => (iql::Config::default().build(SHAPE, Key::new(1)).map(|l| Box::new(l) as _), 256),
        "sac" => (sac::Config::default().build(SHAPE, Key::new(1)).map(|l| Box::new(l) as _), 256),
        "cql" | "cql3" => {
            let layers = if workload == "cql" { 2 } else { 3 };
            let config = cql::Config { hidden: vec![256; layers], warm_start: 0, ..Default::default() };
            (config.build(SHAPE, Key::new(1)).map(|l| Box::new(l) as _), 256)
        }
        "bcq" => (bcq::Config::default().build(SHAPE, Key::new(1)).map(|l| Box::new(l) as _), 100),
        _ => return None,
    };
    Some((built.0.expect("default configurations are sound"), built.1))
}

/// Updates per second of `threads` independent learners side by side, each on a thread of its own.
///
/// # Panics
/// If there is no such workload.
pub fn rate(workload: &str, data: &Columns, threads: usize, windows: usize, window: Duration) -> Rate {
    let start = Instant::now() + Duration::from_millis(50);
    let run = |thread: usize| {
        let (mut learner, batch) = learner(workload).unwrap_or_else(|| panic!("rate: no workload `{workload}`"));
        let mut staging = Columns::with_capacity(SHAPE, batch);
        let mut update = 0;
        let mut step = || {
            let key = Key::new(thread as u64).fold(update);
            update += 1;
            learner.update(data.sample(key, batch, &mut staging), key);
        };
        (0..3).for_each(|_| step());
        std::thread::sleep(start.saturating_duration_since(Instant::now()));
        let one = |_| {
            let (begin, mut n) = (Instant::now(), 0);
            while begin.elapsed() < window {
                step();
                n += 1;
            }
            n as f64 / begin.elapsed().as_secs_f64()
        };
        (0..windows).map(one).collect()
    };
    let run = &run;
    let counts: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|t| scope.spawn(move || run(t))).collect();
        handles.into_iter().map(|h| h.join().expect("a timed thread does not panic")).collect()
    });
    let mut sums: Vec<f64> = (0..windows).map(|w| counts.iter().map(|c| c[w]).sum()).collect();
    sums.sort_by(f64::total_cmp);
    Rate { median: sums[windows / 2], min: sums[0], max: sums[windows - 1] }
}
