//! DER taken apart item by item (X.690), for the structures of which only some fields matter here.

use der::{
    Decode as _, Encode as _, Reader as _, SliceReader,
    asn1::{AnyRef, ObjectIdentifier},
};

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// The tag of a constructed, context-specific item.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// What is not DER, or not of the expected form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotDer;

impl From<der::Error> for NotDer {
    fn from(_: der::Error) -> Self {
        Self
    }
}

/// One item: its tag as the byte that stands there, its contents, and both with the length between them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    pub(crate) tag: u8,
    pub(crate) value: &'a [u8],
    pub(crate) whole: &'a [u8],
}

/// Items that stand one after another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    /// The items of which `bytes` are the concatenation.
    pub(crate) const fn concatenated(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What `bytes` hold if they are one item of that tag and nothing else.
    pub(crate) fn within(bytes: &'a [u8], tag: u8) -> Result<Self, NotDer> {
        let mut outer = Self(bytes);
        let inner = outer.take(tag)?;
        outer.end()?;
        Ok(Self(inner.value))
    }

    /// The next item, `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Item<'a>>, NotDer> {
        let Some(&tag) = self.0.first() else { return Ok(None) };
        let whole = SliceReader::new(self.0)?.tlv_bytes()?;
        let value = AnyRef::from_der(whole)?.value();
        self.0 = self.0.get(whole.len()..).ok_or(NotDer)?;
        Ok(Some(Item { tag, value, whole }))
    }

    /// The next item, which must have that tag.
    pub(crate) fn take(&mut self, tag: u8) -> Result<Item<'a>, NotDer> {
        self.next()?.filter(|item| item.tag == tag).ok_or(NotDer)
    }

    /// The next item if it has that tag; else nothing is taken.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Item<'a>>, NotDer> {
        if self.0.first() == Some(&tag) { self.next() } else { Ok(None) }
    }

    /// What the next item of that tag holds.
    pub(crate) fn enter(&mut self, tag: u8) -> Result<Self, NotDer> {
        Ok(Self(self.take(tag)?.value))
    }

    /// The next item, an object identifier.
    pub(crate) fn oid(&mut self) -> Result<ObjectIdentifier, NotDer> {
        Ok(ObjectIdentifier::from_der(self.take(OID)?.whole)?)
    }

    /// The object identifier of the next item, an AlgorithmIdentifier (RFC 5280, 4.1.1.2). Its parameters are skipped.
    pub(crate) fn algorithm(&mut self) -> Result<ObjectIdentifier, NotDer> {
        self.enter(SEQUENCE)?.oid()
    }

    /// That nothing is left.
    pub(crate) fn end(self) -> Result<(), NotDer> {
        if self.0.is_empty() { Ok(()) } else { Err(NotDer) }
    }
}

impl<'a> Item<'a> {
    /// The bits of a BIT STRING of whole bytes.
    pub(crate) fn bits(self) -> Result<&'a [u8], NotDer> {
        match self.value.split_first() {
            Some((0, bits)) if self.tag == BIT_STRING => Ok(bits),
            _ => Err(NotDer),
        }
    }
}

/// An item made of its tag and contents.
pub(crate) fn item(tag: u8, value: &[u8]) -> Result<Vec<u8>, NotDer> {
    let mut whole = vec![tag];
    der::Length::try_from(value.len())?.encode_to_vec(&mut whole)?;
    whole.extend_from_slice(value);
    Ok(whole)
}
