//! Property tests of the ledger, against a model that keeps the whole history. The same check must fail for a ledger that is
//! broken on purpose.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::*;

const PARTITIONS: i32 = 3;

/// One event in the life of a consumer.
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
        done: bool,
    },
    /// The broker confirms every pending commit.
    Commit,
}

fn step() -> impl Strategy<Value = Step> {
    let partition = 0..PARTITIONS;
    prop_oneof![
        2 => partition.clone().prop_map(Step::Assign),
        1 => partition.clone().prop_map(Step::Leave),
        1 => partition.clone().prop_map(Step::Revoke),
        12 => (partition.clone(), 0..3_i64).prop_map(|(partition, gap)| Step::Deliver { partition, gap }),
        3 => (partition.clone(), 0..5_i64).prop_map(|(partition, back)| Step::Redeliver { partition, back }),
        3 => (partition, 0..3_i64).prop_map(|(partition, beyond)| Step::Reach { partition, beyond }),
        12 => (any::<prop::sample::Index>(), prop::bool::weighted(0.9))
            .prop_map(|(pick, done)| Step::Finish { pick, done }),
        3 => Just(Step::Commit),
    ]
}

/// Ledger under test: the real one, or a broken one.
trait Books: Default {
    fn ledger(&mut self) -> &mut Ledger;
    fn frontier_of(&self, partition: &TopicPartition) -> Option<NextOffset>;
}

impl Books for Ledger {
    fn ledger(&mut self) -> &mut Ledger {
        self
    }

    fn frontier_of(&self, partition: &TopicPartition) -> Option<NextOffset> {
        self.frontier(partition)
    }
}

/// Broken on purpose: offers every delivered offset for commit, like a consumer that commits before it works.
#[derive(Default)]
struct CommitsBeforeItWorks(Ledger);

impl Books for CommitsBeforeItWorks {
    fn ledger(&mut self) -> &mut Ledger {
        &mut self.0
    }

    fn frontier_of(&self, partition: &TopicPartition) -> Option<NextOffset> {
        let owned = self.0.partitions.get(partition)?;
        owned.last_delivered.map(|last| NextOffset(last + 1))
    }
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

struct History<B> {
    books: B,
    models: BTreeMap<i32, Model>,
    log_ends: BTreeMap<i32, i64>,
    in_hand: Vec<(i32, Epoch, i64)>,
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("casino.bets.commands.v1", partition)
}

impl<B: Books> History<B> {
    fn new() -> Self {
        Self { books: B::default(), models: BTreeMap::new(), log_ends: BTreeMap::new(), in_hand: Vec::new() }
    }

    fn apply(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Assign(partition) => {
                let epoch = self.books.ledger().assign(tp(partition));
                self.books.ledger().is_fresh(&tp(partition));
                self.models.insert(partition, Model { epoch: Some(epoch), ..Model::default() });
            }
            Step::Leave(partition) => {
                self.books.ledger().leave(&tp(partition));
                if let Some(model) = self.models.get_mut(&partition) {
                    model.leaving = true;
                }
            }
            Step::Revoke(partition) => {
                self.books.ledger().revoke(&tp(partition));
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
                self.books.ledger().reach(&tp(partition), position);
                if let Some(model) = self.models.get_mut(&partition)
                    && !model.leaving
                    && model.delivered.values().all(|done| *done)
                {
                    model.reached = Some(position);
                }
            }
            Step::Finish { pick, done } => self.finish(pick, done)?,
            Step::Commit => {
                for (partition, epoch, next) in self.books.ledger().to_commit() {
                    self.books.ledger().committed(&partition, epoch, next);
                }
                prop_assert!(self.books.ledger().to_commit().is_empty());
            }
        }
        self.check()
    }

    fn deliver(&mut self, partition: i32, offset: i64) -> Result<(), TestCaseError> {
        let said = self.books.ledger().deliver(&tp(partition), offset);
        let expected = match self.models.get_mut(&partition) {
            None => Delivered::NotOurs,
            Some(model) if model.leaving => Delivered::NotOurs,
            Some(model) if model.last().is_some_and(|last| offset <= last) => Delivered::Redelivered,
            Some(model) => {
                model.delivered.insert(offset, false);
                Delivered::New(model.epoch.expect("an assignment has an epoch"))
            }
        };
        prop_assert_eq!(said, expected);
        if let Delivered::New(epoch) = said {
            self.in_hand.push((partition, epoch, offset));
        }
        Ok(())
    }

    fn finish(&mut self, pick: prop::sample::Index, done: bool) -> Result<(), TestCaseError> {
        if self.in_hand.is_empty() {
            return Ok(());
        }
        let (partition, epoch, offset) = self.in_hand.remove(pick.index(self.in_hand.len()));
        let ledger = self.books.ledger();
        let finish = |ledger: &mut Ledger| {
            if done {
                ledger.complete(&tp(partition), epoch, offset)
            } else {
                ledger.abandon(&tp(partition), epoch, offset)
            }
        };
        let said = finish(ledger);
        let again = finish(ledger);
        match self.models.get_mut(&partition).filter(|model| model.epoch == Some(epoch)) {
            Some(model) => {
                model.delivered.insert(offset, done);
                prop_assert_eq!(said, Ok(Finished::Counted));
                prop_assert!(again.is_err(), "the same offset was finished twice and nobody noticed");
            }
            None => prop_assert_eq!(said, Ok(Finished::Stale)),
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        for (partition, model) in &mut self.models {
            let frontier = self.books.frontier_of(&tp(*partition));
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

fn holds_for<B: Books>(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut history = History::<B>::new();
    steps.into_iter().try_for_each(|step| history.apply(step))
}

proptest! {
    #![proptest_config(Config { cases: 2_000, ..Config::default() })]

    #[test]
    fn the_frontier_never_passes_an_unfinished_offset(steps in prop::collection::vec(step(), 0..120)) {
        holds_for::<Ledger>(steps)?;
    }
}

#[test]
fn the_check_catches_a_ledger_that_commits_before_it_works() {
    let mut runner = TestRunner::new(Config { cases: 500, failure_persistence: None, ..Config::default() });
    let found = runner
        .run(&prop::collection::vec(step(), 0..120), holds_for::<CommitsBeforeItWorks>)
        .expect_err("a broken ledger went unnoticed");
    assert!(found.to_string().contains("passed the unfinished offset"), "{found}");
}

#[test]
fn a_late_completion_of_an_earlier_assignment_does_not_count() {
    let mut ledger = Ledger::default();
    let before = ledger.assign(tp(0));
    assert_eq!(ledger.deliver(&tp(0), 7), Delivered::New(before));
    ledger.revoke(&tp(0));
    let now = ledger.assign(tp(0));
    assert_eq!(ledger.deliver(&tp(0), 7), Delivered::New(now));
    assert_eq!(ledger.complete(&tp(0), before, 7), Ok(Finished::Stale));
    assert_eq!(ledger.frontier(&tp(0)), None);
    assert_eq!(ledger.complete(&tp(0), now, 7), Ok(Finished::Counted));
    assert_eq!(ledger.to_commit(), vec![(tp(0), now, NextOffset(8))]);
}

#[test]
fn a_commit_of_an_earlier_assignment_confirms_nothing() {
    let mut ledger = Ledger::default();
    let before = ledger.assign(tp(0));
    ledger.deliver(&tp(0), 1);
    ledger.complete(&tp(0), before, 1).expect("in hand");
    let now = ledger.assign(tp(0));
    ledger.deliver(&tp(0), 1);
    ledger.complete(&tp(0), now, 1).expect("in hand");
    ledger.committed(&tp(0), before, NextOffset(2));
    assert_eq!(ledger.to_commit(), vec![(tp(0), now, NextOffset(2))]);
    ledger.committed(&tp(0), now, NextOffset(2));
    assert_eq!(ledger.to_commit(), vec![]);
}

#[test]
fn a_position_behind_a_marker_is_the_frontier_once_everything_is_done() {
    let mut ledger = Ledger::default();
    let epoch = ledger.assign(tp(0));
    ledger.deliver(&tp(0), 5);
    ledger.reach(&tp(0), NextOffset(7));
    assert_eq!(ledger.frontier(&tp(0)), None, "the record at 5 is in hand");
    ledger.complete(&tp(0), epoch, 5).expect("in hand");
    assert_eq!(ledger.to_commit(), vec![(tp(0), epoch, NextOffset(6))]);
    ledger.reach(&tp(0), NextOffset(7));
    assert_eq!(ledger.to_commit(), vec![(tp(0), epoch, NextOffset(7))]);
    ledger.reach(&tp(0), NextOffset(3));
    assert_eq!(ledger.frontier(&tp(0)), Some(NextOffset(7)));
    assert_eq!((ledger.ahead(&tp(0)), ledger.expected(&tp(0))), (0, Some(7)));
}

#[test]
fn a_position_that_may_be_of_an_earlier_assignment_passes_nothing() {
    let mut ledger = Ledger::default();
    ledger.assign(tp(0));
    ledger.reach(&tp(0), NextOffset(7));
    assert_eq!(ledger.frontier(&tp(0)), None);
    ledger.is_fresh(&tp(0));
    ledger.reach(&tp(0), NextOffset(7));
    assert_eq!(ledger.frontier(&tp(0)), Some(NextOffset(7)));
}
