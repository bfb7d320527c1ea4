//! `Range` and `Content-Range` as registries use them.

use std::str::FromStr;

/// Why a range header was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a range is written <first>-<last>, both inclusive")]
pub struct RangeError;

/// The `Content-Range` of an upload chunk: `<first>-<last>`, inclusive, with or without `bytes ` before it
/// (distribution-spec, "Pushing a blob in chunks"; kit sends it bare).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// The offset of the first byte.
    pub first: u64,
    /// The offset of the last byte.
    pub last: u64,
}

impl ContentRange {
    /// The number of bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.last - self.first + 1
    }
}

impl FromStr for ContentRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let text = text.trim();
        let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches([' ', '=']));
        let text = text.split('/').next().unwrap_or(text);
        let (first, last) = text.split_once('-').ok_or(RangeError)?;
        let range = Self { first: number(first)?, last: number(last)? };
        if range.first <= range.last && range.last < u64::MAX { Ok(range) } else { Err(RangeError) }
    }
}

/// One range of a `Range: bytes=…` header (RFC 9110, 14.1.2), not yet held against a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// `first-last`, inclusive.
    Closed(u64, u64),
    /// `first-`, to the end.
    From(u64),
    /// `-n`, the last n bytes.
    Last(u64),
}

impl ByteRange {
    /// The ranges of a header, in its order, at most `most` of them. `None` when the header is to be ignored: another
    /// unit, more ranges than that, or nonsense (RFC 9110, 14.2: an invalid Range header is ignored).
    #[must_use]
    pub fn set(header: &str, most: usize) -> Option<Vec<Self>> {
        let ranges = header.trim().strip_prefix("bytes=")?;
        // A list may have empty elements (RFC 9110, 5.6.1.2).
        let texts: Vec<_> = ranges.split(',').map(str::trim).filter(|text| !text.is_empty()).take(most + 1).collect();
        if texts.is_empty() || texts.len() > most {
            return None;
        }
        texts.into_iter().map(Self::one).collect()
    }

    fn one(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        match (first.trim(), last.trim()) {
            ("", last) => number(last).ok().map(Self::Last),
            (first, "") => number(first).ok().map(Self::From),
            (first, last) => {
                // One that ends before it begins cannot be satisfied; the conformance suite asks for that answer.
                Some(Self::Closed(number(first).ok()?, number(last).ok()?))
            }
        }
    }

    /// First byte and length within `size` bytes. `None` when it cannot be satisfied.
    #[must_use]
    pub const fn within(self, size: u64) -> Option<(u64, u64)> {
        let (first, end) = match self {
            Self::Closed(first, last) => (first, if last < size { last + 1 } else { size }),
            Self::From(first) => (first, size),
            Self::Last(n) => (size.saturating_sub(n), size),
        };
        if first < end { Some((first, end - first)) } else { None }
    }
}

fn number(text: &str) -> Result<u64, RangeError> {
    // `u64::from_str` takes a leading plus; the grammar does not.
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(RangeError);
    }
    // What is larger than any size is beyond its end all the same.
    Ok(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        let range = |first, last| Ok(ContentRange { first, last });
        assert_eq!("0-104857599".parse(), range(0, 104_857_599));
        assert_eq!("bytes 5-9/100".parse(), range(5, 9));
        assert_eq!("bytes=5-5".parse(), range(5, 5));
        for bad in ["", "5", "9-5", "-5", "5-", "+1-2", "a-b", "0-18446744073709551615"] {
            assert_eq!(bad.parse::<ContentRange>(), Err(RangeError), "{bad}");
        }
    }

    #[test]
    fn byte_ranges() {
        let one = |header: &str| match ByteRange::set(header, 2)?[..] {
            [range] => range.within(10),
            _ => panic!("{header} has one range"),
        };
        assert_eq!(one("bytes=0-0"), Some((0, 1)));
        assert_eq!(one("bytes=5-99"), Some((5, 5)));
        assert_eq!(one("bytes=5-"), Some((5, 5)));
        assert_eq!(one("bytes=-3"), Some((7, 3)));
        assert_eq!(one("bytes=-30"), Some((0, 10)));
        assert_eq!(one("bytes=10-"), None);
        assert_eq!(one("bytes=5-2"), None);
        assert_eq!(one("bytes=-0"), None);
        let several = ByteRange::set("bytes= 0-1,, 3-\t, ", 2);
        assert_eq!(several, Some(vec![ByteRange::Closed(0, 1), ByteRange::From(3)]));
        for ignored in ["items=0-1", "bytes=0-1,3-4,6-7", "bytes=x", "bytes=-", "bytes=", "bytes=,", "bytes=0-1,x"] {
            assert_eq!(ByteRange::set(ignored, 2), None, "{ignored}");
        }
    }
}
