//! pax extended headers: records `length key=value` and a newline, the length counting itself.

use crate::bytes::Halt;

/// What an extended header says about the next entry, as far as it matters here.
#[derive(Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) sparse: PaxSparse,
}

/// GNU's records about sparse files, of all three formats.
#[derive(Default)]
pub(super) struct PaxSparse {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    /// The size with the holes.
    pub(super) size: Option<u64>,
    /// Offset and length of what is not a hole, alternating. In format 1.0 the body has them.
    pub(super) map: Option<Vec<u64>>,
}

impl Pax {
    /// Reads the records of a header, later ones winning.
    pub(super) fn parse(mut records: &[u8]) -> Result<Self, Halt> {
        let mut pax = Self::default();
        // Some writers pad with zero bytes.
        while records.first().is_some_and(|&byte| byte != 0) {
            let (key, value, rest) = record(records).ok_or_else(broken)?;
            pax.take(key, value)?;
            records = rest;
        }
        Ok(pax)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Halt> {
        // An empty value takes a record back.
        let text = || (!value.is_empty()).then(|| value.to_vec());
        let count = || if value.is_empty() { Ok(None) } else { decimal(value).map(Some).ok_or_else(broken) };
        let sparse = &mut self.sparse;
        match key {
            b"path" => self.path = text(),
            b"size" => self.size = count()?,
            b"GNU.sparse.major" => sparse.major = count()?,
            b"GNU.sparse.minor" => sparse.minor = count()?,
            b"GNU.sparse.name" => sparse.name = text(),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => sparse.size = count()?,
            b"GNU.sparse.map" => {
                let map = value.split(|&byte| byte == b',').filter(|number| !number.is_empty());
                sparse.map = Some(map.map(decimal).collect::<Option<_>>().ok_or_else(broken)?);
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                sparse.map.get_or_insert_default().push(decimal(value).ok_or_else(broken)?);
            }
            b"GNU.sparse.numblocks" => sparse.map = Some(Vec::new()),
            _ => {}
        }
        Ok(())
    }
}

/// Key and value of the first record, and what follows it.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&records[..space])?).ok()?;
    if length > records.len() {
        return None;
    }
    let (record, rest) = records.split_at(length);
    let (record, b"\n") = record.get(space + 1..)?.split_last_chunk::<1>()? else { return None };
    let equals = record.iter().position(|&byte| byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

/// A decimal number that a file's size or offset can have.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits
        .iter()
        .try_fold(0_u64, |number, &byte| {
            if !byte.is_ascii_digit() {
                return None;
            }
            number.checked_mul(10)?.checked_add(u64::from(byte - b'0'))
        })
        .filter(|&number| i64::try_from(number).is_ok())
}

fn broken() -> Halt {
    Halt::Archive("tar: a pax header is malformed".to_owned())
}
