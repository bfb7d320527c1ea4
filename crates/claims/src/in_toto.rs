//! in-toto statements of versions 0.1 and 1, with the predicates that say where something came from.

mod model_signing;
mod slsa;

use serde_json::Value;

use crate::statement::{Draft, ENTRIES, Format, shown};
use crate::target::Digests;
use crate::{cyclonedx, json, spdx};

/// Whether a document is one, by what it says.
pub(crate) fn is(document: &Value) -> bool {
    let typed = json::text(&document["_type"]).is_some_and(|text| text.starts_with("https://in-toto.io/Statement/"));
    typed || (document["predicateType"].is_string() && document["subject"].is_array())
}

pub(crate) fn read(document: &Value, draft: &mut Draft) {
    draft.format = Format::InToto;
    let predicate_type = json::text(&document["predicateType"]);
    draft.predicate_type = predicate_type.map(shown);
    for (i, subject) in json::list(&document["subject"], "subject", ENTRIES, &mut draft.problems).iter().enumerate() {
        let digests = Digests::of_set(&subject["digest"], &format!("subject[{i}]"), &mut draft.problems);
        draft.subject(json::text(&subject["name"]), digests.content());
    }
    let predicate = &document["predicate"];
    // cosign before 2 puts the document into a member.
    let inner = if predicate["Data"].is_object() { &predicate["Data"] } else { predicate };
    match predicate_type.unwrap_or_default() {
        text if is_of(text, "https://slsa.dev/provenance") => slsa::read(predicate, draft),
        text if is_of(text, "https://cyclonedx.org/bom") || is_of(text, "https://cyclonedx.org/schema") => {
            draft.format = Format::CycloneDx;
            cyclonedx::read(inner, draft);
        }
        text if is_of(text, "https://spdx.dev/Document") => {
            draft.format = Format::Spdx;
            spdx::read(inner, draft);
        }
        text if is_of(text, "https://model_signing/signature") => {
            draft.format = Format::ModelSigning;
            model_signing::read(predicate, draft);
        }
        _ => {}
    }
}

/// Whether a predicate type is `known`, or a version or variant of it: `known/v1.0`, `known/v1?draft`.
fn is_of(predicate_type: &str, known: &str) -> bool {
    predicate_type.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}
