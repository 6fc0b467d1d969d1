use backcast_core::{Key, ObsScaler, Policy, Real, Spec};
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

/// A policy that sees scaled observations, asked with those of a model.
pub struct ScaledPolicy<'a> {
    /// What it makes of the model's observations.
    pub scaler: &'a ObsScaler,
    /// The policy.
    pub policy: &'a mut dyn Policy,
    /// The scaled observations; memory that grows once.
    pub seen: &'a mut Vec<Real>,
}

impl Policy for ScaledPolicy<'_> {
    fn spec(&self) -> Spec {
        self.policy.spec()
    }

    fn act(&mut self, obs: ArrayView2<'_, Real>, key: Option<Key>, act: ArrayViewMut2<'_, Real>) {
        self.seen.clear();
        self.seen.extend(obs.iter());
        self.scaler.to_learner(self.seen);
        let seen = ArrayView2::from_shape(obs.dim(), self.seen.as_slice()).expect("dense");
        self.policy.act(seen, key, act);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    struct First(Spec);
    impl Policy for First {
        fn spec(&self) -> Spec {
            self.0
        }

        fn act(&mut self, obs: ArrayView2<'_, Real>, _: Option<Key>, mut act: ArrayViewMut2<'_, Real>) {
            act.column_mut(0).assign(&obs.column(0));
        }
    }

    #[test]
    fn a_policy_sees_its_own_units() {
        let (scaler, mut act) = (ObsScaler::new(&[1.0, -2.0], &[2.0, 0.5]), Array2::zeros((2, 1)));
        let mut policy = ScaledPolicy { scaler: &scaler, policy: &mut First(Spec::new(2, 1)), seen: &mut Vec::new() };
        policy.act(array![[3.0, -1.0], [1.0, -2.0]].view(), None, act.view_mut());
        assert_eq!(act, array![[1.0], [0.0]]);
    }
}
