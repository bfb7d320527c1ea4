//! Manifests, byte for byte, and their stays in repositories.

use std::collections::HashMap;

use oci::{Digest, Manifest, Name, Reference, Shape, Tag};
use sqlx::AssertSqlSafe;

use crate::{
    Db, Error, LayerId, Micros, NodeId, OccurrenceId, Reader, RepositoryId, Result, Session,
    db::{look_up, on},
    file, rows, sql,
};

/// A manifest as it is served.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its node.
    pub id: NodeId,
    /// Its digest.
    pub digest: Digest,
    /// The media type that it was pushed with.
    pub media_type: String,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// A manifest that refers to another.
#[derive(Debug, Clone)]
pub struct Referrer {
    /// Its stay in the repository.
    pub stay: OccurrenceId,
    /// Its digest.
    pub digest: Digest,
    /// The media type that it was pushed with.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// What kind of referrer it is, if it says so.
    pub artifact_type: Option<String>,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// A stay of a manifest in a repository.
#[derive(Debug, Clone)]
pub struct Occurrence {
    /// Its row.
    pub id: OccurrenceId,
    /// The manifest.
    pub manifest: NodeId,
    /// The repository.
    pub repository: RepositoryId,
    /// The repository's name.
    pub name: Name,
    /// When it was pushed.
    pub opened_at: Micros,
    /// Who pushed it.
    pub opened_by: String,
    /// When it was deleted, if it was.
    pub closed_at: Option<Micros>,
}

/// A node whose key is a digest.
const DIGEST_NODE: i32 = 0;
/// A node whose key is the text of an external identity.
const EXTERNAL_NODE: i32 = 1;

type Row = (i64, Vec<u8>, Vec<u8>, Vec<u8>);

fn stored((id, digest, media_type, payload): Row) -> Result<Stored> {
    Ok(Stored { id: NodeId(id), digest: rows::digest(&digest)?, media_type: rows::text(media_type), payload })
}

/// The manifest that a reference names in a repository now.
///
/// # Errors
/// When the statement fails.
pub async fn get(
    session: &mut Session,
    reader: Reader,
    repository: &Name,
    reference: &Reference,
) -> Result<Option<Stored>> {
    let row: Option<Row> = match reference {
        Reference::Tag(tag) => on!(session, |c| {
            let query = sqlx::query_as(sql::MANIFEST_BY_TAG).bind(reader.0).bind(&**repository).bind(&**tag);
            query.fetch_optional(c).await
        })?,
        Reference::Digest(digest) => on!(session, |c| {
            let query = sqlx::query_as(sql::MANIFEST_BY_DIGEST).bind(reader.0).bind(&**repository).bind(digest.hash());
            query.fetch_optional(c).await
        })?,
    };
    row.map(stored).transpose()
}

/// The same outside of any transaction: the hot read.
///
/// # Errors
/// When the statement fails.
pub async fn look(db: &Db, reader: Reader, repository: &Name, reference: &Reference) -> Result<Option<Stored>> {
    let Some(direct) = db.direct() else { return get(&mut db.read().await?, reader, repository, reference).await };
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let found: Option<Row> = match reference {
        Reference::Tag(tag) => direct.row(sql::MANIFEST_BY_TAG, &[&reader.0, &&**repository, &&**tag], row)?,
        Reference::Digest(digest) => {
            direct.row(sql::MANIFEST_BY_DIGEST, &[&reader.0, &&**repository, &digest.hash()], row)?
        }
    };
    found.map(stored).transpose()
}

/// The manifest of that digest in a repository, also when it was deleted there: evidence outlives data.
///
/// # Errors
/// When the statement fails.
pub async fn get_ever(
    session: &mut Session,
    reader: Reader,
    repository: &Name,
    digest: &Digest,
) -> Result<Option<Stored>> {
    let row: Option<Row> = on!(session, |c| {
        let query = sqlx::query_as(sql::MANIFEST_EVER).bind(reader.0).bind(&**repository).bind(digest.hash());
        query.fetch_optional(c).await
    })?;
    row.map(stored).transpose()
}

/// The manifest that a tag named at `as_of`, also when it was deleted since.
///
/// # Errors
/// When the statement fails.
pub async fn get_at(
    session: &mut Session,
    reader: Reader,
    repository: &Name,
    tag: &Tag,
    as_of: Micros,
) -> Result<Option<Stored>> {
    let row: Option<Row> = on!(session, |c| {
        let query = sqlx::query_as(sql::MANIFEST_BY_TAG_AT).bind(reader.0).bind(&**repository).bind(&**tag);
        query.bind(as_of.0).fetch_optional(c).await
    })?;
    row.map(stored).transpose()
}

/// The manifests that an index lists and that are, or were, in repositories that `reader` may read.
///
/// # Errors
/// When the statement fails.
pub async fn children(session: &mut Session, reader: Reader, as_of: Micros, index: NodeId) -> Result<Vec<NodeId>> {
    let found: Vec<i64> = on!(session, |c| {
        sqlx::query_scalar(sql::MANIFEST_CHILDREN).bind(reader.0).bind(as_of.0).bind(index.0).fetch_all(c).await
    })?;
    Ok(found.into_iter().map(NodeId).collect())
}

/// The node of a digest, made when it does not exist.
///
/// # Errors
/// When a statement fails.
pub async fn node(session: &mut Session, digest: &Digest) -> Result<NodeId> {
    ensure_node(session, DIGEST_NODE, digest.hash()).await
}

/// The node of a digest, if anybody ever named it.
///
/// # Errors
/// When the statement fails.
pub async fn known_node(session: &mut Session, digest: &Digest) -> Result<Option<NodeId>> {
    let id: Option<i64> =
        on!(session, |c| sqlx::query_scalar(sql::NODE_OF_DIGEST).bind(digest.hash()).fetch_optional(c).await)?;
    Ok(id.map(NodeId))
}

/// The nodes of those of the hashes that anybody ever named.
///
/// # Errors
/// When a statement fails.
pub async fn known_nodes<'a>(session: &mut Session, hashes: impl Iterator<Item = &'a [u8]>) -> Result<Vec<NodeId>> {
    let hashes: Vec<_> = hashes.collect();
    let found: Vec<i64> = look_up!(session, query_scalar(sql::NODES_OF_DIGESTS), hashes, |one| *one);
    Ok(found.into_iter().map(NodeId).collect())
}

/// The digest of a node, if it is one of a digest.
///
/// # Errors
/// When the statement fails.
pub async fn digest_of(session: &mut Session, node: NodeId) -> Result<Option<Digest>> {
    let key: Option<Vec<u8>> =
        on!(session, |c| sqlx::query_scalar(sql::NODE_DIGEST).bind(node.0).fetch_optional(c).await)?;
    key.map(|hash| rows::digest(&hash)).transpose()
}

/// The node of something outside the registry, by its text, made when it does not exist.
///
/// # Errors
/// When a statement fails.
pub async fn external_node(session: &mut Session, text: &str) -> Result<NodeId> {
    ensure_node(session, EXTERNAL_NODE, text.as_bytes()).await
}

/// The nodes of digests, made where they do not exist.
///
/// # Errors
/// When a statement fails.
pub async fn nodes(session: &mut Session, digests: &[Digest]) -> Result<HashMap<Digest, NodeId>> {
    let keys = digests.iter().map(Digest::hash).collect();
    let nodes = ensure_nodes(session, DIGEST_NODE, keys).await?.into_iter();
    nodes.map(|(hash, node)| Ok((rows::digest(&hash)?, node))).collect()
}

/// The nodes of what is outside the registry, by its texts, made where they do not exist.
///
/// # Errors
/// When a statement fails.
pub async fn external_nodes(session: &mut Session, texts: &[&str]) -> Result<HashMap<String, NodeId>> {
    let keys = texts.iter().map(|text| text.as_bytes()).collect();
    let nodes = ensure_nodes(session, EXTERNAL_NODE, keys).await?.into_iter();
    Ok(nodes.map(|(text, node)| (rows::text(text), node)).collect())
}

async fn ensure_node(session: &mut Session, kind: i32, key: &[u8]) -> Result<NodeId> {
    ensure_nodes(session, kind, vec![key]).await?.remove(key).ok_or(Error::Unreadable("node"))
}

async fn ensure_nodes(session: &mut Session, kind: i32, mut keys: Vec<&[u8]>) -> Result<HashMap<Vec<u8>, NodeId>> {
    // In order, so that two pushes never wait for each other in a circle.
    keys.sort_unstable();
    keys.dedup();
    let mut nodes = find_nodes(session, kind, &keys).await?;
    keys.retain(|key| !nodes.contains_key(*key));
    for chunk in keys.chunks(sql::LIST) {
        let text = sql::rows(&session.engine(), sql::NODES_INSERT, 3, chunk.len());
        let made: Vec<(i64, Vec<u8>)> = on!(session, |c| {
            let mut query = sqlx::query_as(AssertSqlSafe(text));
            for key in chunk {
                let sha256 = (*key).try_into().ok().filter(|_| kind == DIGEST_NODE);
                query = query.bind(kind).bind(*key).bind(sha256.map(|sha256| file::columns(sha256).0));
            }
            query.fetch_all(c).await
        })?;
        nodes.extend(made.into_iter().map(|(id, key)| (key, NodeId(id))));
    }
    // Other pushes made them meanwhile.
    keys.retain(|key| !nodes.contains_key(*key));
    nodes.extend(find_nodes(session, kind, &keys).await?);
    Ok(nodes)
}

async fn find_nodes(session: &mut Session, kind: i32, keys: &[&[u8]]) -> Result<HashMap<Vec<u8>, NodeId>> {
    let found: Vec<(i64, Vec<u8>)> = look_up!(session, query_as(sql::NODES_FIND, kind), keys, |key| *key);
    Ok(found.into_iter().map(|(id, key)| (key, NodeId(id))).collect())
}

/// What those of the tags name that are in the repository.
///
/// # Errors
/// When a statement fails.
pub async fn tagged(session: &mut Session, repository: &Name, tags: &[&Tag]) -> Result<HashMap<String, NodeId>> {
    let found: Vec<(String, i64)> =
        look_up!(session, query_as(sql::MANIFESTS_BY_TAGS, &**repository), tags, |tag| &***tag);
    Ok(found.into_iter().map(|(tag, id)| (tag, NodeId(id))).collect())
}

/// Those of the digests whose manifests are, or were, in the repository.
///
/// # Errors
/// When a statement fails.
pub async fn ever(session: &mut Session, repository: &Name, digests: &[Digest]) -> Result<Vec<Digest>> {
    let mut ever = Vec::with_capacity(digests.len());
    let found: Vec<Vec<u8>> =
        look_up!(session, query_scalar(sql::MANIFESTS_EVER, &**repository), digests, |digest| digest.hash());
    for hash in found {
        ever.push(rows::digest(&hash)?);
    }
    Ok(ever)
}

/// Stores the manifest's bytes under its node. Whether they were not there yet.
///
/// # Errors
/// When a statement fails.
pub async fn insert(session: &mut Session, manifest: &Manifest, now: Micros) -> Result<(NodeId, bool)> {
    let id = node(session, &manifest.digest).await?;
    let subject = match &manifest.subject {
        Some(subject) => Some(node(session, &subject.digest).await?.0),
        None => None,
    };
    let shape = i32::from(manifest.shape == Shape::Index);
    let artifact_type = manifest.effective_artifact_type().map(str::as_bytes);
    let size = rows::signed(manifest.bytes.len() as u64);
    let new = on!(session, |c| {
        let query = sqlx::query(sql::MANIFEST_INSERT).bind(id.0).bind(manifest.digest.hash()).bind(shape);
        let query = query.bind(artifact_type).bind(subject).bind(size).bind(&manifest.bytes[..]).bind(now.0);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    if new > 0 {
        on!(session, |c| sqlx::query(sql::NODE_IS_MANIFEST).bind(id.0).execute(c).await.map(drop))?;
    }
    Ok((id, new > 0))
}

/// Says what blobs an image manifest is made of: its config (position -1) and its layers, each with its layer row.
///
/// # Errors
/// When a statement fails.
pub async fn insert_blobs(
    session: &mut Session,
    id: NodeId,
    manifest: &Manifest,
    layers: &[(LayerId, Option<&str>)],
) -> Result<()> {
    let config = manifest.config.iter().map(|config| (-1, config, None, None));
    let layers = manifest.layers.iter().zip(layers).enumerate();
    let layers = layers.map(|(i, (layer, (id, path)))| (rows::position(i), layer, *path, Some(id.0)));
    let all: Vec<_> = config.chain(layers).collect();
    for chunk in all.chunks(sql::LIST) {
        let text = sql::rows(&session.engine(), sql::MANIFEST_BLOBS_INSERT, 8, chunk.len());
        on!(session, |c| {
            let mut query = sqlx::query(AssertSqlSafe(text));
            for (position, descriptor, path, layer) in chunk {
                let size = rows::signed(descriptor.size);
                query = query.bind(id.0).bind(position).bind(descriptor.digest.hash()).bind(size);
                query = query.bind(descriptor.media_type.as_bytes()).bind(path.map(str::as_bytes));
                query = query.bind(path.and_then(|path| file::name_key(path.as_bytes()))).bind(layer);
            }
            query.execute(c).await.map(drop)
        })?;
    }
    Ok(())
}

/// Says what manifests an index lists.
///
/// # Errors
/// When a statement fails.
pub async fn insert_children(session: &mut Session, id: NodeId, manifest: &Manifest) -> Result<()> {
    let digests: Vec<_> = manifest.manifests.iter().map(|child| child.digest).collect();
    let nodes = nodes(session, &digests).await?;
    let children = manifest.manifests.iter().enumerate();
    let numbered: Vec<_> =
        children.map(|(position, child)| (position, (nodes[&child.digest], child.media_type.as_bytes()))).collect();
    for chunk in numbered.chunks(sql::LIST) {
        let text = sql::rows(&session.engine(), sql::MANIFEST_CHILDREN_INSERT, 4, chunk.len());
        on!(session, |c| {
            let mut query = sqlx::query(AssertSqlSafe(text));
            for (position, (child, media_type)) in chunk {
                query = query.bind(id.0).bind(rows::position(*position)).bind(child.0).bind(*media_type);
            }
            query.execute(c).await.map(drop)
        })?;
    }
    Ok(())
}

/// Those of `digests` that the repository has as manifests.
///
/// # Errors
/// When a statement fails.
pub async fn present(session: &mut Session, repository: RepositoryId, digests: &[Digest]) -> Result<Vec<Digest>> {
    let mut present = Vec::new();
    let found: Vec<Vec<u8>> =
        look_up!(session, query_scalar(sql::MANIFEST_PRESENT, repository.0), digests, |one| one.hash());
    for hash in found {
        present.push(rows::digest(&hash)?);
    }
    Ok(present)
}

/// Opens a stay of the manifest in the repository. `None` when one is open already.
///
/// # Errors
/// When a statement fails.
pub async fn open(
    session: &mut Session,
    repository: RepositoryId,
    manifest: NodeId,
    media_type: &str,
    actor: &str,
    now: Micros,
) -> Result<Option<OccurrenceId>> {
    if hold(session, repository, manifest).await? {
        return Ok(None);
    }
    // Clocks of replicas differ; a stay still never begins before the one before it ended.
    let closed: i64 = on!(session, |c| {
        sqlx::query_scalar(sql::OCCURRENCE_LAST_CLOSED).bind(repository.0).bind(manifest.0).fetch_one(c).await
    })?;
    let at = now.0.max(closed + 1);
    let id = on!(session, |c| {
        let query = sqlx::query_scalar(sql::OCCURRENCE_OPEN).bind(repository.0).bind(manifest.0);
        query.bind(media_type.as_bytes()).bind(at).bind(actor).fetch_optional(c).await
    })?;
    Ok(id.map(OccurrenceId))
}

/// The digest of a manifest.
///
/// # Errors
/// When the statement fails.
pub async fn digest(session: &mut Session, manifest: NodeId) -> Result<Option<Digest>> {
    let hash: Option<Vec<u8>> =
        on!(session, |c| sqlx::query_scalar(sql::MANIFEST_DIGEST).bind(manifest.0).fetch_optional(c).await)?;
    hash.map(|hash| rows::digest(&hash)).transpose()
}

/// Holds the open stay of the manifest in the repository until the transaction ends. Whether there is one.
///
/// # Errors
/// When the statement fails.
pub async fn hold(session: &mut Session, repository: RepositoryId, manifest: NodeId) -> Result<bool> {
    let held: Option<i64> = on!(session, |c| {
        sqlx::query_scalar(sql::OCCURRENCE_HOLD).bind(repository.0).bind(manifest.0).fetch_optional(c).await
    })?;
    Ok(held.is_some())
}

/// The blobs that the manifest is made of and the repository lacks, each with its media type.
///
/// # Errors
/// When the statement fails.
pub async fn lacks(session: &mut Session, repository: RepositoryId, manifest: NodeId) -> Result<Vec<(Digest, String)>> {
    let found: Vec<(Vec<u8>, Vec<u8>)> = on!(session, |c| {
        sqlx::query_as(sql::MANIFEST_LACKS_BLOBS).bind(repository.0).bind(manifest.0).fetch_all(c).await
    })?;
    found.into_iter().map(|(hash, media_type)| Ok((rows::digest(&hash)?, rows::text(media_type)))).collect()
}

/// What an index lists that is, or was, in the repository, and whether it still is.
///
/// # Errors
/// When the statement fails.
pub async fn children_here(
    session: &mut Session,
    repository: RepositoryId,
    index: NodeId,
) -> Result<Vec<(NodeId, Digest, bool)>> {
    let found: Vec<(i64, Vec<u8>, bool)> = on!(session, |c| {
        sqlx::query_as(sql::MANIFEST_CHILDREN_HERE).bind(repository.0).bind(index.0).fetch_all(c).await
    })?;
    found.into_iter().map(|(id, hash, is_here)| Ok((NodeId(id), rows::digest(&hash)?, is_here))).collect()
}

/// Closes the open stay of the manifest in the repository. What was known of it stays known.
///
/// # Errors
/// When the statement fails.
pub async fn close(
    session: &mut Session,
    repository: RepositoryId,
    manifest: NodeId,
    actor: &str,
    now: Micros,
) -> Result<Option<OccurrenceId>> {
    let id = on!(session, |c| {
        let query =
            sqlx::query_scalar(sql::OCCURRENCE_CLOSE).bind(repository.0).bind(manifest.0).bind(now.0).bind(actor);
        query.fetch_optional(c).await
    })?;
    Ok(id.map(OccurrenceId))
}

/// The manifests of the repository whose subject is `subject`, in the order of their pushes: the first `limit` after the
/// stay `after`, of one kind if it is given. The size of each in bytes; [`read_referrers`] has the rest.
///
/// # Errors
/// When the statement fails.
pub async fn referrers(
    session: &mut Session,
    reader: Reader,
    repository: &Name,
    subject: &Digest,
    artifact_type: Option<&str>,
    after: OccurrenceId,
    limit: u32,
) -> Result<Vec<(OccurrenceId, u64)>> {
    let found: Vec<(i64, i64)> = on!(session, |c| {
        let query = sqlx::query_as(sql::REFERRERS).bind(reader.0).bind(&**repository).bind(subject.hash());
        query.bind(after.0).bind(artifact_type.map(str::as_bytes)).bind(i64::from(limit)).fetch_all(c).await
    })?;
    Ok(found.into_iter().map(|(stay, size)| (OccurrenceId(stay), rows::unsigned(size))).collect())
}

/// The manifests of these stays, in their order. All of their bytes are read.
///
/// # Errors
/// When a statement fails.
pub async fn read_referrers(session: &mut Session, reader: Reader, stays: &[OccurrenceId]) -> Result<Vec<Referrer>> {
    type Row = (i64, Vec<u8>, Vec<u8>, i64, Option<Vec<u8>>, Vec<u8>);
    let mut referrers = Vec::with_capacity(stays.len());
    let found: Vec<Row> = look_up!(session, query_as(sql::REFERRERS_READ, reader.0), stays, |one| one.0);
    for (stay, digest, media_type, size, artifact_type, payload) in found {
        referrers.push(Referrer {
            stay: OccurrenceId(stay),
            digest: rows::digest(&digest)?,
            media_type: rows::text(media_type),
            size: rows::unsigned(size),
            artifact_type: artifact_type.map(rows::text),
            payload,
        });
    }
    Ok(referrers)
}

/// Every stay of the manifests that began until `as_of`, in the repositories that `reader` may read.
///
/// # Errors
/// When a statement fails.
pub async fn occurrences(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    manifests: &[NodeId],
) -> Result<Vec<Occurrence>> {
    type Row = (i64, i64, i64, String, i64, String, Option<i64>);
    let mut occurrences = Vec::new();
    let found: Vec<Row> = look_up!(session, query_as(sql::OCCURRENCES, reader.0, as_of.0), manifests, |one| one.0);
    for (manifest, id, repository, name, opened_at, opened_by, closed_at) in found {
        occurrences.push(Occurrence {
            id: OccurrenceId(id),
            manifest: NodeId(manifest),
            repository: RepositoryId(repository),
            name: rows::name(&name)?,
            opened_at: Micros(opened_at),
            opened_by,
            closed_at: closed_at.map(Micros),
        });
    }
    Ok(occurrences)
}
