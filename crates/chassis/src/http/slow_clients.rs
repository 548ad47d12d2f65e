//! Detects that a connection waits for its client: at its socket, in the body of a request, and at the end of a response.

use std::{
    error::Error,
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{BoxError, body::Body};
use hyper::{
    body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint},
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use super::connection_limits::{Conn, Phase, TransferLimit};

/// Socket that records when the client does not read and when it begins a further request.
pub(super) struct MonitoredStream {
    stream: TokioIo<TcpStream>,
    conn: Arc<Conn>,
}

impl MonitoredStream {
    pub(super) fn new(stream: TcpStream, conn: Arc<Conn>) -> Self {
        Self { stream: TokioIo::new(stream), conn }
    }

    fn record_write(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(Ok(bytes)) => self.conn.sent(*bytes),
            Poll::Pending if self.conn.phase() != Phase::Unread => self.conn.enter(Phase::Unread),
            _ => {}
        }
        result
    }
}

impl Read for MonitoredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        // Data between two requests begins the next one. The client's end of stream closes the connection anyway.
        if result.is_ready() && self.conn.phase() == Phase::Idle {
            self.conn.enter(Phase::Head);
        }
        result
    }
}

impl Write for MonitoredStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.record_write(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.record_write(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The client sent its body too slowly. The `Json` extractor of this crate answers with 408.
#[derive(Debug)]
pub(crate) struct BodyTooSlow;

impl fmt::Display for BodyTooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body arrived too slowly")
    }
}

impl Error for BodyTooSlow {}

impl BodyTooSlow {
    /// Returns `true` if this error caused `error`.
    pub(super) fn caused(error: &(dyn Error + 'static)) -> bool {
        let mut next = Some(error);
        while let Some(error) = next {
            if error.is::<Self>() {
                return true;
            }
            next = error.source();
        }
        false
    }
}

/// Request body that fails when it arrives too slowly.
pub(super) struct RequestBody {
    incoming: Incoming,
    conn: Arc<Conn>,
    transfer: TransferLimit,
    bytes: u64,
    /// Total time of the waits before the current one.
    waited: std::time::Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, conn: Arc<Conn>, transfer: TransferLimit) -> Self {
        Self { incoming, conn, transfer, bytes: 0, waited: std::time::Duration::ZERO, waiting: None }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let remaining = self.transfer.allowance(self.bytes).saturating_sub(self.waited);
        let conn = &self.conn;
        let (_, sleep) = self.waiting.get_or_insert_with(|| {
            conn.enter(Phase::Body);
            let now = Instant::now();
            (now, Box::pin(sleep_until(now + remaining)))
        });
        sleep.as_mut().poll(cx)
    }

    /// Ends a wait for the client.
    pub(super) fn pause(&mut self) {
        if let Some((since, _)) = self.waiting.take() {
            self.waited = self.waited.saturating_add(since.elapsed());
            self.conn.enter(Phase::Working);
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            ready!(self.poll_deadline(cx));
            return Poll::Ready(Some(Err(BodyTooSlow.into())));
        };
        self.pause();
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.bytes = self.bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        // Nobody reads the body any more.
        self.pause();
    }
}

/// Response body that reports when it has been handed over.
pub(super) struct ResponseBody {
    body: Body,
    conn: Arc<Conn>,
}

impl ResponseBody {
    pub(super) fn new(body: Body, conn: Arc<Conn>) -> Self {
        Self { body, conn }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.conn.response_finished();
    }
}
