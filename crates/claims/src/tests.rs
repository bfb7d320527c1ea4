//! What real and broken statements say.

mod adapters;
mod arbitrary;
mod boms;
mod cards;
mod events;
mod in_toto;
mod targets;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::{Statement, Target, Use, statement};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const C: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";
const COMMIT: &str = "4a1b0c6a7f0d1e2c3b4a5968778695a4b3c2d1e0";

/// A document of the fixtures, which the validator of its standard has been asked about.
fn document(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/documents");
    serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap()
}

fn read(media_type: &str, document: &Value) -> Statement {
    statement(media_type, document.to_string().as_bytes()).unwrap()
}

#[track_caller]
fn assert_says(statement: &Statement, lines: &[&str]) {
    assert_eq!(render(statement).lines().collect::<Vec<_>>(), lines);
}

/// All that a statement says, a line each, leaving out what is absent; A, B, C and COMMIT by their names.
fn render(statement: &Statement) -> String {
    let Statement { format, predicate_type, subjects, occurred_at, uses, files, licences, problems, incomplete } =
        statement;
    let mut text = format!("{format}");
    for fact in [predicate_type.clone(), occurred_at.map(moment)].into_iter().flatten() {
        write!(text, " {fact}").unwrap();
    }
    text.push_str(if *incomplete { " incomplete\n" } else { "\n" });
    for subject in subjects {
        let digest = subject.digest.map(|digest| digest.to_string());
        writeln!(text, "of {} {}", subject.name.as_deref().unwrap_or("-"), digest.as_deref().unwrap_or("-")).unwrap();
    }
    for used in uses {
        writeln!(text, "{}", line(used)).unwrap();
    }
    for file in files {
        writeln!(text, "file {} {}", file.path, file.digest).unwrap();
    }
    for licence in licences {
        writeln!(text, "licence {licence}").unwrap();
    }
    for problem in problems {
        writeln!(text, "problem: {problem}").unwrap();
    }
    for (digits, name) in [(A, "A"), (B, "B"), (C, "C"), (COMMIT, "COMMIT")] {
        text = text.replace(digits, name);
    }
    text
}

fn line(used: &Use) -> String {
    let Use { relation, word, name, target, .. } = used;
    let mut text = format!("{relation}");
    if let Some(word) = word {
        write!(text, " ({word})").unwrap();
    }
    if let Some(name) = name {
        write!(text, " {name:?}").unwrap();
    }
    text + " " + &told(target)
}

fn told(target: &Target) -> String {
    match target {
        Target::Artifact(reference) => format!("artifact {reference}"),
        Target::Content(digest) => format!("content {digest}"),
        Target::External { identity, digest } => {
            let version = if identity.is_versioned() { "*" } else { "" };
            let digest = digest.map(|digest| format!(" {digest}")).unwrap_or_default();
            format!("external {identity}{version}{digest}")
        }
    }
}

fn moment(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros).unwrap().to_string()
}
