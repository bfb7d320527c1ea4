//! What is inside a layer: one streaming pass over a blob's bytes gives identities and files.
//!
//! Bytes decide, not media types: gzip, zstd, tar and zip are recognised by their first bytes, in a layer and in its files;
//! anything else is one raw file, and of some it can be told that there is more in them. Files of models and tables say more of themselves, which is read too.
//! This crate does no IO of its own and extracts nothing. It reads from a reader handed in, gives files to a sink handed
//! in, and spills long lists to files handed in. It does not know what a layer is for, nor where it is stored.

mod budget;
mod bytes;
mod deflate;
mod facts;
mod format;
mod gzip;
mod identity;
mod metadata;
mod path;
mod scan;
mod sealed;
mod sort;
mod source;
mod stream;
mod tar;
mod zip;
mod zstandard;

pub use facts::{
    Archive, Compression, Facts, File, Form, INNER, Known, Limits, SCANNER_VERSION, ScanError, Skipped, State, WHOLE,
    opaque_by_media_type,
};
pub use identity::{Identities, Identity, contents_of_one};
pub use metadata::{Column, FileFormat, Metadata, Tensor};
pub use scan::scan;
