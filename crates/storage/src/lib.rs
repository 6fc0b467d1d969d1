//! Keeping things so that a crash cannot spoil them: disks, atomic replacement, checkpoints of a state.
//!
//! ```
//! use backcast_core::{Slot, State};
//! use backcast_storage::{load, save};
//! use std::collections::BTreeMap;
//!
//! struct Counter(u64);
//! impl State for Counter {
//!     fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
//!         f("counter", Slot::Count(&mut self.0));
//!     }
//! }
//!
//! let path = std::env::temp_dir().join(format!("counter-{}.safetensors", std::process::id()));
//! save(&mut Counter(7), &BTreeMap::new(), &path)?;
//! let mut counter = Counter(0);
//! load(&mut counter, &path)?;
//! assert_eq!(counter.0, 7);
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod checkpoint;
mod disk;

pub use checkpoint::{CheckpointError, load, load_from, save, save_on};
pub use disk::{Disk, Irregular, Local, NewFile, UNFINISHED, is_disk_full, is_unfinished, kind, replace};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
