//! The certificate of a signer: whom it names, and whether it was good at a time.
//!
//! Fulcio's certificates (sigstore `certificate-specification.md`) name the identity as the subject alternative name and
//! who attested it in an extension.

use der::asn1::ObjectIdentifier;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error, KeyUsage};

use crate::{
    asn1::{BOOLEAN, INTEGER, Items, NotDer, OCTET_STRING, SEQUENCE, UTF8_STRING, context},
    certificate_log,
    key::PublicKey,
    root::{Authority, Root},
    unverified::Unverified,
};

/// The OIDC issuer as a DER text, and as older certificates have it, as bare bytes.
const ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
const OLD_ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
const ALTERNATIVE_NAMES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// The contents of the object identifiers 1.3.6.1.5.5.7.3.3 and .8 (RFC 5280, 4.2.1.12).
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];
pub(crate) const TIME_STAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];

/// How many bytes and how many extensions a certificate may have.
const SIZE: usize = 64 << 10;
const EXTENSIONS: usize = 64;

/// How many names of a certificate are read. Fulcio gives one.
const NAMES: usize = 16;

/// What a certificate says.
pub(crate) struct Leaf {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key: PublicKey,
    pub(crate) issuer: String,
    /// E-mail addresses, URIs and DNS names.
    pub(crate) subjects: Vec<String>,
}

impl Leaf {
    /// # Errors
    /// What is wrong with it, for people.
    pub(crate) fn parse(der: &CertificateDer<'_>) -> Result<Self, &'static str> {
        let fields = Fields::parse(der).map_err(|NotDer| "it is no X.509 certificate of some 64 KiB at most")?;
        let key = PublicKey::from_spki(fields.spki).map_err(|_| "its kind of key is not supported")?;
        let (mut issuer, mut old_issuer, mut subjects) = (None, None, Vec::new());
        let mut seen = Vec::new();
        for Extension { id, value } in fields.extensions() {
            // A second one could mean something else to somebody else (RFC 5280, 4.2).
            if seen.contains(&id) {
                return Err("it has an extension twice");
            }
            seen.push(id);
            match id {
                ISSUER => issuer = Some(utf8(value).map_err(|NotDer| "its issuer is not text")?),
                OLD_ISSUER => old_issuer = Some(std::str::from_utf8(value).map_err(|_| "its issuer is not text")?),
                ALTERNATIVE_NAMES => subjects = names(value).map_err(|NotDer| "its subject is not text")?,
                _ => {}
            }
        }
        let issuer = issuer.or(old_issuer).filter(|issuer| !issuer.is_empty()).ok_or("it names no OIDC issuer")?;
        if subjects.is_empty() {
            return Err("it names no e-mail address, URI or DNS name");
        }
        Ok(Self { issuer: issuer.to_owned(), subjects, key, der: der.clone().into_owned() })
    }

    /// Whether it was good for signing at a time: valid, and chained to an authority of the root that was in use.
    pub(crate) fn chains(&self, root: &Root, chain: &[CertificateDer<'static>], at: i64) -> Result<(), Unverified> {
        let mut why = Unverified::Chain("no authority of the trusted root was in use".to_owned());
        for authority in root.authorities.iter().filter(|authority| authority.valid.contains(at)) {
            match chained(&self.der, authority, chain, at, CODE_SIGNING) {
                Ok(_) if root.certificate_logs.is_empty() => return Ok(()),
                Ok(issuer) if certificate_log::vouches(&root.certificate_logs, &self.der, &issuer) => return Ok(()),
                Ok(_) => why = Unverified::NoCertificateLog,
                Err(Error::CertExpired { .. } | Error::CertNotValidYet { .. }) => why = Unverified::Expired { at },
                Err(error) if !matches!(why, Unverified::Expired { .. }) => why = Unverified::Chain(error.to_string()),
                Err(_) => {}
            }
        }
        Err(why)
    }
}

/// That a certificate chains to an authority and was valid for a use, at a time in microseconds since 1970. Gives the
/// SubjectPublicKeyInfo of its issuer.
pub(crate) fn chained(
    der: &CertificateDer<'_>,
    authority: &Authority,
    chain: &[CertificateDer<'static>],
    at: i64,
    usage: &'static [u8],
) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    let anchors: &[TrustAnchor<'_>] = std::slice::from_ref(&authority.anchor);
    let between: Vec<_> = authority.chain.iter().chain(chain).cloned().collect();
    let seconds = u64::try_from(at.div_euclid(1_000_000)).map_err(|_| Error::BadDerTime)?;
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let usage = KeyUsage::required(usage);
    let end = EndEntityCert::try_from(der)?;
    end.verify_for_usage(ALL_VERIFICATION_ALGS, anchors, &between, time, usage, None, None)
        .map(|path| path.issuer_spki().into_owned())
}

/// The fields of a certificate that matter here (RFC 5280, 4.1).
pub(crate) struct Fields<'a> {
    pub(crate) spki: &'a [u8],
    extensions: Vec<Extension<'a>>,
}

#[derive(Clone, Copy)]
pub(crate) struct Extension<'a> {
    pub(crate) id: ObjectIdentifier,
    pub(crate) value: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, NotDer> {
        if der.len() > SIZE {
            return Err(NotDer);
        }
        let mut fields = Items::within(der, SEQUENCE)?.enter(SEQUENCE)?;
        fields.take(context(0))?; // version
        fields.take(INTEGER)?; // serial number
        for _ in ["signature algorithm", "issuer", "validity", "subject"] {
            fields.take(SEQUENCE)?;
        }
        let spki = fields.take(SEQUENCE)?.whole;
        let mut extensions = Vec::new();
        while let Some(item) = fields.next()? {
            if item.tag == context(3) {
                extensions = read_extensions(item.value)?;
            }
        }
        Ok(Self { spki, extensions })
    }

    pub(crate) fn extensions(&self) -> impl Iterator<Item = Extension<'a>> {
        self.extensions.iter().copied()
    }
}

fn read_extensions(list: &[u8]) -> Result<Vec<Extension<'_>>, NotDer> {
    let mut items = Items::within(list, SEQUENCE)?;
    let mut extensions = Vec::new();
    while let Some(item) = items.next()? {
        let mut fields = Items::within(item.whole, SEQUENCE)?;
        let id = fields.oid()?;
        fields.optional(BOOLEAN)?; // critical
        let value = fields.take(OCTET_STRING)?.value;
        fields.end()?;
        if extensions.len() == EXTENSIONS {
            return Err(NotDer);
        }
        extensions.push(Extension { id, value });
    }
    Ok(extensions)
}

fn utf8(value: &[u8]) -> Result<&str, NotDer> {
    let mut items = Items::concatenated(value);
    let text = items.take(UTF8_STRING)?.value;
    items.end()?;
    std::str::from_utf8(text).map_err(|_| NotDer)
}

/// The names of the kinds that an identity can be: rfc822Name, dNSName, uniformResourceIdentifier (RFC 5280, 4.2.1.6).
fn names(value: &[u8]) -> Result<Vec<String>, NotDer> {
    const KINDS: [u8; 3] = [0x81, 0x82, 0x86];
    let mut items = Items::within(value, SEQUENCE)?;
    let mut names = Vec::new();
    while let Some(item) = items.next()? {
        if KINDS.contains(&item.tag) {
            let name = std::str::from_utf8(item.value).ok().filter(|name| name.is_ascii() && !name.is_empty());
            names.push(name.ok_or(NotDer)?.to_owned());
            if names.len() > NAMES {
                return Err(NotDer);
            }
        }
    }
    Ok(names)
}
