//! Adapters: small weights that are of use with a model only, and what they call that.

use std::collections::BTreeSet;

use crate::{
    Error, Field, LayerId, Micros, NodeId, Reader, RepositoryId, Result, ScanId, Session,
    db::{look_up, on},
    file, rows, sql,
};

/// What an adapter calls its base.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Base {
    /// Its name without organisation or folder, as [`crate::search::split`] has its words, with spaces between them.
    pub name: String,
    /// As it is written.
    pub declared: String,
}

/// Adds that a file of a scan is the configuration of an adapter of `base`.
///
/// # Errors
/// When the statement fails.
pub async fn add(session: &mut Session, scan: ScanId, file: u64, base: &Base) -> Result<()> {
    let file = i32::try_from(file).map_err(|_| Error::Unreadable("position of a file"))?;
    on!(session, |c| {
        let query = sqlx::query(sql::ADAPTER_INSERT).bind(scan.0).bind(file).bind(&*base.name);
        query.bind(base.declared.as_bytes()).execute(c).await.map(drop)
    })?;
    Ok(())
}

/// The adapters among the manifests: (manifest, what it calls its base).
///
/// # Errors
/// When a statement fails.
pub async fn among(session: &mut Session, manifests: &[NodeId]) -> Result<BTreeSet<(NodeId, Base)>> {
    let rows: Vec<(i64, String, Vec<u8>)> = look_up!(session, query_as(sql::ADAPTERS_AMONG), manifests, |one| one.0);
    Ok(rows.into_iter().map(adapter).collect())
}

/// Models that are adapters of what is called one of `names`, in repositories that `reader` may read and pushed until `as_of`: at
/// most `limit`.
///
/// # Errors
/// When a statement fails.
pub async fn of_bases(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    names: &[String],
    limit: u32,
) -> Result<BTreeSet<(NodeId, Base)>> {
    let rows: Vec<(i64, String, Vec<u8>)> =
        look_up!(session, query_as(sql::ADAPTERS_OF_BASES, reader.0, as_of.0, i64::from(limit)), names, |one| &**one);
    Ok(rows.into_iter().map(adapter).collect())
}

fn adapter((manifest, name, declared): (i64, String, Vec<u8>)) -> (NodeId, Base) {
    (NodeId(manifest), Base { name, declared: rows::text(declared) })
}

/// The names of kits, by their words with spaces between them: (manifest, name).
///
/// # Errors
/// When a statement fails.
pub async fn names(session: &mut Session, manifests: &[NodeId]) -> Result<Vec<(NodeId, String)>> {
    let found: Vec<(i64, String)> =
        look_up!(session, query_as(sql::KIT_NAMES, Field::WholeName.code()), manifests, |one| one.0);
    Ok(found.into_iter().map(|(manifest, name)| (NodeId(manifest), name)).collect())
}

/// Models whose kit is called so, in repositories that `reader` may read and pushed until `as_of`: at most `limit`.
///
/// # Errors
/// When the statement fails.
pub async fn called(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    name: &str,
    limit: u32,
) -> Result<Vec<NodeId>> {
    let found: Vec<i64> = on!(session, |c| {
        let query = sqlx::query_scalar(sql::MODELS_CALLED).bind(reader.0).bind(as_of.0).bind(name);
        query.bind(Field::WholeName.code()).bind(i64::from(limit)).fetch_all(c).await
    })?;
    Ok(found.into_iter().map(NodeId).collect())
}

/// Repositories that `reader` may read and that have a word in their names: at most `limit`.
///
/// # Errors
/// When the statement fails.
pub async fn repositories_with(
    session: &mut Session,
    reader: Reader,
    word: &str,
    limit: u32,
) -> Result<Vec<(RepositoryId, String)>> {
    let found: Vec<(i64, String)> = on!(session, |c| {
        let query = sqlx::query_as(sql::REPOSITORIES_WITH_WORD).bind(reader.0).bind(word);
        query.bind(i64::from(limit)).fetch_all(c).await
    })?;
    Ok(found.into_iter().map(|(id, name)| (RepositoryId(id), name)).collect())
}

/// Models that were pushed to the repository until `as_of`, the newest first: at most `limit`.
///
/// # Errors
/// When the statement fails.
pub async fn models_in(
    session: &mut Session,
    as_of: Micros,
    repository: RepositoryId,
    limit: u32,
) -> Result<Vec<NodeId>> {
    let found: Vec<i64> = on!(session, |c| {
        let query = sqlx::query_scalar(sql::MODELS_IN).bind(repository.0).bind(as_of.0);
        query.bind(i64::from(limit)).fetch_all(c).await
    })?;
    Ok(found.into_iter().map(NodeId).collect())
}

/// What safetensors files of layers say of their tensors: the JSON of each.
///
/// # Errors
/// When a statement fails.
pub async fn tensor_lists(session: &mut Session, layers: &[LayerId]) -> Result<Vec<Vec<u8>>> {
    let mut lists = Vec::new();
    let found: Vec<Vec<u8>> = look_up!(session, query_scalar(sql::TENSOR_LISTS), layers, |one| one.0);
    for document in found {
        lists.push(file::decompress(&document)?);
    }
    Ok(lists)
}
