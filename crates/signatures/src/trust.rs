//! Whom the operator trusts: what is configured, and nothing else.

use std::fmt;

use oci::{Algorithm, Digest, Hasher};

use crate::{
    json::encode,
    key::{KeyError, PublicKey},
    pattern::{PATTERN_LIMIT, Pattern},
    root::{Root, RootError},
};

/// How many keys, and how many identities, may be configured: each signature is tried with every key.
pub const SIGNERS: usize = 64;

/// The version of the rules that outcomes follow. It changes whenever this crate starts to judge the same bytes
/// otherwise, so that outcomes are recomputed then too.
const RULES: &str = "pedigree signatures 1";

/// Whom to believe: public keys, identities that certificates may name, and the root that vouches for certificates and
/// for times.
#[derive(Clone, Default)]
pub struct Trust {
    pub(crate) keys: Vec<Key>,
    pub(crate) identities: Vec<Identity>,
    pub(crate) root: Option<Root>,
}

/// A configured key.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) key: PublicKey,
    pub(crate) fingerprint: Digest,
}

/// Whom a certificate may name.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) issuer: Pattern,
    pub(crate) subject: Pattern,
}

/// What is wrong with the configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A key cannot be used.
    #[error("the key {name} cannot be used: {why}")]
    Key {
        /// The name of the key.
        name: String,
        /// What is wrong with it.
        why: KeyError,
    },
    /// Two keys have one name, or are one key.
    #[error("the key {name} is configured twice, the second time as {other}")]
    Twice {
        /// The name of the first.
        name: String,
        /// The name of the second.
        other: String,
    },
    /// A pattern is empty or too long.
    #[error("the pattern of issuer {issuer:?} and subject {subject:?} is empty in part, or over {PATTERN_LIMIT} bytes")]
    Pattern {
        /// The pattern of issuers.
        issuer: String,
        /// The pattern of subjects.
        subject: String,
    },
    /// There are too many keys or identities.
    #[error("more than {SIGNERS} {0} are configured")]
    TooMany(&'static str),
    /// The trusted root cannot be used.
    #[error("the trusted root cannot be used: {0}")]
    Root(#[from] RootError),
}

impl Trust {
    /// Nobody: every signature is unverified.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether no signature can ever be verified.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.keys.is_empty() && (self.identities.is_empty() || self.root.is_none())
    }

    /// Adds the public key of a PEM file.
    ///
    /// # Errors
    /// [`TrustError::Key`] with the name for what is no such key or of a kind that is not supported,
    /// [`TrustError::Twice`] for a name or a key that is there already, [`TrustError::TooMany`] past [`SIGNERS`].
    pub fn add_key(&mut self, name: &str, pem: &[u8]) -> Result<(), TrustError> {
        let key = PublicKey::from_pem(pem).map_err(|why| TrustError::Key { name: name.to_owned(), why })?;
        let fingerprint = Hasher::digest(Algorithm::Sha256, key.spki());
        if let Some(first) = self.keys.iter().find(|key| key.name == name || key.fingerprint == fingerprint) {
            return Err(TrustError::Twice { name: first.name.clone(), other: name.to_owned() });
        }
        if self.keys.len() == SIGNERS {
            return Err(TrustError::TooMany("keys"));
        }
        self.keys.push(Key { name: name.to_owned(), key, fingerprint });
        Ok(())
    }

    /// Adds whom a certificate may name: the OIDC issuer, and the subject (an e-mail address, URI or DNS name), either
    /// exact or with `*` for any characters.
    ///
    /// # Errors
    /// [`TrustError::Pattern`] for an empty or overlong pattern, [`TrustError::TooMany`] past [`SIGNERS`].
    pub fn add_identity(&mut self, issuer: &str, subject: &str) -> Result<(), TrustError> {
        let (Some(issuer), Some(subject)) = (Pattern::new(issuer), Pattern::new(subject)) else {
            return Err(TrustError::Pattern { issuer: issuer.to_owned(), subject: subject.to_owned() });
        };
        if self.identities.len() == SIGNERS {
            return Err(TrustError::TooMany("identities"));
        }
        self.identities.push(Identity { issuer, subject });
        Ok(())
    }

    /// Sets the root: a sigstore TrustedRoot in JSON. It replaces one that is there.
    ///
    /// # Errors
    /// [`TrustError::Root`] for what is no such document.
    pub fn set_root(&mut self, json: &[u8]) -> Result<(), TrustError> {
        self.root = Some(Root::parse(json)?);
        Ok(())
    }

    /// The names and fingerprints (SHA-256 of the SubjectPublicKeyInfo) of the configured keys.
    pub fn keys(&self) -> impl Iterator<Item = (&str, Digest)> {
        self.keys.iter().map(|key| (key.name.as_str(), key.fingerprint))
    }

    /// A digest of all that an outcome depends on besides the signed bytes. An outcome under another fingerprint has to
    /// be computed anew. The order of configuration does not matter.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        let keys = self.keys.iter().map(|key| ["key", &key.name, &key.fingerprint.to_string()].map(str::to_owned));
        let identities = self
            .identities
            .iter()
            .map(|identity| ["identity", identity.issuer.as_str(), identity.subject.as_str()].map(str::to_owned));
        let root = self.root.iter().map(|root| ["root", &root.digest.to_string(), ""].map(str::to_owned));
        let mut facts: Vec<_> = keys.chain(identities).chain(root).collect();
        facts.sort_unstable();
        facts.dedup();
        let mut hasher = Hasher::new(Algorithm::Sha256);
        for text in std::iter::once(RULES).chain(facts.iter().flatten().map(String::as_str)) {
            hasher.update(&(text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finish()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("keys", &self.keys.iter().map(|key| &key.name).collect::<Vec<_>>())
            .field("identities", &self.identities)
            .field("root", &self.root.as_ref().map(|root| root.digest))
            .finish()
    }
}

impl Key {
    /// Whether a hint of a signature names this key: by its name, or by its fingerprint as hexadecimal (with or without
    /// `sha256:`) or as base64, as cosign writes it.
    pub(crate) fn is_named(&self, hint: &str) -> bool {
        let digits = hint.get(..7).filter(|prefix| prefix.eq_ignore_ascii_case("sha256:")).map_or(hint, |_| &hint[7..]);
        hint == self.name
            || digits.eq_ignore_ascii_case(&self.fingerprint.hex())
            || digits.trim_end_matches('=') == encode(self.fingerprint.hash()).trim_end_matches('=')
    }
}
