//! What an AI artifact means: ModelKit, ModelPack, Docker Model Runner and Ollama, read into one [`Kit`].
//!
//! Pure: bytes in, meaning out. It does no IO, knows no clock, and does not know what is inside a layer, where a
//! reference leads, who pushed what, or whether anything that it reads is true.

mod detect;
mod docker;
mod kit;
mod kitfile;
mod layer;
mod modelpack;
mod ollama;
mod reader;
mod reference;

pub use kit::{Component, Kind, Kit, Package, Relation, Remote, Role, Source, Target, UnknownWord, Variant};
pub use layer::path as layer_path;
pub use reference::{ReferenceError, RegistryReference};

use oci::{Descriptor, Manifest};
use reader::{Object, Problems};

/// How many bytes of a config are read at most. Kitfiles are kilobytes; the bound is that of a manifest.
pub const CONFIG_LIMIT: u64 = 4 * 1024 * 1024;

/// The media type of a config that holds nothing (image-spec, "Guidance for an Empty Descriptor").
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// The config that [`understand`] is given.
#[derive(Debug, Clone, Copy)]
pub enum Config<'a> {
    /// None, because [`config_needed`] asked for none.
    None,
    /// Its bytes.
    Bytes(&'a [u8]),
    /// It was asked for and is not to be had: absent, purged, larger than [`CONFIG_LIMIT`]. The text says why.
    Unavailable(&'a str),
}

/// The blob whose bytes [`understand`] needs besides the manifest, if any. One that is larger than [`CONFIG_LIMIT`]
/// should not be read but passed as [`Config::Unavailable`].
///
/// For a ModelPack that kit packed the config only adds to what an annotation says: without it there is still no
/// problem.
#[must_use]
pub fn config_needed(manifest: &Manifest) -> Option<&Descriptor> {
    match detect::kind(manifest) {
        Kind::ModelKit if detect::is_legacy(manifest) => None,
        Kind::ModelKit | Kind::ModelPack | Kind::DockerModel | Kind::Ollama => {
            manifest.config.as_ref().filter(|config| config.media_type != EMPTY)
        }
        Kind::ModelKitIndex | Kind::Index | Kind::Image | Kind::Attachment | Kind::Artifact => None,
    }
}

/// What a manifest means, given its config. It never fails: what cannot be understood is a kit of the right kind whose
/// `problem` says why, and layers of known types are components all the same.
#[must_use]
pub fn understand(manifest: &Manifest, config: Config<'_>) -> Kit {
    let mut kit = Kit::new(detect::kind(manifest));
    let mut problems = Problems::default();
    match kit.kind {
        Kind::ModelKit if detect::is_legacy(manifest) => {
            problems.note("packed by a KitOps older than 0.1, whose layers have no roles");
        }
        Kind::ModelKit => {
            let file = read_config(manifest, config, &mut problems);
            kitfile::read(file.unwrap_or_default(), manifest, &mut kit, &mut problems);
        }
        Kind::ModelPack => {
            // What the annotation says, the config need not say again.
            let optional = modelpack::kitfile_text(manifest).is_some() && !matches!(config, Config::Bytes(_));
            let config = if optional { None } else { read_config(manifest, config, &mut problems) };
            modelpack::read(config, manifest, &mut kit, &mut problems);
        }
        Kind::DockerModel => {
            let config = read_config(manifest, config, &mut problems);
            docker::read(config, manifest, &mut kit, &mut problems);
        }
        Kind::Ollama => {
            let config = read_config(manifest, config, &mut problems);
            ollama::read(config, manifest, &mut kit, &mut problems);
        }
        Kind::ModelKitIndex => {
            let children = manifest.manifests.iter().enumerate();
            let described = |(child, descriptor): (usize, &Descriptor)| {
                Some(Variant { child, metadata: descriptor.other.get("modelMetadata")?.clone() })
            };
            kit.variants = children.filter_map(described).collect();
        }
        Kind::Index | Kind::Image | Kind::Attachment | Kind::Artifact => {}
    }
    kit.number();
    kit.incomplete = problems.has_lost();
    kit.problem = problems.into_text();
    kit
}

fn read_config(manifest: &Manifest, config: Config<'_>, problems: &mut Problems) -> Option<Object> {
    let needed = config_needed(manifest);
    match config {
        Config::Bytes(bytes) if u64::try_from(bytes.len()).is_ok_and(|size| size <= CONFIG_LIMIT) => {
            return Object::parse(bytes, "the config", problems);
        }
        Config::Bytes(bytes) => problems.lost(format!("the config has {} bytes, too many to read", bytes.len())),
        Config::Unavailable(why) => problems.lost(format!("the config is not available: {why}")),
        Config::None if needed.is_some() => problems.lost("the config was not read"),
        // RamaLama's ModelPacks have no config, and then there is none to miss; but a ModelKit is its config.
        Config::None if detect::kind(manifest) == Kind::ModelKit => problems.lost("it has no Kitfile"),
        Config::None => {}
    }
    None
}

#[cfg(test)]
mod tests;
