//! One client and its connection to the broker: both directions, and the faults that act on them.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use telemetry::metric::{self, Metric};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::config::WireConfig;
use crate::frame::{PRODUCE, REQUEST_HEAD_BYTES, RESPONSE_HEAD_BYTES, RequestHead, ResponseHead, Waiting};
use crate::pipe::{Deadlines, Pipe};
use crate::wire_faults::WireFaults;

/// Interval at which a silent connection looks whether it has ended.
const SILENT_CHECK: Duration = Duration::from_millis(100);

/// Reason why a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// A peer closed its connection, or everything was answered before the process stops.
    Closed,
    /// The process stops, so no further request is read.
    Stopping,
    /// The answer to a produce request was dropped.
    AnswerLost,
    /// Both peers get nothing more.
    Silent,
}

/// What the two directions of one client share.
pub(crate) struct Connection {
    faults: WireFaults,
    stop: CancellationToken,
    waiting: Mutex<Waiting>,
}

impl Connection {
    pub(crate) fn new(faults: WireFaults, stop: CancellationToken) -> Self {
        Self { faults, stop, waiting: Mutex::default() }
    }

    /// Connects to the broker and forwards until one of the two closes, a fault ends it, or the process stops and everything is
    /// answered. Then both are closed.
    pub(crate) async fn run(self, mut client: TcpStream, config: &WireConfig) -> io::Result<()> {
        let connecting = TcpStream::connect(config.upstream.as_str());
        let mut broker = match tokio::time::timeout(config.connect_deadline(), connecting).await {
            Ok(connected) => connected?,
            Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the broker does not answer")),
        };
        // Nagle's algorithm would delay small frames.
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        match self.forward(&mut client, &mut broker, config.deadlines()).await? {
            End::AnswerLost => {
                metric::count(Metric::WireAnswersDropped, 1, &[]);
                tracing::info!("the answer to a produce request was dropped and its connection is closed");
            }
            End::Silent => {
                tracing::info!("a connection to the broker stays open and is silent from now on");
                self.stay_silent(&client).await;
            }
            End::Closed | End::Stopping => {}
        }
        Ok(())
    }

    async fn forward(
        &self,
        client: &mut TcpStream,
        broker: &mut TcpStream,
        deadlines: Deadlines,
    ) -> io::Result<End> {
        let (from_client, to_client) = client.split();
        let (from_broker, to_broker) = broker.split();
        let requests = self.requests(Pipe::new(from_client, to_broker, "request", deadlines));
        let responses = self.responses(Pipe::new(from_broker, to_client, "response", deadlines));
        tokio::pin!(requests, responses);
        let end = tokio::select! {
            end = &mut requests => end?,
            end = &mut responses => return end,
        };
        // What was requested is still answered.
        if end == End::Stopping { responses.await } else { Ok(end) }
    }

    async fn requests<R, W>(&self, mut pipe: Pipe<R, W>) -> io::Result<End>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut is_first = true;
        loop {
            let next = async {
                match is_first {
                    true => pipe.wait_for_first().await,
                    false => pipe.wait().await,
                }
            };
            let is_more = tokio::select! {
                () = self.stop.cancelled() => None,
                is_more = next => Some(is_more?),
            };
            let Some(is_more) = is_more else {
                pipe.flush().await?;
                return Ok(End::Stopping);
            };
            is_first = false;
            if !is_more {
                return Ok(End::Closed);
            }
            let head: [u8; REQUEST_HEAD_BYTES] = pipe.head().await?;
            let request = RequestHead::parse(head).ok_or_else(no_frame)?;
            if self.faults.silences() {
                return Ok(End::Silent);
            }
            self.waiting().add(&request);
            pipe.forward(&head, request.body_bytes).await?;
        }
    }

    async fn responses<R, W>(&self, mut pipe: Pipe<R, W>) -> io::Result<End>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut is_stopping = false;
        loop {
            if is_stopping && self.is_all_answered() {
                pipe.flush().await?;
                return Ok(End::Closed);
            }
            let is_more = tokio::select! {
                () = self.stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    continue;
                }
                is_more = pipe.wait() => is_more?,
            };
            if !is_more {
                return Ok(End::Closed);
            }
            let head: [u8; RESPONSE_HEAD_BYTES] = pipe.head().await?;
            let response = ResponseHead::parse(head).ok_or_else(no_frame)?;
            let api_key = self.waiting().answered(&response);
            // The broker has written the records by now, and only the client does not learn it.
            if api_key == Some(PRODUCE) && self.faults.loses_answer() {
                pipe.flush().await?;
                return Ok(End::AnswerLost);
            }
            if self.faults.silences() {
                return Ok(End::Silent);
            }
            pipe.forward(&head, response.body_bytes).await?;
        }
    }

    /// Keeps the connection open without reading, until the fault ends, the client gives up or the process stops.
    async fn stay_silent(&self, client: &TcpStream) {
        while self.faults.keeps_silent() {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(SILENT_CHECK) => {}
            }
            let state = tokio::time::timeout(Duration::ZERO, client.ready(Interest::READABLE)).await;
            if state.is_ok_and(|ready| ready.is_ok_and(|ready| ready.is_read_closed())) {
                return;
            }
        }
    }

    fn is_all_answered(&self) -> bool {
        self.waiting().is_empty()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_frame() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "this is no frame of Kafka's protocol")
}
