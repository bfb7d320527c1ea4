//! What a kit is found by, taken from its stored document, so that a kit pushed now and one pushed long ago are the same.

use std::collections::BTreeSet;

use index::{
    Field,
    search::{Searchable, file_name, split},
};
use modelkit::Role;
use serde_json::Value;

use super::query::{leaf, spelling};

/// The most words of a kit that are kept; descriptions come last.
const WORDS: usize = 2000;
/// The most parameters.
const PARAMETERS: usize = 1000;
/// The most bytes of a name that is kept as a whole, which no question exceeds.
const WHOLE_NAME: usize = 1000;

/// Takes from the document, and from what the manifest calls its layers, what the kit is found by.
pub(crate) fn searchable<'a>(document: &Value, paths: impl Iterator<Item = &'a str>) -> Searchable {
    let mut found = Found::default();
    let package = &document["package"];
    let components = document["components"].as_array().map_or(&[][..], Vec::as_slice);
    let of_role =
        |wanted: bool| components.iter().filter(move |component| (component["role"] == Role::Model.as_str()) == wanted);
    found.name(&package["name"]);
    of_role(true).for_each(|model| found.name(&model["name"]));
    found.texts(Field::Author, &package["authors"]);
    found.texts(Field::Licence, &package["licences"]);
    found.texts(Field::Family, &package["family"]);
    found.texts(Field::Version, &package["version"]);
    for component in components {
        found.texts(Field::Licence, &component["licence"]);
        found.texts(Field::Framework, &component["framework"]);
        found.texts(Field::Format, &component["format"]);
        found.texts(Field::Version, &component["version"]);
        found.parameters("", &component["parameters"]);
    }
    of_role(false).for_each(|component| found.texts(Field::Component, &component["name"]));
    let declared = components.iter().filter_map(|component| component["path"].as_str());
    paths.for_each(|path| found.file(path));
    declared.for_each(|path| found.file(path));
    found.texts(Field::Description, &package["description"]);
    components.iter().for_each(|component| found.texts(Field::Description, &component["description"]));
    found.kit
}

#[derive(Default)]
struct Found {
    kit: Searchable,
    position: i32,
    /// What has been taken: most licences stand in a kit several times.
    taken: BTreeSet<(Field, String)>,
}

impl Found {
    fn name(&mut self, name: &Value) {
        self.texts(Field::Name, name);
        let words: Vec<_> = split(name.as_str().unwrap_or_default()).collect();
        let whole = words.join(" ");
        if !whole.is_empty() && whole.len() <= WHOLE_NAME && self.taken.insert((Field::WholeName, whole.clone())) {
            self.word(Field::WholeName, whole);
        }
    }

    fn file(&mut self, path: &str) {
        if let Some(name) = file_name(path)
            && self.taken.insert((Field::File, name.clone()))
        {
            self.word(Field::File, name);
        }
    }

    /// A text, or each of several.
    fn texts(&mut self, field: Field, value: &Value) {
        let texts = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for text in texts.iter().filter_map(Value::as_str) {
            if self.taken.insert((field, text.to_owned())) {
                split(text).for_each(|word| self.word(field, word));
                self.position += 1;
            }
        }
    }

    fn word(&mut self, field: Field, word: String) {
        if self.kit.words.len() < WORDS {
            self.kit.words.push((self.position, field, word));
            self.position += 1;
        } else {
            self.kit.cut = true;
        }
    }

    fn parameters(&mut self, pointer: &str, value: &Value) {
        let text = match value {
            Value::Object(members) => {
                for (name, value) in members {
                    let below = if pointer.is_empty() { name.clone() } else { format!("{pointer}.{name}") };
                    self.parameters(&below, value);
                }
                return;
            }
            Value::Array(values) => return values.iter().for_each(|value| self.parameters(pointer, value)),
            Value::String(text) => text.clone(),
            Value::Number(number) => spelling(number),
            Value::Bool(_) | Value::Null => value.to_string(),
        };
        if pointer.is_empty() {
            return;
        }
        if self.kit.parameters.len() < PARAMETERS {
            self.kit.parameters.push((leaf(pointer), leaf(&text)));
        } else {
            self.kit.cut = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_taken_apart() {
        let found = searchable(
            &json!({
                "package": {"name": "Fraud-Detector", "licences": ["MIT"], "authors": ["Jane Doe", "Ann"]},
                "components": [
                    {"role": "model", "name": "m", "licence": "MIT", "parameters": {"Opt": {"betas": [0.9, 1.0]}, "on": true}},
                    {"role": "dataset", "name": "train", "path": "data/Train.csv", "parameters": 5},
                ],
            }),
            ["model.bin", "train.CSV", "a/", "nul\0"].into_iter(),
        );
        let word = |position, field, word: &str| (position, field, word.to_owned());
        assert_eq!(
            found.words,
            [
                word(0, Field::Name, "fraud"),
                word(1, Field::Name, "detector"),
                word(3, Field::WholeName, "fraud detector"),
                word(4, Field::Name, "m"),
                word(6, Field::WholeName, "m"),
                word(7, Field::Author, "jane"),
                word(8, Field::Author, "doe"),
                word(10, Field::Author, "ann"),
                word(12, Field::Licence, "mit"),
                word(14, Field::Component, "train"),
                word(16, Field::File, "model.bin"),
                word(17, Field::File, "train.csv"),
            ]
        );
        let parameter = |pointer: &str, value: &str| (pointer.to_owned(), value.to_owned());
        assert_eq!(
            found.parameters,
            [parameter("opt.betas", "0.9"), parameter("opt.betas", "1"), parameter("on", "true"),]
        );
        assert!(!found.cut);
        assert_eq!(searchable(&Value::Null, [].into_iter()), Searchable::default());
    }

    #[test]
    fn what_is_too_much_is_cut_and_said() {
        let many: Vec<_> = (0..3000).map(|number| format!("word{number}")).collect();
        let found = searchable(&json!({"package": {"description": many.join(" ")}}), [].into_iter());
        assert!(found.cut && found.words.len() == WORDS);
        let found = searchable(&json!({"components": [{"parameters": {"list": vec![1; 3000]}}]}), [].into_iter());
        assert!(found.cut && found.parameters.len() == PARAMETERS);
    }
}
