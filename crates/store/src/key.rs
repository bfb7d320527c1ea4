//! The whole layout of the store.

use std::fmt;

/// The key of an object: unique, unguessable, and final from the first byte on. It says nothing about the content, so two
/// pushes of the same bytes never meet, and a deleted blob that comes back is another object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(String);

impl Key {
    /// The key of a new object. `chance` is 128 random bits.
    #[must_use]
    pub fn new(chance: u128) -> Self {
        let id = format!("{chance:032x}");
        // The folders keep any one of them small; 65,536 of them are enough for a hundred million objects.
        Self(format!("blobs/{}/{}/{id}", &id[..2], &id[2..4]))
    }

    /// Reads a key as [`Key::as_str`] writes it.
    ///
    /// # Errors
    /// The text, when it is not one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split('/').collect();
        match parts[..] {
            ["blobs", a, b, id] if id.len() == 32 && is_hex(id) && id[..2] == *a && id[2..4] == *b => {
                Ok(Self(text.into()))
            }
            _ => Err(text.into()),
        }
    }

    /// The text that the index records.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back() {
        let key = Key::new(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(key.as_str(), "blobs/01/23/0123456789abcdef0123456789abcdef");
        assert_eq!(Key::parse(key.as_str()), Ok(key));
        for bad in ["", "blobs/00/23/0123456789abcdef0123456789abcdef", "blobs/01/23/../../x", "blobs/01/23/01"] {
            assert!(Key::parse(bad).is_err(), "{bad}");
        }
    }
}
