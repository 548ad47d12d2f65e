//! Detection of batches that cannot be fetched or decoded. Each is reported once and never passed.
//!
//! It guarantees that **an unreadable batch causes an error event with topic, partition and offset within seconds**. The consumer
//! is not ready until it is past the batch, and takes no record behind it before. librdkafka fetches such a batch forever, or
//! (wrong checksum) continues elsewhere. Its error has the partition, but rdkafka 0.39 passes on only the text, which names at
//! most the batch's first offset. So the partition is found by its standstill: records are unread, brokers answer, and nothing
//! arrives. It is then paused and retried every few seconds. [`Damage`] does no I/O and gets the time from its caller.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use contracts::Group;
use rdkafka::consumer::Consumer as _;
use telemetry::metric::{self, Metric};

use super::context::{list_of, offsets_of};
use super::owner::{Mode, Owner};
use super::statistics::{Reading, Readings};
use crate::offsets::{NextOffset, Offsets};
use crate::partitions::TopicPartition;

/// A partition without progress for this long is stuck if its broker answers. A matching error shortens the time.
const STUCK_AFTER: Duration = Duration::from_secs(3);
const STUCK_AFTER_ERROR: Duration = Duration::from_secs(1);
/// Minimum number of fetches sent to its broker in that time. All but the last were answered.
const FETCHES_MIN: u64 = 2;
/// Maximum age of an error. An older one is about something else.
const ERROR_AGE_MAX: Duration = Duration::from_secs(10);
/// Maximum records of a batch. An error names its first offset, and a new reader may start this far behind that.
const BATCH_RECORDS_MAX: i64 = 1_000_000;
const ERRORS_MAX: usize = 16;
/// Pause before a damaged partition is retried.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// A retried partition with nothing to read for this long is healed: the damaged end of its log was removed.
const HEALED_AFTER: Duration = Duration::from_secs(3);
/// Time-out of the request for start offsets. It is sent only when something is damaged.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// An unreadable position.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{partition} cannot be read at offset {offset}: {reason}; repair the batch or delete it")]
pub(crate) struct Unreadable {
    partition: TopicPartition,
    offset: i64,
    reason: String,
}

/// An error of librdkafka that may be about an unreadable batch.
#[derive(Debug)]
struct ReadError {
    offset: i64,
    reason: String,
    received_at: Instant,
}

/// Offset of a partition's next record.
#[derive(Clone, Copy, Debug)]
struct Expected {
    offset: i64,
    /// No record was delivered before it, so it may be in the middle of a batch.
    is_start: bool,
}

/// Start of a partition's standstill.
#[derive(Debug)]
struct Standstill {
    offset: i64,
    since: Instant,
    fetches: u64,
}

/// A known unreadable position of a partition.
#[derive(Debug)]
struct Position {
    offset: i64,
    reason: String,
    state: RetryState,
}

#[derive(Debug, PartialEq, Eq)]
enum RetryState {
    Paused { until: Instant },
    Retrying { since: Instant },
}

/// Known damage in the partitions of one consumer.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    errors: VecDeque<ReadError>,
    /// Start offsets of partitions without a delivered record.
    starts: BTreeMap<TopicPartition, i64>,
    standstills: BTreeMap<TopicPartition, Standstill>,
    positions: BTreeMap<TopicPartition, Position>,
}

impl Damage {
    /// Returns true while any position is unreadable.
    pub(crate) fn is_any(&self) -> bool {
        !self.positions.is_empty()
    }

    /// Returns true while this partition has an unreadable position.
    pub(crate) fn contains(&self, partition: &TopicPartition) -> bool {
        self.positions.contains_key(partition)
    }

    /// Returns true while fetching from this partition must pause before its retry.
    pub(crate) fn must_pause(&self, partition: &TopicPartition) -> bool {
        let position = self.positions.get(partition);
        position.is_some_and(|position| matches!(position.state, RetryState::Paused { .. }))
    }

    /// Removes a partition that is no longer ours.
    pub(crate) fn remove(&mut self, partition: &TopicPartition) {
        self.positions.remove(partition);
        self.standstills.remove(partition);
        self.starts.remove(partition);
    }

    fn is_empty(&self) -> bool {
        self.errors.is_empty() && self.positions.is_empty()
    }

    fn add_error(&mut self, reason: String, now: Instant) {
        let Some(offset) = offset_in(&reason) else { return };
        if self.errors.len() >= ERRORS_MAX {
            self.errors.pop_front();
        }
        self.errors.push_back(ReadError { offset, reason, received_at: now });
    }

    fn remove_old_errors(&mut self, now: Instant) {
        self.errors.retain(|error| now.duration_since(error.received_at) < ERROR_AGE_MAX);
    }

    /// Returns the newest error that may be about this partition, at `expected` or later and before `end`.
    ///
    /// Delivered records were readable, so a batch behind them begins at `expected` or later. Only a new reader may stand within
    /// a batch that begins earlier. An error that is known to be another partition's does not count for that case.
    fn matching_error(&self, partition: &TopicPartition, expected: Expected, end: i64) -> Option<&ReadError> {
        let is_of_another = |error: &ReadError| {
            let mut positions = self.positions.iter();
            positions.any(|(other, position)| other != partition && position.reason == error.reason)
        };
        let matches = |error: &&ReadError| {
            let ahead = error.offset.saturating_sub(expected.offset);
            let is_around = expected.is_start && (-BATCH_RECORDS_MAX..0).contains(&ahead);
            (ahead >= 0 && error.offset < end) || (is_around && !is_of_another(error))
        };
        self.errors.iter().rev().find(matches)
    }

    /// Like [`Self::matching_error`], for a partition that stands at `at`. A partition whose end is unknown has no upper bound.
    fn error_at(&self, partition: &TopicPartition, at: Expected, reading: &Reading) -> Option<&ReadError> {
        let end = if reading.is_unknown() { i64::MAX } else { reading.end };
        self.matching_error(partition, at, end)
    }

    /// Returns Some if the record is behind a batch that was dropped unread. Contains the position of the batch if it is new.
    fn check_gap(
        &mut self,
        partition: &TopicPartition,
        offset: i64,
        expected: Expected,
        now: Instant,
    ) -> Option<Option<Unreadable>> {
        self.remove_old_errors(now);
        if offset <= expected.offset {
            return None;
        }
        let reason = self.matching_error(partition, expected, offset)?.reason.clone();
        self.errors.retain(|error| error.reason != reason);
        Some(self.add(partition, expected.offset, reason, now))
    }

    /// Checks librdkafka's readings of the partitions that this consumer did not pause. `fetched` maps each of them to the offset
    /// of its next record, if any was delivered.
    fn check(
        &mut self,
        readings: &Readings,
        fetched: &BTreeMap<TopicPartition, Option<i64>>,
        now: Instant,
    ) -> Vec<Unreadable> {
        self.remove_old_errors(now);
        let mut found = Vec::new();
        for (partition, reading) in readings {
            let Some(expected) = fetched.get(partition) else {
                self.standstills.remove(partition);
                continue;
            };
            self.remove_if_healed(partition, reading, now);
            if let Some(offset) = self.stuck_at(partition, reading, *expected, now) {
                let at = Expected { offset, is_start: expected.is_none() };
                let error = self.error_at(partition, at, reading).map(|error| error.reason.clone());
                let reason = error.unwrap_or_else(|| "records are unread, but none arrives".to_owned());
                found.extend(self.add(partition, offset, reason, now));
            }
        }
        found
    }

    /// Returns the offset at which a partition stands, once it has stood there long enough.
    fn stuck_at(
        &mut self,
        partition: &TopicPartition,
        reading: &Reading,
        expected: Option<i64>,
        now: Instant,
    ) -> Option<i64> {
        // After a wrong checksum librdkafka takes its next offset from inside the batch, so only our own offset is right.
        let start = expected.or_else(|| self.starts.get(partition).copied());
        let named = self.named_by_error(start);
        let offset = match named {
            Some(named) => named,
            None if reading.is_unknown() => return None, // still looking for its position: the earlier state remains valid
            None if reading.next > reading.end => start.unwrap_or(reading.next),
            None => reading.next,
        };
        // Waiting records may be of other partitions, which are catching up. They do not disprove an error.
        let has_record = match named {
            Some(named) if reading.is_not_past(named) => reading.has_unread_at(offset),
            _ => reading.is_unfetched_at(offset),
        };
        // Rejected at that offset, the reader looks for its position again and again. The statistics may show nothing else.
        if !reading.is_unknown() && !has_record {
            self.standstills.remove(partition);
            return None;
        }
        let new = || Standstill { offset, since: now, fetches: reading.fetches };
        let at = Expected { offset, is_start: expected.is_none() };
        let is_suspect = self.contains(partition) || self.error_at(partition, at, reading).is_some();
        let standstill = self.standstills.entry(partition.clone()).or_insert_with(new);
        if standstill.offset != offset {
            *standstill = new();
        }
        let needed = if is_suspect { STUCK_AFTER_ERROR } else { STUCK_AFTER };
        let is_stuck = now.duration_since(standstill.since) >= needed
            && reading.fetches.saturating_sub(standstill.fetches) >= FETCHES_MIN;
        is_stuck.then_some(offset)
    }

    /// Returns `start`, where the next record should be, if an error names exactly that offset.
    fn named_by_error(&self, start: Option<i64>) -> Option<i64> {
        start.filter(|start| self.errors.iter().any(|error| error.offset == *start))
    }

    /// Removes a retried position as healed, once the reader is past it or nothing is left there.
    fn remove_if_healed(&mut self, partition: &TopicPartition, reading: &Reading, now: Instant) {
        let Some(Position { offset, state: RetryState::Retrying { since }, .. }) =
            self.positions.get(partition)
        else {
            return;
        };
        let at = Expected { offset: *offset, is_start: true };
        let is_unknown = reading.is_unknown() || reading.next > reading.end;
        let is_quiet =
            now.duration_since(*since) >= HEALED_AFTER && self.error_at(partition, at, reading).is_none();
        // Records that were fetched and not taken may be behind a batch that was dropped unread
        let is_past = reading.queued == 0 && reading.next > *offset;
        let is_empty = !reading.is_unfetched_at(reading.next);
        if !is_unknown && is_quiet && (is_past || is_empty) {
            tracing::info!(
                messaging.destination.name = %partition.topic,
                messaging.destination.partition.id = partition.partition,
                messaging.kafka.offset = offset,
                "the reader is past a position that was unreadable"
            );
            self.positions.remove(partition);
        }
    }

    /// Adds an unreadable position. Returns it if it is new.
    fn add(
        &mut self,
        partition: &TopicPartition,
        offset: i64,
        reason: String,
        now: Instant,
    ) -> Option<Unreadable> {
        self.standstills.remove(partition);
        let state = RetryState::Paused { until: now + RETRY_PAUSE };
        let before =
            self.positions.insert(partition.clone(), Position { offset, reason: reason.clone(), state });
        let is_new = before.is_none_or(|position| position.offset != offset);
        is_new.then(|| Unreadable { partition: partition.clone(), offset, reason })
    }

    /// Returns the positions whose pause is over. From then on they are being retried.
    fn take_due(&mut self, now: Instant) -> Vec<(TopicPartition, NextOffset)> {
        let mut due = Vec::new();
        for (partition, position) in &mut self.positions {
            if matches!(position.state, RetryState::Paused { until } if until <= now) {
                position.state = RetryState::Retrying { since: now };
                due.push((partition.clone(), NextOffset(position.offset)));
            }
        }
        due
    }
}

/// Returns the offset that an error names: the number after "offset" or "at".
fn offset_in(reason: &str) -> Option<i64> {
    let words: Vec<&str> = reason.split([' ', ',', '(', ')']).collect();
    let named = |pair: &[&str]| match pair {
        ["offset" | "at", number] => number.trim_end_matches(':').parse::<i64>().ok(),
        _ => None,
    };
    words.windows(2).find_map(named).filter(|offset| *offset >= 0)
}

impl Owner {
    /// Takes librdkafka's errors about its reading.
    pub(super) fn on_read_errors(&mut self) {
        let now = Instant::now();
        let errors = self.client.context().reports().take_errors();
        if errors.is_empty() || !self.phase.is_running() {
            return;
        }
        for reason in errors {
            self.damage.add_error(reason, now);
        }
        self.fetch_start_offsets();
    }

    /// Requests the start offsets of partitions without a delivered record. Called only after an error.
    fn fetch_start_offsets(&mut self) {
        let unread = self.partitions.fetching().filter(|(_, offsets)| offsets.expected().is_none());
        let unknown: Vec<TopicPartition> = unread
            .map(|(partition, _)| partition.clone())
            .filter(|partition| !self.damage.starts.contains_key(partition))
            .collect();
        if unknown.is_empty() || self.mode == Mode::Tail {
            return;
        }
        let requested = self.client.committed_offsets(list_of(&unknown, &self.names), REQUEST_TIMEOUT);
        let Ok(committed) = requested else { return };
        for partition in unknown {
            let found = committed.find_partition(&self.names.physical(&partition.topic), partition.partition);
            let start = found.and_then(|element| element.offset().to_raw()).unwrap_or(0).max(0);
            self.damage.starts.insert(partition, start);
        }
    }

    /// Registers a partition that is read from this offset, outside any group.
    pub(crate) fn own_from(&mut self, partition: &TopicPartition, next: NextOffset) {
        self.partitions.assign(partition.clone());
        self.damage.starts.insert(partition.clone(), next.0);
    }

    /// Returns true if this record must not be taken, because something before it in its partition was not read.
    pub(super) fn is_beyond_damage(&mut self, partition: &TopicPartition, offset: i64) -> bool {
        if self.damage.is_empty() {
            return false;
        }
        if self.damage.must_pause(partition) {
            return true;
        }
        let delivered = self.partitions.offsets(partition).and_then(Offsets::expected);
        let start = self.damage.starts.get(partition);
        let Some(next) = delivered.or(start.copied()) else { return false };
        let expected = Expected { offset: next, is_start: delivered.is_none() };
        match self.damage.check_gap(partition, offset, expected, Instant::now()) {
            Some(found) => {
                self.report_damage(found);
                true
            }
            None => {
                // A restarted reader delivers records before the position again. They do not prove that it is past the position.
                let position = self.damage.positions.get(partition);
                if position.is_some_and(|position| offset >= position.offset) {
                    self.damage.positions.remove(partition);
                    self.report_damage(Vec::new());
                }
                false
            }
        }
    }

    /// Runs at each tick: finds partitions that stand still, and retries those whose pause is over.
    pub(super) fn check_damage(&mut self) {
        if !self.phase.is_running() {
            return;
        }
        let now = Instant::now();
        if let Some(readings) = self.client.context().reports().take_readings() {
            self.check_gaps(&readings);
            let before = self.damage.positions.len();
            let partitions = &self.partitions;
            let fetched = partitions.fetching().filter(|(partition, _)| !partitions.is_paused(partition));
            let fetched = fetched.map(|(partition, read)| (partition.clone(), read.expected())).collect();
            let found = self.damage.check(&readings, &fetched, now);
            if !found.is_empty() || before != self.damage.positions.len() || self.damage.is_any() {
                self.report_damage(found);
            }
        }
        let due = self.damage.take_due(now);
        if due.is_empty() {
            return;
        }
        self.apply_pause();
        let positions = due.iter().map(|(partition, next)| (partition, *next));
        let sought = offsets_of(positions, &self.names)
            .and_then(|list| self.client.seek_partitions(list, Duration::ZERO));
        if let Err(error) = sought {
            tracing::debug!(error = %error, "librdkafka rejected the seek to an unreadable position");
        }
    }

    fn report_damage(&mut self, found: impl IntoIterator<Item = Unreadable>) {
        let group: Group = self.processor.group;
        for unreadable in found {
            let place = format!("{}/{}", unreadable.partition, unreadable.offset);
            telemetry::report(
                &unreadable,
                &[
                    ("error.kind", "unreadable_batch"),
                    ("messaging.destination.name", &unreadable.partition.topic),
                    ("messaging.consumer.group.name", group.as_str()),
                    ("kafka.record", &place),
                ],
            );
        }
        let count = u32::try_from(self.damage.positions.len()).unwrap_or(u32::MAX);
        metric::gauge(Metric::BusPartitionsUnreadable, f64::from(count), &[("group", group.as_str())]);
        self.report_ready();
        self.apply_pause();
    }
}

#[cfg(test)]
#[path = "damage_tests.rs"]
mod tests;
