//! Which dialect a manifest speaks.

use oci::{Manifest, Shape, media_type::KIT_INDEX};

use crate::{Kind, ollama};

const KIT_MANIFEST: &str = "application/vnd.kitops.modelkit.manifest.";
const KIT_CONFIG: &str = "application/vnd.kitops.modelkit.config.";
/// KitOps before 0.1: one layer of everything.
const JOZU_CONFIG: &str = "application/vnd.jozu.model.config.";
/// The media types of ModelPack, under its present and its first name.
pub(crate) const PACK_PREFIXES: [&str; 2] = ["application/vnd.cncf.model.", "application/vnd.cnai.model."];
const DOCKER_CONFIG: &str = "application/vnd.docker.ai.model.config.";

const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// What cosign, oras, notation and BuildKit attach. Cosign 2 marks its sibling tags in no other way than by these
/// layers.
const ATTACHMENTS: [&str; 13] = [
    "application/vnd.dev.cosign.simplesigning.",
    "application/vnd.dev.cosign.artifact.",
    "application/vnd.dev.sigstore.bundle",
    "application/vnd.dsse.envelope.",
    "application/vnd.in-toto",
    "application/vnd.cncf.notary.signature",
    "application/vnd.cyclonedx",
    "application/vnd.syft",
    "application/spdx",
    "text/spdx",
    "application/sarif",
    "application/openvex",
    "application/vnd.openvex",
];

/// What a manifest is, from its media types alone.
///
/// A dialect goes before a `subject`, so that a model stays one whatever it refers to; an attachment goes before an
/// image, because cosign's signatures have an image's config.
pub(crate) fn kind(manifest: &Manifest) -> Kind {
    if manifest.shape == Shape::Index {
        return if manifest.artifact_type.as_deref() == Some(KIT_INDEX) { Kind::ModelKitIndex } else { Kind::Index };
    }
    let artifact_type = manifest.artifact_type.as_deref().unwrap_or_default();
    let config = config_type(manifest);
    if artifact_type.starts_with(KIT_MANIFEST) || config.starts_with(KIT_CONFIG) || is_legacy(manifest) {
        Kind::ModelKit
    } else if pack(artifact_type, "manifest.") || pack(config, "config.") {
        Kind::ModelPack
    } else if config.starts_with(DOCKER_CONFIG) {
        Kind::DockerModel
    } else if manifest.layers.iter().any(|layer| layer.media_type.starts_with(ollama::PREFIX)) {
        Kind::Ollama
    } else if manifest.subject.is_some() || is_attachment(manifest) {
        Kind::Attachment
    } else if IMAGE_CONFIGS.contains(&config) {
        Kind::Image
    } else {
        Kind::Artifact
    }
}

/// Whether KitOps packed it before version 0.1, when layers had no roles.
pub(crate) fn is_legacy(manifest: &Manifest) -> bool {
    config_type(manifest).starts_with(JOZU_CONFIG)
}

/// The media type of the config, empty if there is none.
pub(crate) fn config_type(manifest: &Manifest) -> &str {
    manifest.config.as_ref().map_or("", |config| &config.media_type)
}

fn pack(media_type: &str, what: &str) -> bool {
    PACK_PREFIXES.iter().any(|prefix| media_type.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(what)))
}

fn is_attachment(manifest: &Manifest) -> bool {
    let known = |media_type: &str| ATTACHMENTS.iter().any(|prefix| media_type.starts_with(prefix));
    let layers = &manifest.layers;
    // An artifact may well carry a bill of materials among its files: only one that holds nothing else is an
    // attachment.
    manifest.artifact_type.as_deref().is_some_and(known)
        || known(config_type(manifest))
        || (!layers.is_empty() && layers.iter().all(|layer| known(&layer.media_type)))
}
