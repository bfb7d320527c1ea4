//! Good and bad signatures.

mod arbitrary;
mod certificates;
mod fixtures;
mod keys;
mod limits;
mod material;
mod times;
