//! `pedigree audit`

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Outcome, ServerFlag, kits::text, print, print_json, short};
use crate::table::Table;

pub(super) const HELP: &str = "\
Examples:
  pedigree audit --repository fraud/detector
  pedigree audit --action manifest.delete --since 2026-11-01T00:00:00Z
  pedigree audit --actor alice --limit 1000 --json

The newest first. GET /api/v1/audit answers all at once, the oldest first, to `Accept: application/x-ndjson`.

Exit codes: 0 well, also when nothing was found; 2 error.";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only what this account did, or this command of the operator
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only this action, such as manifest.push, manifest.delete, tag.delete, blob.mount or gc.blob
    #[arg(long)]
    action: Option<String>,
    /// Only in this repository
    #[arg(long, value_name = "NAME")]
    repository: Option<oci::Name>,
    /// Only to this manifest or blob
    #[arg(long)]
    digest: Option<oci::Digest>,
    /// Only to this tag
    #[arg(long)]
    tag: Option<oci::Tag>,
    /// Only from this moment on, as 2026-11-20T09:14:03Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before this moment
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The most records to list
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    #[command(flatten)]
    server: ServerFlag,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    const PAGE: u64 = 1000;
    let client = arguments.server.client(None)?;
    let most = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let texts = [
        ("actor", arguments.actor.clone()),
        ("action", arguments.action.clone()),
        ("repository", arguments.repository.as_ref().map(ToString::to_string)),
        ("digest", arguments.digest.as_ref().map(ToString::to_string)),
        ("tag", arguments.tag.as_ref().map(ToString::to_string)),
        ("since", arguments.since.clone()),
        ("until", arguments.until.clone()),
        ("limit", Some(arguments.limit.min(PAGE).to_string())),
    ];
    let query: Vec<_> = texts.iter().filter_map(|(name, text)| Some((*name, text.as_deref()?))).collect();
    let mut records: Vec<Value> = Vec::new();
    let mut has_more = false;
    client.pages("/api/v1/audit", &query, |mut page| {
        if let Some(Value::Array(more)) = page.get_mut("records").map(Value::take) {
            records.extend(more);
        }
        let next = page.get("next").and_then(Value::as_str).map(str::to_owned);
        has_more = records.len() > most || (records.len() == most && next.is_some());
        next.filter(|_| records.len() < most)
    })?;
    records.truncate(most);
    if arguments.json {
        print_json(&json!({"records": records, "more": has_more}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut said = if records.is_empty() { "nothing was found\n".to_owned() } else { table(&records).to_string() };
    if has_more {
        said += "there is more; --limit shows it\n";
    }
    print(&said)?;
    Ok(ExitCode::SUCCESS)
}

fn table(records: &[Value]) -> Table {
    let mut table = Table::new(&["AT", "ACTOR", "ACTION", "REPOSITORY", "TAG", "DIGEST", "DETAIL", "REQUEST"]);
    for record in records {
        let detail = match record.get("detail") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        table.row([
            text(record, "at"),
            text(record, "actor"),
            text(record, "action"),
            text(record, "repository"),
            text(record, "tag"),
            short(&text(record, "digest")).to_owned(),
            detail,
            text(record, "request_id"),
        ]);
    }
    table
}
