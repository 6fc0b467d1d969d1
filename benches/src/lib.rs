//! Throughput of whole updates.
