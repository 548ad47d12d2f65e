//! Detection of damage from librdkafka's reports, with a simulated clock.

use super::*;

const CRC: &str = "MessageSet at offset 5 (80 bytes) failed CRC32C check (original 0x1 != calculated 0x2)";
const ZIPPED: &str =
    "Decompression (codec 0x1) of message at 5 of 80 bytes failed: Local: Invalid compressed data";

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn readings(next: i64, end: i64, fetches: u64) -> Readings {
    Readings::from([(tp(0), Reading { next, end, low: 0, queued: 0, fetches })])
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

/// Damage found in partition 0 when it is at `next` after `seconds`, with `fetches` sent so far.
fn check_at(damage: &mut Damage, began: Instant, seconds: u64, next: i64, fetches: u64) -> Vec<Unreadable> {
    damage.check(&readings(next, 9, fetches), &fetched(), began + Duration::from_secs(seconds))
}

#[test]
fn offset_is_read_from_the_error_text() {
    for error in [CRC, ZIPPED, "Fetch from broker 1 failed at offset 5 (leader epoch 2): x"] {
        assert_eq!(offset_in(error), Some(5), "{error}");
    }
    for other in ["3/3 brokers are down", "at night", "offset", "at offset -1 x", ""] {
        assert_eq!(offset_in(other), None, "{other}");
    }
}

#[test]
fn stuck_partition_is_reported_once() {
    let (mut damage, began) = (Damage::default(), Instant::now());
    assert_eq!(check_at(&mut damage, began, 0, 5, 10), vec![]);
    assert_eq!(check_at(&mut damage, began, 2, 5, 20), vec![], "not long enough");
    let found = check_at(&mut damage, began, 3, 5, 30);
    assert_eq!(found.len(), 1);
    assert!(found[0].to_string().starts_with("t/0 cannot be read at offset 5: "), "{}", found[0]);
    assert!(damage.is_any() && damage.must_pause(&tp(0)) && !damage.must_pause(&tp(1)));

    // Retried, it is stuck again: no second report about the same position
    assert_eq!(damage.take_due(began + Duration::from_secs(4)), vec![]);
    assert_eq!(damage.take_due(began + Duration::from_secs(8)), vec![(tp(0), NextOffset(5))]);
    assert!(!damage.must_pause(&tp(0)) && damage.is_any());
    assert_eq!(check_at(&mut damage, began, 8, 5, 40), vec![]);
    assert_eq!(check_at(&mut damage, began, 9, 5, 50), vec![]);
    assert!(damage.must_pause(&tp(0)));

    // Retried once more, it makes progress
    assert_eq!(damage.take_due(began + Duration::from_secs(14)).len(), 1);
    assert_eq!(check_at(&mut damage, began, 15, 6, 60), vec![]);
    assert!(damage.is_any(), "not sure yet");
    assert_eq!(check_at(&mut damage, began, 17, 8, 70), vec![]);
    assert!(!damage.is_any());
}

#[test]
fn matching_error_shortens_detection() {
    let (mut damage, began) = (Damage::default(), Instant::now());
    damage.add_error(ZIPPED.to_owned(), began);
    assert_eq!(check_at(&mut damage, began, 0, 5, 10), vec![]);
    let found = check_at(&mut damage, began, 1, 5, 12);
    assert_eq!(found.iter().map(|unreadable| unreadable.reason.as_str()).collect::<Vec<_>>(), vec![ZIPPED]);
}

#[test]
fn silence_progress_and_own_pause_are_no_damage() {
    let (mut damage, began) = (Damage::default(), Instant::now());
    for second in 0..20 {
        assert_eq!(check_at(&mut damage, began, second, 5, 11), vec![], "one fetch is unanswered");
    }
    for second in 20..40 {
        let next = i64::try_from(second).unwrap() - 20;
        let moving = readings(next, 1_000, second * 10);
        assert_eq!(damage.check(&moving, &fetched(), began + Duration::from_secs(second)), vec![]);
    }
    for second in 40..60 {
        let paused = readings(5, 9, second * 10);
        assert_eq!(damage.check(&paused, &BTreeMap::new(), began + Duration::from_secs(second)), vec![]);
    }
    assert!(!damage.is_any());
}

#[test]
fn record_after_an_unread_batch_is_damage() {
    let (mut damage, now) = (Damage::default(), Instant::now());
    assert_eq!(damage.check_gap(&tp(0), 7, after(5), now), None, "a gap alone is no damage");
    damage.add_error(CRC.to_owned(), now);
    assert_eq!(damage.check_gap(&tp(1), 3, after(3), now), None, "another partition without a gap");
    assert_eq!(damage.check_gap(&tp(0), 5, after(5), now), None, "the next offset is no gap");
    let found = damage.check_gap(&tp(0), 7, after(5), now).expect("beyond damage").expect("new");
    assert_eq!((found.offset, found.reason.as_str()), (5, CRC));
    assert!(damage.must_pause(&tp(0)));
    damage.add_error(CRC.to_owned(), now);
    assert_eq!(damage.check_gap(&tp(0), 7, after(5), now), Some(None), "reported once");
    let later = now + ERROR_AGE_MAX;
    damage.add_error(CRC.to_owned(), now);
    assert_eq!(damage.check_gap(&tp(0), 7, after(5), later), None, "an old error is about something else");
}

#[test]
fn truncated_log_end_heals_the_position() {
    let (mut damage, began) = (Damage::default(), Instant::now());
    check_at(&mut damage, began, 0, 5, 10);
    assert_eq!(check_at(&mut damage, began, 3, 5, 30).len(), 1);
    damage.take_due(began + Duration::from_secs(8));
    damage.check(&readings(5, 5, 40), &fetched(), began + Duration::from_secs(9));
    assert!(damage.is_any());
    damage.check(&readings(5, 5, 50), &fetched(), began + Duration::from_secs(11));
    assert!(!damage.is_any());
}

/// After a wrong checksum librdkafka takes its next offset from the middle of the batch, is rejected, and starts again.
#[test]
fn jump_over_wrong_checksum_is_found() {
    let (mut damage, began) = (Damage::default(), Instant::now());
    let delivered = BTreeMap::from([(tp(0), Some(5))]);
    let mut found = Vec::new();
    for (second, next, end) in [(0, 7_161_123_820_666_187_381, 9), (1, -1_001, -1), (2, 0, 9), (3, 5, 9)] {
        damage.add_error(CRC.to_owned(), began);
        let jumping = readings(next, end, 10 * second);
        found.extend(damage.check(&jumping, &delivered, began + Duration::from_secs(second)));
    }
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].offset, found[0].reason.as_str()), (5, CRC));

    // Retried, it jumps in the same way: no second report, and no recovery
    damage.take_due(began + Duration::from_secs(9));
    for (second, next) in [(9, 7_161_123_820_666_187_381), (10, 0), (12, 5), (14, 7_161_123_820_666_187_381)]
    {
        let now = began + Duration::from_secs(second);
        damage.add_error(CRC.to_owned(), now);
        assert_eq!(damage.check(&readings(next, 9, 100 + 10 * second), &delivered, now), vec![]);
        assert!(damage.is_any());
    }
}

/// Every snapshot of the statistics may show the same moment, in which the end is unknown.
#[test]
fn unknown_position_is_found_at_the_batch() {
    let (mut damage, began) = (Damage::default(), Instant::now());
    let delivered = BTreeMap::from([(tp(0), Some(5))]);
    let check_after = |damage: &mut Damage, second: u64| {
        damage.check(&readings(0, -1, 10 * second), &delivered, began + Duration::from_secs(second))
    };
    for second in 0..3 {
        assert_eq!(check_after(&mut damage, second), vec![], "there was no error");
    }
    damage.add_error(CRC.to_owned(), began + Duration::from_secs(3));
    assert_eq!(check_after(&mut damage, 3), vec![], "it has only just stopped");
    let found = check_after(&mut damage, 4);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].offset, found[0].reason.as_str()), (5, CRC));
}

/// A transaction's marker leaves a gap in every partition of the transaction.
#[test]
fn gap_in_a_healthy_partition_is_no_damage() {
    let (mut damage, now) = (Damage::default(), Instant::now());
    damage.add_error(CRC.to_owned(), now);
    for (expected, offset) in [(3, 5), (6, 7), (900_000, 900_001)] {
        assert_eq!(damage.check_gap(&tp(1), offset, after(expected), now), None, "{expected}..{offset}");
    }
    let found = damage.check_gap(&tp(0), 7, after(4), now).expect("beyond damage").expect("new");
    assert_eq!((found.partition, found.offset), (tp(0), 4), "the batch was compacted before it");
}

#[test]
fn start_in_damaged_batch_does_not_pass_it() {
    let (mut damage, now) = (Damage::default(), Instant::now());
    damage.add_error(CRC.to_owned(), now);
    let found = damage.check_gap(&tp(0), 12, from(8), now).expect("beyond damage").expect("new");
    assert_eq!((found.offset, found.reason.as_str()), (8, CRC));
    // By now the damage is known to belong to partition 0
    damage.add_error(CRC.to_owned(), now);
    assert_eq!(damage.check_gap(&tp(1), 12, from(8), now), None);
    assert_eq!(damage.check_gap(&tp(0), 12, from(8), now), Some(None), "retried, it is the same position");
}

/// All partitions share one queue, so waiting records of others do not disprove an error about this one.
#[test]
fn damage_is_found_while_others_catch_up() {
    let (mut damage, began) = (Damage::default(), Instant::now());
    let delivered = BTreeMap::from([(tp(0), Some(5)), (tp(1), Some(5))]);
    let check_after = |damage: &mut Damage, second: u64| {
        let reading = |next| Reading { next, end: 90, low: 0, queued: 100, fetches: 10 * second };
        let readings = Readings::from([(tp(0), reading(5)), (tp(1), reading(60))]);
        damage.check(&readings, &delivered, began + Duration::from_secs(second))
    };
    for second in 0..5 {
        assert_eq!(check_after(&mut damage, second), vec![], "the waiting records may be of this partition");
    }
    damage.add_error(ZIPPED.to_owned(), began + Duration::from_secs(5));
    assert_eq!(check_after(&mut damage, 5), vec![], "it has only just stopped");
    let found = check_after(&mut damage, 6);
    assert_eq!(found.len(), 1, "the reader of the other one is ahead of the taken records: {found:?}");
    assert_eq!((&found[0].partition, found[0].offset), (&tp(0), 5));
}
