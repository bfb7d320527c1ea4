//! What has to be remembered of an object that is uploaded in parts.

use object_store::multipart::PartId;
use oci::{Algorithm, Hasher};
use serde::{Deserialize, Serialize};

use crate::Received;

/// How a bucket holds an object under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// The size of each part but the last, in bytes.
    pub(super) size: u64,
    /// The upload's id, once it has been begun.
    pub(super) id: Option<String>,
    /// What the bucket calls the content of each part, in order.
    pub(super) etags: Vec<String>,
    /// The hash over the parts, to be continued.
    pub(super) hash_state: Vec<u8>,
    /// What came after them.
    pub(super) tail: Option<Tail>,
}

/// The last bytes, fewer than make a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tail {
    /// What the bucket calls the ordinary object at the key, from which they can be read.
    pub(super) object: Option<String>,
    /// What it calls them as the last part.
    pub(super) part: Option<String>,
}

impl Parts {
    pub(super) fn new(size: u64, hasher: &Hasher) -> Self {
        Self { size, id: None, etags: Vec::new(), hash_state: hasher.save(), tail: None }
    }

    /// As a row records it.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        // A struct of strings and numbers always serialises.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// As a row records it, read back; `None` when another version wrote it.
    #[must_use]
    pub fn restore(saved: &[u8]) -> Option<Self> {
        serde_json::from_slice(saved).ok()
    }

    /// The id of the upload that has to be aborted.
    pub(super) fn id(&self) -> Option<&String> {
        self.id.as_ref()
    }

    /// What completes the upload, if one was begun.
    pub(super) fn to_complete(&self) -> Option<(&String, Vec<PartId>)> {
        let last = self.tail.as_ref().and_then(|tail| tail.part.as_ref());
        let etags = self.etags.iter().chain(last);
        Some((self.id.as_ref()?, etags.map(|etag| PartId { content_id: etag.clone() }).collect()))
    }

    /// Whether there is an object at the key, which holds the tail.
    pub(super) fn is_readable(&self) -> bool {
        self.tail.as_ref().is_some_and(|tail| tail.object.is_some())
    }

    /// How many bytes the parts have, without the tail.
    pub(super) const fn bytes(&self) -> u64 {
        self.etags.len() as u64 * self.size
    }

    /// What is left when the tail is not there.
    pub(super) fn without_tail(&self, algorithm: Algorithm) -> Received {
        match Hasher::restore(&self.hash_state) {
            Ok(hasher) => Received { bytes: self.bytes(), hasher, parts: Some(Self { tail: None, ..self.clone() }) },
            // Another version hashed it: it begins anew.
            Err(_) => {
                let hasher = Hasher::new(algorithm);
                let begun = Self { id: self.id.clone(), ..Self::new(self.size, &hasher) };
                Received { bytes: 0, hasher, parts: Some(begun) }
            }
        }
    }
}
