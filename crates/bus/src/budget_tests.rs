//! Property tests of the budget and the pauses: bounded, with hysteresis, and only our own pauses are resumed.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::partitions::Partitions;

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
    fn only_own_pauses_are_resumed(steps in prop::collection::vec(step(), 0..150)) {
        let (mut budget, mut partitions, mut broker) =
            (Budget::new(RECORDS_MAX, BYTES_MAX), Partitions::default(), Broker::default());
        let mut in_flight: Vec<(TopicPartition, usize)> = Vec::new();
        for step in steps {
            match step {
                Step::Arrive { partition, bytes } => {
                    let partition = tp(partition);
                    if broker.owned.contains(&partition) && !broker.paused.contains(&partition) {
                        budget.add(&partition, bytes);
                        in_flight.push((partition, bytes));
                    }
                }
                Step::Done if !in_flight.is_empty() => {
                    let (partition, bytes) = in_flight.remove(0);
                    budget.release(&partition, bytes);
                }
                Step::Done => {}
                Step::Assign(partition) => {
                    broker.owned.insert(tp(partition));
                    partitions.assign(tp(partition));
                    for paused in partitions.clear_pauses(&[tp(partition)]) {
                        prop_assert!(broker.paused.remove(&paused), "resumed what was not paused");
                    }
                }
                Step::Revoke(partition) => {
                    broker.owned.remove(&tp(partition)); // librdkafka keeps its pause
                    partitions.revoke(&tp(partition));
                }
            }
            let count = |wanted: &TopicPartition| in_flight.iter().filter(|(other, _)| other == wanted).count();
            let change = partitions.update_pauses(|partition, _| budget.must_pause(partition, count(partition)));
            for partition in change.pause {
                prop_assert!(broker.paused.insert(partition), "paused twice");
            }
            for partition in change.resume {
                prop_assert!(broker.paused.remove(&partition), "resumed what was not paused");
            }
            prop_assert_eq!(budget.records(), in_flight.len());
            prop_assert_eq!(budget.bytes(), in_flight.iter().map(|(_, bytes)| bytes).sum::<usize>());
            prop_assert!(in_flight.len() <= RECORDS_MAX);
            prop_assert!(budget.bytes() < BYTES_MAX + 300, "more than the budget and one record");
            let all_paused = broker.owned.iter().all(|partition| broker.paused.contains(partition));
            prop_assert!(!budget.is_full() || all_paused);
            for partition in &broker.owned {
                let own = in_flight.iter().filter(|(other, _)| other == partition);
                let bytes: usize = own.map(|(_, bytes)| bytes).sum();
                prop_assert!(count(partition) <= RECORDS_MAX / SHARES && bytes < BYTES_MAX / SHARES + 300);
                let is_paused = broker.paused.contains(partition);
                prop_assert!(!is_paused || budget.is_full() || count(partition) > 0, "paused without a reason");
            }
            if in_flight.is_empty() {
                prop_assert!(!budget.is_full(), "nothing is in flight, but fetching is paused");
            }
        }
    }
}

#[test]
fn fetching_resumes_at_half_of_the_budget() {
    let mut budget = Budget::new(10, 1_000);
    (0..10).for_each(|_| budget.add(&tp(0), 1));
    assert!(budget.is_full());
    (0..4).for_each(|_| budget.release(&tp(0), 1));
    assert!(budget.is_full());
    budget.release(&tp(0), 1);
    assert!(!budget.is_full());
}

/// Finished records behind a blocked one count, but only for its own partition.
#[test]
fn only_a_partition_at_its_share_pauses() {
    let mut budget = Budget::new(40, 1_000);
    budget.add(&tp(0), 1);
    budget.add(&tp(1), 1);
    assert!(!budget.must_pause(&tp(0), 9));
    assert!(budget.must_pause(&tp(0), 10), "one in flight, nine done behind it");
    assert!(!budget.must_pause(&tp(1), 1) && !budget.is_full());
    assert!(budget.must_pause(&tp(0), 6), "until half of its records are done");
    assert!(!budget.must_pause(&tp(0), 5));
    budget.add(&tp(0), 260);
    assert!(budget.must_pause(&tp(0), 2), "a quarter of the bytes is in flight");
    assert!(!budget.must_pause(&tp(1), 1));
}
