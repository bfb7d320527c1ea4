//! Where a page of a lineage ended.

use index::Micros;

use super::{LineageQuestion, steps::Place};
use crate::{
    Error,
    impact::refuse_future,
    kits::{bad_cursor, mark, other_cursor},
};

/// Where a page ended, of which question, and what was known then, so that pages fit together whatever is pushed meanwhile.
#[derive(Debug)]
pub(super) struct Cursor {
    /// What was recorded until then counts.
    pub(super) known: Micros,
    /// The moment that the answer is as of.
    pub(super) as_of: Micros,
    asked: String,
    pub(super) after: After,
}

/// An edge by its place in the answer: 0 for those to ancestors and 1 for those from descendants, and its place among them.
pub(super) type After = (u8, Place);

impl Cursor {
    pub(super) fn new(question: &LineageQuestion, known: Micros, as_of: Micros, after: After) -> Self {
        Self { known, as_of, asked: asked(question), after }
    }

    /// The cursor of a question, if it has one. It must be one of that very question.
    pub(super) fn of(question: &LineageQuestion, now: Micros) -> Result<Option<Self>, Error> {
        refuse_future(question.as_of, now)?;
        let Some(text) = &question.cursor else { return Ok(None) };
        let cursor = Self::parse(text).ok_or_else(bad_cursor)?;
        if cursor.asked != asked(question) || question.as_of.is_some_and(|as_of| as_of != cursor.as_of) {
            return Err(other_cursor());
        }
        Ok(Some(cursor))
    }

    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split('~').collect();
        let [known, as_of, asked, part, step, from, to, edge] = parts[..] else { return None };
        let number = |text: &str| text.parse::<i64>().ok();
        let edge = number(edge)?;
        let place = (step.parse().ok()?, edge == 0, number(from)?, number(to)?, edge);
        let (known, as_of) = (Micros(number(known)?), Micros(number(as_of)?));
        Some(Self { known, as_of, asked: asked.into(), after: (part.parse().ok()?, place) })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { known, as_of, asked, after: (part, (step, _, from, to, edge)) } = self;
        write!(f, "{}~{}~{asked}~{part}~{step}~{from}~{to}~{edge}", known.0, as_of.0)
    }
}

/// The mark of a question in its cursors.
fn asked(question: &LineageQuestion) -> String {
    let LineageQuestion { about, direction, depth, grade, as_of_kind, .. } = question;
    mark(&format!("lineage {about:?} {direction:?} {depth:?} {grade:?} {as_of_kind:?}"))
}
