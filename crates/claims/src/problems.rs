//! What could not be read, for people.

/// How many notes are kept; a document can be wrong in a million places.
const NOTES: usize = 10;

#[derive(Debug, Default, Clone)]
pub(crate) struct Problems {
    notes: Vec<String>,
    unsaid: usize,
    lost: bool,
}

impl Problems {
    /// Notes something, once.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if self.notes.contains(&text) {
            return;
        }
        if self.notes.len() < NOTES {
            self.notes.push(text);
        } else {
            self.unsaid += 1;
        }
    }

    /// Notes what may have cost something that was said.
    pub(crate) fn lost(&mut self, text: impl Into<String>) {
        self.lost = true;
        self.note(text);
    }

    /// The notes, and whether anything may have been lost.
    pub(crate) fn finish(mut self) -> (Vec<String>, bool) {
        if self.unsaid > 0 {
            self.notes.push(format!("and {} more", self.unsaid));
        }
        (self.notes, self.lost)
    }
}
