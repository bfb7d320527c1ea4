//! Names, relations and jobs, over SQL.
//!
//! This is the only crate that knows SQL. It does not know HTTP, nor where bytes are kept, nor what an artifact means, nor
//! what time it is: moments come from the caller. Functions that write take a [`Session`] that the caller began and
//! commits, so that one operation is one transaction; lookups return `Option`.

pub mod adapter;
pub mod audit;
pub mod blob;
pub mod check;
pub mod claim;
pub mod completeness;
pub mod copy;
pub mod coverage;
mod db;
mod direct;
mod error;
pub mod file;
pub mod gc;
pub mod graph;
pub mod job;
pub mod kit;
pub mod layer;
pub mod lineage;
pub mod manifest;
pub mod md5;
pub mod pulls;
pub mod reference;
pub mod reindex;
pub mod repository;
mod rows;
pub mod search;
pub mod secret;
mod sql;
pub mod store;
pub mod tag;
mod types;
pub mod upload;
pub mod weights;

pub use db::{Db, Session};
pub use direct::Direct;
pub use error::Error;
pub use types::{
    Act, BlobId, ClaimId, ClaimKind, EdgeId, EdgeKind, Field, Grade, JobId, JobKind, LayerId, LayerState, Micros,
    NodeId, OccurrenceId, Priority, Reader, ReferenceId, ReferenceState, RepositoryId, ScanId, StatementId,
};

/// The result of an index operation.
pub type Result<T> = std::result::Result<T, Error>;
