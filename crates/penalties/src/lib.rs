//! How much not to trust an imagined step: one file per published penalty.
