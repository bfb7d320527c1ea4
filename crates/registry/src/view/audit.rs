//! Records of what was done, as they are answered.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Record {
    /// Its number.
    pub id: i64,
    /// When (RFC 3339).
    pub at: String,
    /// Who: the account, `anonymous`, or the command that the operator ran.
    pub actor: String,
    /// In which request; the access log names it too.
    pub request_id: String,
    /// What, for example `manifest.push`.
    pub action: String,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// To what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Under which tag, or tags with commas between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What else there is to say, such as why: a text, or an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

/// A page of records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Audit {
    /// The newest first.
    pub records: Vec<Record>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}
