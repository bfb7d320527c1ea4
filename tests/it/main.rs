//! Black-box tests over HTTP: the one integration binary of the workspace.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod abandoned;
mod api;
mod authority;
mod buckets;
mod clients;
mod conformance;
mod content;
mod copy;
mod coverage;
mod crash;
mod cve;
mod database;
mod diff;
mod faults;
mod fixtures;
mod full;
mod gc;
mod gc_orders;
mod kill;
mod kit_wire;
mod left_out;
mod lifetimes;
mod limits;
mod odd;
mod operator;
mod peer;
mod postgres;
mod push;
mod ranges;
mod readable;
mod real_clients;
mod referrers;
mod reindex;
mod replicas;
mod s3;
mod sample;
mod search;
mod server;
mod tls;
mod toxiproxy;
mod trace;
mod traces;
mod watch;
mod wire;
