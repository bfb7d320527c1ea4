//! Claims, the references in them, and the edges that they make.

use std::collections::BTreeSet;

use oci::Digest;
use sqlx::AssertSqlSafe;

use crate::{
    ClaimId, EdgeKind, Grade, Micros, NodeId, OccurrenceId, ReferenceId, ReferenceState, RepositoryId, Result, Session,
    db::on, rows, sql,
};

/// A reference as it was declared.
#[derive(Debug)]
pub struct NewReference<'a> {
    /// The claim it is part of.
    pub claim: ClaimId,
    /// The repository of the claim.
    pub repository: Option<RepositoryId>,
    /// The stay whose kit declares it; `None` where a statement does.
    pub occurrence: Option<OccurrenceId>,
    /// What uses or derives: the kit's manifest.
    pub source: NodeId,
    /// Which of the kit's components declares it.
    pub component: Option<usize>,
    /// What it says about the target.
    pub kind: EdgeKind,
    /// The statement's own word for that.
    pub word: Option<&'a str>,
    /// The name that the statement gives the target.
    pub name: Option<&'a str>,
    /// Its text.
    pub declared: &'a str,
    /// The host that it names.
    pub host: Option<&'a str>,
    /// The repository that it names.
    pub target_repository: Option<&'a str>,
    /// The tag that it names.
    pub target_tag: Option<&'a str>,
    /// The digest that it names.
    pub target_digest: Option<&'a Digest>,
    /// What became of it.
    pub state: ReferenceState,
    /// Whether it names no host and was tried here.
    pub assumed: bool,
    /// Whether the target came after it.
    pub late: bool,
    /// The node that it names.
    pub resolved: Option<NodeId>,
}

/// A reference that may be resolved now.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Its row.
    pub id: ReferenceId,
    /// The claim it is part of.
    pub claim: ClaimId,
    /// The repository of the claim.
    pub repository: Option<RepositoryId>,
    /// The stay whose kit declares it.
    pub occurrence: Option<OccurrenceId>,
    /// What uses or derives.
    pub source: NodeId,
    /// What it says about the target.
    pub kind: EdgeKind,
    /// The repository that it names.
    pub target_repository: String,
    /// The tag that it names.
    pub target_tag: Option<String>,
    /// The digest that it names.
    pub target_digest: Option<Digest>,
    /// When what it says happened, by the producer's word.
    pub occurred_at: Option<Micros>,
}

/// An edge to be recorded.
#[derive(Debug)]
pub struct NewEdge {
    /// What it says.
    pub kind: EdgeKind,
    /// How good the evidence is.
    pub grade: Grade,
    /// The manifest that uses or derives.
    pub source: NodeId,
    /// The stay that it holds for; `None`: any.
    pub occurrence: Option<OccurrenceId>,
    /// Whether it holds in every repository, and not in the claim's alone.
    pub everywhere: bool,
    /// What is used.
    pub target: NodeId,
    /// Who says so.
    pub claim: ClaimId,
    /// The reference that says so, if one does.
    pub reference: Option<ReferenceId>,
    /// The repository of the claim.
    pub repository: Option<RepositoryId>,
    /// When it happened, by the producer's word.
    pub occurred_at: Option<Micros>,
}

/// How many rows of a reference or an edge one statement writes.
const ROWS_A_STATEMENT: usize = 256;

/// Records references. Their rows, in the same order.
///
/// # Errors
/// When a statement fails.
pub async fn insert(session: &mut Session, new: &[NewReference<'_>], now: Micros) -> Result<Vec<ReferenceId>> {
    let mut ids = Vec::with_capacity(new.len());
    for chunk in new.chunks(ROWS_A_STATEMENT) {
        let text = sql::rows(&session.engine(), sql::REFERENCES_INSERT, 18, chunk.len());
        let mut inserted: Vec<i64> = on!(session, |c| {
            let mut query = sqlx::query_scalar(AssertSqlSafe(text)).persistent(is_usual(chunk));
            for new in chunk {
                query = query.bind(new.claim.0).bind(new.repository.map(|id| id.0));
                query = query.bind(new.occurrence.map(|id| id.0)).bind(new.source.0);
                query = query.bind(new.component.map(rows::position)).bind(new.kind.code());
                query = query.bind(new.word.map(str::as_bytes)).bind(new.name.map(str::as_bytes));
                query = query.bind(new.declared.as_bytes()).bind(new.host.map(str::as_bytes));
                query = query.bind(new.target_repository).bind(new.target_tag);
                query = query.bind(new.target_digest.map(|digest| digest.hash().to_vec())).bind(new.state.code());
                query = query.bind(new.assumed).bind(new.late).bind(new.resolved.map(|id| id.0));
                query = query.bind(new.resolved.map(|_| now.0));
            }
            query.fetch_all(c).await
        })?;
        // They are numbered in the order of the rows, and given back in any.
        inserted.sort_unstable();
        ids.extend(inserted.into_iter().map(ReferenceId));
    }
    Ok(ids)
}

/// Whether a statement for so many rows is worth being kept: a few rows are frequent, and so are many.
fn is_usual<T>(chunk: &[T]) -> bool {
    chunk.len() <= 8 || chunk.len() == ROWS_A_STATEMENT
}

/// The references that wait for `digest`, or for one of `tags`, in the repository of that name.
///
/// # Errors
/// When the statement fails.
pub async fn waiting(session: &mut Session, repository: &str, digest: &Digest, tags: &[&str]) -> Result<Vec<Waiting>> {
    type Row = (i64, i64, Option<i64>, Option<i64>, i64, i32, Option<Vec<u8>>, Option<i64>);
    let mut waiting = Vec::new();
    // Without a tag there are still those that wait for the digest; no reference has an empty tag.
    let none = [""];
    for chunk in if tags.is_empty() { &none[..] } else { tags }.chunks(sql::LIST) {
        let width = sql::padded(chunk.len());
        let text = sql::list(sql::REFERENCE_WAITING, 3, width);
        let found: Vec<Row> = on!(session, |c| {
            let mut query = sqlx::query_as(AssertSqlSafe(text)).bind(repository).bind(digest.hash());
            for one in sql::filled(chunk) {
                query = query.bind(*one);
            }
            query.fetch_all(c).await
        })?;
        for (id, claim, from, occurrence, source, kind, digest, at) in found {
            waiting.push(Waiting {
                id: ReferenceId(id),
                claim: ClaimId(claim),
                repository: from.map(RepositoryId),
                occurrence: occurrence.map(OccurrenceId),
                source: NodeId(source),
                kind: EdgeKind::from_code(kind)?,
                target_repository: repository.to_owned(),
                target_tag: None,
                target_digest: digest.map(|hash| rows::digest(&hash)).transpose()?,
                occurred_at: at.map(Micros),
            });
        }
    }
    waiting.dedup_by_key(|reference| reference.id);
    Ok(waiting)
}

/// The references to `host`, which is outside as far as anybody knew.
///
/// # Errors
/// When the statement fails.
pub async fn to_host(session: &mut Session, host: &str) -> Result<Vec<Waiting>> {
    type Row = (i64, i64, Option<i64>, Option<i64>, i64, i32, String, Option<String>, Option<Vec<u8>>, Option<i64>);
    let found: Vec<Row> =
        on!(session, |c| sqlx::query_as(sql::REFERENCE_OUTSIDE_HOST).bind(host.as_bytes()).fetch_all(c).await)?;
    let waiting = |(id, claim, repository, occurrence, source, kind, name, tag, digest, at): Row| {
        Ok(Waiting {
            id: ReferenceId(id),
            claim: ClaimId(claim),
            repository: repository.map(RepositoryId),
            occurrence: occurrence.map(OccurrenceId),
            source: NodeId(source),
            kind: EdgeKind::from_code(kind)?,
            target_repository: name,
            target_tag: tag,
            target_digest: digest.map(|hash| rows::digest(&hash)).transpose()?,
            occurred_at: at.map(Micros),
        })
    };
    found.into_iter().map(waiting).collect()
}

/// Puts references to the repositories of these names and pushes to them in order, until the transaction ends. The names
/// must be sorted, so that two pushes never wait for each other in a circle.
///
/// # Errors
/// When a statement fails.
pub async fn lock_arrivals(session: &mut Session, names: &BTreeSet<&str>) -> Result<()> {
    for name in names {
        on!(session, |c| sqlx::query(sql::ARRIVAL_LOCK).bind(*name).execute(c).await.map(drop))?;
    }
    Ok(())
}

/// Says what a reference names, once and for all. Whether nobody had said so yet, nor given it up.
///
/// # Errors
/// When the statement fails.
pub async fn resolve(session: &mut Session, id: ReferenceId, to: NodeId, late: bool, now: Micros) -> Result<bool> {
    let resolved = on!(session, |c| {
        let query = sqlx::query(sql::REFERENCE_RESOLVE).bind(id.0).bind(to.0).bind(now.0).bind(late);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok(resolved > 0)
}

/// Says that a reference that seemed to be outside names this registry, where its target is not yet.
///
/// # Errors
/// When the statement fails.
pub async fn wait_for(session: &mut Session, id: ReferenceId) -> Result<()> {
    on!(session, |c| sqlx::query(sql::REFERENCE_AWAIT).bind(id.0).execute(c).await.map(drop))?;
    Ok(())
}

/// Gives up the unresolved references of a stay that ended.
///
/// # Errors
/// When the statement fails.
pub async fn give_up(session: &mut Session, occurrence: OccurrenceId) -> Result<()> {
    on!(session, |c| sqlx::query(sql::REFERENCE_GIVE_UP).bind(occurrence.0).execute(c).await.map(drop))?;
    Ok(())
}

/// Records edges.
///
/// # Errors
/// When a statement fails.
pub async fn insert_edges(session: &mut Session, new: &[NewEdge], now: Micros) -> Result<()> {
    for chunk in new.chunks(ROWS_A_STATEMENT) {
        let text = sql::rows(&session.engine(), sql::EDGES_INSERT, 11, chunk.len());
        on!(session, |c| {
            let mut query = sqlx::query(AssertSqlSafe(text)).persistent(is_usual(chunk));
            for new in chunk {
                query = query.bind(new.kind.code()).bind(new.grade.code()).bind(new.source.0);
                query = query.bind(new.occurrence.map(|id| id.0)).bind(new.everywhere).bind(new.target.0);
                query = query.bind(new.claim.0).bind(new.reference.map(|id| id.0));
                query = query.bind(new.repository.map(|id| id.0)).bind(new.occurred_at.map(|at| at.0)).bind(now.0);
            }
            query.execute(c).await.map(drop)
        })?;
    }
    Ok(())
}
