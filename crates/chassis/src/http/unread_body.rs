//! Reads what a handler left of a request's body, so that the client gets the answer.
//!
//! An answer such as a 401 or 404 needs no body, so its handler reads none. hyper then closes the connection behind the answer, and
//! a client that is still sending would meet a closed connection instead of the answer. So the rest is read first, within limits.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::BoxError;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use tokio::sync::oneshot;

use super::slow_clients::RequestBody;

/// Largest rest of a body that is read. Behind a larger one the connection closes.
const REST_BYTES_MAX: u64 = 16 * 1024;
/// Longest time that a rest is read.
const REST_WAIT: Duration = Duration::from_secs(1);

/// Lends a body to a handler. [`Unread`] gets back what the handler leaves of it. Without `is_sending` the client sends the body only
/// to a handler that begins to read it (`Expect: 100-continue`), so one that was not begun is left alone.
pub(super) fn lend(body: RequestBody, is_sending: bool) -> (LentBody, Unread) {
    let (back, returned) = oneshot::channel();
    (LentBody { body: Some(body), back: Some(back), is_sending }, Unread(returned))
}

/// A body in the hands of a handler.
pub(super) struct LentBody {
    /// `None` after its end and after an error, because there is nothing left to read then.
    body: Option<RequestBody>,
    back: Option<oneshot::Sender<RequestBody>>,
    is_sending: bool,
}

impl HttpBody for LentBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // hyper tells the client to send.
        self.is_sending = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for LentBody {
    fn drop(&mut self) {
        if self.is_sending
            && let (Some(mut body), Some(back)) = (self.body.take(), self.back.take())
        {
            body.pause();
            // Nobody waits for it if the client has disconnected.
            drop(back.send(body));
        }
    }
}

/// What a handler left of a body, once it has answered.
pub(super) struct Unread(oneshot::Receiver<RequestBody>);

impl Unread {
    /// Reads it, as far as the limits allow. Otherwise the connection closes behind the answer.
    pub(super) async fn skip(mut self) {
        let Ok(mut body) = self.0.try_recv() else { return };
        if body.is_end_stream() || body.size_hint().lower() > REST_BYTES_MAX {
            return;
        }
        let reading = async {
            let mut bytes = 0_u64;
            while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                bytes = bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
                if bytes > REST_BYTES_MAX {
                    return;
                }
            }
        };
        drop(tokio::time::timeout(REST_WAIT, reading).await);
    }
}
