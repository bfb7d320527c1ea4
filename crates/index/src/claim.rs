//! Claims that are more than a Kitfile's references: statements as they were sent, what became of their signatures, and
//! which edges stand because of them.

use std::collections::{BTreeMap, HashMap};

use oci::{Algorithm, Digest, Hasher};

use crate::{
    ClaimId, ClaimKind, EdgeId, EdgeKind, Grade, LayerId, Micros, NodeId, OccurrenceId, Reader, ReferenceId,
    ReferenceState, RepositoryId, Result, ScanId, Session, StatementId,
    db::{look_up, on},
    file::{self, Place},
    reference::NewEdge,
    rows, sql,
};

/// A claim to be recorded.
#[derive(Debug)]
pub struct NewClaim<'a> {
    /// Where it comes from.
    pub kind: ClaimKind,
    /// Its repository; `None` where nothing that it is about is in this registry.
    pub repository: Option<RepositoryId>,
    /// The kit, or what carries the statement.
    pub manifest: Option<NodeId>,
    /// Which of that manifest's layers is the statement.
    pub position: Option<usize>,
    /// What it is about.
    pub subject: Option<NodeId>,
    /// The statement.
    pub statement: Option<StatementId>,
    /// The run, of an OpenLineage event: the bytes of its UUID.
    pub run: Option<&'a [u8]>,
    /// What the statement is written in.
    pub format: Option<&'a str>,
    /// The type of its predicate.
    pub predicate_type: Option<&'a str>,
    /// What of it could not be read or is not believed.
    pub problem: Option<&'a str>,
    /// Whether the statement says more than could be read of it.
    pub incomplete: bool,
    /// Who claims it.
    pub actor: &'a str,
    /// When it happened, by the producer's word.
    pub occurred_at: Option<Micros>,
}

impl<'a> NewClaim<'a> {
    /// A claim of which nothing else is known.
    #[must_use]
    pub fn of(kind: ClaimKind, actor: &'a str) -> Self {
        Self {
            kind,
            repository: None,
            manifest: None,
            position: None,
            subject: None,
            statement: None,
            run: None,
            format: None,
            predicate_type: None,
            problem: None,
            incomplete: false,
            actor,
            occurred_at: None,
        }
    }
}

/// What became of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The fingerprint of what was trusted.
    pub trust: Digest,
    /// Who signed, or why nobody is known to have.
    pub signed: std::result::Result<String, String>,
    /// When it was signed, if anything says so.
    pub signed_at: Option<Micros>,
}

/// Records a claim.
///
/// # Errors
/// When the statement fails.
pub async fn insert(session: &mut Session, new: &NewClaim<'_>, now: Micros) -> Result<ClaimId> {
    let id = on!(session, |c| {
        let query = sqlx::query_scalar(sql::CLAIM_INSERT).bind(new.kind.code()).bind(new.repository.map(|id| id.0));
        let query = query.bind(new.manifest.map(|id| id.0)).bind(new.position.map(rows::position));
        let query =
            query.bind(new.subject.map(|id| id.0)).bind(new.statement.map(|id| id.0)).bind(new.run).bind(new.format);
        let query = query.bind(new.predicate_type.map(str::as_bytes)).bind(new.problem.map(str::as_bytes));
        query.bind(new.incomplete).bind(new.actor).bind(new.occurred_at.map(|at| at.0)).bind(now.0).fetch_one(c).await
    })?;
    Ok(ClaimId(id))
}

/// Keeps a statement as it was sent, once for all that are the same in `media_type`, `payload` and what they are `beside`: the
/// annotations, in which some have their signatures.
///
/// # Errors
/// When the statement fails.
pub async fn keep(
    session: &mut Session,
    media_type: &str,
    beside: &BTreeMap<String, String>,
    payload: &[u8],
    now: Micros,
) -> Result<StatementId> {
    let mut key = Hasher::new(Algorithm::Sha256);
    let texts = beside.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    for part in std::iter::once(media_type.as_bytes()).chain(texts) {
        key.update(&(part.len() as u64).to_be_bytes());
        key.update(part);
    }
    key.update(payload);
    let (key, digest) = (key.finish(), Hasher::digest(Algorithm::Sha256, payload));
    let id = on!(session, |c| {
        let query = sqlx::query_scalar(sql::STATEMENT_INSERT).bind(key.hash()).bind(digest.hash());
        query.bind(media_type.as_bytes()).bind(payload).bind(now.0).fetch_one(c).await
    })?;
    Ok(StatementId(id))
}

/// The claim that this statement already makes about the subject in the repository.
///
/// # Errors
/// When the statement fails.
pub async fn known(
    session: &mut Session,
    statement: StatementId,
    subject: NodeId,
    repository: Option<RepositoryId>,
) -> Result<Option<ClaimId>> {
    let id: Option<i64> = on!(session, |c| {
        let query = sqlx::query_scalar(sql::CLAIM_KNOWN).bind(statement.0).bind(subject.0);
        query.bind(repository.map(|id| id.0)).fetch_optional(c).await
    })?;
    Ok(id.map(ClaimId))
}

/// Records that there is an event of a run, and lets other events of the run wait until the transaction ends. When the run has
/// completed, by the producer's word, if it has.
///
/// # Errors
/// When the statement fails.
pub async fn run_event(session: &mut Session, event: &RunEvent<'_>, now: Micros) -> Result<Option<Micros>> {
    let completed: Option<i64> = on!(session, |c| {
        let query = sqlx::query_scalar(sql::RUN_EVENT).bind(event.run).bind(event.job.0.as_bytes());
        let query = query.bind(event.job.1.as_bytes()).bind(event.state).bind(event.completed_at.map(|at| at.0));
        query.bind(now.0).fetch_one(c).await
    })?;
    Ok(completed.map(Micros))
}

/// An event of a run.
#[derive(Debug)]
pub struct RunEvent<'a> {
    /// The bytes of the run's UUID.
    pub run: &'a [u8],
    /// Namespace and name of its job.
    pub job: (&'a str, &'a str),
    /// The state that it reports.
    pub state: &'static str,
    /// When the run completed, if that is what it reports.
    pub completed_at: Option<Micros>,
}

/// The run that a claim is made by, if it has completed, and when; its events wait until the transaction ends.
///
/// # Errors
/// When the statement fails.
pub async fn hold_run(session: &mut Session, claim: ClaimId) -> Result<Option<(Vec<u8>, Micros)>> {
    let run: Option<(Vec<u8>, i64)> =
        on!(session, |c| sqlx::query_as(sql::RUN_HOLD).bind(claim.0).fetch_optional(c).await)?;
    Ok(run.map(|(run, at)| (run, Micros(at))))
}

/// Whether the run is known to have sent this statement.
///
/// # Errors
/// When the statement fails.
pub async fn run_knows(session: &mut Session, run: &[u8], statement: StatementId) -> Result<bool> {
    let count: i64 = on!(session, |c| {
        sqlx::query_scalar(sql::RUN_STATEMENT_KNOWN).bind(run).bind(statement.0).fetch_one(c).await
    })?;
    Ok(count > 0)
}

/// The events of a run as they were sent, in order.
///
/// # Errors
/// When the statement fails.
pub async fn run_statements(session: &mut Session, run: &[u8]) -> Result<Vec<Vec<u8>>> {
    Ok(on!(session, |c| sqlx::query_scalar(sql::RUN_STATEMENTS).bind(run).fetch_all(c).await)?)
}

/// What the events of a run have said.
#[derive(Debug)]
pub struct RunReference {
    /// The claim that says it.
    pub claim: ClaimId,
    /// What was made.
    pub source: NodeId,
    /// From what, as it is written.
    pub declared: String,
    /// Whether it is still said.
    pub stands: bool,
    /// What that names, where a tag does.
    pub tagged: Option<NodeId>,
}

/// What the events of a run have said.
///
/// # Errors
/// When the statement fails.
pub async fn run_references(session: &mut Session, run: &[u8]) -> Result<Vec<RunReference>> {
    type Row = (i64, i64, Vec<u8>, bool, Option<i64>);
    let found: Vec<Row> = on!(session, |c| sqlx::query_as(sql::RUN_REFERENCES).bind(run).fetch_all(c).await)?;
    let reference = |(claim, source, declared, stands, tagged): Row| RunReference {
        claim: ClaimId(claim),
        source: NodeId(source),
        declared: rows::text(declared),
        stands,
        tagged: tagged.map(NodeId),
    };
    Ok(found.into_iter().map(reference).collect())
}

/// Records what became of a claim's signature. An earlier outcome ends with it.
///
/// # Errors
/// When a statement fails.
pub async fn verified(session: &mut Session, claim: ClaimId, outcome: &Outcome, now: Micros) -> Result<()> {
    on!(session, |c| sqlx::query(sql::VERIFICATION_END).bind(claim.0).bind(now.0).execute(c).await.map(drop))?;
    on!(session, |c| {
        let query = sqlx::query(sql::VERIFICATION_INSERT).bind(claim.0).bind(outcome.trust.hash());
        let query = query.bind(outcome.signed.is_ok()).bind(outcome.signed.as_deref().ok());
        let query = query.bind(outcome.signed.as_ref().err().map(String::as_bytes));
        query.bind(outcome.signed_at.map(|at| at.0)).bind(now.0).execute(c).await.map(drop)
    })?;
    Ok(())
}

/// Says that the outcome is the same by what is trusted now.
///
/// # Errors
/// When the statement fails.
pub async fn verified_again(session: &mut Session, claim: ClaimId, trust: &Digest) -> Result<()> {
    on!(session, |c| sqlx::query(sql::VERIFICATION_TRUST).bind(claim.0).bind(trust.hash()).execute(c).await.map(drop))?;
    Ok(())
}

/// Whether a claim's statement is signed by somebody who is trusted.
///
/// # Errors
/// When the statement fails.
pub async fn is_verified(session: &mut Session, claim: ClaimId) -> Result<bool> {
    let found: i64 = on!(session, |c| sqlx::query_scalar(sql::CLAIM_VERIFIED).bind(claim.0).fetch_one(c).await)?;
    Ok(found > 0)
}

/// Claims of a format that have a problem and are not verified, about what has the layer.
///
/// # Errors
/// When the statement fails.
pub async fn unfit(session: &mut Session, layer: LayerId, format: &str) -> Result<Vec<ClaimId>> {
    let found: Vec<i64> =
        on!(session, |c| sqlx::query_scalar(sql::CLAIMS_UNFIT).bind(layer.0).bind(format).fetch_all(c).await)?;
    Ok(found.into_iter().map(ClaimId).collect())
}

/// Lets other transactions wait that look at the same claim.
///
/// # Errors
/// When the statement fails.
pub async fn hold(session: &mut Session, claim: ClaimId) -> Result<()> {
    on!(session, |c| sqlx::query(sql::CLAIM_HOLD).bind(claim.0).execute(c).await.map(drop))?;
    Ok(())
}

/// Says why a claim is not taken for what it wants to be, or that it is.
///
/// # Errors
/// When the statement fails.
pub async fn set_problem(session: &mut Session, claim: ClaimId, problem: Option<&str>) -> Result<()> {
    let problem = problem.map(str::as_bytes);
    on!(session, |c| sqlx::query(sql::CLAIM_PROBLEM).bind(claim.0).bind(problem).execute(c).await.map(drop))?;
    Ok(())
}

/// A claim whose signature was looked at by other keys than those of now.
#[derive(Debug, Clone)]
pub struct Stale {
    /// The claim.
    pub claim: ClaimId,
    /// Who signed, or why nobody is known to have, until now.
    pub signed: std::result::Result<String, String>,
}

/// Claims whose signature is to be looked at again, in order after `after`.
///
/// # Errors
/// When the statement fails.
pub async fn stale(session: &mut Session, trust: &Digest, after: ClaimId, limit: u32) -> Result<Vec<Stale>> {
    type Row = (i64, bool, Option<String>, Option<Vec<u8>>);
    let found: Vec<Row> = on!(session, |c| {
        let query = sqlx::query_as(sql::VERIFICATIONS_STALE).bind(trust.hash()).bind(after.0).bind(i64::from(limit));
        query.fetch_all(c).await
    })?;
    let stale = |(claim, verified, signer, reason): Row| Stale {
        claim: ClaimId(claim),
        signed: if verified { Ok(signer.unwrap_or_default()) } else { Err(rows::text(reason.unwrap_or_default())) },
    };
    Ok(found.into_iter().map(stale).collect())
}

/// A statement as it was sent, and what of it is signed apart from it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// What it is about.
    pub subject: Option<NodeId>,
    /// What carries it.
    pub manifest: Option<NodeId>,
    /// Which of that manifest's layers it is.
    pub position: Option<usize>,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// The statement of a claim.
///
/// # Errors
/// When the statement fails.
pub async fn sent(session: &mut Session, claim: ClaimId) -> Result<Option<Sent>> {
    type Row = (Option<i64>, Option<i64>, Option<i32>, Vec<u8>, Vec<u8>);
    let found: Option<Row> = on!(session, |c| sqlx::query_as(sql::CLAIM_SIGNED).bind(claim.0).fetch_optional(c).await)?;
    Ok(found.map(|(subject, manifest, position, media_type, payload)| Sent {
        subject: subject.map(NodeId),
        manifest: manifest.map(NodeId),
        position: position.and_then(|position| usize::try_from(position).ok()),
        media_type: rows::text(media_type),
        payload,
    }))
}

/// An edge that stands, with all that another in its place would have.
#[derive(Debug)]
pub struct Standing {
    /// Its row.
    pub id: EdgeId,
    /// The edge.
    pub edge: NewEdge,
}

type EdgeRow = (i64, i32, i32, i64, Option<i64>, bool, i64, i64, Option<i64>, Option<i64>, Option<i64>);

fn standing(
    (id, kind, grade, source, occurrence, everywhere, target, claim, reference, repository, at): EdgeRow,
) -> Result<Standing> {
    let edge = NewEdge {
        kind: EdgeKind::from_code(kind)?,
        grade: Grade::from_code(grade)?,
        source: NodeId(source),
        occurrence: occurrence.map(OccurrenceId),
        everywhere,
        target: NodeId(target),
        claim: ClaimId(claim),
        reference: reference.map(ReferenceId),
        repository: repository.map(RepositoryId),
        occurred_at: at.map(Micros),
    };
    Ok(Standing { id: EdgeId(id), edge })
}

/// The edges of which it is not known what they are, from the node or to it.
///
/// # Errors
/// When the statement fails.
pub async fn undecided(session: &mut Session, node: NodeId) -> Result<Vec<Standing>> {
    let found: Vec<EdgeRow> = on!(session, |c| sqlx::query_as(sql::EDGES_UNDECIDED).bind(node.0).fetch_all(c).await)?;
    found.into_iter().map(standing).collect()
}

/// The edges that stand because of a claim.
///
/// # Errors
/// When the statement fails.
pub async fn edges(session: &mut Session, claim: ClaimId) -> Result<Vec<NewEdge>> {
    let found: Vec<EdgeRow> = on!(session, |c| sqlx::query_as(sql::CLAIM_EDGES).bind(claim.0).fetch_all(c).await)?;
    found.into_iter().map(|row| Ok(standing(row)?.edge)).collect()
}

/// Lets no edge stand any longer because of a claim.
///
/// # Errors
/// When the statement fails.
pub async fn end_edges(session: &mut Session, claim: ClaimId, now: Micros) -> Result<()> {
    on!(session, |c| sqlx::query(sql::EDGES_RETRACT).bind(claim.0).bind(now.0).execute(c).await.map(drop))?;
    Ok(())
}

/// Lets an edge stand no longer.
///
/// # Errors
/// When the statement fails.
pub async fn end_edge(session: &mut Session, edge: EdgeId, now: Micros) -> Result<()> {
    on!(session, |c| sqlx::query(sql::EDGE_RETRACT).bind(edge.0).bind(now.0).execute(c).await.map(drop))?;
    Ok(())
}

/// Retracts a claim and all edges that stand because of it. Whether it stood.
///
/// # Errors
/// When a statement fails.
pub async fn retract(session: &mut Session, claim: ClaimId, actor: &str, why: &str, now: Micros) -> Result<bool> {
    let retracted = on!(session, |c| {
        let query = sqlx::query(sql::CLAIM_RETRACT).bind(claim.0).bind(now.0).bind(actor).bind(why.as_bytes());
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    end_edges(session, claim, now).await?;
    Ok(retracted > 0)
}

/// The moment after the last one at which an edge of the claim was recorded or ended, or `now`: clocks of replicas differ.
///
/// # Errors
/// When the statement fails.
pub async fn after_last(session: &mut Session, claim: ClaimId, now: Micros) -> Result<Micros> {
    let last: Option<i64> = on!(session, |c| sqlx::query_scalar(sql::CLAIM_LAST).bind(claim.0).fetch_one(c).await)?;
    Ok(Micros(last.map_or(now.0, |last| now.0.max(last + 1))))
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Is {
    /// An artifact by its digest, and whether it is a model, if that is known.
    Artifact(Option<bool>),
    /// Something outside, by its identity.
    External(String),
}

/// What the nodes are.
///
/// # Errors
/// When a statement fails.
pub async fn nodes_are(session: &mut Session, nodes: &[NodeId]) -> Result<HashMap<NodeId, Is>> {
    type Row = (i64, i32, Vec<u8>, Option<bool>);
    let found: Vec<Row> = look_up!(session, query_as(sql::NODES_ARE), nodes, |node| node.0);
    Ok(found
        .into_iter()
        .map(|(id, kind, key, is_model)| {
            (NodeId(id), if kind == 0 { Is::Artifact(is_model) } else { Is::External(rows::text(key)) })
        })
        .collect())
}

/// The node of an external identity, if anybody ever named it.
///
/// # Errors
/// When the statement fails.
pub async fn external(session: &mut Session, identity: &str) -> Result<Option<NodeId>> {
    let id: Option<i64> =
        on!(session, |c| sqlx::query_scalar(sql::NODE_EXTERNAL).bind(identity.as_bytes()).fetch_optional(c).await)?;
    Ok(id.map(NodeId))
}

/// Who signed each of the manifests.
///
/// # Errors
/// When a statement fails.
pub async fn signers(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    manifests: &[NodeId],
) -> Result<HashMap<NodeId, Vec<String>>> {
    let mut signers: HashMap<NodeId, Vec<String>> = HashMap::new();
    let found: Vec<(i64, String)> =
        look_up!(session, query_as(sql::SIGNERS_OF, reader.0, as_of.0), manifests, |one| one.0);
    for (manifest, signer) in found {
        signers.entry(NodeId(manifest)).or_default().push(signer);
    }
    Ok(signers)
}

/// What there is to tell about a claim.
#[derive(Debug, Clone)]
pub struct Told {
    /// Where it comes from.
    pub kind: ClaimKind,
    /// The name of its repository.
    pub repository: Option<String>,
    /// What it is about.
    pub subject: Option<Key>,
    /// The run, of an OpenLineage event.
    pub run: Option<Vec<u8>>,
    /// What its statement is written in.
    pub format: Option<String>,
    /// The type of its predicate.
    pub predicate_type: Option<String>,
    /// What of it could not be read or is not believed.
    pub problem: Option<String>,
    /// Who claims it.
    pub actor: String,
    /// When it happened, by the producer's word.
    pub occurred_at: Option<Micros>,
    /// When it was recorded.
    pub recorded_at: Micros,
    /// When it was retracted, by whom, and why.
    pub retracted: Option<(Micros, String, String)>,
    /// The statement: its digest, media type, and size in bytes.
    pub statement: Option<(Digest, String, u64)>,
    /// What became of the signature: who signed or why nobody is known to have, and since when that is known.
    pub signed: Option<(std::result::Result<String, String>, Micros)>,
}

/// The identity of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A digest.
    Digest(Digest),
    /// Something outside.
    External(String),
}

fn key(kind: i32, key: Vec<u8>) -> Result<Key> {
    Ok(if kind == 0 { Key::Digest(rows::digest(&key)?) } else { Key::External(rows::text(key)) })
}

/// The claims about a node, or by which it was made from something, before a claim, the latest first.
///
/// # Errors
/// When the statement fails.
pub async fn about(
    session: &mut Session,
    reader: Reader,
    node: NodeId,
    before: ClaimId,
    limit: u32,
) -> Result<Vec<ClaimId>> {
    let found: Vec<i64> = on!(session, |c| {
        let query = sqlx::query_scalar(sql::CLAIMS_ABOUT).bind(reader.0).bind(node.0).bind(before.0);
        query.bind(i64::from(limit)).fetch_all(c).await
    })?;
    Ok(found.into_iter().map(ClaimId).collect())
}

#[derive(sqlx::FromRow)]
struct ToldRow {
    kind: i32,
    repository: Option<String>,
    subject: Option<Vec<u8>>,
    subject_kind: Option<i32>,
    run: Option<Vec<u8>>,
    format: Option<String>,
    predicate_type: Option<Vec<u8>>,
    problem: Option<Vec<u8>>,
    actor: String,
    occurred_at: Option<i64>,
    recorded_at: i64,
    retracted_at: Option<i64>,
    retracted_by: Option<String>,
    retraction: Option<Vec<u8>>,
    statement: Option<Vec<u8>>,
    media_type: Option<Vec<u8>>,
    size: Option<i32>,
    verified: Option<bool>,
    signer: Option<String>,
    reason: Option<Vec<u8>>,
    verified_at: Option<i64>,
}

/// What there is to tell about a claim, if the reader may know of it.
///
/// # Errors
/// When the statement fails.
pub async fn told(session: &mut Session, reader: Reader, claim: ClaimId) -> Result<Option<Told>> {
    let row: Option<ToldRow> =
        on!(session, |c| sqlx::query_as(sql::CLAIM_TOLD).bind(reader.0).bind(claim.0).fetch_optional(c).await)?;
    let Some(row) = row else { return Ok(None) };
    let signed = row.verified.map(|verified| match verified {
        true => Ok(row.signer.clone().unwrap_or_default()),
        false => Err(row.reason.clone().map(rows::text).unwrap_or_default()),
    });
    let retraction = row.retraction.map(rows::text).unwrap_or_default();
    Ok(Some(Told {
        kind: ClaimKind::from_code(row.kind)?,
        repository: row.repository,
        subject: row.subject_kind.zip(row.subject).map(|(kind, of)| key(kind, of)).transpose()?,
        run: row.run,
        format: row.format,
        predicate_type: row.predicate_type.map(rows::text),
        problem: row.problem.map(rows::text),
        actor: row.actor,
        occurred_at: row.occurred_at.map(Micros),
        recorded_at: Micros(row.recorded_at),
        retracted: row.retracted_at.map(|at| (Micros(at), row.retracted_by.unwrap_or_default(), retraction)),
        statement: match (row.statement, row.media_type, row.size) {
            (Some(digest), Some(media_type), Some(size)) => {
                Some((rows::digest(&digest)?, rows::text(media_type), rows::unsigned(i64::from(size))))
            }
            _ => None,
        },
        signed: signed.zip(row.verified_at.map(Micros)),
    }))
}

/// Something that a claim says was used.
#[derive(Debug, Clone)]
pub struct Used {
    /// What was made from it.
    pub source: Key,
    /// What it says about it.
    pub kind: EdgeKind,
    /// The statement's own word for that.
    pub word: Option<String>,
    /// The name that the statement gives it.
    pub name: Option<String>,
    /// Its text.
    pub declared: String,
    /// What became of the reference.
    pub state: ReferenceState,
    /// What it names, if that is settled.
    pub target: Option<Key>,
}

/// The first things that a claim says were used.
///
/// # Errors
/// When the statement fails.
pub async fn used(session: &mut Session, claim: ClaimId, limit: u32) -> Result<Vec<Used>> {
    type Row = (i32, Option<Vec<u8>>, Option<Vec<u8>>, Vec<u8>, i32, Option<i32>, Option<Vec<u8>>, i32, Vec<u8>);
    let found: Vec<Row> = on!(session, |c| {
        sqlx::query_as(sql::CLAIM_REFERENCES).bind(claim.0).bind(i64::from(limit)).fetch_all(c).await
    })?;
    let used = |(kind, word, name, declared, state, target_kind, target, source_kind, source): Row| {
        Ok(Used {
            source: key(source_kind, source)?,
            kind: EdgeKind::from_code(kind)?,
            word: word.map(rows::text),
            name: name.map(rows::text),
            declared: rows::text(declared),
            state: ReferenceState::from_code(state)?,
            target: target_kind.zip(target).map(|(kind, of)| key(kind, of)).transpose()?,
        })
    };
    found.into_iter().map(used).collect()
}

/// The statement of a claim as it was sent: media type and bytes.
///
/// # Errors
/// When the statement fails.
pub async fn statement(session: &mut Session, reader: Reader, claim: ClaimId) -> Result<Option<(String, Vec<u8>)>> {
    let found: Option<(Vec<u8>, Vec<u8>)> =
        on!(session, |c| sqlx::query_as(sql::CLAIM_STATEMENT).bind(reader.0).bind(claim.0).fetch_optional(c).await)?;
    Ok(found.map(|(media_type, payload)| (rows::text(media_type), payload)))
}

/// A model card in a layer.
#[derive(Debug, Clone)]
pub struct Card {
    /// Where it is.
    pub place: Place,
    /// What the scan kept of it: JSON.
    pub document: Vec<u8>,
}

/// The first files of a layer that say something in this format, such as model cards.
///
/// # Errors
/// When the statement fails.
pub async fn cards(session: &mut Session, layer: LayerId, format: &str, limit: u32) -> Result<Vec<Card>> {
    let found: Vec<(i64, i32, Vec<u8>)> = on!(session, |c| {
        sqlx::query_as(sql::CARDS_OF_LAYER).bind(layer.0).bind(i64::from(limit)).bind(format).fetch_all(c).await
    })?;
    let card = |(scan, position, document): (i64, i32, Vec<u8>)| {
        Ok(Card { place: Place { scan: ScanId(scan), position }, document: file::decompress(&document)? })
    };
    found.into_iter().map(card).collect()
}

/// What a manifest calls a layer: the path that it gives it, or else that of the component which the layer is of.
///
/// # Errors
/// When the statement fails.
pub async fn called(session: &mut Session, layer: LayerId, manifest: NodeId) -> Result<Vec<Vec<u8>>> {
    type Row = (Option<Vec<u8>>, Option<Vec<u8>>);
    let found: Vec<Row> =
        on!(session, |c| sqlx::query_as(sql::LAYER_CALLED).bind(layer.0).bind(manifest.0).fetch_all(c).await)?;
    Ok(found.into_iter().filter_map(|(own, component)| own.or(component)).collect())
}

/// A model's stay in a repository.
#[derive(Debug, Clone)]
pub struct ModelStay {
    /// Its row.
    pub stay: OccurrenceId,
    /// The repository.
    pub repository: RepositoryId,
    /// The model.
    pub model: NodeId,
    /// Who pushed it.
    pub by: String,
}

/// The stays of models that have the layer, in order after `after`.
///
/// # Errors
/// When the statement fails.
pub async fn models_with(
    session: &mut Session,
    layer: LayerId,
    after: OccurrenceId,
    limit: u32,
) -> Result<Vec<ModelStay>> {
    let found: Vec<(i64, i64, i64, String)> = on!(session, |c| {
        let query = sqlx::query_as(sql::MODELS_WITH_LAYER).bind(layer.0).bind(after.0).bind(i64::from(limit));
        query.fetch_all(c).await
    })?;
    let stay = |(stay, repository, model, by): (i64, i64, i64, String)| ModelStay {
        stay: OccurrenceId(stay),
        repository: RepositoryId(repository),
        model: NodeId(model),
        by,
    };
    Ok(found.into_iter().map(stay).collect())
}
