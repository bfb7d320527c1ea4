//! Good and bad signatures.

mod fixtures;
