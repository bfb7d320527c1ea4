//! Lenient reading of JSON: what is wrong is noted, and the rest is kept.

use serde_json::{Map, Value};

/// How many notes are kept; a config can be wrong in a million places.
const NOTES: usize = 10;

/// What could not be read, for people.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    notes: Vec<String>,
    unsaid: usize,
    lost: bool,
}

impl Problems {
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        if self.notes.len() < NOTES {
            self.notes.push(text.into());
        } else {
            self.unsaid += 1;
        }
    }

    /// Notes what may have cost a component or a reference.
    pub(crate) fn lost(&mut self, text: impl Into<String>) {
        self.lost = true;
        self.note(text);
    }

    /// Whether a component or a reference may be missing.
    pub(crate) fn has_lost(&self) -> bool {
        self.lost
    }

    pub(crate) fn into_text(mut self) -> Option<String> {
        if self.unsaid > 0 {
            self.notes.push(format!("and {} more", self.unsaid));
        }
        (!self.notes.is_empty()).then(|| self.notes.join("; "))
    }
}

/// A JSON object that is being taken apart, and where it stands (for the notes). Null and absence are the same, as are
/// an empty text and absence: Go's encoders do not tell them apart either.
#[derive(Default)]
pub(crate) struct Object {
    /// For example `model.parts[2]`; empty for a whole document.
    pub(crate) place: String,
    members: Map<String, Value>,
}

impl Object {
    /// Reads a document. Text that is not UTF-8 is read with replacement characters, so that a damaged description does
    /// not cost the layers; a document that is not JSON (or nested deeper than `serde_json` allows) gives nothing.
    pub(crate) fn parse(bytes: &[u8], what: &str, problems: &mut Problems) -> Option<Self> {
        let text = oci::json_text(bytes);
        if matches!(text, std::borrow::Cow::Owned(_)) {
            problems.note(format!("{what} holds characters that are not Unicode; they are replaced"));
        }
        match serde_json::from_str(&text) {
            Ok(Value::Object(members)) => Some(Self { place: String::new(), members }),
            Ok(_) => {
                problems.lost(format!("{what} is not a JSON object"));
                None
            }
            Err(error) => {
                problems.lost(format!("{what} is not JSON: {error}"));
                None
            }
        }
    }

    /// Where a member stands, for example `model.parts[2].name`.
    pub(crate) fn place(&self, member: &str) -> String {
        if self.place.is_empty() { member.to_owned() } else { format!("{}.{member}", self.place) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn value(&mut self, member: &str) -> Option<Value> {
        self.members.remove(member).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&mut self, member: &str, problems: &mut Problems) -> Option<String> {
        match self.value(member)? {
            Value::String(text) => Some(text).filter(|text| !text.is_empty()),
            _ => {
                problems.lost(format!("{} is not text", self.place(member)));
                None
            }
        }
    }

    /// A list of texts; one text counts as a list of it.
    pub(crate) fn texts(&mut self, member: &str, problems: &mut Problems) -> Vec<String> {
        let values = match self.value(member) {
            None => Vec::new(),
            Some(Value::Array(values)) => values,
            Some(value) => vec![value],
        };
        let texts = values.into_iter().filter_map(|value| match value {
            Value::String(text) => Some(text),
            _ => {
                problems.lost(format!("{} holds what is not text", self.place(member)));
                None
            }
        });
        texts.filter(|text| !text.is_empty()).collect()
    }

    pub(crate) fn object(&mut self, member: &str, problems: &mut Problems) -> Option<Self> {
        let place = self.place(member);
        match self.value(member)? {
            Value::Object(members) => Some(Self { place, members }),
            _ => {
                problems.lost(format!("{place} is not an object"));
                None
            }
        }
    }

    /// A list of objects, at most `limit`. More are noted and dropped.
    pub(crate) fn objects(&mut self, member: &str, limit: usize, problems: &mut Problems) -> Vec<Self> {
        let place = self.place(member);
        let values = match self.value(member) {
            None => return Vec::new(),
            Some(Value::Array(values)) => values,
            Some(_) => {
                problems.lost(format!("{place} is not a list"));
                return Vec::new();
            }
        };
        if values.len() > limit {
            problems.lost(format!("{place} has {} entries, {limit} are read", values.len()));
        }
        let numbered = values.into_iter().take(limit).enumerate();
        let objects = numbered.filter_map(|(i, value)| match value {
            Value::Object(members) => Some(Self { place: format!("{place}[{i}]"), members }),
            _ => {
                problems.lost(format!("{place}[{i}] is not an object"));
                None
            }
        });
        objects.collect()
    }
}
