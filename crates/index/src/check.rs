//! Looking for rows that contradict each other, for `pedigree check`.

use oci::Digest;
use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};

use crate::{
    LayerState, NodeId, Result, Session,
    db::{Engine, on},
    rows, sql,
};

/// A contradiction, in words for the operator.
pub type Finding = String;

/// Rows that contradict each other: manifests whose blobs are not to be had, tags that name nothing, facts without a scan,
/// layers that nobody will scan, a tally that is off.
///
/// # Errors
/// When a statement fails.
pub async fn contradictions(session: &mut Session) -> Result<Vec<Finding>> {
    type Blob = (String, Vec<u8>, Vec<u8>, Vec<u8>);
    let mut findings = Vec::new();
    let blobs: Vec<Blob> = on!(session, |c| sqlx::query_as(sql::CHECK_OPEN_BLOBS).fetch_all(c).await)?;
    for (repository, manifest, blob, media_type) in blobs {
        if oci::media_type::may_be_absent(&rows::text(media_type)) {
            continue;
        }
        let (manifest, blob) = (rows::digest(&manifest)?, rows::digest(&blob)?);
        findings
            .push(format!("dangling: {repository}@{manifest} needs blob {blob}, which the repository does not have"));
    }
    let tags: Vec<(String, String)> = on!(session, |c| sqlx::query_as(sql::CHECK_TAGS).fetch_all(c).await)?;
    for (repository, tag) in tags {
        findings.push(format!("dangling: tag {repository}:{tag} names a manifest that the repository does not have"));
    }
    let layers: Vec<(Vec<u8>, i32)> = on!(session, |c| sqlx::query_as(sql::CHECK_LAYERS).fetch_all(c).await)?;
    for (layer, state) in layers {
        let (layer, state) = (rows::digest(&layer)?, LayerState::from_code(state)?.as_str());
        findings.push(format!("layer {layer} is {state}, but there is no scan or job to show for it"));
    }
    let files: i64 = on!(session, |c| sqlx::query_scalar(sql::CHECK_FILES).fetch_one(c).await)?;
    if files > 0 {
        findings.push(format!("dangling: {files} files belong to no scan"));
    }
    let off: i64 = on!(session, |c| sqlx::query_scalar(sql::CHECK_TALLY).fetch_one(c).await)?;
    if off != 0 {
        findings.push(format!("the tally of indexed layers is off by {off}"));
    }
    Ok(findings)
}

/// Statements that the database does not take: its schema is not what this version works with. Nothing is run. The session
/// must not be a transaction, which a statement that is refused would end.
pub async fn statements(session: &mut Session) -> Vec<Finding> {
    let other = match session.engine() {
        Engine::Postgres(..) => "_SQLITE",
        Engine::Sqlite(_) => "_POSTGRES",
    };
    let mut findings = Vec::new();
    for &(name, text) in sql::ALL.iter().filter(|(name, _)| !name.ends_with(other)) {
        let text = AssertSqlSafe(sql::example(&session.engine(), name, text)).into_sql_str();
        let prepared: std::result::Result<(), sqlx::Error> = on!(session, |c| c.prepare(text).await.map(drop));
        if let Err(error) = prepared {
            findings.push(format!("the database does not take the statement {name}: {error}"));
        }
    }
    findings
}

/// Every key that a row records: of blobs and of uploads.
///
/// # Errors
/// When the statement fails.
pub async fn tracked_keys(session: &mut Session) -> Result<Vec<String>> {
    Ok(on!(session, |c| sqlx::query_scalar(sql::KEYS_TRACKED).fetch_all(c).await)?)
}

/// Manifests by id: (id, digest, bytes), at most `limit` after `after`.
///
/// # Errors
/// When the statement fails.
pub async fn manifests(session: &mut Session, after: NodeId, limit: u32) -> Result<Vec<(NodeId, Digest, Vec<u8>)>> {
    let found: Vec<(i64, Vec<u8>, Vec<u8>)> =
        on!(session, |c| sqlx::query_as(sql::MANIFEST_PAGE).bind(after.0).bind(i64::from(limit)).fetch_all(c).await)?;
    found.into_iter().map(|(id, hash, bytes)| Ok((NodeId(id), rows::digest(&hash)?, bytes))).collect()
}
