//! What a layer's descriptor says about it.

use oci::Descriptor;

use crate::{Component, Role, detect::PACK_PREFIXES};

/// KitOps' layers: `application/vnd.kitops.modelkit.<base>.v1.<format>[+<compression>]`.
const KIT_PREFIX: &str = "application/vnd.kitops.modelkit.";
const KIT_BASES: [(&str, Role); 6] = [
    ("model", Role::Model),
    ("modelpart", Role::Part),
    ("dataset", Role::Dataset),
    ("code", Role::Code),
    ("docs", Role::Docs),
    ("mcpb", Role::Mcp),
];
/// ModelPack's layers: `application/vnd.cncf.model.<base>.v1.<format>`. The longer base goes first.
const PACK_BASES: [(&str, Role); 5] = [
    ("weight.config", Role::Part),
    ("weight", Role::Model),
    ("dataset", Role::Dataset),
    ("code", Role::Code),
    ("doc", Role::Docs),
];
/// ModelPack's first draft: one layer type, the role in an annotation whose value is `true`.
const DRAFT_MARKS: [(&str, Role); 4] = [
    ("org.cnai.model.model", Role::Model),
    ("org.cnai.model.config", Role::Part),
    ("org.cnai.model.readme", Role::Docs),
    ("org.cnai.model.license", Role::Docs),
];

/// How the files of weights end, for layers whose media type says nothing.
const WEIGHTS: [&str; 14] = [
    ".safetensors",
    ".gguf",
    ".ggml",
    ".bin",
    ".pt",
    ".pth",
    ".onnx",
    ".h5",
    ".keras",
    ".tflite",
    ".ckpt",
    ".npz",
    ".pkl",
    ".joblib",
];

/// The role that the media type (of KitOps or ModelPack) and the annotations give a layer, whatever its format.
pub(crate) fn role(layer: &Descriptor) -> Option<Role> {
    let of_base = |rest: &str, bases: &[(&str, Role)]| {
        let matches = |base: &str| rest.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        bases.iter().find(|(base, _)| matches(base)).map(|(_, role)| *role)
    };
    let media_type = layer.media_type.as_str();
    let pack = || PACK_PREFIXES.iter().find_map(|prefix| media_type.strip_prefix(prefix));
    let role = match media_type.strip_prefix(KIT_PREFIX) {
        Some(rest) => of_base(rest, &KIT_BASES),
        None => of_base(pack()?, &PACK_BASES).or_else(|| {
            let marked = |mark: &str| layer.annotations.get(mark).is_some_and(|value| value == "true");
            DRAFT_MARKS.iter().find(|(mark, _)| marked(mark)).map(|(_, role)| *role)
        }),
    }?;
    let subtype = layer.annotations.get("ml.kitops.modelkit.layer-subtype");
    Some(if role == Role::Code && subtype.is_some_and(|subtype| subtype == "prompt") { Role::Prompt } else { role })
}

/// The role of a layer whose media type says nothing, in an artifact that says it is a model: guessed from the file's
/// name, and for RamaLama, which names weights by their digest or after the model, from there being no extension.
pub(crate) fn guessed_role(layer: &Descriptor) -> Role {
    let file = path(layer).unwrap_or_default().rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let bytes = layer.media_type.is_empty() || layer.media_type == "application/octet-stream";
    if WEIGHTS.iter().any(|end| file.ends_with(end)) || (bytes && !file.contains('.')) {
        Role::Model
    } else if file.starts_with("readme") || file.starts_with("license") || file.starts_with("licence") {
        Role::Docs
    } else {
        Role::Part
    }
}

/// The path of the file or folder in a layer, as its manifest calls it: ModelPack's annotation, which KitOps writes too,
/// else what oras writes.
#[must_use]
pub fn path(layer: &Descriptor) -> Option<&str> {
    let names = ["org.cncf.model.filepath", "org.cnai.model.filepath", "org.opencontainers.image.title"];
    let mut texts = names.iter().filter_map(|name| layer.annotations.get(*name));
    texts.find(|text| !text.is_empty()).map(String::as_str)
}

/// A component of one layer of which nothing else is known.
pub(crate) fn component(role: Role, index: usize, layer: &Descriptor) -> Component {
    let path = path(layer).map(str::to_owned);
    Component { name: path.clone(), path, layers: vec![index], ..Component::new(role) }
}
