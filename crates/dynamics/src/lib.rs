//! One probabilistic ensemble, three directions: forward, reverse, inverse; and the CVAE of actions.
//!
//! A dataset of transitions *(s, a, r, s′)* can be read in three ways. Forward, *p(r, s′ ∣ s, a)*: what happens next. Reverse,
//! *p(r, s ∣ s′, a)*: what may have led here. Inverse, *p(a ∣ s, s′)*: what was done. The three differ in nothing but which
//! columns are given and which are predicted, so there is one [`Ensemble`] and a
//! [`Direction`](backcast_core::Direction).
//!
//! ```
//! use approx::assert_abs_diff_eq;
//! use backcast_core::{Transitions, Direction, Dynamics, Key, Spec};
//! use backcast_dynamics::{Ensemble, EnsembleConfig};
//! use ndarray::{array, s};
//!
//! // A cart on a line: position and speed, pushed by an action.
//! let spec = Spec::new(2, 1);
//! let mut dataset = Transitions::new(spec);
//! let mut x = vec![0.0; 3 * 2000];
//! Key::new(1).uniform(-1.0, 1.0, &mut x);
//! for x in x.chunks_exact(3) {
//!     dataset.push(&x[..2], &x[2..], -x[0].abs(), &[x[0] + 0.1 * x[1], x[1] + 0.1 * x[2]], false);
//! }
//!
//! // The published sizes are the defaults; these are for a toy.
//! let config = EnsembleConfig {
//!     members: 3, elites: 2, hidden: vec![32, 32], weight_decay: vec![0.0; 3], lr: 3e-3, max_epochs: Some(15),
//!     ..EnsembleConfig::default()
//! };
//! let mut model = Ensemble::new(config, spec, Direction::Reverse, Key::new(2))?;
//! let report = model.fit(&dataset, Key::new(3), &mut |epoch| epoch.holdout_mse.iter().all(|e| e.is_finite()))?;
//!
//! // Where was the cart before it stood at 0.5 with speed 1, if it was pushed with full force?
//! let (end, act) = (array![[0.5, 1.0]], array![[1.0]]);
//! let p = model.predict([end.view(), act.view()]); // [members, rows, reward and state]
//! let best = report.elites[0];
//! assert_abs_diff_eq!(p.mean.slice(s![best, 0, 1..]), array![0.41, 0.9], epsilon = 0.03);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it is fitted
//! | step | what happens | where it comes from |
//! |---|---|---|
//! | split | min(20 %, 1000) rows are held out; inputs are standardised by the rest | MOPO's code |
//! | rows | each member draws its own rows with replacement, **once**; each epoch puts them in a new order | PETS, MBPO |
//! | loss | mean((μ − y)²·e^(−ℓ)) + mean(ℓ) per member, ℓ = ln σ² softly held between learnt bounds | PETS, appendix A.1 |
//! | weight | each term of the likelihood times σ^(2β), held fixed, where [`beta_nll`](EnsembleConfig::beta_nll) asks for it | Seitzer et al., arXiv:2203.09168 |
//! | choice | a member whose held-out error fell by more than 1 % is remembered | MBPO's code |
//! | end | more than 5 epochs without such a member; each goes back to its best; the best 5 are the elites | MBPO's code |
//!
//! The stopping rule looks at means alone. Variances are learnt more slowly, so a member may go back to an epoch in which its
//! variance was still far off: [`FitReport::calibration`] says by how much, and [`Criterion::Likelihood`] is the remedy.
//!
//! A fit can be left and taken up again: [`Fit`] is a [`State`](backcast_core::State), so that it can be saved between two
//! epochs, and epoch *e* draws from a key of its own, so that it goes on to the same bits.
//!
//! # An opponent
//! A fitted ensemble can go on being trained: [`Trainer`] takes steps of the fit on rows of the caller's choice, and
//! [`Adversary`] beside them makes what a policy gained in the model unlikely (RAMBO).
//!
//! # Derivatives
//! Some algorithms ask which way an action should change for the next state to be a better one: [`Ensemble::frozen`] puts the fitted
//! nets on a tape, where next states have slopes in the action (SDC, SCAS).
//!
//! # Actions
//! Imagination also needs actions to ask about. [`ActionVae`] draws actions like those a dataset contains near a state: given *s′*
//! it is ROMI's reverse policy, given *s* the behaviour model for forward imagination. [`GaussianBc`] is the simpler
//! alternative, and [`BinnedClone`] draws the parts of an action one by one. All are a [`Policy`](backcast_core::Policy). [`InverseVae`] says what was done between two
//! states (OSR), and [`TransitionVae`] where the dataset goes on from a state, whatever was done (SDC).
#![forbid(unsafe_code)]

mod action_vae;
mod adversary;
mod binned;
mod config;
mod ensemble;
mod fit;
mod frozen;
mod gaussian_bc;
mod inverse_vae;
mod trainer;
mod transition_vae;

pub use action_vae::{ActionVae, ActionVaeConfig, Condition};
pub use adversary::{Adversary, Played};
pub use binned::{BinnedClone, BinnedConfig, Factors};
pub use config::{Criterion, EnsembleConfig};
pub use ensemble::Ensemble;
pub use fit::{Fit, FitError, FitProgress, FitReport, StoppedBy};
pub use frozen::Frozen;
pub use gaussian_bc::{GaussianBc, GaussianBcConfig};
pub use inverse_vae::{InverseVae, InverseVaeConfig};
pub use trainer::Trainer;
pub use transition_vae::{TransitionVae, TransitionVaeConfig};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
