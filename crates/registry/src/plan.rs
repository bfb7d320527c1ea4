//! What a push means, decided before anything is written. Pure: the same manifest and kit give the same plan, whenever it
//! is made.

use std::collections::BTreeSet;

use index::{EdgeKind, LayerState, search::Searchable};
use modelkit::{Component, Kit, Role, Target};
use oci::{Descriptor, Digest, Manifest, Reference, Tag, media_type};
use serde_json::{Map, Value, json};

use crate::{
    Names,
    declared::{Declared, To},
    search::searchable,
};

/// What a push writes beside the manifest's bytes.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The blobs that must be in the repository.
    pub(crate) blobs: Vec<Digest>,
    /// The manifests that must be in the repository.
    pub(crate) children: Vec<Digest>,
    /// What is known of each layer before it is looked into, in the manifest's order.
    pub(crate) layers: Vec<Layer>,
    /// What the kit refers to.
    pub(crate) references: Vec<Declared>,
    /// The kit as JSON.
    pub(crate) document: Vec<u8>,
    /// What it is found by.
    pub(crate) searchable: Searchable,
}

/// A layer before anybody looked into it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Its digest.
    pub(crate) digest: Digest,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Pending, or opaque.
    pub(crate) state: LayerState,
    /// Why it is opaque.
    pub(crate) reason: Option<&'static str>,
}

/// A kit without what lets somebody in: people write passwords and signed URLs where they say what they used. The config keeps
/// them; whoever may pull that has them anyway.
pub(crate) fn without_secrets(mut kit: Kit) -> Kit {
    let remotes = kit.components.iter_mut().filter_map(|component| Some(&mut component.remote.as_mut()?.text));
    let texts: Vec<_> = remotes.chain(kit.sources.iter_mut().map(|source| &mut source.text)).collect();
    for text in texts {
        *text = claims::without_secrets(text).into_owned();
    }
    // A model by reference may have it for a path.
    for path in kit.components.iter_mut().filter_map(|component| component.path.as_mut()) {
        if path.contains("://") {
            *path = claims::without_secrets(path).into_owned();
        }
    }
    kit
}

/// Plans the push of a manifest that means `kit`, in a registry that is called `names`.
pub(crate) fn push(manifest: &Manifest, kit: &Kit, names: &Names) -> Plan {
    let needed = |descriptor: &&Descriptor| !media_type::may_be_absent(&descriptor.media_type);
    let blobs: BTreeSet<_> = manifest.config.iter().chain(&manifest.layers).filter(needed).map(|d| d.digest).collect();
    let children = match manifest.artifact_type.as_deref() {
        // Only this index promises that its children are there; other indexes may be sparse.
        Some(media_type::KIT_INDEX) => manifest.manifests.iter().map(|child| child.digest).collect(),
        _ => Vec::new(),
    };
    let document = document(kit);
    let paths = manifest.layers.iter().filter_map(modelkit::layer_path);
    Plan {
        blobs: blobs.into_iter().collect(),
        children,
        layers: manifest.layers.iter().map(layer).collect(),
        references: kit.components.iter().enumerate().filter_map(|(i, c)| declared(i, c, names)).collect(),
        searchable: searchable(&document, paths),
        document: document.to_string().into_bytes(),
    }
}

fn layer(descriptor: &Descriptor) -> Layer {
    let opaque = if media_type::may_be_absent(&descriptor.media_type) {
        Some("its media type says that the bytes are kept elsewhere")
    } else if content::opaque_by_media_type(&descriptor.media_type) {
        Some("it is encrypted")
    } else {
        None
    };
    let state = if opaque.is_some() { LayerState::Opaque } else { LayerState::Pending };
    Layer { digest: descriptor.digest, size: descriptor.size, state, reason: opaque }
}

/// A model by reference is derived from it. A dataset by reference is used: whoever writes a Kitfile declares that.
fn declared(component: usize, of: &Component, names: &Names) -> Option<Declared> {
    let remote = of.remote.as_ref()?;
    let kind = match of.role {
        Role::Model => EdgeKind::DerivedFrom,
        Role::Dataset => EdgeKind::TrainedOn,
        Role::Part | Role::Code | Role::Docs | Role::Prompt | Role::Mcp => EdgeKind::PackagedWith,
    };
    let to = match &remote.target {
        // Without tag and digest, clients mean the tag latest.
        Target::Registry(reference) => To::registry(reference, "latest".parse::<Tag>().ok().map(Reference::Tag), names),
        Target::External(text) => To::external(text),
    };
    Some(Declared { component: Some(component), kind, word: None, name: None, text: remote.text.clone(), to })
}

/// The kit as it is stored and shown.
fn document(kit: &Kit) -> Value {
    let package = &kit.package;
    let components: Vec<_> = kit.components.iter().map(component).collect();
    let sources = kit.sources.iter().map(|source| {
        compact(json!({"relation": source.relation.as_str(), "text": source.text, "revision": source.revision}))
    });
    let variants = kit.variants.iter().map(|variant| json!({"child": variant.child, "metadata": variant.metadata}));
    json!({
        "package": compact(json!({
            "name": package.name, "version": package.version, "description": package.description,
            "family": package.family, "licences": package.licences, "authors": package.authors,
        })),
        "components": components,
        "sources": sources.collect::<Vec<_>>(),
        "variants": variants.collect::<Vec<_>>(),
    })
}

fn component(component: &Component) -> Value {
    let remote = component.remote.as_ref();
    compact(json!({
        "role": component.role.as_str(), "name": component.name, "path": component.path,
        "description": component.description, "licence": component.licence, "version": component.version,
        "framework": component.framework, "format": component.format, "type": component.declared_type,
        "parameters": component.parameters, "layers": component.layers,
        "remote": remote.map(|remote| &remote.text), "remote_hash": remote.and_then(|remote| remote.hash.as_ref()),
    }))
}

/// Leaves out what was not said.
pub(crate) fn compact(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let said =
                |(_, value): &(String, Value)| !value.is_null() && value.as_array().is_none_or(|a| !a.is_empty());
            Value::Object(members.into_iter().filter(said).collect::<Map<_, _>>())
        }
        other => other,
    }
}
