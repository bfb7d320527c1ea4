//! Statements that are attached to artifacts: what they say, who signed them, and the claims that they make.
//!
//! A signature is looked at before the payload is read. What a statement says is read without any IO; a push reads the
//! bytes before its transaction begins and writes the claims in it.

use std::collections::{BTreeMap, BTreeSet};

use claims::{Format, Relation, Statement, Use};
use index::{
    ClaimId, ClaimKind, EdgeKind, Grade, LayerId, LayerState, Micros, NodeId, RepositoryId, Session,
    claim::{self, NewClaim, Outcome},
    reference::NewEdge,
};
use oci::{Algorithm, Descriptor, Digest, Hasher, Manifest, Name, Tag};
use serde_json::Value;
use signatures::{Artifact, Looked, Trust};

use crate::{
    Ctx, Error, Names, Registry,
    declared::{Declared, To, Voice},
};

const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
/// What statements without a signature are attached as.
const PLAIN: [&str; 5] =
    ["application/vnd.in-toto", "application/vnd.cyclonedx", "application/spdx", "application/json", "text/spdx"];

/// How many statements of one manifest are read. Cosign 2 adds one layer with each attestation.
const STATEMENTS: usize = 64;
/// How many bytes of them.
const BYTES: u64 = 32 << 20;

/// A statement that a manifest carries.
#[derive(Debug)]
pub(crate) struct Carried {
    /// Which of its layers it is.
    pub(crate) position: usize,
    pub(crate) media_type: String,
    pub(crate) annotations: BTreeMap<String, String>,
    /// Its bytes, or why they are not read.
    pub(crate) bytes: Result<Vec<u8>, String>,
}

/// What a carried statement says about the artifact that it is attached to.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) format: Option<&'static str>,
    pub(crate) predicate_type: Option<String>,
    pub(crate) occurred_at: Option<Micros>,
    /// Who signed; nothing where there is no signature to look at, or it is one of something else.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) declared: Vec<Declared>,
    /// Whether it says more than could be read of it.
    pub(crate) incomplete: bool,
    /// The files that a signature of a model is of; they have to be those of the artifact.
    pub(crate) files: Option<BTreeSet<[u8; 32]>>,
    pub(crate) problem: Option<String>,
}

/// What the statements of a manifest say about the artifact that it is attached to.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    subject: Option<Digest>,
    said: Vec<(Carried, Said)>,
}

impl Heard {
    /// What they refer to.
    pub(crate) fn declared(&self) -> impl Iterator<Item = &Declared> {
        self.said.iter().flat_map(|(_, said)| &said.declared)
    }
}

/// What a manifest is attached to: its subject, or what its tag of cosign 2 says (`sha256-….att`).
pub(crate) fn attached_to(manifest: &Manifest, tags: &[Tag]) -> Option<Digest> {
    let by_tag = || {
        tags.iter().find_map(|tag| {
            let (digest, kind) = tag.rsplit_once('.')?;
            let (algorithm, hash) = digest.split_once('-')?;
            ["att", "sig", "sbom"].contains(&kind).then(|| format!("{algorithm}:{hash}").parse().ok())?
        })
    };
    manifest.subject.as_ref().map(|subject| subject.digest).or_else(by_tag)
}

/// The layers that are statements.
fn statements(manifest: &Manifest) -> impl Iterator<Item = (usize, &Descriptor)> {
    let is_one = |layer: &Descriptor| {
        let media_type = layer.media_type.as_str();
        media_type == ENVELOPE
            || media_type == SIMPLE
            || media_type.starts_with(BUNDLE)
            || PLAIN.iter().any(|plain| media_type.starts_with(plain))
    };
    manifest.layers.iter().enumerate().filter(move |(_, layer)| is_one(layer)).take(STATEMENTS)
}

/// What a statement says, about the artifact `subject`, by what is trusted.
pub(crate) fn say(trust: &Trust, names: &Names, subject: &Digest, carried: &Carried) -> Said {
    let mut said = Said {
        incomplete: false,
        format: None,
        predicate_type: None,
        occurred_at: None,
        outcome: None,
        declared: Vec::new(),
        files: None,
        problem: None,
    };
    let bytes = match &carried.bytes {
        Ok(bytes) => bytes,
        Err(why) => return Said { problem: Some(why.clone()), incomplete: true, ..said },
    };
    let looked = match look(trust, subject, carried, bytes) {
        Ok(looked) => looked,
        Err(malformed) => return Said { problem: Some(malformed), incomplete: true, ..said },
    };
    let (media_type, payload) = match &looked {
        Some(looked) => (looked.payload_type.as_str(), looked.payload.as_slice()),
        None => (carried.media_type.as_str(), bytes.as_slice()),
    };
    said.outcome = looked.as_ref().map(|looked| Outcome {
        trust: trust.fingerprint(),
        signed: looked.outcome.as_ref().map(|signed| signed.signer.to_string()).map_err(ToString::to_string),
        signed_at: looked.outcome.as_ref().ok().and_then(|signed| signed.at).map(Micros),
    });
    if payload.is_empty() && looked.is_some() {
        // The artifact itself is signed, and nothing is said of it.
        said.format = Some("signature");
        return said;
    }
    if media_type == SIMPLE {
        said.format = Some("signature");
        if simple_subject(payload).as_ref() != Some(subject) {
            return about_another(said);
        }
        return said;
    }
    let statement = match claims::statement(media_type, payload) {
        Ok(statement) => statement,
        // Any JSON may be attached to say something else.
        Err(unread) => {
            let incomplete = !media_type.starts_with("application/json");
            return Said { problem: Some(unread.to_string()), incomplete, ..said };
        }
    };
    said.format = Some(statement.format.as_str());
    said.predicate_type.clone_from(&statement.predicate_type);
    said.occurred_at = statement.occurred_at.map(Micros);
    if !is_about(&statement, subject) {
        return about_another(said);
    }
    if statement.format == claims::Format::ModelSigning {
        said.files = Some(statement.files.iter().filter_map(|file| file.digest.as_sha256().copied()).collect());
    }
    said.incomplete = statement.incomplete;
    said.problem = Some(statement.problems.join("; ")).filter(|problem| !problem.is_empty());
    said.declared = statement.uses.iter().flat_map(|used| declared(used, names)).collect();
    said
}

fn look(trust: &Trust, subject: &Digest, carried: &Carried, bytes: &[u8]) -> Result<Option<Looked>, String> {
    let malformed = |malformed: signatures::Malformed| malformed.to_string();
    Ok(Some(if carried.media_type == ENVELOPE {
        signatures::envelope(trust, bytes, &carried.annotations).map_err(malformed)?
    } else if carried.media_type == SIMPLE {
        signatures::simple(trust, bytes, &carried.annotations)
    } else if carried.media_type.starts_with(BUNDLE) {
        signatures::bundle(trust, bytes, Artifact::Digest(subject)).map_err(malformed)?
    } else {
        return Ok(None);
    }))
}

/// The artifact that simple signing signs.
fn simple_subject(payload: &[u8]) -> Option<Digest> {
    let document: Value = serde_json::from_slice(payload).ok()?;
    document["critical"]["image"]["docker-manifest-digest"].as_str()?.parse().ok()
}

/// Whether a statement is about what it is attached to. In-toto statements name their subjects by the digests of manifests; a
/// signature of a model has one of its own making, and a bill of materials by itself perhaps that of a file.
fn is_about(statement: &Statement, subject: &Digest) -> bool {
    let by_manifest = statement.predicate_type.is_some() && statement.format != claims::Format::ModelSigning;
    !by_manifest || statement.subjects.iter().any(|about| about.digest.as_ref() == Some(subject))
}

/// A statement about another artifact claims nothing here, and its signature is none of this one.
fn about_another(said: Said) -> Said {
    let problem = Some("it is about another artifact than the one it is attached to, and so claims nothing".to_owned());
    Said { outcome: None, declared: Vec::new(), problem, incomplete: false, ..said }
}

/// What was used, as it is recorded: by its identity, and by the digest of its content where both are said.
pub(crate) fn declared(used: &Use, names: &Names) -> Vec<Declared> {
    let one = |to: To| Declared {
        component: None,
        kind: kind(used.relation),
        word: used.word.clone(),
        name: used.name.clone(),
        text: used.declared.clone(),
        to,
    };
    To::all(&used.target, names).into_iter().map(one).collect()
}

/// The edge that a relation makes.
pub(crate) fn kind(relation: Relation) -> EdgeKind {
    match relation {
        Relation::TrainedOn => EdgeKind::TrainedOn,
        Relation::TestedOn => EdgeKind::TestedOn,
        Relation::DerivedFrom => EdgeKind::DerivedFrom,
        Relation::Source => EdgeKind::BuiltFrom,
        Relation::Unstated => EdgeKind::DependsOn,
    }
}

impl Registry {
    /// What the statements that a manifest carries say about the artifact that it is attached to.
    pub(crate) async fn hear(&self, repository: &Name, manifest: &Manifest, tags: &[Tag]) -> Result<Heard, Error> {
        let Some(subject) = attached_to(manifest, tags) else { return Ok(Heard::default()) };
        let carried = self.carried(repository, manifest).await?;
        let said = carried.into_iter().map(|carried| {
            let said = say(&self.trust, &self.names, &subject, &carried);
            (carried, said)
        });
        Ok(Heard { subject: Some(subject), said: said.collect() })
    }

    /// The bytes of the statements that a manifest carries.
    async fn carried(&self, repository: &Name, manifest: &Manifest) -> Result<Vec<Carried>, Error> {
        let (mut carried, mut bytes) = (Vec::new(), 0);
        for (position, layer) in statements(manifest) {
            let blob = {
                let mut session = self.db.read().await?;
                index::blob::linked(&mut session, index::Reader::ALL, repository, &layer.digest).await?
            };
            // The authoritative look is under the transaction's lock.
            let blob = blob.ok_or(Error::MissingBlob(layer.digest))?;
            bytes += blob.size;
            let read = if bytes > BYTES {
                Err(format!("the statements of the manifest have more than the {BYTES} bytes that are read"))
            } else {
                let read = self.read_part("the statement", &layer.digest, &blob, BYTES).await?;
                read.map_err(|unread| unread.to_string())
            };
            let (media_type, annotations) = (layer.media_type.clone(), layer.annotations.clone());
            carried.push(Carried { position, media_type, annotations, bytes: read });
        }
        Ok(carried)
    }

    /// Records what statements say about an artifact, each once in a repository.
    pub(crate) async fn record_statements(
        &self,
        ctx: &Ctx,
        tx: &mut Session,
        repository: RepositoryId,
        manifest: NodeId,
        heard: &Heard,
    ) -> Result<(), Error> {
        let Some(subject) = &heard.subject else { return Ok(()) };
        let now = self.now();
        let at = Attached { repository, manifest, subject: index::manifest::node(tx, subject).await? };
        for (carried, said) in &heard.said {
            let statement = match &carried.bytes {
                Ok(bytes) => Some(claim::keep(tx, &carried.media_type, &carried.annotations, bytes, now).await?),
                Err(_) => None,
            };
            if let Some(statement) = statement
                && let Some(known) = claim::known(tx, statement, at.subject, Some(at.repository)).await?
            {
                // A signature of files is looked at again as long as it did not fit them.
                if said.files.is_none() || claim::is_verified(tx, known).await? {
                    continue;
                }
            }
            let unlike = match &said.files {
                Some(files) => {
                    // Whichever comes second, this or the end of a layer's scan, sees the other.
                    for layer in index::graph::manifest_layers(tx, at.subject).await? {
                        index::layer::hold(tx, layer).await?;
                    }
                    unlike(tx, at.subject, files).await?.map(str::to_owned)
                }
                None => None,
            };
            let outcome = said.outcome.as_ref().filter(|_| unlike.is_none());
            let new = NewClaim {
                repository: Some(at.repository),
                manifest: Some(at.manifest),
                position: Some(carried.position),
                subject: Some(at.subject),
                statement,
                format: said.format,
                predicate_type: said.predicate_type.as_deref(),
                problem: unlike.as_deref().or(said.problem.as_deref()),
                incomplete: said.incomplete,
                occurred_at: said.occurred_at,
                ..NewClaim::of(ClaimKind::Statement, &ctx.actor)
            };
            let id = claim::insert(tx, &new, now).await?;
            if let Some(outcome) = outcome {
                claim::verified(tx, id, outcome, now).await?;
            }
            voice(id, at, said).declare(tx, &said.declared, now).await?;
        }
        Ok(())
    }

    /// Looks again at signatures of files that did not fit their artifact when they were attached, where it has a layer that has
    /// just been scanned.
    pub(crate) async fn compare_again(&self, tx: &mut Session, layer: LayerId) -> Result<(), Error> {
        for id in claim::unfit(tx, layer, Format::ModelSigning.as_str()).await? {
            // Scans of two layers may end at once: the second one sees what the first one found.
            claim::hold(tx, id).await?;
            let Some((subject, carried)) = self.sent(tx, id).await? else { continue };
            let said = say(&self.trust, &self.names, &subject, &carried);
            let Some(files) = &said.files else { continue };
            let subject = index::manifest::node(tx, &subject).await?;
            let unlike = unlike(tx, subject, files).await?;
            claim::set_problem(tx, id, unlike.or(said.problem.as_deref())).await?;
            if let (None, Some(outcome)) = (unlike, &said.outcome) {
                let now = claim::after_last(tx, id, self.now()).await?;
                claim::verified(tx, id, outcome, now).await?;
            }
        }
        Ok(())
    }

    /// Looks again at every signature that was looked at with other keys than those of now; edges get the grade that they
    /// have by these. How many outcomes changed.
    ///
    /// # Errors
    /// [`Error::Internal`] when the database fails.
    pub async fn verify_again(&self) -> Result<u64, Error> {
        const PAGE: u32 = 64;
        let trust = self.trust.fingerprint();
        let (mut after, mut changed) = (ClaimId(0), 0);
        loop {
            let stale = claim::stale(&mut self.db.read().await?, &trust, after, PAGE).await?;
            let Some(last) = stale.last().map(|stale| stale.claim) else { return Ok(changed) };
            for stale in stale {
                let mut tx = self.db.begin().await?;
                changed += u64::from(self.verify_one(&mut tx, &stale).await?);
                tx.commit().await?;
            }
            after = last;
        }
    }

    async fn verify_one(&self, tx: &mut Session, stale: &claim::Stale) -> Result<bool, Error> {
        let Some((subject, carried)) = self.sent(tx, stale.claim).await? else { return Ok(false) };
        let said = say(&self.trust, &self.names, &subject, &carried);
        let Some(outcome) = said.outcome else { return Ok(false) };
        if outcome.signed == stale.signed {
            claim::verified_again(tx, stale.claim, &outcome.trust).await?;
            return Ok(false);
        }
        let now = claim::after_last(tx, stale.claim, self.now()).await?;
        claim::verified(tx, stale.claim, &outcome, now).await?;
        let was = stale.signed.is_ok();
        if outcome.signed.is_ok() != was {
            let (grade, everywhere) = worth(&outcome);
            let edges = claim::edges(tx, stale.claim).await?.into_iter();
            let edges: Vec<_> = edges.map(|edge| NewEdge { grade, everywhere, ..edge }).collect();
            claim::end_edges(tx, stale.claim, now).await?;
            index::reference::insert_edges(tx, &edges, now).await?;
        }
        Ok(true)
    }

    /// The statement of a claim as it was carried, and the artifact that it is attached to.
    async fn sent(&self, tx: &mut Session, id: ClaimId) -> Result<Option<(Digest, Carried)>, Error> {
        let Some(sent) = claim::sent(tx, id).await? else { return Ok(None) };
        let (Some(subject), Some(manifest), Some(position)) = (sent.subject, sent.manifest, sent.position) else {
            return Ok(None);
        };
        let subject = index::manifest::digest_of(tx, subject).await?;
        let carrier = index::reindex::stored(tx, manifest).await?;
        let (Some(subject), Some(carrier)) = (subject, carrier) else { return Ok(None) };
        let content_type = Some(&*carrier.media_type).filter(|media_type| !media_type.is_empty());
        let carrier = Manifest::parse(carrier.payload, content_type, carrier.digest.algorithm()).ok();
        let annotations = carrier.and_then(|carrier| Some(carrier.layers.get(position)?.annotations.clone()));
        let carried = Carried {
            position,
            media_type: sent.media_type,
            annotations: annotations.unwrap_or_default(),
            bytes: Ok(sent.payload),
        };
        Ok(Some((subject, carried)))
    }
}

/// Why a signature of these files is none of the artifact: it has others, or that is not known.
async fn unlike(tx: &mut Session, artifact: NodeId, files: &BTreeSet<[u8; 32]>) -> Result<Option<&'static str>, Error> {
    let layers = index::graph::manifest_layers(tx, artifact).await?;
    let mut is_known = !layers.is_empty();
    for layer in &layers {
        is_known &= index::layer::by_id(tx, *layer).await?.is_some_and(|layer| layer.state == LayerState::Indexed);
    }
    if !is_known {
        return Ok(Some("it signs files, and those of the artifact are not all known: it counts as soon as they are"));
    }
    let own = index::file::distinct(tx, &layers).await?;
    let empty = Hasher::digest(Algorithm::Sha256, b"");
    let mut signed = files.iter().filter(|file| Some(*file) != empty.as_sha256()).peekable();
    if signed.peek().is_none() {
        return Ok(Some("it signs no file that can be compared"));
    }
    Ok(signed.any(|file| !own.contains(file)).then_some("it signs files that the artifact does not have"))
}

/// What statements are attached to, by what, and where.
#[derive(Debug, Clone, Copy)]
struct Attached {
    repository: RepositoryId,
    manifest: NodeId,
    subject: NodeId,
}

fn voice(claim: ClaimId, at: Attached, said: &Said) -> Voice {
    let (grade, everywhere) = said.outcome.as_ref().map_or((Grade::Declared, false), worth);
    let unsigned = Voice::unsigned(claim, Some(at.repository), at.subject);
    Voice { grade, everywhere, occurred_at: said.occurred_at, ..unsigned }
}

/// What a statement is worth, and whether it holds for its digest wherever that is: an unverified one only where it was pushed.
fn worth(outcome: &Outcome) -> (Grade, bool) {
    match outcome.signed {
        Ok(_) => (Grade::Attested, true),
        Err(_) => (Grade::Declared, false),
    }
}
