//! Front matter: YAML between two lines of dashes, at the start of a text such as a model card.

use super::{Fault, Metadata};
use crate::bytes::{AHEAD, Bytes, Hashed};

/// Whether bytes begin as the format does. So do other files, which have no second line.
pub(super) fn is_front_matter(start: &[u8]) -> bool {
    let Some(rest) = text(start).strip_prefix(b"---") else { return false };
    let line = rest.iter().position(|byte| *byte == b'\n').map(|end| &rest[..end]);
    line.is_some_and(|rest| rest.trim_ascii().is_empty())
}

/// Bytes without what editors leave in front of a text: a byte order mark, and blank lines.
fn text(start: &[u8]) -> &[u8] {
    start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start()
}

/// Keeps the text with both lines, if it ends within [`AHEAD`].
pub(super) fn read(content: &mut Hashed<'_>, limit: usize, metadata: &mut Metadata) -> Result<(), Fault> {
    let start = content.peek(AHEAD)?;
    let start = text(&start[..start.len().min(limit)]);
    let mut length = 0;
    for line in start.split_inclusive(|byte| *byte == b'\n') {
        let is_fence = line.trim_ascii_end() == b"---";
        let is_second = is_fence && length > 0;
        length += line.len();
        if is_second {
            metadata.front_matter = Some(String::from_utf8_lossy(&start[..length]).into_owned());
            return Ok(());
        }
    }
    Ok(())
}
