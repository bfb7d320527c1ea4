//! SPDX 3 as JSON-LD: what the AI package was trained on, tested on and derived from. SPDX 2 has no words for that.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::problems::Problems;
use crate::statement::{Described, Draft, Format, shown};
use crate::target::Digests;
use crate::{Relation, json};

/// Whether a document is one, by what it says.
pub(crate) fn is(document: &Value) -> bool {
    let context = match &document["@context"] {
        Value::Array(contexts) => contexts.first().unwrap_or(&Value::Null),
        context => context,
    };
    let named = json::text(context).is_some_and(|context| context.contains("spdx.org/"));
    document["spdxVersion"].is_string() || (named && document["@graph"].is_array())
}

/// A document that is not the predicate of a statement: its package is the subject.
pub(crate) fn read_alone(document: &Value, draft: &mut Draft) {
    draft.format = Format::Spdx;
    let graph = Graph::of(document);
    if let Some(package) = graph.subject() {
        let digest = graph.described(package, &mut draft.problems).digests.content();
        draft.subject(json::text(&package["name"]), digest);
    }
    read(document, draft);
}

pub(crate) fn read(document: &Value, draft: &mut Draft) {
    let graph = Graph::of(document);
    // Who made it and when stands beside the elements, or in each of them.
    let created = graph.elements.iter().flat_map(|element| [&element["created"], &element["creationInfo"]["created"]]);
    let created = created.into_iter().find(|created| created.is_string());
    draft.moment(&[created.unwrap_or(&Value::Null)]);
    let Some(package) = graph.subject() else {
        if graph.elements.iter().any(|element| element["type"] == MODEL) {
            draft.problems.lost("it has several AI packages, and does not say which one it describes");
        }
        return;
    };
    let Some(id) = id(package) else { return };
    for (path, digest) in graph.described(package, &mut draft.problems).files {
        draft.file(path, digest);
    }
    let mut seen = HashSet::new();
    for relationship in graph.relationships() {
        let kind = json::text(&relationship["relationshipType"]).unwrap_or_default();
        let relation = match kind {
            "trainedOn" => Relation::TrainedOn,
            "testedOn" => Relation::TestedOn,
            "descendantOf" | "ancestorOf" => Relation::DerivedFrom,
            _ => continue,
        };
        let (from, to) = ends(relationship);
        // Whose ancestor something is stands at the other end.
        let used = match kind {
            "ancestorOf" if to.contains(&id) => from.into_iter().collect(),
            "ancestorOf" => continue,
            _ if from == Some(id) => to,
            _ => continue,
        };
        for id in used {
            // One element may be referred to many times, and contain many files.
            if !seen.insert((relation, id)) {
                continue;
            }
            let described = match graph.by_id.get(id) {
                Some(element) => graph.described(element, &mut draft.problems),
                // An element of another document.
                None => Described { name: Some(id), places: vec![id], ..Described::default() },
            };
            draft.described(relation, Some(kind), &described);
        }
    }
}

const MODEL: &str = "ai_AIPackage";

/// The elements of a document.
struct Graph<'a> {
    elements: &'a [Value],
    by_id: HashMap<&'a str, &'a Value>,
    /// What each element contains.
    contained: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Graph<'a> {
    fn of(document: &'a Value) -> Self {
        let elements = document["@graph"].as_array().map_or(&[][..], Vec::as_slice);
        let by_id = elements.iter().filter_map(|element| Some((id(element)?, element))).collect();
        let mut graph = Self { elements, by_id, contained: HashMap::new() };
        for relationship in graph.relationships() {
            let kind = json::text(&relationship["relationshipType"]);
            if let (Some("contains" | "hasDataFile"), (Some(from), to)) = (kind, ends(relationship)) {
                graph.contained.entry(from).or_default().extend(to);
            }
        }
        graph
    }

    /// The only AI package, or the one that is a root of the document or of a bill of materials in it.
    fn subject(&self) -> Option<&'a Value> {
        let mut models = self.elements.iter().filter(|element| element["type"] == MODEL);
        let only = models.next().filter(|_| models.next().is_none());
        only.or_else(|| {
            let roots = self.elements.iter().flat_map(|element| references(&element["rootElement"]));
            let mut roots = roots.filter_map(|id| self.by_id.get(id)).filter(|root| root["type"] == MODEL);
            let first = roots.next()?;
            roots.all(|root| id(root) == id(first)).then_some(*first)
        })
    }

    fn relationships(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let is = |element: &&Value| json::text(&element["type"]).is_some_and(|kind| kind.ends_with("Relationship"));
        self.elements.iter().filter(is)
    }

    /// Where an element is, what it hashes to, and the files that it contains.
    fn described(&self, element: &'a Value, problems: &mut Problems) -> Described<'a> {
        let mut places = Vec::new();
        for member in ["software_packageUrl", "software_downloadLocation", "downloadLocation"] {
            let place = json::text(&element[member]).filter(|place| !matches!(*place, "NOASSERTION" | "NONE"));
            places.extend(place);
        }
        let identifiers = element["externalIdentifier"].as_array().into_iter().flatten();
        let identifiers = identifiers.filter(|identifier| {
            let kind = json::text(&identifier["externalIdentifierType"]);
            matches!(kind, Some("packageURL" | "packageUrl" | "urlScheme"))
        });
        places.extend(identifiers.filter_map(|identifier| json::text(&identifier["identifier"])));
        let mut files = Vec::new();
        let contained = id(element).and_then(|id| self.contained.get(id)).into_iter().flatten();
        for file in contained.filter_map(|id| self.by_id.get(id)).filter(|file| file["type"] == "software_File") {
            files.extend(json::text(&file["name"]).zip(hashes(file, problems).sha256()));
        }
        Described { name: json::text(&element["name"]), places, digests: hashes(element, problems), files }
    }
}

fn hashes(element: &Value, problems: &mut Problems) -> Digests {
    let list = element["verifiedUsing"].as_array().map_or(&[][..], Vec::as_slice);
    let place = json::text(&element["name"]).map_or_else(|| "verifiedUsing".to_owned(), shown);
    Digests::of_list(list, ("algorithm", "hashValue"), &place, problems)
}

/// Where a relationship begins, and where it leads.
fn ends(relationship: &Value) -> (Option<&str>, Vec<&str>) {
    (references(&relationship["from"]).next(), references(&relationship["to"]).collect())
}

/// The elements that a member refers to: one or a list, by name or as objects in place.
fn references(member: &Value) -> impl Iterator<Item = &str> {
    let entries = match member {
        Value::Array(entries) => entries,
        entry => std::slice::from_ref(entry),
    };
    entries.iter().filter_map(|entry| json::text(entry).or_else(|| id(entry)))
}

fn id(element: &Value) -> Option<&str> {
    json::text(&element["spdxId"]).or_else(|| json::text(&element["@id"]))
}
