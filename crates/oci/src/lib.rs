//! The vocabulary of the OCI distribution and image specifications.
//!
//! Types for whatever has a grammar there: digests, names, references, manifests, routes, ranges, error codes.
//! This crate does no IO and knows neither HTTP libraries nor databases nor what an artifact means.

mod digest;
mod error;
mod hasher;
mod json;
mod manifest;
pub mod media_type;
mod name;
mod range;
mod route;

pub use digest::{Algorithm, Digest, DigestError, EMPTY_JSON};
pub use error::{Code, ErrorBody, ErrorDetail};
pub use hasher::{Hasher, StateError};
pub use json::json_text;
pub use manifest::{Descriptor, Manifest, ManifestError, Shape};
pub use name::{Name, NameError, Reference, Tag};
pub use range::{ByteRange, ContentRange, RangeError};
pub use route::{HistoryPage, Page, ReferrersPage, Route, RouteError, StartUpload, Upload};
