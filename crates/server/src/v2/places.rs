//! How many bodies are received at once. Whoever comes when all places are taken waits a little and is then asked to come
//! again: a server that takes everybody serves nobody.

use std::{sync::Arc, time::Duration};

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// How long a body waits for a place.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The places for bodies.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// Nothing when there is no limit.
    free: Option<Arc<Semaphore>>,
    counts: Counts,
}

/// How it stands with them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// Bodies that are being received.
    pub(crate) receiving: Gauge,
    /// Bodies that wait for a place.
    pub(crate) waiting: Gauge,
    /// Bodies that waited in vain.
    pub(crate) refused: Counter,
}

/// A place that is taken, until it is dropped.
pub(super) struct Place {
    _counted: Counted,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// So many places; 0 sets no limit.
    pub(crate) fn new(number: usize, counts: Counts) -> Self {
        Self { free: (number > 0).then(|| Arc::new(Semaphore::new(number))), counts }
    }

    /// A place, if one becomes free in time. Those who wait are served in the order in which they came.
    pub(super) async fn take(&self) -> Option<Place> {
        let permit = match &self.free {
            None => None,
            Some(free) => Some(self.permit(free).await?),
        };
        Some(Place { _counted: Counted::new(&self.counts.receiving), _permit: permit })
    }

    async fn permit(&self, free: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(free).try_acquire_owned() {
            return Some(permit);
        }
        let _waiting = Counted::new(&self.counts.waiting);
        let permit = timeout(PATIENCE, Arc::clone(free).acquire_owned()).await.ok().and_then(Result::ok);
        if permit.is_none() {
            self.counts.refused.inc();
        }
        permit
    }
}

/// One more, for as long as it lives.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_place_is_waited_for_but_not_for_ever() {
        let counts = Counts::default();
        let places = Places::new(1, counts.clone());
        let first = places.take().await;
        assert!(first.is_some() && places.take().await.is_none());
        assert_eq!((counts.receiving.get(), counts.waiting.get(), counts.refused.get()), (1, 0, 1));
        let (second, ()) = tokio::join!(places.take(), async {
            tokio::task::yield_now().await;
            assert_eq!(counts.waiting.get(), 1);
            drop(first);
        });
        assert!(second.is_some() && counts.receiving.get() == 1);
        drop(second);
        let free = Places::new(0, counts.clone());
        assert!(free.take().await.is_some() && free.take().await.is_some());
        assert_eq!((counts.receiving.get(), counts.waiting.get(), counts.refused.get()), (0, 0, 1));
    }
}
