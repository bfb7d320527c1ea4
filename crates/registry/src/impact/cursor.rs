//! Where a page ended.

use index::{Micros, graph::Met};
use oci::{Digest, Name};

use super::Question;
use crate::{
    Error, Part,
    kits::{bad_cursor, mark, other_cursor},
};

/// How far the clocks of two replicas may be apart, in microseconds: what one of them says is no future to the other.
const SKEW: i64 = 60_000_000;

/// Refuses a moment of which nothing is known yet, so that the same question has the same answer later.
pub(crate) fn refuse_future(as_of: Option<Micros>, now: Micros) -> Result<(), Error> {
    if as_of.is_some_and(|as_of| as_of.0 > now.0 + SKEW) {
        let why = "it lies in the future, of which nothing is known".into();
        return Err(Error::Invalid { what: Part::Parameter("as_of"), why });
    }
    Ok(())
}

/// Where a page ended, of which question and as of when, so that pages fit together whatever is pushed meanwhile.
pub(super) struct Cursor {
    /// What was recorded until then counts.
    pub(super) known: Micros,
    /// The moment that the answer is as of.
    pub(super) as_of: Micros,
    asked: String,
    pub(super) after: After,
}

/// A row by its place in the answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum After {
    /// None.
    Nothing,
    /// One that holds the content, in a repository.
    Held(Met, i64),
    /// One that leads to it: distance, repository, digest.
    Reached(u32, String, String),
}

impl Cursor {
    pub(super) fn new(question: &Question, list: &str, known: Micros, as_of: Micros, after: After) -> Self {
        Self { known, as_of, asked: asked(question, list), after }
    }

    /// The cursor of a question, if it has one. It must be one of that very question.
    pub(super) fn of(question: &Question, list: &str, now: Micros) -> Result<Option<Self>, Error> {
        refuse_future(question.as_of, now)?;
        let Some(text) = &question.cursor else { return Ok(None) };
        let cursor = Self::parse(text).ok_or_else(bad_cursor)?;
        if cursor.asked != asked(question, list) || question.as_of.is_some_and(|as_of| as_of != cursor.as_of) {
            return Err(other_cursor());
        }
        Ok(Some(cursor))
    }

    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split('~').collect();
        let [known, as_of, asked, kind, a, b, c] = parts[..] else { return None };
        let after = match kind {
            "h" => After::Held(Met { scan: a.parse().ok()?, manifest: b.parse().ok()? }, c.parse().ok()?),
            "r" => {
                let (name, digest) = (b.parse::<Name>().ok()?, c.parse::<Digest>().ok()?);
                After::Reached(a.parse().ok()?, name.to_string(), digest.to_string())
            }
            _ => return None,
        };
        let (known, as_of) = (Micros(known.parse().ok()?), Micros(as_of.parse().ok()?));
        Some(Self { known, as_of, asked: asked.into(), after })
    }
}

impl std::fmt::Display for Cursor {
    /// `~` stands in neither names nor digests, and needs no escape in a URL.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}~{}~{}~", self.known.0, self.as_of.0, self.asked)?;
        match &self.after {
            After::Nothing => Ok(()),
            After::Held(met, repository) => write!(f, "h~{}~{}~{repository}", met.scan, met.manifest),
            After::Reached(distance, name, digest) => write!(f, "r~{distance}~{name}~{digest}"),
        }
    }
}

/// The mark of a question in its cursors.
fn asked(question: &Question, list: &str) -> String {
    let Question { content, grade, rung, min_overlap, as_of_kind, .. } = question;
    let text = format!("{list} {content:?} {grade:?} {rung:?} {min_overlap:?} {as_of_kind:?}");
    mark(&text)
}
