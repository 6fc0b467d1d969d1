//! Datasets in memory and on disk: D4RL files, rings, mixtures, normalisers, checks.
