//! What kits are found by: words, parameters, file names, digests.
//!
//! [`split`] says what a word is, of what is stored and of what is asked alike. No engine's own text search takes part: both
//! find the same, and nothing that is asked is ever a query in a language of theirs.

use std::ops::RangeInclusive;

use oci::Name;
use sqlx::AssertSqlSafe;

use crate::{
    Field, NodeId, Reader, RepositoryId, Result, ScanId, Session,
    db::on,
    file::{self, Place},
    rows, sql,
};

/// What a kit is found by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Searchable {
    /// Its words, each with its position and where it stands.
    pub words: Vec<(i32, Field, String)>,
    /// The leaves of its parameters, by name.
    pub parameters: Vec<(String, String)>,
    /// Whether there were more than are kept.
    pub cut: bool,
}

/// What a word has to be.
#[derive(Debug, Clone, Copy)]
pub struct Word<'a> {
    /// The word, or how it begins.
    pub text: &'a str,
    /// Whether it may go on.
    pub is_prefix: bool,
}

/// A place where a word was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hit {
    /// The kit's manifest.
    pub manifest: NodeId,
    /// The repository, where the word is in its name and not in the kit.
    pub repository: Option<RepositoryId>,
    /// Where in the kit.
    pub field: Field,
    /// At which position.
    pub position: i32,
    /// Whether it is the very word and not only its beginning.
    pub is_whole: bool,
}

/// Which kits are looked at.
#[derive(Debug, Clone, Copy)]
pub enum Among<'a> {
    /// All of them, and as soon as there are so many hits, no more.
    All(usize),
    /// These.
    These(&'a [NodeId]),
}

/// Kits whose words are not there, or not all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missing {
    /// Whose words are still to be written.
    pub pending: u64,
    /// Who have more words or parameters than are kept.
    pub cut: u64,
}

/// A digest's bytes from here to there, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestRange {
    /// The least.
    pub low: Vec<u8>,
    /// The greatest.
    pub high: Vec<u8>,
    /// How many bytes a digest has; any number, if it is not said.
    pub length: Option<i32>,
}

/// What `kit.searchable` says.
const DONE: i32 = 1;
const CUT: i32 = 2;

/// How many rows one statement inserts. SQLite takes at most 32,766 values in one.
const ROWS: usize = 1000;
/// Greater than every character that a word may have.
const LAST: char = char::MAX;

/// The most bytes of a word that count.
const WORD_LIMIT: usize = 64;

/// The words of a text, in lower case: what is between signs and spaces.
pub fn split(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| clip(&word.to_lowercase(), WORD_LIMIT).to_owned())
}

/// The first characters of a text that have at most so many bytes.
#[must_use]
pub fn clip(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Writes what a kit is found by, unless that has been done.
///
/// # Errors
/// When a statement fails.
pub async fn fill(session: &mut Session, manifest: NodeId, new: &Searchable) -> Result<()> {
    let state = if new.cut { CUT } else { DONE };
    let claimed = on!(session, |c| {
        let query = sqlx::query(sql::SEARCH_CLAIM).bind(manifest.0).bind(state);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    if claimed > 0 { insert(session, manifest, new).await } else { Ok(()) }
}

async fn insert(session: &mut Session, manifest: NodeId, new: &Searchable) -> Result<()> {
    for chunk in new.words.chunks(ROWS) {
        let text = sql::rows(&session.engine(), sql::SEARCH_WORDS_INSERT, 4, chunk.len());
        on!(session, |c| {
            let mut query = sqlx::query(AssertSqlSafe(text)).persistent(false);
            for (position, field, word) in chunk {
                query = query.bind(manifest.0).bind(*position).bind(field.code()).bind(&**word);
            }
            query.execute(c).await.map(drop)
        })?;
    }
    for (number, chunk) in new.parameters.chunks(ROWS).enumerate() {
        let text = sql::rows(&session.engine(), sql::SEARCH_PARAMETERS_INSERT, 4, chunk.len());
        on!(session, |c| {
            let mut query = sqlx::query(AssertSqlSafe(text)).persistent(false);
            for (i, (pointer, value)) in chunk.iter().enumerate() {
                query = query.bind(manifest.0).bind(rows::position(number * ROWS + i));
                query = query.bind(pointer.as_bytes()).bind(value.as_bytes());
            }
            query.execute(c).await.map(drop)
        })?;
    }
    Ok(())
}

/// A kit whose words are still to be written.
#[derive(Debug, Clone)]
pub struct Unread {
    /// Its manifest.
    pub manifest: NodeId,
    /// All that was understood of it, as JSON.
    pub document: Vec<u8>,
    /// What the manifest calls its layers.
    pub paths: Vec<String>,
}

/// Some kits whose words are still to be written.
///
/// # Errors
/// When a statement fails.
pub async fn unread(session: &mut Session, limit: u32) -> Result<Vec<Unread>> {
    let found: Vec<(i64, Vec<u8>)> =
        on!(session, |c| sqlx::query_as(sql::SEARCH_UNREAD).bind(i64::from(limit)).fetch_all(c).await)?;
    let mut unread = Vec::with_capacity(found.len());
    for (manifest, document) in found {
        let paths: Vec<Vec<u8>> =
            on!(session, |c| sqlx::query_scalar(sql::SEARCH_UNREAD_PATHS).bind(manifest).fetch_all(c).await)?;
        let paths = paths.into_iter().map(rows::text).collect();
        unread.push(Unread { manifest: NodeId(manifest), document, paths });
    }
    Ok(unread)
}

/// Writes the words of a repository's name, all of them as one among them, unless that has been done.
///
/// # Errors
/// When a statement fails.
pub async fn fill_repository(session: &mut Session, repository: RepositoryId, name: &Name) -> Result<()> {
    let claimed = on!(session, |c| {
        let query = sqlx::query(sql::SEARCH_REPOSITORY_CLAIM).bind(repository.0);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    if claimed == 0 {
        return Ok(());
    }
    let words: Vec<_> = split(name).collect();
    let whole = words.join(" ");
    let text = sql::rows(&session.engine(), sql::SEARCH_REPOSITORY_WORDS_INSERT, 3, words.len() + 1);
    on!(session, |c| {
        let mut query = sqlx::query(AssertSqlSafe(text)).bind(repository.0).bind(WHOLE_NAME).bind(&*whole);
        for (position, word) in words.iter().enumerate() {
            query = query.bind(repository.0).bind(rows::position(position)).bind(&**word);
        }
        query.execute(c).await.map(drop)
    })?;
    Ok(())
}

/// The position of a repository's whole name.
const WHOLE_NAME: i32 = -1;

/// Repositories whose names' words are still to be written.
///
/// # Errors
/// When the statement fails.
pub async fn unread_repositories(session: &mut Session, limit: u32) -> Result<Vec<(RepositoryId, Name)>> {
    let found: Vec<(i64, String)> =
        on!(session, |c| sqlx::query_as(sql::SEARCH_REPOSITORIES_UNREAD).bind(i64::from(limit)).fetch_all(c).await)?;
    found.into_iter().map(|(id, name)| Ok((RepositoryId(id), rows::name(&name)?))).collect()
}

impl Word<'_> {
    fn last(self) -> String {
        let mut last = self.text.to_owned();
        last.extend(self.is_prefix.then_some(LAST));
        last
    }
}

/// Where a word stands in kits that `reader` may read.
///
/// # Errors
/// When a statement fails.
pub async fn words(
    session: &mut Session,
    reader: Reader,
    word: Word<'_>,
    fields: &RangeInclusive<Field>,
    among: Among<'_>,
) -> Result<Vec<Hit>> {
    type Row = (i64, i32, i32, bool);
    let last = word.last();
    let (first_field, last_field) = (fields.start().code(), fields.end().code());
    let mut hits = Vec::new();
    let mut keep = |found: Vec<Row>| -> Result<()> {
        for (manifest, position, field, is_whole) in found {
            let (manifest, field) = (NodeId(manifest), Field::from_code(field)?);
            hits.push(Hit { manifest, repository: None, field, position, is_whole });
        }
        Ok(())
    };
    match among {
        Among::All(limit) => keep(on!(session, |c| {
            let query = sqlx::query_as(sql::SEARCH_WORD).bind(reader.0).bind(word.text).bind(&*last);
            query.bind(first_field).bind(last_field).bind(most(limit)).fetch_all(c).await
        })?)?,
        Among::These(manifests) => {
            for chunk in manifests.chunks(sql::LIST) {
                let width = sql::padded(chunk.len());
                let text = sql::list(sql::SEARCH_WORD_AMONG, 6, width);
                keep(on!(session, |c| {
                    let query = sqlx::query_as(AssertSqlSafe(text)).bind(reader.0).bind(word.text).bind(&*last);
                    let mut query = query.bind(first_field).bind(last_field);
                    for one in sql::filled(chunk) {
                        query = query.bind(one.0);
                    }
                    query.fetch_all(c).await
                })?)?;
            }
        }
    }
    Ok(hits)
}

/// The kits in the repositories that `reader` may read and whose names have a word.
///
/// # Errors
/// When a statement fails.
pub async fn repository_words(
    session: &mut Session,
    reader: Reader,
    word: Word<'_>,
    among: Among<'_>,
) -> Result<Vec<Hit>> {
    named(session, reader, word, 0, among).await
}

/// The kits in the repositories that `reader` may read and whose whole name, as one word, is this.
///
/// # Errors
/// When a statement fails.
pub async fn repositories_named(
    session: &mut Session,
    reader: Reader,
    name: &str,
    among: Among<'_>,
) -> Result<Vec<Hit>> {
    let hits = named(session, reader, Word { text: name, is_prefix: false }, WHOLE_NAME, among).await?;
    Ok(hits.into_iter().filter(|hit| hit.position == WHOLE_NAME).collect())
}

async fn named(session: &mut Session, reader: Reader, word: Word<'_>, from: i32, among: Among<'_>) -> Result<Vec<Hit>> {
    type Row = (i64, i64, i32, bool);
    let last = word.last();
    let mut hits = Vec::new();
    let mut keep = |found: Vec<Row>| {
        hits.extend(found.into_iter().map(|(manifest, repository, position, is_whole)| Hit {
            manifest: NodeId(manifest),
            repository: Some(RepositoryId(repository)),
            field: Field::Name,
            position,
            is_whole,
        }));
    };
    match among {
        Among::All(limit) => keep(on!(session, |c| {
            let query = sqlx::query_as(sql::SEARCH_REPOSITORY_WORD).bind(reader.0).bind(word.text).bind(&*last);
            query.bind(from).bind(most(limit)).fetch_all(c).await
        })?),
        Among::These(manifests) => {
            for chunk in manifests.chunks(sql::LIST) {
                let width = sql::padded(chunk.len());
                let text = sql::list(sql::SEARCH_REPOSITORY_WORD_AMONG, 5, width);
                keep(on!(session, |c| {
                    let query = sqlx::query_as(AssertSqlSafe(text)).bind(reader.0).bind(word.text).bind(&*last);
                    let mut query = query.bind(from);
                    for one in sql::filled(chunk) {
                        query = query.bind(one.0);
                    }
                    query.fetch_all(c).await
                })?);
            }
        }
    }
    Ok(hits)
}

fn most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The kits that have a parameter, or one below it; with a value, those where it has that, in one of two spellings.
///
/// # Errors
/// When a statement fails.
pub async fn parameter(
    session: &mut Session,
    reader: Reader,
    pointer: &str,
    value: Option<[&str; 2]>,
    among: Among<'_>,
) -> Result<Vec<NodeId>> {
    // What lies below a name begins with it and a dot; a slash is what comes after the dot.
    let (below, beyond) = (format!("{pointer}."), format!("{pointer}/"));
    let (statement, statement_among, [one, other]) = match value {
        None => (sql::SEARCH_PARAMETER, sql::SEARCH_PARAMETER_AMONG, [&*below, &*beyond]),
        Some(value) => (sql::SEARCH_PARAMETER_VALUE, sql::SEARCH_PARAMETER_VALUE_AMONG, value),
    };
    let (pointer, one, other) = (pointer.as_bytes(), one.as_bytes(), other.as_bytes());
    let mut found: Vec<i64> = Vec::new();
    match among {
        Among::All(limit) => {
            found = on!(session, |c| {
                let query = sqlx::query_scalar(statement).bind(reader.0).bind(pointer).bind(one).bind(other);
                query.bind(most(limit)).fetch_all(c).await
            })?
        }
        Among::These(manifests) => {
            for chunk in manifests.chunks(sql::LIST) {
                let width = sql::padded(chunk.len());
                let text = sql::list(statement_among, 5, width);
                let more: Vec<i64> = on!(session, |c| {
                    let query = sqlx::query_scalar(AssertSqlSafe(text)).bind(reader.0).bind(pointer);
                    let mut query = query.bind(one).bind(other);
                    for one in sql::filled(chunk) {
                        query = query.bind(one.0);
                    }
                    query.fetch_all(c).await
                })?;
                found.extend(more);
            }
        }
    }
    Ok(found.into_iter().map(NodeId).collect())
}

/// The manifests whose own digest lies in the range, or that of a blob which they name.
///
/// # Errors
/// When the statement fails.
pub async fn digest_holders(
    session: &mut Session,
    reader: Reader,
    range: &DigestRange,
    limit: usize,
) -> Result<Vec<NodeId>> {
    let found: Vec<i64> = on!(session, |c| {
        let query = sqlx::query_scalar(sql::SEARCH_DIGEST).bind(reader.0).bind(&*range.low).bind(&*range.high);
        query.bind(range.length.unwrap_or_default()).bind(most(limit)).fetch_all(c).await
    })?;
    Ok(found.into_iter().map(NodeId).collect())
}

/// The manifests in whose layers is a file whose SHA-256 lies in the range.
///
/// # Errors
/// When the statement fails.
pub async fn file_digest_holders(
    session: &mut Session,
    reader: Reader,
    range: &DigestRange,
    limit: usize,
) -> Result<Vec<NodeId>> {
    if range.length.is_some_and(|length| length != 32) {
        return Ok(Vec::new());
    }
    // All of a range begin with the same three bytes at least, so their heads are in order as numbers with a sign too.
    let (mut low, mut high) = ([0; 32], [0xff; 32]);
    low.iter_mut().zip(&range.low).for_each(|(to, from)| *to = *from);
    high.iter_mut().zip(&range.high).for_each(|(to, from)| *to = *from);
    let ((low_head, low_tail), (high_head, high_tail)) = (file::columns(&low), file::columns(&high));
    let found: Vec<i64> = on!(session, |c| {
        let query = sqlx::query_scalar(sql::SEARCH_FILE_DIGEST).bind(reader.0).bind(low_head).bind(high_head);
        query.bind(low_tail).bind(high_tail).bind(most(limit)).fetch_all(c).await
    })?;
    Ok(found.into_iter().map(NodeId).collect())
}

/// The manifests in whose layers is a file of this name, or that call a layer or a component so. Upper and lower case (of
/// ASCII, for paths are bytes) are the same; folders do not count.
///
/// # Errors
/// When a statement fails.
pub async fn file_holders(session: &mut Session, reader: Reader, name: &str, among: Among<'_>) -> Result<Vec<NodeId>> {
    let mut found = scanned_file_holders(session, reader, name).await?;
    if let Some(word) = file_name(name) {
        let word = Word { text: &word, is_prefix: false };
        let called = words(session, reader, word, &(Field::File..=Field::File), among).await?;
        found.extend(called.iter().map(|hit| hit.manifest));
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The name of a file without its folders, as a word; nothing if it is none, or one that no word can be.
#[must_use]
pub fn file_name(path: &str) -> Option<String> {
    let name = path.rsplit('/').next().unwrap_or_default();
    // Postgres's text refuses NUL.
    let is_word = (1..=FILE_NAME_LIMIT).contains(&name.len()) && !name.contains('\0');
    is_word.then(|| name.to_ascii_lowercase())
}

/// The longest name that a file system has, in bytes.
pub const FILE_NAME_LIMIT: usize = 255;

/// How many places of a name are looked at: what more of them hold is found by further words.
const PLACES: usize = 2000;

/// The manifests in whose scanned layers is a file of this name.
async fn scanned_file_holders(session: &mut Session, reader: Reader, name: &str) -> Result<Vec<NodeId>> {
    let first = Place { scan: ScanId(0), position: -1 };
    let limit = u32::try_from(PLACES).unwrap_or(u32::MAX);
    let named = file::find_named(session, reader, name.as_bytes(), first, limit).await?;
    let places: Vec<_> = named.iter().map(|found| found.place).collect();
    let entries = file::entries_at(session, &places).await?;
    // A layer that is one file has no name in itself: the words of the manifest that gives it one find that manifest.
    let is_named = |path: &[u8]| file::has_name(path, name.as_bytes());
    let held = named.iter().filter(|found| entries.get(&found.place).is_some_and(|entry| is_named(&entry.path)));
    let mut layers: Vec<_> = held.map(|found| found.layer).collect();
    layers.sort_unstable();
    layers.dedup();
    let mut found = Vec::new();
    for chunk in layers.chunks(sql::LIST) {
        let width = sql::padded(chunk.len());
        let text = sql::list(sql::SEARCH_LAYERS, 2, width);
        let more: Vec<i64> = on!(session, |c| {
            let query = sqlx::query_scalar(AssertSqlSafe(text)).bind(reader.0);
            sql::filled(chunk).fold(query, |query, one| query.bind(one.0)).fetch_all(c).await
        })?;
        found.extend(more.into_iter().map(NodeId));
    }
    Ok(found)
}

/// How many kits are not found by all their words.
///
/// # Errors
/// When the statement fails.
pub async fn missing(session: &mut Session, reader: Reader) -> Result<Missing> {
    let found: Vec<(i32, i64)> =
        on!(session, |c| sqlx::query_as(sql::SEARCH_MISSING).bind(reader.0).fetch_all(c).await)?;
    let mut missing = Missing::default();
    for (state, kits) in found {
        *if state == CUT { &mut missing.cut } else { &mut missing.pending } += rows::unsigned(kits);
    }
    Ok(missing)
}
