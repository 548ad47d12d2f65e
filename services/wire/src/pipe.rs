//! One direction of a connection: reads heads of frames, and passes frames on through two buffers of fixed size.

use std::io;
use std::time::Duration;

use telemetry::metric::{self, Metric};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::io::{BufReader, BufWriter};

use crate::frame::frame_bytes;

/// Size of each of the two buffers. A larger frame passes in pieces.
const BUFFER_BYTES: usize = 16 * 1024;
const NOT_ACCEPTED: &str = "the peer does not accept the bytes";
const NOT_SENT: &str = "the peer does not send the rest of a frame, or a first one";

/// Time limits of one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// Longest time that a peer may take to accept the bytes of one buffer.
    pub(crate) stall: Duration,
    /// Longest time that a peer may take to send more of a frame that it began, and a client to begin its first request.
    pub(crate) read: Duration,
}

/// Reads from one peer and writes to the other. What it holds is written before it waits for more.
pub(crate) struct Pipe<R, W> {
    from: BufReader<R>,
    to: BufWriter<W>,
    /// `request` or `response`, in the metrics.
    direction: &'static str,
    deadlines: Deadlines,
    /// Frames and bytes that the metrics do not count yet.
    uncounted: (u64, u64),
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Pipe<R, W> {
    pub(crate) fn new(from: R, to: W, direction: &'static str, deadlines: Deadlines) -> Self {
        Self {
            from: BufReader::with_capacity(BUFFER_BYTES, from),
            to: BufWriter::with_capacity(BUFFER_BYTES, to),
            direction,
            deadlines,
            uncounted: (0, 0),
        }
    }

    /// Like [`Self::wait`], with a time limit.
    pub(crate) async fn wait_for_first(&mut self) -> io::Result<bool> {
        within(self.deadlines.read, NOT_SENT, self.wait()).await
    }

    /// Waits until the next frame begins. Returns false at the end of the stream. It may be cancelled.
    pub(crate) async fn wait(&mut self) -> io::Result<bool> {
        if self.from.buffer().is_empty() {
            self.flush().await?;
        }
        Ok(!self.from.fill_buf().await?.is_empty())
    }

    /// Reads the head of a frame.
    pub(crate) async fn head<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        if self.from.buffer().len() < N {
            self.flush().await?;
        }
        let mut head = [0; N];
        within(self.deadlines.read, NOT_SENT, self.from.read_exact(&mut head)).await?;
        Ok(head)
    }

    /// Writes the head, and as many bytes as follow it in its frame.
    pub(crate) async fn forward(&mut self, head: &[u8], body_bytes: u64) -> io::Result<()> {
        let (frames, bytes) = self.uncounted;
        self.uncounted = (frames + 1, bytes.saturating_add(frame_bytes(body_bytes, head.len())));
        let Deadlines { stall, read } = self.deadlines;
        within(stall, NOT_ACCEPTED, self.to.write_all(head)).await?;
        let mut left = body_bytes;
        while left > 0 {
            if self.from.buffer().is_empty() {
                self.flush().await?;
            }
            let filled = within(read, NOT_SENT, self.from.fill_buf()).await?;
            if filled.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = filled.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let piece = filled.get(..count).unwrap_or_default();
            within(stall, NOT_ACCEPTED, self.to.write_all(piece)).await?;
            self.from.consume(count);
            left = left.saturating_sub(u64::try_from(count).unwrap_or(left));
        }
        Ok(())
    }

    /// Writes what is held.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let (frames, bytes) = std::mem::take(&mut self.uncounted);
        if frames > 0 {
            let labels = [("direction", self.direction)];
            metric::count(Metric::WireFrames, frames, &labels);
            metric::count(Metric::WireBytes, bytes, &labels);
        }
        within(self.deadlines.stall, NOT_ACCEPTED, self.to.flush()).await
    }
}

/// Limits how long a peer may take.
async fn within<T>(
    deadline: Duration,
    problem: &'static str,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    match tokio::time::timeout(deadline, work).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, problem)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);
    const DEADLINES: Deadlines = Deadlines { stall: LONG, read: LONG };

    #[tokio::test]
    async fn large_frame_passes_in_pieces() {
        let body: Vec<u8> = (0..200_000_u32).map(|number| number.to_be_bytes()[3]).collect();
        let (mut client, proxy_in) = tokio::io::duplex(1_024);
        let (proxy_out, mut server) = tokio::io::duplex(1_024);
        let sent = body.clone();
        let sending = async move {
            client.write_all(b"head").await.unwrap();
            client.write_all(&sent).await.unwrap();
        };
        let passing = async {
            let mut pipe = Pipe::new(proxy_in, proxy_out, "request", DEADLINES);
            assert!(pipe.wait().await.unwrap());
            let head: [u8; 4] = pipe.head().await.unwrap();
            pipe.forward(&head, 200_000).await.unwrap();
            assert!(!pipe.wait().await.unwrap(), "the end of the stream");
        };
        let receiving = async {
            let mut received = vec![0; 200_004];
            server.read_exact(&mut received).await.unwrap();
            received
        };
        let ((), (), received) = tokio::join!(sending, passing, receiving);
        assert_eq!((&received[..4], &received[4..]), (b"head".as_slice(), body.as_slice()));
    }

    #[tokio::test]
    async fn peer_that_accepts_nothing_is_given_up() {
        let (mut client, proxy_in) = tokio::io::duplex(65_536);
        let (proxy_out, _server) = tokio::io::duplex(16);
        client.write_all(&[7; 65_536]).await.unwrap();
        let mut pipe = Pipe::new(proxy_in, proxy_out, "request", Deadlines { stall: SHORT, ..DEADLINES });
        let error = pipe.forward(b"head", 65_536).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn peer_that_stops_within_a_frame_is_given_up() {
        let (mut client, proxy_in) = tokio::io::duplex(64);
        let (proxy_out, _server) = tokio::io::duplex(64);
        let mut pipe = Pipe::new(proxy_in, proxy_out, "request", Deadlines { read: SHORT, ..DEADLINES });
        let first = pipe.wait_for_first().await.unwrap_err();
        client.write_all(b"ab").await.unwrap();
        assert!(pipe.wait_for_first().await.unwrap(), "a frame begins");
        let head = pipe.head::<4>().await.unwrap_err();
        let body = pipe.forward(b"head", 8).await.unwrap_err();
        assert_eq!([first, head, body].map(|error| error.kind()), [io::ErrorKind::TimedOut; 3]);
        let between = tokio::time::timeout(2 * SHORT, pipe.wait()).await;
        assert!(between.is_err(), "between two frames there is no limit");
    }

    #[tokio::test]
    async fn frame_that_breaks_off_is_an_error() {
        let (client, proxy_in) = tokio::io::duplex(64);
        let (proxy_out, _server) = tokio::io::duplex(64);
        drop(client);
        let mut pipe = Pipe::new(proxy_in, proxy_out, "request", DEADLINES);
        let error = pipe.forward(b"head", 8).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
