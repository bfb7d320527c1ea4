//! Black-box tests over HTTP: the one integration binary of the workspace.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod clients;
mod fixtures;
mod kit_wire;
mod left_out;
mod peer;
mod postgres;
mod push;
mod real_clients;
mod sample;
mod server;
mod wire;
