//! `pedigree history`

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Outcome, ServerFlag, TagRef, kits::text, print, print_json, short};
use crate::table::Table;

pub(super) const HELP: &str = "\
Examples:
  pedigree history fraud/detector:champion
  pedigree history fraud/detector:champion --as-of 2026-11-20T09:14:03Z --json

Also of a tag that was deleted. The newest event comes first. Promotions that a check refused
are shown as such: the tag stayed.

Exit codes: 0 well, 2 error.";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// REPOSITORY:TAG
    #[arg(value_name = "TAG")]
    tag: TagRef,
    /// Only what had happened at this moment (RFC 3339)
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,
    /// By which time: recorded or occurred, which are the same for what happens in the registry itself
    #[arg(long, value_name = "KIND", requires = "as_of")]
    as_of_kind: Option<String>,
    /// The most events to list
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    #[command(flatten)]
    server: ServerFlag,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let client = arguments.server.client(arguments.tag.host.as_deref())?;
    let path = format!("{}/history", arguments.tag.path());
    let most = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let limit = arguments.limit.min(1000).to_string();
    let mut query = vec![("limit", &*limit)];
    query.extend(arguments.as_of.as_deref().map(|at| ("as_of", at)));
    query.extend(arguments.as_of_kind.as_deref().map(|kind| ("as_of_kind", kind)));
    let mut events: Vec<Value> = Vec::new();
    let mut has_more = false;
    client.pages(&path, &query, |mut page| {
        if let Some(Value::Array(more)) = page.get_mut("events").map(Value::take) {
            events.extend(more);
        }
        let next = page.get("next").and_then(Value::as_str).map(str::to_owned);
        has_more = events.len() > most || (events.len() == most && next.is_some());
        next.filter(|_| events.len() < most)
    })?;
    events.truncate(most);
    if arguments.json {
        let TagRef { repository, tag, .. } = &arguments.tag;
        print_json(&json!({"repository": repository, "tag": tag, "events": events, "more": has_more}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["AT", "ACT", "FROM", "TO", "BY", "REASON"]);
    for event in &events {
        table.row([
            text(event, "at"),
            act(event),
            short(&text(event, "from")).to_owned(),
            short(&text(event, "to")).to_owned(),
            text(event, "actor"),
            text(event, "reason"),
        ]);
    }
    print(&table.to_string())?;
    if has_more {
        print("there is more; --limit shows it\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What was done, or wanted.
fn act(event: &Value) -> String {
    let act = text(event, "act");
    if event["event"] == "refused" { format!("{act} (refused)") } else { act }
}
