//! The files in layers: found by content and by name, with their paths kept in compressed blocks.
//!
//! Of a file, a row of `layer_file` holds what it is found by. Its size and its path, which only answers need, stand in a
//! block of `layer_path` together with those of its neighbours. That takes a third of the room.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use oci::{Algorithm, Hasher};
use sqlx::AssertSqlSafe;
use zstd::bulk::Decompressor;

use crate::{
    Error, LayerId, Micros, NodeId, Reader, Result, ScanId, Session,
    db::{look_up, on},
    md5, rows, sql,
};

/// A file in a layer, or inside of one of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path: bytes, for nothing says that they are text.
    pub path: Vec<u8>,
    /// Its size in bytes.
    pub size: u64,
    /// The hash of its content.
    pub sha256: [u8; 32],
    /// Its MD5, where the scan computed that.
    pub md5: Option<[u8; 16]>,
    /// How many files it is inside of.
    pub depth: u32,
    /// Whether files were found inside of it.
    pub container: bool,
}

/// Where a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The scan that found it.
    pub scan: ScanId,
    /// Its position among the files of the scan.
    pub position: i32,
}

/// What a block says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its size in bytes.
    pub size: u64,
    /// How many files it is inside of.
    pub depth: u32,
    /// Its path.
    pub path: Vec<u8>,
}

/// A file that was looked for, in one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The layer.
    pub layer: LayerId,
    /// Where in it.
    pub place: Place,
    /// Which file.
    pub sha256: [u8; 32],
}

/// A file that was looked for, as often as it is in one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copies {
    /// The first of them.
    pub first: Found,
    /// How many there are.
    pub copies: u64,
}

/// A layer, as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Placed {
    /// The layer.
    pub layer: LayerId,
    /// What the manifest calls the file or folder in it.
    pub path: Option<Vec<u8>>,
}

/// How many files a block of paths describes. A position in the first files of a scan tells its block; those that an older version
/// wrote have a block each.
const BLOCK: i32 = 1024;
/// The same as a number of files.
pub const BLOCK_SIZE: usize = BLOCK.unsigned_abs() as usize;
/// How many files are best added at once: sorted, so many share the pages of an index of millions, and twice as many are stored
/// in a second as of an eighth of them. On SQLite nobody else writes meanwhile, which takes a third of a second.
pub const ADDED_AT_ONCE: usize = 32 * BLOCK_SIZE;
/// How many rows one statement inserts. SQLite takes at most 32,766 values in one.
const ROWS_A_STATEMENT: usize = 1024;
/// How many blocks are fetched at once.
const BLOCKS_AT_ONCE: usize = 256;
/// The most bytes that a block unpacks to: that many paths of the longest kind.
const LARGEST_BLOCK: usize = BLOCK_SIZE * (70 << 10);

/// The columns that hold a hash: the first eight bytes as a number, and the others.
#[must_use]
pub fn columns(sha256: &[u8; 32]) -> (i64, &[u8]) {
    let (head, tail) = sha256.split_at(8);
    (head.iter().fold(0, |number, &byte| number << 8 | i64::from(byte)), tail)
}

pub(crate) fn sha256(head: i64, tail: &[u8]) -> Result<[u8; 32]> {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&head.to_be_bytes());
    hash.get_mut(8..).filter(|rest| rest.len() == tail.len()).ok_or(Error::Unreadable("sha256"))?.copy_from_slice(tail);
    Ok(hash)
}

/// The number by which a file's name is found, whatever the folder and the case. Different names may have the same.
#[must_use]
pub fn name_key(path: &[u8]) -> Option<i32> {
    let lower = lower_name(path);
    if lower.is_empty() {
        return None;
    }
    let digest = Hasher::digest(Algorithm::Sha256, lower.as_bytes());
    let hash = digest.hash();
    Some(hash.iter().take(4).fold(0, |number, &byte| number << 8 | i32::from(byte)))
}

/// Whether a file has this name, whatever the folder and the case.
#[must_use]
pub fn has_name(path: &[u8], name: &[u8]) -> bool {
    lower_name(path) == lower_name(name)
}

fn lower_name(path: &[u8]) -> String {
    String::from_utf8_lossy(name(path)).to_lowercase()
}

/// The name of a file without folders, nor the file that it is inside of.
#[must_use]
pub fn name(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    let start = path[..end].iter().rposition(|&byte| byte == b'/' || byte == b'!').map_or(0, |slash| slash + 1);
    &path[start..end]
}

/// Adds files to a scan, the first of them at `position`, a multiple of [`BLOCK_SIZE`]. They are found only once the scan is
/// finished.
///
/// # Errors
/// When a statement fails.
pub async fn add(session: &mut Session, scan: ScanId, position: u64, files: &[File]) -> Result<()> {
    let first = i32::try_from(position).map_err(|_| Error::Unreadable("position of a file"))?;
    let mut sorted: Vec<_> =
        files.iter().zip(first..).map(|(file, position)| (columns(&file.sha256), position, file)).collect();
    // Neighbours in the index, where each row would else go to a page of its own.
    sorted.sort_unstable_by_key(|&((head, _), position, _)| (head, position));
    for chunk in sorted.chunks(ROWS_A_STATEMENT) {
        let text = sql::rows(&session.engine(), sql::LAYER_FILES_INSERT, 5, chunk.len());
        let whole = chunk.len() == ROWS_A_STATEMENT;
        on!(session, |c| {
            let mut query = sqlx::query(AssertSqlSafe(text)).persistent(whole);
            for &((head, tail), position, file) in chunk {
                query = query.bind(scan.0).bind(head).bind(position).bind(name_key(&file.path)).bind(tail);
            }
            query.execute(c).await.map(drop)
        })?;
    }
    let hashed = sorted.iter().filter_map(|&(_, position, file)| Some((position, file.md5?)));
    md5::add(session, scan, hashed.collect()).await?;
    let containers = files.iter().zip(first..).filter(|(file, _)| file.container).map(|(_, position)| position);
    add_containers(session, scan, &Vec::from_iter(containers)).await?;
    for (block, first) in files.chunks(BLOCK_SIZE).zip((first..).step_by(BLOCK_SIZE)) {
        let payload = pack(block).map_err(|_| Error::Unreadable("block of paths"))?;
        on!(session, |c| {
            let query = sqlx::query(sql::LAYER_PATH_INSERT).bind(scan.0).bind(first).bind(&payload[..]);
            query.execute(c).await.map(drop)
        })?;
    }
    Ok(())
}

/// Notes which files of a scan others were found inside of, by their positions.
async fn add_containers(session: &mut Session, scan: ScanId, positions: &[i32]) -> Result<()> {
    for chunk in positions.chunks(ROWS_A_STATEMENT) {
        let text = sql::rows(&session.engine(), sql::FILE_CONTAINERS_INSERT, 2, chunk.len());
        let whole = chunk.len() == ROWS_A_STATEMENT;
        on!(session, |c| {
            let query = sqlx::query(AssertSqlSafe(text)).persistent(whole);
            let query = chunk.iter().fold(query, |query, &position| query.bind(scan.0).bind(position));
            query.execute(c).await.map(drop)
        })?;
    }
    Ok(())
}

/// Adds what a file of a scan says of itself, in JSON.
///
/// # Errors
/// When the statement fails.
pub async fn add_metadata(
    session: &mut Session,
    scan: ScanId,
    position: u64,
    format: &str,
    document: &[u8],
) -> Result<()> {
    let position = i32::try_from(position).map_err(|_| Error::Unreadable("position of a file"))?;
    let document = zstd::bulk::compress(document, 3).map_err(|_| Error::Unreadable("metadata"))?;
    on!(session, |c| {
        let query = sqlx::query(sql::FILE_METADATA_INSERT).bind(scan.0).bind(position).bind(format);
        query.bind(&document[..]).execute(c).await.map(drop)
    })?;
    Ok(())
}

/// `z`, and compressed: for each file its size, its depth, how many bytes of its path are those of the one before, how many
/// others follow, and these. Numbers are LEB128.
fn pack(files: &[File]) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::with_capacity(files.len() * 32);
    let mut before: &[u8] = b"";
    for file in files {
        let shared = before.iter().zip(&file.path).take_while(|(a, b)| a == b).count();
        for number in [file.size, u64::from(file.depth), shared as u64, (file.path.len() - shared) as u64] {
            put(&mut plain, number);
        }
        plain.extend_from_slice(&file.path[shared..]);
        before = &file.path;
    }
    let mut packed = zstd::bulk::compress(&plain, 3)?;
    packed.insert(0, b'z');
    Ok(packed)
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// The entries of a block that are `wanted`, with their positions in it. One decompressor serves very many blocks: to make one
/// costs more than to unpack one.
fn unpack(
    zstandard: &mut Decompressor<'_>,
    payload: &[u8],
    wanted: impl Fn(usize) -> bool,
) -> Result<Vec<(usize, Entry)>> {
    let broken = || Error::Unreadable("block of paths");
    match payload.split_first() {
        Some((b'z', packed)) => {
            let plain = Decompressor::upper_bound(packed).filter(|&size| size <= LARGEST_BLOCK);
            let plain = zstandard.decompress(packed, plain.ok_or_else(broken)?).map_err(|_| broken())?;
            entries(&plain, wanted).ok_or_else(broken)
        }
        // What an older version wrote: one file, its size in decimal digits.
        Some((b'-', plain)) => {
            let slash = plain.iter().position(|&byte| byte == b'/').ok_or_else(broken)?;
            let size = std::str::from_utf8(&plain[..slash]).ok().and_then(|digits| digits.parse().ok());
            Ok(vec![(0, Entry { size: size.ok_or_else(broken)?, depth: 0, path: plain[slash + 1..].to_vec() })])
        }
        _ => Err(broken()),
    }
}

fn entries(mut plain: &[u8], wanted: impl Fn(usize) -> bool) -> Option<Vec<(usize, Entry)>> {
    let mut entries = Vec::new();
    let mut path: Vec<u8> = Vec::new();
    for position in 0.. {
        if plain.is_empty() {
            break;
        }
        let size = take(&mut plain)?;
        let depth = u32::try_from(take(&mut plain)?).ok()?;
        let shared = usize::try_from(take(&mut plain)?).ok()?;
        let length = usize::try_from(take(&mut plain)?).ok()?;
        let rest = plain.split_off(..length)?;
        if shared > path.len() {
            return None;
        }
        path.truncate(shared);
        path.extend_from_slice(rest);
        if wanted(position) {
            entries.push((position, Entry { size, depth, path: path.clone() }));
        }
    }
    Some(entries)
}

/// What is known of the files at these places.
///
/// # Errors
/// When a statement fails.
pub async fn entries_at(session: &mut Session, places: &[Place]) -> Result<HashMap<Place, Entry>> {
    let mut wanted: BTreeMap<i32, BTreeMap<ScanId, Vec<Place>>> = BTreeMap::new();
    for &place in places {
        let first = place.position - place.position.rem_euclid(BLOCK);
        wanted.entry(first).or_default().entry(place.scan).or_default().push(place);
    }
    let mut entries = HashMap::with_capacity(places.len());
    let mut zstandard = Decompressor::new().map_err(|_| Error::Unreadable("block of paths"))?;
    for (first, scans) in wanted {
        let ids: Vec<_> = scans.keys().copied().collect();
        for chunk in ids.chunks(BLOCKS_AT_ONCE) {
            let last = chunk.iter().flat_map(|scan| &scans[scan]).map(|place| place.position).max().unwrap_or(first);
            let text = sql::list(sql::LAYER_PATHS, 3, sql::padded(chunk.len()));
            let blocks: Vec<(i64, i32, Vec<u8>)> = on!(session, |c| {
                let query = sqlx::query_as(AssertSqlSafe(text)).bind(first).bind(last);
                sql::filled(chunk).fold(query, |query, scan| query.bind(scan.0)).fetch_all(c).await
            })?;
            for (scan, first, payload) in blocks {
                let Some(places) = scans.get(&ScanId(scan)) else { continue };
                let at = |place: &Place| usize::try_from(place.position - first).ok();
                let wanted: HashMap<_, _> = places.iter().filter_map(|place| Some((at(place)?, *place))).collect();
                let block = unpack(&mut zstandard, &payload, |position| wanted.contains_key(&position))?;
                entries.extend(block.into_iter().filter_map(|(at, entry)| Some((*wanted.get(&at)?, entry))));
            }
        }
    }
    Ok(entries)
}

/// The files of a layer by the scan whose facts serve, in order: at most `limit` from position `from` on. Without their MD5s.
///
/// # Errors
/// When a statement fails.
pub async fn of_layer(session: &mut Session, layer: LayerId, from: i32, limit: u32) -> Result<Vec<(i32, File)>> {
    let Some(scan) = crate::graph::current_scan(session, layer).await? else { return Ok(Vec::new()) };
    let found: Vec<(i32, i64, Vec<u8>, bool)> = on!(session, |c| {
        let query = sqlx::query_as(sql::FILES_OF_SCAN).bind(scan.0).bind(from);
        query.bind(i64::from(limit)).fetch_all(c).await
    })?;
    let places: Vec<_> = found.iter().map(|&(position, ..)| Place { scan, position }).collect();
    let mut entries = entries_at(session, &places).await?;
    let mut files = Vec::with_capacity(found.len());
    for (position, head, tail, container) in found {
        let entry = entries.remove(&Place { scan, position }).ok_or(Error::Unreadable("path of a file"))?;
        let Entry { size, depth, path } = entry;
        files.push((position, File { path, size, depth, sha256: sha256(head, &tail)?, md5: None, container }));
    }
    Ok(files)
}

/// The distinct files of layers, by the scans whose facts serve.
///
/// # Errors
/// When a statement fails.
pub async fn distinct(session: &mut Session, layers: &[LayerId]) -> Result<BTreeSet<[u8; 32]>> {
    listed(session, sql::FILES_OF_LAYERS, layers).await
}

/// The same without those that others were found inside of: what is in an archive counts, not the archive beside it. Whether a
/// file is one is told by its bytes, so that it is none of them wherever it is.
///
/// # Errors
/// When a statement fails.
pub async fn leaves(session: &mut Session, layers: &[LayerId]) -> Result<BTreeSet<[u8; 32]>> {
    Ok(leaves_and_containers(session, layers).await?.0)
}

/// [`leaves`], and beside them the distinct files that others were found inside of.
///
/// # Errors
/// When a statement fails.
pub async fn leaves_and_containers(
    session: &mut Session,
    layers: &[LayerId],
) -> Result<(BTreeSet<[u8; 32]>, BTreeSet<[u8; 32]>)> {
    let containers = listed(session, sql::CONTAINERS_OF_LAYERS, layers).await?;
    let mut files = distinct(session, layers).await?;
    files.retain(|file| !containers.contains(file));
    Ok((files, containers))
}

async fn listed(session: &mut Session, text: &str, layers: &[LayerId]) -> Result<BTreeSet<[u8; 32]>> {
    let mut files = BTreeSet::new();
    let found: Vec<(i64, Vec<u8>)> = look_up!(session, query_as(text), layers, |one| one.0);
    for (head, tail) in found {
        files.insert(sha256(head, &tail)?);
    }
    Ok(files)
}

/// How many [`leaves`] there are in layers together.
///
/// # Errors
/// When the statement fails.
pub async fn count_leaves(session: &mut Session, layers: &[LayerId]) -> Result<u64> {
    let [layer] = layers else { return Ok(leaves(session, layers).await?.len() as u64) };
    let count: i64 = on!(session, |c| sqlx::query_scalar(sql::COUNT_LEAVES_OF_LAYER).bind(layer.0).fetch_one(c).await)?;
    Ok(rows::unsigned(count))
}

/// In which layers any of the files are, as far as their facts serve.
///
/// # Errors
/// When a statement fails.
pub async fn find(session: &mut Session, files: &[[u8; 32]]) -> Result<Vec<Copies>> {
    let mut places = Vec::new();
    for chunk in files.chunks(sql::LIST) {
        let width = sql::padded(chunk.len());
        let text = sql::list(sql::FILES_FIND, 1, width);
        let rows: Vec<(i64, i64, i32, i64, Vec<u8>, i64)> = on!(session, |c| {
            let query = sqlx::query_as(AssertSqlSafe(text));
            sql::filled(chunk).fold(query, |query, file| query.bind(columns(file).0)).fetch_all(c).await
        })?;
        // Eight bytes do not tell two files apart for sure.
        let asked: BTreeSet<_> = chunk.iter().collect();
        for (layer, scan, position, head, tail, copies) in rows {
            let found = Copies { first: found((layer, scan, position, head, tail))?, copies: rows::unsigned(copies) };
            places.extend(Some(found).filter(|found| asked.contains(&found.first.sha256)));
        }
    }
    Ok(places)
}

/// Where files of this name may be, at most `limit` of them after a place, in order: different names may have one key. A layer
/// that is one file has the name that manifests give it which `reader` may see.
///
/// # Errors
/// When the statement fails.
pub async fn find_named(
    session: &mut Session,
    reader: Reader,
    name: &[u8],
    after: Place,
    limit: u32,
) -> Result<Vec<Found>> {
    let Some(key) = name_key(name) else { return Ok(Vec::new()) };
    let rows: Vec<FoundRow> = on!(session, |c| {
        let query = sqlx::query_as(sql::FILES_NAMED).bind(reader.0).bind(key).bind(after.scan.0).bind(after.position);
        query.bind(i64::from(limit)).fetch_all(c).await
    })?;
    rows.into_iter().map(found).collect()
}

/// Where a file is, at most `limit` places after one, in order.
///
/// # Errors
/// When the statement fails.
pub async fn find_content(session: &mut Session, sha256: &[u8; 32], after: Place, limit: u32) -> Result<Vec<Found>> {
    let (head, tail) = columns(sha256);
    let rows: Vec<FoundRow> = on!(session, |c| {
        let query = sqlx::query_as(sql::FILES_OF_CONTENT).bind(head).bind(tail);
        query.bind(after.scan.0).bind(after.position).bind(i64::from(limit)).fetch_all(c).await
    })?;
    rows.into_iter().map(found).collect()
}

/// (layer, scan, position, the two columns of the hash)
pub(crate) type FoundRow = (i64, i64, i32, i64, Vec<u8>);

pub(crate) fn found((layer, scan, position, head, tail): FoundRow) -> Result<Found> {
    let place = Place { scan: ScanId(scan), position };
    Ok(Found { layer: LayerId(layer), place, sha256: sha256(head, &tail)? })
}

/// In how many repositories that `reader` may read each of the files was at `as_of`, or at least `enough`; where in none, it is left out.
///
/// # Errors
/// When a statement fails.
pub async fn spread(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    files: &[[u8; 32]],
    enough: u64,
) -> Result<HashMap<[u8; 32], u64>> {
    let mut spread: HashMap<[u8; 32], BTreeSet<i64>> = HashMap::new();
    let mut many = Vec::new();
    for chunk in files.chunks(sql::LIST) {
        let width = sql::padded(chunk.len());
        let counted: Vec<(i64, i64)> = on!(session, |c| {
            let query = sqlx::query_as(AssertSqlSafe(sql::list(sql::FILES_COUNT, 1, width)));
            sql::filled(chunk).fold(query, |query, file| query.bind(columns(file).0)).fetch_all(c).await
        })?;
        let counted: HashMap<_, _> = counted.into_iter().collect();
        let (few, more): (Vec<&[u8; 32]>, Vec<&[u8; 32]>) =
            chunk.iter().partition(|file| counted.get(&columns(file).0).is_none_or(|&places| places <= MANY));
        many.extend(more);
        if few.is_empty() {
            continue;
        }
        let width = sql::padded(few.len());
        let found: Vec<(i64, Vec<u8>, i64)> = on!(session, |c| {
            let query = sqlx::query_as(AssertSqlSafe(sql::list(sql::FILES_SPREAD, 3, width)));
            let query = query.bind(reader.0).bind(as_of.0);
            sql::filled(&few).fold(query, |query, file| query.bind(columns(file).0)).fetch_all(c).await
        })?;
        for (head, tail, repository) in found {
            spread.entry(sha256(head, &tail)?).or_default().insert(repository);
        }
    }
    for file in many {
        // The first places of what is everywhere tell that it is; else all of them count.
        for places in [MANY, i64::MAX] {
            let (head, tail) = columns(file);
            let found: Vec<i64> = on!(session, |c| {
                let query = sqlx::query_scalar(sql::FILE_SPREAD).bind(reader.0).bind(as_of.0).bind(head).bind(tail);
                query.bind(places).fetch_all(c).await
            })?;
            let known = spread.entry(*file).or_default();
            known.extend(found);
            if known.len() as u64 >= enough {
                break;
            }
        }
    }
    let asked: BTreeSet<_> = files.iter().collect();
    let counted = spread.into_iter().filter(|(file, _)| asked.contains(file));
    Ok(counted.map(|(file, repositories)| (file, repositories.len() as u64)).collect())
}

/// How many places are looked at all together.
const MANY: i64 = 2000;

/// The manifests that `reader` may see and that have one of the layers, with the position of the component that it is in.
///
/// # Errors
/// When a statement fails.
pub async fn users_of_layers(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    layers: &[LayerId],
) -> Result<Vec<(LayerId, NodeId, Option<i32>)>> {
    let found: Vec<(i64, i64, Option<i32>)> =
        look_up!(session, query_as(sql::USERS_OF_LAYERS, reader.0, as_of.0), layers, |one| one.0);
    Ok(found.into_iter().map(|(layer, manifest, component)| (LayerId(layer), NodeId(manifest), component)).collect())
}

/// The layers of manifests, with the position of the component that each is in, in the order that they have there.
///
/// # Errors
/// When a statement fails.
pub async fn layers_of_manifests(
    session: &mut Session,
    manifests: &[NodeId],
) -> Result<Vec<(NodeId, Option<i32>, Placed)>> {
    type Row = (i64, Option<i32>, i64, Option<Vec<u8>>);
    let found: Vec<Row> = look_up!(session, query_as(sql::LAYERS_OF_MANIFESTS), manifests, |one| one.0);
    let placed =
        |(node, component, layer, path): Row| (NodeId(node), component, Placed { layer: LayerId(layer), path });
    Ok(found.into_iter().map(placed).collect())
}

/// What the files of a layer say of themselves: (position, format, JSON), in order.
///
/// # Errors
/// When the statement fails.
pub async fn metadata_of_layer(session: &mut Session, layer: LayerId) -> Result<Vec<(i32, String, Vec<u8>)>> {
    let found: Vec<(i32, String, Vec<u8>)> =
        on!(session, |c| sqlx::query_as(sql::FILE_METADATA_OF_LAYER).bind(layer.0).fetch_all(c).await)?;
    found.into_iter().map(|(position, format, document)| Ok((position, format, decompress(&document)?))).collect()
}

/// The most bytes that a document may unpack to.
const LARGEST_DOCUMENT: usize = 256 << 20;

pub(crate) fn decompress(document: &[u8]) -> Result<Vec<u8>> {
    let broken = || Error::Unreadable("metadata");
    let size = Decompressor::upper_bound(document).filter(|&size| size <= LARGEST_DOCUMENT);
    zstd::bulk::decompress(document, size.ok_or_else(broken)?).map_err(|_| broken())
}

/// The layers that have this tree identity.
///
/// # Errors
/// When the statement fails.
pub async fn layers_of_tree(session: &mut Session, tree: &[u8; 32]) -> Result<Vec<LayerId>> {
    identified(session, sql::LAYERS_OF_TREE, tree).await
}

/// The layers that have this contents identity.
///
/// # Errors
/// When the statement fails.
pub async fn layers_of_contents(session: &mut Session, contents: &[u8; 32]) -> Result<Vec<LayerId>> {
    identified(session, sql::LAYERS_OF_CONTENTS, contents).await
}

async fn identified(session: &mut Session, text: &'static str, identity: &[u8; 32]) -> Result<Vec<LayerId>> {
    let found: Vec<i64> = on!(session, |c| sqlx::query_scalar(text).bind(&identity[..]).fetch_all(c).await)?;
    Ok(found.into_iter().map(LayerId).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &[u8], size: u64, depth: u32) -> File {
        File { path: path.to_vec(), size, sha256: [0; 32], md5: None, depth, container: false }
    }

    #[test]
    fn blocks_hold_sizes_and_paths() {
        let mut zstandard = Decompressor::new().unwrap();
        let long = vec![b'x'; 70_000];
        for files in [
            vec![],
            vec![file(b"", 0, 0)],
            vec![
                file(b"a/b/1.csv", 1, 0),
                file(b"a/b/2.csv", u64::MAX, 2),
                file(b"a", 1 << 40, 0),
                file(b"\xff/\0", 3, 1),
            ],
            vec![file(&long, 1, 0), file(&long, 2, 0)],
        ] {
            let entry = |f: &File| Entry { size: f.size, depth: f.depth, path: f.path.clone() };
            let entries: Vec<_> = files.iter().map(entry).enumerate().collect();
            let packed = pack(&files).unwrap();
            assert_eq!(unpack(&mut zstandard, &packed, |_| true).unwrap(), entries);
            let last: Vec<_> = entries.into_iter().skip(1).collect();
            assert_eq!(unpack(&mut zstandard, &packed, |position| position > 0).unwrap(), last);
        }
        let old = [(0, Entry { size: 12, depth: 0, path: b"a/b".to_vec() })];
        assert_eq!(unpack(&mut zstandard, b"-12/a/b", |_| true).unwrap(), old);
        for broken in [&b"zzzzzz"[..], b"-", b"-x/a", b"?", b""] {
            assert!(unpack(&mut zstandard, broken, |_| true).is_err());
        }
    }

    #[test]
    fn hashes_are_two_columns() {
        for first in [0, 1, 0x7f, 0x80, 0xff] {
            let mut hash = [0xab; 32];
            hash[0] = first;
            let (head, tail) = columns(&hash);
            assert_eq!(sha256(head, tail).unwrap(), hash);
            assert_eq!(head < 0, first >= 0x80);
        }
        assert!(sha256(1, b"short").is_err());
    }

    #[test]
    fn names_are_found_whatever_the_folder_and_the_case() {
        let key = name_key(b"train.csv");
        for path in [&b"data/TRAIN.csv"[..], b"/train.csv", b"x/train.csv.gz!train.csv", b"data/train.csv/"] {
            assert_eq!(name_key(path), key, "{}", path.escape_ascii());
        }
        assert!(key.is_some() && name_key(b"train.csv.gz") != key);
        assert_eq!(name_key(b""), None);
    }
}
