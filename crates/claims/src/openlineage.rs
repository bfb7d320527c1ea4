//! OpenLineage events (specification 2-0-2), as Airflow, Spark and the clients send them.

use std::collections::BTreeSet;

use modelkit::RegistryReference;
use oci::{Digest, Tag};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use crate::problems::Problems;
use crate::statement::{ENTRIES, moment, shown};
use crate::{External, Relation, Target, json};

/// What stands for something else in an identity.
const VERSION: &AsciiSet = &CONTROLS.add(b'%').add(b'&').add(b'#').add(b'?').add(b';').add(b' ');

/// An event. Members and facets that are not named here are left to whoever keeps the event itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it reports.
    pub kind: Kind,
    /// The run, a UUID in lower case. Only runs have one.
    pub run_id: Option<String>,
    /// The job. A dataset's event has none.
    pub job: Option<Job>,
    /// `eventTime`, in microseconds since 1970.
    pub occurred_at: i64,
    /// What the run has read so far. Empty but for runs: the other events say what could be, not what was.
    pub inputs: Vec<Dataset>,
    /// What the run has written so far, likewise.
    pub outputs: Vec<Dataset>,
    /// What could not be read or is not believed, for people.
    pub problems: Vec<String>,
    /// Whether that may have cost inputs or outputs.
    pub incomplete: bool,
}

/// What an event reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A `RunEvent`: a run that gets into a state.
    Run(State),
    /// A `JobEvent`: what a job is.
    Job,
    /// A `DatasetEvent`: what a dataset is.
    Dataset,
}

/// The state of a run (`eventType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It has begun.
    Start,
    /// It goes on.
    Running,
    /// It has ended well.
    Complete,
    /// It was stopped.
    Abort,
    /// It has failed.
    Fail,
    /// Something else about it, before or after its end. Also where the event does not say.
    Other,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Job {
    /// The scheduler that it belongs to.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

/// An input or an output of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// The namespace, as declared. Credentials are left out.
    pub namespace: String,
    /// The name, likewise.
    pub name: String,
    /// How an input was used, where a facet has a `role`. Nothing is guessed from names.
    pub relation: Relation,
    /// The facet's word for that.
    pub word: Option<String>,
    /// Whether it is a model (facet `datasetType`).
    pub is_model: bool,
    /// What it is. A namespace `oci://host` makes it an artifact, whose digest or tag is its version (facet `version`).
    pub target: Target,
    /// What else it is known as (facet `symlinks`).
    pub aliases: Vec<Target>,
}

/// Why an event was refused, for whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct Invalid {
    /// The member, for example `run.runId`.
    pub field: String,
    /// What to do about it.
    pub what: String,
}

/// Reads an event.
///
/// # Errors
/// It is no event, or has no time, or nothing to be known by.
pub fn event(event: &Value) -> Result<Event, Invalid> {
    if !event.is_object() {
        return Err(invalid("event", "send a JSON object: a RunEvent, a DatasetEvent or a JobEvent"));
    }
    let kind = kind(event)?;
    let mut problems = Problems::default();
    let run_id = match kind {
        Kind::Run(_) => Some(run_id(&event["run"])?),
        Kind::Job | Kind::Dataset => None,
    };
    let job = match kind {
        Kind::Run(_) | Kind::Job => {
            let (namespace, name) = named(&event["job"], "job")?;
            Some(Job { namespace: shown(namespace), name: shown(name) })
        }
        Kind::Dataset => named(&event["dataset"], "dataset").map(|_| None)?,
    };
    let time = json::text(&event["eventTime"]).and_then(moment);
    let occurred_at = time.ok_or_else(|| invalid("eventTime", "write the moment as 2026-11-20T09:14:03.120Z"))?;
    let mut datasets = |member: &str| match kind {
        Kind::Run(_) => datasets(&event[member], member, &mut problems),
        Kind::Job | Kind::Dataset => Ok(Vec::new()),
    };
    let (inputs, outputs) = (datasets("inputs")?, datasets("outputs")?);
    let (problems, incomplete) = problems.finish();
    Ok(Event { kind, run_id, job, occurred_at, inputs, outputs, problems, incomplete })
}

impl State {
    /// The word for it in OpenLineage, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Abort => "abort",
            Self::Fail => "fail",
            Self::Other => "other",
        }
    }

    /// Whether the run has ended, and how is known.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::Abort | Self::Fail)
    }
}

fn kind(event: &Value) -> Result<Kind, Invalid> {
    if event["run"].is_null() {
        return match (event["dataset"].is_null(), event["job"].is_null()) {
            (false, _) => Ok(Kind::Dataset),
            (true, false) if event["eventType"].is_null() => Ok(Kind::Job),
            _ => Err(invalid("run", "add the run, or the job or dataset that this event is about")),
        };
    }
    let state = match &event["eventType"] {
        Value::Null => Some(State::Other),
        value => json::text(value).and_then(|text| {
            let states =
                [State::Start, State::Running, State::Complete, State::Abort, State::Fail, State::Other].into_iter();
            states.into_iter().find(|state| text.eq_ignore_ascii_case(state.as_str()))
        }),
    };
    let state = state.ok_or_else(|| {
        invalid("eventType", "write one of START, RUNNING, COMPLETE, ABORT, FAIL, OTHER, or leave it out")
    })?;
    Ok(Kind::Run(state))
}

fn run_id(run: &Value) -> Result<String, Invalid> {
    let id = json::text(&run["runId"]).unwrap_or_default();
    let groups = id.split('-').map(|group| {
        let hexadecimal = group.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hexadecimal { group.len() } else { 0 }
    });
    if groups.eq([8, 4, 4, 4, 12]) {
        Ok(id.to_ascii_lowercase())
    } else {
        Err(invalid("run.runId", "write a UUID, such as 0193f0a8-7b1e-7c31-9d0a-3f6f4a1c2b11"))
    }
}

/// The namespace and name of a job or dataset.
fn named<'a>(thing: &'a Value, place: &str) -> Result<(&'a str, &'a str), Invalid> {
    let member = |member: &str| {
        json::text(&thing[member])
            .ok_or_else(|| invalid(&format!("{place}.{member}"), "add it, as text that is not empty"))
    };
    Ok((member("namespace")?, member("name")?))
}

fn datasets(list: &Value, place: &str, problems: &mut Problems) -> Result<Vec<Dataset>, Invalid> {
    if !matches!(list, Value::Null | Value::Array(_)) {
        return Err(invalid(place, "write a list of datasets, or leave it out"));
    }
    let mut datasets = Vec::new();
    for (i, dataset) in json::list(list, place, ENTRIES, problems).iter().enumerate() {
        let place = format!("{place}[{i}]");
        let (namespace, name) = named(dataset, &place)?;
        let facets = &dataset["facets"];
        let Some(target) = identified(namespace, name, facets, &place, problems) else {
            problems.lost(format!("{place}: its namespace and name are no identity"));
            continue;
        };
        let (relation, word) = role(dataset, &place, problems);
        let kind = json::text(&facets["datasetType"]["datasetType"]);
        let symlinks = json::list(&facets["symlinks"]["identifiers"], "symlinks", ALIASES, problems).iter();
        let aliases =
            symlinks.filter_map(|alias| target_of(json::text(&alias["namespace"])?, json::text(&alias["name"])?, None));
        datasets.push(Dataset {
            namespace: shown(namespace),
            name: shown(name),
            relation,
            word,
            is_model: kind.is_some_and(|kind| kind.eq_ignore_ascii_case("model")),
            aliases: aliases.filter(|alias| *alias != target).collect(),
            target,
        });
    }
    Ok(datasets)
}

/// How many other names of a dataset are kept.
const ALIASES: usize = 100;

/// What a dataset and its version are. A digest in a facet of this registry's own counts where there is no version.
fn identified(namespace: &str, name: &str, facets: &Value, place: &str, problems: &mut Problems) -> Option<Target> {
    let version = json::text(&facets["version"]["datasetVersion"]);
    let mut target = target_of(namespace, name, version)?;
    let identity = json::text(&facets["modelkitRegistry_contentIdentity"]["manifestDigest"]);
    if let (Target::Artifact(reference), Some(digest)) = (&mut target, identity.and_then(|text| text.parse().ok())) {
        match reference.digest {
            Some(other) if other != digest => {
                problems.lost(format!("{place}: its version contradicts its manifestDigest, and neither is believed"));
                return None;
            }
            _ => reference.digest = Some(digest),
        }
    }
    if let (Target::Artifact(reference), Some(version)) = (&target, version)
        && reference.tag.is_none()
        && reference.digest.is_none()
    {
        let version = shown(version);
        problems.note(format!("{place}: {version:?} is neither a digest nor a tag, so its version is not known"));
    }
    Some(target)
}

fn target_of(namespace: &str, name: &str, version: Option<&str>) -> Option<Target> {
    if let Some(reference) = artifact(namespace, name, version) {
        return Some(Target::Artifact(reference));
    }
    let (namespace, name) = (namespace.trim_end_matches('/'), name.trim_start_matches('/'));
    // Absolute paths have no namespace of their own.
    let namespace = if namespace == "file" || namespace == "file:" { "file://" } else { namespace };
    let mut text = format!("{namespace}/{name}");
    if let Some(version) = version {
        let version = utf8_percent_encode(version, VERSION);
        let at = text.find('#').unwrap_or(text.len());
        let delimiter = if text[..at].contains('?') { '&' } else { '?' };
        text.insert_str(at, &format!("{delimiter}version={version}"));
    }
    External::parse(&text).map(Target::external)
}

/// The artifact of a dataset whose namespace is `oci://host[:port]`. A host without a dot is one all the same.
fn artifact(namespace: &str, name: &str, version: Option<&str>) -> Option<RegistryReference> {
    let (scheme, host) = namespace.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("oci") {
        return None;
    }
    let host = host.rsplit('@').next().unwrap_or_default().trim_end_matches('/').to_ascii_lowercase();
    // The port makes it a host whatever it looks like.
    let checked = if host.contains(':') { format!("{host}/x") } else { format!("{host}:1/x") };
    checked.parse::<RegistryReference>().ok()?.host?;
    let mut reference: RegistryReference = format!("localhost/{}", name.trim_matches('/')).parse().ok()?;
    reference.host = Some(host);
    let version = version.unwrap_or_default();
    let behind = |delimiter| version.rsplit_once(delimiter).map_or(version, |(_, behind)| behind);
    if let Ok(digest) = behind('@').parse::<Digest>() {
        reference.digest = Some(digest);
    } else if let Ok(tag) = behind(':').parse::<Tag>() {
        reference.tag = Some(tag);
    }
    Some(reference)
}

/// The role that facets give a dataset. Facets that disagree give none.
fn role(dataset: &Value, place: &str, problems: &mut Problems) -> (Relation, Option<String>) {
    let facets = ["facets", "inputFacets", "outputFacets"].into_iter().filter_map(|member| dataset[member].as_object());
    let words = facets.flatten().flat_map(|(_, facet)| [&facet["role"], &facet["relation"]]);
    let words: BTreeSet<_> =
        words.filter_map(|word| json::text(word)).filter_map(|word| Some((Relation::of_word(word)?, word))).collect();
    match (words.first(), words.last()) {
        (Some((relation, word)), Some((last, _))) if relation == last => (*relation, Some(shown(word))),
        (Some(_), _) => {
            problems.note(format!("{place}: its facets disagree on its role, which is taken as not said"));
            (Relation::Unstated, None)
        }
        _ => (Relation::Unstated, None),
    }
}

fn invalid(field: &str, what: &str) -> Invalid {
    Invalid { field: field.to_owned(), what: what.to_owned() }
}
