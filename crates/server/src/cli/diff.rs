//! `pedigree diff`

use std::{fmt::Write as _, process::ExitCode, time::Duration};

use serde_json::Value;

use super::{
    Outcome, Ref, ServerFlag,
    kits::{text, words},
    print, print_json,
};
use crate::table::{Table, plain};

pub(super) const HELP: &str = "Examples:
  pedigree diff fraud/detector:1.1 fraud/detector:1.2
  pedigree diff data/customers:2025.10 data/customers:2025.11 --json

Exit codes: 0 the same; 1 different; 2 error; 3 the same as far as is known, but not all layers are.";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The one: REPOSITORY:TAG or REPOSITORY@DIGEST
    #[arg(value_name = "REF")]
    from: Ref,
    /// The other
    #[arg(value_name = "REF")]
    to: Ref,
    #[command(flatten)]
    server: ServerFlag,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let client = arguments.server.client(arguments.from.host.as_deref())?;
    let (from, to) = (arguments.from.to_string(), arguments.to.to_string());
    let diff: Value = client.get("/api/v1/diff", &[("from", &from), ("to", &to)], Duration::from_secs(60))?;
    if arguments.json {
        print_json(&diff)?;
    } else {
        print(&page(&diff))?;
    }
    Ok(ExitCode::from(code(&diff)))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn code(diff: &Value) -> u8 {
    let is_changed = |component: &Value| text(component, "change") != "same" || component.get("parameters").is_some();
    let is_different = list(diff, "components").iter().any(is_changed)
        || ["package", "sources"].iter().any(|name| diff.get(name).is_some())
        // An index has no components, and a config may say what no component does.
        || text(diff, "from") != text(diff, "to");
    match (is_different, number(diff, "layers_unknown")) {
        (true, _) => 1,
        (false, 0) => 0,
        (false, _) => 3,
    }
}

fn page(diff: &Value) -> String {
    let mut page = String::new();
    let mut table = Table::new(&["COMPONENT", "CHANGE", "SIZE", "HOLDS"]);
    for component in list(diff, "components") {
        let says = text(component, "says");
        let change = if says.is_empty() { text(component, "change") } else { says };
        table.row([title(component), change, sizes(component), text(component, "rung")]);
    }
    let _ = write!(page, "{table}");
    for (what, changes) in [("package", diff.get("package")), ("sources", diff.get("sources"))] {
        if let Some(changes) = changes {
            let _ = writeln!(page, "\n{what}");
            values(&mut page, changes);
        }
    }
    for component in list(diff, "components") {
        let mut details = String::new();
        let references = [text(component, "reference_before"), text(component, "reference_after")];
        if references[0] != references[1] {
            let _ = writeln!(details, "  reference  {} -> {}", plain(&references[0]), plain(&references[1]));
        }
        if let Some(files) = component.get("files") {
            for (sign, kind) in [("+", "added"), ("-", "removed"), ("~", "changed"), (">", "renamed")] {
                let changes = files.get(kind).unwrap_or(&Value::Null);
                for file in list(changes, "shown") {
                    let path = words(&[&text(file, "from"), &text(file, "path")]);
                    let _ = writeln!(details, "  {sign} {} ({} bytes)", plain(&path), number(file, "size"));
                }
                more(&mut details, changes);
            }
        }
        for kind in ["parameters", "tensors"] {
            if let Some(changes) = component.get(kind) {
                let _ = writeln!(details, "  {kind}");
                values(&mut details, changes);
            }
        }
        if !details.is_empty() {
            let _ = write!(page, "\n{}\n{details}", plain(&title(component)));
        }
    }
    if code(diff) == 1 && list(diff, "components").iter().all(|component| text(component, "change") == "same") {
        let _ = writeln!(page, "\nThe components are the same, the manifests are not.");
    }
    if number(diff, "layers_unknown") > 0 {
        let unknown = number(diff, "layers_unknown");
        let _ = writeln!(page, "\nThis may be INCOMPLETE: {unknown} layers are not wholly known.");
    }
    page
}

fn title(component: &Value) -> String {
    words(&[&text(component, "role"), &text(component, "name"), &text(component, "path")])
}

fn sizes(component: &Value) -> String {
    let size = |name: &str| component.get(name).and_then(Value::as_u64).map(|size| size.to_string());
    match (size("size_before"), size("size_after")) {
        (Some(before), Some(after)) if before != after => format!("{before} -> {after}"),
        (Some(size), _) | (None, Some(size)) => size,
        (None, None) => String::new(),
    }
}

fn values(page: &mut String, changes: &Value) {
    for (sign, kind) in [("+", "added"), ("-", "removed"), ("~", "changed")] {
        let changes = changes.get(kind).unwrap_or(&Value::Null);
        for change in list(changes, "shown") {
            let told = |name: &str| change.get(name).map(ToString::to_string);
            let told = match (told("from"), told("to")) {
                (Some(from), Some(to)) => format!("{from} -> {to}"),
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => String::new(),
            };
            let _ = writeln!(page, "    {sign} {} {}", plain(&text(change, "at")), plain(&told));
        }
        more(page, changes);
    }
}

fn more(page: &mut String, changes: &Value) {
    let more = number(changes, "all").saturating_sub(list(changes, "shown").len() as u64);
    if more > 0 {
        let _ = writeln!(page, "    and {more} more");
    }
}
