//! The watchdog stops a process that makes no progress, so that it is restarted instead of hanging while it looks healthy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::ConsumerError;
use crate::ledger::{Ledger, NextOffset, TopicPartition};
use crate::watch::LaneWatch;

pub(crate) struct Watchdog {
    deadline: Duration,
    /// Frontier of each partition with records in flight, and the time of its last change.
    progress: BTreeMap<TopicPartition, (Option<NextOffset>, Instant)>,
}

impl Watchdog {
    pub(crate) fn new(deadline: Duration) -> Self {
        Self { deadline, progress: BTreeMap::new() }
    }

    /// Checks every slot and every partition. `is_held` returns true for a partition that stands still on purpose, behind a
    /// record that waits for its next attempt. Such a record is reported elsewhere.
    pub(crate) fn look(
        &mut self,
        ledger: &Ledger,
        slots: &[Arc<LaneWatch>],
        is_held: impl Fn(&TopicPartition) -> bool,
    ) -> Result<(), ConsumerError> {
        for (index, slot) in slots.iter().enumerate() {
            if let Some(running) = slot.running_for().filter(|running| *running > self.deadline) {
                return Err(stalled(format!("a handler in slot {index}"), running));
            }
        }
        let now = Instant::now();
        self.progress.retain(|partition, _| ledger.in_hand(partition) > 0);
        for partition in ledger.owned().filter(|partition| ledger.in_hand(partition) > 0) {
            let frontier = ledger.frontier(partition);
            let (before, since) = self.progress.entry(partition.clone()).or_insert((frontier, now));
            if *before != frontier || is_held(partition) {
                (*before, *since) = (frontier, now);
            }
            let standing = now.duration_since(*since);
            if standing > self.deadline {
                return Err(stalled(format!("the frontier of {partition}"), standing));
            }
        }
        Ok(())
    }
}

fn stalled(what: String, standing: Duration) -> ConsumerError {
    ConsumerError::Stalled { what, stalled_ms: u64::try_from(standing.as_millis()).unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes() -> Vec<Arc<LaneWatch>> {
        vec![Arc::new(LaneWatch::new(Instant::now()))]
    }

    fn wait() {
        std::thread::sleep(Duration::from_millis(5));
    }

    #[test]
    fn an_attempt_that_never_ends_is_seen() {
        let (mut patient, mut dog) =
            (Watchdog::new(Duration::from_secs(600)), Watchdog::new(Duration::from_millis(2)));
        let lanes = lanes();
        let ledger = Ledger::default();
        let running = lanes[0].attempt();
        wait();
        assert!(patient.look(&ledger, &lanes, |_| false).is_ok());
        assert!(matches!(dog.look(&ledger, &lanes, |_| false), Err(ConsumerError::Stalled { .. })));
        drop(running);
        assert!(dog.look(&ledger, &lanes, |_| false).is_ok());
    }

    #[test]
    fn a_frontier_that_stands_still_is_seen_unless_its_own_partition_is_held_on_purpose() {
        let mut dog = Watchdog::new(Duration::from_millis(2));
        let lanes = lanes();
        let mut ledger = Ledger::default();
        let (held, other) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        ledger.assign(held.clone());
        ledger.deliver(&held, 5);
        let is_held = |partition: &TopicPartition| *partition == held;
        assert!(dog.look(&ledger, &lanes, is_held).is_ok());
        wait();
        assert!(dog.look(&ledger, &lanes, is_held).is_ok());
        // a held record of another partition is no excuse for this one
        ledger.assign(other.clone());
        ledger.deliver(&other, 7);
        assert!(dog.look(&ledger, &lanes, is_held).is_ok());
        wait();
        let stalled = dog.look(&ledger, &lanes, is_held).map_err(|stalled| stalled.to_string());
        assert!(stalled.as_ref().is_err_and(|told| told.contains("t/1")), "{stalled:?}");
    }
}
