//! What something was made from, and what was made from it: the links of the graph in both directions, and what is told of
//! the nodes at their ends.
//!
//! Steps and order are computed by the caller, in Rust.

use std::collections::{HashMap, hash_map::Entry};

use oci::Digest;
use sqlx::{AssertSqlSafe, FromRow, postgres::PgRow, sqlite::SqliteRow};

use crate::{
    Micros, NodeId, Reader, Result, Session,
    db::{Engine, look_up, on},
    graph::{self, Link, LinkRow, View},
    rows, sql,
};

/// Which way the graph is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// To what something was made from.
    Up,
    /// To what was made from it.
    Down,
}

/// Every link that is reached from the nodes in one direction, at most `depth` edges away. What indexes list costs no step.
/// What is only packaged or tested with something is told, and not followed. Without a depth there is no limit; cycles do no
/// harm.
///
/// # Errors
/// When a statement fails.
pub async fn links(
    session: &mut Session,
    view: View,
    way: Way,
    depth: Option<u32>,
    nodes: &[NodeId],
) -> Result<Vec<Link>> {
    let text = match (way, session.engine()) {
        (Way::Up, Engine::Sqlite(_)) => sql::LINEAGE_UP_SQLITE,
        (Way::Up, Engine::Postgres(..)) => sql::LINEAGE_UP_POSTGRES,
        (Way::Down, Engine::Sqlite(_)) => sql::LINEAGE_DOWN_SQLITE,
        (Way::Down, Engine::Postgres(..)) => sql::LINEAGE_DOWN_POSTGRES,
    };
    let found: Vec<LinkRow> = walked(session, text, view, depth, nodes).await?;
    Ok(graph::sorted(found.into_iter().map(graph::link).collect::<Result<_>>()?))
}

/// The node at the far end of a link.
#[derive(Debug, Clone)]
pub struct Far {
    /// What it is called.
    pub named: Named,
    /// Whether it is a model, as far as its manifest may be read.
    pub is_model: bool,
}

/// The same links, and what they lead to: all at once, for answers of hundreds of thousands.
///
/// # Errors
/// When a statement fails.
pub async fn told_links(
    session: &mut Session,
    view: View,
    way: Way,
    depth: Option<u32>,
    nodes: &[NodeId],
) -> Result<(Vec<Link>, HashMap<NodeId, Far>)> {
    type Row = (
        i64,
        i64,
        Option<i64>,
        Option<i32>,
        Option<i32>,
        Option<i64>,
        Option<i64>,
        Option<bool>,
        i32,
        Vec<u8>,
        Option<bool>,
    );
    let text = match (way, session.engine()) {
        (Way::Up, Engine::Sqlite(_)) => sql::LINEAGE_UP_TOLD_SQLITE,
        (Way::Up, Engine::Postgres(..)) => sql::LINEAGE_UP_TOLD_POSTGRES,
        (Way::Down, Engine::Sqlite(_)) => sql::LINEAGE_DOWN_TOLD_SQLITE,
        (Way::Down, Engine::Postgres(..)) => sql::LINEAGE_DOWN_TOLD_POSTGRES,
    };
    let found: Vec<Row> = walked(session, text, view, depth, nodes).await?;
    let (mut links, mut far) = (Vec::with_capacity(found.len()), HashMap::new());
    for (from, to, id, kind, grade, occurrence, repository, everywhere, node, key, is_model) in found {
        let link = graph::link((from, to, id, kind, grade, occurrence, repository, everywhere))?;
        let end = if way == Way::Up { link.to } else { link.from };
        if let Entry::Vacant(entry) = far.entry(end) {
            entry.insert(Far { named: Named::of(node, key)?, is_model: is_model.unwrap_or_default() });
        }
        links.push(link);
    }
    Ok((graph::sorted(links), far))
}

/// The rows of a statement that walks from the nodes.
async fn walked<R>(
    session: &mut Session,
    text: &str,
    view: View,
    depth: Option<u32>,
    nodes: &[NodeId],
) -> Result<Vec<R>>
where
    R: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let (step, limit) = counted(depth);
    let found: Vec<R> = look_up!(
        session,
        query_as(text, view.reader.0, view.known.0, view.floor.code(), view.occurred.0, step, limit),
        nodes,
        |one| one.0
    );
    Ok(found)
}

/// What a step counts, and how many are gone at most. With a limit a node is followed once from each distance, so that one far
/// away is no limit at all.
fn counted(depth: Option<u32>) -> (i32, i32) {
    let limit = depth.filter(|&depth| depth <= COUNTED).and_then(|depth| i32::try_from(depth).ok());
    limit.map_or((0, 1), |limit| (1, limit))
}

/// The most steps that are counted in the database.
const COUNTED: u32 = 16;

/// What is told of a node.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its row.
    pub id: NodeId,
    /// What it is called.
    pub named: Named,
    /// What it is, if its manifest may be read.
    pub kit: Option<Kit>,
}

/// By what a node is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A manifest, or other content, by its digest.
    Digest(Digest),
    /// Something outside of the registry, by its identity.
    External(String),
}

impl Named {
    fn of(kind: i32, key: Vec<u8>) -> Result<Self> {
        Ok(match kind {
            0 => Self::Digest(rows::digest(&key)?),
            _ => Self::External(rows::text(key)),
        })
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Digest(digest) => digest.fmt(f),
            Self::External(identity) => f.write_str(identity),
        }
    }
}

/// What a manifest means.
#[derive(Debug, Clone)]
pub struct Kit {
    /// What it is.
    pub kind: String,
    /// Whether it is a model.
    pub is_model: bool,
    /// The package's name.
    pub name: Option<String>,
    /// The package's version.
    pub version: Option<String>,
}

/// What there is to tell about the nodes; of a manifest that the reader may not read, nothing but its digest.
///
/// # Errors
/// When a statement fails.
pub async fn nodes(session: &mut Session, reader: Reader, known: Micros, nodes: &[NodeId]) -> Result<Vec<Node>> {
    let mut told = Vec::with_capacity(nodes.len());
    let found: Vec<(i64, i32, Vec<u8>, Option<i64>)> =
        look_up!(session, query_as(sql::LINEAGE_NODES, reader.0, known.0), nodes, |one| one.0);
    let readable: Vec<_> = found.iter().filter_map(|&(id, .., first_at)| first_at.and(Some(NodeId(id)))).collect();
    let mut kits = kits(session, &readable).await?;
    for (id, kind, key, _) in found {
        let id = NodeId(id);
        told.push(Node { id, named: Named::of(kind, key)?, kit: kits.remove(&id) });
    }
    Ok(told)
}

/// The kits of as many manifests as one list has.
async fn kits(session: &mut Session, manifests: &[NodeId]) -> Result<HashMap<NodeId, Kit>> {
    type Row = (i64, String, bool, Option<Vec<u8>>, Option<Vec<u8>>);
    if manifests.is_empty() {
        return Ok(HashMap::new());
    }
    let text = sql::list(sql::LINEAGE_KITS, 1, sql::padded(manifests.len()));
    let found: Vec<Row> = on!(session, |c| {
        let query = sqlx::query_as(AssertSqlSafe(text));
        sql::filled(manifests).fold(query, |query, one| query.bind(one.0)).fetch_all(c).await
    })?;
    let kit = |(id, kind, is_model, name, version): Row| {
        (NodeId(id), Kit { kind, is_model, name: name.map(rows::text), version: version.map(rows::text) })
    };
    Ok(found.into_iter().map(kit).collect())
}

/// The datasets that the manifests have in layers of their own, by their names, in order.
///
/// # Errors
/// When a statement fails.
pub async fn datasets(
    session: &mut Session,
    manifests: &[NodeId],
) -> Result<HashMap<NodeId, Vec<(String, Option<String>)>>> {
    let mut datasets: HashMap<_, Vec<_>> = HashMap::new();
    let found: Vec<(i64, String, Option<Vec<u8>>)> =
        look_up!(session, query_as(sql::LINEAGE_DATASETS), manifests, |one| one.0);
    for (manifest, role, name) in found {
        datasets.entry(NodeId(manifest)).or_default().push((role, name.map(rows::text)));
    }
    Ok(datasets)
}
