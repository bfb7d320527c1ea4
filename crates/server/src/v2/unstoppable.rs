//! Work that goes on when nobody waits for it any more.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Work that is done where it is awaited, for that costs nothing; when it is dropped before its end, a task of its own
/// ends it.
pub(super) struct Unstoppable<T: Send + 'static>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T: Send + 'static> Unstoppable<T> {
    pub(super) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<T: Send + 'static> Future for Unstoppable<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(work) = &mut self.0 else { return Poll::Pending };
        let done = ready!(work.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(done)
    }
}

impl<T: Send + 'static> Drop for Unstoppable<T> {
    fn drop(&mut self) {
        // Without a runtime everything is ending.
        if let (Some(work), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_dropped_is_done_all_the_same() {
        let (done, mut told) = tokio::sync::mpsc::channel(1);
        let work = Unstoppable::new(async move {
            tokio::task::yield_now().await;
            done.send(7).await
        });
        tokio::select! {
            biased;
            done = work => panic!("it was to be dropped before its end: {done:?}"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(told.recv().await, Some(7));
        assert_eq!(Unstoppable::new(async { 8 }).await, 8);
    }
}
