//! Property tests of the offsets, against a model that keeps the whole history. The same check must fail for an implementation
//! that is broken on purpose.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::*;

const PARTITIONS: i32 = 3;

/// One event of a consumer.
#[derive(Clone, Debug)]
enum Step {
    Assign(i32),
    Leave(i32),
    Revoke(i32),
    /// Delivers the next record of a partition. The log has gaps, as after compaction.
    Deliver {
        partition: i32,
        gap: i64,
    },
    /// Delivers a delivered record again.
    Redeliver {
        partition: i32,
        back: i64,
    },
    /// The reader's position is after the last record and this many offsets without a record.
    Reach {
        partition: i32,
        beyond: i64,
    },
    /// Finishes one of the records in flight, in any order.
    Finish {
        pick: prop::sample::Index,
        end: RecordEnd,
    },
    /// The broker confirms every pending commit.
    Commit,
}

fn step() -> impl Strategy<Value = Step> {
    let partition = 0..PARTITIONS;
    let end = prop_oneof![9 => Just(RecordEnd::Done), 1 => Just(RecordEnd::Abandoned)];
    prop_oneof![
        2 => partition.clone().prop_map(Step::Assign),
        1 => partition.clone().prop_map(Step::Leave),
        1 => partition.clone().prop_map(Step::Revoke),
        12 => (partition.clone(), 0..3_i64).prop_map(|(partition, gap)| Step::Deliver { partition, gap }),
        3 => (partition.clone(), 0..5_i64).prop_map(|(partition, back)| Step::Redeliver { partition, back }),
        3 => (partition, 0..3_i64).prop_map(|(partition, beyond)| Step::Reach { partition, beyond }),
        12 => (any::<prop::sample::Index>(), end).prop_map(|(pick, end)| Step::Finish { pick, end }),
        3 => Just(Step::Commit),
    ]
}

/// Offset that the implementation under test offers for commit.
type FrontierOf = fn(&Offsets) -> Option<NextOffset>;

/// Broken on purpose: offers every delivered offset for commit, like a consumer that commits before it works.
fn delivered(offsets: &Offsets) -> Option<NextOffset> {
    offsets.expected().map(NextOffset)
}

/// Model of one assignment.
#[derive(Default)]
struct Model {
    epoch: Option<Epoch>,
    leaving: bool,
    /// Every offset delivered under this assignment, and whether it is done.
    delivered: BTreeMap<i64, bool>,
    frontier: Option<NextOffset>,
    /// Position of the reader when everything was done.
    reached: Option<NextOffset>,
}

impl Model {
    /// One past the longest finished prefix, or the reader's position if that is higher.
    fn expected_frontier(&self) -> Option<NextOffset> {
        let finished = self.delivered.iter().take_while(|(_, done)| **done);
        finished.last().map(|(offset, _)| NextOffset(offset + 1)).max(self.reached)
    }

    fn last(&self) -> Option<i64> {
        let reached = self.reached.map(|NextOffset(next)| next - 1);
        self.delivered.keys().last().copied().max(reached)
    }
}

struct History {
    partitions: Partitions,
    frontier_of: FrontierOf,
    models: BTreeMap<i32, Model>,
    log_ends: BTreeMap<i32, i64>,
    in_flight: Vec<(i32, Epoch, i64)>,
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("casino.bets.commands.v1", partition)
}

impl History {
    fn new(frontier_of: FrontierOf) -> Self {
        let (models, log_ends) = (BTreeMap::new(), BTreeMap::new());
        Self { partitions: Partitions::default(), frontier_of, models, log_ends, in_flight: Vec::new() }
    }

    fn apply(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Assign(partition) => {
                let epoch = self.partitions.assign(tp(partition));
                self.partitions.mark_fresh(&tp(partition));
                self.models.insert(partition, Model { epoch: Some(epoch), ..Model::default() });
            }
            Step::Leave(partition) => {
                self.partitions.leave(&tp(partition));
                if let Some(model) = self.models.get_mut(&partition) {
                    model.leaving = true;
                }
            }
            Step::Revoke(partition) => {
                self.partitions.revoke(&tp(partition));
                self.models.remove(&partition);
            }
            Step::Deliver { partition, gap } => {
                let end = self.log_ends.entry(partition).or_insert(0);
                *end += gap + 1;
                let offset = *end;
                self.deliver(partition, offset)?;
            }
            Step::Redeliver { partition, back } => {
                let last = self.models.get(&partition).and_then(Model::last);
                if let Some(last) = last {
                    self.deliver(partition, (last - back).max(0))?;
                }
            }
            Step::Reach { partition, beyond } => {
                let end = self.log_ends.entry(partition).or_insert(0);
                *end += beyond;
                let position = NextOffset(*end + 1);
                self.partitions.reach(&tp(partition), position);
                if let Some(model) = self.models.get_mut(&partition)
                    && !model.leaving
                    && model.delivered.values().all(|done| *done)
                {
                    model.reached = Some(position);
                }
            }
            Step::Finish { pick, end } => self.finish(pick, end)?,
            Step::Commit => {
                for (partition, epoch, next) in self.partitions.to_commit() {
                    self.partitions.mark_committed(&partition, epoch, next);
                }
                prop_assert!(self.partitions.to_commit().is_empty());
            }
        }
        self.check()
    }

    fn deliver(&mut self, partition: i32, offset: i64) -> Result<(), TestCaseError> {
        let delivered = self.partitions.deliver(&tp(partition), offset);
        let expected = match self.models.get_mut(&partition) {
            None => Delivered::NotOurs,
            Some(model) if model.leaving => Delivered::NotOurs,
            Some(model) if model.last().is_some_and(|last| offset <= last) => Delivered::Redelivered,
            Some(model) => {
                model.delivered.insert(offset, false);
                Delivered::New(model.epoch.expect("an assignment has an epoch"))
            }
        };
        prop_assert_eq!(delivered, expected);
        if let Delivered::New(epoch) = delivered {
            self.in_flight.push((partition, epoch, offset));
        }
        Ok(())
    }

    fn finish(&mut self, pick: prop::sample::Index, end: RecordEnd) -> Result<(), TestCaseError> {
        if self.in_flight.is_empty() {
            return Ok(());
        }
        let (partition, epoch, offset) = self.in_flight.remove(pick.index(self.in_flight.len()));
        let finished = self.partitions.finish(&tp(partition), epoch, offset, end);
        let again = self.partitions.finish(&tp(partition), epoch, offset, end);
        match self.models.get_mut(&partition).filter(|model| model.epoch == Some(epoch)) {
            Some(model) => {
                model.delivered.insert(offset, end == RecordEnd::Done);
                prop_assert_eq!(finished, Ok(Finished::Counted));
                prop_assert!(again.is_err(), "the same offset was finished twice without an error");
            }
            None => prop_assert_eq!(finished, Ok(Finished::Stale)),
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        for (partition, model) in &mut self.models {
            let frontier = self.partitions.offsets(&tp(*partition)).and_then(self.frontier_of);
            let unfinished = model.delivered.iter().find(|(_, done)| !**done).map(|(offset, _)| *offset);
            if let (Some(NextOffset(next)), Some(unfinished)) = (frontier, unfinished) {
                prop_assert!(
                    next <= unfinished,
                    "frontier {} passed the unfinished offset {}",
                    next,
                    unfinished
                );
            }
            prop_assert!(model.frontier <= frontier, "the frontier went back");
            prop_assert_eq!(frontier, model.expected_frontier());
            model.frontier = frontier;
        }
        Ok(())
    }
}

fn holds_for(frontier_of: FrontierOf, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut history = History::new(frontier_of);
    steps.into_iter().try_for_each(|step| history.apply(step))
}

proptest! {
    #![proptest_config(Config { cases: 2_000, ..Config::default() })]

    #[test]
    fn frontier_never_passes_an_unfinished_offset(steps in prop::collection::vec(step(), 0..120)) {
        holds_for(Offsets::frontier, steps)?;
    }
}

#[test]
fn commit_before_work_fails_the_check() {
    let mut runner = TestRunner::new(Config { cases: 500, failure_persistence: None, ..Config::default() });
    let found = runner
        .run(&prop::collection::vec(step(), 0..120), |steps| holds_for(delivered, steps))
        .expect_err("the check accepted a broken implementation");
    assert!(found.to_string().contains("passed the unfinished offset"), "{found}");
}

fn frontier(partitions: &Partitions) -> Option<NextOffset> {
    partitions.offsets(&tp(0)).and_then(Offsets::frontier)
}

#[test]
fn completion_of_earlier_assignment_is_stale() {
    let mut partitions = Partitions::default();
    let before = partitions.assign(tp(0));
    assert_eq!(partitions.deliver(&tp(0), 7), Delivered::New(before));
    partitions.revoke(&tp(0));
    let now = partitions.assign(tp(0));
    assert_eq!(partitions.deliver(&tp(0), 7), Delivered::New(now));
    assert_eq!(partitions.finish(&tp(0), before, 7, RecordEnd::Done), Ok(Finished::Stale));
    assert_eq!(frontier(&partitions), None);
    assert_eq!(partitions.finish(&tp(0), now, 7, RecordEnd::Done), Ok(Finished::Counted));
    assert_eq!(partitions.to_commit(), vec![(tp(0), now, NextOffset(8))]);
}

#[test]
fn commit_of_an_earlier_assignment_is_ignored() {
    let mut partitions = Partitions::default();
    let before = partitions.assign(tp(0));
    partitions.deliver(&tp(0), 1);
    partitions.finish(&tp(0), before, 1, RecordEnd::Done).expect("in flight");
    let now = partitions.assign(tp(0));
    partitions.deliver(&tp(0), 1);
    partitions.finish(&tp(0), now, 1, RecordEnd::Done).expect("in flight");
    partitions.mark_committed(&tp(0), before, NextOffset(2));
    assert_eq!(partitions.to_commit(), vec![(tp(0), now, NextOffset(2))]);
    partitions.mark_committed(&tp(0), now, NextOffset(2));
    assert_eq!(partitions.to_commit(), vec![]);
}

#[test]
fn position_after_a_marker_becomes_the_frontier() {
    let mut partitions = Partitions::default();
    let epoch = partitions.assign(tp(0));
    partitions.deliver(&tp(0), 5);
    partitions.reach(&tp(0), NextOffset(7));
    assert_eq!(frontier(&partitions), None, "the record at 5 is in flight");
    partitions.finish(&tp(0), epoch, 5, RecordEnd::Done).expect("in flight");
    assert_eq!(partitions.to_commit(), vec![(tp(0), epoch, NextOffset(6))]);
    partitions.reach(&tp(0), NextOffset(7));
    assert_eq!(partitions.to_commit(), vec![(tp(0), epoch, NextOffset(7))]);
    partitions.reach(&tp(0), NextOffset(3));
    assert_eq!(frontier(&partitions), Some(NextOffset(7)));
    let offsets = partitions.offsets(&tp(0)).expect("assigned");
    assert_eq!((offsets.ahead(), offsets.expected()), (0, Some(7)));
}

#[test]
fn position_of_an_earlier_assignment_is_ignored() {
    let mut partitions = Partitions::default();
    partitions.assign(tp(0));
    partitions.reach(&tp(0), NextOffset(7));
    assert_eq!(frontier(&partitions), None);
    partitions.mark_fresh(&tp(0));
    partitions.reach(&tp(0), NextOffset(7));
    assert_eq!(frontier(&partitions), Some(NextOffset(7)));
}
