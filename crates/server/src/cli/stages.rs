//! `pedigree stages`

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{
    Outcome, ServerFlag,
    kits::{joined, text, words},
    print, print_json, short,
};
use crate::table::Table;

pub(super) const HELP: &str = "\
Examples:
  pedigree stages
  pedigree stages fraud/detector --as-of 2026-11-20T09:14:03Z

Which tags are stages, the server's setting `stages` says.

Exit codes: 0 well, 2 error.";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only in this repository
    #[arg(value_name = "REPOSITORY")]
    repository: Option<oci::Name>,
    /// As the registry was at this moment (RFC 3339)
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,
    /// By which time: recorded or occurred, which are the same for what happens in the registry itself
    #[arg(long, value_name = "KIND", requires = "as_of")]
    as_of_kind: Option<String>,
    #[command(flatten)]
    server: ServerFlag,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let client = arguments.server.client(None)?;
    let mut query = vec![("limit", "1000")];
    query.extend(arguments.as_of.as_deref().map(|at| ("as_of", at)));
    query.extend(arguments.as_of_kind.as_deref().map(|kind| ("as_of_kind", kind)));
    query.extend(arguments.repository.as_ref().map(|name| ("repository", &**name)));
    let mut rows: Vec<Value> = Vec::new();
    let mut first = Value::Null;
    client.pages("/api/v1/stages", &query, |mut page| {
        if let Some(Value::Array(more)) = page.get_mut("tags").map(Value::take) {
            rows.extend(more);
        }
        let next = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if first.is_null() {
            first = page;
        }
        next
    })?;
    if arguments.json {
        print_json(&json!({"as_of": first.get("as_of"), "stages": first.get("stages"), "tags": rows}))?;
        return Ok(ExitCode::SUCCESS);
    }
    if rows.is_empty() {
        print(&format!("nothing stands at a stage ({})\n", joined(&first, "stages")))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["REPOSITORY", "STAGE", "DIGEST", "KIT", "SINCE", "BY", "ACT", "REASON"]);
    for row in &rows {
        table.row([
            text(row, "repository"),
            text(row, "tag"),
            short(&text(row, "digest")).to_owned(),
            words(&[&text(row, "name"), &text(row, "version")]),
            text(row, "since"),
            text(row, "by"),
            text(row, "act"),
            text(row, "reason"),
        ]);
    }
    print(&table.to_string())?;
    Ok(ExitCode::SUCCESS)
}
