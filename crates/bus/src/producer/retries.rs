//! Records that librdkafka sent again. A successful acknowledgement does not tell, so this reads librdkafka's log.
//!
//! An idempotent producer logs one line for a partition when a request with its records failed and is repeated: the answer was
//! lost with its connection, came too late, or was an error. The line belongs to the debug context `eos`, which is on only with
//! [`crate::Config::publish_retries_shown`].

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Facility of the line.
const FACILITY: &str = "DRAIN";
/// End of the line. Before it is the partition as `topic [0]`, after the name of the thread.
const REASON: &str = " beginning partition drain: drain before retrying";
/// Maximum number of repetitions that are kept. The oldest is dropped first.
const KEPT_MAX: usize = 256;

/// The newest repetitions, in their order.
#[derive(Debug, Default)]
pub(super) struct Retries {
    kept: Mutex<VecDeque<(Instant, String)>>,
}

impl Retries {
    /// Reads a line of librdkafka's log.
    pub(super) fn read(&self, facility: &str, line: &str) {
        if facility != FACILITY {
            return;
        }
        let Some(partition) = line.strip_suffix(REASON) else { return };
        let partition = partition.rsplit_once("]: ").map_or(partition, |(_, partition)| partition);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back((Instant::now(), partition.to_owned()));
    }

    /// Returns how often records of the partition were sent again since that time.
    pub(super) fn count_since(&self, since: Instant, topic: &str, partition: i32) -> usize {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = kept.iter().rev().take_while(|(at, _)| *at >= since);
        recent.filter(|(_, known)| is_partition(known, topic, partition)).count()
    }
}

fn is_partition(known: &str, topic: &str, partition: i32) -> bool {
    let rest = known.strip_prefix(topic).and_then(|rest| rest.strip_prefix(" ["));
    rest.and_then(|rest| rest.strip_suffix(']')).is_some_and(|number| number.parse::<i32>() == Ok(partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_counts_for_its_partition_only() {
        let retries = Retries::default();
        let before = Instant::now();
        let line = "[thrd:127.0.0.1:8112/1]: t.casino [3] beginning partition drain: drain before retrying";
        retries.read("DRAIN", line);
        retries.read("DRAIN", "t.casino [3] beginning partition drain: drain before retrying");
        retries.read("DRAIN", "All partitions drained");
        retries.read("FAIL", line);
        assert_eq!(retries.count_since(before, "t.casino", 3), 2);
        assert_eq!(retries.count_since(before, "t.casino", 4), 0);
        assert_eq!(retries.count_since(before, "casino", 3), 0);
        let after = Instant::now() + std::time::Duration::from_millis(1);
        assert_eq!(retries.count_since(after, "t.casino", 3), 0);
    }

    #[test]
    fn number_of_kept_repetitions_is_bounded() {
        let retries = Retries::default();
        let before = Instant::now();
        for _ in 0..1_000 {
            retries.read("DRAIN", "t [0] beginning partition drain: drain before retrying");
        }
        assert_eq!(retries.count_since(before, "t", 0), KEPT_MAX);
    }
}
