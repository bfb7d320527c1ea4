//! What people say about artifacts, read into one shape: in-toto statements, bills of materials, OpenLineage events, model
//! cards and the configurations of adapters.
//!
//! Pure: bytes in, meaning out. It does no IO and knows no clock. It verifies no signature (it is given the payload, once
//! somebody has looked at the signature), does not know what the registry stores, and does not know whether anything
//! that it reads is true. What it hands out holds no credentials: see [`External`].

mod adapter_config;
mod cyclonedx;
mod external;
mod in_toto;
mod json;
mod model_card;
pub mod openlineage;
mod problems;
mod purl;
mod relation;
mod secrets;
mod spdx;
mod statement;
mod target;

pub use adapter_config::{AdapterConfig, adapter_config};
pub use external::{EXTERNAL_LIMIT, External};
pub use model_card::{CARD_LIMIT, model_card};
pub use relation::Relation;
pub use secrets::without_secrets;
pub use statement::{ENTRIES, FILES, File, Format, Statement, Subject, Use};
pub use target::Target;

use serde_json::Value;
use statement::Draft;

/// How many bytes of a statement are read at most. Bills of materials of large images have a few megabytes.
pub const STATEMENT_LIMIT: usize = 16 * 1024 * 1024;

/// How many JSON values (texts, numbers, lists, objects and the names of members) a statement may have. A list of small
/// numbers takes sixteen times its own size in memory, so the limit on bytes is not enough.
pub const VALUES_LIMIT: usize = 1_000_000;

/// Why nothing was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It is not JSON, or nested deeper than any real statement.
    #[error("it is not JSON: {0}")]
    Json(String),
    /// It has more bytes than are read.
    #[error("it is longer than the {0} bytes that are read")]
    Bytes(usize),
    /// It has more JSON values than are read.
    #[error("it has more than the {0} values that are read")]
    Values(usize),
}

/// What a statement says: the payload of an in-toto envelope, or a bill of materials by itself. The media type only
/// decides where the document does not say what it is.
///
/// What is unknown is no error: it is a statement that says nothing, of the format that could be told.
///
/// # Errors
/// What is not JSON, or larger than [`STATEMENT_LIMIT`] and [`VALUES_LIMIT`] allow.
pub fn statement(media_type: &str, bytes: &[u8]) -> Result<Statement, Unread> {
    let document = json::parse(bytes)?;
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut draft = Draft::new(Format::Other);
    if in_toto::is(&document) {
        in_toto::read(&document, &mut draft);
    } else if cyclonedx::is(&document) || media_type.starts_with("application/vnd.cyclonedx") {
        cyclonedx::read_alone(&document, &mut draft);
    } else if spdx::is(&document) || media_type.ends_with("/spdx+json") {
        spdx::read_alone(&document, &mut draft);
    } else if document["payload"].is_string() && document["payloadType"].is_string() {
        draft.problems.lost("it is a signed envelope, whose payload is expected here");
    } else if !matches!(document, Value::Object(_)) {
        draft.problems.lost("it is not a JSON object");
    }
    Ok(draft.finish())
}

#[cfg(test)]
mod tests;
