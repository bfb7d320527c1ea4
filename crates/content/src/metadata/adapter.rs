//! The configuration of an adapter, as PEFT writes it: a JSON object with a `peft_type`.

use memchr::memmem;
use serde::Deserialize;

use super::{Fault, Metadata};
use crate::bytes::{AHEAD, Bytes, Hashed};

/// Whether bytes begin as a JSON object. Most of these are no such configuration.
pub(super) fn is_object(start: &[u8]) -> bool {
    start.trim_ascii_start().first() == Some(&b'{')
}

/// What makes an object one.
#[derive(Deserialize)]
struct Config {
    #[serde(rename = "peft_type")]
    _kind: String,
}

/// Keeps the text, if all of it is within [`AHEAD`].
pub(super) fn read(content: &mut Hashed<'_>, limit: usize, metadata: &mut Metadata) -> Result<(), Fault> {
    let text = content.peek(AHEAD)?;
    // One that fills the window may go on behind it. To look for the name first spares parsing all other JSON.
    if text.len() >= AHEAD.min(limit) || memmem::find(text, b"\"peft_type\"").is_none() {
        return Ok(());
    }
    if serde_json::from_slice::<Config>(text).is_ok() {
        metadata.adapter_config = Some(String::from_utf8_lossy(text).into_owned());
    }
    Ok(())
}
