//! Property tests of the lanes: order per key, one at a time, nothing lost. Lanes that are broken on purpose must fail.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Push {
        key: u8,
    },
    Start,
    Finish(prop::sample::Index),
    /// Withdraws the work of every key with this remainder.
    Withdraw {
        remainder: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..12_u8).prop_map(|key| Step::Push { key }),
        5 => Just(Step::Start),
        4 => any::<prop::sample::Index>().prop_map(Step::Finish),
        1 => (0..3_u8).prop_map(|remainder| Step::Withdraw { remainder }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Work {
    key: u8,
    number: u32,
}

/// Choice of a lane: the real one, or a broken one.
type LaneOf = fn(Work) -> LaneKey;

fn by_key(work: Work) -> LaneKey {
    Lanes::<Work>::lane_of(Some(&[work.key]), 0, i64::from(work.number))
}

/// Broken on purpose: spreads the records of one key over several lanes.
fn by_position(work: Work) -> LaneKey {
    Lanes::<Work>::lane_of(None, 0, i64::from(work.number))
}

fn holds(steps: Vec<Step>, lane_of: LaneOf) -> Result<(), TestCaseError> {
    let mut lanes = Lanes::new(5);
    let mut pushed: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
    let mut running: Vec<(Slot, Work)> = Vec::new();
    let mut number = 0;
    for step in steps {
        match step {
            Step::Push { key } => {
                number += 1;
                let work = Work { key, number };
                pushed.entry(key).or_default().push(number);
                lanes.push(lane_of(work), work);
            }
            Step::Start => {
                if let Some((lane, work)) = lanes.start() {
                    prop_assert!(
                        running.iter().all(|(busy, _)| *busy != lane),
                        "slot {} runs two at once",
                        lane
                    );
                    prop_assert!(
                        running.iter().all(|(_, other)| other.key != work.key),
                        "a key runs twice at once"
                    );
                    let next = pushed.get_mut(&work.key).map(|numbers| numbers.remove(0));
                    prop_assert_eq!(next, Some(work.number), "a key was reordered");
                    running.push((lane, work));
                }
            }
            Step::Finish(pick) if !running.is_empty() => {
                let (lane, _) = running.remove(pick.index(running.len()));
                lanes.finish(lane);
            }
            Step::Finish(_) => {}
            Step::Withdraw { remainder } => {
                for work in lanes.withdraw(|_, work| work.key % 3 == remainder) {
                    pushed.entry(work.key).or_default().retain(|waiting| *waiting != work.number);
                }
            }
        }
        let waiting: usize = pushed.values().map(Vec::len).sum();
        prop_assert_eq!(lanes.waiting(), waiting);
        prop_assert_eq!(lanes.busy(), running.len());
    }
    // Nothing is lost: once everything is finished, all waiting work starts
    while !lanes.is_idle() {
        while let Some((lane, work)) = lanes.start() {
            let next = pushed.get_mut(&work.key).map(|numbers| numbers.remove(0));
            prop_assert_eq!(next, Some(work.number), "a key was reordered");
            running.push((lane, work));
        }
        let Some((lane, _)) = running.pop() else {
            return Err(TestCaseError::fail("work is stuck in its lane"));
        };
        lanes.finish(lane);
    }
    Ok(())
}

proptest! {
    #![proptest_config(Config { cases: 2_000, ..Config::default() })]

    #[test]
    fn key_keeps_its_order_and_runs_one_at_a_time(steps in prop::collection::vec(step(), 0..150)) {
        holds(steps, by_key)?;
    }
}

#[test]
fn spreading_a_key_over_lanes_fails_the_check() {
    let mut runner = TestRunner::new(Config { cases: 500, failure_persistence: None, ..Config::default() });
    let steps = prop::collection::vec(step(), 0..150);
    assert!(runner.run(&steps, |steps| holds(steps, by_position)).is_err());
}

#[test]
fn blocked_key_leaves_free_slots_to_others() {
    let mut lanes = Lanes::new(2);
    let held = Lanes::<u32>::lane_of(Some(b"held"), 0, 0);
    lanes.push(held, 0);
    let (slot, _) = lanes.start().expect("a free slot");
    for number in 1..=1_000 {
        let other = format!("other-{number}");
        lanes.push(held, number);
        lanes.push(Lanes::<u32>::lane_of(Some(other.as_bytes()), 0, 0), number);
        let (other, started) = lanes.start().expect("another key may start");
        assert_eq!((started, other == slot), (number, false));
        assert!(lanes.is_saturated());
        lanes.finish(other);
    }
    assert!(lanes.waits_behind(slot, |number| *number == 1_000));
    assert_eq!(lanes.lanes.len(), 1, "a lane without work is removed");
    lanes.finish(slot);
    assert_eq!(lanes.start(), Some((slot, 1)), "the key continues in its order");
}

#[test]
fn refused_work_keeps_place_and_holds_no_lane() {
    let mut lanes = Lanes::new(2);
    let lane = |key: &[u8]| Lanes::<u32>::lane_of(Some(key), 0, 0);
    lanes.push(lane(b"held"), 1);
    lanes.push(lane(b"held"), 2);
    lanes.push(lane(b"other"), 3);
    let (slot, started) = lanes.start_if(|number| *number != 1).expect("the other lane");
    assert_eq!((started, lanes.start_if(|number| *number != 1)), (3, None), "2 is behind 1");
    lanes.finish(slot);
    assert_eq!(lanes.waiting(), 2);
    assert_eq!(lanes.start().map(|(_, number)| number), Some(1));
}
