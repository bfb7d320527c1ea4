//! Public keys, and what they verify.

use std::cell::OnceCell;

use aws_lc_rs::{
    digest::{self, Digest, SHA256, SHA384, SHA512},
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
        ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
        VerificationAlgorithm,
    },
};
use der::asn1::ObjectIdentifier;
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};

use crate::asn1::{BIT_STRING, INTEGER, Items, NotDer, OID, SEQUENCE};

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const EDWARDS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// How long an RSA key may be, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The file is not PEM, or holds no public key.
    #[error("it holds no PEM block `PUBLIC KEY`")]
    NoKey,
    /// The file holds a private key, which nobody should give to a registry.
    #[error("it holds a private key: give the public key only, and consider the private key disclosed")]
    Private,
    /// The file holds more than one public key.
    #[error("it holds more than one public key: a file is a key, named after the file")]
    Several,
    /// The block is not a SubjectPublicKeyInfo (RFC 5280, 4.1.2.7), or the key is no valid one of its kind.
    #[error("its public key is broken: it is no valid SubjectPublicKeyInfo")]
    Broken,
    /// The key is of a kind that nothing is verified with.
    #[error("its kind of key ({0}) is not supported: use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more")]
    Kind(String),
    /// The RSA key is too short, or too long to be worth the time.
    #[error("its RSA key has {0} bits: 2048 to 8192 are accepted")]
    Length(usize),
}

/// A public key.
#[derive(Clone)]
pub(crate) struct PublicKey {
    kind: Kind,
    /// The key alone, in the form that the algorithms take.
    bytes: Vec<u8>,
    /// The SubjectPublicKeyInfo.
    spki: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    Ed25519,
    Rsa,
}

/// What was signed. It is hashed once, however many keys and signatures are tried.
pub(crate) struct Message<'a> {
    /// `None` where only the hash is to be had.
    bytes: Option<&'a [u8]>,
    sha256: Digest,
    sha384: OnceCell<Digest>,
}

impl<'a> Message<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: Some(bytes), sha256: digest::digest(&SHA256, bytes), sha384: OnceCell::new() }
    }

    /// The message with that SHA-256 hash, which nobody has. `None` for what is no such hash.
    pub(crate) fn of_hash(sha256: &[u8]) -> Option<Self> {
        let sha256 = Digest::import_less_safe(sha256, &SHA256).ok()?;
        Some(Self { bytes: None, sha256, sha384: OnceCell::new() })
    }

    /// Whether that is its hash; for another algorithm than SHA-256, `None` without the bytes.
    pub(crate) fn has_hash(&self, algorithm: &'static digest::Algorithm, hash: &[u8]) -> Option<bool> {
        if algorithm == &SHA256 {
            return Some(self.sha256.as_ref() == hash);
        }
        self.bytes.map(|bytes| digest::digest(algorithm, bytes).as_ref() == hash)
    }

    fn sha384(&self) -> Option<&Digest> {
        self.bytes.map(|bytes| self.sha384.get_or_init(|| digest::digest(&SHA384, bytes)))
    }
}

/// Whether a signature is one of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    Bad,
    /// Only the bytes themselves would tell.
    NeedsBytes,
}

impl PublicKey {
    /// The only public key of a PEM file.
    pub(crate) fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        // Encrypted ones have names of their own, and a parser may not know them.
        if text.windows(PRIVATE.len()).any(|window| window == PRIVATE) {
            return Err(KeyError::Private);
        }
        let mut keys = SubjectPublicKeyInfoDer::pem_slice_iter(text);
        let Some(Ok(key)) = keys.next() else { return Err(KeyError::NoKey) };
        if keys.next().is_some() {
            return Err(KeyError::Several);
        }
        Self::from_spki(&key)
    }

    /// The key of a SubjectPublicKeyInfo in DER.
    pub(crate) fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        let (algorithm, curve, bytes) = parse(spki).map_err(|NotDer| KeyError::Broken)?;
        let kind = match (algorithm, curve) {
            (EC, Some(P256)) => Kind::P256,
            (EC, Some(P384)) => Kind::P384,
            (EC, Some(curve)) => return Err(KeyError::Kind(format!("ECDSA, curve {curve}"))),
            (EDWARDS, _) => Kind::Ed25519,
            (RSA, _) => Kind::Rsa,
            (other, _) => return Err(KeyError::Kind(other.to_string())),
        };
        if kind == Kind::Rsa {
            let bits = modulus_bits(bytes).map_err(|NotDer| KeyError::Broken)?;
            if !RSA_BITS.contains(&bits) {
                return Err(KeyError::Length(bits));
            }
        }
        let key = Self { kind, bytes: bytes.to_vec(), spki: spki.to_vec() };
        let any: &'static dyn VerificationAlgorithm = match kind {
            Kind::P256 => &ECDSA_P256_SHA256_ASN1,
            Kind::P384 => &ECDSA_P384_SHA384_ASN1,
            Kind::Ed25519 => &ED25519,
            Kind::Rsa => &RSA_PKCS1_2048_8192_SHA256,
        };
        if UnparsedPublicKey::new(any, bytes).parse().is_ok() { Ok(key) } else { Err(KeyError::Broken) }
    }

    /// The SubjectPublicKeyInfo, in DER.
    pub(crate) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Whether `signature` is one of `message` by this key.
    pub(crate) fn verify(&self, message: &Message<'_>, signature: &[u8]) -> Verdict {
        let of_hash = |by: &'static dyn VerificationAlgorithm, hash: &Digest| {
            UnparsedPublicKey::new(by, &self.bytes).verify_digest(hash, signature).is_ok()
        };
        let good = match self.kind {
            Kind::P256 => of_hash(&ECDSA_P256_SHA256_ASN1, &message.sha256),
            // Cosign long signed SHA-256 hashes with whatever key it had.
            Kind::P384 if of_hash(&ECDSA_P384_SHA256_ASN1, &message.sha256) => true,
            Kind::P384 => match message.sha384() {
                Some(hash) => of_hash(&ECDSA_P384_SHA384_ASN1, hash),
                None => return Verdict::NeedsBytes,
            },
            Kind::Ed25519 => match message.bytes {
                Some(bytes) => UnparsedPublicKey::new(&ED25519, &self.bytes).verify(bytes, signature).is_ok(),
                None => return Verdict::NeedsBytes,
            },
            Kind::Rsa => {
                of_hash(&RSA_PKCS1_2048_8192_SHA256, &message.sha256)
                    || of_hash(&RSA_PSS_2048_8192_SHA256, &message.sha256)
            }
        };
        if good { Verdict::Good } else { Verdict::Bad }
    }

    /// Whether `signature` is one of `message` by this key and that hash. RSA is PKCS#1 v1.5 here.
    pub(crate) fn verify_with(&self, hash: &'static digest::Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let by_hash: [(_, &'static dyn VerificationAlgorithm); 3] = match self.kind {
            Kind::P256 => [
                (&SHA256, &ECDSA_P256_SHA256_ASN1),
                (&SHA384, &ECDSA_P256_SHA384_ASN1),
                (&SHA512, &ECDSA_P256_SHA512_ASN1),
            ],
            Kind::P384 => [
                (&SHA256, &ECDSA_P384_SHA256_ASN1),
                (&SHA384, &ECDSA_P384_SHA384_ASN1),
                (&SHA512, &ECDSA_P384_SHA512_ASN1),
            ],
            Kind::Ed25519 => [(&SHA256, &ED25519), (&SHA384, &ED25519), (&SHA512, &ED25519)],
            Kind::Rsa => [
                (&SHA256, &RSA_PKCS1_2048_8192_SHA256),
                (&SHA384, &RSA_PKCS1_2048_8192_SHA384),
                (&SHA512, &RSA_PKCS1_2048_8192_SHA512),
            ],
        };
        let fitting = by_hash.into_iter().find(|(of, _)| *of == hash);
        fitting.is_some_and(|(_, by)| UnparsedPublicKey::new(by, &self.bytes).verify(message, signature).is_ok())
    }
}

const PRIVATE: &[u8] = b"PRIVATE KEY-----";

/// The algorithm of a SubjectPublicKeyInfo, its parameter where that is an object identifier, and the key.
fn parse(spki: &[u8]) -> Result<(ObjectIdentifier, Option<ObjectIdentifier>, &[u8]), NotDer> {
    let mut fields = Items::within(spki, SEQUENCE)?;
    let mut algorithm = fields.enter(SEQUENCE)?;
    let key = fields.take(BIT_STRING)?.bits()?;
    fields.end()?;
    let kind = algorithm.oid()?;
    let mut parameters = algorithm;
    let curve = match algorithm.next()? {
        Some(item) if item.tag == OID => Some(parameters.oid()?),
        _ => None,
    };
    Ok((kind, curve, key))
}

/// How long the modulus of an RSAPublicKey is (RFC 8017, A.1.1).
fn modulus_bits(key: &[u8]) -> Result<usize, NotDer> {
    let modulus = Items::within(key, SEQUENCE)?.take(INTEGER)?.value;
    let zeroes = modulus.iter().take_while(|&&byte| byte == 0).count();
    let digits = &modulus[zeroes..];
    let first = digits.first().ok_or(NotDer)?;
    Ok(digits.len() * 8 - first.leading_zeros() as usize)
}
