//! The MD5s of files, where scans were asked to compute them.
//!
//! An MD5 is a name by which others know a file, and nothing that identifies one: whoever wants to can make two files of it.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;

use crate::{
    Result, ScanId, Session,
    db::on,
    file::{self, Found, FoundRow, Place},
    sql,
};

/// An MD5.
pub type Md5 = [u8; 16];

/// How many rows one statement inserts.
const ROWS_A_STATEMENT: usize = 1024;

/// The columns that hold one: its two halves as numbers.
fn columns(md5: &Md5) -> (i64, i64) {
    let half = |bytes: &[u8]| bytes.iter().fold(0, |number, &byte| number << 8 | i64::from(byte));
    let (head, tail) = md5.split_at(8);
    (half(head), half(tail))
}

fn md5((head, tail): (i64, i64)) -> Md5 {
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&head.to_be_bytes());
    hash[8..].copy_from_slice(&tail.to_be_bytes());
    hash
}

/// Adds the MD5s of files of a scan, by their positions.
///
/// # Errors
/// When a statement fails.
pub(crate) async fn add(session: &mut Session, scan: ScanId, mut hashed: Vec<(i32, Md5)>) -> Result<()> {
    // Neighbours in the index, as in [`file::add`].
    hashed.sort_unstable_by_key(|&(position, md5)| (columns(&md5), position));
    for chunk in hashed.chunks(ROWS_A_STATEMENT) {
        let text = sql::rows(&session.engine(), sql::FILE_MD5S_INSERT, 4, chunk.len());
        let whole = chunk.len() == ROWS_A_STATEMENT;
        on!(session, |c| {
            let mut query = sqlx::query(AssertSqlSafe(text)).persistent(whole);
            for (position, md5) in chunk {
                let (head, tail) = columns(md5);
                query = query.bind(scan.0).bind(*position).bind(head).bind(tail);
            }
            query.execute(c).await.map(drop)
        })?;
    }
    Ok(())
}

/// The distinct files that have this MD5, in layers whose facts serve.
///
/// # Errors
/// When the statement fails.
pub async fn files(session: &mut Session, md5: &Md5) -> Result<Vec<[u8; 32]>> {
    let (head, tail) = columns(md5);
    let found: Vec<(i64, Vec<u8>)> =
        on!(session, |c| sqlx::query_as(sql::FILES_OF_MD5).bind(head).bind(tail).fetch_all(c).await)?;
    found.into_iter().map(|(head, tail)| file::sha256(head, &tail)).collect()
}

/// The MD5 of a file, if it is known.
///
/// # Errors
/// When the statement fails.
pub async fn of_file(session: &mut Session, sha256: &[u8; 32]) -> Result<Option<Md5>> {
    let (head, tail) = file::columns(sha256);
    let found: Option<(i64, i64)> =
        on!(session, |c| sqlx::query_as(sql::MD5_OF_FILE).bind(head).bind(tail).fetch_optional(c).await)?;
    Ok(found.map(md5))
}

/// The MD5s of those of the files of which they are known.
///
/// # Errors
/// When a statement fails.
pub async fn of_files(session: &mut Session, files: &BTreeSet<[u8; 32]>) -> Result<Vec<Md5>> {
    let files: Vec<_> = files.iter().collect();
    let mut known = BTreeSet::new();
    for chunk in files.chunks(sql::LIST) {
        let text = sql::list(sql::MD5S_OF_FILES, 1, sql::padded(chunk.len()));
        let found: Vec<(i64, Vec<u8>, i64, i64)> = on!(session, |c| {
            let query = sqlx::query_as(AssertSqlSafe(text));
            sql::filled(chunk).fold(query, |query, file| query.bind(file::columns(file).0)).fetch_all(c).await
        })?;
        for (head, tail, first, second) in found {
            // Eight bytes do not tell two files apart for sure.
            if chunk.contains(&&file::sha256(head, &tail)?) {
                known.insert(md5((first, second)));
            }
        }
    }
    Ok(known.into_iter().collect())
}

/// Where files of this MD5 are, at most `limit` places after one, in order.
///
/// # Errors
/// When the statement fails.
pub async fn places(session: &mut Session, md5: &Md5, after: Place, limit: u32) -> Result<Vec<Found>> {
    let (head, tail) = columns(md5);
    let rows: Vec<FoundRow> = on!(session, |c| {
        let query = sqlx::query_as(sql::PLACES_OF_MD5).bind(head).bind(tail);
        query.bind(after.scan.0).bind(after.position).bind(i64::from(limit)).fetch_all(c).await
    })?;
    rows.into_iter().map(file::found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_two_columns() {
        for first in [0, 0x7f, 0x80, 0xff] {
            let mut hash = [0xab; 16];
            (hash[0], hash[8]) = (first, !first);
            assert_eq!(md5(columns(&hash)), hash);
        }
    }
}
