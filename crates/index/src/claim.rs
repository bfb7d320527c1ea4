//! Claims that are more than a Kitfile's references: statements as they were sent, what became of their signatures, and
//! which edges stand because of them.

use std::collections::HashMap;

use oci::Digest;
use sqlx::AssertSqlSafe;

use crate::{
    ClaimId, ClaimKind, EdgeId, EdgeKind, Grade, Micros, NodeId, OccurrenceId, Reader, ReferenceId, RepositoryId,
    Result, Session, StatementId, db::on, reference::NewEdge, rows, sql,
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
    /// Who claims it.
    pub actor: &'a str,
    /// When it happened, by the producer's word.
    pub occurred_at: Option<Micros>,
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
        query.bind(new.actor).bind(new.occurred_at.map(|at| at.0)).bind(now.0).fetch_one(c).await
    })?;
    Ok(ClaimId(id))
}

/// Keeps a statement as it was sent, once.
///
/// # Errors
/// When the statement fails.
pub async fn keep(
    session: &mut Session,
    digest: &Digest,
    media_type: &str,
    payload: &[u8],
    now: Micros,
) -> Result<StatementId> {
    let id = on!(session, |c| {
        let query = sqlx::query_scalar(sql::STATEMENT_INSERT).bind(digest.hash()).bind(media_type.as_bytes());
        query.bind(payload).bind(now.0).fetch_one(c).await
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

/// What the events of a run have said: (what was made, from what as it is written).
///
/// # Errors
/// When the statement fails.
pub async fn run_references(session: &mut Session, run: &[u8]) -> Result<Vec<(NodeId, String)>> {
    let found: Vec<(i64, Vec<u8>)> =
        on!(session, |c| sqlx::query_as(sql::RUN_REFERENCES).bind(run).fetch_all(c).await)?;
    Ok(found.into_iter().map(|(source, text)| (NodeId(source), rows::text(text))).collect())
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
    let found: Vec<(i64, bool, Option<String>, Option<Vec<u8>>)> = on!(session, |c| {
        let query = sqlx::query_as(sql::VERIFICATIONS_STALE).bind(trust.hash()).bind(after.0).bind(i64::from(limit));
        query.fetch_all(c).await
    })?;
    let stale = |(claim, verified, signer, reason): (i64, bool, Option<String>, Option<Vec<u8>>)| Stale {
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
    /// The repository of the claim.
    pub repository: Option<RepositoryId>,
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
    type Row = (Option<i64>, Option<i64>, Option<i64>, Option<i32>, Vec<u8>, Vec<u8>);
    let found: Option<Row> = on!(session, |c| sqlx::query_as(sql::CLAIM_SIGNED).bind(claim.0).fetch_optional(c).await)?;
    Ok(found.map(|(subject, repository, manifest, position, media_type, payload)| Sent {
        subject: subject.map(NodeId),
        repository: repository.map(RepositoryId),
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

type EdgeRow = (i64, i32, i64, Option<i64>, bool, i64, i64, Option<i64>, Option<i64>, Option<i64>);

/// The edges of which it is not known what they are, from the node or to it.
///
/// # Errors
/// When the statement fails.
pub async fn undecided(session: &mut Session, node: NodeId) -> Result<Vec<Standing>> {
    let found: Vec<EdgeRow> = on!(session, |c| sqlx::query_as(sql::EDGES_UNDECIDED).bind(node.0).fetch_all(c).await)?;
    let standing = |(id, grade, source, occurrence, everywhere, target, claim, reference, repository, at): EdgeRow| {
        let edge = NewEdge {
            kind: EdgeKind::DependsOn,
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
    };
    found.into_iter().map(standing).collect()
}

/// The edges that stand because of a claim.
///
/// # Errors
/// When the statement fails.
pub async fn edges(session: &mut Session, claim: ClaimId) -> Result<Vec<Standing>> {
    type Row = (i64, i32, i64, Option<i64>, i64, Option<i64>, Option<i64>, Option<i64>);
    let found: Vec<Row> = on!(session, |c| sqlx::query_as(sql::CLAIM_EDGES).bind(claim.0).fetch_all(c).await)?;
    let standing = |(id, kind, source, occurrence, target, reference, repository, at): Row| {
        let edge = NewEdge {
            kind: EdgeKind::from_code(kind)?,
            grade: Grade::Declared,
            source: NodeId(source),
            occurrence: occurrence.map(OccurrenceId),
            everywhere: false,
            target: NodeId(target),
            claim,
            reference: reference.map(ReferenceId),
            repository: repository.map(RepositoryId),
            occurred_at: at.map(Micros),
        };
        Ok(Standing { id: EdgeId(id), edge })
    };
    found.into_iter().map(standing).collect()
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
    on!(session, |c| sqlx::query(sql::EDGES_RETRACT).bind(claim.0).bind(now.0).execute(c).await.map(drop))?;
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

/// What the node is.
///
/// # Errors
/// When the statement fails.
pub async fn node_is(session: &mut Session, node: NodeId) -> Result<Is> {
    let (kind, key, is_model): (i32, Vec<u8>, Option<bool>) =
        on!(session, |c| sqlx::query_as(sql::NODE_IS).bind(node.0).fetch_one(c).await)?;
    Ok(if kind == 0 { Is::Artifact(is_model) } else { Is::External(rows::text(key)) })
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
    for chunk in manifests.chunks(sql::LIST) {
        let text = sql::list(sql::SIGNERS_OF, 3, sql::padded(chunk.len()));
        let found: Vec<(i64, String)> = on!(session, |c| {
            let query = sqlx::query_as(AssertSqlSafe(text)).bind(reader.0).bind(as_of.0);
            sql::filled(chunk).fold(query, |query, one| query.bind(one.0)).fetch_all(c).await
        })?;
        for (manifest, signer) in found {
            signers.entry(NodeId(manifest)).or_default().push(signer);
        }
    }
    Ok(signers)
}
