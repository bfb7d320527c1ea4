//! RFC 3161 timestamps: a TimeStampResp, or only the token in it, which is CMS SignedData (RFC 5652) about a TSTInfo.

use aws_lc_rs::digest;
use der::asn1::ObjectIdentifier;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

use crate::{
    CHAIN_LIMIT,
    asn1::{GENERALIZED_TIME, INTEGER, Items, NotDer, OCTET_STRING, OID, SEQUENCE, SET, context, item},
    certificate::{Fields, TIME_STAMPING, chained},
    key::PublicKey,
    root::Root,
    unverified::NoTime,
};

/// How many bytes a timestamp may have. It may bring certificates.
const STAMP_LIMIT: usize = 1 << 18;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const STAMP_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// The time of a timestamp of one of `stamped`, in microseconds since 1970.
pub(crate) fn time<'a>(root: &Root, stamp: &[u8], stamped: impl Iterator<Item = &'a [u8]>) -> Result<i64, NoTime> {
    if stamp.len() > STAMP_LIMIT {
        return Err(NoTime::BrokenTimestamp);
    }
    let signed = SignedData::parse(stamp).map_err(|NotDer| NoTime::BrokenTimestamp)?;
    let info = Info::parse(signed.content).map_err(|NotDer| NoTime::BrokenTimestamp)?;
    if !stamped.into_iter().any(|bytes| info.is_of(bytes)) {
        return Err(NoTime::OtherTimestamp);
    }
    let trusted = root.timestampers.iter().filter(|authority| authority.valid.contains(info.at)).any(|authority| {
        authority.chain.iter().chain(&signed.certificates).any(|der| {
            signed.signer.signed(signed.content, der)
                && chained(der, authority, &signed.certificates, info.at, TIME_STAMPING).is_ok()
        })
    });
    if trusted { Ok(info.at) } else { Err(NoTime::UnknownTimestamper) }
}

/// What is signed, and by whom.
struct SignedData<'a> {
    /// The TSTInfo.
    content: &'a [u8],
    certificates: Vec<CertificateDer<'static>>,
    signer: Signer<'a>,
}

impl<'a> SignedData<'a> {
    fn parse(stamp: &'a [u8]) -> Result<Self, NotDer> {
        let mut fields = Items::within(stamp, SEQUENCE)?;
        // A response begins with a status, a token with an object identifier.
        let mut token = match fields.next()?.ok_or(NotDer)? {
            status if status.tag == SEQUENCE => {
                let token = fields.enter(SEQUENCE)?;
                fields.end()?;
                token
            }
            kind if kind.tag == OID => Items::within(stamp, SEQUENCE)?,
            _ => return Err(NotDer),
        };
        if token.oid()? != SIGNED_DATA {
            return Err(NotDer);
        }
        let mut fields = token.enter(context(0))?.enter(SEQUENCE)?;
        fields.take(INTEGER)?; // version
        fields.take(SET)?; // digest algorithms
        let mut encapsulated = fields.enter(SEQUENCE)?;
        if encapsulated.oid()? != STAMP_INFO {
            return Err(NotDer);
        }
        let content = encapsulated.enter(context(0))?.take(OCTET_STRING)?.value;
        let certificates = match fields.optional(context(0))? {
            Some(item) => certificates(Items::concatenated(item.value))?,
            None => Vec::new(),
        };
        fields.optional(context(1))?; // revocation lists
        // Nobody but the authority signs a token (RFC 3161, 2.4.2).
        let mut signers = fields.enter(SET)?;
        let signer = Signer::parse(signers.take(SEQUENCE)?.whole)?;
        signers.end()?;
        fields.end()?;
        Ok(Self { content, certificates, signer })
    }
}

fn certificates(mut items: Items<'_>) -> Result<Vec<CertificateDer<'static>>, NotDer> {
    let mut list = Vec::new();
    while let Some(item) = items.next()? {
        if list.len() == CHAIN_LIMIT {
            return Err(NotDer);
        }
        list.push(CertificateDer::from(item.whole.to_vec()));
    }
    Ok(list)
}

/// A SignerInfo with signed attributes, which timestamps always have (RFC 5652, 5.3).
struct Signer<'a> {
    hash: &'static digest::Algorithm,
    /// The attributes in the form in which they are signed: as a SET, with its own tag.
    attributes: Vec<u8>,
    message_digest: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signer<'a> {
    fn parse(info: &'a [u8]) -> Result<Self, NotDer> {
        let mut fields = Items::within(info, SEQUENCE)?;
        fields.take(INTEGER)?; // version
        fields.next()?; // identifier: whoever can be shown to have signed is who signed
        let hash = algorithm(fields.algorithm()?)?;
        let attributes = fields.take(context(0))?.value;
        fields.take(SEQUENCE)?; // signature algorithm: that of the key, with the hash above
        let signature = fields.take(OCTET_STRING)?.value;
        let (mut is_stamp, mut message_digest) = (false, None);
        let mut items = Items::concatenated(attributes);
        while let Some(item) = items.next()? {
            let mut attribute = Items::within(item.whole, SEQUENCE)?;
            let (id, mut values) = (attribute.oid()?, attribute.enter(SET)?);
            match id {
                CONTENT_TYPE => is_stamp = values.oid()? == STAMP_INFO,
                MESSAGE_DIGEST if message_digest.is_some() => return Err(NotDer),
                MESSAGE_DIGEST => message_digest = Some(values.take(OCTET_STRING)?.value),
                _ => continue,
            }
            values.end()?;
        }
        let message_digest = message_digest.filter(|_| is_stamp).ok_or(NotDer)?;
        Ok(Self { hash, attributes: item(SET, attributes)?, message_digest, signature })
    }

    /// Whether the certificate's key signed the content.
    fn signed(&self, content: &[u8], certificate: &CertificateDer<'_>) -> bool {
        if digest::digest(self.hash, content).as_ref() != self.message_digest {
            return false;
        }
        let key = Fields::parse(certificate).ok().and_then(|fields| PublicKey::from_spki(fields.spki).ok());
        key.is_some_and(|key| key.verify_with(self.hash, &self.attributes, self.signature))
    }
}

/// A TSTInfo (RFC 3161, 2.4.2).
struct Info<'a> {
    hash: &'static digest::Algorithm,
    hashed: &'a [u8],
    at: i64,
}

impl<'a> Info<'a> {
    fn parse(info: &'a [u8]) -> Result<Self, NotDer> {
        let mut fields = Items::within(info, SEQUENCE)?;
        fields.take(INTEGER)?; // version
        fields.take(OID)?; // policy
        let mut imprint = fields.enter(SEQUENCE)?;
        let hash = algorithm(imprint.algorithm()?)?;
        let hashed = imprint.take(OCTET_STRING)?.value;
        fields.take(INTEGER)?; // serial number
        let at = time_of(fields.take(GENERALIZED_TIME)?.value).ok_or(NotDer)?;
        Ok(Self { hash, hashed, at })
    }

    fn is_of(&self, bytes: &[u8]) -> bool {
        digest::digest(self.hash, bytes).as_ref() == self.hashed
    }
}

fn algorithm(id: ObjectIdentifier) -> Result<&'static digest::Algorithm, NotDer> {
    match id {
        SHA256 => Ok(&digest::SHA256),
        SHA384 => Ok(&digest::SHA384),
        SHA512 => Ok(&digest::SHA512),
        _ => Err(NotDer),
    }
}

/// `YYYYMMDDhhmmss[.s]Z` in microseconds since 1970. It may have a fraction here, which is rare elsewhere.
fn time_of(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if whole.len() != 14 || !digits(whole) || fraction.is_empty() || fraction.len() > 9 || !digits(fraction) {
        return None;
    }
    let (date, clock) = whole.split_at(8);
    let text = format!(
        "{}-{}-{}T{}:{}:{}.{fraction}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &clock[..2],
        &clock[2..4],
        &clock[4..]
    );
    text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_have_a_fraction() {
        assert_eq!(time_of(b"19700101000001Z"), Some(1_000_000));
        assert_eq!(time_of(b"19700101000001.25Z"), Some(1_250_000));
        for text in ["19700101000001", "1970010100000Z", "19700101000001.Z", "19701301000001Z", "19700101 00001Z", "Z"]
        {
            assert_eq!(time_of(text.as_bytes()), None, "{text}");
        }
    }
}
