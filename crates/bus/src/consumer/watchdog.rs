//! The watchdog stops a process that makes no progress, so that it is restarted instead of hanging while it looks healthy.
//!
//! An attempt that does not end is reported long before, while it is stuck, in the trace of its record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::ConsumerError;
use crate::lane_activity::LaneActivity;
use crate::offsets::NextOffset;
use crate::partitions::{Partitions, TopicPartition};

/// Part of the deadline after which an attempt is reported.
const REPORTED_AT: u32 = 4;

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
    pub(crate) fn check(
        &mut self,
        partitions: &Partitions,
        slots: &[Arc<LaneActivity>],
        is_held: impl Fn(&TopicPartition) -> bool,
    ) -> Result<(), ConsumerError> {
        for (index, slot) in slots.iter().enumerate() {
            let Some(running) = slot.running_for() else { continue };
            slot.report_if_stalled(self.deadline / REPORTED_AT);
            if running > self.deadline {
                let what = slot.described().unwrap_or_else(|| format!("a handler in slot {index}"));
                return Err(stalled(what, running));
            }
        }
        let now = Instant::now();
        self.progress.retain(|partition, _| partitions.in_flight(partition) > 0);
        for (partition, offsets) in partitions.owned().filter(|(_, offsets)| offsets.in_flight() > 0) {
            let frontier = offsets.frontier();
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

    fn slots() -> Vec<Arc<LaneActivity>> {
        vec![Arc::new(LaneActivity::new(Instant::now()))]
    }

    fn wait() {
        std::thread::sleep(Duration::from_millis(5));
    }

    #[test]
    fn attempt_longer_than_the_deadline_is_reported() {
        let (mut slow, mut watchdog) =
            (Watchdog::new(Duration::from_secs(600)), Watchdog::new(Duration::from_millis(2)));
        let slots = slots();
        let partitions = Partitions::default();
        let running = slots[0].attempt();
        wait();
        assert!(slow.check(&partitions, &slots, |_| false).is_ok());
        assert!(matches!(watchdog.check(&partitions, &slots, |_| false), Err(ConsumerError::Stalled { .. })));
        drop(running);
        assert!(watchdog.check(&partitions, &slots, |_| false).is_ok());
    }

    #[test]
    fn stalled_frontier_is_reported_unless_held() {
        let mut watchdog = Watchdog::new(Duration::from_millis(2));
        let slots = slots();
        let mut partitions = Partitions::default();
        let (held, other) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        partitions.assign(held.clone());
        partitions.deliver(&held, 5);
        let is_held = |partition: &TopicPartition| *partition == held;
        assert!(watchdog.check(&partitions, &slots, is_held).is_ok());
        wait();
        assert!(watchdog.check(&partitions, &slots, is_held).is_ok());
        // A held record of another partition does not excuse this one
        partitions.assign(other.clone());
        partitions.deliver(&other, 7);
        assert!(watchdog.check(&partitions, &slots, is_held).is_ok());
        wait();
        let stalled = watchdog.check(&partitions, &slots, is_held).map_err(|stalled| stalled.to_string());
        assert!(stalled.as_ref().is_err_and(|message| message.contains("t/1")), "{stalled:?}");
    }
}
