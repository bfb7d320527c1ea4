//! The `pedigree` binary: HTTP, configuration, command line. The only crate that knows HTTP.

mod access_log;
mod api;
mod app;
pub mod cli;
mod client;
pub mod config;
mod connections;
mod home;
mod metrics;
mod promotions;
mod proxies;
pub mod serve;
mod table;
mod tls;
mod traces;
mod v2;

pub use app::App;
pub use promotions::Promotions;
pub use proxies::{Proxies, ProxyHeader};
