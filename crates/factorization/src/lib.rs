//! Joint values from parts: mixers, counterfactual credit, and algorithms whose action has many parts.
//!
//! Several agents act at once, or one agent acts with several parts, and one number says how it went. With *n* parts of |A| actions
//! each there are |A|ⁿ joint actions; a table of them is out of the question, and so is asking which is best. *Factorisation* gives each part
//! a value of its own and makes the whole of them by a *mixer*, so chosen that the best action of each part by itself is the
//! joint best (individual–global–max).
//!
//! ```
//! use backcast_core::Key;
//! use backcast_factorization::games::{MatrixGame, non_monotone};
//! use backcast_factorization::{Config, Lesson, Method, MixerConfig, Weighting};
//!
//! // Two parts, three actions each; the best joint action pays 8, and −12 lies on either side of it.
//! let game: MatrixGame = non_monotone();
//! let learn = |method| {
//!     let config = Config { method, lr: 3e-3, hidden: vec![64], ..Config::default() };
//!     Lesson::new(&game).teach(&config, 2000, Key::new(1)).unwrap().1
//! };
//! // A monotone mixer sees −12 beside 8 and stays away; told to care where it promises too little, it dares.
//! assert_eq!(game.pays(&learn(Method::Mixed { mixer: MixerConfig::QMIX })), 0.0);
//! assert_eq!(game.pays(&learn(Method::WeightedQmix { weighting: Weighting::Optimistic, alpha: 0.1, star: 32 })), 8.0);
//! ```
//!
//! That is for discrete actions. Where each agent chooses numbers, [`team`] has decentralised policies with values of an agent's own or
//! of all together, as algorithms on joint batches:
//!
//! ```
//! use backcast_core::{Algorithm, Transitions, Key, Learner, Source, Spec};
//! use backcast_factorization::team::{Shared, cfcql};
//!
//! // Two agents that see a number each and choose one.
//! let mut dataset = Transitions::new(Spec::new(2, 2));
//! for i in 0..50 {
//!     let x = i as f32 / 50.0;
//!     dataset.push(&[x, -x], &[-x, x], -x, &[x / 2.0, -x / 2.0], false);
//! }
//! let shared = Shared { agents: 2, hidden: vec![16], ..Shared::central() };
//! let mut team = cfcql::Config { shared, alpha: 0.5, ..Default::default() }.build(dataset.spec(), Key::new(0))?;
//! let mut staging = Transitions::new(dataset.spec());
//! let metrics = team.update(dataset.sample(Key::new(1), 32, &mut staging), Key::new(2));
//! assert!(metrics.get("penalty").unwrap().is_finite());
//! # Ok::<(), backcast_core::ConfigError>(())
//! ```
//!
//! | what | where |
//! |---|---|
//! | VDN, QMIX, QPLEX, a mixer without restrictions | [`mixer`] |
//! | learning joint values; Weighted QMIX, QTRAN | [`learner`] |
//! | online, by policies of their own: COMA | [`coma`] |
//! | from a dataset: cloning, MA-CQL, CFCQL | [`cloning`], [`conservative`] |
//! | judging a joint policy by a dataset of others | [`fqe`] |
//! | whose doing it was: COMA's baseline, and the mixer's own | [`credit`] |
//! | one agent with many parts: DecQN and its CQL, BCQ, IQL and one-step variants | [`factored`] |
//! | one agent with continuous parts, an actor for each | [`groups`] |
//! | games of which the answer is known | [`games`] |
//! | agents whose actions are continuous, from a dataset: MA-CQL, OMAR, CFCQL, ICQ; and online, MATD3 | [`team`] |
//! | whether all of it is what its equations say, number for number | the repository's `crates/parity` |
//!
//! What is deliberately absent: recurrent nets (a part sees an observation), environments, files.
#![forbid(unsafe_code)]

pub mod cloning;
pub mod coma;
pub mod conservative;
pub mod credit;
pub mod factored;
pub mod fqe;
pub mod games;
pub mod groups;
pub mod learner;
mod lesson;
pub mod mixer;
pub mod parts;
pub mod team;

pub use cloning::{CloneConfig, Cloned};
pub use coma::{Coma, ComaConfig};
pub use conservative::{Conservatism, Spread};
pub use credit::{Credit, counterfactual_advantage};
pub use factored::{Constraint, Factored, FactoredBatch, FactoredConfig};
pub use fqe::{FqeBatch, FqeConfig, JointFqe};
pub use groups::{Group, Groups, GroupsConfig};
pub use learner::{Config, Joint, JointBatch, Method, Weighting};
pub use lesson::Lesson;
pub use mixer::{Mixer, MixerConfig};
pub use parts::{Parts, Utilities, Widths};

/// The README's example, compiled and run with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
