//! Copies for a real Sentry, where a DSN of one is given for a project.
//!
//! Promise: forwarding never delays and never changes what is kept. Its queue is bounded in number and in bytes; what
//! does not fit, is rate-limited or fails is dropped and counted by reason, never retried.

mod copy;
mod targets;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::journal::{BodyKind, Encoding};

pub use targets::{TargetError, targets};

/// Copies that wait, for each project.
const WAITING_MAX: usize = 128;
/// Bytes of all copies that wait.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A Sentry that has not answered by then has lost the copy.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// How long to keep silent after a 429 that does not say.
const SILENCE_DEFAULT_S: u64 = 60;
/// A longer silence than this is not obeyed literally: a mistake over there shall not last for days here.
const SILENCE_MAX_S: u64 = 3600;

/// Where the copies of one project go.
#[derive(Clone, Debug)]
pub struct Target {
    /// Numeric id of the project here.
    pub project: u32,
    /// Its name.
    pub name: String,
    /// Its DSN over there.
    pub dsn: crate::protocol::auth::Dsn,
}

/// One copy on its way.
#[derive(Debug)]
struct Copy {
    kind: BodyKind,
    encoding: Encoding,
    body: Bytes,
    _bytes: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    queue_full: AtomicU64,
    rate_limited: AtomicU64,
    failed: AtomicU64,
}

/// How the copies of one project fare.
#[derive(Clone, Debug, Serialize)]
pub struct ForwardState {
    /// The project.
    pub project: String,
    /// Copies that were answered with 2xx.
    pub sent: u64,
    /// Copies that did not fit into the queue.
    pub dropped_queue_full: u64,
    /// Copies that were not sent because the other side asked for silence.
    pub dropped_rate_limited: u64,
    /// Copies that were refused, or not answered in time.
    pub dropped_failed: u64,
}

#[derive(Debug)]
struct Lane {
    name: String,
    sender: mpsc::Sender<Copy>,
    counts: Arc<Counts>,
}

/// Handle for handing copies over; clones share it.
#[derive(Clone, Debug)]
pub struct Forwarder {
    lanes: Arc<HashMap<u32, Lane>>,
    bytes: Arc<Semaphore>,
}

impl Forwarder {
    /// A forwarder for these targets, and what does its work.
    ///
    /// # Errors
    /// When there is a target and no HTTP client can be made.
    pub fn new(targets: Vec<Target>, envelope_bytes_max: usize) -> Result<(Self, Copying), reqwest::Error> {
        let mut lanes = HashMap::new();
        let mut workers = Vec::new();
        if !targets.is_empty() {
            let client =
                reqwest::Client::builder().timeout(SEND_DEADLINE).user_agent("pitboss-recorder").build()?;
            for target in targets {
                let (sender, receiver) = mpsc::channel(WAITING_MAX);
                let counts = Arc::new(Counts::default());
                let name = target.name.clone();
                lanes.insert(target.project, Lane { name, sender, counts: Arc::clone(&counts) });
                let client = client.clone();
                workers.push(Worker {
                    target,
                    receiver,
                    counts,
                    client,
                    envelope_bytes_max,
                    silent_until: None,
                });
            }
        }
        let bytes = Arc::new(Semaphore::new(WAITING_BYTES_MAX));
        Ok((Self { lanes: Arc::new(lanes), bytes }, Copying(workers)))
    }

    /// Offers a copy; never waits.
    pub fn offer(&self, project: u32, kind: BodyKind, encoding: Encoding, body: Bytes) {
        let Some(lane) = self.lanes.get(&project) else { return };
        let size = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.bytes).try_acquire_many_owned(size).ok().is_some_and(|permit| {
            lane.sender.try_send(Copy { kind, encoding, body, _bytes: permit }).is_ok()
        });
        if !taken {
            lane.counts.queue_full.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How the copies of each project fare.
    #[must_use]
    pub fn states(&self) -> Vec<ForwardState> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut states: Vec<_> = self
            .lanes
            .values()
            .map(|lane| ForwardState {
                project: lane.name.clone(),
                sent: read(&lane.counts.sent),
                dropped_queue_full: read(&lane.counts.queue_full),
                dropped_rate_limited: read(&lane.counts.rate_limited),
                dropped_failed: read(&lane.counts.failed),
            })
            .collect();
        states.sort_by(|a, b| a.project.cmp(&b.project));
        states
    }
}

/// The sending side, to be run beside the listeners.
#[derive(Debug)]
pub struct Copying(Vec<Worker>);

impl Copying {
    /// Sends until it is told to stop; what waits then is lost, as it would be with any Sentry SDK.
    ///
    /// # Errors
    /// Never; a copy that fails is counted.
    pub async fn run(self, stop: CancellationToken) -> Result<(), std::convert::Infallible> {
        let sending = join_all(self.0.into_iter().map(Worker::run));
        tokio::select! {
            _ = sending => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Worker {
    target: Target,
    receiver: mpsc::Receiver<Copy>,
    counts: Arc<Counts>,
    client: reqwest::Client,
    envelope_bytes_max: usize,
    silent_until: Option<Instant>,
}

impl Worker {
    async fn run(mut self) {
        while let Some(copy) = self.receiver.recv().await {
            let counter = if self.silent_until.is_some_and(|until| Instant::now() < until) {
                &self.counts.rate_limited
            } else {
                match self.send(copy).await {
                    Ok(()) => &self.counts.sent,
                    Err(Lost::RateLimited(silence)) => {
                        self.silent_until = Instant::now().checked_add(silence);
                        &self.counts.rate_limited
                    }
                    Err(Lost::Failed(reason)) => {
                        tracing::debug!(project = self.target.name, reason, "a copy was not taken");
                        &self.counts.failed
                    }
                }
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn send(&self, copy: Copy) -> Result<(), Lost> {
        let (dsn, limit) = (self.target.dsn.clone(), self.envelope_bytes_max);
        let Copy { kind, encoding, body, .. } = copy;
        let made =
            tokio::task::spawn_blocking(move || copy::for_target(kind, encoding, &body, &dsn.key, limit));
        let body = made.await.map_err(Lost::failed)?.map_err(Lost::failed)?;
        let answer = self
            .client
            .post(&self.target.dsn.endpoint)
            .header("x-sentry-auth", format!("Sentry sentry_key={}, sentry_version=7", self.target.dsn.key))
            .header("content-type", "application/x-sentry-envelope")
            .header("content-encoding", "gzip")
            .body(body)
            .send()
            .await
            .map_err(Lost::failed)?;
        match answer.status().as_u16() {
            200..=299 => Ok(()),
            429 => {
                let told =
                    answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
                let silence_s = told.unwrap_or(SILENCE_DEFAULT_S).min(SILENCE_MAX_S);
                Err(Lost::RateLimited(Duration::from_secs(silence_s)))
            }
            status => Err(Lost::Failed(format!("answered {status}"))),
        }
    }
}

/// Why a copy was lost.
enum Lost {
    RateLimited(Duration),
    Failed(String),
}

impl Lost {
    fn failed(error: impl std::error::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
