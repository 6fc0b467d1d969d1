use crate::Real;
use serde::{Deserialize, Serialize};

/// The widths of one transition and the box its actions live in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Width of an observation.
    pub obs: usize,
    /// Width of an action.
    pub act: usize,
    /// Actions lie in `[−act_limit, act_limit]` in every dimension.
    pub act_limit: Real,
}

impl Spec {
    /// `obs` observation columns and `act` action columns in `[−1, 1]`.
    pub const fn new(obs: usize, act: usize) -> Self {
        Self { obs, act, act_limit: 1.0 }
    }

    /// The same widths with actions in `[−limit, limit]`.
    pub const fn with_act_limit(self, limit: Real) -> Self {
        Self { act_limit: limit, ..self }
    }

    /// The width of `column`.
    pub const fn width(self, column: crate::Column) -> usize {
        match column {
            crate::Column::Obs | crate::Column::NextObs => self.obs,
            crate::Column::Act => self.act,
            crate::Column::Reward | crate::Column::Terminal => 1,
        }
    }
}
