//! Front matter: YAML between two lines of dashes, at the start of a text such as a model card.

use super::{Fault, Metadata};
use crate::bytes::{AHEAD, Bytes, Hashed};

/// Whether bytes begin as the format does. So do other files, which have no second line.
pub(super) fn is_front_matter(start: &[u8]) -> bool {
    start.strip_prefix(b"---").is_some_and(|rest| rest.starts_with(b"\n") || rest.starts_with(b"\r\n"))
}

/// Keeps the text with both lines, if it ends within [`AHEAD`].
pub(super) fn read(content: &mut Hashed<'_>, limit: usize, metadata: &mut Metadata) -> Result<(), Fault> {
    let start = content.peek(AHEAD)?;
    let start = &start[..start.len().min(limit)];
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
