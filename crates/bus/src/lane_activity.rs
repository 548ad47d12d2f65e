//! Activity of each slot, for the watchdogs.
//!
//! The owner polls Kafka whatever the handlers do, so `max.poll.interval.ms` never detects a stuck handler. The watchdog does. That of
//! telemetry, which sees blocked threads, asks here as well what a worker does ([`RecordWork`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use contracts::Group;
use telemetry::watchdog::{Describe, Observed};

use crate::record::Record;

/// Activity of one slot. Its worker writes it, and the owner's tick reads it.
#[derive(Debug)]
pub(crate) struct LaneActivity {
    origin: Instant,
    /// Start of the running attempt in milliseconds after `origin`, plus one. 0 when none runs.
    attempt_started_ms: AtomicU64,
    /// More than 0 while the record waits on purpose for its next attempt.
    holds: AtomicU64,
    /// The record in the slot, for reports.
    shown: Mutex<Option<Observed>>,
    /// `attempt_started_ms` of the last attempt that was reported.
    reported_ms: AtomicU64,
}

/// Kind of the report about a lane that stands still.
const STALLED: &str = "lane-stalled";

/// An attempt that does not end.
#[derive(Debug, thiserror::Error)]
#[error("a lane stands still: {work} has not returned for {running_ms} ms")]
struct LaneStalled {
    work: String,
    running_ms: u128,
}

impl LaneActivity {
    pub(crate) fn new(origin: Instant) -> Self {
        Self {
            origin,
            attempt_started_ms: AtomicU64::new(0),
            holds: AtomicU64::new(0),
            shown: Mutex::new(None),
            reported_ms: AtomicU64::new(0),
        }
    }

    /// Marks an attempt as running until the guard is dropped.
    pub(crate) fn attempt(&self) -> AttemptGuard<'_> {
        self.attempt_started_ms.store(self.now_ms() + 1, Ordering::Relaxed);
        AttemptGuard(self)
    }

    /// Shows the record of the slot until the guard is dropped.
    pub(crate) fn show(&self, observed: Observed) -> ShownGuard<'_> {
        *self.shown() = Some(observed);
        ShownGuard(self)
    }

    fn shown(&self) -> MutexGuard<'_, Option<Observed>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports an attempt that runs for longer than `limit`, once, in the trace of its record. Returns true if it did.
    pub(crate) fn report_if_stalled(&self, limit: Duration) -> bool {
        let mark = self.attempt_started_ms.load(Ordering::Relaxed);
        let Some(running) = self.time_since(mark).filter(|running| *running > limit) else { return false };
        if self.reported_ms.load(Ordering::Relaxed) == mark {
            return false;
        }
        let Some(observed) = self.shown().clone() else { return false };
        // The attempt may have ended just now, and the record may be the next one
        if self.attempt_started_ms.load(Ordering::Relaxed) != mark {
            return false;
        }
        self.reported_ms.store(mark, Ordering::Relaxed);
        let error = LaneStalled { work: observed.name(), running_ms: running.as_millis() };
        observed.report(STALLED, &error);
        true
    }

    /// The record of the slot in words, for the error that stops the consumer.
    pub(crate) fn described(&self) -> Option<String> {
        let observed = self.shown().clone()?;
        Some(format!("{} ({})", observed.name(), observed.details()))
    }

    /// What the slot does now.
    fn step(&self) -> &'static str {
        if self.running_for().is_some() {
            "its handler"
        } else if self.is_holding() {
            "a pause between two attempts, or a move of the record"
        } else {
            "what comes before and after its handler"
        }
    }

    /// Marks the slot as waiting on purpose until the guard is dropped.
    pub(crate) fn hold(&self) -> HoldGuard<'_> {
        self.holds.fetch_add(1, Ordering::Relaxed);
        HoldGuard(self)
    }

    /// Returns the run time of the current attempt.
    pub(crate) fn running_for(&self) -> Option<Duration> {
        self.time_since(self.attempt_started_ms.load(Ordering::Relaxed))
    }

    /// Time since the begin of an attempt, as it is stored. `None` between attempts.
    fn time_since(&self, attempt_started_ms: u64) -> Option<Duration> {
        let started_ms = attempt_started_ms.checked_sub(1)?;
        Some(Duration::from_millis(self.now_ms().saturating_sub(started_ms)))
    }

    pub(crate) fn is_holding(&self) -> bool {
        self.holds.load(Ordering::Relaxed) > 0
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}

pub(crate) struct AttemptGuard<'a>(&'a LaneActivity);

impl Drop for AttemptGuard<'_> {
    fn drop(&mut self) {
        self.0.attempt_started_ms.store(0, Ordering::Relaxed);
    }
}

pub(crate) struct ShownGuard<'a>(&'a LaneActivity);

impl Drop for ShownGuard<'_> {
    fn drop(&mut self) {
        // Dropped after the lock is released, because the end of a span runs code of the subscriber
        let shown = self.0.shown().take();
        drop(shown);
    }
}

/// A record that is being processed, as the watchdogs report it.
pub(crate) struct RecordWork {
    pub(crate) group: Group,
    pub(crate) record: Arc<Record>,
    /// `None` for a record that cannot be decoded.
    pub(crate) event_type: Option<&'static str>,
    /// Of its slot, which has this for reports.
    pub(crate) activity: Weak<LaneActivity>,
}

impl Describe for RecordWork {
    fn name(&self) -> String {
        let event_type = self.event_type.unwrap_or("a record that cannot be decoded");
        format!("{event_type} of {} in {}", self.record.topic, self.group.as_str())
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        let record = &self.record;
        let mut details = vec![
            ("messaging.consumer.group.name", self.group.as_str().to_owned()),
            ("messaging.destination.name", record.topic.clone()),
            ("messaging.destination.partition.id", record.partition.to_string()),
            ("messaging.kafka.offset", record.offset.to_string()),
            ("step", self.activity.upgrade().map_or("its end", |activity| activity.step()).to_owned()),
        ];
        // Sentry refuses a tag without a value
        details.extend(self.event_type.map(|event_type| ("event.type", event_type.to_owned())));
        details
    }
}

pub(crate) struct HoldGuard<'a>(&'a LaneActivity);

impl Drop for HoldGuard<'_> {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tracing::Span;

    use super::*;
    use crate::record::tests::record;

    fn shown(activity: &Arc<LaneActivity>) -> Observed {
        let work = RecordWork {
            group: Group::Game,
            record: Arc::new(record()),
            event_type: Some("casino.bets.v1.PlaceBet"),
            activity: Arc::downgrade(activity),
        };
        Observed::new(work, &Span::none())
    }

    #[test]
    fn attempt_is_reported_once() {
        let activity = Arc::new(LaneActivity::new(Instant::now()));
        let _shown = activity.show(shown(&activity));
        assert!(!activity.report_if_stalled(Duration::ZERO), "nothing runs");
        for _ in 0..2 {
            let _running = activity.attempt();
            std::thread::sleep(Duration::from_millis(3));
            assert!(!activity.report_if_stalled(Duration::from_secs(600)), "it is not late");
            assert!(activity.report_if_stalled(Duration::ZERO));
            assert!(!activity.report_if_stalled(Duration::ZERO), "it is known");
        }
    }

    #[test]
    fn tags_have_values() {
        let work = RecordWork {
            group: Group::Game,
            record: Arc::new(record()),
            event_type: None,
            activity: Weak::new(),
        };
        assert!(work.details().iter().all(|(_, value)| !value.is_empty()), "{:?}", work.details());
        assert_eq!(work.name(), "a record that cannot be decoded of casino.bets.commands.v1 in game");
    }

    #[test]
    fn record_is_described_while_it_is_in_the_slot() {
        let activity = Arc::new(LaneActivity::new(Instant::now()));
        let guard = activity.show(shown(&activity));
        let running = activity.attempt();
        let text = activity.described().unwrap_or_default();
        for part in [
            "casino.bets.v1.PlaceBet of casino.bets.commands.v1 in game",
            "partition.id=2",
            "offset=7",
            "step=its handler",
        ] {
            assert!(text.contains(part), "{text}");
        }
        drop(running);
        let _holding = activity.hold();
        assert!(activity.described().is_some_and(|text| text.contains("step=a pause")));
        drop(guard);
        assert_eq!(activity.described(), None);
        assert_eq!(Arc::strong_count(&activity), 1, "a report does not keep the slot");
    }
}
