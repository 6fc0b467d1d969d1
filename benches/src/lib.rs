//! Throughput of whole updates, on the shapes of half-cheetah: obs 17, act 6, synthetic rows, drawing a batch included.
//!
//! Absolute figures depend on the machine and on whoever else is using it; compare only what was measured in one run. That
//! is why every window of work has a window of bare multiply–adds before and after it: their quotient, the fraction of the
//! arithmetic ceiling, suffers least from a busy neighbour.
#![forbid(unsafe_code)]

mod flops;
mod timing;
mod work;

pub use flops::{BATCH, Flops, flops, parameters};
pub use timing::{Measurement, Settings, Spread, ceiling, measure};
pub use work::{LEARNERS, Span, Step, WORKLOADS, draw, imagined, learner, parse, sharing, unit, with_steps};

use backcast::core::{Key, Spec, Transitions};

/// Columns of an observation and of an action.
pub const SHAPE: Spec = Spec::new(17, 6);

/// `rows` synthetic transitions: normal observations, tanh-normal actions and next actions, next observations nearby.
pub fn rows(rows: usize) -> Transitions {
    let mut columns = Transitions::new(SHAPE).with_next_actions(true);
    columns.reserve(rows);
    let (mut s, mut a, mut a2, mut drift) = ([0.0; 17], [0.0; 6], [0.0; 6], [0.0; 17]);
    for i in 0..rows {
        let key = Key::new(0).fold(i as u64);
        key.name("s").normal(&mut s);
        key.name("a").normal(&mut a);
        key.name("drift").normal(&mut drift);
        key.name("a2").normal(&mut a2);
        a.iter_mut().chain(&mut a2).for_each(|x| *x = x.tanh());
        let next: Vec<f32> = s.iter().zip(drift).map(|(x, d)| x + 0.1 * d).collect();
        let reward = key.name("r").unit() * 2.0 - 1.0;
        columns.push_followed(&s, &a, reward, &next, key.name("d").unit() < 0.001, &a2);
    }
    columns
}
