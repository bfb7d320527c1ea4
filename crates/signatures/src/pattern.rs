//! Patterns of identities: a text in which `*` stands for any characters.

/// How long a pattern may be, in bytes.
pub const PATTERN_LIMIT: usize = 1024;

/// How long an issuer or a subject may be, in bytes. A longer one matches nothing, so that matching takes a bounded time.
pub(crate) const SUBJECT_LIMIT: usize = 4096;

/// A pattern. `*` stands for any number of any characters, `/` and `@` among them; all else stands for itself, in the
/// same case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(String);

impl Pattern {
    /// `None` for a text that is empty or longer than [`PATTERN_LIMIT`].
    pub(crate) fn new(text: &str) -> Option<Self> {
        (!text.is_empty() && text.len() <= PATTERN_LIMIT).then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole text fits. Each `*` takes as little as it can, which never loses a match.
    pub(crate) fn matches(&self, text: &str) -> bool {
        if text.len() > SUBJECT_LIMIT {
            return false;
        }
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_the_whole_must_fit() {
        for (pattern, text, fits) in [
            ("a@example.com", "a@example.com", true),
            ("a@example.com", "a@example.com.evil", false),
            ("a@example.com", "xa@example.com", false),
            ("A@example.com", "a@example.com", false),
            ("*@example.com", "a@example.com", true),
            ("*@example.com", "a@example.com@evil", false),
            ("https://git.example.com/ml/*", "https://git.example.com/ml/", true),
            ("https://git.example.com/ml/*/ci.yml@*", "https://git.example.com/ml/a/b/ci.yml@refs/tags/1", true),
            ("https://git.example.com/ml/*/ci.yml@*", "https://git.example.com/ml/ci.yml@refs/tags/1", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*ab*ab", "abab", true),
            ("*ab*ab*", "aab", false),
            ("*", "", true),
            ("**", "x", true),
            ("a.c", "abc", false),
            ("ä*ü", "äöü", true),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_is_some_text_of_bounded_length() {
        assert_eq!(Pattern::new(""), None);
        assert_eq!(Pattern::new(&"a".repeat(PATTERN_LIMIT + 1)), None);
        assert!(!Pattern::new("*").unwrap().matches(&"a".repeat(SUBJECT_LIMIT + 1)));
    }
}
