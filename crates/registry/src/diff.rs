//! What is different between two artifacts: components, files, parameters, tensors.

use std::collections::{BTreeMap, BTreeSet};

use content::Identities;
use index::{
    LayerState, NodeId, Session,
    file::{self, Placed},
    graph, kit,
    layer::Identity,
};
use oci::{Digest, Name, Reference};
use serde_json::Value;

use crate::{Access, Ctx, Error, Registry, Rung, authz, together::Together, view};

/// How many changes of a kind are shown of a component.
const SHOWN: usize = 1000;
/// How many files of a component are compared one by one.
const COMPARED: u64 = 1_000_000;
/// How many files come from the database at once.
const PAGE: u32 = 4096;

/// One of the two artifacts.
#[derive(Debug, Default)]
struct Side {
    document: Value,
    parts: Vec<Part>,
    /// How many of its layers are not wholly known.
    unknown: u64,
}

/// A component as it is compared.
#[derive(Debug, Clone, Default)]
struct Part {
    role: String,
    name: Option<String>,
    path: Option<String>,
    remote: Option<String>,
    parameters: Value,
    layers: Vec<kit::Layer>,
    /// What the layers are together.
    identities: Identities,
}

impl Registry {
    /// What is different between two artifacts that the caller may read.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such artifact, [`Error::Internal`] when the database fails.
    pub async fn diff(&self, ctx: &Ctx, from: &(Name, Reference), to: &(Name, Reference)) -> Result<view::Diff, Error> {
        authz::check(ctx, Access::Pull)?;
        let mut session = self.db.snapshot().await?;
        let from = self.ever(ctx, &mut session, &from.0, &from.1).await?;
        let to = self.ever(ctx, &mut session, &to.0, &to.1).await?;
        let mut together = self.together();
        let before = side(&mut session, &mut together, from.id).await?;
        let after = side(&mut session, &mut together, to.id).await?;
        let mut components = Vec::new();
        for (one, other) in pair(&before.parts, &after.parts) {
            components.push(compare(&mut session, one, other).await?);
        }
        let package = |side: &Side| side.document.get("package").cloned().unwrap_or_default();
        let sources = |side: &Side| side.document.get("sources").cloned().unwrap_or_default();
        Ok(view::Diff {
            from: from.digest.to_string(),
            to: to.digest.to_string(),
            layers_unknown: before.unknown + after.unknown,
            package: values(&package(&before), &package(&after)),
            sources: values(&sources(&before), &sources(&after)),
            components,
        })
    }
}

async fn side(session: &mut Session, together: &mut Together, node: NodeId) -> Result<Side, Error> {
    let Some(meaning) = kit::get(session, node).await? else { return Ok(Side::default()) };
    let document: Value = serde_json::from_slice(&meaning.document).unwrap_or_default();
    let layers = kit::layers(session, node).await?;
    let unknown = layers.iter().filter(|layer| layer.state != LayerState::Indexed).count() as u64;
    for &kit::Layer { id, digest, state, tree, contents, .. } in &layers {
        together.learn(id, Identity { digest, state, tree, contents });
    }
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let declared = document.get("components").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let component = |component: &Value| Part {
        role: text(component, "role").unwrap_or_default(),
        name: text(component, "name"),
        path: text(component, "path"),
        remote: text(component, "remote"),
        parameters: component.get("parameters").cloned().unwrap_or_default(),
        ..Part::default()
    };
    let mut parts: Vec<_> = declared.iter().map(component).collect();
    let mut taken = BTreeSet::new();
    for one in graph::component_layers(session, node).await? {
        let part = usize::try_from(one.position).ok().and_then(|position| parts.get_mut(position));
        let Some((part, layer)) = part.zip(layers.iter().find(|layer| layer.id == one.layer)) else { continue };
        part.layers.push(layer.clone());
        taken.insert(layer.id);
    }
    let others = layers.iter().enumerate().filter(|(_, layer)| !taken.contains(&layer.id));
    if meaning.kind == modelkit::Kind::Artifact.as_str() && layers.len() > 1 {
        // However its files are spread over its layers, they are one thing.
        let layers = others.map(|(_, layer)| layer.clone()).collect();
        parts.push(Part { role: LAYER.into(), layers, ..Part::default() });
    } else {
        // What is in no component is compared by itself.
        let part = |(i, layer): (usize, &kit::Layer)| Part {
            role: LAYER.into(),
            name: layer.path.clone().or_else(|| Some(i.to_string())),
            layers: vec![layer.clone()],
            ..Part::default()
        };
        parts.extend(others.map(part));
    }
    for part in &mut parts {
        let placed = |layer: &kit::Layer| Placed { layer: layer.id, path: layer.path.clone().map(String::into_bytes) };
        let placed: Vec<_> = part.layers.iter().map(placed).collect();
        part.identities = together.identities(session, &placed).await?;
    }
    Ok(Side { document, parts, unknown })
}

/// The role of what is in no component.
const LAYER: &str = "layer";

/// Which components are each other's: of the same role, by name, else by path, else by what is in them, else by order.
fn pair<'a>(before: &'a [Part], after: &'a [Part]) -> Vec<(Option<&'a Part>, Option<&'a Part>)> {
    type Alike = fn(&Part, &Part) -> bool;
    const WAYS: [Alike; 5] = [
        |a, b| a.name.is_some() && a.name == b.name,
        |a, b| a.path.is_some() && a.path == b.path,
        |a, b| rung(a, b).is_some(),
        |a, b| a.name.is_none() && b.name.is_none(),
        |a, b| a.role == LAYER && (a.name.is_none() || b.name.is_none()),
    ];
    let mut partner: Vec<Option<usize>> = vec![None; before.len()];
    let mut taken = BTreeSet::new();
    for way in WAYS {
        for (i, one) in before.iter().enumerate() {
            if partner.get(i).copied().flatten().is_some() {
                continue;
            }
            let free = |(j, other): &(usize, &Part)| !taken.contains(j) && other.role == one.role && way(one, other);
            if let Some((j, _)) = after.iter().enumerate().find(free) {
                taken.insert(j);
                if let Some(slot) = partner.get_mut(i) {
                    *slot = Some(j);
                }
            }
        }
    }
    let both = before.iter().zip(partner).map(|(one, j)| (Some(one), j.and_then(|j| after.get(j))));
    let new = after.iter().enumerate().filter(|(j, _)| !taken.contains(j)).map(|(_, other)| (None, Some(other)));
    both.chain(new).collect()
}

/// Whether two components have the same files where what is inside of an archive counts instead of it.
async fn same_leaves(session: &mut Session, one: &Part, other: &Part) -> Result<bool, Error> {
    let layers = |part: &Part| part.layers.iter().map(|layer| layer.id).collect::<Vec<_>>();
    let is_known = |part: &Part| part.layers.iter().all(|layer| layer.state == LayerState::Indexed);
    if !is_known(one) || !is_known(other) {
        return Ok(false);
    }
    let (one, other) = (layers(one), layers(other));
    let count = file::count_leaves(session, &one).await?;
    let may_be = (1..=COMPARED).contains(&count) && count == file::count_leaves(session, &other).await?;
    Ok(may_be && file::leaves(session, &one).await? == file::leaves(session, &other).await?)
}

/// The strongest rung on which two components are the same, if there is one.
fn rung(one: &Part, other: &Part) -> Option<Rung> {
    if one.layers.is_empty() || other.layers.is_empty() {
        return None;
    }
    let same = |key: fn(&kit::Layer) -> Option<Digest>| {
        let keys = |part: &Part| part.layers.iter().map(key).collect::<Option<Vec<_>>>();
        keys(one).is_some_and(|keys_of_one| keys(other) == Some(keys_of_one))
    };
    let (one, other) = (one.identities, other.identities);
    [
        (Rung::Layer, same(|layer| Some(layer.digest))),
        (Rung::Tar, same(|layer| layer.diff_id)),
        (Rung::Tree, one.tree.is_some() && one.tree == other.tree),
        (Rung::Contents, one.contents.is_some() && one.contents == other.contents),
    ]
    .into_iter()
    .find_map(|(rung, holds)| holds.then_some(rung))
}

async fn compare(
    session: &mut Session,
    one: Option<&Part>,
    other: Option<&Part>,
) -> Result<view::ComponentDiff, Error> {
    let empty = Part::default();
    let (before, after) = (one.unwrap_or(&empty), other.unwrap_or(&empty));
    let rung = rung(before, after);
    let only_packed = rung.is_none() && same_leaves(session, before, after).await?;
    let shown = other.or(one).unwrap_or(&empty);
    let size = |part: &Part| part.layers.iter().map(|layer| layer.size).sum();
    let pending = [before, after].iter().any(|part| part.layers.iter().any(|layer| layer.state == LayerState::Pending));
    let parameters = values(&before.parameters, &after.parameters);
    let renamed = one.zip(other).is_some_and(|(one, other)| one.name != other.name || one.path != other.path);
    let references = (before.remote.clone(), after.remote.clone());
    let change = match (one, other, rung) {
        (None, ..) => "added",
        (_, None, _) => "removed",
        (.., Some(Rung::Layer)) if renamed => "renamed",
        (.., Some(Rung::Layer)) => "same",
        (.., Some(_)) => "repacked",
        _ if only_packed => "repacked",
        _ if before.layers.is_empty() && after.layers.is_empty() && references.0 == references.1 => "same",
        _ if pending => "pending",
        _ => "changed",
    };
    let (mut files, mut tensors) = (None, None);
    if rung != Some(Rung::Layer)
        && one.is_some()
        && other.is_some()
        && !(before.layers.is_empty() && after.layers.is_empty())
    {
        let count = |part: &Part| part.layers.iter().map(|layer| layer.files).sum::<u64>();
        if count(before).max(count(after)) <= COMPARED {
            let counts = |file: &file::File| if only_packed { !file.container } else { file.depth == 0 };
            let (one, other) = (files_of(session, before, counts).await?, files_of(session, after, counts).await?);
            files = one.zip(other).map(|(one, other)| compare_files(&one, &other));
        }
        let found = compare_named(&tensors_of(session, before).await?, &tensors_of(session, after).await?);
        tensors = Some(found).filter(|found| *found != view::Changes::default());
    }
    Ok(view::ComponentDiff {
        role: shown.role.clone(),
        name: shown.name.clone(),
        path: shown.path.clone(),
        change,
        says: match change {
            "repacked" => Some("same contents, repacked"),
            _ => None,
        },
        rung: rung.map(Rung::as_str),
        size_before: one.map(size),
        size_after: other.map(size),
        reference_before: references.0,
        reference_after: references.1,
        files,
        parameters,
        tensors,
    })
}

/// How many bytes the paths of a component's files may have.
const PATHS: usize = 256 << 20;

/// The files of a component that count, by their paths; nothing if the paths would fill the memory.
async fn files_of(
    session: &mut Session,
    part: &Part,
    counts: impl Fn(&file::File) -> bool,
) -> Result<Option<BTreeMap<String, (String, u64)>>, Error> {
    let mut files = BTreeMap::new();
    let mut paths = 0;
    for own in &part.layers {
        let mut from = 0;
        loop {
            let page = file::of_layer(session, own.id, from, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            from = last + 1;
            let is_last = page.len() < PAGE as usize;
            for (_, file) in page.into_iter().filter(|(_, file)| counts(file)) {
                // A layer that is one file is called what the manifest calls it.
                let own_name = || own.path.clone().or_else(|| part.path.clone()).unwrap_or_default();
                let path = match file.path.as_slice() {
                    b"" | b"!" => own_name(),
                    path => String::from_utf8_lossy(path).into_owned(),
                };
                paths += path.len();
                files.insert(path, (Digest::sha256(file.sha256).to_string(), file.size));
            }
            if paths > PATHS {
                return Ok(None);
            }
            if is_last {
                break;
            }
        }
    }
    Ok(Some(files))
}

fn compare_files(
    before: &BTreeMap<String, (String, u64)>,
    after: &BTreeMap<String, (String, u64)>,
) -> view::FileChanges {
    let mut changes = view::FileChanges::default();
    let mut gone: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, (sha256, _)) in before.iter().filter(|(path, _)| !after.contains_key(*path)).rev() {
        gone.entry(sha256).or_default().push(path);
    }
    for (path, (sha256, size)) in after {
        let file = || view::FileChange { path: path.clone(), from: None, sha256: sha256.clone(), size: *size };
        match before.get(path) {
            Some((same, _)) if same == sha256 => changes.unchanged += 1,
            Some(_) => changes.changed.add(file(), SHOWN),
            None => match gone.get_mut(&**sha256).and_then(Vec::pop) {
                Some(old) => changes.renamed.add(view::FileChange { from: Some(old.to_owned()), ..file() }, SHOWN),
                None => changes.added.add(file(), SHOWN),
            },
        }
    }
    let left: BTreeSet<&str> = gone.into_values().flatten().collect();
    for path in left {
        let Some((sha256, size)) = before.get(path) else { continue };
        let (path, sha256) = (path.to_owned(), sha256.clone());
        changes.removed.add(view::FileChange { path, from: None, sha256, size: *size }, SHOWN);
    }
    changes
}

/// The tensors of a component by their names: what is compared of each.
async fn tensors_of(session: &mut Session, part: &Part) -> Result<BTreeMap<String, Value>, Error> {
    let mut tensors = BTreeMap::new();
    for layer in &part.layers {
        for (_, _, document) in file::metadata_of_layer(session, layer.id).await? {
            let document: Value = serde_json::from_slice(&document).unwrap_or_default();
            for tensor in document.get("tensors").and_then(Value::as_array).into_iter().flatten() {
                let name = tensor.get("name").and_then(Value::as_str).unwrap_or_default();
                tensors.insert(name.to_owned(), tensor.clone());
            }
        }
    }
    Ok(tensors)
}

/// What is different between values by their names.
fn compare_named(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> view::Changes {
    let mut changes = view::Changes::default();
    for (name, tensor) in after {
        let (from, to) = (before.get(name).cloned(), Some(tensor.clone()));
        match &from {
            None => changes.added.add(view::Change { at: name.clone(), from, to }, SHOWN),
            Some(old) if old != tensor => changes.changed.add(view::Change { at: name.clone(), from, to }, SHOWN),
            Some(_) => {}
        }
    }
    for (name, tensor) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
        changes.removed.add(view::Change { at: name.clone(), from: Some(tensor.clone()), to: None }, SHOWN);
    }
    changes
}

/// What is different in two JSON values, by JSON pointer (RFC 6901), or nothing. Values whose pointers would fill the memory are
/// one difference.
fn values(before: &Value, after: &Value) -> Option<view::Changes> {
    let (mut one, mut other) = (BTreeMap::new(), BTreeMap::new());
    let mut room = POINTERS;
    let whole =
        leaves(before, String::new(), &mut one, &mut room) && leaves(after, String::new(), &mut other, &mut room);
    if !whole && before != after {
        let mut changes = view::Changes::default();
        changes.changed.add(view::Change { at: String::new(), from: None, to: None }, SHOWN);
        return Some(changes);
    }
    let changes = compare_named(&one, &other);
    (whole && changes != view::Changes::default()).then_some(changes)
}

/// How many bytes the pointers of two values may have.
const POINTERS: usize = 16 << 20;

/// Whether there was room for all.
fn leaves(value: &Value, pointer: String, into: &mut BTreeMap<String, Value>, room: &mut usize) -> bool {
    let Some(left) = room.checked_sub(pointer.len() + 1) else { return false };
    *room = left;
    match value {
        Value::Object(members) if !members.is_empty() => members.iter().all(|(name, value)| {
            let name = name.replace('~', "~0").replace('/', "~1");
            leaves(value, format!("{pointer}/{name}"), into, room)
        }),
        Value::Array(values) if !values.is_empty() => {
            values.iter().enumerate().all(|(i, value)| leaves(value, format!("{pointer}/{i}"), into, room))
        }
        Value::Null if pointer.is_empty() => true,
        leaf => {
            into.insert(pointer, leaf.clone());
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn files(all: &[(&str, &str)]) -> BTreeMap<String, (String, u64)> {
        all.iter().map(|(path, content)| ((*path).to_owned(), ((*content).to_owned(), content.len() as u64))).collect()
    }

    #[test]
    fn files_are_added_removed_changed_and_renamed() {
        let before = files(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "4")]);
        let after = files(&[("a", "1"), ("b", "22"), ("new", "5"), ("x", "4")]);
        let changes = compare_files(&before, &after);
        let paths =
            |list: &view::Capped<view::FileChange>| list.shown.iter().map(|f| f.path.clone()).collect::<Vec<_>>();
        assert_eq!(changes.unchanged, 1);
        assert_eq!(paths(&changes.added), ["new"]);
        assert_eq!(paths(&changes.removed), ["c", "e"]);
        assert_eq!(paths(&changes.changed), ["b"]);
        assert_eq!(
            (paths(&changes.renamed), changes.renamed.shown[0].from.as_deref()),
            (vec!["x".to_owned()], Some("d"))
        );
        let same = compare_files(&before, &before);
        assert_eq!(same, view::FileChanges { unchanged: 5, ..Default::default() });
    }

    #[test]
    fn values_are_compared_by_pointer() {
        let before = json!({"training": {"epochs": 5, "rate": 0.1}, "a/b": [1, 2], "gone": true});
        let after = json!({"training": {"epochs": 6, "rate": 0.1}, "a/b": [1, 2, 3]});
        let changes = values(&before, &after).unwrap();
        let at = |list: &view::Capped<view::Change>| list.shown.iter().map(|c| c.at.clone()).collect::<Vec<_>>();
        assert_eq!(at(&changes.changed), ["/training/epochs"]);
        assert_eq!(at(&changes.added), ["/a~1b/2"]);
        assert_eq!(at(&changes.removed), ["/gone"]);
        assert_eq!(values(&before, &before), None);
        assert_eq!(values(&Value::Null, &Value::Null), None);
    }

    #[test]
    fn components_are_each_others_by_name_then_by_path_then_by_order() {
        let part = |role: &str, name: Option<&str>, path: Option<&str>| Part {
            role: role.into(),
            name: name.map(Into::into),
            path: path.map(Into::into),
            ..Part::default()
        };
        let before =
            [part("dataset", Some("a"), Some("x")), part("dataset", Some("b"), Some("y")), part("model", None, None)];
        let after = [
            part("model", None, None),
            part("dataset", Some("c"), Some("x")),
            part("dataset", Some("b"), None),
            part("code", None, None),
        ];
        let pairs: Vec<_> = pair(&before, &after)
            .into_iter()
            .map(|(one, other)| {
                (one.and_then(|p| p.name.clone()), other.and_then(|p| p.name.clone()), one.is_some(), other.is_some())
            })
            .collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            pairs,
            [
                (text("a"), text("c"), true, true),
                (text("b"), text("b"), true, true),
                (None, None, true, true),
                (None, None, false, true)
            ]
        );
    }
}
