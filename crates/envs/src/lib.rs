//! Environments in pure Rust, their terminations and reference scores.
