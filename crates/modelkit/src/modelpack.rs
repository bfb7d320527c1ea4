//! CNCF ModelPack (modelpack/model-spec, `docs/config.md`), as packed by kit, modctl, RamaLama and others.
//!
//! `modelfs.diffIds` is never read: kit wrote the hash of the text of each diffID there, and a client's word is not
//! needed where bytes can be hashed.

use oci::Manifest;

use crate::{
    Component, Kit, Relation, Role, Source, kitfile, layer,
    reader::{Object, Problems},
};

/// Where kit puts the whole Kitfile, and where one other tool looks for it.
const KITFILE: [&str; 2] = ["ml.kitops.modelkit.kitfile", "org.kitops.modelkit.kitfile"];

/// The annotation that holds the Kitfile, if kit packed it.
pub(crate) fn kitfile_text(manifest: &Manifest) -> Option<&str> {
    KITFILE.iter().find_map(|name| manifest.annotations.get(*name)).map(String::as_str)
}

/// Reads a ModelPack into `kit`. Kit's annotation says most; without it the layers' types and the config's descriptor
/// have to do.
pub(crate) fn read(config: Option<Object>, manifest: &Manifest, kit: &mut Kit, problems: &mut Problems) {
    let annotation = kitfile_text(manifest);
    let annotation = annotation.and_then(|text| Object::parse(text.as_bytes(), "the kitfile annotation", problems));
    let mut facts = Facts::read(config, kit, problems);
    match annotation {
        Some(file) => {
            kitfile::read(file, manifest, kit, problems);
            // The annotation goes before the config, whose licences are the union of those of all components.
            if let Some(model) = kit.components.iter_mut().find(|component| component.role == Role::Model) {
                model.format = model.format.take().or(facts.format);
            }
        }
        None => {
            kit.package.name = facts.name.take();
            kit.package.version = facts.version.take();
            kit.package.description = facts.description.take();
            kit.package.licences = std::mem::take(&mut facts.licences);
            kit.package.authors = std::mem::take(&mut facts.authors);
            components(manifest, facts, kit);
        }
    }
}

/// What the config says, apart from what goes into the kit whoever packed it (family, sources).
#[derive(Default)]
struct Facts {
    name: Option<String>,
    version: Option<String>,
    description: Option<String>,
    licences: Vec<String>,
    authors: Vec<String>,
    format: Option<String>,
    parameters: Option<serde_json::Value>,
}

impl Facts {
    fn read(config: Option<Object>, kit: &mut Kit, problems: &mut Problems) -> Self {
        let mut facts = Self::default();
        let Some(mut config) = config else { return facts };
        if let Some(mut descriptor) = config.object("descriptor", problems) {
            let title = descriptor.text("title", problems);
            facts.name = descriptor.text("name", problems).or(title);
            facts.version = descriptor.text("version", problems);
            facts.description = descriptor.text("description", problems);
            facts.licences = descriptor.texts("licenses", problems);
            facts.authors = descriptor.texts("authors", problems);
            kit.package.family = descriptor.text("family", problems);
            let revision = descriptor.text("revision", problems);
            let origin = descriptor.text("sourceURL", problems);
            kit.sources.extend(origin.map(|text| Source { relation: Relation::Origin, text, revision }));
            let datasets = descriptor.texts("datasetsURL", problems).into_iter();
            kit.sources.extend(datasets.map(|text| Source { relation: Relation::Dataset, text, revision: None }));
        }
        facts.parameters = config.value("config");
        facts.format = facts.parameters.as_ref().and_then(|config| config.get("format")?.as_str()).map(str::to_owned);
        facts
    }
}

/// One model of all weights, because the files of a model are useless apart; any other layer is a component of its own.
fn components(manifest: &Manifest, facts: Facts, kit: &mut Kit) {
    let role = |layer| layer::role(layer).unwrap_or_else(|| layer::guessed_role(layer));
    let layers = || manifest.layers.iter().enumerate().map(|(i, layer)| (role(layer), i, layer));
    let weights: Vec<usize> = layers().filter(|(role, ..)| *role == Role::Model).map(|(_, i, _)| i).collect();
    if let Some(&first) = weights.first() {
        let path = match weights.len() {
            1 => layer::path(&manifest.layers[first]).map(str::to_owned),
            _ => None,
        };
        kit.components.push(Component {
            name: kit.package.name.clone().or_else(|| path.clone()),
            version: kit.package.version.clone(),
            path,
            format: facts.format,
            parameters: facts.parameters,
            layers: weights,
            ..Component::new(Role::Model)
        });
    }
    let others = layers().filter(|(role, ..)| *role != Role::Model);
    kit.components.extend(others.map(|(role, i, layer)| layer::component(role, i, layer)));
}
