//! librdkafka's reports about its reading, besides the records: errors that name no partition, and statistics.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::names::Names;
use crate::partitions::TopicPartition;

/// Maximum number of errors kept for the owner. The oldest is dropped first.
const ERRORS_MAX: usize = 32;
/// Pause before the same error is logged again, because librdkafka repeats it at each fetch.
const LOG_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Read progress of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Offset that is fetched next.
    pub(crate) next: i64,
    /// One past the last offset that may be read.
    pub(crate) end: i64,
    /// First offset that the broker still has. Below 0 while it is unknown.
    pub(crate) low: i64,
    /// Fetched records that wait to be taken, of all partitions, because they share one queue.
    pub(crate) queued: i64,
    /// Number of fetches sent to the partition's broker so far.
    pub(crate) fetches: u64,
}

impl Reading {
    /// Returns true if the broker has a record there that was not fetched, and no fetched record waits to be taken.
    pub(crate) fn is_unfetched_at(&self, offset: i64) -> bool {
        self.queued == 0 && self.has_unread_at(offset)
    }

    /// Like [`Self::is_unfetched_at`], but ignores waiting records, which may be of other partitions.
    pub(crate) fn has_unread_at(&self, offset: i64) -> bool {
        0 <= offset && offset < self.end && self.next != self.end
    }

    /// Returns true if the reader is not past this offset, or if its position is implausible.
    pub(crate) fn is_not_past(&self, offset: i64) -> bool {
        self.next <= offset || self.next > self.end
    }

    /// Returns true if librdkafka is still looking for the position or the end.
    pub(crate) fn is_unknown(&self) -> bool {
        self.next < 0 || self.end < 0
    }
}

pub(crate) type Readings = BTreeMap<TopicPartition, Reading>;

/// The newest errors and readings, until the owner takes them.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    errors: Mutex<VecDeque<String>>,
    readings: Mutex<Option<Readings>>,
    logged: Mutex<VecDeque<(String, Instant)>>,
}

impl Reports {
    /// Stores an error. Returns true if it must be logged.
    pub(crate) fn add_error(&self, reason: &str) -> bool {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.len() >= ERRORS_MAX {
            errors.pop_front();
        }
        errors.push_back(reason.to_owned());
        drop(errors);
        let now = Instant::now();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.retain(|(_, at)| now.duration_since(*at) < LOG_AGAIN_AFTER);
        let is_new = logged.iter().all(|(known, _)| known != reason);
        if is_new {
            if logged.len() >= ERRORS_MAX {
                logged.pop_front();
            }
            logged.push_back((reason.to_owned(), now));
        }
        is_new
    }

    /// Stores the readings in librdkafka's statistics.
    pub(crate) fn add_statistics(&self, statistics: &[u8], names: &Names) {
        match readings_in(statistics, names) {
            Ok(readings) => *self.readings.lock().unwrap_or_else(PoisonError::into_inner) = Some(readings),
            Err(error) => tracing::debug!(error = %error, "librdkafka's statistics cannot be read"),
        }
    }

    /// Takes the stored errors.
    pub(crate) fn take_errors(&self) -> Vec<String> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// Takes the newest readings.
    pub(crate) fn take_readings(&self) -> Option<Readings> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    brokers: BTreeMap<String, BrokerStatistics>,
    #[serde(default)]
    topics: BTreeMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct BrokerStatistics {
    nodeid: i32,
    #[serde(default)]
    req: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct TopicStatistics {
    topic: String,
    partitions: BTreeMap<String, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    partition: i32,
    broker: i32,
    fetchq_cnt: i64,
    next_offset: i64,
    ls_offset: i64,
    #[serde(default)]
    lo_offset: Option<i64>,
}

fn readings_in(statistics: &[u8], names: &Names) -> Result<Readings, serde_json::Error> {
    let statistics: Statistics = serde_json::from_slice(statistics)?;
    let fetches = |node: i32| {
        let broker = statistics.brokers.values().find(|broker| broker.nodeid == node);
        broker.and_then(|broker| broker.req.get("Fetch").copied()).unwrap_or(0)
    };
    let mut readings = Readings::new();
    for topic in statistics.topics.values() {
        let name = names.logical(&topic.topic);
        for read in topic.partitions.values().filter(|read| read.partition >= 0) {
            let reading = Reading {
                next: read.next_offset,
                end: read.ls_offset,
                low: read.lo_offset.unwrap_or(-1),
                queued: read.fetchq_cnt,
                fetches: fetches(read.broker),
            };
            readings.insert(TopicPartition::new(name, read.partition), reading);
        }
    }
    Ok(readings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_combines_partition_and_broker_statistics() {
        let statistics = br#"{"name":"x","brokers":{
            "GroupCoordinator":{"nodeid":-1,"req":{"Fetch":0}},
            "b:1/1":{"nodeid":1,"req":{"Fetch":41,"Produce":1}}},
            "topics":{"t.casino":{"topic":"t.casino","age":1,"partitions":{
            "2":{"partition":2,"broker":1,"fetchq_cnt":3,"next_offset":7,"ls_offset":9,"lo_offset":4,
            "hi_offset":12},
            "-1":{"partition":-1,"broker":-1,"fetchq_cnt":0,"next_offset":-1001,"ls_offset":-1001}}}}}"#;
        let readings = readings_in(statistics, &Names::new("t")).unwrap();
        let reading = Reading { next: 7, end: 9, low: 4, queued: 3, fetches: 41 };
        assert_eq!(readings, Readings::from([(TopicPartition::new("casino", 2), reading)]));
        assert!(!reading.is_unfetched_at(7), "a fetched record waits to be taken");
        let drained = Reading { queued: 0, ..reading };
        assert!(drained.is_unfetched_at(7) && !drained.is_unfetched_at(9));
        assert!(!Reading { next: 9, ..drained }.is_unfetched_at(7), "the reader is at the end");
        assert!(
            Reading { next: -1001, ..drained }.is_unknown() && Reading { end: -1, ..drained }.is_unknown()
        );
        assert!(!drained.is_unknown());
    }

    #[test]
    fn repeated_error_is_logged_once() {
        let reports = Reports::default();
        let must_log: Vec<bool> = (0..100).map(|_| reports.add_error("the same")).collect();
        assert_eq!(must_log.iter().filter(|is_new| **is_new).count(), 1);
        assert!(must_log[0]);
        assert_eq!(reports.take_errors().len(), ERRORS_MAX);
        assert!(reports.take_errors().is_empty());
    }
}
