//! ROMI.
