//! `pedigree lineage`

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    process::ExitCode,
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;

use super::{Outcome, Ref, ServerFlag, impact, print, print_json, short};
use crate::{
    client::{Claim, Client, ClientError, Completeness, Component},
    table::plain,
};

pub(super) const HELP: &str = "Examples:
  pedigree lineage fraud/disputes:1.0
  pedigree lineage data/customers:2025.10 --descendants --grade attested
  pedigree lineage fraud/detector:1.2 --ancestors --depth 1 --as-of 2026-03-03T00:00:00Z

What is met a second time is told where it stands first. Exit codes: 0 well, 2 error.";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// REPOSITORY:TAG or REPOSITORY@DIGEST
    #[arg(value_name = "REF")]
    reference: Ref,
    /// Only what it was made from
    #[arg(long, conflicts_with = "descendants")]
    ancestors: bool,
    /// Only what was made from it
    #[arg(long)]
    descendants: bool,
    /// How many steps away, at most
    #[arg(long, value_name = "N")]
    depth: Option<u32>,
    /// Only along claims of this grade or better: attested, declared, packaged or matched
    #[arg(long)]
    grade: Option<String>,
    /// As of this moment, such as 2026-03-03T00:00:00Z
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,
    /// By which time: recorded (as the registry knew it then) or occurred (as producers say)
    #[arg(long, value_name = "KIND", requires = "as_of")]
    as_of_kind: Option<String>,
    #[command(flatten)]
    server: ServerFlag,
    /// As JSON, all of it
    #[arg(long)]
    json: bool,
}

/// How many pages of a thousand edges a tree is made from, at most.
const PAGES: usize = 5;
/// How many lines a tree shows below one.
const BELOW: usize = 10;
/// How many steps of it.
const DEEP: usize = 100;

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let client = arguments.server.client(arguments.reference.host.as_deref())?;
    let ask = |direction: &str, pages| fetch(&client, &question(arguments, direction), pages);
    if arguments.json {
        let direction = if arguments.ancestors {
            "ancestors"
        } else if arguments.descendants {
            "descendants"
        } else {
            "both"
        };
        print_json(&ask(direction, usize::MAX)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    // Each direction by itself, so that very many in one leave room for the other.
    let understood = |answer: Value| -> Result<Lineage, super::Failure> { Ok(serde_json::from_value(answer)?) };
    let up = (!arguments.descendants).then(|| understood(ask("ancestors", PAGES)?)).transpose()?;
    let down = (!arguments.ancestors).then(|| understood(ask("descendants", PAGES)?)).transpose()?;
    print(&text(up.as_ref(), down.as_ref()))?;
    Ok(ExitCode::SUCCESS)
}

fn question(arguments: &Arguments, direction: &str) -> Vec<(&'static str, String)> {
    let given = [
        ("ref", Some(arguments.reference.to_string())),
        ("direction", Some(direction.to_owned())),
        ("depth", arguments.depth.map(|depth| depth.to_string())),
        ("grade", arguments.grade.clone()),
        ("as_of", arguments.as_of.clone()),
        ("as_of_kind", arguments.as_of_kind.clone()),
        ("limit", Some("1000".to_owned())),
    ];
    given.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

/// The first pages of an answer, as one.
fn fetch(client: &Client, question: &[(&'static str, String)], pages: usize) -> Result<Value, ClientError> {
    let query: Vec<_> = question.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let mut all: Value = client.get(PATH, &query, Duration::ZERO)?;
    let list = |page: &mut Value, name: &str| match page.get_mut(name).map(Value::take) {
        Some(Value::Array(rows)) => rows,
        _ => Vec::new(),
    };
    let id = |node: &Value| node.get("id").and_then(Value::as_str).map(str::to_owned);
    let (mut nodes, mut edges) = (list(&mut all, "nodes"), list(&mut all, "edges"));
    let mut known: HashSet<_> = nodes.iter().filter_map(id).collect();
    for _ in 1..pages {
        let Some(cursor) = all.get("next").and_then(Value::as_str).map(str::to_owned) else { break };
        let query: Vec<_> = query.iter().copied().chain([("cursor", cursor.as_str())]).collect();
        let mut page: Value = client.get(PATH, &query, Duration::ZERO)?;
        edges.extend(list(&mut page, "edges"));
        nodes.extend(list(&mut page, "nodes").into_iter().filter(|node| id(node).is_some_and(|id| known.insert(id))));
        let next = page.get("next").cloned().unwrap_or_default();
        if let Some(all) = all.as_object_mut() {
            all.insert("next".into(), if next.as_str() == Some(&cursor) { Value::Null } else { next });
        }
    }
    if let Some(all) = all.as_object_mut() {
        all.insert("nodes".into(), nodes.into());
        all.insert("edges".into(), edges.into());
    }
    Ok(all)
}

const PATH: &str = "/api/v1/lineage";

/// An answer, as far as a tree shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Lineage {
    id: String,
    completeness: Completeness,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Node {
    id: String,
    kind: String,
    places: Vec<Place>,
    more_places: u64,
    packaged_with: Vec<Component>,
    signed_by: Vec<String>,
    edges_from: u64,
    edges_to: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Place {
    repository: String,
    tags: Vec<String>,
    state: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Edge {
    from: String,
    to: String,
    kind: String,
    grade: Option<String>,
    late: bool,
    assumed: bool,
    claim: Option<Signed>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Signed {
    signed_by: Option<String>,
    #[serde(flatten)]
    claim: Claim,
}

/// The answer for people.
fn text(up: Option<&Lineage>, down: Option<&Lineage>) -> String {
    let mut text = String::new();
    for (answer, is_up) in [(up, true), (down, false)] {
        let Some(answer) = answer else { continue };
        let mut tree = Tree::new(answer, is_up);
        if text.is_empty() {
            let _ = writeln!(text, "{}", plain(&tree.title(&answer.id)));
        }
        let _ = writeln!(text, "\n{}", if is_up { "Made from:" } else { "Made from it:" });
        if tree.below(&answer.id, "", 0) {
            text.push_str(&tree.text);
        } else {
            text.push_str("  nothing that anybody says\n");
        }
    }
    if let Some(answer) = up.or(down) {
        let _ = writeln!(text, "\n{}", impact::completeness(&answer.completeness));
    }
    text
}

/// A tree while it is written.
struct Tree<'a> {
    is_up: bool,
    nodes: HashMap<&'a str, &'a Node>,
    /// The edges of each node, to what is below it.
    edges: HashMap<&'a str, Vec<&'a Edge>>,
    told: HashSet<&'a str>,
    text: String,
}

impl<'a> Tree<'a> {
    fn new(answer: &'a Lineage, is_up: bool) -> Self {
        let mut edges: HashMap<&str, Vec<&Edge>> = HashMap::new();
        for edge in &answer.edges {
            edges.entry(if is_up { &edge.from } else { &edge.to }).or_default().push(edge);
        }
        let nodes = answer.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        Self { is_up, nodes, edges, told: HashSet::from([answer.id.as_str()]), text: String::new() }
    }

    /// Writes what is below a node. Whether there is anything.
    fn below(&mut self, id: &str, indent: &str, deep: usize) -> bool {
        let edges = self.edges.remove(id).unwrap_or_default();
        let node = self.nodes.get(id).copied();
        let all = node.map_or(0, |node| if self.is_up { node.edges_from } else { node.edges_to });
        let mut lines: Vec<(&'a str, Vec<&'a Edge>)> = Vec::new();
        let mut places: HashMap<(&str, &str), usize> = HashMap::new();
        for edge in edges {
            let far = if self.is_up { edge.to.as_str() } else { edge.from.as_str() };
            // What is said more than once is one line.
            let place = *places.entry((far, edge.kind.as_str())).or_insert(lines.len());
            match lines.get_mut(place) {
                Some((_, said)) => said.push(edge),
                None => lines.push((far, vec![edge])),
            }
        }
        lines.truncate(if deep < DEEP { BELOW } else { 0 });
        let shown: usize = lines.iter().map(|(_, said)| said.len()).sum();
        let more = all.saturating_sub(shown as u64);
        let packaged = node.map_or(&[][..], |node| &node.packaged_with).iter().filter(|_| self.is_up);
        let packaged: Vec<_> = packaged.map(|one| words([one.role.as_deref(), one.name.as_deref()])).collect();
        let mut left = usize::from(!packaged.is_empty()) + lines.len() + usize::from(more > 0);
        let is_anything = left > 0;
        let mut line = |text: &mut String, line: &str| {
            left -= 1;
            let _ = writeln!(text, "{indent}{} {}", if left > 0 { "├─" } else { "└─" }, plain(line));
            format!("{indent}{}", if left > 0 { "│  " } else { "   " })
        };
        if !packaged.is_empty() {
            line(&mut self.text, &format!("packaged with {}", packaged.join(", ")));
        }
        for (far, said) in lines {
            let is_new = self.told.insert(far);
            let has_more = self.nodes.get(far).is_some_and(|node| {
                (if self.is_up { node.edges_from } else { node.edges_to }) > 0
                    || self.is_up && !node.packaged_with.is_empty()
            });
            let mut words = self.said(far, &said);
            if !is_new && has_more {
                words.push_str(", see above");
            }
            let indent = line(&mut self.text, &words);
            if is_new {
                self.below(far, &indent, deep + 1);
            }
        }
        if more > 0 {
            line(&mut self.text, &format!("… and {} more: --json shows all", thousands(more)));
        }
        is_anything
    }

    /// A line: what is below, how, and who says so.
    fn said(&self, far: &str, said: &[&Edge]) -> String {
        const BEST_FIRST: [&str; 4] = ["attested", "declared", "packaged", "matched"];
        let rank = |edge: &Edge| BEST_FIRST.iter().position(|known| Some(*known) == edge.grade.as_deref());
        let Some(best) = said.iter().min_by_key(|edge| rank(edge).unwrap_or(BEST_FIRST.len())) else {
            return self.name(far);
        };
        let (how, name) = (best.kind.replace('_', " "), self.name(far));
        let mut text = if self.is_up { format!("{how} {name}") } else { format!("{name} {how} it") };
        let mut notes: Vec<String> = best.grade.iter().cloned().collect();
        if let Some(claim) = &best.claim {
            match (&claim.signed_by, &claim.claim.by) {
                (Some(signer), _) => notes.push(format!("signed by {signer}")),
                (None, Some(by)) => notes.push(format!("said by {by}")),
                (None, None) => {}
            }
        }
        notes.extend(best.late.then(|| "known only later".to_owned()));
        notes.extend(best.assumed.then(|| "assumed".to_owned()));
        notes.extend(Some(said.len() - 1).filter(|more| *more > 0).map(|more| match more {
            1 => "and said once more".to_owned(),
            more => format!("and said {more} times more"),
        }));
        if !notes.is_empty() {
            let _ = write!(text, " ({})", notes.join(", "));
        }
        text
    }

    /// What a node is called.
    fn name(&self, id: &str) -> String {
        let Some(node) = self.nodes.get(id) else { return short(id).to_owned() };
        let Some(place) = node.places.first() else {
            return match node.kind.as_str() {
                "external" => format!("{id} [external]"),
                _ => format!("{} [not here]", short(id)),
            };
        };
        let mut name = match place.tags.is_empty() {
            true => format!("{}@{}", place.repository, short(id)),
            false => format!("{}:{}", place.repository, place.tags.join(",")),
        };
        if place.state != "tagged" {
            let _ = write!(name, " [{}]", place.state);
        }
        let more = node.more_places + node.places.len() as u64 - 1;
        if more > 0 {
            let _ = write!(name, " [and in {} more]", thousands(more));
        }
        name
    }

    /// The first line.
    fn title(&self, id: &str) -> String {
        let Some(node) = self.nodes.get(id) else { return id.to_owned() };
        let mut title = format!("{}  {}  {}", self.name(id), short(id), node.kind);
        if !node.signed_by.is_empty() {
            let _ = write!(title, ", signed by {}", node.signed_by.join(" and "));
        }
        title
    }
}

fn words<const N: usize>(words: [Option<&str>; N]) -> String {
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// A number as people read it: 99,990.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_tells_each_once_and_sums_up_what_is_wide() {
        let answer: Lineage = serde_json::from_value(serde_json::json!({
            "id": "sha256:0123456789abcdef", "completeness": {"exact": true},
            "nodes": [
                {"id": "sha256:0123456789abcdef", "kind": "modelkit", "edges_from": 2,
                 "places": [{"repository": "a/b", "tags": ["1"], "state": "tagged"}]},
                {"id": "x", "kind": "external", "edges_from": 100_001},
                {"id": "y", "kind": "unknown", "edges_from": 1},
            ],
            "edges": [
                {"from": "sha256:0123456789abcdef", "to": "x", "kind": "derived_from", "grade": "declared"},
                {"from": "sha256:0123456789abcdef", "to": "y", "kind": "trained_on", "grade": "attested",
                 "claim": {"by": "alice", "signed_by": "the key k"}},
                {"from": "x", "to": "y", "kind": "lists"},
                {"from": "y", "to": "x", "kind": "derived_from", "grade": "declared", "late": true, "claim": {"by": "bob"}},
            ],
        }))
        .unwrap();
        let text = text(Some(&answer), None);
        let tree = "\
a/b:1  sha256:0123456789ab  modelkit

Made from:
├─ derived from x [external] (declared)
│  ├─ lists y [not here]
│  │  └─ derived from x [external] (declared, said by bob, known only later), see above
│  └─ … and 100,000 more: --json shows all
└─ trained on y [not here] (attested, signed by the key k), see above
";
        assert!(text.starts_with(tree), "{text}");
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
