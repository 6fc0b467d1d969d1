//! Offline reinforcement-learning algorithms, one file per paper.
//!
//! Open a file and read it from top to bottom: the citation, which equation is which function, the order of updates, the
//! configuration with one field per symbol, one function per equation, and `update`, which calls them in order.
//!
//! | module | algorithm |
//! |---|---|
//! | [`bc`] | behaviour cloning |
//! | [`td3_bc`] | TD3+BC (Fujimoto & Gu 2021) |
//! | [`bcq`] | batch-constrained Q-learning (Fujimoto, Meger & Precup 2019) |
//! | [`bear`] | bootstrapping error accumulation reduction (Kumar et al. 2019) |
//! | [`rebrac`] | ReBRAC, TD3+BC with two penalties (Tarasov et al. 2023) |
//! | [`awac`] | advantage-weighted actor–critic (Nair et al. 2020) |
//! | [`iql`] | implicit Q-learning (Kostrikov, Nair & Levine 2022) |
//! | [`sac`] | soft actor–critic with a learnt temperature (Haarnoja et al. 2018), and SAC+BC |
//! | [`cql`] | conservative Q-learning (Kumar et al. 2020) |
//! | [`edac`] | SAC-N, and EDAC, its diversified ensemble (An et al. 2021) |
//! | [`mcq`] | mildly conservative Q-learning (Lyu et al. 2022) |
//! | [`rambo`] | RAMBO, SAC in a model that is trained against it (Rigter et al. 2022) |
//! | [`morel`] | MOReL's pessimistic MDP, with SAC (Kidambi et al. 2020) |
//! | [`npg`] | natural policy gradient on whole trajectories in it, as its authors have it |
//! | [`mopo`] | SAC on imagined transitions that pay for uncertainty (Yu et al. 2020) |
//! | [`combo`] | CQL on real and imagined transitions (Yu et al. 2021) |
//! | [`mobile`] | SAC whose targets pay for what the model's members would value differently (Sun et al. 2023) |
//! | [`sdc`] | CQL whose policy leads back to the dataset's distribution of next states (Zhang et al. 2022) |
//! | [`osr`] | CQL that knows what to do beside the dataset, by inverse dynamics (Jiang et al. 2023) |
//! | [`scas`] | TD3 whose policy leads back to the dataset where that is worth it, by a model (Mao et al. 2024) |
//! | [`sdm_gan`] | SDM-GAN, a policy of noise whose occupancy an adversary holds to the dataset's (Yang et al. 2022) |
//! | [`romi`] | any of them on real and imagined transitions (Wang et al. 2021) |
//!
//! [`mbpo`] learns online, in an environment it can act in (Janner et al. 2019): the loop that imagination comes from.
//!
//! [`fqe`] is not an agent: it says what a policy would earn, from the dataset alone.
//!
//! An agent sees batches and keys, nothing else: no file, no clock, no standard output. That each computes its
//! equations is checked against recorded updates of a second implementation, in the
//! repository's `crates/parity`.
//!
//! ```
//! use backcast_algos::td3_bc;
//! use backcast_core::{Algorithm, Transitions, Key, Learner, Source, Spec};
//!
//! let mut dataset = Transitions::new(Spec::new(1, 1));
//! for i in 0..100 {
//!     let s = i as f32 / 100.0;
//!     dataset.push(&[s], &[-s], 1.0 - s, &[s / 2.0], false);
//! }
//! let config = td3_bc::Config { hidden: vec![16, 16], ..Default::default() };
//! let mut learner = config.build(dataset.spec(), Key::new(0))?;
//! let mut staging = Transitions::new(dataset.spec());
//! for step in 0..10 {
//!     let key = Key::new(1).fold(step);
//!     let metrics = learner.update(dataset.sample(key.name("batch"), 32, &mut staging), key);
//!     assert!(metrics.get("critic_loss").unwrap().is_finite());
//! }
//! # Ok::<(), backcast_core::ConfigError>(())
//! ```
#![forbid(unsafe_code)]

pub mod blocks;
#[cfg(feature = "model-based")]
pub mod model_based;
pub mod online;

pub mod awac;
pub mod bc;
pub mod bcq;
pub mod bear;
pub mod cql;
pub mod edac;
pub mod fqe;
pub mod iql;
pub mod mcq;
pub mod rebrac;
pub mod sac;
pub mod td3_bc;

#[cfg(feature = "model-based")]
pub use model_based::{combo, mobile, mopo, morel, npg, osr, rambo, romi, scas, sdc, sdm_gan};
#[cfg(feature = "model-based")]
pub use online::mbpo;
pub use online::td3;

/// Every algorithm that an experiment can name, said once: `$then!` is given the variant and the module of each. Whoever has a
/// list of algorithms makes it of this one.
#[cfg(feature = "model-based")]
#[macro_export]
macro_rules! algorithms {
    ($then:ident) => {
        $then! {
            Bc bc  Td3Bc td3_bc  Bcq bcq  Bear bear  Rebrac rebrac  Awac awac  Iql iql  Sac sac  Cql cql  Edac edac  Mcq mcq
            Osr osr  Mopo mopo  Rambo rambo  Morel morel  Npg npg  Combo combo  Mobile mobile  SdmGan sdm_gan  Sdc sdc  Scas scas
        }
    };
}

/// The README's example, compiled and run with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
