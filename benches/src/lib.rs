//! Throughput of whole updates, and of the pieces they are made of.
