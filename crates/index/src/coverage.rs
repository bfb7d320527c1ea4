//! What the registry does not wholly know, one by one: layers, kits and references, with where they are.

use std::collections::HashMap;

use oci::{Digest, Name};
use sqlx::AssertSqlSafe;

use crate::{
    ClaimId, LayerId, LayerState, Micros, NodeId, Reader, ReferenceId, RepositoryId, Result, Session, db::on, rows, sql,
};

/// Whose eyes look, and at which repository, if at one.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Whose eyes.
    pub reader: Reader,
    /// Only what is or was in this repository.
    pub repository: Option<RepositoryId>,
}

/// A layer that is not wholly known, or that an older scanner saw.
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
    /// Why it is in that state.
    pub reason: Option<String>,
    /// The scanner's version whose facts serve, if any do.
    pub scanner: Option<i32>,
    /// When those were found.
    pub scanned_at: Option<Micros>,
    /// The scan that is to come.
    pub job: Option<Job>,
}

/// A scan that is to come.
#[derive(Debug, Clone)]
pub struct Job {
    /// Since when it is wanted.
    pub since: Micros,
    /// How often it was begun.
    pub attempts: u32,
    /// Why the last one failed.
    pub reason: Option<String>,
    /// When it is due, or was; `None` while it is being done.
    pub run_at: Option<Micros>,
}

/// A kit of which something could not be understood.
#[derive(Debug, Clone)]
pub struct Kit {
    /// Its manifest.
    pub id: NodeId,
    /// Its manifest's digest.
    pub digest: Digest,
    /// What could not be understood.
    pub problem: Option<String>,
    /// Since when it is known.
    pub since: Micros,
}

/// A reference that names nothing.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Its row.
    pub id: ReferenceId,
    /// Its text.
    pub declared: String,
    /// Since when it is known.
    pub since: Micros,
    /// Where it is declared.
    pub place: Place,
}

/// An artifact in a repository.
#[derive(Debug, Clone)]
pub struct Place {
    /// The repository.
    pub repository: Name,
    /// The manifest.
    pub digest: Digest,
    /// A tag that names it.
    pub tag: Option<String>,
    /// Whether it was deleted there.
    pub is_deleted: bool,
}

/// Some of the places of something, and how many there are.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The first of them.
    pub first: Vec<Place>,
    /// How many there are.
    pub all: u64,
}

#[derive(sqlx::FromRow)]
struct LayerRow {
    id: i64,
    digest: Vec<u8>,
    size: i64,
    state: i32,
    reason: Option<Vec<u8>>,
    scanner: Option<i32>,
    finished_at: Option<i64>,
    created_at: Option<i64>,
    attempts: Option<i32>,
    job_reason: Option<Vec<u8>>,
    run_at: Option<i64>,
    held: bool,
}

impl LayerRow {
    fn layer(self) -> Result<Layer> {
        let (attempts, reason) = (self.attempts.unwrap_or_default(), self.job_reason);
        let run_at = self.run_at.filter(|_| !self.held).map(Micros);
        Ok(Layer {
            id: LayerId(self.id),
            digest: rows::digest(&self.digest)?,
            size: rows::unsigned(self.size),
            state: LayerState::from_code(self.state)?,
            reason: self.reason.map(rows::text),
            scanner: self.scanner,
            scanned_at: self.finished_at.map(Micros),
            job: self.created_at.map(|since| Job {
                since: Micros(since),
                attempts: u32::try_from(attempts).unwrap_or_default(),
                reason: reason.map(rows::text),
                run_at,
            }),
        })
    }
}

/// The layers in a state other than indexed, by id, at most `limit` after `after`.
///
/// # Errors
/// When the statement fails.
pub async fn layers(
    session: &mut Session,
    view: View,
    state: LayerState,
    after: LayerId,
    limit: u32,
) -> Result<Vec<Layer>> {
    let found: Vec<LayerRow> = on!(session, |c| {
        let query = sqlx::query_as(sql::COVERAGE_LAYERS).bind(view.reader.0).bind(view.repository());
        query.bind(state.code()).bind(after.0).bind(i64::from(limit)).fetch_all(c).await
    })?;
    found.into_iter().map(LayerRow::layer).collect()
}

/// The layers whose facts an older scanner than `scanner` found, by that and by id, at most `limit` after `after`.
///
/// # Errors
/// When the statement fails.
pub async fn outdated(
    session: &mut Session,
    view: View,
    scanner: i32,
    after: (i32, LayerId),
    limit: u32,
) -> Result<Vec<Layer>> {
    let found: Vec<LayerRow> = on!(session, |c| {
        let query = sqlx::query_as(sql::COVERAGE_OUTDATED).bind(view.reader.0).bind(view.repository());
        query.bind(scanner).bind(after.0).bind(after.1.0).bind(i64::from(limit)).fetch_all(c).await
    })?;
    found.into_iter().map(LayerRow::layer).collect()
}

/// The kits that are incomplete, by id, at most `limit` after `after`.
///
/// # Errors
/// When the statement fails.
pub async fn kits(session: &mut Session, view: View, after: NodeId, limit: u32) -> Result<Vec<Kit>> {
    type Row = (i64, Vec<u8>, Option<Vec<u8>>, i64);
    let found: Vec<Row> = on!(session, |c| {
        let query = sqlx::query_as(sql::COVERAGE_KITS).bind(view.reader.0).bind(view.repository());
        query.bind(after.0).bind(i64::from(limit)).fetch_all(c).await
    })?;
    let kit = |(id, digest, problem, since): Row| {
        let (digest, problem) = (rows::digest(&digest)?, problem.map(rows::text));
        Ok(Kit { id: NodeId(id), digest, problem, since: Micros(since) })
    };
    found.into_iter().map(kit).collect()
}

/// The references that name nothing, by id, at most `limit` after `after`.
///
/// # Errors
/// When the statement fails.
pub async fn references(session: &mut Session, view: View, after: ReferenceId, limit: u32) -> Result<Vec<Reference>> {
    type Row = (i64, Vec<u8>, String, Vec<u8>, i64, Option<String>);
    let text = if view.reader == Reader::ALL { sql::COVERAGE_REFERENCES } else { sql::COVERAGE_REFERENCES_READABLE };
    let found: Vec<Row> = on!(session, |c| {
        let query = sqlx::query_as(text).bind(view.reader.0).bind(view.repository());
        query.bind(after.0).bind(i64::from(limit)).fetch_all(c).await
    })?;
    let reference = |(id, declared, repository, digest, since, tag): Row| {
        let (repository, digest) = (rows::name(&repository)?, rows::digest(&digest)?);
        let place = Place { repository, digest, tag, is_deleted: false };
        Ok(Reference { id: ReferenceId(id), declared: rows::text(declared), since: Micros(since), place })
    };
    found.into_iter().map(reference).collect()
}

/// A claim whose statement says more than could be read of it.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Its row.
    pub id: ClaimId,
    /// The statement, where one is kept.
    pub statement: Option<Digest>,
    /// What could not be read.
    pub problem: Option<String>,
    /// Since when it is known.
    pub since: Micros,
    /// What it is about, where that is here.
    pub place: Option<Place>,
}

/// Those claims, by id, at most `limit` after `after`.
///
/// # Errors
/// When the statement fails.
pub async fn claims(session: &mut Session, view: View, after: ClaimId, limit: u32) -> Result<Vec<Claim>> {
    type Row = (i64, Option<Vec<u8>>, Option<Vec<u8>>, i64, Option<String>, Option<Vec<u8>>, Option<String>);
    let found: Vec<Row> = on!(session, |c| {
        let query = sqlx::query_as(sql::COVERAGE_CLAIMS).bind(view.reader.0).bind(view.repository());
        query.bind(after.0).bind(i64::from(limit)).fetch_all(c).await
    })?;
    let claim = |(id, statement, problem, since, repository, digest, tag): Row| {
        let place = match (repository, digest) {
            (Some(repository), Some(digest)) => {
                let (repository, digest) = (rows::name(&repository)?, rows::digest(&digest)?);
                Some(Place { repository, digest, tag, is_deleted: false })
            }
            _ => None,
        };
        let statement = statement.map(|hash| rows::digest(&hash)).transpose()?;
        Ok(Claim { id: ClaimId(id), statement, problem: problem.map(rows::text), since: Micros(since), place })
    };
    found.into_iter().map(claim).collect()
}

/// Where the layers are, or were.
///
/// # Errors
/// When a statement fails.
pub async fn places_of_layers(
    session: &mut Session,
    view: View,
    layers: &[LayerId],
) -> Result<HashMap<LayerId, Places>> {
    let ids: Vec<_> = layers.iter().map(|layer| layer.0).collect();
    let places = places(session, sql::COVERAGE_PLACES_OF_LAYERS, view, &ids).await?;
    Ok(places.into_iter().map(|(id, places)| (LayerId(id), places)).collect())
}

/// Where the kits are, or were.
///
/// # Errors
/// When a statement fails.
pub async fn places_of_kits(session: &mut Session, view: View, kits: &[NodeId]) -> Result<HashMap<NodeId, Places>> {
    let ids: Vec<_> = kits.iter().map(|kit| kit.0).collect();
    let places = places(session, sql::COVERAGE_PLACES_OF_KITS, view, &ids).await?;
    Ok(places.into_iter().map(|(id, places)| (NodeId(id), places)).collect())
}

async fn places(session: &mut Session, text: &str, view: View, ids: &[i64]) -> Result<HashMap<i64, Places>> {
    type Row = (i64, String, Vec<u8>, Option<String>, bool, i64);
    let mut places: HashMap<i64, Places> = HashMap::new();
    for chunk in ids.chunks(sql::LIST) {
        let width = sql::padded(chunk.len());
        let text = sql::list(text, 3, width);
        let found: Vec<Row> = on!(session, |c| {
            let query = sqlx::query_as(AssertSqlSafe(text)).bind(view.reader.0).bind(view.repository());
            let query = sql::filled(chunk).fold(query, |query, one| query.bind(*one));
            query.fetch_all(c).await
        })?;
        for (id, repository, digest, tag, is_deleted, all) in found {
            let of = places.entry(id).or_default();
            of.all = rows::unsigned(all);
            let (repository, digest) = (rows::name(&repository)?, rows::digest(&digest)?);
            of.first.push(Place { repository, digest, tag, is_deleted });
        }
    }
    Ok(places)
}

impl View {
    /// The repository's row; rows count from 1.
    fn repository(self) -> i64 {
        self.repository.map_or(0, |repository| repository.0)
    }
}
