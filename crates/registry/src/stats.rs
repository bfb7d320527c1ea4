//! Figures for whoever operates the registry.

use index::{Reader, completeness};

use crate::{Error, Registry, view};

/// How much of what there is, now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Uploads that are open.
    pub uploads: u64,
    /// Jobs that are due or being done.
    pub jobs_due: u64,
    /// Jobs that wait for another try.
    pub jobs_waiting: u64,
    /// Blobs that are being deleted.
    pub deleting: u64,
    /// Layers by state.
    pub layers: view::LayerCounts,
    /// References to what should be here and is not.
    pub unresolved: u64,
    /// Pulls that this process could not record.
    pub pulls_lost: u64,
}

impl Registry {
    /// How much of what there is.
    ///
    /// # Errors
    /// [`Error::Internal`] when the database fails.
    pub async fn stats(&self) -> Result<Stats, Error> {
        let mut session = self.db.read().await?;
        let work = completeness::work(&mut session, self.now()).await?;
        let counts = completeness::count(&mut session, Reader::ALL, self.limits.scanner_version()).await?;
        Ok(Stats {
            uploads: work.uploads,
            jobs_due: work.jobs_due,
            jobs_waiting: work.jobs_waiting,
            deleting: work.deleting,
            unresolved: counts.unresolved_references,
            pulls_lost: self.pulls.lost(),
            layers: view::LayerCounts::from(counts),
        })
    }
}
