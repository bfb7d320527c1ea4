//! How much of the registry an answer could know.

use crate::{EdgeKind, LayerState, Micros, Reader, Result, Session, db::on, rows, sql};

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
    /// Kits of which something could not be understood that they may be made from.
    pub incomplete_kits: u64,
    /// Datasets that lie outside the registry.
    pub remote_datasets: u64,
    /// Parents that lie outside the registry.
    pub external_parents: u64,
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
        let outdated = |by: &Option<i32>| by.is_some_and(|by| by < scanner);
        let older = found.iter().filter(|(_, by, _)| outdated(by)).map(|&(_, _, layers)| (OUTDATED, layers));
        let older: Vec<_> = older.collect();
        found.into_iter().map(|(state, _, layers)| (state, layers)).chain(older).collect()
    };
    let mut counts = Counts::default();
    for (state, layers) in states {
        let layers = rows::unsigned(layers);
        if state == OUTDATED {
            counts.outdated += layers;
            continue;
        }
        *match LayerState::from_code(state)? {
            LayerState::Pending => &mut counts.pending,
            LayerState::Indexed => &mut counts.indexed,
            LayerState::Partial => &mut counts.partial,
            LayerState::Opaque => &mut counts.opaque,
            LayerState::Failed => &mut counts.failed,
            LayerState::Purged => &mut counts.purged,
        } += layers;
    }
    let text = if reader == Reader::ALL { sql::COUNT_UNRESOLVED } else { sql::COUNT_UNRESOLVED_READABLE };
    let unresolved: i64 = on!(session, |c| sqlx::query_scalar(text).bind(reader.0).fetch_one(c).await)?;
    counts.unresolved_references = rows::unsigned(unresolved);
    let incomplete: i64 =
        on!(session, |c| sqlx::query_scalar(sql::COUNT_KITS_INCOMPLETE).bind(reader.0).fetch_one(c).await)?;
    counts.incomplete_kits = rows::unsigned(incomplete);
    let outside: Vec<(i32, i64)> =
        on!(session, |c| sqlx::query_as(sql::COUNT_OUTSIDE).bind(reader.0).fetch_all(c).await)?;
    for (kind, references) in outside {
        match EdgeKind::from_code(kind)? {
            EdgeKind::DerivedFrom => counts.external_parents += rows::unsigned(references),
            EdgeKind::TrainedOn | EdgeKind::TestedOn | EdgeKind::PackagedWith => {
                counts.remote_datasets += rows::unsigned(references);
            }
        }
    }
    Ok(counts)
}
