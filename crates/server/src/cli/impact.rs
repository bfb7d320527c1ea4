//! `pedigree impact`, and how an answer is asked for and printed by every command.

use std::{fmt::Write as _, process::ExitCode, time::Duration};

use serde_json::Value;

use super::{Outcome, Ref, ServerFlag, print, print_json, pulls::pulled, short};
use crate::{
    client::{Client, ClientError, Completeness, Evidence, Holder, Impact, Matched},
    table::Table,
};

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("question").required(true).args(["file", "layer", "reference", "external"])))]
pub(super) struct Arguments {
    /// An artifact: REPOSITORY:TAG or REPOSITORY@DIGEST
    #[arg(value_name = "REF")]
    reference: Option<Ref>,
    /// The sha256 of a file
    #[arg(long, value_name = "DIGEST")]
    file: Option<oci::Digest>,
    /// The digest of a layer
    #[arg(long, value_name = "DIGEST")]
    layer: Option<oci::Digest>,
    /// Something in no registry, by its identity: hf://…@COMMIT, s3://…?versionId=…, git+https://…@COMMIT
    #[arg(long, value_name = "IDENTITY")]
    external: Option<String>,
    /// Only this dataset of the artifact
    #[arg(long, value_name = "NAME", requires = "reference")]
    dataset: Option<String>,
    /// Only evidence of this grade or better: attested, declared, packaged or matched
    #[arg(long)]
    grade: Option<String>,
    /// Only what is the same in this way: layer, tar, tree, contents, file or overlap
    #[arg(long)]
    rung: Option<String>,
    /// The smallest share of the files that is an overlap, from 0 to 1; one half if it is not said
    #[arg(long, value_name = "SHARE")]
    min_overlap: Option<f64>,
    /// As of this moment (RFC 3339)
    #[arg(long, value_name = "MOMENT")]
    as_of: Option<String>,
    /// By which time: recorded (as the registry knew it then) or occurred (as producers say)
    #[arg(long, value_name = "KIND", requires = "as_of")]
    as_of_kind: Option<String>,
    /// Tell of models, too, that nobody says are affected and that have weights of one that is, or are its adapters
    #[arg(long)]
    matched: bool,
    /// Tell who pulled each model, and when
    #[arg(long)]
    pulls: bool,
    /// Seconds to wait for scans that are under way
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
    #[command(flatten)]
    server: ServerFlag,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let client =
        arguments.server.client(arguments.reference.as_ref().and_then(|reference| reference.host.as_deref()))?;
    let mut question = Vec::new();
    let texts = [
        ("file", arguments.file.as_ref().map(ToString::to_string)),
        ("layer", arguments.layer.as_ref().map(ToString::to_string)),
        ("ref", arguments.reference.as_ref().map(ToString::to_string)),
        ("external", arguments.external.clone()),
        ("dataset", arguments.dataset.clone()),
        ("as_of", arguments.as_of.clone()),
        ("as_of_kind", arguments.as_of_kind.clone()),
        ("matched", arguments.matched.then(|| "true".to_owned())),
        ("grade", arguments.grade.clone()),
        ("rung", arguments.rung.clone()),
        ("min_overlap", arguments.min_overlap.map(|share| share.to_string())),
        ("pulls", arguments.pulls.then(|| "true".to_owned())),
    ];
    for (name, text) in &texts {
        if let Some(text) = text {
            question.push((*name, text.as_str()));
        }
    }
    let answer = ask(&client, &question, Duration::from_secs(arguments.wait.min(86_400)))?;
    if arguments.json {
        print_json(&answer)?;
    } else {
        print(&text(&answer))?;
    }
    Ok(ExitCode::from(code(&answer)))
}

/// Asks, and follows the pages to the last one.
pub(super) fn ask(client: &Client, question: &[(&str, &str)], wait: Duration) -> Result<Impact, ClientError> {
    pages(question, wait, |query, wait| client.get("/api/v1/impact", query, wait))
}

/// Asks about many files at once, and follows the pages to the last one.
pub(super) fn ask_files(client: &Client, files: &Value, wait: Duration) -> Result<Impact, ClientError> {
    pages(&[], wait, |query, wait| client.post("/api/v1/impact", query, files, wait))
}

fn pages(
    question: &[(&str, &str)],
    wait: Duration,
    ask: impl Fn(&[(&str, &str)], Duration) -> Result<Impact, ClientError>,
) -> Result<Impact, ClientError> {
    let seconds = wait.as_secs().to_string();
    let mut query = question.to_vec();
    query.push(("wait", &seconds));
    let mut answer = ask(&query, wait)?;
    while let Some(cursor) = answer.next.take() {
        // The first page waited; the cursor pins its moment.
        let mut query = question.to_vec();
        query.push(("cursor", &cursor));
        let mut page = ask(&query, Duration::ZERO)?;
        answer.next = page.next.take().filter(|next| *next != cursor);
        answer.merge_completeness(&page.completeness);
        // Only the first page counts them.
        page.more_holders = answer.more_holders;
        answer.merge(page);
    }
    Ok(answer)
}

/// The exit code that says the answer.
pub(super) fn code(answer: &Impact) -> u8 {
    // What is everywhere is held by somebody, too.
    let nobody = answer.models.is_empty() && answer.holders.is_empty() && answer.ubiquitous.is_empty();
    match (nobody, answer.completeness.exact) {
        (false, _) => 1,
        (true, true) => 0,
        (true, false) => 3,
    }
}

/// The answer for people.
pub(super) fn text(answer: &Impact) -> String {
    let mut text = String::new();
    if answer.models.is_empty() && !answer.ubiquitous.is_empty() {
        text.push_str("No model has more of it than files that very many repositories have, which are named below.\n");
    } else if answer.models.is_empty() {
        text.push_str("No model is known to be affected.\n");
    } else {
        let _ = writeln!(text, "Affected: {}", count(answer.models.len() as u64, "model", "models"));
        let mut table = Table::new(&["MODEL", "STATE", "DISTANCE", "GRADE", "HOW"]);
        for model in &answer.models {
            let distance = model.distance.map_or_else(String::new, |distance| distance.to_string());
            let grade = model.grade.clone().unwrap_or_default();
            table.row([name(model), model.state.clone().unwrap_or_default(), distance, grade, how(model)]);
        }
        let _ = write!(text, "{table}{}", pulled(&answer.models));
    }
    if !answer.matched.is_empty() {
        let matched = count(answer.matched.len() as u64, "model", "models");
        let _ =
            writeln!(text, "\nNot said to be affected, but with weights of one that is, or for its weights: {matched}");
        let mut table = Table::new(&["MODEL", "WITH", "WHAT"]);
        for matched in &answer.matched {
            let model = called(&matched.repository, &matched.tags, &matched.digest);
            table.row([model, short(&matched.with).to_owned(), likely(matched)]);
        }
        let _ = write!(text, "{table}");
    }
    if !answer.holders.is_empty() {
        let _ = writeln!(text, "\nNot models, but they hold it: {}", answer.holders.len());
        let mut table = Table::new(&["ARTIFACT", "STATE", "KIND", "WHERE"]);
        for holder in &answer.holders {
            let kind = holder.kind.clone().unwrap_or_default();
            table.row([name(holder), holder.state.clone().unwrap_or_default(), kind, how(holder)]);
        }
        let _ = write!(text, "{table}");
        if let Some(more @ 1..) = answer.more_holders {
            let _ = writeln!(text, "  and {more} more: GET /api/v1/holders lists them all");
        }
    }
    if answer.more_holders.is_none() {
        text.push_str(
            "\nThere are too many holders to look for those that are no models: GET /api/v1/holders lists all.\n",
        );
    }
    let _ = writeln!(text, "\n{}", completeness(&answer.completeness));
    text
}

/// What two models have in common that nobody declares.
fn likely(matched: &Matched) -> String {
    if let Some(adapter) = &matched.adapter {
        let by = adapter.by.iter().map(|by| by.replace('_', " ")).collect::<Vec<_>>().join(" and ");
        let what = if adapter.this_is == "adapter" { "an adapter of it" } else { "the base of it, an adapter" };
        return format!("{what}, by {by} ({})", adapter.base);
    }
    let what = if matched.file.is_some() { "the same file" } else { "tensors" };
    format!("{:.0} %, {what}", matched.share.unwrap_or_default() * 100.0)
}

/// What it is called.
pub(super) fn name(holder: &Holder) -> String {
    called(&holder.repository, &holder.tags, &holder.digest)
}

fn called(repository: &str, tags: &[String], digest: &str) -> String {
    if tags.is_empty() { format!("{repository}@{}", short(digest)) } else { format!("{repository}:{}", tags.join(",")) }
}

/// Every distinct way; what is beyond the third is counted.
fn how(holder: &Holder) -> String {
    let mut ways: Vec<String> = Vec::new();
    for way in holder.evidence.iter().map(way) {
        if !way.is_empty() && !ways.contains(&way) {
            ways.push(way);
        }
    }
    let more = ways.len().saturating_sub(3) as u64 + holder.more_evidence;
    ways.truncate(3);
    let mut text = ways.join("; ");
    if more > 0 {
        let _ = write!(text, "; and {more} more");
    }
    text
}

fn way(evidence: &Evidence) -> String {
    let mut parts = Vec::new();
    if let Some(component) = &evidence.component {
        let words = [component.role.as_deref(), component.name.as_deref()];
        parts.push(words.into_iter().flatten().collect::<Vec<_>>().join(" "));
    }
    parts.extend(evidence.path.clone());
    let node = evidence.target.as_ref().or(evidence.source.as_ref()).and_then(|node| {
        let digest = node.digest.as_deref().map(short);
        Some(match (node.repository.as_deref(), digest) {
            (Some(repository), Some(digest)) => format!("{repository}@{digest}"),
            (Some(one), None) | (None, Some(one)) => one.to_owned(),
            (None, None) => return None,
        })
    });
    let edge = evidence
        .edge
        .as_deref()
        .filter(|edge| !["packaged_with", "holds", "is"].contains(edge))
        .map(|edge| edge.replace('_', " "));
    match (edge, evidence.reference.clone().or(node)) {
        (Some(edge), Some(other)) => parts.push(format!("{edge} {other}")),
        (Some(edge), None) => parts.push(edge),
        (None, Some(other)) if evidence.path.is_none() => parts.push(other),
        (None, _) => {}
    }
    parts.extend(likeness(evidence));
    let mut text = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    match evidence.claim.as_ref().map(|claim| (claim.signed_by.as_deref(), claim.by.as_deref())) {
        Some((Some(signer), _)) => {
            let _ = write!(text, " (signed by {signer})");
        }
        Some((None, Some(by))) => {
            let _ = write!(text, " (said by {by})");
        }
        _ => {}
    }
    if evidence.late == Some(true) {
        text.push_str(" (known only later)");
    }
    if evidence.assumed == Some(true) {
        text.push_str(" (assumed)");
    }
    text
}

/// In which way it is the same, unless it is simply the file.
fn likeness(evidence: &Evidence) -> Option<String> {
    match (evidence.rungs.first().map(String::as_str)?, &evidence.overlap) {
        ("file", _) if evidence.md5.is_some() => Some("the same file by its MD5".into()),
        ("overlap", Some(overlap)) => Some(format!("has {} of the {} files", overlap.common, overlap.asked)),
        ("file" | "overlap", _) => None,
        (rung, _) => Some(format!("the same {rung}")),
    }
}

/// What the answer could know, in a sentence.
pub(super) fn completeness(completeness: &Completeness) -> String {
    let mut text = if completeness.exact {
        let indexed = completeness.layers.get("indexed").copied().unwrap_or(0);
        format!("This is exact: {} looked into, nothing is missing.", count(indexed, "layer", "layers"))
    } else {
        let words = [
            ("pending", "not yet scanned (--wait waits longer)"),
            ("partial", "read only in part"),
            ("opaque", "that cannot be read, such as encrypted ones"),
            ("failed", "whose scan failed"),
            ("purged", "deleted before they could be read"),
            ("outdated", "read by an older scanner"),
        ];
        let mut missing = Vec::new();
        for (state, words) in words {
            let layers = completeness.layers.get(state).copied().unwrap_or(0);
            if layers > 0 {
                missing.push(format!("{} {words}", count(layers, "layer", "layers")));
            }
        }
        if completeness.unresolved_references > 0 {
            missing.push(count(
                completeness.unresolved_references,
                "reference to what is not here",
                "references to what is not here",
            ));
        }
        if completeness.unknown_versions > 0 {
            missing.push(count(completeness.unknown_versions, "use of an unknown version", "uses of unknown versions"));
        }
        if completeness.incomplete_kits > 0 {
            missing.push(count(
                completeness.incomplete_kits,
                "kit not wholly understood",
                "kits not wholly understood",
            ));
        }
        if completeness.incomplete_claims > 0 {
            missing.push(count(
                completeness.incomplete_claims,
                "statement not wholly read",
                "statements not wholly read",
            ));
        }
        if completeness.unread_files > 0 {
            let files = count(completeness.unread_files, "file here", "files here");
            missing.push(format!("what is in {files}"));
        }
        if missing.is_empty() {
            missing.push("the server does not say what".into());
        }
        format!("This may be INCOMPLETE. Missing: {}.", missing.join("; "))
    };
    let outside = [
        ("remote_datasets", "remote dataset", "remote datasets"),
        ("external_parents", "external parent", "external parents"),
    ];
    for (key, one, many) in outside {
        let number = completeness.outside.get(key).copied().unwrap_or(0);
        if number > 0 {
            let _ = write!(text, "\nOutside this registry, and not looked into: {}.", count(number, one, many));
        }
    }
    text
}

/// A number of things.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(json: &str) -> Impact {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn exit_codes() {
        assert_eq!(code(&answer(r#"{"completeness":{"exact":true}}"#)), 0);
        assert_eq!(code(&answer(r#"{"completeness":{"exact":true},"models":[{}]}"#)), 1);
        assert_eq!(code(&answer(r#"{"completeness":{"exact":false},"holders":[{}]}"#)), 1);
        assert_eq!(code(&answer(r#"{"completeness":{"exact":false}}"#)), 3);
        assert_eq!(code(&answer("{}")), 3);
    }

    #[test]
    fn the_text_says_who_and_how_sure() {
        let text = text(&answer(
            r#"{"completeness":{"exact":false,"layers":{"pending":1},"outside":{"remote_datasets":2}},
            "models":[{"repository":"fraud/detector","digest":"sha256:0123456789abcdef","tags":["1.0","1.1"],"state":"tagged",
              "distance":0,"grade":"packaged","evidence":[{"edge":"packaged_with","component":{"role":"dataset","name":"train"},
              "path":"data/train/customers.csv"}]},
             {"repository":"fraud/disputes","digest":"sha256:0123456789abcdef","distance":1,
              "evidence":[{"edge":"derived_from","reference":"localhost:5000/fraud/detector:1.1","late":true}]}]}"#,
        ));
        assert!(text.contains("Affected: 2 models"), "{text}");
        assert!(text.contains("fraud/detector:1.0,1.1 "), "{text}");
        assert!(text.contains("dataset train, data/train/customers.csv"), "{text}");
        assert!(text.contains("fraud/disputes@sha256:0123456789ab "), "{text}");
        assert!(text.contains("derived from localhost:5000/fraud/detector:1.1 (known only later)"), "{text}");
        assert!(text.contains("INCOMPLETE. Missing: 1 layer not yet scanned"), "{text}");
        assert!(text.contains("2 remote datasets"), "{text}");
    }
}
