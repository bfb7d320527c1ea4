//! What is inside layers: facts that are timeless and outlive the bytes.

use std::collections::HashMap;

use oci::Digest;

use crate::{
    Error, LayerId, LayerState, Micros, Reader, Result, ScanId, Session,
    db::{look_up, on},
    rows, sql,
};

/// A layer to be looked into.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its row.
    pub id: LayerId,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// How far the registry has come with it.
    pub state: LayerState,
    /// The scanner's version whose facts serve, if any do.
    pub scanner: Option<i32>,
}

/// What a scan found, its files apart.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Indexed, partial or opaque.
    pub state: LayerState,
    /// Why it is not indexed.
    pub reason: Option<String>,
    /// What the bytes are, in `content`'s words.
    pub form: String,
    /// The digest of the uncompressed bytes.
    pub diff_id: Option<Digest>,
    /// The tree identity.
    pub tree: Option<[u8; 32]>,
    /// The contents identity.
    pub contents: Option<[u8; 32]>,
    /// How many files there are.
    pub files: u64,
    /// How many uncompressed bytes.
    pub bytes: u64,
    /// How many files there are inside of files.
    pub inner_files: u64,
    /// How many bytes came out of files.
    pub inner_bytes: u64,
    /// How many entries are not files.
    pub skipped: u64,
}

/// By what a layer is compared with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its digest.
    pub digest: Digest,
    /// How far the registry has come with it.
    pub state: LayerState,
    /// The tree identity.
    pub tree: Option<[u8; 32]>,
    /// The contents identity.
    pub contents: Option<[u8; 32]>,
}

/// The version and the limits that a scan runs with.
#[derive(Debug, Clone, Copy)]
pub struct Scanner {
    /// The scanner's version.
    pub version: i32,
    /// The most entries.
    pub entries: u64,
    /// The most uncompressed bytes.
    pub bytes: u64,
    /// How many files a file may be inside of.
    pub depth: u32,
}

/// The layer, made when it does not exist, in state `state` then. Whether it was made.
///
/// # Errors
/// When a statement fails.
pub async fn ensure(
    session: &mut Session,
    digest: &Digest,
    size: u64,
    state: LayerState,
    reason: Option<&str>,
) -> Result<(LayerId, bool)> {
    let find = async |session: &mut Session| -> Result<Option<i64>> {
        Ok(on!(session, |c| sqlx::query_scalar(sql::LAYER_FIND).bind(digest.hash()).fetch_optional(c).await)?)
    };
    if let Some(id) = find(session).await? {
        return Ok((LayerId(id), false));
    }
    let id: Option<i64> = on!(session, |c| {
        let query =
            sqlx::query_scalar(sql::LAYER_INSERT).bind(digest.hash()).bind(rows::signed(size)).bind(state.code());
        query.bind(reason.map(str::as_bytes)).fetch_optional(c).await
    })?;
    match id {
        Some(id) => Ok((LayerId(id), true)),
        None => Ok((LayerId(find(session).await?.ok_or(Error::Unreadable("layer"))?), false)),
    }
}

/// Puts this transaction and the end of the layer's scan in order, if that is still to come.
///
/// # Errors
/// When the statement fails.
pub async fn hold(session: &mut Session, layer: LayerId) -> Result<()> {
    on!(session, |c| sqlx::query(sql::LAYER_HOLD).bind(layer.0).execute(c).await.map(drop))?;
    Ok(())
}

/// The layer of a digest.
///
/// # Errors
/// When the statement fails.
pub async fn get(session: &mut Session, digest: &Digest) -> Result<Option<Layer>> {
    type Row = (i64, Vec<u8>, i64, i32, Option<i32>);
    let row: Option<Row> =
        on!(session, |c| sqlx::query_as(sql::LAYER_BY_DIGEST).bind(digest.hash()).fetch_optional(c).await)?;
    row.map(layer).transpose()
}

/// The layer of a row.
///
/// # Errors
/// When the statement fails.
pub async fn by_id(session: &mut Session, id: LayerId) -> Result<Option<Layer>> {
    type Row = (i64, Vec<u8>, i64, i32, Option<i32>);
    let row: Option<Row> = on!(session, |c| sqlx::query_as(sql::LAYER_BY_ID).bind(id.0).fetch_optional(c).await)?;
    row.map(layer).transpose()
}

fn layer((id, digest, size, state, scanner): (i64, Vec<u8>, i64, i32, Option<i32>)) -> Result<Layer> {
    Ok(Layer {
        id: LayerId(id),
        digest: rows::digest(&digest)?,
        size: rows::unsigned(size),
        state: LayerState::from_code(state)?,
        scanner,
    })
}

/// By what layers are compared, by the scans whose facts serve.
///
/// # Errors
/// When a statement fails.
pub async fn identities(session: &mut Session, layers: &[LayerId]) -> Result<HashMap<LayerId, Identity>> {
    type Row = (i64, Vec<u8>, i32, Option<Vec<u8>>, Option<Vec<u8>>);
    let mut identities = HashMap::with_capacity(layers.len());
    let found: Vec<Row> = look_up!(session, query_as(sql::LAYER_IDENTITIES), layers, |one| one.0);
    for (id, digest, state, tree, contents) in found {
        identities.insert(LayerId(id), identity(&digest, state, tree, contents)?);
    }
    Ok(identities)
}

pub(crate) fn identity(
    digest: &[u8],
    state: i32,
    tree: Option<Vec<u8>>,
    contents: Option<Vec<u8>>,
) -> Result<Identity> {
    Ok(Identity {
        digest: rows::digest(digest)?,
        state: LayerState::from_code(state)?,
        tree: tree.map(|hash| rows::sha256(&hash)).transpose()?,
        contents: contents.map(|hash| rows::sha256(&hash)).transpose()?,
    })
}

/// Forgets some of what an earlier scan left unfinished, or of one whose facts serve no more; whether there is more. Each call is to be a transaction of its
/// own: there may be millions of rows, and others write too.
///
/// # Errors
/// When a statement fails.
pub async fn forget_unfinished(session: &mut Session, layer: LayerId) -> Result<bool> {
    let scan: Option<i64> =
        on!(session, |c| sqlx::query_scalar(sql::SCAN_UNFINISHED).bind(layer.0).fetch_one(c).await)?;
    let Some(scan) = scan else { return Ok(false) };
    forget_some(session, scan).await
}

/// The same for a scan that another has taken the place of. One whose facts serve is left as it is.
///
/// # Errors
/// When a statement fails.
pub async fn forget_superseded(session: &mut Session, scan: ScanId) -> Result<bool> {
    let found: Option<i64> =
        on!(session, |c| sqlx::query_scalar(sql::SCAN_SUPERSEDED).bind(scan.0).fetch_optional(c).await)?;
    let Some(scan) = found else { return Ok(false) };
    forget_some(session, scan).await
}

/// Forgets some of a scan, its last files first; true, for only the next look shows that nothing is left.
async fn forget_some(session: &mut Session, scan: i64) -> Result<bool> {
    let last: i32 = on!(session, |c| sqlx::query_scalar(sql::SCAN_LAST_FILE).bind(scan).fetch_one(c).await)?;
    let from = (last - 5_000).max(0);
    let texts = [
        sql::SCAN_FORGET_FILES,
        sql::SCAN_FORGET_METADATA,
        sql::SCAN_FORGET_TENSORS,
        sql::SCAN_FORGET_ADAPTERS,
        sql::SCAN_FORGET_MD5S,
        sql::SCAN_FORGET_CONTAINERS,
        sql::SCAN_FORGET_PATHS,
    ];
    for text in texts {
        on!(session, |c| sqlx::query(text).bind(scan).bind(from).execute(c).await.map(drop))?;
    }
    if from == 0 {
        on!(session, |c| sqlx::query(sql::SCAN_FORGET).bind(scan).execute(c).await.map(drop))?;
    }
    Ok(true)
}

/// Begins a scan.
///
/// # Errors
/// When a statement fails.
pub async fn begin_scan(session: &mut Session, layer: LayerId, scanner: Scanner, now: Micros) -> Result<ScanId> {
    let id = on!(session, |c| {
        let query = sqlx::query_scalar(sql::SCAN_BEGIN).bind(layer.0).bind(scanner.version);
        let query = query.bind(rows::signed(scanner.entries)).bind(rows::signed(scanner.bytes));
        query.bind(i32::try_from(scanner.depth).unwrap_or(i32::MAX)).bind(now.0).fetch_one(c).await
    })?;
    Ok(ScanId(id))
}

/// Ends a scan: from now on its facts serve, and those of an earlier scan do not, which is returned.
///
/// # Errors
/// When a statement fails.
pub async fn finish_scan(
    session: &mut Session,
    layer: &Layer,
    scan: ScanId,
    scanner: Scanner,
    facts: &Facts,
    now: Micros,
) -> Result<Option<ScanId>> {
    let before: Option<Option<i64>> =
        on!(session, |c| sqlx::query_scalar(sql::LAYER_SCAN).bind(layer.id.0).fetch_optional(c).await)?;
    let superseded = before.flatten().map(ScanId);
    let reason = facts.reason.as_deref().map(str::as_bytes);
    on!(session, |c| {
        let query =
            sqlx::query(sql::SCAN_FINISH).bind(scan.0).bind(facts.state.code()).bind(reason).bind(&facts.form[..]);
        let query = query.bind(facts.diff_id.as_ref().map(|digest| digest.hash().to_vec()));
        let query = query.bind(facts.tree.map(|hash| hash.to_vec())).bind(facts.contents.map(|hash| hash.to_vec()));
        let query =
            query.bind(rows::signed(facts.files)).bind(rows::signed(facts.bytes)).bind(rows::signed(facts.skipped));
        let query = query.bind(rows::signed(facts.inner_files)).bind(rows::signed(facts.inner_bytes));
        query.bind(now.0).execute(c).await.map(drop)
    })?;
    on!(session, |c| {
        let query = sqlx::query(sql::LAYER_SCANNED).bind(layer.id.0).bind(facts.state.code()).bind(reason);
        query.bind(scan.0).bind(scanner.version).execute(c).await.map(drop)
    })?;
    let before = i64::from(layer.state == LayerState::Indexed);
    let after = i64::from(facts.state == LayerState::Indexed);
    tally(session, after - before).await?;
    Ok(superseded)
}

/// Says that the layer is in a state without a scan: failed for now, or purged.
///
/// # Errors
/// When a statement fails.
pub async fn set_state(session: &mut Session, layer: &Layer, state: LayerState, reason: &str) -> Result<()> {
    on!(session, |c| {
        let query = sqlx::query(sql::LAYER_STATE).bind(layer.id.0).bind(state.code()).bind(reason.as_bytes());
        query.execute(c).await.map(drop)
    })?;
    let before = i64::from(layer.state == LayerState::Indexed);
    let after = i64::from(state == LayerState::Indexed);
    tally(session, after - before).await
}

async fn tally(session: &mut Session, difference: i64) -> Result<()> {
    if difference == 0 {
        return Ok(());
    }
    let state = LayerState::Indexed.code();
    on!(session, |c| sqlx::query(sql::LAYER_TALLY).bind(state).bind(difference).execute(c).await.map(drop))?;
    Ok(())
}

/// How many layers that `reader` may see are still to be scanned.
///
/// # Errors
/// When the statement fails.
pub async fn pending(session: &mut Session, reader: Reader) -> Result<u64> {
    let count: i64 = on!(session, |c| sqlx::query_scalar(sql::LAYERS_PENDING).bind(reader.0).fetch_one(c).await)?;
    Ok(rows::unsigned(count))
}
