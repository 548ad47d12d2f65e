//! Counts the copies of one project by outcome, and collects losses for the status and for client reports.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use telemetry::{
    Reason,
    metric::{self, Metric},
    transport::client_report,
};

use super::volume::Volume;

/// Shortest time between two warnings about a failing target.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// Counters and losses of one project's copies.
#[derive(Debug, Default)]
pub(super) struct CopyStats {
    name: String,
    sent: AtomicU64,
    left_out: AtomicU64,
    queue_full: AtomicU64,
    rate_limited: AtomicU64,
    refused: AtomicU64,
    unreachable: AtomicU64,
    failures: Mutex<Failures>,
}

#[derive(Debug, Default)]
struct Failures {
    last_error: Option<LastError>,
    warned: Option<Instant>,
    /// Losses that have not been reported to the target yet.
    losses: BTreeMap<(&'static str, &'static str), u64>,
    /// All losses, by category and reason.
    dropped: Dropped,
}

/// Losses by category and reason, with the names of Sentry's client reports.
type Dropped = BTreeMap<&'static str, BTreeMap<&'static str, u64>>;

/// Error of the last failed copy.
#[derive(Clone, Debug, Serialize)]
pub struct LastError {
    /// Time of the error, in seconds since the epoch.
    pub at: f64,
    /// Status of the response, if there was one.
    pub status: Option<u16>,
    /// Reason given by the target or by the network.
    pub reason: String,
}

/// State of the copies of one project.
#[derive(Clone, Debug, Serialize)]
pub struct ForwardState {
    /// Name of the project.
    pub project: String,
    /// Copies that the target answered with 2xx.
    pub sent: u64,
    /// Items that were left out of copies because their category is limited.
    pub left_out: u64,
    /// Copies that were answered with a status other than 2xx and 429, for example because the DSN is wrong.
    pub refused: u64,
    /// Copies that did not fit into the queue.
    pub dropped_queue_full: u64,
    /// Copies with nothing left to send because of limits, and copies that were answered with 429.
    pub dropped_rate_limited: u64,
    /// Copies that were refused, did not reach the target, were not answered in time, or could not be made.
    pub dropped_failed: u64,
    /// Quantities lost with all these, by category and reason.
    pub dropped: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// Error of the last failed copy.
    pub last_error: Option<LastError>,
}

impl CopyStats {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    pub(super) fn state(&self) -> ForwardState {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // Locked once. A second lock in the expression below would deadlock, because the first guard lives to its end.
        let failures = self.failures();
        ForwardState {
            project: self.name.clone(),
            sent: read(&self.sent),
            left_out: read(&self.left_out),
            refused: read(&self.refused),
            dropped_queue_full: read(&self.queue_full),
            dropped_rate_limited: read(&self.rate_limited),
            dropped_failed: read(&self.refused) + read(&self.unreachable),
            dropped: failures.dropped.clone(),
            last_error: failures.last_error.clone(),
        }
    }

    pub(super) fn count_sent(&self) {
        self.count(&self.sent, "sent");
    }

    /// Counts a copy that found no room in the queue.
    pub(super) fn record_queue_full(&self, volumes: &[Volume]) {
        self.count(&self.queue_full, "queue_full");
        self.record_loss(Reason::QueueOverflow, volumes);
    }

    pub(super) fn count_rate_limited(&self) {
        self.count(&self.rate_limited, "rate_limited");
    }

    pub(super) fn count_left_out(&self, items: u64) {
        self.left_out.fetch_add(items, Ordering::Relaxed);
        metric::count(Metric::RecorderForwardItemsLeftOut, items, &[("project", self.name.as_str())]);
    }

    /// Counts a failed copy and logs a warning, at most one per [`WARN_INTERVAL`].
    pub(super) fn count_failed(&self, status: Option<u16>, reason: &str) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        // Locked before the count, so that no reader sees a failure without its error
        let mut failures = self.failures();
        match status {
            Some(_) => self.count(&self.refused, "refused"),
            None => self.count(&self.unreachable, "unreachable"),
        }
        failures.last_error = Some(LastError { at, status, reason: reason.to_owned() });
        if failures.warned.is_none_or(|warned| warned.elapsed() >= WARN_INTERVAL) {
            failures.warned = Some(Instant::now());
            drop(failures);
            tracing::warn!(
                project = self.name,
                http.response.status_code = status,
                reason,
                "copies are not delivered to their target; check PITBOSS_FORWARD_DSN_*, ./pitboss status and the network"
            );
        }
    }

    fn count(&self, counter: &AtomicU64, outcome: &'static str) {
        counter.fetch_add(1, Ordering::Relaxed);
        metric::count(
            Metric::RecorderForwardCopies,
            1,
            &[("project", self.name.as_str()), ("outcome", outcome)],
        );
    }

    /// Counts a loss and adds it to the next client report, unless the target has counted the loss itself.
    pub(super) fn record_loss(&self, reason: Reason, volumes: &[Volume]) {
        let mut failures = self.failures();
        for Volume { category, quantity } in volumes {
            let (reason_name, category) = (reason.as_str(), category.as_str());
            *failures.dropped.entry(category).or_default().entry(reason_name).or_default() += quantity;
            if reason != Reason::RatelimitedByServer {
                *failures.losses.entry((reason_name, category)).or_default() += quantity;
            }
        }
    }

    /// Takes the losses that are to be reported. The caller must report them or give them back.
    pub(super) fn take_losses(&self) -> Losses {
        Losses(std::mem::take(&mut self.failures().losses))
    }

    pub(super) fn restore_losses(&self, losses: Losses) {
        let mut failures = self.failures();
        for (name, quantity) in losses.0 {
            *failures.losses.entry(name).or_default() += quantity;
        }
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        // Every statement leaves the value consistent, so a poisoned lock can be used.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Losses by reason and category. Both have few values, so the map stays small.
#[derive(Debug, Default)]
pub(super) struct Losses(BTreeMap<(&'static str, &'static str), u64>);

impl Losses {
    /// Returns the client report with these losses, or `None` when there are none to report.
    pub(super) fn report(&self) -> Option<Vec<u8>> {
        let losses = self.0.iter().map(|(&(reason, category), &quantity)| (reason, category, quantity));
        client_report(losses).map(String::into_bytes)
    }
}

#[cfg(test)]
mod tests {
    use telemetry::Category;

    use super::*;

    const LOST: [Volume; 1] = [Volume { category: Category::Error, quantity: 2 }];

    #[test]
    fn loss_counted_by_the_target_is_not_reported() {
        let stats = CopyStats::new("game");
        stats.record_loss(Reason::RatelimitedByServer, &LOST);
        assert_eq!(stats.state().dropped["error"]["ratelimited_by_server"], 2);
        assert!(stats.take_losses().report().is_none());
    }

    #[test]
    fn restored_losses_are_added_to_new_ones() {
        let stats = CopyStats::new("game");
        stats.record_loss(Reason::QueueOverflow, &LOST);
        let taken = stats.take_losses();
        stats.record_loss(Reason::QueueOverflow, &LOST);
        stats.restore_losses(taken);
        assert_eq!(stats.take_losses().0, BTreeMap::from([(("queue_overflow", "error"), 4)]));
        assert_eq!(stats.state().dropped["error"]["queue_overflow"], 4, "each is shown once");
    }
}
