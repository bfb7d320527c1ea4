//! Ollama (ollama `manifest/`, `types/model`): an image by its manifest and config, a model by its layers.

use std::collections::HashSet;

use oci::Manifest;
use serde_json::Value;

use crate::{
    Component, Kit, Relation, Role, Source, layer,
    reader::{Object, Problems},
};

/// What the media types of Ollama's layers begin with.
pub(crate) const PREFIX: &str = "application/vnd.ollama.image.";
/// The members of the config that describe the model. The others are an image's, and say nothing true.
const FACTS: [&str; 8] =
    ["model_format", "model_family", "model_families", "model_type", "file_type", "renderer", "parser", "capabilities"];

/// Reads a model into `kit`. Its name and version are those of the repository and tag, hence not known here.
pub(crate) fn read(config: Option<Object>, manifest: &Manifest, kit: &mut Kit, problems: &mut Problems) {
    let mut model = Component::new(Role::Model);
    let mut bases = Vec::new();
    if let Some(mut config) = config {
        bases.extend(config.text("base_name", problems));
        let facts = FACTS.iter().filter_map(|name| Some(((*name).to_owned(), config.value(name)?)));
        let facts: serde_json::Map<_, _> = facts.collect();
        let text = |name: &str| facts.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        model.format = text("model_format").map(str::to_owned);
        kit.package.family = text("model_family").map(str::to_owned);
        model.parameters = (!facts.is_empty()).then_some(Value::Object(facts));
    }
    let mut others = Vec::new();
    for (i, layer) in manifest.layers.iter().enumerate() {
        let kind = layer.media_type.strip_prefix(PREFIX);
        let role = kind.map_or(Role::Part, role);
        let text = |member: &str| layer.other.get(member).and_then(Value::as_str).filter(|text| !text.is_empty());
        if role == Role::Model {
            model.layers.push(i);
            bases.extend(text("from").map(str::to_owned));
            continue;
        }
        let mut component = layer::component(role, i, layer);
        component.declared_type = kind.map(str::to_owned);
        component.name = text("name").or(kind).map(str::to_owned).or(component.name);
        others.push(component);
    }
    if !model.layers.is_empty() {
        kit.components.push(model);
    }
    kit.components.append(&mut others);
    // The layers of one model usually name the same one.
    let mut known = HashSet::new();
    bases.retain(|base: &String| known.insert(base.clone()));
    kit.sources.extend(bases.into_iter().map(|text| Source { relation: Relation::Base, text, revision: None }));
}

/// The role of a kind of layer. Whatever else there may be some day (today adapter, projector, params, json, embed,
/// draft) goes with the weights.
fn role(kind: &str) -> Role {
    match kind {
        "model" | "tensor" => Role::Model,
        "template" | "system" | "prompt" | "messages" => Role::Prompt,
        "license" => Role::Docs,
        _ => Role::Part,
    }
}
