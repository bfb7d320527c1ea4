//! What manifests mean: kits and their components, as `modelkit` read them.

use std::collections::HashSet;

use oci::{Digest, Name};
use sqlx::AssertSqlSafe;

use crate::{
    Error, LayerId, LayerState, Micros, NodeId, OccurrenceId, Reader, RepositoryId, Result, Session,
    db::{look_up, on},
    file::Placed,
    layer::{self, Identity},
    rows, sql,
};

/// What is stored of a kit.
#[derive(Debug)]
pub struct NewKit<'a> {
    /// What it is, in `modelkit`'s words.
    pub kind: &'a str,
    /// Whether it is a model.
    pub is_model: bool,
    /// The package's name.
    pub name: Option<&'a str>,
    /// The package's version.
    pub version: Option<&'a str>,
    /// All of it, as JSON.
    pub document: &'a [u8],
    /// Why (some of) it could not be understood.
    pub problem: Option<&'a str>,
    /// Whether components or references may be missing because of it.
    pub incomplete: bool,
    /// Its components, in order.
    pub components: Vec<NewComponent<'a>>,
}

/// What is stored of a component.
#[derive(Debug)]
pub struct NewComponent<'a> {
    /// Its role, in `modelkit`'s words.
    pub role: &'a str,
    /// Its name.
    pub name: Option<&'a str>,
    /// Its path.
    pub path: Option<&'a str>,
    /// Where its content is, when not in a layer.
    pub remote: Option<&'a str>,
    /// The positions of its layers in the manifest.
    pub layers: &'a [usize],
}

/// A kit as it is stored.
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
    /// All of it, as JSON.
    pub document: Vec<u8>,
    /// Why it could not be understood.
    pub problem: Option<String>,
}

/// A layer of a manifest and what is known of its inside.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its row.
    pub id: LayerId,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The media type that the manifest gives it.
    pub media_type: String,
    /// What the manifest calls the file or folder in it.
    pub path: Option<String>,
    /// How far the registry has come with it.
    pub state: LayerState,
    /// Why it is in that state.
    pub reason: Option<String>,
    /// What its bytes are, in `content`'s words.
    pub form: Option<String>,
    /// The digest of its uncompressed bytes.
    pub diff_id: Option<Digest>,
    /// Its tree identity.
    pub tree: Option<[u8; 32]>,
    /// Its contents identity.
    pub contents: Option<[u8; 32]>,
    /// How many files are in it.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many entries were not files and were passed over.
    pub skipped: u64,
}

/// A layer of a component, of a kit that is or was in a repository; or a component without layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentLayer {
    /// The kit.
    pub manifest: NodeId,
    /// The position of the component.
    pub position: i32,
    /// Its role.
    pub role: String,
    /// Its name.
    pub name: Option<String>,
    /// Its path.
    pub path: Option<String>,
    /// What it refers to.
    pub remote: Option<String>,
    /// The layer.
    pub layer: Option<LayerIdentity>,
}

/// A layer of a component, and by what it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerIdentity {
    /// Its row, and what the manifest calls it.
    pub placed: Placed,
    /// By what it is compared.
    pub own: Identity,
}

/// A kit and what it says.
#[derive(Debug, Clone)]
pub struct Documented {
    /// The kit.
    pub manifest: NodeId,
    /// The kit as JSON.
    pub document: Vec<u8>,
}

/// A kit in the list of a repository.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its node.
    pub id: NodeId,
    /// Its digest.
    pub digest: Digest,
    /// What it is.
    pub kind: String,
    /// Whether it is a model.
    pub is_model: bool,
    /// The package's name.
    pub name: Option<String>,
    /// The package's version.
    pub version: Option<String>,
    /// Its stay, whose number orders the list.
    pub occurrence: OccurrenceId,
    /// When it was pushed.
    pub pushed_at: Micros,
    /// Who pushed it.
    pub pushed_by: String,
    /// All of it, as JSON.
    pub document: Vec<u8>,
}

/// The little that an answer says of each kit.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Its node.
    pub id: NodeId,
    /// Its digest.
    pub digest: Digest,
    /// What it is.
    pub kind: String,
    /// Whether it is a model.
    pub is_model: bool,
    /// The package's name.
    pub name: Option<String>,
    /// The package's version.
    pub version: Option<String>,
}

/// Stores what a manifest means.
///
/// # Errors
/// When a statement fails.
pub async fn insert(session: &mut Session, manifest: NodeId, kit: &NewKit<'_>) -> Result<()> {
    let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
    on!(session, |c| {
        let query = sqlx::query(sql::KIT_INSERT).bind(manifest.0).bind(kit.kind).bind(kit.is_model);
        let query = query.bind(bytes(kit.name)).bind(bytes(kit.version)).bind(kit.document).bind(bytes(kit.problem));
        let query = query.bind(kit.incomplete);
        query.execute(c).await.map(drop)
    })?;
    for (position, component) in kit.components.iter().enumerate() {
        let id: Option<i64> = on!(session, |c| {
            let query = sqlx::query_scalar(sql::COMPONENT_INSERT).bind(manifest.0).bind(rows::position(position));
            let query = query.bind(component.role).bind(bytes(component.name)).bind(bytes(component.path));
            query.bind(bytes(component.remote)).fetch_optional(c).await
        })?;
        let Some(id) = id else { continue };
        let layers: Vec<_> = component.layers.iter().enumerate().collect();
        for chunk in layers.chunks(sql::LIST) {
            let text = sql::rows(&session.engine(), sql::COMPONENT_LAYERS_INSERT, 4, chunk.len());
            on!(session, |c| {
                let mut query = sqlx::query(AssertSqlSafe(text));
                for (position, layer) in chunk {
                    query = query.bind(id).bind(rows::position(*position)).bind(manifest.0);
                    query = query.bind(rows::position(**layer));
                }
                query.execute(c).await.map(drop)
            })?;
        }
    }
    Ok(())
}

/// What the manifest means.
///
/// # Errors
/// When the statement fails.
pub async fn get(session: &mut Session, manifest: NodeId) -> Result<Option<Kit>> {
    type Row = (String, bool, Option<Vec<u8>>, Option<Vec<u8>>, Vec<u8>, Option<Vec<u8>>);
    let row: Option<Row> = on!(session, |c| sqlx::query_as(sql::KIT_GET).bind(manifest.0).fetch_optional(c).await)?;
    Ok(row.map(|(kind, is_model, name, version, document, problem)| Kit {
        kind,
        is_model,
        name: name.map(rows::text),
        version: version.map(rows::text),
        document,
        problem: problem.map(rows::text),
    }))
}

#[derive(sqlx::FromRow)]
struct LayerRow {
    layer_id: Option<i64>,
    digest: Vec<u8>,
    size: i64,
    media_type: Vec<u8>,
    path: Option<Vec<u8>>,
    state: Option<i32>,
    reason: Option<Vec<u8>>,
    form: Option<String>,
    diff_id: Option<Vec<u8>>,
    tree: Option<Vec<u8>>,
    contents: Option<Vec<u8>>,
    files: Option<i64>,
    bytes: Option<i64>,
    skipped: Option<i64>,
}

/// The layers of a manifest, in order.
///
/// # Errors
/// When the statement fails.
pub async fn layers(session: &mut Session, manifest: NodeId) -> Result<Vec<Layer>> {
    let found: Vec<LayerRow> = on!(session, |c| sqlx::query_as(sql::KIT_LAYERS).bind(manifest.0).fetch_all(c).await)?;
    let layer = |row: LayerRow| {
        Ok(Layer {
            id: LayerId(row.layer_id.ok_or(Error::Unreadable("layer"))?),
            digest: rows::digest(&row.digest)?,
            size: rows::unsigned(row.size),
            media_type: rows::text(row.media_type),
            path: row.path.map(rows::text),
            state: LayerState::from_code(row.state.ok_or(Error::Unreadable("layer"))?)?,
            reason: row.reason.map(rows::text),
            form: row.form,
            diff_id: row.diff_id.map(|hash| rows::digest(&hash)).transpose()?,
            tree: row.tree.map(|hash| rows::sha256(&hash)).transpose()?,
            contents: row.contents.map(|hash| rows::sha256(&hash)).transpose()?,
            files: rows::unsigned(row.files.unwrap_or_default()),
            bytes: rows::unsigned(row.bytes.unwrap_or_default()),
            skipped: rows::unsigned(row.skipped.unwrap_or_default()),
        })
    };
    found.into_iter().map(layer).collect()
}

/// Every layer of every component of the kits that are or were in a repository, by kit and component.
///
/// # Errors
/// When the statement fails.
pub async fn component_layers(session: &mut Session, repository: RepositoryId) -> Result<Vec<ComponentLayer>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        manifest_id: i64,
        position: i32,
        role: String,
        name: Option<Vec<u8>>,
        path: Option<Vec<u8>>,
        remote: Option<Vec<u8>>,
        layer_id: Option<i64>,
        layer_path: Option<Vec<u8>>,
        digest: Option<Vec<u8>>,
        state: Option<i32>,
        tree: Option<Vec<u8>>,
        contents: Option<Vec<u8>>,
    }
    let found: Vec<Row> =
        on!(session, |c| sqlx::query_as(sql::KIT_COMPONENT_LAYERS).bind(repository.0).fetch_all(c).await)?;
    let layer = |row: Row| {
        let layer = match (row.layer_id, row.digest, row.state) {
            (Some(id), Some(digest), Some(state)) => Some(LayerIdentity {
                placed: Placed { layer: LayerId(id), path: row.layer_path },
                own: layer::identity(&digest, state, row.tree, row.contents)?,
            }),
            _ => None,
        };
        Ok(ComponentLayer {
            manifest: NodeId(row.manifest_id),
            position: row.position,
            role: row.role,
            name: row.name.map(rows::text),
            path: row.path.map(rows::text),
            remote: row.remote.map(rows::text),
            layer,
        })
    };
    found.into_iter().map(layer).collect()
}

/// What the kits say that are or were in a repository until `as_of`, in the order of their pushes; a kit that came again stands
/// again.
///
/// # Errors
/// When the statement fails.
pub async fn documents(session: &mut Session, repository: RepositoryId, as_of: Micros) -> Result<Vec<Documented>> {
    let found: Vec<(i64, Vec<u8>)> =
        on!(session, |c| sqlx::query_as(sql::KIT_DOCUMENTS).bind(repository.0).bind(as_of.0).fetch_all(c).await)?;
    Ok(found.into_iter().map(|(id, document)| Documented { manifest: NodeId(id), document }).collect())
}

/// The kits of a repository, the latest push first, those before the stay `before`; those that were in it at `as_of`, if that is
/// given.
///
/// # Errors
/// When the statement fails.
pub async fn list(
    session: &mut Session,
    reader: Reader,
    repository: &Name,
    before: OccurrenceId,
    as_of: Option<Micros>,
    limit: u32,
) -> Result<Vec<Listed>> {
    type Row = (i64, Vec<u8>, String, bool, Option<Vec<u8>>, Option<Vec<u8>>, i64, i64, String, Vec<u8>);
    let found: Vec<Row> = on!(session, |c| {
        let text = if as_of.is_some() { sql::KIT_LIST_AT } else { sql::KIT_LIST };
        let query = sqlx::query_as(text).bind(reader.0).bind(&**repository).bind(before.0).bind(i64::from(limit));
        match as_of {
            Some(as_of) => query.bind(as_of.0).fetch_all(c).await,
            None => query.fetch_all(c).await,
        }
    })?;
    let listed = |(id, digest, kind, is_model, name, version, occurrence, pushed_at, pushed_by, document): Row| {
        Ok(Listed {
            id: NodeId(id),
            digest: rows::digest(&digest)?,
            kind,
            is_model,
            name: name.map(rows::text),
            version: version.map(rows::text),
            occurrence: OccurrenceId(occurrence),
            pushed_at: Micros(pushed_at),
            pushed_by,
            document,
        })
    };
    found.into_iter().map(listed).collect()
}

/// Those of the manifests that are no models.
///
/// # Errors
/// When a statement fails.
pub async fn not_models(session: &mut Session, manifests: &[NodeId]) -> Result<HashSet<NodeId>> {
    let found: Vec<i64> = look_up!(session, query_scalar(sql::KITS_NOT_MODELS), manifests, |one| one.0);
    Ok(found.into_iter().map(NodeId).collect())
}

/// The kits of the manifests.
///
/// # Errors
/// When a statement fails.
pub async fn summaries(session: &mut Session, manifests: &[NodeId]) -> Result<Vec<Summary>> {
    let found: Vec<SummaryRow> = look_up!(session, query_as(sql::KIT_ROWS), manifests, |one| one.0);
    found.into_iter().map(summary).collect()
}

/// The kits of those of the manifests that were in a repository that `reader` may read, at `as_of`.
///
/// # Errors
/// When a statement fails.
pub async fn readable(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    manifests: &[NodeId],
) -> Result<Vec<Summary>> {
    let found: Vec<SummaryRow> =
        look_up!(session, query_as(sql::KIT_ROWS_READABLE, reader.0, as_of.0), manifests, |one| one.0);
    found.into_iter().map(summary).collect()
}

type SummaryRow = (i64, Vec<u8>, String, bool, Option<Vec<u8>>, Option<Vec<u8>>);

fn summary((id, digest, kind, is_model, name, version): SummaryRow) -> Result<Summary> {
    Ok(Summary {
        id: NodeId(id),
        digest: rows::digest(&digest)?,
        kind,
        is_model,
        name: name.map(rows::text),
        version: version.map(rows::text),
    })
}
