//! Media types of manifests and of the layers whose bytes a registry is not expected to hold.

/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// A Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// A Docker manifest list, schema 2.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// A Docker image manifest, schema 1, signed or not: refused.
pub const DOCKER_SCHEMA1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];
/// The kit index, whose children must all be present (kit pushes only the index and expects to be told).
pub const KIT_INDEX: &str = "application/vnd.kitops.modelkit.index.v1+json";
/// What a blob is served as.
pub const OCTET_STREAM: &str = "application/octet-stream";

/// Whether a layer of this type may be absent: image-spec's non-distributable layers and Docker's foreign layers.
#[must_use]
pub fn may_be_absent(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}
