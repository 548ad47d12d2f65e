//! Breaker on the share of dead letters: a bad deployment must not move a whole topic to its dead letters.
//!
//! It guarantees that **a consumer whose recent records mostly became dead letters handles no more of them for a while**, and that
//! it continues by itself: after the pause one record of each partition is handled, and normal work resumes as soon as one of
//! them succeeds. The module does no I/O and gets the time from its caller.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::lanes::Slot;
use crate::partitions::TopicPartition;
use crate::record_task::Passed;

/// Limits of the breaker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Number of records over which the share is computed.
    pub(crate) window_records: usize,
    /// Share of dead letters above which the breaker opens.
    pub(crate) dead_letters_max_percent: usize,
    /// Duration of the pause.
    pub(crate) pause: Duration,
}

/// A change of the state, for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Too many of the last records became dead letters.
    Opened {
        /// Number of dead letters.
        dead_letters: usize,
        /// Number of records.
        records: usize,
    },
    /// The pause is over. One record of each partition is handled.
    HalfOpened,
    /// None of these records succeeded, so another pause begins.
    Reopened,
    /// A record succeeded, so normal work resumes.
    Closed,
}

#[derive(Debug)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// Slots of the records that are being tried, whether one has failed, and when they are given up.
    HalfOpen {
        tried: BTreeMap<Slot, TopicPartition>,
        has_failure: bool,
        until: Instant,
    },
}

/// Breaker of one consumer.
#[derive(Debug)]
pub(crate) struct Breaker {
    limits: Limits,
    /// Results of the last records. True for a dead letter.
    window: VecDeque<bool>,
    state: State,
}

impl Breaker {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, window: VecDeque::with_capacity(limits.window_records), state: State::Closed }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Returns true while nothing is read.
    pub(crate) fn stops_reading(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Returns true if a record of this partition may be handled now.
    pub(crate) fn may_start(&self, partition: &TopicPartition) -> bool {
        match &self.state {
            State::Closed => true,
            State::Open { .. } => false,
            State::HalfOpen { tried, has_failure, .. } => {
                !has_failure && tried.values().all(|other| other != partition)
            }
        }
    }

    /// Registers the start of a record.
    pub(crate) fn on_started(&mut self, slot: Slot, partition: &TopicPartition) {
        if let State::HalfOpen { tried, .. } = &mut self.state {
            tried.insert(slot, partition.clone());
        }
    }

    /// Registers the end of a record, with its result unless it was given back.
    pub(crate) fn on_ended(&mut self, slot: Slot, passed: Option<Passed>, now: Instant) -> Option<Change> {
        match &mut self.state {
            State::Closed => self.count(passed?, now),
            State::Open { .. } => None,
            State::HalfOpen { tried, has_failure, .. } => {
                // a record that started before the breaker opened decides nothing
                tried.remove(&slot)?;
                match passed {
                    // the others may hold their lanes for long, so they are not waited for
                    Some(Passed::Handled) => return Some(self.close()),
                    Some(Passed::DeadLettered | Passed::Deferred) => *has_failure = true,
                    Some(Passed::Skipped) | None => {}
                }
                let has_failed = *has_failure && tried.is_empty();
                has_failed.then(|| self.reopen(now))
            }
        }
    }

    /// Ends the pause when it is over. Also ends the wait for tried records that take as long as a pause: a failed one decides
    /// then, and without one the next record of each partition is tried.
    pub(crate) fn on_tick(&mut self, now: Instant) -> Option<Change> {
        let later = now + self.limits.pause;
        match &mut self.state {
            State::Open { until } if *until <= now => {
                self.state = State::HalfOpen { tried: BTreeMap::new(), has_failure: false, until: later };
                Some(Change::HalfOpened)
            }
            State::HalfOpen { has_failure: true, until, .. } if *until <= now => Some(self.reopen(now)),
            State::HalfOpen { tried, until, .. } if *until <= now => {
                tried.clear();
                *until = later;
                None
            }
            State::Closed | State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    fn close(&mut self) -> Change {
        self.window.clear();
        self.state = State::Closed;
        Change::Closed
    }

    fn reopen(&mut self, now: Instant) -> Change {
        self.state = State::Open { until: now + self.limits.pause };
        Change::Reopened
    }

    fn count(&mut self, passed: Passed, now: Instant) -> Option<Change> {
        let is_dead_letter = match passed {
            Passed::Handled => false,
            Passed::DeadLettered => true,
            // not decided yet, or not handled by this group
            Passed::Deferred | Passed::Skipped => return None,
        };
        if self.window.len() >= self.limits.window_records {
            self.window.pop_front();
        }
        self.window.push_back(is_dead_letter);
        let records = self.window.len();
        let dead_letters = self.window.iter().filter(|is_dead_letter| **is_dead_letter).count();
        let is_above = dead_letters * 100 > self.limits.dead_letters_max_percent * records;
        if records < self.limits.window_records || !is_above {
            return None;
        }
        self.state = State::Open { until: now + self.limits.pause };
        Some(Change::Opened { dead_letters, records })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(10);

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    fn breaker() -> Breaker {
        Breaker::new(Limits { window_records: 4, dead_letters_max_percent: 50, pause: PAUSE })
    }

    /// Returns a breaker that opened at `now`.
    fn open(now: Instant) -> Breaker {
        let mut breaker = breaker();
        for passed in [Passed::Handled, Passed::DeadLettered, Passed::DeadLettered] {
            assert_eq!(breaker.on_ended(0, Some(passed), now), None);
        }
        let opened = breaker.on_ended(0, Some(Passed::DeadLettered), now);
        assert_eq!(opened, Some(Change::Opened { dead_letters: 3, records: 4 }));
        breaker
    }

    #[test]
    fn half_of_the_records_are_tolerated_and_skipped_ones_do_not_count() {
        let (mut breaker, now) = (breaker(), Instant::now());
        for _ in 0..10 {
            for passed in [Passed::DeadLettered, Passed::Skipped, Passed::Handled, Passed::Deferred] {
                assert_eq!(breaker.on_ended(0, Some(passed), now), None);
            }
            assert_eq!(breaker.on_ended(0, None, now), None);
        }
        assert!(breaker.is_closed() && breaker.may_start(&tp(0)));
    }

    #[test]
    fn open_breaker_tries_one_record_of_each_partition_after_the_pause() {
        let now = Instant::now();
        let mut breaker = open(now);
        assert!(breaker.stops_reading() && !breaker.may_start(&tp(0)) && !breaker.is_closed());
        assert_eq!(breaker.on_tick(now + PAUSE / 2), None);
        assert_eq!(breaker.on_tick(now + PAUSE), Some(Change::HalfOpened));
        assert!(!breaker.stops_reading() && breaker.may_start(&tp(0)));
        breaker.on_started(1, &tp(0));
        assert!(!breaker.may_start(&tp(0)) && breaker.may_start(&tp(1)));
        breaker.on_started(2, &tp(1));
        // a record from before has slot 3
        assert_eq!(breaker.on_ended(3, Some(Passed::Handled), now), None);
        assert_eq!(breaker.on_ended(1, Some(Passed::DeadLettered), now), None, "another is being tried");
        assert!(!breaker.may_start(&tp(0)), "one record of each partition");
        assert_eq!(breaker.on_ended(2, Some(Passed::Handled), now), Some(Change::Closed));
        assert!(breaker.is_closed());
        assert_eq!(breaker.on_ended(0, Some(Passed::DeadLettered), now), None, "the window begins anew");
    }

    #[test]
    fn failed_try_begins_another_pause_and_an_undecided_one_is_repeated() {
        let now = Instant::now();
        let mut breaker = open(now);
        breaker.on_tick(now + PAUSE);
        for undecided in [Some(Passed::Skipped), None] {
            breaker.on_started(1, &tp(0));
            assert_eq!(breaker.on_ended(1, undecided, now), None);
            assert!(breaker.may_start(&tp(0)));
        }
        breaker.on_started(1, &tp(0));
        let later = now + PAUSE;
        assert_eq!(breaker.on_ended(1, Some(Passed::DeadLettered), later), Some(Change::Reopened));
        assert!(breaker.stops_reading());
        assert_eq!(breaker.on_tick(later + PAUSE / 2), None);
        assert_eq!(breaker.on_tick(later + PAUSE), Some(Change::HalfOpened));
    }

    /// A record of money that keeps failing holds its lane, and so would a stuck handler.
    #[test]
    fn tried_record_that_does_not_end_holds_no_other_partition() {
        let now = Instant::now();
        let half_open = || {
            let mut breaker = open(now);
            breaker.on_tick(now + PAUSE);
            breaker.on_started(1, &tp(0));
            breaker.on_started(2, &tp(1));
            breaker
        };
        let mut breaker = half_open();
        assert_eq!(breaker.on_ended(2, Some(Passed::Handled), now + PAUSE), Some(Change::Closed));
        assert!(breaker.may_start(&tp(0)), "the other one is still being tried");

        let mut breaker = half_open();
        assert_eq!(breaker.on_ended(2, Some(Passed::DeadLettered), now + PAUSE), None);
        assert_eq!(breaker.on_tick(now + PAUSE + PAUSE / 2), None);
        assert_eq!(breaker.on_tick(now + PAUSE * 2), Some(Change::Reopened));

        let mut breaker = half_open();
        assert_eq!(breaker.on_tick(now + PAUSE * 2), None);
        assert!(breaker.may_start(&tp(0)) && breaker.may_start(&tp(1)), "the next ones are tried");
        assert_eq!(breaker.on_ended(1, Some(Passed::DeadLettered), now + PAUSE * 2), None, "given up");
        assert!(breaker.may_start(&tp(0)));
    }
}
