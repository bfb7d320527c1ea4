//! Kitfiles: the config of a ModelKit, and the annotation of a ModelPack that kit packed.
//!
//! Reading starts from the Kitfile's entries and only then looks for their layers, because remote datasets and models
//! by reference have none.

use std::collections::{HashMap, HashSet, VecDeque};

use oci::{Digest, Manifest};

use crate::{
    Component, Kit, Remote, Role, Target, layer,
    reader::{Object, Problems},
};

/// How many entries of one list are read. A Kitfile of [`crate::CONFIG_LIMIT`] bytes whose entries name their layers
/// holds fewer; `[{},{},…]` would hold a million.
const ENTRIES: usize = 20_000;

/// An entry of the Kitfile on its way to its layers.
struct Entry {
    component: Component,
    claim: Claim,
    place: String,
}

/// What an entry says about its layer.
enum Claim {
    /// Its digest (kit 0.5 and later).
    Digest(Digest),
    /// Nothing: its place among the entries of its role tells (before kit 0.5).
    Position,
    /// That it has none, for example a reference; or something unreadable, so that any guess could be wrong.
    None,
}

/// Reads a Kitfile into `kit` and maps its entries to the layers of `manifest`.
pub(crate) fn read(mut file: Object, manifest: &Manifest, kit: &mut Kit, problems: &mut Problems) {
    if let Some(mut package) = file.object("package", problems) {
        kit.package.name = package.text("name", problems);
        kit.package.version = package.text("version", problems);
        kit.package.description = package.text("description", problems);
        kit.package.licences = package.texts("license", problems);
        kit.package.authors = package.texts("authors", problems);
    }
    let mut entries = Vec::new();
    // `"model": {}` says nothing; whether there is a model is then for the layers to say.
    if let Some(mut model) = file.object("model", problems).filter(|model| !model.is_empty()) {
        let parts = model.objects("parts", ENTRIES, problems);
        entries.push(read_entry(Role::Model, model, problems));
        entries.extend(parts.into_iter().map(|part| read_entry(Role::Part, part, problems)));
    }
    for (list, role) in [
        ("code", Role::Code),
        ("datasets", Role::Dataset),
        ("docs", Role::Docs),
        ("prompts", Role::Prompt),
        ("mcpServers", Role::Mcp),
    ] {
        let list = file.objects(list, ENTRIES, problems);
        entries.extend(list.into_iter().map(|entry| read_entry(role, entry, problems)));
    }
    kit.components = assign(entries, manifest, problems);
}

fn read_entry(role: Role, mut entry: Object, problems: &mut Problems) -> Entry {
    let mut component = Component {
        name: entry.text("name", problems),
        path: entry.text("path", problems),
        description: entry.text("description", problems),
        licence: entry.text("license", problems),
        ..Component::new(role)
    };
    match role {
        Role::Model => {
            component.version = entry.text("version", problems);
            component.framework = entry.text("framework", problems);
            component.format = entry.text("format", problems);
            component.parameters = entry.value("parameters");
        }
        Role::Part => component.declared_type = entry.text("type", problems),
        Role::Dataset => {
            component.parameters = entry.value("parameters");
            component.remote = entry.text("remotePath", problems).map(|text| Remote {
                target: Target::of_remote_path(&text),
                hash: entry.text("remoteHash", problems),
                text,
            });
        }
        Role::Code | Role::Docs | Role::Prompt | Role::Mcp => {}
    }
    let place = entry.place.clone();
    let claim = match entry.value("digest") {
        None if component.remote.is_some() => Claim::None,
        None => Claim::Position,
        Some(value) => match value.as_str().map(str::parse) {
            Some(Ok(digest)) => Claim::Digest(digest),
            Some(Err(_)) if value == "" => Claim::Position,
            _ => {
                problems.note(format!("{} is not a digest", entry.place("digest")));
                Claim::None
            }
        },
    };
    Entry { component, claim, place }
}

/// Gives every entry its layers, and every layer that no entry claims a component of its own.
fn assign(mut entries: Vec<Entry>, manifest: &Manifest, problems: &mut Problems) -> Vec<Component> {
    let mut layers = Layers::new(manifest);
    // Digests first: what they leave over is what positions may count.
    for Entry { component, claim, .. } in &mut entries {
        if let Claim::Digest(digest) = claim {
            component.layers.extend(layers.take_digest(digest, component.role));
        }
    }
    for Entry { component, claim, place } in &mut entries {
        // A model with bytes here is no reference, whatever its path looks like.
        let referred = if component.role == Role::Model && component.layers.is_empty() {
            component.path.as_deref().and_then(Target::of_model_path)
        } else {
            None
        };
        if let Some(target) = referred {
            component.remote = component.path.take().map(|text| Remote { text, hash: None, target });
        } else if matches!(claim, Claim::Position) {
            component.layers.extend(layers.take_next(component.role));
        }
        // Kit packs no layer for a model without a path, which may consist of parts alone.
        let bare = component.role == Role::Model && component.path.is_none() && matches!(claim, Claim::Position);
        if component.layers.is_empty() && component.remote.is_none() && !bare {
            problems.note(format!("{place} is in no layer"));
        }
    }
    let mut components: Vec<Component> = entries.into_iter().map(|entry| entry.component).collect();
    components.extend(layers.unclaimed());
    for component in &mut components {
        if component.path.is_none() {
            let annotated = component.layers.first().and_then(|&i| layer::path(manifest.layers.get(i)?));
            component.path = annotated.map(str::to_owned);
        }
    }
    components
}

/// The layers of a manifest that have a role, and which of them are claimed.
struct Layers<'a> {
    manifest: &'a Manifest,
    roles: Vec<Option<Role>>,
    claimed: Vec<bool>,
    by_digest: HashMap<Digest, usize>,
    by_digest_and_role: HashMap<(Digest, Role), VecDeque<usize>>,
    by_role: HashMap<Role, VecDeque<usize>>,
}

impl<'a> Layers<'a> {
    fn new(manifest: &'a Manifest) -> Self {
        let roles: Vec<_> = manifest.layers.iter().map(layer::role).collect();
        let mut layers = Self {
            manifest,
            claimed: vec![false; roles.len()],
            by_digest: HashMap::new(),
            by_digest_and_role: HashMap::new(),
            by_role: HashMap::new(),
            roles,
        };
        for (i, layer) in manifest.layers.iter().enumerate() {
            layers.by_digest.entry(layer.digest).or_insert(i);
            if let Some(role) = layers.roles[i] {
                layers.by_digest_and_role.entry((layer.digest, role)).or_default().push_back(i);
                layers.by_role.entry(role).or_default().push_back(i);
            }
        }
        layers
    }

    /// The layer of a digest. Several entries may name one digest, and the manifest may list it once or for each of
    /// them, under other roles too: the next of the entry's role, at the end the last of it again, else the first of
    /// any.
    fn take_digest(&mut self, digest: &Digest, role: Role) -> Option<usize> {
        let found = match self.by_digest_and_role.get_mut(&(*digest, role)) {
            Some(same) if same.len() > 1 => same.pop_front(),
            Some(same) => same.front().copied(),
            None => self.by_digest.get(digest).copied(),
        }?;
        self.claimed[found] = true;
        Some(found)
    }

    /// The next layer of a role that nobody claims.
    fn take_next(&mut self, role: Role) -> Option<usize> {
        let queue = self.by_role.get_mut(&role)?;
        while let Some(next) = queue.pop_front() {
            if !self.claimed[next] {
                self.claimed[next] = true;
                return Some(next);
            }
        }
        None
    }

    /// A component for each layer of a known type that nobody claims. The same bytes again are not another component.
    fn unclaimed(&mut self) -> Vec<Component> {
        let mut seen: HashSet<(Digest, Role)> = HashSet::new();
        let layers = self.manifest.layers.iter().enumerate();
        for (i, layer) in layers.clone() {
            if let (true, Some(role)) = (self.claimed[i], self.roles[i]) {
                seen.insert((layer.digest, role));
            }
        }
        let mut components = Vec::new();
        for (i, layer) in layers {
            if let (false, Some(role)) = (self.claimed[i], self.roles[i])
                && seen.insert((layer.digest, role))
            {
                components.push(layer::component(role, i, layer));
            }
        }
        components
    }
}
