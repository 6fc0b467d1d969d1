//! Offline reinforcement-learning algorithms, one file per paper.
