//! A matrix game as a dataset in which every joint action, or some of them, is recorded.

use crate::games::MatrixGame;
use crate::learner::{Config, Joint, JointBatch};
use crate::parts::Widths;
use backcast_core::{ConfigError, Key, Real};
use ndarray::{Array1, Array2, Array3, Axis};

/// Joint actions of a game and what they paid, each a row; one state, seen by all as a constant 1, after which the game ends.
#[derive(Clone, Debug)]
pub struct Lesson {
    widths: Widths,
    act: Array2<usize>,
    reward: Array1<Real>,
    state: Array2<Real>,
    obs: Array3<Real>,
    terminal: Array1<Real>,
}

impl Lesson {
    /// Every joint action once.
    pub fn new(game: &MatrixGame) -> Self {
        Self::of(game, game.every())
    }

    /// The joint actions `act`, `[rows, parts]`.
    ///
    /// # Panics
    /// If one of them is not the game's.
    pub fn of(game: &MatrixGame, act: Array2<usize>) -> Self {
        let (rows, parts) = act.dim();
        let reward = act.rows().into_iter().map(|u| game.pays(&u.to_vec())).collect();
        let widths = Widths { parts, actions: game.actions(), obs: 1, state: 1 };
        let (state, obs) = (Array2::ones((rows, 1)), Array3::ones((parts, rows, 1)));
        Self { widths, act, reward, state, obs, terminal: Array1::ones(rows) }
    }

    /// How wide things are.
    pub fn widths(&self) -> Widths {
        self.widths
    }

    /// All rows.
    pub fn batch(&self) -> JointBatch<'_> {
        JointBatch {
            state: self.state.view(),
            obs: self.obs.view(),
            act: self.act.view(),
            reward: self.reward.view(),
            next_state: self.state.view(),
            next_obs: self.obs.view(),
            terminal: self.terminal.view(),
        }
    }

    /// `rows` rows, drawn uniformly by `key`.
    pub fn drawn(&self, rows: usize, key: Key) -> Self {
        let from: Vec<usize> = (0..rows).map(|i| key.below(self.act.nrows(), i)).collect();
        Self {
            widths: self.widths,
            act: self.act.select(Axis(0), &from),
            reward: self.reward.select(Axis(0), &from),
            state: self.state.select(Axis(0), &from),
            obs: self.obs.select(Axis(1), &from),
            terminal: self.terminal.select(Axis(0), &from),
        }
    }

    /// An algorithm after `updates` on batches of 32 rows, and the joint action it takes.
    ///
    /// # Errors
    /// If the configuration makes no sense.
    pub fn teach(&self, config: &Config, updates: u64, key: Key) -> Result<(Joint, Vec<usize>), ConfigError> {
        let mut learner = config.build(self.widths, key)?;
        for update in 0..updates {
            let key = key.name("update").fold(update);
            learner.update(self.drawn(32, key.name("rows")).batch(), key);
        }
        let act = learner.greedy(Array3::ones((self.widths.parts, 1, 1)).view());
        Ok((learner, act.row(0).to_vec()))
    }

    /// The value of every row's joint action as `learner` has it, `[rows]`.
    pub fn values(&self, learner: &mut Joint) -> Vec<Real> {
        learner.total(self.state.view(), self.obs.view(), self.act.view())
    }
}
