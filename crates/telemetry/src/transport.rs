//! Transport to Sentry: bounded queues, and one thread that keeps several requests in flight on reused connections.
//!
//! Submitting never waits. An envelope is queued or counted as dropped. Errors, check-ins and sessions have a separate queue and
//! separate requests, so that spans cannot delay them. The thread obeys rate limits, compresses large bodies and enforces
//! time-outs. It holds undelivered envelopes while Sentry is unreachable. A refused connection means that nothing was sent, so
//! a retry cannot send twice. Each loss is counted and reported to Sentry in a `client_report`.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sentry::types::Dsn;
use tokio::sync::Notify;

use crate::drop_count::{Category, Drop, Reason, lose, note};

mod client_report;
mod queue;
mod rate_limits;
mod worker;

pub use client_report::client_report;
use queue::Queue;
pub use rate_limits::RateLimits;
pub(crate) use worker::{client, gzip};

/// Limits of the transport.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest number of queued envelopes with errors, check-ins or sessions.
    pub first_envelopes_max: usize,
    /// Their total size.
    pub first_bytes_max: usize,
    /// Largest number of other queued envelopes.
    pub queue_envelopes_max: usize,
    /// Their total size.
    pub queue_bytes_max: usize,
    /// Largest number of requests in flight.
    pub in_flight_max: usize,
    /// Number of those requests that is reserved for errors, check-ins, sessions and reports. The others always have one.
    pub first_in_flight_min: usize,
    /// Time-out of one complete request.
    pub request_timeout_ms: u64,
    /// Time-out of the connection to the server.
    pub connect_timeout_ms: u64,
    /// Size above which a body is compressed. Below, compression costs more than it saves.
    pub compress_above_bytes: usize,
    /// Longest time that an envelope is held while the server cannot be reached.
    pub unreachable_hold_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_envelopes_max: 256,
            first_bytes_max: 4 * 1_024 * 1_024,
            queue_envelopes_max: 2_048,
            queue_bytes_max: 8 * 1_024 * 1_024,
            in_flight_max: 8,
            first_in_flight_min: 2,
            request_timeout_ms: 5_000,
            connect_timeout_ms: 1_000,
            compress_above_bytes: 16 * 1_024,
            unreachable_hold_ms: 30_000,
        }
    }
}

/// An encoded envelope, with the items to count if it is lost.
#[derive(Debug)]
pub struct Outgoing {
    category: Category,
    /// Shared with the request, so that an envelope that is sent again is not copied.
    bytes: Bytes,
    losses: Vec<(Category, u64)>,
    queued_at: Instant,
}

impl Outgoing {
    /// Creates an envelope whose items are of `category`, with the items to count if it is lost.
    pub fn new(category: Category, bytes: Vec<u8>, losses: Vec<(Category, u64)>) -> Self {
        Self { category, bytes: bytes.into(), losses, queued_at: Instant::now() }
    }

    /// Returns true if it belongs into the priority lane, because it contains an error, a check-in or a session.
    fn goes_first(&self) -> bool {
        self.losses.iter().any(|(category, _)| category.goes_first())
    }

    /// Returns true if a second delivery does no harm, because each of its items has an id by which Sentry finds duplicates.
    fn may_arrive_twice(&self) -> bool {
        let has_id = |(category, _): &(Category, u64)| {
            matches!(
                category,
                Category::Error | Category::Monitor | Category::Feedback | Category::Attachment
            )
        };
        self.goes_first() && self.losses.iter().all(has_id)
    }

    fn lose(&self, reason: Reason) {
        for (category, quantity) in &self.losses {
            lose(reason, *category, *quantity);
        }
    }
}

/// The transport. It is shared in an [`Arc`].
pub struct Transport {
    shared: Arc<Shared>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("limits", &self.shared.limits).finish()
    }
}

struct Shared {
    limits: Limits,
    queue: Mutex<Queue>,
    rate_limits: Mutex<RateLimits>,
    /// The worker has something to do.
    wake: Notify,
    /// Nothing is queued or in flight.
    idle: Condvar,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Consistent after every statement, so a panic in another thread does not damage it
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rate_limits(&self) -> MutexGuard<'_, RateLimits> {
        // Consistent after every statement, so a panic in another thread does not damage it
        self.rate_limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport {
    /// Starts the thread that sends to the project of `dsn`.
    pub fn start(dsn: &Dsn, limits: &Limits) -> Result<Arc<Self>, String> {
        let shared = Arc::new(Shared {
            limits: limits.clone(),
            queue: Mutex::new(Queue::default()),
            rate_limits: Mutex::new(RateLimits::default()),
            wake: Notify::new(),
            idle: Condvar::new(),
        });
        worker::spawn(dsn, Arc::clone(&shared))?;
        Ok(Arc::new(Self { shared }))
    }

    /// Queues an envelope, or counts it as dropped. It never waits for the network. Call [`Transport::wake`] after it to send, so
    /// that a batch wakes the thread once.
    pub fn submit(&self, outgoing: Outgoing) {
        if self.is_limited(outgoing.category) {
            outgoing.lose(Reason::RatelimitBackoff);
            return;
        }
        let lost = self.shared.queue().push(outgoing, &self.shared.limits);
        for (outgoing, reason) in lost {
            outgoing.lose(reason);
        }
    }

    /// Wakes the thread to send what is queued.
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// Returns true if a rate limit forbids sending this category now. Then it need not be encoded either.
    pub fn is_limited(&self, category: Category) -> bool {
        self.shared.rate_limits().is_limited(category, Instant::now())
    }

    /// Waits until everything that was submitted has a result, client reports included.
    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut queue = self.shared.queue();
        queue.report_now = true;
        self.shared.wake.notify_one();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if queue.is_idle() && !queue.report_now {
                return true;
            }
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.idle.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Flushes, then stops. The rest at the deadline is counted as dropped. Returns true if there was no rest.
    pub fn stop(&self, timeout: Duration) -> bool {
        let all = self.flush(timeout);
        let left = self.shared.queue().close();
        for losses in &left {
            for (category, quantity) in losses {
                lose(Reason::Shutdown, *category, *quantity);
            }
        }
        self.shared.wake.notify_one();
        all && left.is_empty()
    }
}

/// Notes the losses of an unsent client report again for the next one.
fn note_again(drops: &[Drop]) {
    for drop in drops {
        note(*drop);
    }
}
