//! SLSA provenance, in the layouts of versions 0.x (`materials`) and 1.x (`buildDefinition`). What is there is read,
//! whatever version the predicate type says.

use serde_json::Value;

use crate::statement::{Draft, ENTRIES, Use, shown};
use crate::target::Digests;
use crate::{Relation, Target, json};

pub(crate) fn read(predicate: &Value, draft: &mut Draft) {
    let times = [&predicate["runDetails"]["metadata"], &predicate["metadata"]];
    draft.moment(&[
        &times[0]["finishedOn"],
        &times[1]["buildFinishedOn"],
        &times[0]["startedOn"],
        &times[1]["buildStartedOn"],
    ]);
    let definition = &predicate["buildDefinition"];
    for (place, list) in [
        ("buildDefinition.resolvedDependencies", &definition["resolvedDependencies"]),
        ("materials", &predicate["materials"]),
    ] {
        for (i, descriptor) in json::list(list, place, ENTRIES, &mut draft.problems).iter().enumerate() {
            dependency(descriptor, &format!("{place}[{i}]"), unlabelled, draft);
        }
    }
    for (place, descriptor) in [
        ("buildDefinition.externalParameters.source", &definition["externalParameters"]["source"]),
        ("invocation.configSource", &predicate["invocation"]["configSource"]),
    ] {
        // The parameters are the builder's own: an absent or strange one is no source, and no problem.
        if descriptor["uri"].is_string() || descriptor["digest"].is_object() {
            dependency(descriptor, place, source, draft);
        } else if descriptor.is_string() {
            dependency(&serde_json::json!({ "uri": descriptor }), place, source, draft);
        }
    }
}

/// An in-toto `ResourceDescriptor`. Its annotations say what it was used for, else `otherwise` does.
fn dependency(descriptor: &Value, place: &str, otherwise: fn(&Target) -> Relation, draft: &mut Draft) {
    let digests = Digests::of_set(&descriptor["digest"], place, &mut draft.problems);
    let location = [&descriptor["uri"], &descriptor["downloadLocation"]];
    let located = location.into_iter().filter_map(json::text).find_map(|text| Some((text, Target::parse(text)?)));
    let (declared, target) = match (located, digests.content()) {
        (Some((text, target)), _) => (shown(text), target.pinned(&digests)),
        (None, Some(digest)) => (digest.to_string(), Some(Target::Content(digest))),
        (None, None) => {
            draft.problems.lost(format!("{place} has neither a uri nor a digest that the registry knows"));
            return;
        }
    };
    let Some(target) = target else {
        draft.problems.lost(format!("{place}: the digest contradicts {declared}, and neither is believed"));
        return;
    };
    let words = [&descriptor["annotations"]["role"], &descriptor["annotations"]["relation"]];
    let words: Vec<_> = words.into_iter().filter_map(json::text).collect();
    let said = words.iter().find_map(|word| Some((*word, Relation::of_word(word)?)));
    let (word, relation) = match said {
        Some((word, relation)) => (Some(word), relation),
        None => (words.first().copied(), otherwise(&target)),
    };
    let name = json::text(&descriptor["name"]);
    draft.used(Use { relation, word: word.map(shown), name: name.map(shown), declared, target });
}

/// Git is the source of whatever was built; of anything else only what it is can tell.
fn unlabelled(target: &Target) -> Relation {
    match target {
        Target::External { identity, .. } if identity.is_git() => Relation::Source,
        _ => Relation::Unstated,
    }
}

/// What `kit import` was given. A repository of the hub holds the model itself, and not the code to make it.
fn source(target: &Target) -> Relation {
    match target {
        Target::External { identity, .. } if identity.as_str().starts_with("hf://") => Relation::DerivedFrom,
        Target::External { .. } => Relation::Source,
        Target::Artifact(_) | Target::Content(_) => Relation::Unstated,
    }
}
