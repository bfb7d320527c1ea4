//! The one shape that every statement is read into.

use std::collections::HashSet;
use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use oci::Digest;
use serde_json::Value;

use crate::problems::Problems;
use crate::secrets::without_secrets;
use crate::target::Digests;
use crate::{Relation, Target, json};

/// How many subjects, and how many uses, are kept of one statement. Without the rest it is `incomplete`.
pub const ENTRIES: usize = 10_000;

/// How many files are kept of one statement. Signatures of models and datasets name every file.
pub const FILES: usize = 100_000;

/// The longest text that is shown to people, in bytes. More is cut off.
const SHOWN: usize = 1024;

/// What somebody says about an artifact. Nothing in it has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What it is written in.
    pub format: Format,
    /// The `predicateType` of an in-toto statement, whether it is known or not.
    pub predicate_type: Option<String>,
    /// What it is about. Where it is attached to an artifact it is about that, even if it says otherwise here: signatures
    /// of models have a digest of their own making, and bills of materials the hash of a file.
    pub subjects: Vec<Subject>,
    /// When that was, as the producer says, in microseconds since 1970: the end of a run, or when a document was made.
    pub occurred_at: Option<i64>,
    /// What the subject was made with, each thing once.
    pub uses: Vec<Use>,
    /// The files that the subject consists of.
    pub files: Vec<File>,
    /// The licences of the subject, as declared (model cards, CycloneDX).
    pub licences: Vec<String>,
    /// What could not be read or is not believed, for people.
    pub problems: Vec<String>,
    /// Whether that may have cost subjects, uses or files.
    pub incomplete: bool,
}

/// What a statement is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// An in-toto statement: SLSA provenance, or one whose predicate is not known and says nothing here.
    InToto,
    /// A CycloneDX bill of materials, by itself or as a predicate.
    CycloneDx,
    /// An SPDX document, likewise. Only version 3 knows models and says anything.
    Spdx,
    /// A signature by OpenSSF Model Signing, which names files.
    ModelSigning,
    /// An OpenLineage event. It is read by [`crate::openlineage`], and never the format of a [`Statement`].
    OpenLineage,
    /// The front matter of a model card.
    ModelCard,
    /// The configuration of an adapter.
    AdapterConfig,
    /// Some other JSON.
    Other,
}

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The name, if it has one.
    pub name: Option<String>,
    /// Its digest, if it has one of an algorithm that the registry knows.
    pub digest: Option<Digest>,
}

/// Something that the subject was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// How it was used.
    pub relation: Relation,
    /// The statement's own word for that, for example `validation` or `quantized`.
    pub word: Option<String>,
    /// The name that the statement gives it, or its path.
    pub name: Option<String>,
    /// What was written, shown to people: a URI, a reference, a digest. Credentials are left out.
    pub declared: String,
    /// What it identifies.
    pub target: Target,
}

/// A file of the subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The path, relative to the subject.
    pub path: String,
    /// The SHA-256 digest of its bytes.
    pub digest: Digest,
}

impl Format {
    /// The word for it in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InToto => "in-toto",
            Self::CycloneDx => "cyclonedx",
            Self::Spdx => "spdx",
            Self::ModelSigning => "model-signing",
            Self::OpenLineage => "openlineage",
            Self::ModelCard => "model-card",
            Self::AdapterConfig => "adapter-config",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A statement that is being read.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) format: Format,
    pub(crate) predicate_type: Option<String>,
    pub(crate) problems: Problems,
    occurred_at: Option<i64>,
    subjects: Vec<Subject>,
    uses: Vec<Use>,
    files: Vec<File>,
    licences: Vec<String>,
    known: HashSet<(Relation, Target)>,
}

/// Something that a bill of materials describes.
#[derive(Debug, Default)]
pub(crate) struct Described<'a> {
    pub(crate) name: Option<&'a str>,
    /// Where it is, the best place first.
    pub(crate) places: Vec<&'a str>,
    pub(crate) digests: Digests,
    /// What it consists of.
    pub(crate) files: Vec<(&'a str, Digest)>,
}

impl Draft {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            predicate_type: None,
            problems: Problems::default(),
            occurred_at: None,
            subjects: Vec::new(),
            uses: Vec::new(),
            files: Vec::new(),
            licences: Vec::new(),
            known: HashSet::new(),
        }
    }

    pub(crate) fn subject(&mut self, name: Option<&str>, digest: Option<Digest>) {
        self.subjects.push(Subject { name: name.map(shown), digest });
    }

    pub(crate) fn licence(&mut self, licence: &str) {
        if self.licences.len() < ENTRIES {
            self.licences.push(shown(licence));
        }
    }

    pub(crate) fn file(&mut self, path: &str, digest: Digest) {
        if self.files.len() < FILES {
            self.files.push(File { path: path.to_owned(), digest });
        } else {
            self.problems.lost(format!("it names more than {FILES} files"));
        }
    }

    /// The first of the moments that is one.
    pub(crate) fn moment(&mut self, moments: &[&Value]) {
        for text in moments.iter().filter_map(|moment| json::text(moment)) {
            match moment(text) {
                Some(micros) => {
                    self.occurred_at = Some(micros);
                    return;
                }
                None => self.problems.note(format!("{:?} is no moment", shown(text))),
            }
        }
    }

    /// Adds what is used, unless the same was said before.
    pub(crate) fn used(&mut self, used: Use) {
        if self.uses.len() >= ENTRIES {
            self.problems.lost(format!("it names more than {ENTRIES} things that were used"));
        } else if self.known.insert((used.relation, used.target.clone())) {
            self.uses.push(used);
        }
    }

    /// Adds what a bill of materials describes: by where it is, by its hash, and by its files. The hash is no digest of
    /// the artifact that is there: these documents have hashes of files and archives.
    pub(crate) fn described(&mut self, relation: Relation, word: Option<&str>, described: &Described<'_>) {
        let Described { name, places, digests, files } = described;
        let mut add = |name: Option<&str>, declared: &str, target: Target| {
            let (name, word, declared) = (name.map(shown), word.map(shown), shown(declared));
            self.used(Use { relation, word, name, declared, target });
        };
        let digest = digests.content();
        let place = places.iter().find_map(|place| Some((*place, Target::parse(place)?)));
        let told = place.is_some() || digest.is_some() || !files.is_empty();
        let joined = match place {
            Some((declared, Target::External { identity, .. })) => {
                add(*name, declared, Target::External { identity, digest });
                true
            }
            Some((declared, target)) => {
                add(*name, declared, target);
                false
            }
            None => false,
        };
        if let Some(digest) = digest.filter(|_| !joined) {
            add(*name, &digest.to_string(), Target::Content(digest));
        }
        for (path, digest) in files {
            add(Some(path), &digest.to_string(), Target::Content(*digest));
        }
        if !told {
            let name = name.map_or_else(|| "something without a name".to_owned(), shown);
            self.problems.lost(format!("{relation}: {name} has neither a place nor a hash to know it by"));
        }
    }

    pub(crate) fn finish(mut self) -> Statement {
        // What is said of a thing in one place need not be said in the next.
        let known = &self.known;
        let stated = [Relation::TrainedOn, Relation::TestedOn, Relation::DerivedFrom, Relation::Source];
        self.uses.retain(|used| {
            let elsewhere = || stated.iter().any(|relation| known.contains(&(*relation, used.target.clone())));
            used.relation != Relation::Unstated || !elsewhere()
        });
        let (problems, incomplete) = self.problems.finish();
        Statement {
            format: self.format,
            predicate_type: self.predicate_type,
            subjects: self.subjects,
            occurred_at: self.occurred_at,
            uses: self.uses,
            files: self.files,
            licences: self.licences,
            problems,
            incomplete,
        }
    }
}

/// A text as it is shown: without credentials, and not too long.
pub(crate) fn shown(text: &str) -> String {
    let text = without_secrets(text.trim());
    match text.char_indices().find(|(at, character)| at + character.len_utf8() > SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// A moment in microseconds since 1970. Without an offset it is taken for UTC, as producers that leave it out mean it
/// more often than not.
pub(crate) fn moment(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(moment.as_microsecond());
    }
    let local = text.parse::<DateTime>().ok()?;
    Offset::UTC.to_timestamp(local).ok().map(|moment| moment.as_microsecond())
}
