//! CycloneDX 1.5 to 1.7: what the component in `metadata` was trained on, tested on and derived from.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::problems::Problems;
use crate::statement::{Described, Draft, ENTRIES, FILES, Format};
use crate::target::Digests;
use crate::{Relation, json};

/// The kinds of external references that lead to the thing itself, the best first.
const PLACES: [&str; 4] = ["distribution", "distribution-intake", "source-distribution", "vcs"];

/// Whether a document is one, by what it says.
pub(crate) fn is(document: &Value) -> bool {
    document["bomFormat"] == "CycloneDX"
}

/// A document that is not the predicate of a statement: its component is the subject.
pub(crate) fn read_alone(document: &Value, draft: &mut Draft) {
    draft.format = Format::CycloneDx;
    if let Some(component) = subject(document) {
        let digest = described(component, &mut draft.problems).digests.content();
        draft.subject(json::text(&component["name"]), digest);
    }
    read(document, draft);
}

pub(crate) fn read(document: &Value, draft: &mut Draft) {
    draft.moment(&[&document["metadata"]["timestamp"]]);
    let Some(component) = subject(document) else {
        if document.get("components").is_some_and(|components| !components.is_null()) {
            draft.problems.note("it does not say which component it describes");
        }
        return;
    };
    for licence in entries(component, "licenses", &mut draft.problems) {
        let licence = [&licence["expression"], &licence["license"]["id"], &licence["license"]["name"]];
        if let Some(licence) = licence.into_iter().find_map(json::text) {
            draft.licence(licence);
        }
    }
    for (path, digest) in described(component, &mut draft.problems).files {
        draft.file(path, digest);
    }
    let components = Components::of(document);
    for ancestor in entries(&component["pedigree"], "ancestors", &mut draft.problems) {
        let described = described(ancestor, &mut draft.problems);
        draft.described(Relation::DerivedFrom, None, &described);
    }
    // One component may be referred to ten thousand times, and have as many files.
    let mut seen = HashSet::new();
    for dataset in entries(&component["modelCard"]["modelParameters"], "datasets", &mut draft.problems) {
        match json::text(&dataset["ref"]).or(json::text(dataset)) {
            Some(reference) if seen.insert(reference) => referred(reference, &components, draft),
            Some(_) => {}
            None => inline(dataset, draft),
        }
    }
    for reference in entries(component, "externalReferences", &mut draft.problems) {
        if reference["type"] == "vcs"
            && let Some(url) = json::text(&reference["url"])
        {
            let places = vec![url];
            draft.described(Relation::Source, Some("vcs"), &Described { places, ..Described::default() });
        }
    }
    depends_on(document, component, &components, seen, draft);
}

/// The component that the document is about: that of its metadata, or its only model.
fn subject(document: &Value) -> Option<&Value> {
    let component = &document["metadata"]["component"];
    if component.is_object() {
        return Some(component);
    }
    let mut models = document["components"].as_array()?.iter().filter(|component| component["type"] == MODEL);
    models.next().filter(|_| models.next().is_none())
}

const MODEL: &str = "machine-learning-model";

/// The components of a document by their `bom-ref`.
struct Components<'a>(HashMap<&'a str, &'a Value>);

impl<'a> Components<'a> {
    fn of(document: &'a Value) -> Self {
        let mut components = HashMap::new();
        let mut open = vec![&document["metadata"]["component"]];
        open.extend(document["components"].as_array().into_iter().flatten());
        while let Some(component) = open.pop() {
            // A dataset may be referred to by itself or by its data.
            let data = component["data"].as_array().into_iter().flatten();
            for reference in [component].into_iter().chain(data).filter_map(|entry| json::text(&entry["bom-ref"])) {
                components.insert(reference, component);
            }
            open.extend(component["components"].as_array().into_iter().flatten());
        }
        Self(components)
    }
}

/// A dataset of the model card that is described on the spot.
fn inline(dataset: &Value, draft: &mut Draft) {
    let (relation, word) = purpose(dataset, &[]);
    let places = json::text(&dataset["contents"]["url"]).into_iter().collect();
    let described = Described { name: json::text(&dataset["name"]), places, ..Described::default() };
    draft.described(relation, word, &described);
}

/// A dataset of the model card that is a component.
fn referred(reference: &str, components: &Components<'_>, draft: &mut Draft) {
    if let Some(component) = components.0.get(reference) {
        let data = component["data"].as_array().map_or(&[][..], Vec::as_slice);
        let (relation, word) = purpose(component, data);
        let described = described(component, &mut draft.problems);
        draft.described(relation, word, &described);
    } else {
        // A reference into another document is an identity of its own.
        let places = if reference.starts_with("urn:cdx:") { vec![reference] } else { Vec::new() };
        draft.described(
            Relation::TrainedOn,
            None,
            &Described { name: Some(reference), places, ..Described::default() },
        );
    }
}

/// What a dataset was used for. A model card's datasets were trained on, unless a property or a name says that all of
/// it was for testing: what was for both must not be missing from training.
fn purpose<'a>(component: &'a Value, data: &'a [Value]) -> (Relation, Option<&'a str>) {
    let mut tested = None;
    let entries = || [component].into_iter().chain(data);
    let properties = entries().flat_map(|entry| {
        let inner = entry["contents"]["properties"].as_array().into_iter().flatten();
        entry["properties"].as_array().into_iter().flatten().chain(inner)
    });
    let properties = properties.filter(|property| {
        let name = json::text(&property["name"]).unwrap_or_default();
        let last = name.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        ["role", "relation", "split", "usage", "use", "purpose"].iter().any(|known| last.eq_ignore_ascii_case(known))
    });
    for word in properties.filter_map(|property| json::text(&property["value"])) {
        match Relation::of_word(word) {
            Some(Relation::TrainedOn) => return (Relation::TrainedOn, Some(word)),
            Some(Relation::TestedOn) => tested = tested.or(Some(word)),
            _ => {}
        }
    }
    for name in entries().filter_map(|entry| json::text(&entry["name"])) {
        let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !is_filler(word));
        for word in words {
            match Relation::of_word(word) {
                Some(Relation::TrainedOn) => return (Relation::TrainedOn, Some(word)),
                Some(Relation::TestedOn) => tested = tested.or(Some(word)),
                _ => {}
            }
        }
    }
    tested.map_or((Relation::TrainedOn, None), |word| (Relation::TestedOn, Some(word)))
}

/// `test-data` is for testing, although data alone is for training.
fn is_filler(word: &str) -> bool {
    ["data", "dataset", "set"].iter().any(|filler| word.eq_ignore_ascii_case(filler))
}

/// Data and models that the subject depends on, and the model card did not name. How is not said.
fn depends_on<'a>(
    document: &'a Value,
    component: &Value,
    components: &Components<'a>,
    mut seen: HashSet<&'a str>,
    draft: &mut Draft,
) {
    let Some(reference) = json::text(&component["bom-ref"]) else { return };
    for dependency in entries(document, "dependencies", &mut draft.problems) {
        if json::text(&dependency["ref"]) != Some(reference) {
            continue;
        }
        for on in entries(dependency, "dependsOn", &mut draft.problems).iter().filter_map(json::text) {
            if let Some(used) = components.0.get(on)
                && (used["type"] == "data" || used["type"] == MODEL)
                && seen.insert(on)
            {
                let described = described(used, &mut draft.problems);
                draft.described(Relation::Unstated, None, &described);
            }
        }
    }
}

/// Where a component is, what it hashes to, and the files in it.
fn described<'a>(component: &'a Value, problems: &mut Problems) -> Described<'a> {
    let mut places: Vec<_> = json::text(&component["purl"]).into_iter().collect();
    let references = component["externalReferences"].as_array().map_or(&[][..], Vec::as_slice);
    for kind in PLACES {
        let of_kind = references.iter().filter(|reference| reference["type"] == kind);
        places.extend(of_kind.filter_map(|reference| json::text(&reference["url"])));
    }
    let data = component["data"].as_array().into_iter().flatten();
    places.extend(data.filter_map(|data| json::text(&data["contents"]["url"])));
    let mut files = Vec::new();
    let mut open: Vec<_> = component["components"].as_array().into_iter().flatten().rev().collect();
    while let Some(inner) = open.pop().filter(|_| files.len() <= FILES) {
        if inner["type"] == "file" {
            let digest = hashes(inner, problems).sha256();
            files.extend(json::text(&inner["name"]).zip(digest));
        }
        open.extend(inner["components"].as_array().into_iter().flatten().rev());
    }
    Described { name: json::text(&component["name"]), places, digests: hashes(component, problems), files }
}

fn hashes(component: &Value, problems: &mut Problems) -> Digests {
    let list = component["hashes"].as_array().map_or(&[][..], Vec::as_slice);
    let place = json::text(&component["name"]).map_or_else(|| "hashes".to_owned(), crate::statement::shown);
    Digests::of_list(list, ("alg", "content"), &place, problems)
}

fn entries<'a>(object: &'a Value, member: &str, problems: &mut Problems) -> &'a [Value] {
    json::list(&object[member], member, ENTRIES, problems)
}
