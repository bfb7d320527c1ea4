//! OpenSSF Model Signing, version 1: the hash of every file of a model.

use serde_json::{Value, json};

use crate::json;
use crate::statement::{Draft, FILES};
use crate::target::Digests;

pub(crate) fn read(predicate: &Value, draft: &mut Draft) {
    let method = json::text(&predicate["serialization"]["method"]);
    if method.is_some_and(|method| method != "files") {
        // Its hashes are those of pieces of files.
        draft.problems.lost("it was signed in pieces, not by file: the hashes are of no files");
        return;
    }
    for (i, resource) in json::list(&predicate["resources"], "resources", FILES, &mut draft.problems).iter().enumerate()
    {
        let place = format!("resources[{i}]");
        let algorithm = json::text(&resource["algorithm"]).unwrap_or("sha256");
        let set = json!({ algorithm: resource["digest"] });
        let digests = Digests::of_set(&set, &place, &mut draft.problems);
        // White space in a path is part of it.
        match (resource["name"].as_str(), digests.sha256()) {
            (Some(name), Some(digest)) => draft.file(name, digest),
            _ => draft.problems.lost(format!("{place} has no name or no sha256")),
        }
    }
}
