//! `pedigree kits`

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Outcome, ServerFlag, print, print_json, short};
use crate::{client::escape_path, table::Table};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Its versions, instead of all repositories
    #[arg(value_name = "REPOSITORY")]
    repository: Option<oci::Name>,
    /// As the registry was at this moment (RFC 3339)
    #[arg(long, value_name = "TIME", requires = "repository")]
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
    let (path, list) = match &arguments.repository {
        Some(name) => (format!("/api/v1/repositories/{}/-/versions", escape_path(name)), "versions"),
        None => ("/api/v1/repositories".into(), "repositories"),
    };
    let mut query = Vec::new();
    query.extend(arguments.as_of.as_deref().map(|at| ("as_of", at)));
    query.extend(arguments.as_of_kind.as_deref().map(|kind| ("as_of_kind", kind)));
    let mut rows: Vec<Value> = Vec::new();
    client.pages(&path, &query, |mut page| {
        if let Some(Value::Array(more)) = page.get_mut(list).map(Value::take) {
            rows.extend(more);
        }
        page.get("next").and_then(Value::as_str).map(str::to_owned)
    })?;

    if arguments.json {
        print_json(&match &arguments.repository {
            Some(name) => json!({ "repository": name, "versions": rows }),
            None => json!({ "repositories": rows }),
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    if rows.is_empty() {
        print("nothing here yet\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let table = if arguments.repository.is_some() { versions(&rows) } else { repositories(&rows) };
    print(&table.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn repositories(rows: &[Value]) -> Table {
    let mut table = Table::new(&["REPOSITORY", "TAGS", "MANIFESTS", "SINCE"]);
    for row in rows {
        table.row([
            text(row, "name"),
            number_or_list(row, "tags"),
            number_or_list(row, "manifests"),
            text(row, "created_at"),
        ]);
    }
    table
}

fn versions(rows: &[Value]) -> Table {
    let mut table = Table::new(&["DIGEST", "TAGS", "KIND", "NAME", "VERSION", "PUSHED", "BY", "COMPONENTS"]);
    for row in rows {
        let components = row.get("component_versions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let component = |component: &Value| {
            let name = [text(component, "name"), text(component, "path")].concat();
            let version = text(component, "version");
            words(&[&text(component, "role"), &name, if version.is_empty() { "pending" } else { &version }])
        };
        table.row([
            short(&text(row, "digest")).to_owned(),
            joined(row, "tags"),
            text(row, "kind"),
            text(row, "name"),
            text(row, "version"),
            text(row, "pushed_at"),
            text(row, "pushed_by"),
            components.iter().map(component).collect::<Vec<_>>().join(", "),
        ]);
    }
    table
}

/// A field as text; nothing if it is missing or null.
pub(super) fn text(row: &Value, key: &str) -> String {
    match row.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A list of texts, with commas.
pub(super) fn joined(row: &Value, key: &str) -> String {
    match row.get(key) {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        _ => String::new(),
    }
}

/// The words that are there, with spaces.
pub(super) fn words(words: &[&str]) -> String {
    words.iter().copied().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn number_or_list(row: &Value, key: &str) -> String {
    match row.get(key) {
        Some(Value::Array(items)) => items.len().to_string(),
        _ => text(row, key),
    }
}
