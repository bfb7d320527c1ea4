//! Docker Model Runner (docker/model-spec; docker/model-runner `pkg/distribution/types/config.go`), v0.1 and v0.2.

use oci::Manifest;

use crate::{
    Component, Kit, Role, layer,
    reader::{Object, Problems},
};

const PREFIX: &str = "application/vnd.docker.ai.";
/// The kinds of layers that are weights, in any version: adapters and projectors too, as they are tensors that are
/// loaded together and Docker gives them no name of their own.
const WEIGHTS: [&str; 4] = ["gguf", "safetensors", "dduf", "mmproj"];

/// Reads a model into `kit`. It has neither name nor version; its licence is a file, not an identifier.
pub(crate) fn read(config: Option<Object>, manifest: &Manifest, kit: &mut Kit, problems: &mut Problems) {
    let mut model = Component::new(Role::Model);
    if let Some(mut config) = config {
        model.parameters = config.value("config");
        if model.parameters.as_ref().is_some_and(|parameters| !parameters.is_object()) {
            problems.lost("config is not an object");
        }
        model.format = model.parameters.as_ref().and_then(|config| config.get("format")?.as_str()).map(str::to_owned);
    }
    let mut others = Vec::new();
    for (i, layer) in manifest.layers.iter().enumerate() {
        let declared = layer.media_type.strip_prefix(PREFIX);
        let role = declared.map_or_else(|| layer::role(layer).unwrap_or_else(|| layer::guessed_role(layer)), role);
        if role == Role::Model {
            model.layers.push(i);
            continue;
        }
        let mut component = layer::component(role, i, layer);
        component.declared_type = declared.map(str::to_owned);
        component.name = component.name.or_else(|| component.declared_type.clone());
        others.push(component);
    }
    if let [only] = model.layers[..] {
        model.path = layer::path(&manifest.layers[only]).map(str::to_owned);
    }
    if !model.layers.is_empty() {
        kit.components.push(model);
    }
    kit.components.append(&mut others);
}

/// The role of a kind of layer. A chat template turns a conversation into text, which is what prompts are for, and
/// Ollama's template, the same thing, is one too. Configuration and files of no declared kind belong to the weights.
fn role(kind: &str) -> Role {
    let is = |word: &str| kind.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    if WEIGHTS.iter().any(|word| is(word)) {
        Role::Model
    } else if is("license") {
        Role::Docs
    } else if is("chat.template") {
        Role::Prompt
    } else {
        Role::Part
    }
}
