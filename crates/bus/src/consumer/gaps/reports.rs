//! Reports about gaps: every gap is counted, and at most one a second is reported.

use std::time::{Duration, Instant};

use telemetry::metric::{self, Metric};

use crate::partitions::TopicPartition;

/// Shortest time between two reports of a group in this process.
const INTERVAL: Duration = Duration::from_secs(1);

/// Deleted records that this group did not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the broker deleted the records from offset {from} to {last} of {partition} before the group {group} read them"
)]
pub(super) struct Gap {
    pub(super) group: &'static str,
    pub(super) partition: TopicPartition,
    pub(super) from: i64,
    pub(super) last: i64,
}

impl Gap {
    fn records(&self) -> u64 {
        u64::try_from(self.last - self.from + 1).unwrap_or(0)
    }
}

/// Gaps that wait for their report: the first of them, and the number of the others.
#[derive(Debug, Default)]
pub(super) struct Reports {
    reported_at: Option<Instant>,
    waiting: Option<Gap>,
    left_out: u64,
}

impl Reports {
    /// Counts a gap, and keeps it for the next report.
    pub(super) fn add(&mut self, gap: Gap) {
        count(&gap);
        if self.waiting.is_some() {
            self.left_out = self.left_out.saturating_add(1);
        } else {
            self.waiting = Some(gap);
        }
    }

    /// Reports what waits, unless the last report was less than [`INTERVAL`] ago.
    pub(super) fn send(&mut self, now: Instant) {
        if let Some((gap, left_out)) = self.take(now) {
            report(&gap, left_out);
        }
    }

    /// Returns the gap to report now, and the number of gaps that no report names.
    fn take(&mut self, now: Instant) -> Option<(Gap, u64)> {
        if self.reported_at.is_some_and(|at| now.saturating_duration_since(at) < INTERVAL) {
            return None;
        }
        let gap = self.waiting.take()?;
        self.reported_at = Some(now);
        Some((gap, std::mem::take(&mut self.left_out)))
    }
}

fn count(gap: &Gap) {
    let partition = gap.partition.partition.to_string();
    let topic: &str = &gap.partition.topic;
    let labels = [("topic", topic), ("group", gap.group), ("partition", partition.as_str())];
    metric::count(Metric::BusRecordsMissed, gap.records(), &labels);
}

fn report(gap: &Gap, left_out: u64) {
    let topic: &str = &gap.partition.topic;
    let partition = gap.partition.partition.to_string();
    let (from, last, records) = (gap.from.to_string(), gap.last.to_string(), gap.records().to_string());
    let left_out = left_out.to_string();
    telemetry::report(
        gap,
        &[
            ("error.kind", "records_missed"),
            ("messaging.destination.name", topic),
            ("messaging.consumer.group.name", gap.group),
            ("kafka.partition", partition.as_str()),
            ("kafka.offset.from", from.as_str()),
            ("kafka.offset.last", last.as_str()),
            ("kafka.records", records.as_str()),
            ("kafka.gaps.left_out", left_out.as_str()),
        ],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(partition: i32) -> Gap {
        Gap { group: "game", partition: TopicPartition::new("t", partition), from: 3, last: 7 }
    }

    #[test]
    fn gaps_of_one_second_are_one_report() {
        let (mut reports, now) = (Reports::default(), Instant::now());
        assert_eq!(reports.take(now), None, "there is no gap");
        reports.add(gap(0));
        assert_eq!(reports.take(now), Some((gap(0), 0)), "the first one is reported at once");
        for partition in 1..=100 {
            reports.add(gap(partition));
        }
        assert_eq!(reports.take(now + INTERVAL / 2), None);
        assert_eq!(reports.take(now + INTERVAL), Some((gap(1), 99)), "none is forgotten");
        assert_eq!(reports.take(now + 2 * INTERVAL), None);
        reports.add(gap(0));
        assert_eq!(
            reports.take(now + 2 * INTERVAL),
            Some((gap(0), 0)),
            "a later gap has a report of its own"
        );
    }
}
