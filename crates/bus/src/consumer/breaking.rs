//! The breaker at work: pauses the consumer, reports that once, and continues by itself ([`crate::breaker`]).

use std::time::Instant;

use telemetry::metric::{self, Metric};

use super::owner::{Mode, Owner};
use super::work::Queued;
use crate::breaker::Change;
use crate::lanes::Slot;
use crate::partitions::TopicPartition;
use crate::record_task::TaskResult;

/// Too many records became dead letters, so the consumer pauses.
#[derive(Debug, thiserror::Error)]
#[error("the group {group} pauses, because {dead_letters} of its last {records} records became dead letters")]
struct Paused {
    group: &'static str,
    dead_letters: usize,
    records: usize,
}

impl Owner {
    /// Starts the next record that may start: the breaker permits it, and no record of its partition stalls.
    pub(super) fn start_next(&mut self) -> Option<(Slot, Queued)> {
        let Self { lanes, breaker, slot_partitions, processor, .. } = self;
        let hook = processor.hook.get();
        let is_running =
            |partition: &TopicPartition| slot_partitions.iter().flatten().any(|running| running == partition);
        let may_start = |queued: &Queued| {
            let partition = &queued.partition;
            let stalls = hook.is_some_and(|hook| hook.stalls(&partition.topic, partition.partition));
            breaker.may_start(partition) && !(stalls && is_running(partition))
        };
        let (slot, queued) = lanes.start_if(may_start)?;
        self.breaker.on_started(slot, &queued.partition);
        Some((slot, queued))
    }

    /// Registers the end of a record with the breaker.
    pub(super) fn count_ended(&mut self, slot: Slot, result: &TaskResult) {
        let passed = match result {
            TaskResult::Done(passed) => Some(*passed),
            TaskResult::Abandoned | TaskResult::Failed(_) => None,
        };
        // Only a round counts the partitions
        let assigned = if self.breaker.is_closed() { 0 } else { self.partitions.owned().count() };
        // Outside of groups nothing is read again, so a pause would only lose time
        if self.mode == Mode::Member
            && let Some(change) = self.breaker.on_ended(slot, passed, assigned, Instant::now())
        {
            self.on_breaker_change(change);
        }
    }

    /// Ends the breaker's pause when it is over.
    pub(super) fn check_breaker(&mut self) {
        if let Some(change) = self.breaker.on_tick(Instant::now()) {
            self.on_breaker_change(change);
        }
    }

    /// Gives back the waiting records of a hand-over or a shutdown in progress. They would not start before its deadline.
    fn withdraw_leaving(&mut self) {
        if !self.phase.is_running() {
            self.withdraw(|_, _| true);
        }
        let leaving = self.handover.as_ref().map(|handover| handover.partitions.clone());
        self.withdraw_partitions(&leaving.unwrap_or_default());
    }

    fn on_breaker_change(&mut self, change: Change) {
        let group = self.processor.group.as_str();
        let pause_ms = self.config.breaker_pause_ms;
        match change {
            Change::Opened { dead_letters, records } => {
                let paused = Paused { group, dead_letters, records };
                let tags = [("error.kind", "dead_letter_breaker"), ("messaging.consumer.group.name", group)];
                telemetry::report(&paused, &tags);
                tracing::warn!(delay_ms = pause_ms, "the group {group} reads nothing for a while");
                self.withdraw_leaving();
            }
            Change::HalfOpened => {
                tracing::info!("the group {group} handles one record of each partition after its pause");
            }
            Change::Reopened => {
                tracing::warn!(
                    delay_ms = pause_ms,
                    "no record of the group {group} succeeded, so it pauses again"
                );
                self.withdraw_leaving();
            }
            Change::Closed => tracing::info!("a record of the group {group} succeeded, so it continues"),
        }
        let is_open = if self.breaker.is_closed() { 0.0 } else { 1.0 };
        metric::gauge(Metric::BusBreakerOpen, is_open, &[("group", group)]);
        self.apply_pause();
    }
}
