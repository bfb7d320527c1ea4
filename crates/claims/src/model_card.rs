//! Model cards: the YAML between `---` lines at the start of a README.

use modelkit::RegistryReference;
use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::external::EXTERNAL_LIMIT;
use crate::statement::{Draft, ENTRIES, Format, Statement, Use, shown};
use crate::{External, Relation, Target, Unread};

/// How many bytes of front matter are read at most. Cards with results of hundreds of benchmarks have half of it.
pub const CARD_LIMIT: usize = 1024 * 1024;

/// What a model card says, by its Hugging Face metadata: `base_model`, `datasets`, `license`. `None` if it has no front
/// matter. Names without a registry are those of the hub.
///
/// Front matter that is not YAML is read up to where it is none; the statement says so.
///
/// # Errors
/// The front matter is longer than [`CARD_LIMIT`].
pub fn model_card(bytes: &[u8]) -> Result<Option<Statement>, Unread> {
    let Some(front) = front_matter(bytes)? else { return Ok(None) };
    let mut draft = Draft::new(Format::ModelCard);
    let said = said(&front, &mut draft);
    let word = said.relation.as_deref();
    for base in said.base_models {
        used(&base, Relation::DerivedFrom, word, "", &mut draft);
    }
    for dataset in said.datasets {
        used(&dataset, Relation::TrainedOn, None, "datasets/", &mut draft);
    }
    // `other` only says that the name is elsewhere.
    let licences = said.licences.into_iter().filter(|licence| licence != "other" || said.licence_name.is_none());
    for licence in licences.chain(said.licence_name.clone()) {
        draft.licence(&licence);
    }
    Ok(Some(draft.finish()))
}

/// The text between the first line, which is `---`, and the next such line.
fn front_matter(bytes: &[u8]) -> Result<Option<String>, Unread> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let mut lines = bytes[..bytes.len().min(CARD_LIMIT + 1)].split_inclusive(|&byte| byte == b'\n');
    let is_fence = |line: &[u8]| line.trim_ascii_end() == b"---";
    let Some(first) = lines.next().filter(|line| is_fence(line)) else { return Ok(None) };
    let mut length = 0;
    for line in lines {
        if is_fence(line) {
            let front = &bytes[first.len()..first.len() + length];
            return Ok(Some(String::from_utf8_lossy(front).into_owned()));
        }
        length += line.len();
    }
    // Without a second line the first one is a rule.
    if bytes.len() > CARD_LIMIT { Err(Unread::Bytes(CARD_LIMIT)) } else { Ok(None) }
}

/// The members that count, still as text.
#[derive(Debug, Default)]
struct Said {
    base_models: Vec<String>,
    relation: Option<String>,
    datasets: Vec<String>,
    licences: Vec<String>,
    licence_name: Option<String>,
}

/// Walks over the events of the YAML. Nothing is built from it and no alias is followed, so none can be a bomb.
fn said(front: &str, draft: &mut Draft) -> Said {
    let mut said = Said::default();
    let mut depth = 0_usize;
    let mut key: Option<String> = None;
    for event in Parser::new_from_str(front) {
        let event = match event {
            Ok((event, _)) => event,
            Err(error) => {
                draft.problems.lost(format!("the front matter is not YAML: {}", shown(&error.to_string())));
                break;
            }
        };
        let mut ends_value = false;
        match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                if depth == 0 && matches!(event, Event::SequenceStart(..)) {
                    draft.problems.lost("the front matter is a list, not a mapping");
                    break;
                }
                // A list is the only thing that a member which counts may hold.
                if depth >= 1
                    && let Some(key) = key.as_deref()
                    && (depth > 1 || matches!(event, Event::MappingStart(..)))
                    && said.list(key).is_some()
                {
                    draft.problems.lost(format!("{key} holds what is not text"));
                }
                depth += 1;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                depth = depth.saturating_sub(1);
                ends_value = depth == 1;
            }
            Event::Scalar(text, style, ..) => match (depth, key.as_deref()) {
                (0, _) => {
                    draft.problems.lost("the front matter is not a mapping");
                    break;
                }
                (1, None) => key = Some(text.into_owned()),
                (1 | 2, Some(key)) => {
                    said.add(key, &text, style, draft);
                    ends_value = depth == 1;
                }
                _ => {}
            },
            Event::Alias(_) => {
                match key.as_deref() {
                    Some(key) if said.list(key).is_some() => {
                        draft.problems.lost(format!("{key} is an alias, which is not followed"));
                    }
                    Some(_) => {}
                    // An alias as a key names nothing that counts.
                    None if depth == 1 => key = Some(String::new()),
                    None => {}
                }
                ends_value = depth == 1 && key.as_deref() != Some("");
            }
            Event::DocumentEnd => break,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
        }
        if ends_value {
            key = None;
        }
    }
    said
}

impl Said {
    /// Where the texts of a member go, if it counts.
    fn list(&mut self, key: &str) -> Option<&mut Vec<String>> {
        match key {
            "base_model" => Some(&mut self.base_models),
            "datasets" => Some(&mut self.datasets),
            "license" => Some(&mut self.licences),
            _ => None,
        }
    }

    fn add(&mut self, key: &str, text: &str, style: ScalarStyle, draft: &mut Draft) {
        let text = text.trim();
        let null = text.is_empty() || (style == ScalarStyle::Plain && matches!(text, "~" | "null" | "Null" | "NULL"));
        if null {
            return;
        }
        match key {
            "base_model_relation" => self.relation = Some(shown(text)),
            "license_name" => self.licence_name = Some(shown(text)),
            _ => match self.list(key) {
                Some(list) if list.len() < ENTRIES => list.push(text.to_owned()),
                Some(_) => draft.problems.lost(format!("{key} has more than the {ENTRIES} entries that are read")),
                None => {}
            },
        }
    }
}

/// Adds what a member names: on the hub (below `folder` there), or wherever its host or scheme says.
fn used(text: &str, relation: Relation, word: Option<&str>, folder: &str, draft: &mut Draft) {
    let Some(target) = target(text, folder) else {
        draft.problems.lost(format!("{relation}: {:?} names no repository", shown(text)));
        return;
    };
    let word = word.map(str::to_owned);
    draft.used(Use { relation, word, name: None, declared: shown(text), target });
}

/// What a card's text names: on the hub, below `folder` there, unless it says where.
pub(crate) fn target(text: &str, folder: &str) -> Option<Target> {
    if text.len() > EXTERNAL_LIMIT {
        return None;
    }
    if text.contains("://") || text.starts_with("pkg:") {
        return Target::parse(text);
    }
    if let Ok(reference) = text.parse::<RegistryReference>()
        && (reference.host.is_some() || reference.tag.is_some() || reference.digest.is_some())
    {
        return Some(Target::Artifact(reference));
    }
    let (repository, revision) = text.split_once('@').map_or((text, None), |(name, revision)| (name, Some(revision)));
    let mut parts = repository.split('/');
    let word = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    if parts.clone().count() > 2 || !parts.all(word) || revision.is_some_and(|revision| revision.contains('/')) {
        return None;
    }
    External::parse(&format!("hf://{folder}{text}")).map(Target::external)
}
