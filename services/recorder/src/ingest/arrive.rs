//! A body while it arrives: in memory while it is small, then in a file without a name; at a least pace.

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

use super::answer::Refusal;
use crate::journal::{Blob, Body};

/// What is held in memory of a body that is still arriving: every connection may have as much.
const PENDING_BYTES_MAX: usize = 32 * 1024;

/// How a body has to arrive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The largest body.
    pub(super) bytes_max: usize,
    /// It may take this long in any case.
    pub(super) patience: Duration,
    /// And a second longer for each of these bytes.
    pub(super) bytes_per_s_min: u64,
}

impl Pace {
    fn deadline(&self, begun: Instant, arrived: u64) -> Instant {
        begun + self.patience + Duration::from_secs_f64(arrived as f64 / self.bytes_per_s_min as f64)
    }
}

/// Where bodies that are too large for memory wait; clones share its bound.
#[derive(Clone, Debug)]
pub struct Spool {
    directory: Arc<PathBuf>,
    used_bytes: Arc<AtomicU64>,
    bytes_max: u64,
}

impl Spool {
    /// A spool on the file system of this directory.
    #[must_use]
    pub fn new(directory: &Path, bytes_max: u64) -> Self {
        Self { directory: Arc::new(directory.to_owned()), used_bytes: Arc::default(), bytes_max }
    }
}

/// A body that has arrived, with what it uses of the spool.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) body: Body,
    _reserved: Option<Reserved>,
}

/// Bytes of the spool, given back in the end.
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

/// Reads a body to its end.
pub(super) async fn arrive(body: &mut HttpBody, spool: &Spool, pace: Pace) -> Result<Arrived, Refusal> {
    let too_large = || Refusal::TooLarge(pace.bytes_max);
    if body.size_hint().lower() > pace.bytes_max as u64 {
        return Err(too_large());
    }
    let begun = Instant::now();
    let mut arrived = 0_usize;
    let mut pending = BytesMut::new();
    let mut spooled: Option<Spooled> = None;
    loop {
        let deadline = pace.deadline(begun, arrived as u64);
        let frame = tokio::time::timeout_at(deadline, body.frame()).await.map_err(|_| Refusal::TooSlow)?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| Refusal::Unreadable(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        arrived += data.len();
        if arrived > pace.bytes_max {
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
        return Ok(Arrived { body: Body::Memory(pending.freeze()), _reserved: None });
    };
    file.write(pending.freeze()).await?;
    let body = Body::File(Blob { file: file.file, offset: 0, bytes: file.reserved.bytes });
    Ok(Arrived { body, _reserved: Some(file.reserved) })
}
