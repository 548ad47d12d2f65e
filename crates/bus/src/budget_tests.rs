//! The budget and the paused set under random work: bounded, with hysteresis, and never resuming what is not ours.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const RECORDS_MAX: usize = 10;
const BYTES_MAX: usize = 1_000;

#[derive(Clone, Debug)]
enum Step {
    /// A record arrives, if its partition is not paused.
    Arrive {
        partition: i32,
        bytes: usize,
    },
    /// The oldest is done.
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

/// librdkafka's side: what is assigned, and which of it is paused.
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
        let mut held: Vec<usize> = Vec::new();
        for step in steps {
            match step {
                Step::Arrive { partition, bytes } => {
                    let partition = tp(partition);
                    if broker.owned.contains(&partition) && !broker.paused.contains(&partition) {
                        budget.take(bytes);
                        held.push(bytes);
                    }
                }
                Step::Done if !held.is_empty() => budget.give_back(held.remove(0)),
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
            let change = set.change(budget.is_full(), broker.owned.iter());
            for partition in change.pause {
                prop_assert!(broker.paused.insert(partition), "paused twice");
            }
            for partition in change.resume {
                prop_assert!(broker.paused.remove(&partition), "resumed what was not paused");
            }
            prop_assert_eq!(budget.records(), held.len());
            prop_assert_eq!(budget.bytes(), held.iter().sum::<usize>());
            prop_assert!(held.len() <= RECORDS_MAX);
            prop_assert!(budget.bytes() < BYTES_MAX + 300, "more than the budget and one record");
            let all_paused = broker.owned.iter().all(|partition| broker.paused.contains(partition));
            prop_assert!(!budget.is_full() || all_paused);
            prop_assert!(budget.is_full() || broker.paused.is_disjoint(&broker.owned));
            if held.is_empty() {
                prop_assert!(!budget.is_full(), "nothing in hand, and still nothing is fetched");
            }
        }
    }
}

#[test]
fn fetching_starts_again_only_at_half() {
    let mut budget = Budget::new(10, 1_000);
    (0..10).for_each(|_| budget.take(1));
    assert!(budget.is_full());
    (0..4).for_each(|_| budget.give_back(1));
    assert!(budget.is_full());
    budget.give_back(1);
    assert!(!budget.is_full());
}
