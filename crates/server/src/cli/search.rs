//! `pedigree search`

use std::{fmt::Write as _, process::ExitCode};

use serde_json::{Value, json};

use super::{
    Outcome, ServerFlag,
    kits::{joined, text},
    print, print_json, short,
};
use crate::table::Table;

pub(super) const HELP: &str = r#"Examples:
  pedigree search fraud detector
  pedigree search 'author:"Jane Doe" licence:Apache-2.0'
  pedigree search framework:pytorch params.training.epochs=5
  pedigree search file:customers.csv
  pedigree search sha256:0928bf

All words must be found; the last one may be only the beginning of one. Fields: name, author, licence, framework, family,
format, version, component, description, repository, file, digest, params.NAME[=VALUE].

Exit codes: 0 well, also when nothing was found; 2 error."#;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What is to be found
    #[arg(value_name = "QUERY", required = true)]
    query: Vec<String>,
    /// The most kits to list
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
    let query = arguments.query.join(" ");
    let most = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let page = arguments.limit.min(PAGE).to_string();
    let mut kits: Vec<Value> = Vec::new();
    let mut first = Value::Null;
    let mut has_more = false;
    client.pages("/api/v1/search", &[("q", &query), ("limit", &page)], |mut page| {
        if let Some(Value::Array(more)) = page.get_mut("kits").map(Value::take) {
            kits.extend(more);
        }
        let next = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if first.is_null() {
            first = page;
        }
        has_more = kits.len() > most || (kits.len() == most && next.is_some());
        next.filter(|_| kits.len() < most)
    })?;
    kits.truncate(most);

    let count = |name: &str| first.get(name).and_then(Value::as_u64).unwrap_or_default();
    if arguments.json {
        print_json(&json!({
            "query": query, "kits": kits, "more": has_more, "kits_pending": count("kits_pending"),
            "kits_cut": count("kits_cut"), "layers_pending": first.get("layers_pending"), "unranked": count("unranked"),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut said = if kits.is_empty() { "nothing was found\n".to_owned() } else { table(&kits).to_string() };
    if has_more {
        said += "there is more; --limit shows it\n";
    }
    for (name, what) in [
        ("kits_pending", "kits that are not searchable yet"),
        ("kits_cut", "kits of which only the first words are searchable"),
        ("layers_pending", "layers that are still to be scanned for files"),
        ("unranked", "kits that fit less well and are left out; a further word brings them in"),
    ] {
        if count(name) > 0 {
            let _ = writeln!(said, "{what}: {}", count(name));
        }
    }
    print(&said)?;
    Ok(ExitCode::SUCCESS)
}

fn table(kits: &[Value]) -> Table {
    let mut table =
        Table::new(&["REPOSITORY", "TAGS", "DIGEST", "STATE", "KIND", "NAME", "VERSION", "PUSHED", "MATCHED"]);
    for kit in kits {
        table.row([
            text(kit, "repository"),
            joined(kit, "tags"),
            short(&text(kit, "digest")).to_owned(),
            text(kit, "state"),
            text(kit, "kind"),
            text(kit, "name"),
            text(kit, "version"),
            text(kit, "pushed_at"),
            joined(kit, "matched"),
        ]);
    }
    table
}
