//! What may be asked of the search: words that all must be found, some with a field before them.
//!
//! ```text
//! fraud author:"Jane Doe" licence:Apache-2.0 params.training.epochs=5 file:train.csv sha256:0928bf
//! ```

use std::{ops::RangeInclusive, str::FromStr};

use index::{
    Field,
    search::{DigestRange, FILE_NAME_LIMIT, clip, split},
};
use serde_json::Number;

/// The longest question, in bytes.
const QUESTION: usize = 1000;
/// The most words of a question.
const WORDS: usize = 32;
/// The fewest digits that say which digest is meant: with fewer, far too many are.
const DIGITS: usize = 6;
/// How much of a parameter's name and of its value counts, in bytes.
pub(super) const PARAMETER: usize = 200;

/// Everything that must be found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query(pub(super) Vec<Term>);

/// One thing that must be found.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Term {
    /// Words that follow each other.
    Text(Text),
    /// A parameter, and its value in two spellings.
    Parameter { pointer: String, value: Option<[String; 2]> },
    /// A file, by its name.
    File(String),
    /// Whatever has a digest that begins like this.
    Digest(DigestRange),
}

/// Words that follow each other.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Text {
    /// The words, one at least.
    pub(super) words: Vec<String>,
    /// Where in a kit.
    pub(super) fields: Option<RangeInclusive<Field>>,
    /// Whether in the repository's name too.
    pub(super) in_repository: bool,
    /// Whether the last word may go on: somebody is still typing.
    pub(super) is_prefix: bool,
    /// It may be the name of a file as well.
    pub(super) file: Option<String>,
    /// And the beginning of a digest.
    pub(super) digest: Option<DigestRange>,
}

/// The fields that a word may have before it, for people.
const FIELDS: &str = "name, author, licence, framework, family, format, version, component, description, repository, \
                      file, digest, params.NAME=VALUE";

impl Query {
    /// Whether it asks for what only a scan of layers tells.
    pub(super) fn looks_inside(&self) -> bool {
        self.0.iter().any(|term| match term {
            Term::Text(text) => text.file.is_some() || text.digest.is_some(),
            Term::File(_) | Term::Digest(_) => true,
            Term::Parameter { .. } => false,
        })
    }
}

impl FromStr for Query {
    type Err = String;

    fn from_str(question: &str) -> Result<Self, String> {
        if question.len() > QUESTION {
            return Err(format!("it has {} bytes, more than the {QUESTION} that are read", question.len()));
        }
        let mut terms = pieces(question)?.iter().map(Piece::term).collect::<Result<Vec<_>, _>>()?;
        let words = |term: &Term| if let Term::Text(text) = term { text.words.len() } else { 1 };
        match terms.iter().map(words).sum::<usize>() {
            0 => return Err(format!("write what is to be found; fields are {FIELDS}")),
            words if words > WORDS => return Err(format!("it has {words} words, more than the {WORDS} that are read")),
            _ => {}
        }
        let last = terms.len() - 1;
        for (i, term) in terms.iter_mut().enumerate() {
            if let Term::Text(text) = term {
                text.is_prefix &= i == last;
            }
        }
        Ok(Self(terms))
    }
}

/// What stands between spaces, without its quotes.
#[derive(Debug, Default)]
struct Piece {
    text: String,
    /// Where the first quoted character stands.
    quoted_from: Option<usize>,
    /// Where the first colon and the first equals sign stand that are not quoted.
    colon: Option<usize>,
    equals: Option<usize>,
}

fn pieces(question: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut piece: Option<Piece> = None;
    let mut in_quotes = false;
    for c in question.chars() {
        if c.is_whitespace() && !in_quotes {
            pieces.extend(piece.take());
            continue;
        }
        let piece = piece.get_or_insert_default();
        let at = piece.text.len();
        match c {
            '"' => {
                in_quotes = !in_quotes;
                piece.quoted_from.get_or_insert(at);
                continue;
            }
            ':' if !in_quotes => piece.colon = piece.colon.or(Some(at)),
            '=' if !in_quotes => piece.equals = piece.equals.or(Some(at)),
            _ => {}
        }
        piece.text.push(c);
    }
    if in_quotes {
        return Err("a quotation mark is not closed".into());
    }
    pieces.extend(piece);
    Ok(pieces)
}

impl Piece {
    fn term(&self) -> Result<Term, String> {
        const PARAMETERS: &str = "params.";
        let is_quoted = |to: usize| self.quoted_from.is_some_and(|from| from < to);
        let is_parameter =
            self.text.get(..PARAMETERS.len()).is_some_and(|start| start.eq_ignore_ascii_case(PARAMETERS));
        if is_parameter && !is_quoted(PARAMETERS.len()) {
            let (name, value) = match self.equals {
                Some(at) => (&self.text[PARAMETERS.len()..at], Some(&self.text[at + 1..])),
                None => (&self.text[PARAMETERS.len()..], None),
            };
            return parameter(name, value);
        }
        match self.colon {
            // What begins with a quotation mark is text, whatever comes then.
            Some(at) if self.quoted_from != Some(0) => self.field(&self.text[..at], &self.text[at + 1..]),
            _ => self.bare(),
        }
    }

    fn field(&self, name: &str, value: &str) -> Result<Term, String> {
        if value.is_empty() {
            return Err(format!("nothing comes after {name}:"));
        }
        let name = name.to_lowercase();
        match &*name {
            "file" => return file(value),
            "digest" => return digest(value).map(Term::Digest),
            "sha256" | "sha512" => return digest(&self.text).map(Term::Digest),
            _ => {}
        }
        let field = match &*name {
            "license" => Some(Field::Licence),
            "whole_name" => None,
            name => Field::from_text(name),
        };
        let in_repository = name == "repository" || field == Some(Field::Name);
        if field.is_none() && !in_repository {
            return Err(format!(
                "there is no field {name:?}; there are {FIELDS}. To find the text itself, put it in quotes"
            ));
        }
        let words = words(value)?;
        let fields = field.map(|field| field..=field);
        Ok(Term::Text(Text { words, fields, in_repository, is_prefix: false, file: None, digest: None }))
    }

    fn bare(&self) -> Result<Term, String> {
        let is_quoted = self.quoted_from.is_some();
        let is_hexadecimal = self.text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_digest = !is_quoted && is_hexadecimal && self.text.len() >= DIGITS;
        Ok(Term::Text(Text {
            words: words(&self.text)?,
            fields: Some(Field::Name..=Field::Description),
            in_repository: true,
            is_prefix: !is_quoted,
            file: Some(&self.text).filter(|text| text.len() <= FILE_NAME_LIMIT && !text.contains('/')).cloned(),
            digest: if is_digest { digest(&self.text).ok() } else { None },
        }))
    }
}

fn words(text: &str) -> Result<Vec<String>, String> {
    let words: Vec<_> = split(text).collect();
    if words.is_empty() { Err(format!("{text:?} has no letter and no digit to look for")) } else { Ok(words) }
}

fn parameter(name: &str, value: Option<&str>) -> Result<Term, String> {
    if name.is_empty() || name.split('.').any(str::is_empty) {
        return Err("write a parameter as params.training.epochs=5, or without a value".into());
    }
    let value = value.map(|value| {
        let number = serde_json::from_str::<Number>(value);
        [leaf(value), number.map_or_else(|_| leaf(value), |number| leaf(&spelling(&number)))]
    });
    Ok(Term::Parameter { pointer: leaf(name), value })
}

/// A parameter's name or value as it is stored and compared.
pub(super) fn leaf(text: &str) -> String {
    clip(&text.to_lowercase(), PARAMETER).to_owned()
}

/// A number in the one spelling in which it is stored: 5, 5.0 and 5e0 are the same.
pub(super) fn spelling(number: &Number) -> String {
    /// Up to here a floating-point number is the only one of its neighbours that is this whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT => format!("{:.0}", float + 0.0),
        Some(float) if number.is_f64() => float.to_string(),
        _ => number.to_string(),
    }
}

fn file(name: &str) -> Result<Term, String> {
    if name.contains('/') {
        let last = name.rsplit('/').next().unwrap_or_default();
        return Err(format!("files are found by their names without folders: file:{last}"));
    }
    if name.len() > FILE_NAME_LIMIT {
        return Err(format!("no file's name has more than {FILE_NAME_LIMIT} bytes"));
    }
    Ok(Term::File(name.to_owned()))
}

/// What a digest begins with, as `sha256:…` or only the digits.
fn digest(text: &str) -> Result<DigestRange, String> {
    let (length, digits) = match text.split_once(':') {
        Some((name, digits)) if name.eq_ignore_ascii_case("sha256") => (Some(32), digits),
        Some((name, digits)) if name.eq_ignore_ascii_case("sha512") => (Some(64), digits),
        Some((name, _)) => return Err(format!("digests are sha256:… or sha512:…, not {name:?}")),
        None => (None, text),
    };
    let most = if length == Some(32) { 64 } else { 128 };
    if !(DIGITS..=most).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("{text:?} is not how a digest begins: write {DIGITS} to {most} hexadecimal digits"));
    }
    let bytes = |fill: &str| {
        let padded = if digits.len().is_multiple_of(2) { digits.to_owned() } else { format!("{digits}{fill}") };
        hex::decode(padded).map_err(|error| error.to_string())
    };
    let (low, mut high) = (bytes("0")?, bytes("f")?);
    // Longer than every digest, so that none which begins like this is greater.
    high.resize(65, 0xff);
    Ok(DigestRange { low, high, length })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(question: &str) -> Vec<Term> {
        question.parse::<Query>().unwrap().0
    }

    fn text(question: &str) -> Text {
        match terms(question).remove(0) {
            Term::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn words_and_fields() {
        let found = terms(r#"fraud author:"Jane Doe" licence:Apache-2.0 det"#);
        let Term::Text(author) = &found[1] else { panic!("{found:?}") };
        assert_eq!((&author.words[..], author.is_prefix), (&["jane".to_owned(), "doe".to_owned()][..], false));
        assert_eq!(author.fields, Some(Field::Author..=Field::Author));
        assert!(matches!(&found[0], Term::Text(text) if !text.is_prefix && text.in_repository));
        assert!(matches!(&found[2], Term::Text(text) if text.words == ["apache", "2", "0"]));
        assert!(matches!(&found[3], Term::Text(text) if text.is_prefix));
        assert_eq!(text("license:MIT").fields, text("LICENCE:mit").fields);
        assert!(text("name:x").in_repository && text("repository:x").fields.is_none());
        assert!(!text(r#""two words""#).is_prefix && text(r#""a:b""#).words == ["a", "b"]);
        assert_eq!(text("Model.BIN").file.as_deref(), Some("Model.BIN"));
    }

    #[test]
    fn parameters_in_every_spelling() {
        let value = |question: &str| match terms(question).remove(0) {
            Term::Parameter { pointer, value } => (pointer, value.map(|[_, number]| number)),
            other => panic!("{other:?}"),
        };
        let epochs = |value: &str| ("training.epochs".to_owned(), Some(value.to_owned()));
        for same in ["5", "5.0", "5e0", "\"5\""] {
            assert_eq!(value(&format!("params.Training.epochs={same}")), epochs("5"));
        }
        assert_eq!(value("params.training.epochs=1e-3"), epochs("0.001"));
        assert_eq!(value("params.training.epochs=-0.0"), epochs("0"));
        assert_eq!(value("params.training.epochs=Adam=\"W x\""), epochs("adam=w x"));
        assert_eq!(value("params.training.epochs=18446744073709551615"), epochs("18446744073709551615"));
        assert_eq!(value("params.a:b"), ("a:b".into(), None));
    }

    #[test]
    fn digests_by_their_beginning() {
        let range = |question: &str| match terms(question).remove(0) {
            Term::Digest(range) => (range.low, range.high[..4].to_vec(), range.length),
            other => panic!("{other:?}"),
        };
        assert_eq!(range("sha256:0928bf1"), (vec![9, 0x28, 0xbf, 0x10], vec![9, 0x28, 0xbf, 0x1f], Some(32)));
        assert_eq!(range("digest:0928BF"), (vec![9, 0x28, 0xbf], vec![9, 0x28, 0xbf, 0xff], None));
        assert!(text("0928bf").digest.is_some() && text("0928b").digest.is_none() && text("0928bg").digest.is_none());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let many = "a ".repeat(33);
        let long = "a".repeat(10_000);
        for (question, said) in [
            ("", "write what"),
            (" \t", "write what"),
            ("\"a", "not closed"),
            ("name:", "nothing comes after name:"),
            ("llama3:8b", "no field \"llama3\""),
            ("whole_name:x", "no field"),
            ("***", "no letter"),
            ("author:'--'", "no letter"),
            ("file:a/b.csv", "file:b.csv"),
            ("digest:12", "hexadecimal"),
            ("digest:md5:121212", "md5"),
            ("sha256:xyz123", "hexadecimal"),
            ("params.", "params.training"),
            ("params.=5", "params.training"),
            ("params.a..b=5", "params.training"),
            (&many, "33 words"),
            (&long, "10000 bytes"),
        ] {
            let error = question.parse::<Query>().unwrap_err();
            assert!(error.contains(said), "{question}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_question_or_is_refused(question in "\\PC*") {
            let _ = question.parse::<Query>();
        }

        #[test]
        fn so_is_what_looks_like_one(question in "(params\\.|name:|file:|sha256:|digest:|[a-f0-9]{0,9}|[\".=: ]|\0|é|İ){0,12}") {
            if let Ok(Query(terms)) = question.parse() {
                prop_assert!(!terms.is_empty());
            }
        }
    }
}
