//! The watchdog: a process that does not get on ends, and is started again, instead of standing there looking healthy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::ConsumerError;
use crate::ledger::{Ledger, NextOffset, TopicPartition};
use crate::watch::LaneWatch;

pub(crate) struct Watchdog {
    deadline: Duration,
    /// When each partition with work in hand last got on.
    progress: BTreeMap<TopicPartition, (Option<NextOffset>, Instant)>,
}

impl Watchdog {
    pub(crate) fn new(deadline: Duration) -> Self {
        Self { deadline, progress: BTreeMap::new() }
    }

    /// Looks at every lane and every partition.
    pub(crate) fn look(&mut self, ledger: &Ledger, lanes: &[Arc<LaneWatch>]) -> Result<(), ConsumerError> {
        for (index, lane) in lanes.iter().enumerate() {
            if let Some(running) = lane.running_for().filter(|running| *running > self.deadline) {
                return Err(stalled(format!("a handler in lane {index}"), running));
            }
        }
        // A lane that waits for a failing record holds its partition's frontier on purpose; that is reported elsewhere.
        let is_holding = lanes.iter().any(|lane| lane.is_holding());
        self.look_at_partitions(ledger, is_holding)
    }

    fn look_at_partitions(&mut self, ledger: &Ledger, is_holding: bool) -> Result<(), ConsumerError> {
        let now = Instant::now();
        self.progress.retain(|partition, _| ledger.in_hand(partition) > 0);
        for partition in ledger.owned().filter(|partition| ledger.in_hand(partition) > 0) {
            let frontier = ledger.frontier(partition);
            let (before, since) = self.progress.entry(partition.clone()).or_insert((frontier, now));
            if *before != frontier || is_holding {
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
        assert!(patient.look(&ledger, &lanes).is_ok());
        assert!(matches!(dog.look(&ledger, &lanes), Err(ConsumerError::Stalled { .. })));
        drop(running);
        assert!(dog.look(&ledger, &lanes).is_ok());
    }

    #[test]
    fn a_frontier_that_stands_still_is_seen_unless_a_lane_holds_it_on_purpose() {
        let mut dog = Watchdog::new(Duration::from_millis(2));
        let lanes = lanes();
        let mut ledger = Ledger::default();
        let partition = TopicPartition::new("t", 0);
        ledger.assign(partition.clone());
        ledger.deliver(&partition, 5);
        assert!(dog.look(&ledger, &lanes).is_ok());
        wait();
        let holding = lanes[0].hold();
        assert!(dog.look(&ledger, &lanes).is_ok());
        drop(holding);
        wait();
        assert!(matches!(dog.look(&ledger, &lanes), Err(ConsumerError::Stalled { .. })));
    }
}
