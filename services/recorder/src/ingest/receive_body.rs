//! Receives a body at a minimum rate: in memory while it is small, then in an unnamed file.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::body::{Body as HttpBody, HttpBody as _};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use super::refusal::Refusal;
use crate::journal::{Blob, Body};

/// Largest part of an incoming body in memory. Every connection may hold this much.
const PENDING_BYTES_MAX: usize = 32 * 1024;

/// Limits for an incoming body.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceiveLimits {
    /// Largest body.
    pub(super) bytes_max: usize,
    /// Waiting time that every sender has.
    pub(super) wait: Duration,
    /// Minimum rate: each time this many bytes arrive, the sender has one more second.
    pub(super) bytes_per_s_min: u64,
    /// Longest wait from any moment on, so that a fast start does not permit hours of silence.
    pub(super) wait_max: Duration,
}

impl ReceiveLimits {
    /// Returns the waiting time that is left after `waited` of `left` has passed and these bytes have arrived.
    fn left(&self, left: Duration, waited: Duration, bytes: usize) -> Duration {
        let earned = Duration::from_secs_f64(bytes as f64 / self.bytes_per_s_min as f64);
        (left.saturating_sub(waited) + earned).min(self.wait_max)
    }
}

/// Storage for incoming bodies that are too large for memory. Clones share its limit.
#[derive(Clone, Debug)]
pub struct Spool {
    directory: Arc<PathBuf>,
    used_bytes: Arc<AtomicU64>,
    bytes_max: u64,
}

impl Spool {
    /// Creates a spool on the file system of this directory.
    #[must_use]
    pub fn new(directory: &Path, bytes_max: u64) -> Self {
        Self { directory: Arc::new(directory.to_owned()), used_bytes: Arc::default(), bytes_max }
    }
}

/// A received body and its reservation in the spool.
#[derive(Debug)]
pub(super) struct ReceivedBody {
    pub(super) body: Body,
    _reserved: Option<Reserved>,
}

/// Reserved bytes of the spool, released on drop.
#[derive(Debug)]
struct Reserved {
    spool: Spool,
    bytes: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.spool.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Spooled {
    file: Arc<File>,
    reserved: Reserved,
}

impl Spooled {
    async fn new(spool: &Spool) -> Result<Self, Refusal> {
        let directory = Arc::clone(&spool.directory);
        let made = tokio::task::spawn_blocking(move || tempfile::tempfile_in(directory.as_path())).await;
        let file = made.map_err(|_| Refusal::Worker)?.map_err(|error| failed(&error))?;
        Ok(Self { file: Arc::new(file), reserved: Reserved { spool: spool.clone(), bytes: 0 } })
    }

    async fn write(&mut self, piece: Bytes) -> Result<(), Refusal> {
        let (size, at) = (piece.len() as u64, self.reserved.bytes);
        let used = self.reserved.spool.used_bytes.fetch_add(size, Ordering::Relaxed);
        self.reserved.bytes += size;
        if used + size > self.reserved.spool.bytes_max {
            return Err(Refusal::Busy);
        }
        let file = Arc::clone(&self.file);
        let written = tokio::task::spawn_blocking(move || file.write_all_at(&piece, at)).await;
        written.map_err(|_| Refusal::Worker)?.map_err(|error| failed(&error))
    }
}

fn failed(error: &std::io::Error) -> Refusal {
    tracing::error!(error = %error, "a body could not be written to the spool");
    Refusal::Spool
}

/// Receives a body to its end.
pub(super) async fn receive_body(
    body: &mut HttpBody,
    spool: &Spool,
    limits: ReceiveLimits,
) -> Result<ReceivedBody, Refusal> {
    let too_large = || Refusal::TooLarge(limits.bytes_max);
    if body.size_hint().lower() > limits.bytes_max as u64 {
        return Err(too_large());
    }
    let mut left = limits.wait;
    let mut arrived = 0_usize;
    let mut pending = BytesMut::new();
    let mut spooled: Option<Spooled> = None;
    loop {
        // Only waiting for the sender counts, because the sender cannot speed up the recorder's disk.
        let begun = Instant::now();
        let frame = tokio::time::timeout(left, body.frame()).await.map_err(|_| Refusal::TooSlow)?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| Refusal::Unreadable(error.to_string()))?;
        let data = frame.into_data().unwrap_or_default();
        left = limits.left(left, begun.elapsed(), data.len());
        arrived += data.len();
        if arrived > limits.bytes_max {
            return Err(too_large());
        }
        pending.extend_from_slice(&data);
        if pending.len() > PENDING_BYTES_MAX {
            let file = match &mut spooled {
                Some(file) => file,
                none => none.insert(Spooled::new(spool).await?),
            };
            file.write(pending.split().freeze()).await?;
        }
    }
    let Some(mut file) = spooled else {
        return Ok(ReceivedBody { body: Body::Memory(pending.freeze()), _reserved: None });
    };
    file.write(pending.freeze()).await?;
    let body = Body::File(Blob { file: file.file, offset: 0, bytes: file.reserved.bytes });
    Ok(ReceivedBody { body, _reserved: Some(file.reserved) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn limits() -> ReceiveLimits {
        ReceiveLimits { bytes_max: 1 << 20, wait: 10 * S, bytes_per_s_min: 1_000, wait_max: 30 * S }
    }

    #[test]
    fn received_bytes_extend_deadline_to_maximum() {
        let limits = limits();
        assert_eq!(limits.left(10 * S, 4 * S, 2_000), 8 * S);
        assert_eq!(limits.left(10 * S, 4 * S, 0), 6 * S, "a frame without bytes earns nothing");
        assert_eq!(limits.left(10 * S, S, 178_000_000), 30 * S, "however fast it was before");
        assert_eq!(limits.left(S, 2 * S, 0), Duration::ZERO);
    }

    #[tokio::test]
    async fn stalled_sender_times_out_after_a_fast_start() {
        let frames = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b'a'; 500_000]))]);
        let mut body = HttpBody::from_stream(futures::StreamExt::chain(frames, futures::stream::pending()));
        let directory = tempfile::tempdir().expect("a folder");
        let spool = Spool::new(directory.path(), 1 << 20);
        let short = Duration::from_millis(20);
        // The rate alone would permit almost six days of silence.
        let limits = ReceiveLimits { wait: 60 * S, bytes_per_s_min: 1, wait_max: short, ..limits() };
        let outcome = tokio::time::timeout(60 * S, receive_body(&mut body, &spool, limits)).await;
        assert!(matches!(outcome.expect("given up"), Err(Refusal::TooSlow)));
        assert_eq!(spool.used_bytes.load(Ordering::Relaxed), 0, "the spool is free again");
    }

    fn large() -> HttpBody {
        HttpBody::from(vec![b'a'; 500_000])
    }

    #[tokio::test]
    async fn body_is_refused_while_the_spool_is_full() {
        let directory = tempfile::tempdir().expect("a folder");
        let spool = Spool::new(directory.path(), 900_000);
        let first = receive_body(&mut large(), &spool, limits()).await.expect("there is room for one");
        let second = receive_body(&mut large(), &spool, limits()).await;
        assert!(matches!(second, Err(Refusal::Busy)), "{second:?}");
        assert_eq!(
            spool.used_bytes.load(Ordering::Relaxed),
            500_000,
            "the second has given back what it took"
        );
        drop(first);
        receive_body(&mut large(), &spool, limits()).await.expect("there is room again");
    }

    #[tokio::test]
    async fn unwritable_spool_returns_503() {
        let directory = tempfile::tempdir().expect("a folder");
        let spool = Spool::new(&directory.path().join("missing"), 1 << 20);
        let refused = receive_body(&mut large(), &spool, limits()).await;
        assert!(matches!(refused, Err(Refusal::Spool)), "{refused:?}");
        assert_eq!(Refusal::Spool.status(), http::StatusCode::SERVICE_UNAVAILABLE);
    }
}
