//! `pedigree show`

use std::{fmt::Write as _, process::ExitCode, time::Duration};

use serde_json::Value;

use super::{
    Outcome, Ref, ServerFlag,
    kits::{joined, text, words},
    print, print_json, short,
};
use crate::{
    client::escape_path,
    table::{Table, plain},
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// REPOSITORY:TAG or REPOSITORY@DIGEST
    #[arg(value_name = "REF")]
    reference: Ref,
    #[command(flatten)]
    server: ServerFlag,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let Ref { host, repository, reference } = &arguments.reference;
    let client = arguments.server.client(host.as_deref())?;
    let reference = escape_path(&reference.to_string());
    let path = format!("/api/v1/repositories/{}/-/kits/{reference}", escape_path(repository));
    let kit: Value = client.get(&path, &[], Duration::ZERO)?;
    if arguments.json {
        print_json(&kit)?;
    } else {
        print(&page(&kit))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn page(kit: &Value) -> String {
    let mut page = String::new();
    let model = if kit.get("is_model") == Some(&Value::Bool(true)) { "a model" } else { "not a model" };
    let package = kit.get("package").unwrap_or(&Value::Null);
    let package = if package.is_object() {
        words(&[&text(package, "name"), &text(package, "version"), &text(package, "description")])
    } else {
        package.as_str().unwrap_or_default().to_owned()
    };
    let facts = [
        ("artifact", format!("{}@{}", text(kit, "repository"), text(kit, "digest"))),
        ("kind", words(&[&text(kit, "kind"), &format!("({model})")])),
        ("media type", text(kit, "media_type")),
        ("state", text(kit, "state")),
        ("tags", joined(kit, "tags")),
        ("package", package),
        ("pushed", words(&[&text(kit, "pushed_at"), &text(kit, "pushed_by")])),
        ("in indexes", joined(kit, "indexes")),
        ("problem", text(kit, "problem")),
    ];
    for (name, fact) in facts {
        if !fact.is_empty() {
            let _ = writeln!(page, "{name:12}{}", plain(&fact));
        }
    }
    let rows = |key: &str| kit.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let components = rows("components");
    if !components.is_empty() {
        let mut table = Table::new(&["COMPONENT", "NAME", "PATH", "LAYERS", "REMOTE"]);
        for row in &components {
            let layers = match row.get("layers") {
                Some(Value::Array(layers)) => layers
                    .iter()
                    .map(|layer| match layer {
                        Value::String(digest) => short(digest).to_owned(),
                        other => other.to_string(),
                    })
                    .collect::<Vec<_>>()
                    .join(","),
                _ => text(row, "layers"),
            };
            table.row([text(row, "role"), text(row, "name"), text(row, "path"), layers, text(row, "remote")]);
        }
        let _ = write!(page, "\n{table}");
    }
    let layers = rows("layers");
    if !layers.is_empty() {
        let mut table = Table::new(&["LAYER", "SIZE", "STATE", "FORM", "FILES", "BYTES", "MEDIA TYPE", "REASON"]);
        for row in &layers {
            let form = match row.get("form") {
                Some(Value::Object(form)) => form.values().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
                _ => text(row, "form"),
            };
            table.row([
                short(&text(row, "digest")).to_owned(),
                text(row, "size"),
                text(row, "state"),
                form,
                text(row, "files"),
                text(row, "bytes"),
                text(row, "media_type"),
                text(row, "reason"),
            ]);
        }
        let _ = write!(page, "\n{table}");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn a_page_shows_what_is_there() {
        let page = page(&serde_json::json!({
            "repository": "a/b", "digest": "sha256:0123456789abcdef", "kind": "modelkit", "is_model": true, "tags": ["1"],
            "problem": null, "components": [{"role": "dataset", "name": "train", "layers": ["sha256:0123456789abcdef"]}],
            "layers": [{"digest": "sha256:0123456789abcdef", "size": 3, "state": "indexed", "form": {"archive": "tar"}}],
        }));
        assert!(page.contains("a/b@sha256:0123456789abcdef"), "{page}");
        assert!(page.contains("modelkit (a model)") && !page.contains("problem"), "{page}");
        assert!(page.contains("dataset    train"), "{page}");
    }
}
