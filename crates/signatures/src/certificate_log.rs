//! The promise of a log of certificates to log one (RFC 6962, "Signed Certificate Timestamp"), kept in the certificate
//! itself. Without it, an authority could name anybody unseen.

use der::asn1::ObjectIdentifier;
use oci::{Algorithm, Hasher};

use crate::{
    asn1::{Items, NotDer, OCTET_STRING, SEQUENCE, context, item},
    key::{Message, Verdict},
    root::Log,
};

const PROMISES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");

/// How many promises of a certificate are read. Fulcio's have one.
const LIMIT: usize = 16;

/// Whether one of the logs promised to log the certificate, issued by the owner of that SubjectPublicKeyInfo.
pub(crate) fn vouches(logs: &[Log], certificate: &[u8], issuer: &[u8]) -> bool {
    let Ok((signed, promises)) = split(certificate) else { return false };
    let issuer = Hasher::digest(Algorithm::Sha256, issuer);
    let promises = std::iter::successors(take(promises), |(_, rest)| take(rest));
    promises.take(LIMIT).filter_map(|(bytes, _)| Promise::parse(bytes)).any(|promise| {
        let at = i64::try_from(promise.milliseconds).ok().and_then(|at| at.checked_mul(1000));
        let logs = logs.iter().filter(|log| log.id == promise.log && at.is_some_and(|at| log.valid.contains(at)));
        let bytes = promise.message(issuer.hash(), &signed);
        let message = Message::new(&bytes);
        logs.into_iter().any(|log| log.key.verify(&message, promise.signature) == Verdict::Good)
    })
}

/// What was logged of a certificate, its TBSCertificate without the promises; and the promises, one after another.
fn split(certificate: &[u8]) -> Result<(Vec<u8>, &[u8]), NotDer> {
    let mut fields = Items::within(certificate, SEQUENCE)?.enter(SEQUENCE)?;
    let (mut kept, mut promises) = (Vec::new(), None);
    while let Some(field) = fields.next()? {
        if field.tag != context(3) {
            kept.extend_from_slice(field.whole);
            continue;
        }
        let mut extensions = Items::within(field.value, SEQUENCE)?;
        let mut others = Vec::new();
        while let Some(extension) = extensions.next()? {
            let mut parts = Items::within(extension.whole, SEQUENCE)?;
            if parts.oid()? == PROMISES {
                promises =
                    Some(Items::within(parts.take(OCTET_STRING)?.whole, OCTET_STRING)?.take(OCTET_STRING)?.value);
            } else {
                others.extend_from_slice(extension.whole);
            }
        }
        kept.extend(item(context(3), &item(SEQUENCE, &others)?)?);
    }
    let (list, rest) = take(promises.ok_or(NotDer)?).ok_or(NotDer)?;
    if rest.is_empty() { Ok((item(SEQUENCE, &kept)?, list)) } else { Err(NotDer) }
}

/// A promise of the first version.
struct Promise<'a> {
    log: &'a [u8],
    /// Since 1970.
    milliseconds: u64,
    extensions: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Promise<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (_, rest) = bytes.split_first().filter(|(version, _)| **version == 0)?;
        let (log, rest) = rest.split_at_checked(32)?;
        let (milliseconds, rest) = rest.split_first_chunk()?;
        let (extensions, rest) = take(rest)?;
        // The algorithm is that of the log's key.
        let (signature, rest) = take(rest.get(2..)?)?;
        let milliseconds = u64::from_be_bytes(*milliseconds);
        rest.is_empty().then_some(Self { log, milliseconds, extensions, signature })
    }

    /// What the promise signs: that of a precertificate.
    fn message(&self, issuer: &[u8], signed: &[u8]) -> Vec<u8> {
        let length = u32::try_from(signed.len()).unwrap_or(u32::MAX).to_be_bytes();
        let extensions = u16::try_from(self.extensions.len()).unwrap_or(u16::MAX).to_be_bytes();
        let milliseconds = self.milliseconds.to_be_bytes();
        [&[0, 0], &milliseconds[..], &[0, 1], issuer, &length[1..], signed, &extensions, self.extensions].concat()
    }
}

/// The bytes that a length of two bytes stands before, and the rest.
fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}
