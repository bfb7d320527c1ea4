//! The weights of models: which layers they are, and which files and tensors are in those.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;

use crate::{
    Error, LayerId, Micros, NodeId, Reader, Result, ScanId, Session,
    db::{look_up, on},
    file::{self, Found, Place},
    rows, sql,
};

/// A tensor, by the SHA-256 of its bytes.
pub type Sha256 = [u8; 32];

/// Adds the tensors of a file of a scan: their hashes and sizes in bytes.
///
/// # Errors
/// When a statement fails.
pub async fn add(session: &mut Session, scan: ScanId, file: u64, tensors: &[(Sha256, u64)]) -> Result<()> {
    let file = i32::try_from(file).map_err(|_| Error::Unreadable("position of a file"))?;
    let numbered: Vec<_> = (0_i32..).zip(tensors).collect();
    for chunk in numbered.chunks(256) {
        let text = sql::rows(&session.engine(), sql::TENSORS_INSERT, 6, chunk.len());
        on!(session, |c| {
            let mut query = sqlx::query(AssertSqlSafe(text)).persistent(chunk.len() == 256);
            for &(position, (sha256, size)) in chunk {
                let (head, tail) = file::columns(sha256);
                query = query.bind(scan.0).bind(file).bind(position).bind(head).bind(tail).bind(rows::signed(*size));
            }
            query.execute(c).await.map(drop)
        })?;
    }
    Ok(())
}

/// The layers of weights of each manifest.
///
/// # Errors
/// When a statement fails.
pub async fn of_manifests(session: &mut Session, manifests: &[NodeId]) -> Result<BTreeMap<NodeId, Vec<LayerId>>> {
    let mut weights: BTreeMap<NodeId, Vec<LayerId>> = BTreeMap::new();
    let found: Vec<(i64, i64)> = look_up!(session, query_as(sql::WEIGHTS_OF_MANIFESTS), manifests, |one| one.0);
    found.into_iter().for_each(|(node, layer)| weights.entry(NodeId(node)).or_default().push(LayerId(layer)));
    Ok(weights)
}

/// The models that have one of the layers as weights, in repositories that `reader` may read and pushed until `as_of`.
///
/// # Errors
/// When a statement fails.
pub async fn users(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    layers: &[LayerId],
) -> Result<BTreeMap<NodeId, Vec<LayerId>>> {
    let mut users: BTreeMap<NodeId, Vec<LayerId>> = BTreeMap::new();
    let found: Vec<(i64, i64)> = look_up!(session, query_as(sql::WEIGHT_USERS, reader.0, as_of.0), layers, |one| one.0);
    found.into_iter().for_each(|(node, layer)| users.entry(NodeId(node)).or_default().push(LayerId(layer)));
    Ok(users)
}

/// The first files of the layers.
///
/// # Errors
/// When a statement fails.
pub async fn files(session: &mut Session, layers: &[LayerId]) -> Result<Vec<Found>> {
    let mut files = Vec::new();
    for chunk in layers.chunks(64) {
        let text = sql::list(sql::FILES_OF_LAYERS_SOME, 1, sql::padded(chunk.len()));
        let found: Vec<(i64, i64, i32, i64, Vec<u8>)> = on!(session, |c| {
            let query = sqlx::query_as(AssertSqlSafe(text));
            sql::filled(chunk).fold(query, |query, one| query.bind(one.0)).fetch_all(c).await
        })?;
        for (layer, scan, position, head, tail) in found {
            let place = Place { scan: ScanId(scan), position };
            files.push(Found { layer: LayerId(layer), place, sha256: file::sha256(head, &tail)? });
        }
    }
    Ok(files)
}

/// The tensors of the layers: (layer, tensor, size in bytes).
///
/// # Errors
/// When a statement fails.
pub async fn tensors(session: &mut Session, layers: &[LayerId]) -> Result<Vec<(LayerId, Sha256, u64)>> {
    let mut tensors = Vec::new();
    let found: Vec<(i64, i64, Vec<u8>, i64)> = look_up!(session, query_as(sql::TENSORS_OF_LAYERS), layers, |one| one.0);
    for (layer, head, tail, size) in found {
        tensors.push((LayerId(layer), file::sha256(head, &tail)?, rows::unsigned(size)));
    }
    Ok(tensors)
}

/// In which layers the tensors are, but for those that more than a thousand files have.
///
/// # Errors
/// When a statement fails.
pub async fn find_tensors(session: &mut Session, tensors: &[Sha256]) -> Result<Vec<(LayerId, Sha256)>> {
    let mut places = Vec::new();
    let found: Vec<(i64, i64, Vec<u8>)> =
        look_up!(session, query_as(sql::TENSORS_FIND), tensors, |one| file::columns(one).0);
    for (layer, head, tail) in found {
        places.push((LayerId(layer), file::sha256(head, &tail)?));
    }
    // Eight bytes do not tell two of them apart for sure.
    let asked: std::collections::HashSet<_> = tensors.iter().collect();
    places.retain(|(_, tensor)| asked.contains(tensor));
    Ok(places)
}
