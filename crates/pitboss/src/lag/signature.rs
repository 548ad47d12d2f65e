//! Signature of a group in a series of lag readings: each kind of broken consumer leaves another trace in its lag.

use std::collections::BTreeMap;
use std::fmt;

use bus::lag::{GroupState, GroupStatus};
use contracts::Topic;
use serde::Serialize;

use super::source::LagReading;

/// Number of samples below which nothing is said.
const SAMPLES_MIN: usize = 3;
/// Number of joins, or of rebalances, within the samples that a restart of the group's services does not cause.
const UNREST_MIN: usize = 3;
/// Time for which a partition must not advance. It is longer than the longest wait of `consumer.slow` for one record.
const STANDING_S_MIN: f64 = 12.0;
/// Age of the oldest record below which a group is not slow.
const SLOW_AGE_S_MIN: f64 = 2.0;

/// Name of what a group's lag looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signature {
    /// Too few samples.
    Unknown,
    /// None of the others.
    Steady,
    /// Lag and age grow although records are handled and the members stay.
    Slow,
    /// No members, and nothing is handled.
    Dead,
    /// A partition does not advance beyond one record, and its age grows, although the members stay.
    Stuck,
    /// New members join again and again, and a partition does not advance beyond one record.
    CrashLooping,
    /// Members join and leave again and again, and records are handled in between.
    RebalanceStorm,
}

impl Signature {
    /// Its name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Steady => "steady",
            Self::Slow => "slow",
            Self::Dead => "dead",
            Self::Stuck => "stuck",
            Self::CrashLooping => "crash-looping",
            Self::RebalanceStorm => "rebalance-storm",
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One group at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// State of the group.
    pub state: GroupState,
    /// Number of members.
    pub members: usize,
    /// Number of members that joined since the reader started.
    pub joins: u64,
    /// Its partitions, by topic and number.
    pub partitions: BTreeMap<(String, i32), PartitionSample>,
}

/// One partition of a group at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PartitionSample {
    /// Number of unread records that the group could read. Those that open transactions hold back are not its fault.
    pub readable: i64,
    /// Time since the oldest unread record was first seen.
    pub age_s: Option<f64>,
    /// Offset at which the group would continue.
    pub committed: Option<i64>,
}

impl Sample {
    /// Returns the group's part of a reading, without retry topics, where records wait on purpose.
    #[must_use]
    pub fn of(reading: &LagReading, status: &GroupStatus) -> Self {
        let of_group =
            reading.groups.iter().filter(|lag| lag.group == status.group && !Topic::is_retry(&lag.topic));
        let partitions = of_group.map(|lag| {
            let readable = (lag.lag_messages - lag.held_messages).max(0);
            let sample = PartitionSample { readable, age_s: lag.lag_seconds, committed: lag.committed };
            ((lag.topic.clone(), lag.partition), sample)
        });
        Self {
            state: status.state,
            members: status.members,
            joins: status.joins,
            partitions: partitions.collect(),
        }
    }

    fn readable(&self) -> i64 {
        self.partitions.values().map(|partition| partition.readable).sum()
    }

    /// Age of the oldest record that the group could read.
    fn age_s(&self) -> f64 {
        let lagging = self.partitions.values().filter(|partition| partition.readable > 0);
        lagging.filter_map(|partition| partition.age_s).fold(0.0, f64::max)
    }
}

/// Names the signature of a series of samples of one group, each with its time in seconds.
#[must_use]
pub fn signature(samples: &[(f64, Sample)]) -> Signature {
    let ([(_, first), ..], [.., (last_s, last)]) = (samples, samples) else {
        return Signature::Unknown;
    };
    if samples.len() < SAMPLES_MIN {
        return Signature::Unknown;
    }
    let is_standing = last.partitions.iter().any(|(key, end)| stands_still(samples, key, *end, *last_s));
    if is_restless(samples, first, last) {
        return if is_standing { Signature::CrashLooping } else { Signature::RebalanceStorm };
    }
    if samples.iter().rev().take(SAMPLES_MIN).all(|(_, sample)| sample.members == 0) {
        return Signature::Dead;
    }
    if is_standing {
        return Signature::Stuck;
    }
    let is_growing = last.readable() > first.readable() && last.age_s() > first.age_s();
    if is_growing && last.age_s() >= SLOW_AGE_S_MIN && consumed(first, last) > 0 {
        return Signature::Slow;
    }
    Signature::Steady
}

/// Number of offsets that the group committed between two samples.
fn consumed(first: &Sample, last: &Sample) -> i64 {
    let of = |(key, last): (&(String, i32), &PartitionSample)| {
        let before = first.partitions.get(key).and_then(|first| first.committed).unwrap_or(0);
        last.committed.map_or(0, |committed| (committed - before).max(0))
    };
    last.partitions.iter().map(of).sum()
}

/// Returns true if members joined, or the group rebalanced, several times.
fn is_restless(samples: &[(f64, Sample)], first: &Sample, last: &Sample) -> bool {
    let joins = usize::try_from(last.joins.saturating_sub(first.joins)).unwrap_or(usize::MAX);
    let begins = |pair: &[(f64, Sample)]| match pair {
        [(_, before), (_, after)] => {
            before.state != GroupState::Rebalancing && after.state == GroupState::Rebalancing
        }
        _ => false,
    };
    let rebalances = samples.windows(2).filter(|pair| begins(pair)).count();
    joins >= UNREST_MIN || rebalances >= UNREST_MIN
}

/// Returns true if a partition has had unread records from the same one on for long enough, up to the last sample, and its age
/// grew in that time.
fn stands_still(samples: &[(f64, Sample)], key: &(String, i32), end: PartitionSample, last_s: f64) -> bool {
    let stands = |(at_s, sample): &(f64, Sample)| {
        let now = sample.partitions.get(key)?;
        (now.readable > 0 && now.committed == end.committed).then_some((*at_s, now.age_s))
    };
    let begin = samples.iter().rev().map_while(stands).last();
    begin.is_some_and(|(begin_s, begin_age_s)| last_s - begin_s >= STANDING_S_MIN && end.age_s > begin_age_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One group in short: state, members, joins, and for each partition unread records, age and committed offset.
    type Short<'a> = (GroupState, usize, u64, &'a [(i64, f64, i64)]);

    fn sample((state, members, joins, partitions): Short<'_>) -> Sample {
        let partitions = partitions.iter().zip(0..).map(|((readable, age_s, committed), partition)| {
            let (age_s, committed) = (Some(*age_s), Some(*committed));
            (("t".to_owned(), partition), PartitionSample { readable: *readable, age_s, committed })
        });
        Sample { state, members, joins, partitions: partitions.collect() }
    }

    /// The signature of samples at intervals of five seconds.
    fn of(series: &[Short<'_>]) -> Signature {
        let samples = series.iter().zip(0_u32..).map(|(short, n)| (f64::from(n) * 5.0, sample(*short)));
        signature(&samples.collect::<Vec<_>>())
    }

    const STABLE: GroupState = GroupState::Stable;
    const EMPTY: GroupState = GroupState::Empty;
    const MOVING: GroupState = GroupState::Rebalancing;

    #[test]
    fn each_broken_consumer_has_its_signature() {
        let slow: [Short<'_>; 4] = [
            (STABLE, 1, 0, &[(5, 1.0, 10), (0, 0.0, 7)]),
            (STABLE, 1, 0, &[(40, 3.0, 14), (2, 0.5, 8)]),
            (STABLE, 1, 0, &[(80, 6.0, 19), (0, 0.0, 11)]),
            (STABLE, 1, 0, &[(120, 9.0, 23), (3, 0.1, 12)]),
        ];
        let dead: [Short<'_>; 4] = [
            (STABLE, 1, 0, &[(1, 0.1, 10)]),
            (EMPTY, 0, 0, &[(30, 5.0, 11)]),
            (EMPTY, 0, 0, &[(60, 10.0, 11)]),
            (EMPTY, 0, 0, &[(90, 15.0, 11)]),
        ];
        let stuck: [Short<'_>; 4] = [
            (STABLE, 1, 0, &[(1, 1.0, 10), (0, 0.0, 7)]),
            (STABLE, 1, 0, &[(4, 6.0, 10), (1, 0.1, 30)]),
            (STABLE, 1, 0, &[(9, 11.0, 10), (0, 0.0, 55)]),
            (STABLE, 1, 0, &[(13, 16.0, 10), (2, 0.2, 80)]),
        ];
        let crash_looping: [Short<'_>; 5] = [
            (STABLE, 1, 0, &[(1, 1.0, 10), (0, 0.0, 7)]),
            (MOVING, 1, 1, &[(4, 6.0, 10), (3, 2.0, 9)]),
            (EMPTY, 0, 1, &[(9, 11.0, 10), (6, 4.0, 9)]),
            (STABLE, 1, 2, &[(13, 16.0, 10), (2, 0.2, 20)]),
            (MOVING, 2, 3, &[(17, 21.0, 10), (5, 3.0, 20)]),
        ];
        let rebalance_storm: [Short<'_>; 5] = [
            (STABLE, 2, 0, &[(1, 0.5, 10), (0, 0.0, 7)]),
            (MOVING, 2, 1, &[(20, 3.0, 11), (15, 2.0, 9)]),
            (STABLE, 2, 2, &[(0, 0.0, 31), (4, 1.0, 24)]),
            (MOVING, 1, 2, &[(25, 4.0, 31), (20, 3.0, 25)]),
            (STABLE, 2, 3, &[(2, 0.1, 60), (0, 0.0, 50)]),
        ];
        for (series, expected) in [
            (slow.as_slice(), Signature::Slow),
            (dead.as_slice(), Signature::Dead),
            (stuck.as_slice(), Signature::Stuck),
            (crash_looping.as_slice(), Signature::CrashLooping),
            (rebalance_storm.as_slice(), Signature::RebalanceStorm),
        ] {
            assert_eq!(of(series), expected);
        }
    }

    #[test]
    fn rebalances_without_new_member_are_a_storm() {
        let phases = [STABLE, MOVING, STABLE, MOVING, STABLE, MOVING, STABLE];
        let offsets: [&[(i64, f64, i64)]; 7] = [
            &[(1, 0.1, 1)],
            &[(2, 0.2, 2)],
            &[(3, 0.3, 3)],
            &[(4, 0.4, 4)],
            &[(5, 0.5, 5)],
            &[(6, 0.6, 6)],
            &[(7, 0.7, 7)],
        ];
        let series: Vec<Short<'_>> =
            phases.into_iter().zip(offsets).map(|(state, partitions)| (state, 2, 0, partitions)).collect();
        assert_eq!(of(&series), Signature::RebalanceStorm);
    }

    #[test]
    fn healthy_groups_have_no_signature() {
        let busy: [Short<'_>; 4] = [
            (STABLE, 1, 0, &[(3, 0.2, 10)]),
            (STABLE, 1, 0, &[(9, 0.4, 400)]),
            (STABLE, 1, 0, &[(0, 0.0, 900)]),
            (STABLE, 1, 0, &[(12, 0.9, 1_300)]),
        ];
        let restarted: [Short<'_>; 4] = [
            (STABLE, 1, 0, &[(1, 0.1, 10)]),
            (EMPTY, 0, 0, &[(50, 4.0, 11)]),
            (MOVING, 1, 1, &[(90, 9.0, 11)]),
            (STABLE, 1, 1, &[(0, 0.0, 120)]),
        ];
        let recovering: [Short<'_>; 4] = [
            (STABLE, 1, 0, &[(900, 60.0, 10)]),
            (STABLE, 1, 0, &[(700, 55.0, 300)]),
            (STABLE, 1, 0, &[(400, 40.0, 700)]),
            (STABLE, 1, 0, &[(100, 9.0, 1_100)]),
        ];
        let idle: [Short<'_>; 4] = [(STABLE, 1, 0, &[(0, 0.0, 10)]); 4];
        for series in [&busy, &restarted, &recovering, &idle] {
            assert_eq!(of(series), Signature::Steady, "{series:?}");
        }
        assert_eq!(of(&idle[..2]), Signature::Unknown);
        assert_eq!(of(&[]), Signature::Unknown);
    }

    #[test]
    fn short_stop_at_one_record_is_not_stuck() {
        let series: [Short<'_>; 3] = [
            (STABLE, 1, 0, &[(1, 1.0, 10)]),
            (STABLE, 1, 0, &[(1, 6.0, 10)]),
            (STABLE, 1, 0, &[(1, 11.0, 10)]),
        ];
        assert_eq!(of(&series), Signature::Steady, "a record of ten seconds is slow, not stuck");
    }

    #[test]
    fn healthy_group_is_stuck_after_documented_time() {
        let healthy: [&[(i64, f64, i64)]; 8] = [
            &[(0, 0.0, 10)],
            &[(1, 0.1, 20)],
            &[(0, 0.0, 31)],
            &[(2, 0.2, 40)],
            &[(0, 0.0, 52)],
            &[(0, 0.0, 52)],
            &[(1, 0.1, 61)],
            &[(0, 0.0, 70)],
        ];
        let standing: [&[(i64, f64, i64)]; 5] =
            [&[(1, 1.0, 70)], &[(3, 6.0, 70)], &[(5, 11.0, 70)], &[(7, 16.0, 70)], &[(9, 21.0, 70)]];
        let samples = |standing: &[&'static [(i64, f64, i64)]]| -> Vec<Short<'static>> {
            healthy.iter().chain(standing).map(|partitions| (STABLE, 1, 0, *partitions)).collect()
        };
        assert_eq!(of(&samples(&standing)), Signature::Stuck);
        assert_ne!(of(&samples(&standing[..3])), Signature::Stuck, "it has stood for ten seconds only");
        let mut released = samples(&standing);
        released.push((STABLE, 1, 0, &[(1, 0.1, 90)]));
        assert_ne!(of(&released), Signature::Stuck, "it continues");
        let joins = [0, 1, 2, 3, 3];
        let mut crashing = samples(&[]);
        crashing.extend(
            joins.into_iter().zip(standing).map(|(joins, partitions)| (STABLE, 1, joins, partitions)),
        );
        assert_eq!(of(&crashing), Signature::CrashLooping);
    }

    #[test]
    fn held_and_delayed_records_are_no_fault() {
        let lag = |topic: &str, lag_messages, held_messages| bus::lag::PartitionLag {
            group: "notification".to_owned(),
            topic: topic.to_owned(),
            partition: 0,
            lag_messages,
            held_messages,
            lag_seconds: Some(30.0),
            committed: Some(1),
            end: 9,
            stable_end: 9,
            members: 1,
            is_beyond_end: false,
        };
        let (events, group) = (Topic::BetsEvents, contracts::Group::Notification);
        let groups = vec![lag(events.name(), 5, 5), lag(&events.retry(group), 4, 0)];
        let status = GroupStatus { group: group.as_str().to_owned(), state: STABLE, members: 1, joins: 0 };
        let sample = Sample::of(&LagReading { groups, ..LagReading::default() }, &status);
        assert_eq!((sample.partitions.len(), sample.readable()), (1, 0));
        assert!(sample.age_s().abs() < f64::EPSILON);
    }
}
