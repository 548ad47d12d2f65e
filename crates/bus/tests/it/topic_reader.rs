//! Topics are read outside every group: in chunks, between offsets, and from a time on.

use std::time::Duration;

use bus::{Chunk, Producer, Ranges, TopicReader};
use contracts::{Event, Group, Topic};

use crate::gaps::delete_below;
use crate::support::{DEADLINE, broker_for, place_bet, publish_all};

const BETS: Topic = Topic::BetsCommands;

fn offsets(chunk: &Chunk) -> Vec<i64> {
    chunk.records.iter().map(|record| record.offset).collect()
}

#[tokio::test]
async fn topic_is_read_in_chunks_between_offsets() {
    let config = broker_for(Group::Game).await;
    let producer = Producer::new(&config).expect("a producer");
    let events: Vec<Event> = (0..5).map(|number| place_bet("ada", number)).collect();
    let partition = publish_all(&producer, &events).await.first().expect("published").partition;
    let reader = TopicReader::new(&config).expect("a reader");

    let extents = reader.extents(BETS).await.expect("extents");
    assert_eq!((extents.len(), extents.get(&partition)), (6, Some(&(0..5))));
    let first = reader.read(BETS, extents.clone(), 2, DEADLINE).await.expect("a chunk");
    assert_eq!((offsets(&first), &first.left), (vec![0, 1], &Ranges::from([(partition, 2..5)])));
    let rest = reader.read(BETS, first.left.clone(), 100, DEADLINE).await.expect("a chunk");
    assert_eq!((offsets(&rest), rest.left), (vec![2, 3, 4], Ranges::new()));
    let inner = reader.read(BETS, Ranges::from([(partition, 1..3)]), 100, DEADLINE).await.expect("a chunk");
    assert_eq!(offsets(&inner), [1, 2]);

    for (at_ms, expected) in [(0, 0), (4_000_000_000_000, 5)] {
        let offsets = reader.offsets_at(BETS, &extents, at_ms).await.expect("offsets");
        assert_eq!(offsets.get(&partition), Some(&expected), "{at_ms}");
    }
    let committed = reader.committed(Group::Game, BETS, &extents).await.expect("offsets");
    assert!(committed.is_empty(), "no consumer ran: {committed:?}");
    let missing = reader.extents(Topic::PlayersEvents).await.expect("extents");
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn deleted_records_are_passed_and_extents_show_it() {
    let config = broker_for(Group::Game).await;
    let producer = Producer::new(&config).expect("a producer");
    let events: Vec<Event> = (0..5).map(|number| place_bet("ada", number)).collect();
    let partition = publish_all(&producer, &events).await.first().expect("published").partition;
    let reader = TopicReader::new(&config).expect("a reader");
    let requested = Ranges::from([(partition, 0..5)]);
    let first = reader.read(BETS, requested, 1, DEADLINE).await.expect("a chunk");
    delete_below(&config, partition, 3).await;
    let rest = reader.read(BETS, first.left.clone(), 100, DEADLINE).await.expect("a chunk");
    assert_eq!((offsets(&first), offsets(&rest), rest.left), (vec![0], vec![3, 4], Ranges::new()));
    let extents = reader.extents(BETS).await.expect("extents");
    assert_eq!(extents.get(&partition), Some(&(3..5)));
}

#[tokio::test]
async fn dropped_read_lets_the_next_one_begin() {
    let config = broker_for(Group::Game).await;
    let producer = Producer::new(&config).expect("a producer");
    let partition =
        publish_all(&producer, &[place_bet("ada", 0)]).await.first().expect("published").partition;
    let reader = TopicReader::new(&config).expect("a reader");
    // There is no such partition, so the read would last until its deadline.
    let endless = reader.read(BETS, Ranges::from([(99, 0..5)]), 1, 100 * DEADLINE);
    assert!(tokio::time::timeout(Duration::from_millis(200), endless).await.is_err());
    let next = reader.read(BETS, Ranges::from([(partition, 0..1)]), 1, DEADLINE);
    let chunk =
        tokio::time::timeout(DEADLINE, next).await.expect("the first read has ended").expect("a chunk");
    assert_eq!(offsets(&chunk), [0]);
}
