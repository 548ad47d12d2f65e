//! Breaker on the share of dead letters: a bad deployment must not move a whole topic to its dead letters.
//!
//! It guarantees that **a consumer whose recent records mostly became dead letters handles no more of them for a while**, and that
//! it continues by itself: after the pause one record of each partition is handled, and normal work resumes as soon as one of
//! them succeeds. The module does no I/O and gets the time from its caller.
//!
//! Records that fail in one partition cannot hold the others for ever. They wait in their lanes, and records of the others still
//! have to be fetched. So each round waits for those after its first failure, and a record that can be handled gets its turn in the
//! first round after it was published. Once it succeeded, another pause needs a whole window of dead letters.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use crate::config::BreakerLimits;
use crate::lanes::Slot;
use crate::partitions::TopicPartition;
use crate::record_task::Passed;

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
    Open { until: Instant },
    HalfOpen(Round),
}

/// One record of each partition.
#[derive(Debug)]
struct Round {
    /// Partitions of the records that are being tried, by their slots.
    tried: BTreeMap<Slot, TopicPartition>,
    /// Partitions whose record failed.
    failed: BTreeSet<TopicPartition>,
    /// Time until which records of the other partitions are waited for. None before the first failure.
    until: Option<Instant>,
    /// Time at which records that are still being tried are given up.
    give_up_at: Instant,
}

impl Round {
    fn new(give_up_at: Instant) -> Self {
        Self { tried: BTreeMap::new(), failed: BTreeSet::new(), until: None, give_up_at }
    }

    /// Returns true if a record failed, none is being tried, and the record of every partition had its turn or its time.
    fn has_failed(&self, assigned: usize, now: Instant) -> bool {
        let is_over = |until: Instant| self.failed.len() >= assigned || until <= now;
        self.tried.is_empty() && self.until.is_some_and(is_over)
    }
}

/// Breaker of one consumer.
#[derive(Debug)]
pub(crate) struct Breaker {
    limits: BreakerLimits,
    /// Results of the last records. True for a dead letter.
    window: VecDeque<bool>,
    state: State,
}

impl Breaker {
    pub(crate) fn new(limits: BreakerLimits) -> Self {
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
            State::HalfOpen(Round { tried, failed, .. }) => {
                !failed.contains(partition) && tried.values().all(|other| other != partition)
            }
        }
    }

    /// Registers the start of a record.
    pub(crate) fn on_started(&mut self, slot: Slot, partition: &TopicPartition) {
        if let State::HalfOpen(round) = &mut self.state {
            round.tried.insert(slot, partition.clone());
        }
    }

    /// Registers the end of a record, with its result unless it was given back. `assigned` is the number of partitions that this
    /// consumer reads.
    pub(crate) fn on_ended(
        &mut self,
        slot: Slot,
        passed: Option<Passed>,
        assigned: usize,
        now: Instant,
    ) -> Option<Change> {
        match &mut self.state {
            State::Closed => self.count(passed?, now),
            State::Open { .. } => None,
            State::HalfOpen(round) => {
                // A record that started before the breaker opened decides nothing
                let partition = round.tried.remove(&slot)?;
                match passed {
                    // The others may hold their lanes for long, so they are not waited for
                    Some(Passed::Handled) => return Some(self.close()),
                    Some(Passed::DeadLettered | Passed::Deferred) => {
                        round.failed.insert(partition);
                        round.until = round.until.or(Some(now + self.limits.others_wait));
                    }
                    Some(Passed::Skipped) | None => {}
                }
                round.has_failed(assigned, now).then(|| self.reopen(now))
            }
        }
    }

    /// Ends the pause when it is over, and a round in which records failed when the others had their time. Also ends the wait for
    /// tried records that take as long as a pause: a failed one decides then, and without one the next records are tried.
    pub(crate) fn on_tick(&mut self, now: Instant) -> Option<Change> {
        let later = now + self.limits.pause.max(self.limits.others_wait);
        match &mut self.state {
            State::Open { until } if *until <= now => {
                self.state = State::HalfOpen(Round::new(later));
                Some(Change::HalfOpened)
            }
            State::HalfOpen(round) => {
                let is_given_up = round.give_up_at <= now;
                if round.has_failed(usize::MAX, now) || (is_given_up && round.until.is_some()) {
                    return Some(self.reopen(now));
                }
                if is_given_up {
                    *round = Round::new(later);
                }
                None
            }
            State::Closed | State::Open { .. } => None,
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
            // Not decided yet, or not handled by this group
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
    use std::time::Duration;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(10);
    const WAIT: Duration = Duration::from_secs(2);
    /// Number of partitions that the consumer reads.
    const ASSIGNED: usize = 6;

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    fn breaker() -> Breaker {
        Breaker::new(BreakerLimits {
            window_records: 4,
            dead_letters_max_percent: 50,
            pause: PAUSE,
            others_wait: WAIT,
        })
    }

    /// Returns a breaker that opened at `now`.
    fn open(now: Instant) -> Breaker {
        let mut breaker = breaker();
        for passed in [Passed::Handled, Passed::DeadLettered, Passed::DeadLettered] {
            assert_eq!(breaker.on_ended(0, Some(passed), ASSIGNED, now), None);
        }
        let opened = breaker.on_ended(0, Some(Passed::DeadLettered), ASSIGNED, now);
        assert_eq!(opened, Some(Change::Opened { dead_letters: 3, records: 4 }));
        breaker
    }

    #[test]
    fn half_may_fail_and_skipped_do_not_count() {
        let (mut breaker, now) = (breaker(), Instant::now());
        for _ in 0..10 {
            for passed in [Passed::DeadLettered, Passed::Skipped, Passed::Handled, Passed::Deferred] {
                assert_eq!(breaker.on_ended(0, Some(passed), ASSIGNED, now), None);
            }
            assert_eq!(breaker.on_ended(0, None, ASSIGNED, now), None);
        }
        assert!(breaker.is_closed() && breaker.may_start(&tp(0)));
    }

    #[test]
    fn one_record_per_partition_is_tried_after_pause() {
        let now = Instant::now();
        let mut breaker = open(now);
        assert!(breaker.stops_reading() && !breaker.may_start(&tp(0)) && !breaker.is_closed());
        assert_eq!(breaker.on_tick(now + PAUSE / 2), None);
        assert_eq!(breaker.on_tick(now + PAUSE), Some(Change::HalfOpened));
        assert!(!breaker.stops_reading() && breaker.may_start(&tp(0)));
        breaker.on_started(1, &tp(0));
        assert!(!breaker.may_start(&tp(0)) && breaker.may_start(&tp(1)));
        breaker.on_started(2, &tp(1));
        // A record from before has slot 3
        assert_eq!(breaker.on_ended(3, Some(Passed::Handled), ASSIGNED, now), None);
        assert_eq!(
            breaker.on_ended(1, Some(Passed::DeadLettered), ASSIGNED, now),
            None,
            "another is being tried"
        );
        assert!(!breaker.may_start(&tp(0)), "one record of each partition");
        assert_eq!(breaker.on_ended(2, Some(Passed::Handled), ASSIGNED, now), Some(Change::Closed));
        assert!(breaker.is_closed());
        assert_eq!(
            breaker.on_ended(0, Some(Passed::DeadLettered), ASSIGNED, now),
            None,
            "the window begins anew"
        );
    }

    #[test]
    fn failed_try_pauses_and_undecided_is_repeated() {
        let now = Instant::now();
        let mut breaker = open(now);
        breaker.on_tick(now + PAUSE);
        for undecided in [Some(Passed::Skipped), None] {
            breaker.on_started(1, &tp(0));
            assert_eq!(breaker.on_ended(1, undecided, ASSIGNED, now), None);
            assert!(breaker.may_start(&tp(0)));
        }
        breaker.on_started(1, &tp(0));
        let later = now + PAUSE;
        assert_eq!(breaker.on_ended(1, Some(Passed::DeadLettered), ASSIGNED, later), None, "others may come");
        assert_eq!(breaker.on_tick(later + WAIT / 2), None);
        assert_eq!(breaker.on_tick(later + WAIT), Some(Change::Reopened));
        assert!(breaker.stops_reading());
        assert_eq!(breaker.on_tick(later + PAUSE), None);
        assert_eq!(breaker.on_tick(later + WAIT + PAUSE), Some(Change::HalfOpened));
    }

    /// Records of the failing partition wait in their lanes, and those of the others are fetched after the pause.
    #[test]
    fn record_fetched_after_failure_gets_its_turn() {
        let now = Instant::now();
        let mut breaker = open(now);
        let begun = now + PAUSE;
        breaker.on_tick(begun);
        breaker.on_started(1, &tp(3));
        assert_eq!(breaker.on_ended(1, Some(Passed::DeadLettered), ASSIGNED, begun), None);
        assert!(!breaker.may_start(&tp(3)), "its next record is not tried in this round");
        let fetched = begun + WAIT / 4;
        assert_eq!(breaker.on_tick(fetched), None);
        assert!(breaker.may_start(&tp(0)));
        breaker.on_started(1, &tp(0));
        // A record that is being tried is waited for, also after the time of the round
        assert_eq!(breaker.on_tick(begun + WAIT), None);
        let closed = breaker.on_ended(1, Some(Passed::Handled), ASSIGNED, begun + WAIT);
        assert_eq!(closed, Some(Change::Closed));
        for _ in 0..3 {
            assert_eq!(breaker.on_ended(1, Some(Passed::DeadLettered), ASSIGNED, begun + WAIT), None);
        }
        assert!(breaker.may_start(&tp(0)), "another pause needs a whole window");
    }

    #[test]
    fn round_in_which_every_partition_failed_ends_at_once() {
        let now = Instant::now();
        let mut breaker = open(now);
        breaker.on_tick(now + PAUSE);
        breaker.on_started(1, &tp(0));
        assert_eq!(breaker.on_ended(1, Some(Passed::DeadLettered), 2, now + PAUSE), None);
        breaker.on_started(1, &tp(1));
        let ended = breaker.on_ended(1, Some(Passed::DeadLettered), 2, now + PAUSE);
        assert_eq!(ended, Some(Change::Reopened));
    }

    /// A record of money that keeps failing holds its lane, and so would a stuck handler.
    #[test]
    fn endless_try_holds_no_other_partition() {
        let now = Instant::now();
        let half_open = || {
            let mut breaker = open(now);
            breaker.on_tick(now + PAUSE);
            breaker.on_started(1, &tp(0));
            breaker.on_started(2, &tp(1));
            breaker
        };
        let mut breaker = half_open();
        assert_eq!(breaker.on_ended(2, Some(Passed::Handled), ASSIGNED, now + PAUSE), Some(Change::Closed));
        assert!(breaker.may_start(&tp(0)), "the other one is still being tried");

        let mut breaker = half_open();
        assert_eq!(breaker.on_ended(2, Some(Passed::DeadLettered), ASSIGNED, now + PAUSE), None);
        assert_eq!(breaker.on_tick(now + PAUSE + PAUSE / 2), None);
        assert_eq!(breaker.on_tick(now + PAUSE * 2), Some(Change::Reopened));

        let mut breaker = half_open();
        assert_eq!(breaker.on_tick(now + PAUSE * 2), None);
        assert!(breaker.may_start(&tp(0)) && breaker.may_start(&tp(1)), "the next ones are tried");
        assert_eq!(
            breaker.on_ended(1, Some(Passed::DeadLettered), ASSIGNED, now + PAUSE * 2),
            None,
            "given up"
        );
        assert!(breaker.may_start(&tp(0)));
    }
}
