//! Reading the graph: who holds content, what is reached from there, and the evidence for it.
//!
//! Statements return plain links; distances, grades and paths are computed by the caller, in Rust.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures_util::TryStreamExt as _;
use oci::Digest;
use sqlx::{AssertSqlSafe, Executor as _};

use crate::{
    ClaimId, ClaimKind, EdgeId, EdgeKind, Grade, LayerId, Micros, NodeId, OccurrenceId, Reader, RepositoryId, Result,
    ScanId, Session,
    db::{Engine, look_up, on},
    file::{self, Place},
    rows, sql,
};

/// Whose view of the graph it is, and as of when.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Who asks.
    pub reader: Reader,
    /// What was recorded until then.
    pub known: Micros,
    /// What happened until then, by the producers' word or else when it was recorded.
    pub occurred: Micros,
    /// Claims of this grade or better.
    pub floor: Grade,
}

/// A link that was walked: `from` uses, derives from or lists `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Link {
    /// The manifest that uses, derives or lists.
    pub from: NodeId,
    /// What it uses, derives from or lists.
    pub to: NodeId,
    /// The edge; `None` where an index lists a child, which is no claim.
    pub edge: Option<Edge>,
}

/// The edge of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Edge {
    /// Its row.
    pub id: EdgeId,
    /// What it says.
    pub kind: EdgeKind,
    /// How good the evidence is.
    pub grade: Grade,
    /// Where it holds.
    pub holds: Holds,
}

/// Where an edge holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holds {
    /// For one stay of the manifest in a repository.
    Stay(OccurrenceId, Option<RepositoryId>),
    /// In one repository; of none where nothing that it is about is in this registry.
    In(Option<RepositoryId>),
    /// Wherever the manifest is.
    Everywhere,
}

impl Holds {
    /// Whether it holds in the repository.
    #[must_use]
    pub fn is_in(self, repository: RepositoryId) -> bool {
        match self {
            Self::Stay(_, of) | Self::In(of) => of == Some(repository),
            Self::Everywhere => true,
        }
    }
}

/// What there is to tell about an edge.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its row.
    pub id: EdgeId,
    /// What it says.
    pub kind: EdgeKind,
    /// How good the evidence is.
    pub grade: Grade,
    /// The manifest that uses or derives.
    pub source: NodeId,
    /// What is used.
    pub target: NodeId,
    /// When it was recorded.
    pub recorded_at: Micros,
    /// The reference as it was declared.
    pub declared: Option<String>,
    /// Whether the target came after the reference.
    pub late: bool,
    /// Whether the reference names no host and was tried here.
    pub assumed: bool,
    /// The role of the component that declares it.
    pub role: Option<String>,
    /// The name of that component.
    pub component: Option<String>,
    /// The target's digest, if its manifest is known.
    pub target_digest: Option<Digest>,
    /// What the target is, where it is no digest.
    pub external: Option<String>,
    /// When it happened, by the producer's word.
    pub occurred_at: Option<Micros>,
    /// What kind of claim it comes from.
    pub claim: ClaimKind,
    /// The claim.
    pub claim_id: ClaimId,
    /// Who claims it.
    pub actor: String,
    /// What the claim's statement is written in.
    pub format: Option<String>,
    /// The type of its predicate.
    pub predicate_type: Option<String>,
    /// Who signed it, where that is verified.
    pub signer: Option<String>,
}

/// How content is in a manifest.
#[derive(Debug, Clone)]
pub struct Held {
    /// The manifest.
    pub manifest: NodeId,
    /// The layer's row, where the layer was asked for.
    pub layer_id: Option<LayerId>,
    /// The layer.
    pub layer: Digest,
    /// The file's path in the layer; else what the manifest calls the layer.
    pub path: Option<Vec<u8>>,
    /// In how many ways the manifest holds it; not all of them are given.
    pub ways: u64,
    /// Whether a file was asked for.
    pub by_file: bool,
    /// Whether the layer itself is what was asked for.
    pub whole: bool,
    /// The role of the component that has the layer.
    pub role: Option<String>,
    /// The name of that component.
    pub component: Option<String>,
    /// Its position among the components.
    pub component_position: Option<i32>,
}

/// A layer and its identities, to be compared with the asked-for one's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// The layer's row.
    pub id: LayerId,
    /// Its digest.
    pub digest: Digest,
    /// The digest of its uncompressed bytes.
    pub diff_id: Option<Digest>,
    /// Its tree identity.
    pub tree: Option<[u8; 32]>,
    /// Its contents identity.
    pub contents: Option<[u8; 32]>,
}

/// All that a file affects, without what explains it.
#[derive(Debug, Default)]
pub struct Affected {
    /// Whatever holds the file, of any age of evidence.
    pub holders: Vec<Node>,
    /// Whatever leads to a holder; some of them may be holders too.
    pub others: Vec<Node>,
    /// How: (from, to, whether it is a derivation).
    pub links: Vec<(NodeId, NodeId, bool)>,
}

/// A manifest.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// Its node.
    pub id: NodeId,
    /// Its digest.
    pub digest: Digest,
    /// Whether it is a model.
    pub is_model: bool,
}

/// All that the file affects, in repositories that `reader` may read and pushed until `as_of`, by claims graded `grade` or
/// better; one statement, for answers of hundreds of thousands. In no order, and each once.
///
/// # Errors
/// When the statement fails.
pub async fn affected_by_file(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    grade: Grade,
    sha256: &[u8; 32],
) -> Result<Affected> {
    let (head, tail) = file::columns(sha256);
    let text = match session.engine() {
        Engine::Postgres(connection, patience) => {
            // Where there are hundreds of thousands, all tables are read in the order of their keys and merged. It would rather
            // hash whole tables, and takes longer for it.
            let merge = "set local enable_hashjoin = off";
            patience.wait(connection.execute(merge)).await?;
            sql::AFFECTED_BY_FILE_POSTGRES
        }
        Engine::Sqlite(_) => sql::AFFECTED_BY_FILE_SQLITE,
    };
    let mut affected = Affected::default();
    on!(session, |c| {
        let query = sqlx::query_as(text).bind(reader.0).bind(as_of.0).bind(grade.code());
        let mut rows = query.bind(head).bind(tail).bind(&sha256[..]).fetch(c);
        // Taken one by one, while the database looks for the others.
        while let Some(row) = rows.try_next().await? {
            affected.take(row)?;
        }
        Ok(())
    })?;
    Ok(affected)
}

/// A row of [`affected_by_file`]: what it is, a node, and of a link the other node and its kind, or of a node its digest and
/// whether it is a model.
type AffectedRow = (i32, i64, Option<i64>, Option<i32>, Option<Vec<u8>>, Option<bool>);

impl Affected {
    fn take(&mut self, (what, id, to, kind, digest, is_model): AffectedRow) -> std::result::Result<(), sqlx::Error> {
        let id = NodeId(id);
        match (what, to, digest) {
            (2, Some(to), _) => {
                let derives = kind == Some(EdgeKind::DerivedFrom.code());
                self.links.push((id, NodeId(to), derives));
            }
            (_, _, Some(digest)) => {
                let digest = rows::digest(&digest).map_err(|error| sqlx::Error::Decode(error.into()))?;
                let node = Node { id, digest, is_model: is_model.unwrap_or_default() };
                if what == 0 { self.holders.push(node) } else { self.others.push(node) }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A holder of a file, where it is first met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Met {
    /// The scan that found the file; 0 is the layer that is the file.
    pub scan: i64,
    /// The manifest; 0 is before all of them.
    pub manifest: i64,
}

/// How many scans are looked through at once, at least, once there are more than one: up to as many as holders are wanted.
const SCANS_AT_ONCE: usize = 256;
/// How often that is done before the caller is asked whether it wants more.
const BATCHES: usize = 8;

/// Some holders of a file after one of them, in the order in which they are met: by the scan that found the file, and among
/// those that share a layer in the order of their first push. At most `limit`, and where to go on, unless that was the end.
/// What it costs depends on the limit, not on how many there are.
///
/// # Errors
/// When a statement fails.
pub async fn holders_of_file(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    sha256: &[u8; 32],
    after: Met,
    limit: usize,
) -> Result<(Vec<Met>, Option<Met>)> {
    let (head, tail) = file::columns(sha256);
    let mut met: Vec<Met> = Vec::new();
    if after.scan == 0 {
        let layer: Option<i64> =
            on!(session, |c| sqlx::query_scalar(sql::LAYER_FIND).bind(&sha256[..]).fetch_optional(c).await)?;
        if let Some(layer) = layer {
            let (found, more) = holders_of_layer(session, reader, as_of, layer, after, limit).await?;
            met = found;
            if more.is_some() {
                return Ok((met, more));
            }
        }
    }
    // Of a layer that very many have the first manifests are enough, so one is looked at alone before others are together.
    let (mut last, mut together) = (after, 1);
    for _ in 0..BATCHES {
        if met.len() >= limit {
            break;
        }
        let scans: Vec<(i64, Option<i64>)> = on!(session, |c| {
            let query = sqlx::query_as(sql::SCANS_WITH_FILE).bind(head).bind(tail).bind(last.scan);
            query.bind(together).fetch_all(c).await
        })?;
        let Some(&(end, _)) = scans.last() else { return Ok((met, None)) };
        let wanted = limit - met.len();
        let (found, more) = match scans[..] {
            // Another scan of the layer has taken its place.
            [(_, None)] => (Vec::new(), None),
            [(scan, Some(layer))] => {
                let after = if last.scan == scan { last } else { Met { scan, manifest: 0 } };
                holders_of_layer(session, reader, as_of, layer, after, wanted).await?
            }
            _ => holders_of_scans(session, reader, as_of, &scans, last, wanted).await?,
        };
        last = more.unwrap_or(Met { scan: end + 1, manifest: 0 });
        // What is met a second time was told the first time.
        let nodes: Vec<_> = found.iter().map(|met| NodeId(met.manifest)).collect();
        let first = file_first_in(session, sha256, &nodes).await?;
        met.extend(found.into_iter().filter(|met| first.get(&NodeId(met.manifest)) == Some(&met.scan)));
        together = rows::signed(limit.clamp(SCANS_AT_ONCE, sql::LIST) as u64);
    }
    Ok((met, Some(last)))
}

/// The readable ones among the manifests of a layer after one, and the last that was looked at unless it was the last of all.
async fn holders_of_layer(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    layer: i64,
    after: Met,
    limit: usize,
) -> Result<(Vec<Met>, Option<Met>)> {
    let found: Vec<(i64, bool)> = on!(session, |c| {
        let query = sqlx::query_as(sql::HOLDERS_OF_LAYER).bind(reader.0).bind(as_of.0).bind(layer);
        query.bind(after.manifest).bind(rows::signed(limit as u64)).fetch_all(c).await
    })?;
    let met = |&(manifest, _): &(i64, bool)| Met { manifest, ..after };
    let last = found.last().filter(|_| found.len() == limit).map(met);
    let mut readable: Vec<_> = found.iter().filter(|(_, readable)| *readable).map(met).collect();
    // A manifest may have a layer twice.
    readable.dedup();
    Ok((readable, last))
}

/// The same of the layers of several scans.
async fn holders_of_scans(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    scans: &[(i64, Option<i64>)],
    after: Met,
    limit: usize,
) -> Result<(Vec<Met>, Option<Met>)> {
    let text = sql::list(sql::HOLDERS_OF_SCANS, 6, sql::padded(scans.len()));
    let found: Vec<(i64, i64)> = on!(session, |c| {
        let query = sqlx::query_as(AssertSqlSafe(text)).bind(reader.0).bind(as_of.0).bind(after.scan);
        let query = query.bind(after.manifest).bind(rows::signed(limit as u64));
        sql::filled(scans).fold(query, |query, (scan, _)| query.bind(scan)).fetch_all(c).await
    })?;
    let met: Vec<_> = found.into_iter().map(|(scan, manifest)| Met { scan, manifest }).collect();
    let last = met.last().copied().filter(|_| met.len() == limit);
    Ok((met, last))
}

/// Those of the manifests that hold the file, with the scan by which each is met.
///
/// # Errors
/// When a statement fails.
pub async fn file_first_in(
    session: &mut Session,
    sha256: &[u8; 32],
    manifests: &[NodeId],
) -> Result<HashMap<NodeId, i64>> {
    let (head, tail) = file::columns(sha256);
    let found: Vec<(i64, i64)> =
        look_up!(session, query_as(sql::FILE_FIRST_IN, head, tail, &sha256[..]), manifests, |one| one.0);
    Ok(found.into_iter().map(|(manifest, scan)| (NodeId(manifest), scan)).collect())
}

/// Those of the layers that are indexed and hold nothing by which anything could be recognised.
///
/// # Errors
/// When a statement fails.
pub async fn empty_layers(session: &mut Session, layers: &[LayerId]) -> Result<Vec<LayerId>> {
    let found: Vec<i64> = look_up!(session, query_scalar(sql::LAYERS_EMPTY), layers, |one| one.0);
    Ok(found.into_iter().map(LayerId).collect())
}

/// The manifests that have one of the layers, likewise.
///
/// # Errors
/// When a statement fails.
pub async fn holders_of_layers(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    layers: &[LayerId],
) -> Result<Vec<NodeId>> {
    let found: Vec<i64> =
        look_up!(session, query_scalar(sql::HOLDERS_OF_LAYERS, reader.0, as_of.0), layers, |one| one.0);
    let mut holders: Vec<_> = found.into_iter().map(NodeId).collect();
    holders.sort_unstable();
    holders.dedup();
    Ok(holders)
}

/// How the file is in the manifests.
///
/// # Errors
/// When a statement fails.
pub async fn file_evidence(session: &mut Session, sha256: &[u8; 32], manifests: &[NodeId]) -> Result<Vec<Held>> {
    let (head, tail) = file::columns(sha256);
    let found: Vec<FileRow> =
        look_up!(session, query_as(sql::EVIDENCE_OF_FILE, head, tail, &sha256[..]), manifests, |one| one.0);
    pathed(session, found).await
}

/// All ways in which a file is held.
#[derive(Debug, Default)]
pub struct Ways(Vec<Way>);

/// Where a file is in a manifest.
#[derive(Debug)]
struct Way {
    manifest: i64,
    layer_position: i32,
    digest: Vec<u8>,
    scan: Option<i64>,
    file_position: i32,
    called: Option<Vec<u8>>,
    whole: bool,
}

impl Ways {
    /// The manifests that hold it, in order.
    #[must_use]
    pub fn manifests(&self) -> Vec<NodeId> {
        let mut manifests: Vec<_> = self.0.iter().map(|way| NodeId(way.manifest)).collect();
        manifests.sort_unstable();
        manifests.dedup();
        manifests
    }

    /// How the file is in some of the manifests, as [`file_evidence`] tells it.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn told(self, session: &mut Session, manifests: &[NodeId]) -> Result<Vec<Held>> {
        let asked: HashSet<_> = manifests.iter().map(|node| node.0).collect();
        let mut ways: Vec<_> = self.0.into_iter().filter(|way| asked.contains(&way.manifest)).collect();
        ways.sort_by_key(|way| (way.manifest, way.layer_position, way.file_position));
        let mut at: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
        ways.iter().for_each(|way| at.entry(way.layer_position).or_default().push(way.manifest));
        let mut components: HashMap<(i64, i32), Vec<ComponentRow>> = HashMap::new();
        for (position, mut manifests) in at {
            manifests.dedup();
            for found in components_at(session, position, &manifests).await? {
                components.entry((found.manifest_id, position)).or_default().push(found);
            }
        }
        let mut rows = Vec::with_capacity(ways.len());
        for way in ways {
            match components.get(&(way.manifest, way.layer_position)) {
                Some(components) => rows.extend(components.iter().map(|component| way.row(Some(component)))),
                None => rows.push(way.row(None)),
            }
        }
        let mut of: HashMap<i64, i64> = HashMap::new();
        rows.iter().for_each(|row| *of.entry(row.manifest_id).or_default() += 1);
        rows.iter_mut().for_each(|row| row.ways = of[&row.manifest_id]);
        pathed(session, rows).await
    }
}

impl Way {
    /// The way as one of a component's, of whatever number there are.
    fn row(&self, component: Option<&ComponentRow>) -> FileRow {
        FileRow {
            manifest_id: self.manifest,
            digest: self.digest.clone(),
            scan_id: self.scan,
            file_position: self.file_position,
            called: self.called.clone().or_else(|| component?.path.clone()),
            whole: self.whole,
            role: component.map(|component| component.role.clone()),
            name: component.and_then(|component| component.name.clone()),
            ways: 1,
            component_position: component.map(|component| component.position),
        }
    }
}

/// Who holds the file, and where, if that is in at most `most` places; whether they may be read is not asked.
///
/// # Errors
/// When a statement fails.
pub async fn few_with_file(session: &mut Session, sha256: &[u8; 32], most: u32) -> Result<Option<Ways>> {
    let (head, tail) = file::columns(sha256);
    let found: Vec<FewRow> = on!(session, |c| {
        let query = sqlx::query_as(sql::FEW_WITH_FILE).bind(head).bind(tail).bind(&sha256[..]);
        query.bind(i64::from(most) + 1).fetch_all(c).await
    })?;
    let are_few = found.len() <= most as usize;
    Ok(are_few.then(|| Ways(found.into_iter().filter_map(FewRow::way).collect())))
}

/// The components that have the layer at a position of one of the manifests.
async fn components_at(session: &mut Session, position: i32, manifests: &[i64]) -> Result<Vec<ComponentRow>> {
    let found: Vec<ComponentRow> = look_up!(session, query_as(sql::COMPONENTS_AT, position), manifests, |one| one);
    Ok(found)
}

/// The rows with the paths of the files.
async fn pathed(session: &mut Session, found: Vec<FileRow>) -> Result<Vec<Held>> {
    let place = |row: &FileRow| row.scan_id.map(|scan| Place { scan: ScanId(scan), position: row.file_position });
    let places: Vec<_> = found.iter().filter_map(place).collect();
    let entries = file::entries_at(session, &places).await?;
    let held = found.into_iter().map(|row| {
        let path = place(&row).and_then(|place| entries.get(&place)).map(|entry| entry.path.clone());
        Ok(Held {
            manifest: NodeId(row.manifest_id),
            layer_id: None,
            layer: rows::digest(&row.digest)?,
            // A layer that is itself the file gives it no path.
            // `!` is the inside of a layer that is one compressed file.
            path: path.filter(|path| !path.is_empty() && path != b"!").or(row.called),
            ways: rows::unsigned(row.ways),
            by_file: true,
            whole: row.whole,
            role: row.role,
            component: row.name.map(rows::text),
            component_position: row.component_position,
        })
    });
    held.collect()
}

/// A way in which a manifest holds a file.
#[derive(Debug, sqlx::FromRow)]
struct FileRow {
    manifest_id: i64,
    digest: Vec<u8>,
    scan_id: Option<i64>,
    file_position: i32,
    called: Option<Vec<u8>>,
    whole: bool,
    role: Option<String>,
    name: Option<Vec<u8>>,
    ways: i64,
    component_position: Option<i32>,
}

/// Where one of few holds a file, or a place of the file that counts no more.
#[derive(sqlx::FromRow)]
struct FewRow {
    manifest_id: Option<i64>,
    layer_position: Option<i32>,
    digest: Option<Vec<u8>>,
    scan_id: Option<i64>,
    file_position: i32,
    called: Option<Vec<u8>>,
    whole: Option<bool>,
}

impl FewRow {
    fn way(self) -> Option<Way> {
        Some(Way {
            manifest: self.manifest_id?,
            layer_position: self.layer_position?,
            digest: self.digest?,
            scan: self.scan_id,
            file_position: self.file_position,
            called: self.called,
            whole: self.whole?,
        })
    }
}

/// A component that has a layer.
#[derive(sqlx::FromRow)]
struct ComponentRow {
    manifest_id: i64,
    role: String,
    name: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    position: i32,
}

/// How the layer is in the manifests.
///
/// # Errors
/// When a statement fails.
pub async fn layer_evidence(session: &mut Session, layer: LayerId, manifests: &[NodeId]) -> Result<Vec<Held>> {
    type Row = (i64, i64, Vec<u8>, Option<Vec<u8>>, Option<String>, Option<Vec<u8>>, i64, Option<i32>);
    let mut held = Vec::new();
    let found: Vec<Row> = look_up!(session, query_as(sql::EVIDENCE_OF_LAYER, layer.0), manifests, |one| one.0);
    for (manifest, layer, digest, path, role, component, ways, component_position) in found {
        held.push(Held {
            manifest: NodeId(manifest),
            layer_id: Some(LayerId(layer)),
            layer: rows::digest(&digest)?,
            path,
            ways: rows::unsigned(ways),
            by_file: false,
            whole: true,
            role,
            component: component.map(rows::text),
            component_position,
        });
    }
    Ok(held)
}

/// The layer itself and those that agree with it on a rung, if it is known.
///
/// # Errors
/// When a statement fails.
pub async fn layers_alike(session: &mut Session, layer: LayerId) -> Result<Vec<Identified>> {
    type Row = (i64, Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);
    let scan = current_scan(session, layer).await?.map_or(0, |scan| scan.0);
    let found: Vec<Row> =
        on!(session, |c| sqlx::query_as(sql::LAYERS_ALIKE).bind(layer.0).bind(scan).fetch_all(c).await)?;
    let identified = |(id, digest, diff_id, tree, contents): Row| {
        Ok(Identified {
            id: LayerId(id),
            digest: rows::digest(&digest)?,
            diff_id: diff_id.map(|hash| rows::digest(&hash)).transpose()?,
            tree: tree.map(|hash| rows::sha256(&hash)).transpose()?,
            contents: contents.map(|hash| rows::sha256(&hash)).transpose()?,
        })
    };
    found.into_iter().map(identified).collect()
}

/// What the layers are called by those who name them by their digests.
///
/// # Errors
/// When a statement fails.
pub async fn names_of_layers(session: &mut Session, layers: &[LayerId]) -> Result<Vec<NodeId>> {
    let found: Vec<i64> = look_up!(session, query_scalar(sql::NAMES_OF_LAYERS), layers, |one| one.0);
    Ok(found.into_iter().map(NodeId).collect())
}

/// What the layers that hold a file are called likewise, where `reader` may read an artifact that has the layer.
///
/// # Errors
/// When the statement fails.
pub async fn names_with_file(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    sha256: &[u8; 32],
) -> Result<Vec<NodeId>> {
    let (head, tail) = file::columns(sha256);
    let text = match session.engine() {
        Engine::Postgres(..) => sql::NAMES_WITH_FILE_POSTGRES,
        Engine::Sqlite(_) => sql::NAMES_WITH_FILE_SQLITE,
    };
    let found: Vec<i64> = on!(session, |c| {
        let query = sqlx::query_scalar(text).bind(reader.0).bind(as_of.0).bind(head).bind(tail);
        query.fetch_all(c).await
    })?;
    Ok(found.into_iter().map(NodeId).collect())
}

/// The layers as the files that they are, as far as they have a SHA-256.
///
/// # Errors
/// When a statement fails.
pub async fn layers_as_files(session: &mut Session, layers: &[LayerId]) -> Result<BTreeSet<[u8; 32]>> {
    let mut files = BTreeSet::new();
    let found: Vec<Vec<u8>> = look_up!(session, query_scalar(sql::LAYERS_SHA256), layers, |one| one.0);
    for hash in found {
        files.insert(rows::sha256(&hash)?);
    }
    Ok(files)
}

/// In how many layers it is looked whether a file is inside of another: that is the same everywhere, but where a scan was cut off
/// it may not be seen.
const LAYERS_COMPARED: usize = 16;

/// What the files are called likewise that one of these is inside of.
///
/// # Errors
/// When a statement fails.
pub async fn names_around_files(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    files: &BTreeSet<[u8; 32]>,
) -> Result<BTreeSet<NodeId>> {
    type Row = (i64, i64, i32, i32, i64, Vec<u8>);
    let heads: Vec<_> = files.iter().map(|sha256| file::columns(sha256).0).collect();
    // Of each name and file that share a layer: the place of the one, and that of the other.
    let mut pairs: BTreeMap<NodeId, BTreeMap<ScanId, Vec<(Place, Place)>>> = BTreeMap::new();
    let found: Vec<Row> = look_up!(session, query_as(sql::NAMES_BESIDE_FILES, reader.0, as_of.0), heads, |head| *head);
    for (node, scan, around, inside, head, tail) in found {
        if files.contains(&file::sha256(head, &tail)?) {
            let scan = ScanId(scan);
            let place = |position| Place { scan, position };
            pairs.entry(NodeId(node)).or_default().entry(scan).or_default().push((place(around), place(inside)));
        }
    }
    let compared = pairs.into_iter().flat_map(|(node, scans)| {
        let places = scans.into_values().take(LAYERS_COMPARED).flatten();
        places.map(move |(around, inside)| (node, around, inside))
    });
    let compared: Vec<_> = compared.collect();
    let places: Vec<_> = compared.iter().flat_map(|&(_, around, inside)| [around, inside]).collect();
    let entries = file::entries_at(session, &places).await?;
    let path = |place: Place| entries.get(&place).map(|entry| &*entry.path);
    let is_inside = |around, inside| Some(path(inside)?.strip_prefix(path(around)?)?.starts_with(b"!"));
    let names = compared.into_iter().filter(|&(_, around, inside)| is_inside(around, inside) == Some(true));
    Ok(names.map(|(node, ..)| node).collect())
}

/// The scan whose facts serve.
///
/// # Errors
/// When the statement fails.
pub async fn current_scan(session: &mut Session, layer: LayerId) -> Result<Option<ScanId>> {
    let scan: Option<Option<i64>> =
        on!(session, |c| sqlx::query_scalar(sql::LAYER_SCAN).bind(layer.0).fetch_optional(c).await)?;
    Ok(scan.flatten().map(ScanId))
}

/// A layer of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentLayer {
    /// The position of the component.
    pub position: i32,
    /// Its role.
    pub role: String,
    /// Its name.
    pub name: Option<String>,
    /// The layer.
    pub layer: LayerId,
}

/// The layers of a manifest's components, in order.
///
/// # Errors
/// When the statement fails.
pub async fn component_layers(session: &mut Session, manifest: NodeId) -> Result<Vec<ComponentLayer>> {
    type Row = (i32, String, Option<Vec<u8>>, i64);
    let found: Vec<Row> =
        on!(session, |c| sqlx::query_as(sql::COMPONENT_LAYERS_OF).bind(manifest.0).fetch_all(c).await)?;
    let layer = |(position, role, name, layer): Row| ComponentLayer {
        position,
        role,
        name: name.map(rows::text),
        layer: LayerId(layer),
    };
    Ok(found.into_iter().map(layer).collect())
}

/// The layers of a manifest, in order.
///
/// # Errors
/// When the statement fails.
pub async fn manifest_layers(session: &mut Session, manifest: NodeId) -> Result<Vec<LayerId>> {
    let found: Vec<i64> =
        on!(session, |c| sqlx::query_scalar(sql::MANIFEST_LAYERS).bind(manifest.0).fetch_all(c).await)?;
    Ok(found.into_iter().map(LayerId).collect())
}

/// A row of a statement that walks links: (from, to, and of the edge its row, kind, grade, stay, repository, and whether it holds
/// everywhere).
pub(crate) type LinkRow = (i64, i64, Option<i64>, Option<i32>, Option<i32>, Option<i64>, Option<i64>, Option<bool>);

/// Every link that leads to one of the nodes, or to what leads there, and so on, as far as `view` has it. No depth limit; cycles
/// do no harm.
///
/// # Errors
/// When a statement fails.
pub async fn reach(session: &mut Session, view: View, nodes: &[NodeId]) -> Result<Vec<Link>> {
    let texts = Walk { step: sql::REACH_STEP, sqlite: sql::REACH_SQLITE, postgres: sql::REACH_POSTGRES };
    walk(session, texts, |link| link.from, view, nodes).await
}

/// The links that lead to one of the nodes themselves.
///
/// # Errors
/// When a statement fails.
pub async fn users(session: &mut Session, view: View, nodes: &[NodeId]) -> Result<Vec<Link>> {
    Ok(sorted(steps(session, sql::REACH_STEP, view, nodes).await?))
}

/// What [`reach`] finds of all that hold a file.
///
/// # Errors
/// When the statement fails.
pub async fn reach_file(session: &mut Session, view: View, sha256: &[u8; 32]) -> Result<Vec<Link>> {
    let (head, tail) = file::columns(sha256);
    let text = match session.engine() {
        Engine::Postgres(..) => sql::REACH_FILE_POSTGRES,
        Engine::Sqlite(_) => sql::REACH_FILE_SQLITE,
    };
    let found: Vec<LinkRow> = on!(session, |c| {
        let query = sqlx::query_as(text).bind(view.reader.0).bind(view.known.0).bind(view.floor.code());
        query.bind(head).bind(tail).bind(&sha256[..]).bind(view.occurred.0).fetch_all(c).await
    })?;
    Ok(sorted(found.into_iter().map(link).collect::<Result<_>>()?))
}

/// The links by which the nodes use others, and by which those use or list others, and so on: all ways to content that are no
/// derivation. Otherwise as [`reach`].
///
/// # Errors
/// When a statement fails.
pub async fn uses(session: &mut Session, view: View, nodes: &[NodeId]) -> Result<Vec<Link>> {
    let texts = Walk { step: sql::USES_STEP, sqlite: sql::USES_SQLITE, postgres: sql::USES_POSTGRES };
    walk(session, texts, |link| link.to, view, nodes).await
}

/// What finds the links at some nodes, and all links that are walked from some.
struct Walk {
    step: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

async fn walk(
    session: &mut Session,
    texts: Walk,
    end: fn(&Link) -> NodeId,
    view: View,
    nodes: &[NodeId],
) -> Result<Vec<Link>> {
    let further = match session.engine() {
        Engine::Postgres(..) => texts.postgres,
        Engine::Sqlite(_) => texts.sqlite,
    };
    // Most often nothing is there, or little: a look at each node is cheaper than a walk from all of them.
    let mut links = steps(session, texts.step, view, nodes).await?;
    let mut reached: HashSet<NodeId> = HashSet::new();
    let known: HashSet<_> = nodes.iter().copied().collect();
    let ends: HashSet<_> = links.iter().map(end).filter(|node| !known.contains(node)).collect();
    let mut ends: Vec<_> = ends.into_iter().collect();
    ends.sort_unstable();
    for chunk in ends.chunks(sql::LIST) {
        // What a node before reached was followed to its end already.
        let chunk: Vec<_> = chunk.iter().copied().filter(|node| !reached.contains(node)).collect();
        if chunk.is_empty() {
            continue;
        }
        for link in links_at(session, further, view, &chunk).await? {
            reached.insert(end(&link));
            links.push(link);
        }
    }
    Ok(sorted(links))
}

/// The links that a statement finds at the nodes themselves.
async fn steps(session: &mut Session, text: &str, view: View, nodes: &[NodeId]) -> Result<Vec<Link>> {
    let mut links = Vec::new();
    for chunk in nodes.chunks(sql::LIST) {
        links.extend(links_at(session, text, view, chunk).await?);
    }
    Ok(links)
}

/// The links that one statement finds for as many nodes as one list has.
async fn links_at(session: &mut Session, text: &str, view: View, nodes: &[NodeId]) -> Result<Vec<Link>> {
    let text = sql::list(text, 5, sql::padded(nodes.len()));
    let found: Vec<LinkRow> = on!(session, |c| {
        let query = sqlx::query_as(AssertSqlSafe(text)).bind(view.reader.0).bind(view.known.0);
        let query = query.bind(view.floor.code()).bind(view.occurred.0);
        sql::filled(nodes).fold(query, |query, one| query.bind(one.0)).fetch_all(c).await
    })?;
    found.into_iter().map(link).collect()
}

/// In order, and each once.
pub(crate) fn sorted(mut links: Vec<Link>) -> Vec<Link> {
    links.sort_unstable_by_key(|link| (link.to, link.from, link.edge.map(|edge| edge.id)));
    links.dedup();
    links
}

pub(crate) fn link((from, to, id, kind, grade, occurrence, repository, everywhere): LinkRow) -> Result<Link> {
    let repository = repository.map(RepositoryId);
    let holds = match (occurrence, everywhere) {
        (Some(stay), _) => Holds::Stay(OccurrenceId(stay), repository),
        (None, Some(true)) => Holds::Everywhere,
        (None, _) => Holds::In(repository),
    };
    let edge = match (id, kind, grade) {
        (Some(id), Some(kind), Some(grade)) => {
            Some(Edge { id: EdgeId(id), kind: EdgeKind::from_code(kind)?, grade: Grade::from_code(grade)?, holds })
        }
        _ => None,
    };
    Ok(Link { from: NodeId(from), to: NodeId(to), edge })
}

#[derive(sqlx::FromRow)]
struct ToldRow {
    id: i64,
    kind: i32,
    grade: i32,
    source_id: i64,
    target_id: i64,
    recorded_at: i64,
    declared: Option<Vec<u8>>,
    late: Option<bool>,
    assumed: Option<bool>,
    role: Option<String>,
    component: Option<Vec<u8>>,
    digest: Option<Vec<u8>>,
    occurred_at: Option<i64>,
    node_kind: i32,
    node_key: Vec<u8>,
    claim: i32,
    claim_id: i64,
    actor: String,
    format: Option<String>,
    predicate_type: Option<Vec<u8>>,
    signer: Option<String>,
}

/// What there is to tell about the edges.
///
/// # Errors
/// When a statement fails.
pub async fn told(session: &mut Session, edges: &[EdgeId]) -> Result<Vec<Told>> {
    let mut told = Vec::with_capacity(edges.len());
    let found: Vec<ToldRow> = look_up!(session, query_as(sql::EDGES_TOLD), edges, |one| one.0);
    for row in found {
        told.push(Told {
            id: EdgeId(row.id),
            kind: EdgeKind::from_code(row.kind)?,
            grade: Grade::from_code(row.grade)?,
            source: NodeId(row.source_id),
            target: NodeId(row.target_id),
            recorded_at: Micros(row.recorded_at),
            declared: row.declared.map(rows::text),
            late: row.late.unwrap_or_default(),
            assumed: row.assumed.unwrap_or_default(),
            role: row.role,
            component: row.component.map(rows::text),
            target_digest: row.digest.map(|hash| rows::digest(&hash)).transpose()?,
            external: (row.node_kind != 0).then(|| rows::text(row.node_key)),
            occurred_at: row.occurred_at.map(Micros),
            claim: ClaimKind::from_code(row.claim)?,
            claim_id: ClaimId(row.claim_id),
            actor: row.actor,
            format: row.format,
            predicate_type: row.predicate_type.map(rows::text),
            signer: row.signer,
        });
    }
    Ok(told)
}

/// The indexes that list the manifests: (manifest, the index's repository, the index).
///
/// # Errors
/// When a statement fails.
pub async fn indexes_of(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    manifests: &[NodeId],
) -> Result<Vec<(NodeId, RepositoryId, Digest)>> {
    let mut indexes = Vec::new();
    let found: Vec<(i64, i64, Vec<u8>)> =
        look_up!(session, query_as(sql::INDEXES_OF, reader.0, as_of.0), manifests, |one| one.0);
    for (child, repository, digest) in found {
        indexes.push((NodeId(child), RepositoryId(repository), rows::digest(&digest)?));
    }
    Ok(indexes)
}

/// The best grade of what is said of each of the manifests' making: an edge of use or derivation that is not retracted.
///
/// # Errors
/// When a statement fails.
pub async fn grades(session: &mut Session, reader: Reader, manifests: &[NodeId]) -> Result<HashMap<NodeId, Grade>> {
    let mut grades = HashMap::new();
    let found: Vec<(i64, i32)> = look_up!(session, query_as(sql::GRADES_OF, reader.0), manifests, |one| one.0);
    for (manifest, grade) in found {
        grades.insert(NodeId(manifest), Grade::from_code(grade)?);
    }
    Ok(grades)
}
