//! Metrics of a reading, for Prometheus and Sentry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bus::lag::{GroupStatus, PartitionLag, Reading};
use telemetry::metric::{self, Metric};

/// A gauge with its labels.
type Series = (Metric, Vec<(&'static str, String)>);

/// Reports readings as metrics.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// Joins of each group that were counted.
    joins: BTreeMap<String, u64>,
    /// Gauges that the last reading set.
    shown: BTreeSet<Series>,
}

impl Gauges {
    /// Sets the gauges, and counts the members that joined since the last reading. Removes those that this reading does not have.
    pub(crate) fn report(&mut self, reading: &Reading) {
        let mut gauges = of_partitions(&reading.partitions);
        for status in &reading.groups {
            let members = i64::try_from(status.members).unwrap_or(i64::MAX);
            gauges
                .insert(series(Metric::ConsumerMembers, [("group", status.group.as_str())]), number(members));
            let joined = self.joined(status);
            if joined > 0 {
                metric::count(Metric::ConsumerJoins, joined, &[("group", status.group.as_str())]);
            }
        }
        for ((which, labels), value) in &gauges {
            metric::gauge(*which, *value, &borrowed(labels));
        }
        self.keep(gauges.into_keys().collect());
    }

    /// Removes the gauges of the last reading, because old figures would hide a broker that is away.
    pub(crate) fn clear(&mut self) {
        self.keep(BTreeSet::new());
    }

    fn keep(&mut self, shown: BTreeSet<Series>) {
        for (which, labels) in self.shown.difference(&shown) {
            metric::remove_gauge(*which, &borrowed(labels));
        }
        self.shown = shown;
    }

    /// Returns how many members joined since the last reading.
    fn joined(&mut self, status: &GroupStatus) -> u64 {
        let counted = self.joins.insert(status.group.clone(), status.joins);
        status.joins.saturating_sub(counted.unwrap_or(0))
    }
}

/// Sets the age of the last reading that succeeded.
pub(crate) fn set_age(age: Duration) {
    metric::gauge(Metric::ConsumerLagReadingAge, age.as_secs_f64(), &[]);
}

/// The gauges of each partition. An unknown age has none.
fn of_partitions(lags: &[PartitionLag]) -> BTreeMap<Series, f64> {
    let mut gauges = BTreeMap::new();
    for lag in lags {
        let partition = lag.partition.to_string();
        let labels =
            [("group", lag.group.as_str()), ("topic", lag.topic.as_str()), ("partition", partition.as_str())];
        gauges.insert(series(Metric::ConsumerLagMessages, labels), number(lag.lag_messages));
        if let Some(seconds) = lag.lag_seconds {
            gauges.insert(series(Metric::ConsumerLagSeconds, labels), seconds);
        }
    }
    for ((group, topic), held) in held(lags) {
        let labels = [("group", group), ("topic", topic)];
        gauges.insert(series(Metric::ConsumerLagHeld, labels), number(held));
    }
    gauges
}

fn series<const N: usize>(which: Metric, labels: [(&'static str, &str); N]) -> Series {
    (which, labels.into_iter().map(|(name, value)| (name, value.to_owned())).collect())
}

fn borrowed<'a>(labels: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    labels.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Sums the records that open transactions hold back, over the partitions of each group and topic.
fn held(lags: &[PartitionLag]) -> BTreeMap<(&str, &str), i64> {
    let mut sums = BTreeMap::new();
    for lag in lags {
        let sum: &mut i64 = sums.entry((lag.group.as_str(), lag.topic.as_str())).or_default();
        *sum = sum.saturating_add(lag.held_messages);
    }
    sums
}

#[expect(clippy::cast_precision_loss, reason = "a gauge for a graph; no lag exceeds 2^53 records")]
fn number(value: i64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use bus::lag::GroupState;

    use super::*;

    fn lag(group: &str, topic: &str, partition: i32, held_messages: i64) -> PartitionLag {
        PartitionLag {
            group: group.to_owned(),
            topic: topic.to_owned(),
            partition,
            lag_messages: 9,
            held_messages,
            lag_seconds: Some(2.5),
            committed: None,
            end: 9,
            stable_end: 9 - held_messages,
            members: 0,
            is_beyond_end: false,
        }
    }

    #[test]
    fn gauges_without_a_reading_are_removed() {
        // The metrics belong to the process, so no other test may use this group
        let of_group = || -> Vec<String> {
            let page = metric::render_prometheus();
            let lines = page.lines().filter(|line| line.contains("group=\"removed\""));
            lines.map(str::to_owned).collect()
        };
        let reading = |partitions: &[i32]| Reading {
            partitions: partitions.iter().map(|partition| lag("removed", "t", *partition, 0)).collect(),
            groups: Vec::new(),
        };
        let mut gauges = Gauges::default();
        gauges.report(&reading(&[0, 1]));
        assert_eq!(
            of_group().len(),
            5,
            "two gauges of each partition and one of the topic: {:?}",
            of_group()
        );
        gauges.report(&reading(&[1]));
        let left = of_group();
        assert!(left.len() == 3 && !left.iter().any(|line| line.contains("partition=\"0\"")), "{left:?}");
        gauges.clear();
        assert_eq!(of_group(), Vec::<String>::new(), "the broker does not answer");
        gauges.report(&reading(&[1]));
        assert_eq!(of_group(), left, "it answers again");
        gauges.clear();
    }

    #[test]
    fn joins_are_counted_once() {
        let mut gauges = Gauges::default();
        let mut joined = |joins| {
            let group = "game".to_owned();
            gauges.joined(&GroupStatus { group, state: GroupState::Stable, members: 1, joins })
        };
        assert_eq!([joined(0), joined(2), joined(2), joined(5)], [0, 2, 0, 3]);
    }

    #[test]
    fn held_records_are_summed_over_partitions() {
        let lags = [lag("game", "a", 0, 2), lag("game", "a", 1, 3), lag("game", "b", 0, 0)];
        assert_eq!(held(&lags), BTreeMap::from([(("game", "a"), 5), (("game", "b"), 0)]));
    }
}
