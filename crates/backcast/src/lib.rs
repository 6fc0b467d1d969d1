//! Offline reinforcement learning by imagination: the whole workspace behind one name.

#[cfg(doctest)]
mod book;
