//! Detection of batches that cannot be fetched or decoded. Each is reported once and never passed.
//!
//! It guarantees that **an unreadable batch causes an error event with topic, partition and offset within seconds**. The consumer
//! is not ready until it is past the batch, and takes no record behind it before. librdkafka fetches such a batch forever, or
//! (wrong checksum) continues elsewhere. Its complaint has the partition, but rdkafka 0.39 passes on only the text, which names
//! at most the batch's first offset. So the partition is found by its standstill: records are unread, brokers answer, and nothing
//! arrives. It then rests and is retried every few seconds. [`Damage`] does no I/O and gets the time from its caller.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use contracts::Group;
use rdkafka::consumer::Consumer as _;
use telemetry::metric::{self, Metric};

use super::context::{list_of, offsets_of};
use super::owner::{Mode, Owner};
use super::statistics::{Reading, Readings};
use crate::ledger::{NextOffset, TopicPartition};

/// A partition without progress for this long is stuck if its broker answers. A matching complaint shortens the time.
const STANDS_FOR: Duration = Duration::from_secs(3);
const STANDS_FOR_WITH_COMPLAINT: Duration = Duration::from_secs(1);
/// Minimum number of fetches sent to its broker meanwhile. All but the last were answered.
const FETCHES_MIN: u64 = 2;
/// Maximum age of a complaint. An older one is about something else.
const COMPLAINT_AGE_MAX: Duration = Duration::from_secs(10);
/// Maximum records of a batch. A complaint names its first offset, and a new reader may start this far behind that.
const BATCH_RECORDS_MAX: i64 = 1_000_000;
const COMPLAINTS_MAX: usize = 16;
/// Pause before a damaged partition is retried.
const REST: Duration = Duration::from_secs(5);
/// A retried partition with nothing to read for this long is healed: the damaged end of its log was removed.
const NOTHING_LEFT_AFTER: Duration = Duration::from_secs(3);
/// Time-out of the request for start offsets. It is sent only when something is damaged.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// An unreadable position.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{partition} cannot be read at offset {offset}: {reason}")]
pub(crate) struct Unreadable {
    partition: TopicPartition,
    offset: i64,
    reason: String,
}

#[derive(Debug)]
struct Complaint {
    offset: i64,
    reason: String,
    heard_at: Instant,
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
struct Standing {
    place: i64,
    since: Instant,
    fetches: u64,
}

#[derive(Debug)]
struct Place {
    offset: i64,
    reason: String,
    state: PlaceState,
}

#[derive(Debug, PartialEq, Eq)]
enum PlaceState {
    Resting { until: Instant },
    Trying { since: Instant },
}

/// Known damage in the partitions of one consumer.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    complaints: VecDeque<Complaint>,
    /// Start offsets of partitions without a delivered record.
    starts: BTreeMap<TopicPartition, i64>,
    standing: BTreeMap<TopicPartition, Standing>,
    places: BTreeMap<TopicPartition, Place>,
}

impl Damage {
    /// Returns true while any position is unreadable.
    pub(crate) fn is_there(&self) -> bool {
        !self.places.is_empty()
    }

    /// Returns true while this partition has an unreadable position.
    pub(crate) fn is_at(&self, partition: &TopicPartition) -> bool {
        self.places.contains_key(partition)
    }

    /// Returns true while the partition rests before its retry.
    pub(crate) fn rests(&self, partition: &TopicPartition) -> bool {
        self.places.get(partition).is_some_and(|place| matches!(place.state, PlaceState::Resting { .. }))
    }

    /// Removes a partition that is no longer ours.
    pub(crate) fn forget(&mut self, partition: &TopicPartition) {
        self.places.remove(partition);
        self.standing.remove(partition);
        self.starts.remove(partition);
    }

    fn is_quiet(&self) -> bool {
        self.complaints.is_empty() && self.places.is_empty()
    }

    fn hear(&mut self, reason: String, now: Instant) {
        let Some(offset) = offset_in(&reason) else { return };
        if self.complaints.len() >= COMPLAINTS_MAX {
            self.complaints.pop_front();
        }
        self.complaints.push_back(Complaint { offset, reason, heard_at: now });
    }

    fn expire(&mut self, now: Instant) {
        self.complaints.retain(|complaint| now.duration_since(complaint.heard_at) < COMPLAINT_AGE_MAX);
    }

    /// Returns the newest complaint that may be about this partition, at `expected` or later and before `end`.
    ///
    /// Delivered records were readable, so a batch behind them begins at `expected` or later. Only a new reader may stand within
    /// a batch that begins earlier. A complaint that is known to be another partition's does not count for that case.
    fn fitting(&self, partition: &TopicPartition, expected: Expected, end: i64) -> Option<&Complaint> {
        let is_anothers = |complaint: &Complaint| {
            self.places.iter().any(|(other, place)| other != partition && place.reason == complaint.reason)
        };
        let fits = |complaint: &&Complaint| {
            let ahead = complaint.offset.saturating_sub(expected.offset);
            let is_around = expected.is_start && (-BATCH_RECORDS_MAX..0).contains(&ahead);
            (ahead >= 0 && complaint.offset < end) || (is_around && !is_anothers(complaint))
        };
        self.complaints.iter().rev().find(fits)
    }

    /// Like [`Self::fitting`], for a partition that stands at `place`. A partition whose end is unknown has no upper bound.
    fn suspicion(
        &self,
        partition: &TopicPartition,
        place: Expected,
        reading: &Reading,
    ) -> Option<&Complaint> {
        let end = if reading.is_lost() { i64::MAX } else { reading.end };
        self.fitting(partition, place, end)
    }

    /// Returns Some if the record is behind a batch that was dropped unread. Contains the position of the batch if it is new.
    fn jumped(
        &mut self,
        partition: &TopicPartition,
        offset: i64,
        expected: Expected,
        now: Instant,
    ) -> Option<Option<Unreadable>> {
        self.expire(now);
        if offset <= expected.offset {
            return None;
        }
        let reason = self.fitting(partition, expected, offset)?.reason.clone();
        self.complaints.retain(|complaint| complaint.reason != reason);
        Some(self.found(partition, expected.offset, reason, now))
    }

    /// Checks librdkafka's readings of the partitions that this consumer did not pause. `fetched` maps each of them to the offset
    /// of its next record, if any was delivered.
    fn judge(
        &mut self,
        readings: &Readings,
        fetched: &BTreeMap<TopicPartition, Option<i64>>,
        now: Instant,
    ) -> Vec<Unreadable> {
        self.expire(now);
        let mut found = Vec::new();
        for (partition, reading) in readings {
            let Some(expected) = fetched.get(partition) else {
                self.standing.remove(partition);
                continue;
            };
            self.heals(partition, reading, now);
            if let Some(place) = self.stands(partition, reading, *expected, now) {
                let at = Expected { offset: place, is_start: expected.is_none() };
                let complaint = self.suspicion(partition, at, reading).map(|heard| heard.reason.clone());
                let reason =
                    complaint.unwrap_or_else(|| "nothing comes though there is something".to_owned());
                found.extend(self.found(partition, place, reason, now));
            }
        }
        found
    }

    /// Returns the offset at which a partition stands, once it has stood there long enough.
    fn stands(
        &mut self,
        partition: &TopicPartition,
        reading: &Reading,
        expected: Option<i64>,
        now: Instant,
    ) -> Option<i64> {
        // After a wrong checksum librdkafka takes its next offset from inside the batch, so only our own offset is right.
        let start = expected.or_else(|| self.starts.get(partition).copied());
        let named = self.complained_about(start);
        let place = match named {
            Some(named) => named,
            None if reading.is_lost() => return None, // still looking for its position: the earlier state remains valid
            None if reading.next > reading.end => start.unwrap_or(reading.next),
            None => reading.next,
        };
        // Waiting records may be of other partitions, which are catching up. They do not disprove a complaint.
        let has_something = match named {
            Some(named) if reading.is_not_past(named) => reading.has_unread_at(place),
            _ => reading.has_something_at(place),
        };
        // Rejected at that offset, the reader looks for its position again and again. The statistics may show nothing else.
        if !reading.is_lost() && !has_something {
            self.standing.remove(partition);
            return None;
        }
        let fresh = || Standing { place, since: now, fetches: reading.fetches };
        let at = Expected { offset: place, is_start: expected.is_none() };
        let is_suspect =
            self.places.contains_key(partition) || self.suspicion(partition, at, reading).is_some();
        let standing = self.standing.entry(partition.clone()).or_insert_with(fresh);
        if standing.place != place {
            *standing = fresh();
        }
        let needed = if is_suspect { STANDS_FOR_WITH_COMPLAINT } else { STANDS_FOR };
        let is_stuck = now.duration_since(standing.since) >= needed
            && reading.fetches.saturating_sub(standing.fetches) >= FETCHES_MIN;
        is_stuck.then_some(place)
    }

    /// Returns `start`, where the next record should be, if a complaint names exactly that offset.
    fn complained_about(&self, start: Option<i64>) -> Option<i64> {
        start.filter(|start| self.complaints.iter().any(|complaint| complaint.offset == *start))
    }

    /// Removes a retried position as healed, once the reader is past it or nothing is left there.
    fn heals(&mut self, partition: &TopicPartition, reading: &Reading, now: Instant) {
        let Some(Place { offset, state: PlaceState::Trying { since }, .. }) = self.places.get(partition)
        else {
            return;
        };
        let at = Expected { offset: *offset, is_start: true };
        let is_lost = reading.is_lost() || reading.next > reading.end;
        let is_quiet = now.duration_since(*since) >= NOTHING_LEFT_AFTER
            && self.suspicion(partition, at, reading).is_none();
        // records that were fetched and not taken may be behind a batch that was dropped unread
        let is_past = reading.queued == 0 && reading.next > *offset;
        let is_empty = !reading.has_something_at(reading.next);
        if !is_lost && is_quiet && (is_past || is_empty) {
            tracing::info!(kafka.partition = %partition, "what could not be read is behind the reader");
            self.places.remove(partition);
        }
    }

    fn found(
        &mut self,
        partition: &TopicPartition,
        offset: i64,
        reason: String,
        now: Instant,
    ) -> Option<Unreadable> {
        self.standing.remove(partition);
        let resting = PlaceState::Resting { until: now + REST };
        let place = Place { offset, reason: reason.clone(), state: resting };
        let before = self.places.insert(partition.clone(), place);
        let is_new = before.is_none_or(|place| place.offset != offset);
        is_new.then(|| Unreadable { partition: partition.clone(), offset, reason })
    }

    /// Returns the positions whose rest is over. From then on they are being retried.
    fn take_due(&mut self, now: Instant) -> Vec<(TopicPartition, NextOffset)> {
        let mut due = Vec::new();
        for (partition, place) in &mut self.places {
            if matches!(place.state, PlaceState::Resting { until } if until <= now) {
                place.state = PlaceState::Trying { since: now };
                due.push((partition.clone(), NextOffset(place.offset)));
            }
        }
        due
    }
}

/// Returns the offset that a complaint names: the number after "offset" or "at".
fn offset_in(reason: &str) -> Option<i64> {
    let words: Vec<&str> = reason.split([' ', ',', '(', ')']).collect();
    let named = |pair: &[&str]| match pair {
        ["offset" | "at", number] => number.trim_end_matches(':').parse::<i64>().ok(),
        _ => None,
    };
    words.windows(2).find_map(named).filter(|offset| *offset >= 0)
}

impl Owner {
    /// Takes librdkafka's complaints about its reading.
    pub(super) fn on_complaint(&mut self) {
        let now = Instant::now();
        let heard = self.client.context().reports().complaints();
        if heard.is_empty() || !self.phase.is_running() {
            return;
        }
        for reason in heard {
            self.damage.hear(reason, now);
        }
        self.note_starts();
    }

    /// Asks the broker for the start offsets of partitions without a delivered record. Called only after a complaint.
    fn note_starts(&mut self) {
        let unknown: Vec<TopicPartition> = self
            .ledger
            .fetching()
            .filter(|partition| {
                self.ledger.expected(partition).is_none() && !self.damage.starts.contains_key(*partition)
            })
            .cloned()
            .collect();
        if unknown.is_empty() || self.mode == Mode::Tail {
            return;
        }
        let asked = self.client.committed_offsets(list_of(&unknown, &self.names), ASK_TIMEOUT);
        let Ok(committed) = asked else { return };
        for partition in unknown {
            let found = committed.find_partition(&self.names.physical(&partition.topic), partition.partition);
            let start = found.and_then(|element| element.offset().to_raw()).unwrap_or(0).max(0);
            self.damage.starts.insert(partition, start);
        }
    }

    /// Registers the offset from which a partition is read.
    pub(crate) fn starts_at(&mut self, partition: &TopicPartition, next: NextOffset) {
        self.damage.starts.insert(partition.clone(), next.0);
    }

    /// Returns true if this record must not be taken, because something before it in its partition was not read.
    pub(super) fn is_beyond_damage(&mut self, partition: &TopicPartition, offset: i64) -> bool {
        if self.damage.is_quiet() {
            return false;
        }
        if self.damage.rests(partition) {
            return true;
        }
        let (delivered, start) = (self.ledger.expected(partition), self.damage.starts.get(partition));
        let Some(next) = delivered.or(start.copied()) else { return false };
        let expected = Expected { offset: next, is_start: delivered.is_none() };
        match self.damage.jumped(partition, offset, expected, Instant::now()) {
            Some(found) => {
                self.tell_damage(found);
                true
            }
            None => {
                // A restarted reader delivers records before the position again. They do not prove that it is past the position.
                let reached = self.damage.places.get(partition).is_some_and(|place| offset >= place.offset);
                if reached {
                    self.damage.places.remove(partition);
                    self.tell_damage(Vec::new());
                }
                false
            }
        }
    }

    /// Runs at each tick: finds partitions that stand still, and retries those whose rest is over.
    pub(super) fn look_for_damage(&mut self) {
        if !self.phase.is_running() {
            return;
        }
        let now = Instant::now();
        if let Some(readings) = self.client.context().reports().readings() {
            let places = self.damage.places.len();
            let Self { damage, ledger, paused, .. } = &mut *self;
            let fetched = ledger.fetching().filter(|partition| !paused.contains(partition));
            let fetched = fetched.map(|partition| (partition.clone(), ledger.expected(partition))).collect();
            let found = damage.judge(&readings, &fetched, now);
            if !found.is_empty() || places != self.damage.places.len() || self.damage.is_there() {
                self.tell_damage(found);
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
            tracing::debug!(kafka.error = %error, "going back to what could not be read was refused");
        }
    }

    fn tell_damage(&mut self, found: impl IntoIterator<Item = Unreadable>) {
        let group: Group = self.processor.group;
        for unreadable in found {
            let place = format!("{}/{}", unreadable.partition, unreadable.offset);
            telemetry::report(
                &unreadable,
                &[
                    ("error.kind", "unreadable_batch"),
                    ("kafka.topic", &unreadable.partition.topic),
                    ("kafka.group", group.as_str()),
                    ("kafka.record", &place),
                ],
            );
        }
        let count = u32::try_from(self.damage.places.len()).unwrap_or(u32::MAX);
        metric::gauge(Metric::BusPartitionsUnreadable, f64::from(count), &[("group", group.as_str())]);
        self.tell_ready();
        self.apply_pause();
    }
}

#[cfg(test)]
#[path = "damage_tests.rs"]
mod tests;
