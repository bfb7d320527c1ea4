//! Digests: `algorithm:hex` (image-spec `descriptor.md`, "Digests").

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The digest of `{}`, the content that image-spec calls the empty descriptor. It stands for "nothing" wherever it occurs.
pub const EMPTY_JSON: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// A digest algorithm that this registry computes and verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, the algorithm that every client speaks.
    Sha256,
    /// SHA-512, registered by image-spec beside SHA-256.
    Sha512,
}

impl Algorithm {
    /// The name in a digest, for example `sha256`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The length of a hash in bytes.
    #[must_use]
    pub const fn width(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(DigestError::Algorithm),
        }
    }
}

/// A content digest. Its text form is always lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(Bytes);

/// One variant an algorithm, so that a digest is as wide as its hash and never heap allocated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Bytes {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

/// Why a text is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no colon between algorithm and hash.
    #[error("a digest is written algorithm:hex, for example sha256: and 64 hexadecimal digits")]
    Form,
    /// The algorithm is none that the registry verifies.
    #[error("the digest algorithm is neither sha256 nor sha512")]
    Algorithm,
    /// The hash has the wrong length or holds other characters than `0-9a-f`.
    #[error("the hash must be lower-case hexadecimal of the algorithm's length (64 digits for sha256, 128 for sha512)")]
    Hash,
}

impl Digest {
    /// The digest of a SHA-256 hash.
    #[must_use]
    pub const fn sha256(hash: [u8; 32]) -> Self {
        Self(Bytes::Sha256(hash))
    }

    /// The digest of a SHA-512 hash.
    #[must_use]
    pub const fn sha512(hash: [u8; 64]) -> Self {
        Self(Bytes::Sha512(hash))
    }

    /// The algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            Bytes::Sha256(_) => Algorithm::Sha256,
            Bytes::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The hash.
    #[must_use]
    pub const fn hash(&self) -> &[u8] {
        match &self.0 {
            Bytes::Sha256(hash) => hash,
            Bytes::Sha512(hash) => hash,
        }
    }

    /// The hash of a SHA-256 digest, `None` for another algorithm.
    #[must_use]
    pub const fn as_sha256(&self) -> Option<&[u8; 32]> {
        match &self.0 {
            Bytes::Sha256(hash) => Some(hash),
            Bytes::Sha512(_) => None,
        }
    }

    /// The digest whose hash is `hash`. The length tells the algorithm: 32 bytes are SHA-256, 64 are SHA-512.
    ///
    /// # Errors
    /// [`DigestError::Hash`] for any other length.
    pub fn from_hash(hash: &[u8]) -> Result<Self, DigestError> {
        if let Ok(hash) = <[u8; 32]>::try_from(hash) {
            return Ok(Self::sha256(hash));
        }
        <[u8; 64]>::try_from(hash).map(Self::sha512).map_err(|_| DigestError::Hash)
    }

    /// The hash as lower-case hexadecimal, without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.hash())
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, digits) = text.split_once(':').ok_or(DigestError::Form)?;
        let algorithm: Algorithm = algorithm.parse()?;
        if digits.bytes().any(|b| b.is_ascii_uppercase()) || digits.len() != algorithm.width() * 2 {
            return Err(DigestError::Hash);
        }
        let mut hash = [0; 64];
        let hash = &mut hash[..algorithm.width()];
        hex::decode_to_slice(digits, hash).map_err(|_| DigestError::Hash)?;
        Self::from_hash(hash)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm().as_str(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        for text in [EMPTY_JSON.to_owned(), format!("sha512:{}", "0f".repeat(64))] {
            assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_digest_says_why() {
        for (text, why) in [
            ("sha256", DigestError::Form),
            ("md5:d41d8cd98f00b204e9800998ecf8427e", DigestError::Algorithm),
            ("sha256:abc", DigestError::Hash),
            (&EMPTY_JSON.to_uppercase().replace("SHA256", "sha256"), DigestError::Hash),
            (&format!("sha256:{}", "g".repeat(64)), DigestError::Hash),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(why), "{text}");
        }
    }
}
