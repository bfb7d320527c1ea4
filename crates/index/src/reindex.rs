//! Rebuilding what is derived: what there is to rebuild, how far a rebuild has come, and the scans it asks for.

use oci::{Digest, Manifest, Name, Shape};
use sqlx::AssertSqlSafe;

use crate::{
    ClaimId, EdgeKind, LayerId, Micros, NodeId, OccurrenceId, Priority, ReferenceId, ReferenceState, Result, Session,
    db::on, manifest, rows, sql,
};

/// What is to be rebuilt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only what is or was in this repository.
    pub repository: Option<Name>,
    /// Only failed and partial layers, and kits that are incomplete or missing.
    pub failed: bool,
}

/// A rebuild that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The last manifest that is done.
    pub after_manifest: NodeId,
    /// The last layer whose scan is asked for.
    pub after_layer: LayerId,
    /// When it was begun.
    pub started_at: Micros,
}

/// A manifest as it was pushed first, and what is known of its meaning.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its digest.
    pub digest: Digest,
    /// The media type that it was first pushed with.
    pub media_type: String,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// Whether there is a kit.
    pub has_kit: bool,
}

/// A reference as it was recorded.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its row.
    pub id: ReferenceId,
    /// The claim it is part of.
    pub claim: ClaimId,
    /// The component that declares it.
    pub component: Option<usize>,
    /// What it says about its target.
    pub kind: EdgeKind,
    /// Its text.
    pub declared: Vec<u8>,
    /// What became of it.
    pub state: ReferenceState,
    /// What it names.
    pub resolved: Option<NodeId>,
    /// Whether an edge was made of it.
    pub has_edge: bool,
}

/// What is left of the scans that the operator asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// Due, or being done by somebody.
    pub due: u64,
    /// Failed, to be tried again later.
    pub waiting: u64,
}

impl Scope {
    fn name(&self) -> &str {
        self.repository.as_deref().unwrap_or_default()
    }
}

/// The rebuild of this scope that is under way, if the same `version` began it.
///
/// # Errors
/// When the statement fails.
pub async fn find(session: &mut Session, scope: &Scope, version: &str) -> Result<Option<Run>> {
    let row: Option<(i64, i64, i64)> = on!(session, |c| {
        let query = sqlx::query_as(sql::REINDEX_FIND).bind(scope.name()).bind(scope.failed).bind(version);
        query.fetch_optional(c).await
    })?;
    Ok(row.map(|(manifest, layer, started_at)| Run {
        after_manifest: NodeId(manifest),
        after_layer: LayerId(layer),
        started_at: Micros(started_at),
    }))
}

/// Begins a rebuild of this scope, from the start.
///
/// # Errors
/// When the statement fails.
pub async fn begin(session: &mut Session, scope: &Scope, version: &str, now: Micros) -> Result<Run> {
    on!(session, |c| {
        let query = sqlx::query(sql::REINDEX_BEGIN).bind(scope.name()).bind(scope.failed).bind(version).bind(now.0);
        query.execute(c).await.map(drop)
    })?;
    Ok(Run { after_manifest: NodeId(0), after_layer: LayerId(0), started_at: now })
}

/// Records how far it has come.
///
/// # Errors
/// When the statement fails.
pub async fn advance(session: &mut Session, scope: &Scope, run: &Run) -> Result<()> {
    on!(session, |c| {
        let query = sqlx::query(sql::REINDEX_ADVANCE).bind(scope.name()).bind(scope.failed);
        query.bind(run.after_manifest.0).bind(run.after_layer.0).execute(c).await.map(drop)
    })?;
    Ok(())
}

/// Says that it is done.
///
/// # Errors
/// When the statement fails.
pub async fn end(session: &mut Session, scope: &Scope) -> Result<()> {
    on!(session, |c| sqlx::query(sql::REINDEX_END).bind(scope.name()).bind(scope.failed).execute(c).await.map(drop))?;
    Ok(())
}

/// How many manifests after `after` are to be rebuilt.
///
/// # Errors
/// When the statement fails.
pub async fn count(session: &mut Session, scope: &Scope, after: NodeId) -> Result<u64> {
    let count: i64 = on!(session, |c| {
        let query = sqlx::query_scalar(sql::REINDEX_COUNT).bind(scope.name()).bind(scope.failed).bind(after.0);
        query.fetch_one(c).await
    })?;
    Ok(rows::unsigned(count))
}

/// The manifests to be rebuilt, by id, at most `limit` after `after`.
///
/// # Errors
/// When the statement fails.
pub async fn manifests(session: &mut Session, scope: &Scope, after: NodeId, limit: u32) -> Result<Vec<NodeId>> {
    let found: Vec<i64> = on!(session, |c| {
        let query = sqlx::query_scalar(sql::REINDEX_MANIFESTS).bind(scope.name()).bind(scope.failed).bind(after.0);
        query.bind(i64::from(limit)).fetch_all(c).await
    })?;
    Ok(found.into_iter().map(NodeId).collect())
}

/// A manifest.
///
/// # Errors
/// When the statement fails.
pub async fn stored(session: &mut Session, id: NodeId) -> Result<Option<Stored>> {
    type Row = (Vec<u8>, Vec<u8>, Option<Vec<u8>>, bool);
    let row: Option<Row> = on!(session, |c| sqlx::query_as(sql::REINDEX_MANIFEST).bind(id.0).fetch_optional(c).await)?;
    let Some((digest, payload, media_type, has_kit)) = row else { return Ok(None) };
    let media_type = media_type.map(rows::text).unwrap_or_default();
    Ok(Some(Stored { digest: rows::digest(&digest)?, media_type, payload, has_kit }))
}

/// Makes room for what the manifest's bytes say anew: the columns are set, and its blobs and children forgotten.
///
/// # Errors
/// When a statement fails.
pub async fn reset_manifest(session: &mut Session, id: NodeId, parsed: &Manifest) -> Result<()> {
    let subject = match &parsed.subject {
        Some(subject) => Some(manifest::node(session, &subject.digest).await?.0),
        None => None,
    };
    on!(session, |c| {
        let query = sqlx::query(sql::MANIFEST_READ_AGAIN).bind(id.0).bind(i32::from(parsed.shape == Shape::Index));
        query.bind(parsed.effective_artifact_type().map(str::as_bytes)).bind(subject).execute(c).await.map(drop)
    })?;
    on!(session, |c| sqlx::query(sql::MANIFEST_FORGET_BLOBS).bind(id.0).execute(c).await.map(drop))?;
    on!(session, |c| sqlx::query(sql::MANIFEST_FORGET_CHILDREN).bind(id.0).execute(c).await.map(drop))?;
    Ok(())
}

/// Forgets what the manifest means, to be said anew in the same transaction.
///
/// # Errors
/// When a statement fails.
pub async fn reset_kit(session: &mut Session, id: NodeId) -> Result<()> {
    // The words last: whoever is writing them holds the kit's row.
    for text in [
        sql::KIT_FORGET_COMPONENT_LAYERS,
        sql::KIT_FORGET_COMPONENTS,
        sql::KIT_FORGET,
        sql::SEARCH_FORGET_WORDS,
        sql::SEARCH_FORGET_PARAMETERS,
    ] {
        on!(session, |c| sqlx::query(text).bind(id.0).execute(c).await.map(drop))?;
    }
    Ok(())
}

/// The references that a stay's kit declares, as they were recorded, in order.
///
/// # Errors
/// When the statement fails.
pub async fn references(session: &mut Session, stay: OccurrenceId) -> Result<Vec<Recorded>> {
    type Row = (i64, i64, Option<i32>, i32, Vec<u8>, i32, Option<i64>, bool);
    let found: Vec<Row> = on!(session, |c| sqlx::query_as(sql::REFERENCES_OF_STAY).bind(stay.0).fetch_all(c).await)?;
    let recorded = |(id, claim, component, kind, declared, state, resolved, has_edge): Row| {
        Ok(Recorded {
            id: ReferenceId(id),
            claim: ClaimId(claim),
            component: component.and_then(|component| usize::try_from(component).ok()),
            kind: EdgeKind::from_code(kind)?,
            declared,
            state: ReferenceState::from_code(state)?,
            resolved: resolved.map(NodeId),
            has_edge,
        })
    };
    found.into_iter().map(recorded).collect()
}

/// Says which component declares a reference, now that components are counted differently.
///
/// # Errors
/// When the statement fails.
pub async fn move_reference(session: &mut Session, id: ReferenceId, component: usize) -> Result<()> {
    on!(session, |c| {
        sqlx::query(sql::REFERENCE_MOVE).bind(id.0).bind(rows::position(component)).execute(c).await.map(drop)
    })?;
    Ok(())
}

/// Those of `digests` that have bytes.
///
/// # Errors
/// When a statement fails.
pub async fn with_bytes(session: &mut Session, digests: &[Digest]) -> Result<Vec<Digest>> {
    let mut found = Vec::new();
    for chunk in digests.chunks(sql::LIST) {
        let width = sql::padded(chunk.len());
        let text = sql::list(sql::BLOBS_LIVE, 1, width);
        let hashes: Vec<Vec<u8>> = on!(session, |c| {
            let query = sqlx::query_scalar(AssertSqlSafe(text));
            let query = sql::filled(chunk).fold(query, |query, one| query.bind(one.hash()));
            query.fetch_all(c).await
        })?;
        for hash in hashes {
            found.push(rows::digest(&hash)?);
        }
    }
    Ok(found)
}

/// The layers that can be scanned again, by id, at most `limit` after `after`: their bytes are there, and nothing but a
/// scan has ever said that they cannot be looked into.
///
/// # Errors
/// When the statement fails.
pub async fn layers(session: &mut Session, scope: &Scope, after: LayerId, limit: u32) -> Result<Vec<LayerId>> {
    let found: Vec<i64> = on!(session, |c| {
        let query = sqlx::query_scalar(sql::REINDEX_LAYERS).bind(scope.name()).bind(scope.failed).bind(after.0);
        query.bind(i64::from(limit)).fetch_all(c).await
    })?;
    Ok(found.into_iter().map(LayerId).collect())
}

/// Layers whose facts an older scanner than `scanner` found, by that and by id, at most `limit` after `after`; and whether
/// their bytes are there.
///
/// # Errors
/// When the statement fails.
pub async fn outdated(
    session: &mut Session,
    scanner: i32,
    after: (i32, LayerId),
    limit: u32,
) -> Result<Vec<(i32, LayerId, bool)>> {
    let found: Vec<(i32, i64, bool)> = on!(session, |c| {
        let query = sqlx::query_as(sql::LAYERS_OUTDATED).bind(scanner).bind(after.0).bind(after.1.0);
        query.bind(i64::from(limit)).fetch_all(c).await
    })?;
    Ok(found.into_iter().map(|(scanner, id, has_bytes)| (scanner, LayerId(id), has_bytes)).collect())
}

/// Asks for scans of these layers. Those that wait for another try are due now.
///
/// # Errors
/// When a statement fails.
pub async fn queue(session: &mut Session, layers: &[LayerId], priority: Priority, now: Micros) -> Result<()> {
    for chunk in layers.chunks(sql::LIST) {
        let width = sql::padded(chunk.len());
        let text = sql::list(sql::SCANS_QUEUE, 3, width);
        on!(session, |c| {
            let query = sqlx::query(AssertSqlSafe(text)).bind(now.0).bind(priority.code());
            let query = sql::filled(chunk).fold(query, |query, one| query.bind(one.0));
            query.execute(c).await.map(drop)
        })?;
    }
    Ok(())
}

/// What is left, at `now`, of the scans that the operator asked for.
///
/// # Errors
/// When the statement fails.
pub async fn left(session: &mut Session, now: Micros) -> Result<Left> {
    let (due, waiting): (i64, i64) =
        on!(session, |c| sqlx::query_as(sql::REINDEX_LEFT).bind(now.0).fetch_one(c).await)?;
    Ok(Left { due: rows::unsigned(due), waiting: rows::unsigned(waiting) })
}

/// Counts the layers of the tally anew.
///
/// # Errors
/// When a statement fails.
pub async fn recount(session: &mut Session) -> Result<()> {
    // First the row is locked: whoever has changed it is then seen by the count, and whoever is about to adds to the count.
    on!(session, |c| sqlx::query(sql::TALLY_LOCK).execute(c).await.map(drop))?;
    on!(session, |c| sqlx::query(sql::TALLY_RECOUNT).execute(c).await.map(drop))?;
    Ok(())
}
