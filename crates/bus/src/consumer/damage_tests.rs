//! Detection of damage from librdkafka's reports, with a simulated clock.

use super::*;

const CRC: &str = "MessageSet at offset 5 (80 bytes) failed CRC32C check (original 0x1 != calculated 0x2)";
const ZIPPED: &str =
    "Decompression (codec 0x1) of message at 5 of 80 bytes failed: Local: Invalid compressed data";

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn readings(next: i64, end: i64, fetches: u64) -> Readings {
    Readings::from([(tp(0), Reading { next, end, queued: 0, fetches })])
}

/// Next offset after delivered records.
fn after(offset: i64) -> Expected {
    Expected { offset, is_start: false }
}

/// Start offset of a new reader.
fn from(offset: i64) -> Expected {
    Expected { offset, is_start: true }
}

/// Partition 0 alone, without a delivered record.
fn fetched() -> BTreeMap<TopicPartition, Option<i64>> {
    BTreeMap::from([(tp(0), None)])
}

/// Damage found in partition 0 when it stands at `next` after `seconds`, with `fetches` sent so far.
fn stood(damage: &mut Damage, began: Instant, seconds: u64, next: i64, fetches: u64) -> Vec<Unreadable> {
    damage.judge(&readings(next, 9, fetches), &fetched(), began + Duration::from_secs(seconds))
}

#[test]
fn the_offset_that_a_complaint_names_is_read() {
    for complaint in [CRC, ZIPPED, "Fetch from broker 1 failed at offset 5 (leader epoch 2): x"] {
        assert_eq!(offset_in(complaint), Some(5), "{complaint}");
    }
    for other in ["3/3 brokers are down", "at night", "offset", "at offset -1 x", ""] {
        assert_eq!(offset_in(other), None, "{other}");
    }
}

#[test]
fn a_partition_that_stands_while_brokers_answer_is_told_once() {
    let (mut damage, began) = (Damage::default(), Instant::now());
    assert_eq!(stood(&mut damage, began, 0, 5, 10), vec![]);
    assert_eq!(stood(&mut damage, began, 2, 5, 20), vec![], "not long enough");
    let found = stood(&mut damage, began, 3, 5, 30);
    assert_eq!(found.len(), 1);
    assert!(found[0].to_string().starts_with("t/0 cannot be read at offset 5: "), "{}", found[0]);
    assert!(damage.is_there() && damage.rests(&tp(0)) && !damage.rests(&tp(1)));

    // retried, it stands again: no second report about the same position
    assert_eq!(damage.take_due(began + Duration::from_secs(4)), vec![]);
    assert_eq!(damage.take_due(began + Duration::from_secs(8)), vec![(tp(0), NextOffset(5))]);
    assert!(!damage.rests(&tp(0)) && damage.is_there());
    assert_eq!(stood(&mut damage, began, 8, 5, 40), vec![]);
    assert_eq!(stood(&mut damage, began, 9, 5, 50), vec![]);
    assert!(damage.rests(&tp(0)));

    // retried once more, it makes progress
    assert_eq!(damage.take_due(began + Duration::from_secs(14)).len(), 1);
    assert_eq!(stood(&mut damage, began, 15, 6, 60), vec![]);
    assert!(damage.is_there(), "not sure yet");
    assert_eq!(stood(&mut damage, began, 17, 8, 70), vec![]);
    assert!(!damage.is_there());
}

#[test]
fn a_complaint_about_the_place_makes_it_sooner_and_is_its_reason() {
    let (mut damage, began) = (Damage::default(), Instant::now());
    damage.hear(ZIPPED.to_owned(), began);
    assert_eq!(stood(&mut damage, began, 0, 5, 10), vec![]);
    let found = stood(&mut damage, began, 1, 5, 12);
    assert_eq!(found.iter().map(|place| place.reason.as_str()).collect::<Vec<_>>(), vec![ZIPPED]);
}

#[test]
fn a_partition_is_not_stuck_when_its_broker_is_silent_or_it_gets_on_or_we_paused_it() {
    let (mut damage, began) = (Damage::default(), Instant::now());
    for second in 0..20 {
        assert_eq!(stood(&mut damage, began, second, 5, 11), vec![], "one fetch is under way");
    }
    for second in 20..40 {
        let next = i64::try_from(second).unwrap() - 20;
        let moving = readings(next, 1_000, second * 10);
        assert_eq!(damage.judge(&moving, &fetched(), began + Duration::from_secs(second)), vec![]);
    }
    for second in 40..60 {
        let paused = readings(5, 9, second * 10);
        assert_eq!(damage.judge(&paused, &BTreeMap::new(), began + Duration::from_secs(second)), vec![]);
    }
    assert!(!damage.is_there());
}

#[test]
fn a_record_behind_a_batch_that_was_dropped_unread_is_not_taken() {
    let (mut damage, now) = (Damage::default(), Instant::now());
    assert_eq!(damage.jumped(&tp(0), 7, after(5), now), None, "a gap alone is no damage");
    damage.hear(CRC.to_owned(), now);
    assert_eq!(damage.jumped(&tp(1), 3, after(3), now), None, "another partition without a gap");
    assert_eq!(damage.jumped(&tp(0), 5, after(5), now), None, "what comes next is no gap");
    let found = damage.jumped(&tp(0), 7, after(5), now).expect("beyond damage").expect("new");
    assert_eq!((found.offset, found.reason.as_str()), (5, CRC));
    assert!(damage.rests(&tp(0)));
    damage.hear(CRC.to_owned(), now);
    assert_eq!(damage.jumped(&tp(0), 7, after(5), now), Some(None), "told once");
    let later = now + COMPLAINT_AGE_MAX;
    damage.hear(CRC.to_owned(), now);
    assert_eq!(damage.jumped(&tp(0), 7, after(5), later), None, "an old complaint is about something else");
}

#[test]
fn a_place_whose_end_was_cut_off_is_healed() {
    let (mut damage, began) = (Damage::default(), Instant::now());
    stood(&mut damage, began, 0, 5, 10);
    assert_eq!(stood(&mut damage, began, 3, 5, 30).len(), 1);
    damage.take_due(began + Duration::from_secs(8));
    damage.judge(&readings(5, 5, 40), &fetched(), began + Duration::from_secs(9));
    assert!(damage.is_there());
    damage.judge(&readings(5, 5, 50), &fetched(), began + Duration::from_secs(11));
    assert!(!damage.is_there());
}

/// After a wrong checksum librdkafka takes its next offset from the middle of the batch, is rejected, and starts again.
#[test]
fn a_reader_that_runs_in_circles_behind_a_wrong_checksum_is_found_at_the_batch() {
    let (mut damage, began) = (Damage::default(), Instant::now());
    let delivered = BTreeMap::from([(tp(0), Some(5))]);
    let mut found = Vec::new();
    for (second, next, end) in [(0, 7_161_123_820_666_187_381, 9), (1, -1_001, -1), (2, 0, 9), (3, 5, 9)] {
        damage.hear(CRC.to_owned(), began);
        let circling = readings(next, end, 10 * second);
        found.extend(damage.judge(&circling, &delivered, began + Duration::from_secs(second)));
    }
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].offset, found[0].reason.as_str()), (5, CRC));

    // retried, it runs in the same circle: no second report, and no recovery
    damage.take_due(began + Duration::from_secs(9));
    for (second, next) in [(9, 7_161_123_820_666_187_381), (10, 0), (12, 5), (14, 7_161_123_820_666_187_381)]
    {
        let now = began + Duration::from_secs(second);
        damage.hear(CRC.to_owned(), now);
        assert_eq!(damage.judge(&readings(next, 9, 100 + 10 * second), &delivered, now), vec![]);
        assert!(damage.is_there());
    }
}

/// Every snapshot of the statistics may show the same moment of the circle, in which the end is unknown.
#[test]
fn a_reader_that_is_only_seen_while_it_looks_for_its_way_is_found_at_the_batch() {
    let (mut damage, began) = (Damage::default(), Instant::now());
    let delivered = BTreeMap::from([(tp(0), Some(5))]);
    let seen = |damage: &mut Damage, second: u64| {
        damage.judge(&readings(0, -1, 10 * second), &delivered, began + Duration::from_secs(second))
    };
    for second in 0..3 {
        assert_eq!(seen(&mut damage, second), vec![], "nobody has complained");
    }
    damage.hear(CRC.to_owned(), began + Duration::from_secs(3));
    assert_eq!(seen(&mut damage, 3), vec![], "it has just begun to stand");
    let found = seen(&mut damage, 4);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].offset, found[0].reason.as_str()), (5, CRC));
}

/// A transaction's marker leaves a gap in every partition of the transaction.
#[test]
fn a_gap_of_a_healthy_partition_is_not_damage_of_another() {
    let (mut damage, now) = (Damage::default(), Instant::now());
    damage.hear(CRC.to_owned(), now);
    for (expected, offset) in [(3, 5), (6, 7), (900_000, 900_001)] {
        assert_eq!(damage.jumped(&tp(1), offset, after(expected), now), None, "{expected}..{offset}");
    }
    let found = damage.jumped(&tp(0), 7, after(4), now).expect("beyond damage").expect("new");
    assert_eq!((found.partition, found.offset), (tp(0), 4), "the batch was compacted before it");
}

#[test]
fn a_reader_that_begins_within_a_damaged_batch_does_not_pass_it() {
    let (mut damage, now) = (Damage::default(), Instant::now());
    damage.hear(CRC.to_owned(), now);
    let found = damage.jumped(&tp(0), 12, from(8), now).expect("beyond damage").expect("new");
    assert_eq!((found.offset, found.reason.as_str()), (8, CRC));
    // by now the damage is known to belong to partition 0
    damage.hear(CRC.to_owned(), now);
    assert_eq!(damage.jumped(&tp(1), 12, from(8), now), None);
    assert_eq!(damage.jumped(&tp(0), 12, from(8), now), Some(None), "tried again, it is the same place");
}

/// All partitions share one queue, so waiting records of others do not disprove a complaint about this one.
#[test]
fn a_damaged_partition_is_found_while_others_catch_up() {
    let (mut damage, began) = (Damage::default(), Instant::now());
    let delivered = BTreeMap::from([(tp(0), Some(5)), (tp(1), Some(5))]);
    let seen = |damage: &mut Damage, second: u64| {
        let reading = |next| Reading { next, end: 90, queued: 100, fetches: 10 * second };
        let readings = Readings::from([(tp(0), reading(5)), (tp(1), reading(60))]);
        damage.judge(&readings, &delivered, began + Duration::from_secs(second))
    };
    for second in 0..5 {
        assert_eq!(seen(&mut damage, second), vec![], "what waits may be this partition's");
    }
    damage.hear(ZIPPED.to_owned(), began + Duration::from_secs(5));
    assert_eq!(seen(&mut damage, 5), vec![], "it has just begun to stand");
    let found = seen(&mut damage, 6);
    assert_eq!(found.len(), 1, "the other one is read ahead of what is taken: {found:?}");
    assert_eq!((&found[0].partition, found[0].offset), (&tp(0), 5));
}
