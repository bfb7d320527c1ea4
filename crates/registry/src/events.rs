//! OpenLineage events: runs that read some things and write others. A run that completed makes edges from what it wrote to what
//! it read, whichever of its events said so and in whatever order they came.

use std::collections::{BTreeMap, HashMap, HashSet};

use claims::openlineage::{self, Dataset, Event, Kind, State};
use index::{
    ClaimId, ClaimKind, EdgeKind, Micros, Reader, ReferenceState, RepositoryId, Session, audit,
    claim::{self, NewClaim, RunEvent},
    reference::Waiting,
};
use oci::Name;
use serde_json::Value;

use crate::{
    Access, Ctx, Error, Registry, authz,
    declared::{
        Declared, To, Voice,
        targets::{self, some_version_of},
    },
    impact::listed,
    push::TRIES,
    statements::kind,
};

/// How many bytes an event may have.
pub const EVENT_LIMIT: usize = 4 << 20;
/// How many edges one run may make: each of its outputs was made with each of its inputs.
const EDGES: usize = 20_000;
/// How many events are written in one transaction.
const TOGETHER: usize = 100;

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is kept, and so are the edges that it makes, if any.
    Recorded,
    /// It was known before.
    Known,
    /// It is none, or asks for too much; the text says what is wrong and what to do.
    Refused(String),
}

/// An event that was read.
struct Read<'a> {
    bytes: &'a [u8],
    event: Event,
    /// The bytes of the run's UUID.
    run: Option<[u8; 16]>,
}

impl Registry {
    /// Takes events, each a JSON text as its producer sent it, in order. Duplicates are harmless.
    ///
    /// # Errors
    /// [`Error::Internal`] when the database fails; what is wrong with an event itself is in its answer.
    pub async fn take_events(&self, ctx: &Ctx, events: &[&str]) -> Result<Vec<Taken>, Error> {
        authz::check(ctx, Access::Push)?;
        let mut taken = Vec::with_capacity(events.len());
        for events in events.chunks(TOGETHER) {
            let read: Vec<_> = events.iter().map(|event| read(event.as_bytes())).collect();
            let mut tries = 0;
            taken.extend(loop {
                tries += 1;
                let mut tx = self.db.begin().await?;
                match self.record_events(ctx, &mut tx, &read).await {
                    Ok(taken) => {
                        tx.commit().await?;
                        break taken;
                    }
                    Err(error) if error.is_conflict() && tries < TRIES => {}
                    Err(error) => return Err(error),
                }
            });
        }
        Ok(taken)
    }

    async fn record_events(
        &self,
        ctx: &Ctx,
        tx: &mut Session,
        read: &[Result<Read<'_>, String>],
    ) -> Result<Vec<Taken>, Error> {
        let now = self.now();
        // In the order of their runs, so that two requests never wait for each other in a circle.
        let mut runs: BTreeMap<[u8; 16], Vec<&Read<'_>>> = BTreeMap::new();
        for read in read.iter().flatten() {
            if let Some(run) = read.run {
                runs.entry(run).or_default().push(read);
            }
        }
        let mut completed = BTreeMap::new();
        for (run, events) in &runs {
            for read in events {
                completed.insert(*run, claim::run_event(tx, &run_event(read, run), now).await?);
            }
        }
        let mut taken = Vec::with_capacity(read.len());
        let (mut count, mut heard) = (0, HashSet::new());
        for read in read {
            taken.push(match read {
                Err(why) => Taken::Refused(why.clone()),
                Ok(read) => {
                    let taken = self.record_event(ctx, tx, read, now).await?;
                    if taken == Taken::Recorded {
                        count += 1;
                        heard.extend(read.run);
                    }
                    taken
                }
            });
        }
        // Of a run that has said nothing new, nothing is looked up again: its tags may name something else by now, and what it said
        // may have been retracted.
        for (run, at) in completed.into_iter().filter(|(run, _)| heard.contains(run)) {
            if let Some(at) = at {
                self.connect(&ctx.actor, tx, &run, at, now).await?;
            }
        }
        if count > 0 {
            let detail = format!("{count} events");
            let record = audit::Record {
                actor: &ctx.actor,
                request_id: &ctx.request_id,
                action: "lineage.event",
                repository: None,
                digest: None,
                tag: None,
                detail: Some(&detail),
            };
            audit::record(tx, &record, now).await?;
        }
        Ok(taken)
    }

    /// Keeps an event, once.
    async fn record_event(&self, ctx: &Ctx, tx: &mut Session, read: &Read<'_>, now: Micros) -> Result<Taken, Error> {
        let statement = claim::keep(tx, "application/json", &BTreeMap::new(), read.bytes, now).await?;
        let run = read.run.as_ref().map(<[u8; 16]>::as_slice);
        if let Some(run) = run
            && claim::run_knows(tx, run, statement).await?
        {
            return Ok(Taken::Known);
        }
        let problem = read.event.problems.join("; ");
        let new = NewClaim {
            repository: self.repository_of(tx, &read.event).await?,
            statement: Some(statement),
            run,
            format: Some("openlineage"),
            predicate_type: Some(said(&read.event)),
            problem: Some(&*problem).filter(|problem| !problem.is_empty()),
            incomplete: read.event.incomplete,
            occurred_at: Some(Micros(read.event.occurred_at)),
            ..NewClaim::of(ClaimKind::Event, &ctx.actor)
        };
        claim::insert(tx, &new, now).await?;
        Ok(Taken::Recorded)
    }

    /// Makes the edges of a run that has completed, as far as they are not there.
    async fn connect(&self, actor: &str, tx: &mut Session, run: &[u8], at: Micros, now: Micros) -> Result<(), Error> {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for bytes in claim::run_statements(tx, run).await? {
            // It was read before it was kept.
            let Some(event) = serde_json::from_slice(&bytes).ok().and_then(|event| openlineage::event(&event).ok())
            else {
                continue;
            };
            inputs.extend(event.inputs);
            outputs.extend(event.outputs);
        }
        let (inputs, outputs) = (self.distinct(inputs), self.distinct(outputs));
        if inputs.len().saturating_mul(outputs.len()) > EDGES {
            let why = format!("its run has more than {EDGES} pairs of inputs and outputs, and makes no edges");
            connection(tx, actor, run, at, now, Some(&why)).await?;
            return Ok(());
        }
        let known = claim::run_references(tx, run).await?;
        let tagged: HashMap<_, _> = known.iter().filter_map(|known| Some((&*known.declared, known.tagged?))).collect();
        let mut standing: HashMap<_, Vec<_>> = HashMap::new();
        for known in known.iter().filter(|known| known.stands) {
            standing.entry(known.source).or_default().push(known);
        }
        let texts: Vec<_> = outputs.iter().map(|(_, to)| to.to_string()).collect();
        let targets: Vec<_> = outputs.iter().zip(&texts).map(|((_, to), text)| (to, &**text)).collect();
        let resolved = targets::resolve(tx, &targets).await?;
        let mut made = Vec::with_capacity(outputs.len());
        for (((dataset, to), text), (state, source)) in outputs.iter().zip(&texts).zip(resolved) {
            // What a tag named for this run once, it names for good.
            let known = tagged.get(&**text).copied();
            let state = if known.is_some() { ReferenceState::Resolved } else { state };
            let sources = match (state, known.or(source), to.here()) {
                // Until it is there, no version is known, and a digest alone is not yet in the repository in which this holds.
                (ReferenceState::Unresolved, _, Some(repository)) => vec![some_version_of(tx, repository).await?],
                // Who makes an index makes what it lists.
                (ReferenceState::Resolved, Some(source), Some(_)) => listed(tx, Reader::ALL, source, now).await?,
                (_, source, _) => Vec::from_iter(source),
            };
            made.extend(sources.into_iter().map(|source| (dataset, to, text, state, source)));
        }
        let mut together = None;
        for (dataset, to, text, state, source) in made {
            let is_missing = state == ReferenceState::Unresolved;
            let known = standing.get(&source).into_iter().flatten();
            // What is said of what is missing is a claim of its own, which ends when that comes.
            let own = known.clone().find(|known| is_missing && known.declared == *text).map(|known| known.claim);
            let known = known.filter(|known| !is_missing || Some(known.claim) == own);
            let known: HashSet<_> = known.map(|known| &*known.declared).collect();
            let said = self.read_for(tx, (dataset, to), &inputs, &known).await?;
            if said.is_empty() {
                continue;
            }
            let claim = match if is_missing { own } else { together } {
                Some(claim) => claim,
                None => connection(tx, actor, run, at, now, None).await?,
            };
            let is_unversioned = is_missing || state == ReferenceState::Unversioned;
            for (&repository, declared) in &said {
                let voice = Voice { occurred_at: Some(at), ..Voice::unsigned(claim, repository, source) };
                Voice { is_unversioned, ..voice }.declare(tx, declared, now).await?;
            }
            if !is_missing {
                together = Some(claim);
            } else if let (None, Some(&repository)) = (own, said.keys().next()) {
                let awaited = said_to_be(dataset, EdgeKind::DependsOn, to);
                Voice::unsigned(claim, repository, source).wait_for(tx, &awaited, now).await?;
            }
        }
        Ok(())
    }

    /// What was read for an output, as far as that is not known, by the repositories in which it is said.
    async fn read_for(
        &self,
        tx: &mut Session,
        (output, to): (&Dataset, &To),
        inputs: &[(Dataset, To)],
        known: &HashSet<&str>,
    ) -> Result<BTreeMap<Option<RepositoryId>, Vec<Declared>>, Error> {
        let output_in = self.known_repository(tx, to).await?;
        let mut said: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (input, from) in inputs.iter().filter(|(_, from)| from != to) {
            let declared = said_to_be(input, used(output, input), from);
            if known.contains(&*declared.text) {
                continue;
            }
            let repository = match output_in {
                Some(repository) => Some(repository),
                None => self.known_repository(tx, from).await?,
            };
            said.entry(repository).or_default().push(declared);
        }
        Ok(said)
    }

    /// Makes the edges of a run whose output has come that a reference waited for. What was said of no known version of it is said
    /// no longer.
    pub(crate) async fn meet_output(&self, tx: &mut Session, waiting: &Waiting, now: Micros) -> Result<(), Error> {
        let Some((run, at)) = claim::hold_run(tx, waiting.claim).await? else { return Ok(()) };
        let Some(told) = claim::told(tx, Reader::ALL, waiting.claim).await? else { return Ok(()) };
        let now = claim::after_last(tx, waiting.claim, now).await?;
        claim::retract(tx, waiting.claim, &told.actor, "the version has come, and is known now", now).await?;
        self.connect(&told.actor, tx, &run, at, now).await
    }

    /// Each dataset once, by what it is, and by what else it is known as.
    fn distinct(&self, datasets: Vec<Dataset>) -> Vec<(Dataset, To)> {
        let mut distinct: Vec<(Dataset, To)> = Vec::new();
        let mut known = HashSet::new();
        for dataset in datasets {
            let targets = std::iter::once(&dataset.target).chain(&dataset.aliases);
            for to in targets.flat_map(|target| To::all(target, &self.names)) {
                if known.insert((to.clone(), dataset.relation)) {
                    distinct.push((dataset.clone(), to));
                }
            }
        }
        distinct
    }

    /// The repository of the first output, or else input, that is in this registry.
    async fn repository_of(&self, tx: &mut Session, event: &Event) -> Result<Option<RepositoryId>, Error> {
        for dataset in event.outputs.iter().chain(&event.inputs) {
            for to in To::all(&dataset.target, &self.names) {
                if let Some(repository) = self.known_repository(tx, &to).await? {
                    return Ok(Some(repository));
                }
            }
        }
        Ok(None)
    }

    async fn known_repository(&self, tx: &mut Session, to: &To) -> Result<Option<RepositoryId>, Error> {
        let name: &Name = match to {
            To::Repository(name) => name,
            to => match to.here() {
                Some(name) => name,
                None => return Ok(None),
            },
        };
        Ok(index::repository::find(tx, Reader::ALL, name).await?)
    }
}

/// The claim that the edges of a run are made by: what its events say together.
async fn connection(
    tx: &mut Session,
    actor: &str,
    run: &[u8],
    at: Micros,
    now: Micros,
    problem: Option<&str>,
) -> Result<ClaimId, Error> {
    let new = NewClaim {
        run: Some(run),
        format: Some("openlineage"),
        predicate_type: Some("run"),
        problem,
        incomplete: problem.is_some(),
        occurred_at: Some(at),
        ..NewClaim::of(ClaimKind::Event, actor)
    };
    Ok(claim::insert(tx, &new, now).await?)
}

/// A dataset as it is declared.
fn said_to_be(dataset: &Dataset, kind: EdgeKind, to: &To) -> Declared {
    Declared {
        component: None,
        kind,
        word: dataset.word.clone(),
        name: Some(dataset.name.clone()),
        text: to.to_string(),
        to: to.clone(),
    }
}

/// What an output is to an input, as far as the events say; the rest is decided by what both are.
fn used(output: &Dataset, input: &Dataset) -> EdgeKind {
    match kind(input.relation) {
        EdgeKind::DependsOn if output.is_model && input.is_model => EdgeKind::DerivedFrom,
        EdgeKind::DependsOn if output.is_model => EdgeKind::TrainedOn,
        EdgeKind::DependsOn if input.is_model => EdgeKind::DerivedFrom,
        kind => kind,
    }
}

fn read(bytes: &[u8]) -> Result<Read<'_>, String> {
    if bytes.len() > EVENT_LIMIT {
        return Err(format!("the event has {} bytes; at most {EVENT_LIMIT} are taken", bytes.len()));
    }
    let event: Value = serde_json::from_slice(bytes).map_err(|e| format!("the event is not JSON: {e}"))?;
    let event = openlineage::event(&event).map_err(|invalid| invalid.to_string())?;
    let run = event.run_id.as_ref().and_then(|id| {
        let digits: String = id.chars().filter(|c| *c != '-').collect();
        let mut bytes = [0; 16];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        Some(bytes)
    });
    Ok(Read { bytes, event, run })
}

fn run_event<'a>(read: &'a Read<'_>, run: &'a [u8; 16]) -> RunEvent<'a> {
    let is_complete = read.event.kind == Kind::Run(State::Complete);
    let job = read.event.job.as_ref().map_or(("", ""), |job| (&*job.namespace, &*job.name));
    let completed_at = is_complete.then_some(Micros(read.event.occurred_at));
    RunEvent { run, job, state: said(&read.event), completed_at }
}

fn said(event: &Event) -> &'static str {
    match event.kind {
        Kind::Run(state) => state.as_str(),
        Kind::Job => "job",
        Kind::Dataset => "dataset",
    }
}
