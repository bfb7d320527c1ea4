//! Manifests and indexes: the exact bytes, and a lenient view of what they say.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{Algorithm, Digest, Hasher, json_text, media_type};

/// A manifest or an index as it was pushed. The bytes are the truth; everything else is read from a copy of them.
///
/// Reading is lenient where clients are (`"layers": null`, no `mediaType` in the body, unknown members) and strict where a
/// wrong reading would lose data (a descriptor without a digest, a size that is negative).
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The bytes as they were pushed and will be served.
    pub bytes: Vec<u8>,
    /// The digest of `bytes`, in the algorithm that the pusher named, else SHA-256.
    pub digest: Digest,
    /// The type it is served as: the pusher's `Content-Type`, else the body's `mediaType`.
    pub media_type: String,
    /// Whether it is an image manifest or an index.
    pub shape: Shape,
    /// `artifactType`, if any.
    pub artifact_type: Option<String>,
    /// The descriptor of the config; an index has none.
    pub config: Option<Descriptor>,
    /// The layers of an image manifest, in order.
    pub layers: Vec<Descriptor>,
    /// The children of an index, in order.
    pub manifests: Vec<Descriptor>,
    /// What it refers to, as a referrer.
    pub subject: Option<Descriptor>,
    /// The annotations whose values are text.
    pub annotations: BTreeMap<String, String>,
}

/// What a manifest holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An image manifest: a config and layers.
    Image,
    /// An index (or Docker list): manifests.
    Index,
}

/// A descriptor (image-spec `descriptor.md`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The media type, empty where the pusher left it out.
    pub media_type: String,
    /// The digest.
    pub digest: Digest,
    /// The size in bytes.
    pub size: u64,
    /// `artifactType`, if any.
    pub artifact_type: Option<String>,
    /// The annotations whose values are text.
    pub annotations: BTreeMap<String, String>,
    /// Every other member, `data`, `urls`, `platform` and what no specification knows.
    pub other: serde_json::Map<String, Value>,
}

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The bytes are not a JSON object, or a member has the wrong type.
    #[error("the manifest is not valid JSON of a manifest: {0}")]
    Json(String),
    /// It is what Docker pushed before version 1.10.
    #[error(
        "it is a Docker schema 1 manifest, which names its layers in a way that this registry does not take; push the image \
         again with a client that writes schema 2 or OCI, for example skopeo copy --format oci"
    )]
    Schema1,
    /// `schemaVersion` is not 2.
    #[error("schemaVersion is {0}, only 2 is supported")]
    SchemaVersion(i64),
    /// The body's `mediaType` contradicts the `Content-Type`.
    #[error("the manifest's mediaType is {body}, but it was pushed as {header}")]
    MediaType {
        /// The `Content-Type`.
        header: String,
        /// The `mediaType`.
        body: String,
    },
    /// The media type is none of a manifest or index.
    #[error("{0} is not a media type of a manifest or index")]
    Unsupported(String),
    /// The manifest is neither image nor index, or both.
    #[error("{0}")]
    Shape(&'static str),
    /// A descriptor is not one.
    #[error("{place}: {why}")]
    Descriptor {
        /// Where, for example `layers[2]`.
        place: String,
        /// What is wrong.
        why: String,
    },
}

impl Manifest {
    /// Reads a manifest that was pushed with `content_type` (parameters are ignored).
    ///
    /// # Errors
    /// [`ManifestError`] when it could not be served or referred to without harm.
    pub fn parse(bytes: Vec<u8>, content_type: Option<&str>, algorithm: Algorithm) -> Result<Self, ManifestError> {
        let header = content_type.map(|t| t.split(';').next().unwrap_or(t).trim()).filter(|t| !t.is_empty());
        if header.is_some_and(|header| media_type::DOCKER_SCHEMA1.contains(&header)) {
            return Err(ManifestError::Schema1);
        }
        let body: Body = serde_json::from_str(&json_text(&bytes)).map_err(|e| ManifestError::Json(e.to_string()))?;
        match body.schema_version {
            2 => {}
            1 => return Err(ManifestError::Schema1),
            other => return Err(ManifestError::SchemaVersion(other)),
        }
        let media_type = match (header, body.media_type.as_deref()) {
            (Some(header), Some(body)) if header != body => {
                return Err(ManifestError::MediaType { header: header.into(), body: body.into() });
            }
            (Some(media_type), _) | (None, Some(media_type)) => media_type,
            (None, None) if body.manifests.is_some() => media_type::OCI_INDEX,
            (None, None) => media_type::OCI_MANIFEST,
        };
        let shape = match media_type {
            media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => Shape::Image,
            media_type::OCI_INDEX | media_type::DOCKER_LIST => Shape::Index,
            other => return Err(ManifestError::Unsupported(other.into())),
        };
        // The same bytes must never mean a manifest to one client and an index to another (CVE-2021-41190).
        match shape {
            Shape::Image if body.manifests.is_some() => {
                return Err(ManifestError::Shape("an image manifest must not have manifests"));
            }
            Shape::Index if body.layers.is_some() || body.config.is_some() => {
                return Err(ManifestError::Shape("an index must have neither config nor layers"));
            }
            Shape::Image if body.config.is_none() => {
                return Err(ManifestError::Shape("an image manifest needs a config"));
            }
            Shape::Image | Shape::Index => {}
        }
        Ok(Self {
            digest: Hasher::digest(algorithm, &bytes),
            media_type: media_type.into(),
            shape,
            artifact_type: body.artifact_type.filter(|t| !t.is_empty()),
            config: body.config.map(|value| Descriptor::read(value, "config")).transpose()?,
            layers: Descriptor::read_all(body.layers.flatten(), "layers")?,
            manifests: Descriptor::read_all(body.manifests.flatten(), "manifests")?,
            subject: body.subject.map(|value| Descriptor::read(value, "subject")).transpose()?,
            annotations: texts(body.annotations),
            bytes,
        })
    }

    /// What a referrers answer calls the manifest: `artifactType`, else the config's media type (distribution-spec,
    /// "Listing Referrers").
    #[must_use]
    pub fn effective_artifact_type(&self) -> Option<&str> {
        self.artifact_type.as_deref().or_else(|| self.config.as_ref().map(|config| config.media_type.as_str()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    schema_version: i64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Value>,
    // Present or not tells the shape, so an explicit null is kept apart from absence.
    #[serde(default, deserialize_with = "present")]
    layers: Option<Option<Vec<Value>>>,
    #[serde(default, deserialize_with = "present")]
    manifests: Option<Option<Vec<Value>>>,
    subject: Option<Value>,
    annotations: Option<serde_json::Map<String, Value>>,
}

#[expect(clippy::option_option, reason = "serde's way to tell null from absent")]
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Vec<Value>>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Descriptor {
    fn read_all(values: Option<Vec<Value>>, place: &str) -> Result<Vec<Self>, ManifestError> {
        let numbered = values.unwrap_or_default().into_iter().enumerate();
        numbered.map(|(i, value)| Self::read(value, &format!("{place}[{i}]"))).collect()
    }

    fn read(value: Value, place: &str) -> Result<Self, ManifestError> {
        let wrong = |why: String| ManifestError::Descriptor { place: place.into(), why };
        let Value::Object(mut members) = value else { return Err(wrong("not an object".into())) };
        let digest = match members.remove("digest") {
            Some(Value::String(digest)) => digest.parse().map_err(|e| wrong(format!("digest {digest:?}: {e}")))?,
            _ => return Err(wrong("it has no digest".into())),
        };
        let size = members.remove("size").and_then(|size| size.as_u64());
        let size = size.filter(|&size| i64::try_from(size).is_ok());
        let size = size.ok_or_else(|| wrong("its size is not a number of bytes".into()))?;
        Ok(Self {
            media_type: text(members.remove("mediaType")).unwrap_or_default(),
            digest,
            size,
            artifact_type: text(members.remove("artifactType")),
            annotations: match members.remove("annotations") {
                Some(Value::Object(annotations)) => texts(Some(annotations)),
                _ => BTreeMap::new(),
            },
            other: members,
        })
    }
}

fn text(value: Option<Value>) -> Option<String> {
    match value {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn texts(members: Option<serde_json::Map<String, Value>>) -> BTreeMap<String, String> {
    let members = members.unwrap_or_default().into_iter();
    members.filter_map(|(name, value)| Some((name, text(Some(value))?))).collect()
}
