//! How much of the registry an answer could know.

use crate::{EdgeKind, LayerState, Micros, Reader, RepositoryId, Result, Session, db::on, rows, sql};

/// The row that stands for "scanned by an older scanner" among the states.
const OUTDATED: i32 = 100;

/// Layers by state, and references that name nothing yet, in what a reader may see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Wholly known.
    pub indexed: u64,
    /// Still to be scanned.
    pub pending: u64,
    /// Known in part.
    pub partial: u64,
    /// Not to be looked into.
    pub opaque: u64,
    /// Failed for now.
    pub failed: u64,
    /// Gone before they were scanned.
    pub purged: u64,
    /// Among those known, the ones that an older scanner saw.
    pub outdated: u64,
    /// References that should name something here and do not.
    pub unresolved_references: u64,
    /// Uses of artifacts of this registry that do not say which version.
    pub unknown_versions: u64,
    /// Kits of which something could not be understood that they may be made from.
    pub incomplete_kits: u64,
    /// Claims whose statement says more than could be read of it.
    pub incomplete_claims: u64,
    /// Datasets that lie outside the registry.
    pub remote_datasets: u64,
    /// Parents that lie outside the registry.
    pub external_parents: u64,
}

impl Counts {
    /// How much is missing in the registry.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.pending
            + self.partial
            + self.opaque
            + self.failed
            + self.purged
            + self.outdated
            + self.unresolved_references
            + self.unknown_versions
            + self.incomplete_kits
            + self.incomplete_claims
    }

    fn add_layers(&mut self, states: Vec<(i32, i64)>) -> Result<()> {
        for (state, layers) in states {
            let layers = rows::unsigned(layers);
            if state == OUTDATED {
                self.outdated += layers;
                continue;
            }
            *match LayerState::from_code(state)? {
                LayerState::Pending => &mut self.pending,
                LayerState::Indexed => &mut self.indexed,
                LayerState::Partial => &mut self.partial,
                LayerState::Opaque => &mut self.opaque,
                LayerState::Failed => &mut self.failed,
                LayerState::Purged => &mut self.purged,
            } += layers;
        }
        Ok(())
    }

    fn add_outside(&mut self, references: Vec<(i32, i64)>) -> Result<()> {
        for (kind, references) in references {
            match EdgeKind::from_code(kind)? {
                EdgeKind::DerivedFrom => self.external_parents += rows::unsigned(references),
                EdgeKind::TrainedOn | EdgeKind::TestedOn | EdgeKind::PackagedWith | EdgeKind::DependsOn => {
                    self.remote_datasets += rows::unsigned(references);
                }
                // Its source is code.
                EdgeKind::BuiltFrom => {}
            }
        }
        Ok(())
    }
}

/// What is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Uploads that are open.
    pub uploads: u64,
    /// Jobs that are due or being done.
    pub jobs_due: u64,
    /// Jobs that wait for another try.
    pub jobs_waiting: u64,
    /// Blobs that are being deleted.
    pub deleting: u64,
}

/// Counts what is under way at `now`.
///
/// # Errors
/// When the statement fails.
pub async fn work(session: &mut Session, now: Micros) -> Result<Work> {
    let (uploads, jobs_due, jobs_waiting, deleting): (i64, i64, i64, i64) =
        on!(session, |c| sqlx::query_as(sql::COUNT_WORK).bind(now.0).fetch_one(c).await)?;
    Ok(Work {
        uploads: rows::unsigned(uploads),
        jobs_due: rows::unsigned(jobs_due),
        jobs_waiting: rows::unsigned(jobs_waiting),
        deleting: rows::unsigned(deleting),
    })
}

/// Counts what `reader` may see. `scanner` is the current scanner's version.
///
/// # Errors
/// When a statement fails.
pub async fn count(session: &mut Session, reader: Reader, scanner: i32) -> Result<Counts> {
    let states: Vec<(i32, i64)> = if reader == Reader::ALL {
        on!(session, |c| sqlx::query_as(sql::COUNT_LAYERS_ALL).bind(scanner).fetch_all(c).await)?
    } else {
        let found: Vec<(i32, Option<i32>, i64)> =
            on!(session, |c| sqlx::query_as(sql::COUNT_LAYERS_READABLE).bind(reader.0).fetch_all(c).await)?;
        by_state(found, scanner)
    };
    let mut counts = Counts::default();
    counts.add_layers(states)?;
    let text = if reader == Reader::ALL { sql::COUNT_UNRESOLVED } else { sql::COUNT_UNRESOLVED_READABLE };
    let unresolved: i64 = on!(session, |c| sqlx::query_scalar(text).bind(reader.0).fetch_one(c).await)?;
    counts.unresolved_references = rows::unsigned(unresolved);
    let unversioned: i64 =
        on!(session, |c| sqlx::query_scalar(sql::COUNT_UNVERSIONED).bind(reader.0).fetch_one(c).await)?;
    counts.unknown_versions = rows::unsigned(unversioned);
    let incomplete: i64 =
        on!(session, |c| sqlx::query_scalar(sql::COUNT_KITS_INCOMPLETE).bind(reader.0).fetch_one(c).await)?;
    counts.incomplete_kits = rows::unsigned(incomplete);
    let claims: i64 =
        on!(session, |c| sqlx::query_scalar(sql::COUNT_CLAIMS_INCOMPLETE).bind(reader.0).fetch_one(c).await)?;
    counts.incomplete_claims = rows::unsigned(claims);
    let outside: Vec<(i32, i64)> =
        on!(session, |c| sqlx::query_as(sql::COUNT_OUTSIDE).bind(reader.0).fetch_all(c).await)?;
    counts.add_outside(outside)?;
    Ok(counts)
}

/// Counts what is or was in one repository, which `reader` may read.
///
/// # Errors
/// When a statement fails.
pub async fn count_in(session: &mut Session, reader: Reader, repository: RepositoryId, scanner: i32) -> Result<Counts> {
    let mut counts = Counts::default();
    let layers: Vec<(i32, Option<i32>, i64)> =
        on!(session, |c| sqlx::query_as(sql::COVERAGE_COUNT_LAYERS).bind(repository.0).fetch_all(c).await)?;
    counts.add_layers(by_state(layers, scanner))?;
    let unresolved: i64 = on!(session, |c| {
        sqlx::query_scalar(sql::COVERAGE_COUNT_UNRESOLVED).bind(reader.0).bind(repository.0).fetch_one(c).await
    })?;
    counts.unresolved_references = rows::unsigned(unresolved);
    let unversioned: i64 =
        on!(session, |c| sqlx::query_scalar(sql::COVERAGE_COUNT_UNVERSIONED).bind(repository.0).fetch_one(c).await)?;
    counts.unknown_versions = rows::unsigned(unversioned);
    let incomplete: i64 =
        on!(session, |c| sqlx::query_scalar(sql::COVERAGE_COUNT_KITS).bind(repository.0).fetch_one(c).await)?;
    counts.incomplete_kits = rows::unsigned(incomplete);
    let claims: i64 =
        on!(session, |c| sqlx::query_scalar(sql::COVERAGE_COUNT_CLAIMS).bind(repository.0).fetch_one(c).await)?;
    counts.incomplete_claims = rows::unsigned(claims);
    let outside: Vec<(i32, i64)> =
        on!(session, |c| sqlx::query_as(sql::COVERAGE_COUNT_OUTSIDE).bind(repository.0).fetch_all(c).await)?;
    counts.add_outside(outside)?;
    Ok(counts)
}

/// Layers by state, and once more those that an older scanner saw.
fn by_state(found: Vec<(i32, Option<i32>, i64)>, scanner: i32) -> Vec<(i32, i64)> {
    let outdated = |by: &Option<i32>| by.is_some_and(|by| by < scanner);
    let older = found.iter().filter(|(_, by, _)| outdated(by)).map(|&(_, _, layers)| (OUTDATED, layers));
    let older: Vec<_> = older.collect();
    found.into_iter().map(|(state, _, layers)| (state, layers)).chain(older).collect()
}
