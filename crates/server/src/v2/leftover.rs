//! What an answer leaves unread of a request's body. A server that closes while bytes still come makes the kernel reset the
//! connection, and the client may never see why it was refused.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

/// How much is read for nobody, and for how long.
const BYTES: usize = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a body is given back that nobody read to its end.
#[derive(Clone, Default)]
pub(super) struct Leftover(Arc<Mutex<Option<Body>>>);

impl Leftover {
    /// The body, to be given back when it is dropped.
    pub(super) fn lend(&self, body: Body) -> Body {
        Body::new(Lent { body, leftover: self.clone() })
    }

    /// Reads what is left. Whether that was all, so that another request can follow.
    pub(super) async fn drain(&self) -> bool {
        let left = self.0.lock().ok().and_then(|mut left| left.take());
        let Some(mut body) = left else { return true };
        let drained = tokio::time::timeout(PATIENCE, async {
            let mut bytes = 0;
            while let Some(frame) = body.frame().await {
                bytes += frame.ok().and_then(|frame| frame.into_data().ok()).map_or(BYTES, |data| data.len());
                if bytes >= BYTES {
                    return false;
                }
            }
            true
        });
        drained.await.unwrap_or(false)
    }
}

struct Lent {
    body: Body,
    leftover: Leftover,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.body.is_end_stream()
            && let Ok(mut left) = self.leftover.0.lock()
        {
            *left = Some(std::mem::take(&mut self.body));
        }
    }
}
