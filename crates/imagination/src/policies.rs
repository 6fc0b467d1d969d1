use backcast_core::{Key, Policy, Real, Spec};
use ndarray::{ArrayView2, ArrayViewMut2};

/// Actions uniform in the box, whatever the state: ROMI's reverse policy on maze2d and hopper. Without a key, zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uniform(pub Spec);

impl Policy for Uniform {
    fn spec(&self) -> Spec {
        self.0
    }

    fn act(&mut self, _: ArrayView2<'_, Real>, key: Option<Key>, mut act: ArrayViewMut2<'_, Real>) {
        let Some(key) = key else { return act.fill(0.0) };
        let limit = self.0.act_limit;
        match act.as_slice_mut() {
            Some(act) => key.uniform(-limit, limit, act),
            None => {
                for (i, mut row) in act.rows_mut().into_iter().enumerate() {
                    row.iter_mut().enumerate().for_each(|(j, a)| {
                        *a = limit * (2.0 * key.fold(i as u64).fold(j as u64).unit() - 1.0);
                    });
                }
            }
        }
    }
}
