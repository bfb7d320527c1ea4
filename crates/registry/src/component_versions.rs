//! The versions of components: in a repository, the distinct contents of a component are its v1, v2, v3, in the order in
//! which they were first pushed.

use std::collections::{BTreeMap, HashMap};

use index::{
    LayerState, NodeId, Session,
    file::Placed,
    kit::{ComponentLayer, Documented, LayerIdentity},
};
use oci::Digest;
use serde_json::Value;

use crate::{Error, together::Together, view};

/// What makes a component the same one in another kit: its role and its name, else its path, else its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    role: String,
    by: By,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum By {
    Name(String),
    Path(String),
    /// Among those of its role that have neither.
    Place(usize),
}

/// The versions of every kit that was ever in a repository.
#[derive(Debug, Default)]
pub(crate) struct Numbered(HashMap<NodeId, BTreeMap<Key, Option<usize>>>);

/// The trees that layers of a component are together, where there are several.
pub(crate) type Trees = HashMap<Vec<Placed>, [u8; 32]>;

/// Finds them. What is still to be scanned has none, nor has what is in no archive and has no name.
pub(crate) async fn trees(
    session: &mut Session,
    together: &mut Together,
    layers: &[ComponentLayer],
) -> Result<Trees, Error> {
    for LayerIdentity { placed, own } in layers.iter().filter_map(|layer| layer.layer.as_ref()) {
        together.learn(placed.layer, *own);
    }
    let mut trees = Trees::new();
    for component in layers.chunk_by(is_same_component) {
        let placed = placed(component);
        if placed.len() > 1
            && let Some(tree) = together.identities(session, &placed).await?.tree
        {
            trees.insert(placed, tree);
        }
    }
    Ok(trees)
}

fn is_same_component(a: &ComponentLayer, b: &ComponentLayer) -> bool {
    (a.manifest, a.position) == (b.manifest, b.position)
}

fn placed(component: &[ComponentLayer]) -> Vec<Placed> {
    component.iter().filter_map(|layer| Some(layer.layer.as_ref()?.placed.clone())).collect()
}

/// The key of the parameters, which are a component.
fn parameters_key() -> Key {
    Key { role: "parameters".into(), by: By::Place(0) }
}

/// Numbers all contents of components. Of each the stays are in the order in which they were opened, deleted ones too, so that
/// a number never means anything else.
pub(crate) fn number(layers: &[ComponentLayer], trees: &Trees, documents: &[Documented]) -> Numbered {
    let mut numbered = Numbered::default();
    let mut known: HashMap<Key, Contents> = HashMap::new();
    let mut of_kit: HashMap<NodeId, &[ComponentLayer]> = layers
        .chunk_by(|a, b| a.manifest == b.manifest)
        .filter_map(|of_kit| Some((of_kit.first()?.manifest, of_kit)))
        .collect();
    for kit in documents {
        if numbered.0.contains_key(&kit.manifest) {
            continue;
        }
        let mut versions = BTreeMap::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        let layers = of_kit.remove(&kit.manifest).unwrap_or_default();
        for component in layers.chunk_by(is_same_component) {
            let Some(first) = component.first() else { continue };
            let by = match (&first.name, &first.path) {
                (Some(name), _) => By::Name(name.clone()),
                (None, Some(path)) => By::Path(path.clone()),
                (None, None) => {
                    let place = places.entry(first.role.clone()).or_default();
                    *place += 1;
                    By::Place(*place - 1)
                }
            };
            let key = Key { role: first.role.clone(), by };
            let contents = known.entry(key.clone()).or_default();
            versions.insert(key, contents.version(identity(component, trees)));
        }
        if let Some(parameters) = parameters(&kit.document) {
            let contents = known.entry(parameters_key()).or_default();
            versions.insert(parameters_key(), contents.version(Some(parameters)));
        }
        numbered.0.insert(kit.manifest, versions);
    }
    numbered
}

/// The distinct contents of a component.
#[derive(Debug, Default)]
struct Contents {
    numbers: HashMap<String, usize>,
    /// Whether one is still to be scanned: until then nobody can say which number new ones after it get.
    is_open: bool,
}

impl Contents {
    fn version(&mut self, identity: Option<String>) -> Option<usize> {
        let Some(identity) = identity else {
            self.is_open = true;
            return None;
        };
        if let Some(&number) = self.numbers.get(&identity) {
            return Some(number);
        }
        let next = self.numbers.len() + 1;
        (!self.is_open).then(|| *self.numbers.entry(identity).or_insert(next))
    }
}

/// By what a component is the same, nothing while a layer of it is still to be scanned.
fn identity(layers: &[ComponentLayer], trees: &Trees) -> Option<String> {
    if let Some(tree) = trees.get(&placed(layers)) {
        return Some(format!("tree {}", Digest::sha256(*tree)));
    }
    let mut keys = Vec::with_capacity(layers.len());
    for layer in layers {
        let Some(LayerIdentity { own, .. }) = &layer.layer else {
            keys.extend(layer.remote.as_ref().map(|remote| format!("remote {remote}")));
            continue;
        };
        let scanned = own.tree.map(|hash| ("tree", hash)).or(own.contents.map(|hash| ("contents", hash)));
        keys.push(match (own.state, scanned) {
            (LayerState::Pending, None) => return None,
            (_, Some((rung, hash))) => format!("{rung} {}", Digest::sha256(hash)),
            (_, None) => format!("layer {}", own.digest),
        });
    }
    keys.sort_unstable();
    Some(keys.join("\n"))
}

/// All parameters of a kit as one text, if it has any.
fn parameters(document: &[u8]) -> Option<String> {
    let document: Value = serde_json::from_slice(document).ok()?;
    let components = document.get("components")?.as_array()?;
    let said: Vec<_> = components
        .iter()
        .filter_map(|component| Some((component.get("role")?, component.get("name"), component.get("parameters")?)))
        .collect();
    if said.is_empty() { None } else { serde_json::to_string(&said).ok() }
}

impl Numbered {
    /// The versions of a kit's components.
    pub(crate) fn of(&self, kit: NodeId) -> Vec<view::ComponentVersion> {
        let versions = self.0.get(&kit).into_iter().flatten();
        versions
            .map(|(key, version)| {
                let (name, path) = key.names();
                let version = version.map(|version| format!("v{version}"));
                view::ComponentVersion { role: key.role.clone(), name, path, pending: version.is_none(), version }
            })
            .collect()
    }

    /// A row for each component of the kits, in which each of them has its version, or none where it has no such component.
    pub(crate) fn matrix(&self, kits: &[NodeId]) -> Vec<view::ComponentRow> {
        let mut keys: Vec<&Key> = kits.iter().filter_map(|kit| self.0.get(kit)).flat_map(BTreeMap::keys).collect();
        keys.sort_unstable();
        keys.dedup();
        let row = |key: &Key| {
            let version = |kit: &NodeId| {
                let version = self.0.get(kit)?.get(key)?;
                Some(version.map_or_else(|| "pending".to_owned(), |version| format!("v{version}")))
            };
            let (name, path) = key.names();
            view::ComponentRow { role: key.role.clone(), name, path, versions: kits.iter().map(version).collect() }
        };
        keys.into_iter().map(row).collect()
    }
}

impl Key {
    fn names(&self) -> (Option<String>, Option<String>) {
        match &self.by {
            By::Name(name) => (Some(name.clone()), None),
            By::Path(path) => (None, Some(path.clone())),
            By::Place(_) => (None, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use index::{LayerId, layer::Identity};

    use super::*;

    fn layer(manifest: i64, name: &str, digest: u8, tree: Option<u8>, state: LayerState) -> ComponentLayer {
        ComponentLayer {
            manifest: NodeId(manifest),
            position: 0,
            role: "dataset".into(),
            name: Some(name.into()),
            path: None,
            remote: None,
            layer: Some(LayerIdentity {
                placed: Placed { layer: LayerId(digest.into()), path: None },
                own: Identity {
                    digest: Digest::sha256([digest; 32]),
                    state,
                    tree: tree.map(|tree| [tree; 32]),
                    contents: None,
                },
            }),
        }
    }

    fn documents(manifests: &[i64], document: &str) -> Vec<Documented> {
        manifests
            .iter()
            .map(|&id| Documented { manifest: NodeId(id), document: document.as_bytes().to_vec() })
            .collect()
    }

    fn versions(numbered: &Numbered, kit: i64) -> Vec<Option<String>> {
        numbered.of(NodeId(kit)).into_iter().map(|component| component.version).collect()
    }

    #[test]
    fn contents_are_numbered_in_the_order_of_their_first_push() {
        use LayerState::{Failed, Indexed, Pending};
        let layers = [
            layer(1, "train", 1, Some(1), Indexed),
            layer(2, "train", 2, Some(1), Indexed), // repacked
            layer(3, "train", 3, Some(3), Indexed),
            layer(4, "train", 4, None, Failed),
            layer(5, "train", 5, None, Pending),
            layer(6, "train", 1, Some(1), Indexed), // back again
            layer(7, "other", 1, Some(1), Indexed),
            layer(8, "train", 8, Some(8), Indexed), // v4 or v5
        ];
        let numbered = number(&layers, &Trees::new(), &documents(&[1, 2, 3, 4, 5, 6, 7, 8, 1], "{}"));
        let v = |n: usize| vec![Some(format!("v{n}"))];
        let found: Vec<_> = (1..=8).map(|kit| versions(&numbered, kit)).collect();
        assert_eq!(found, [v(1), v(1), v(2), v(3), vec![None], v(1), v(1), vec![None]]);
        let matrix = numbered.matrix(&[NodeId(3), NodeId(5), NodeId(7)]);
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(matrix[0].versions, [None, None, text("v1")]);
        assert_eq!(matrix[1].versions, [text("v2"), text("pending"), None]);
    }

    #[test]
    fn several_layers_are_the_tree_that_they_are_together() {
        use LayerState::{Indexed, Pending};
        let layers = [
            layer(1, "train", 1, Some(1), Indexed),
            layer(2, "train", 2, Some(2), Indexed), // split in two
            layer(2, "train", 3, Some(3), Indexed),
            layer(3, "train", 3, Some(3), Indexed), // one of them
            layer(4, "train", 3, Some(3), Indexed), // other layers
            layer(4, "train", 4, Some(4), Indexed),
            layer(5, "train", 3, Some(3), Indexed),
            layer(5, "train", 5, None, Pending),
        ];
        let trees = Trees::from([(placed(&layers[1..3]), [1; 32])]);
        let numbered = number(&layers, &trees, &documents(&[1, 2, 3, 4, 5], "{}"));
        let v = |n: usize| vec![Some(format!("v{n}"))];
        let found: Vec<_> = (1..=5).map(|kit| versions(&numbered, kit)).collect();
        assert_eq!(found, [v(1), v(1), v(2), v(3), vec![None]]);
    }

    #[test]
    fn parameters_are_a_component() {
        let kit = |epochs: u32| format!(r#"{{"components":[{{"role":"model","parameters":{{"epochs":{epochs}}}}}]}}"#);
        let mut all = documents(&[1], &kit(5));
        all.extend(documents(&[2], &kit(6)));
        all.extend(documents(&[3], &kit(5)));
        all.extend(documents(&[4], r#"{"components":[{"role":"model"}]}"#));
        let numbered = number(&[], &Trees::new(), &all);
        let v = |n: usize| vec![Some(format!("v{n}"))];
        assert_eq!((1..=4).map(|kit| versions(&numbered, kit)).collect::<Vec<_>>(), [v(1), v(2), v(1), vec![]]);
    }
}
