//! Property tests of the budget and the paused set: bounded, with hysteresis, and only our own pauses are lifted.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const RECORDS_MAX: usize = 10;
const BYTES_MAX: usize = 1_000;

#[derive(Clone, Debug)]
enum Step {
    /// A record arrives if its partition is not paused.
    Arrive {
        partition: i32,
        bytes: usize,
    },
    /// The oldest record is done.
    Done,
    Assign(i32),
    Revoke(i32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4_i32, 1..300_usize).prop_map(|(partition, bytes)| Step::Arrive { partition, bytes }),
        6 => Just(Step::Done),
        1 => (0..4_i32).prop_map(Step::Assign),
        1 => (0..4_i32).prop_map(Step::Revoke),
    ]
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

/// State of librdkafka: the assigned partitions, and the paused ones.
#[derive(Default)]
struct Broker {
    owned: BTreeSet<TopicPartition>,
    paused: BTreeSet<TopicPartition>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn memory_is_bounded_and_only_our_own_pauses_are_lifted(steps in prop::collection::vec(step(), 0..150)) {
        let (mut budget, mut set, mut broker) =
            (Budget::new(RECORDS_MAX, BYTES_MAX), PausedSet::default(), Broker::default());
        let mut held: Vec<(TopicPartition, usize)> = Vec::new();
        for step in steps {
            match step {
                Step::Arrive { partition, bytes } => {
                    let partition = tp(partition);
                    if broker.owned.contains(&partition) && !broker.paused.contains(&partition) {
                        budget.take(&partition, bytes);
                        held.push((partition, bytes));
                    }
                }
                Step::Done if !held.is_empty() => {
                    let (partition, bytes) = held.remove(0);
                    budget.give_back(&partition, bytes);
                }
                Step::Done => {}
                Step::Assign(partition) => {
                    broker.owned.insert(tp(partition));
                    for paused in set.came([&tp(partition)]) {
                        prop_assert!(broker.paused.remove(&paused), "resumed what was not paused");
                    }
                }
                Step::Revoke(partition) => {
                    broker.owned.remove(&tp(partition)); // librdkafka keeps its pause
                }
            }
            let count = |wanted: &TopicPartition| held.iter().filter(|(partition, _)| partition == wanted).count();
            let change = set.change(|partition| budget.rests(partition, count(partition)), broker.owned.iter());
            for partition in change.pause {
                prop_assert!(broker.paused.insert(partition), "paused twice");
            }
            for partition in change.resume {
                prop_assert!(broker.paused.remove(&partition), "resumed what was not paused");
            }
            prop_assert_eq!(budget.records(), held.len());
            prop_assert_eq!(budget.bytes(), held.iter().map(|(_, bytes)| bytes).sum::<usize>());
            prop_assert!(held.len() <= RECORDS_MAX);
            prop_assert!(budget.bytes() < BYTES_MAX + 300, "more than the budget and one record");
            let all_paused = broker.owned.iter().all(|partition| broker.paused.contains(partition));
            prop_assert!(!budget.is_full() || all_paused);
            for partition in &broker.owned {
                let bytes: usize = held.iter().filter(|(held, _)| held == partition).map(|(_, bytes)| bytes).sum();
                prop_assert!(count(partition) <= RECORDS_MAX / SHARES && bytes < BYTES_MAX / SHARES + 300);
                let is_paused = broker.paused.contains(partition);
                prop_assert!(!is_paused || budget.is_full() || count(partition) > 0, "rests for nothing");
            }
            if held.is_empty() {
                prop_assert!(!budget.is_full(), "nothing in hand, and still nothing is fetched");
            }
        }
    }
}

#[test]
fn fetching_starts_again_only_at_half() {
    let mut budget = Budget::new(10, 1_000);
    (0..10).for_each(|_| budget.take(&tp(0), 1));
    assert!(budget.is_full());
    (0..4).for_each(|_| budget.give_back(&tp(0), 1));
    assert!(budget.is_full());
    budget.give_back(&tp(0), 1);
    assert!(!budget.is_full());
}

/// Finished records behind a blocked one count, but only for its own partition.
#[test]
fn a_partition_rests_at_its_share_of_records_done_or_not_and_no_other_does() {
    let mut budget = Budget::new(40, 1_000);
    budget.take(&tp(0), 1);
    budget.take(&tp(1), 1);
    assert!(!budget.rests(&tp(0), 9));
    assert!(budget.rests(&tp(0), 10), "one in hand, nine done behind it");
    assert!(!budget.rests(&tp(1), 1) && !budget.is_full());
    assert!(budget.rests(&tp(0), 6), "until half of it is gone");
    assert!(!budget.rests(&tp(0), 5));
    budget.take(&tp(0), 260);
    assert!(budget.rests(&tp(0), 2), "a quarter of the bytes");
    assert!(!budget.rests(&tp(1), 1));
}
