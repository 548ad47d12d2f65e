//! Transactions of other producers: an open one is growing lag, the remains of an ended one are not.

use std::sync::Arc;
use std::time::Duration;

use bus::lag::{BacklogReader, PartitionLag, Reader};
use bus::letter::{Keep, LetterReader, Limits};
use bus::{Config, Held, Producer, TopicReader};
use contracts::topics::{DLQ_ACTIONS, catalogue};
use contracts::{Group, Topic};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::support::{
    CONSOLE_BET, DEADLINE, Running, TestHandler, bets, broker_for, committed, physical, place_bet, players_in,
};

const BETS: Topic = Topic::BetsCommands;
const PARTITION: i32 = 2;

/// A producer with an open transaction that has written `records` bets to one partition of the bets.
async fn open_transaction(config: &Config, records: usize) -> BaseProducer {
    open_transaction_in(config, BETS.name(), PARTITION, records).await
}

/// A producer with an open transaction that has written `records` bets to one partition of a topic.
async fn open_transaction_in(config: &Config, topic: &str, partition: i32, records: usize) -> BaseProducer {
    let (servers, topic) = (config.bootstrap_servers.clone(), physical(config, topic));
    let id = testkit::unique("transaction");
    let begun = telemetry::spawn_blocking(move || {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("transactional.id", id)
            .create()
            .expect("a producer");
        producer.init_transactions(DEADLINE).expect("transactions");
        producer.begin_transaction().expect("begun");
        for _ in 0..records {
            let record = BaseRecord::<[u8], [u8]>::to(&topic).partition(partition).payload(CONSOLE_BET);
            producer.send(record).map_err(|(error, _)| error).expect("queued");
        }
        producer.flush(DEADLINE).expect("written");
        producer
    });
    begun.await.expect("no panic")
}

async fn end(producer: BaseProducer, commits: bool) {
    let ended = telemetry::spawn_blocking(move || match commits {
        true => producer.commit_transaction(DEADLINE),
        false => producer.abort_transaction(DEADLINE),
    });
    ended.await.expect("no panic").expect("ended");
}

async fn lag(reader: &Arc<Reader>) -> PartitionLag {
    let lags = reader.read().await.expect("lag");
    let found = lags.into_iter().find(|lag| lag.topic == BETS.name() && lag.partition == PARTITION);
    found.expect("the partition")
}

async fn no_lag(config: &Config, reader: &Arc<Reader>, end: i64) {
    let partition = (BETS.name().to_owned(), PARTITION);
    // Aborted records and markers are no lag even before the consumer commits that it has passed them.
    testkit::eventually("no lag, and the end is committed", DEADLINE, || async {
        let lag = lag(reader).await;
        let is_committed = committed(config, Group::Game)?.get(&partition) == Some(&end);
        (lag.lag_messages == 0 && lag.end == end && is_committed).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_markers_and_aborted_records_are_no_lag() {
    let config = broker_for(Group::Game).await;
    let handler = TestHandler::all();
    let reader = Arc::new(Reader::new(&config, &[Group::Game]).expect("a reader"));
    // The first in its partition: only aborted records and their marker
    end(open_transaction(&config, 3).await, false).await;
    let consumer = Running::start(&config, Group::Game, bets(handler.clone())).ready().await;
    no_lag(&config, &reader, 4).await;
    assert!(handler.seen().is_empty(), "an aborted record was handled");

    end(open_transaction(&config, 6).await, true).await;
    handler.wait_for(6).await;
    no_lag(&config, &reader, 11).await;

    end(open_transaction(&config, 2).await, false).await;
    no_lag(&config, &reader, 14).await;
    assert_eq!(handler.seen().len(), 6);
    consumer.stop().await.expect("stops in order");

    // The next member starts behind them
    let next = Running::start(&config, Group::Game, bets(handler.clone())).ready().await;
    let player = players_in(PARTITION).next().expect("a key");
    Producer::new(&config).expect("a producer").publish(&place_bet(&player, 1)).await.expect("published");
    assert_eq!(handler.wait_for(7).await[6].offset, 14);
    no_lag(&config, &reader, 15).await;
    next.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_transaction_blocks_later_records() {
    let config = broker_for(Group::Game).await;
    let handler = TestHandler::all();
    let consumer = Running::start(&config, Group::Game, bets(handler.clone())).ready().await;
    let reader = Arc::new(Reader::new(&config, &[Group::Game]).expect("a reader"));
    let backlog = BacklogReader::new(&config, Group::Game, &[BETS]).expect("a reader");
    assert_eq!(backlog.read().await.expect("a backlog").messages, 0);

    let transaction = open_transaction(&config, 1).await;
    let player = players_in(PARTITION).next().expect("a key");
    Producer::new(&config).expect("a producer").publish(&place_bet(&player, 1)).await.expect("published");
    let first = testkit::eventually("the age of the open transaction", DEADLINE, || async {
        let lag = lag(&reader).await;
        lag.lag_seconds.map(|seconds| (lag.lag_messages, seconds))
    })
    .await;
    assert_eq!(first.0, 2, "up to the high watermark");
    let held = lag(&reader).await;
    assert_eq!(
        (held.held_messages, held.stable_end),
        (2, 0),
        "the plain record is behind the open transaction"
    );
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let later =
        testkit::eventually("a later age", DEADLINE, || async { lag(&reader).await.lag_seconds }).await;
    assert!((1.0..600.0).contains(&(later - first.1)), "it grows: {} s, then {later} s", first.1);
    assert!(handler.seen().is_empty(), "a record of the open transaction, or one behind it, was handled");
    // The reader omits the age rather than delay its caller
    let unread = testkit::eventually("the age of the backlog", DEADLINE, || async {
        backlog.read().await.ok().filter(|unread| unread.oldest_age_ms.is_some())
    })
    .await;
    assert_eq!(unread.messages, 2);
    assert!(unread.is_older_than(Duration::from_secs(1)) && !unread.is_older_than(Duration::from_secs(600)));

    end(transaction, true).await;
    handler.wait_for(2).await;
    no_lag(&config, &reader, 3).await;
    assert_eq!(backlog.read().await.expect("a backlog").oldest_age_ms, Some(0));
    consumer.stop().await.expect("stops in order");
}

/// No member passes the remains, so only the reader can tell them from records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_of_transactions_are_no_lag() {
    let config = broker_for(Group::Game).await;
    let reader = Arc::new(Reader::new(&config, &[Group::Game]).expect("a reader"));
    let becomes = async |end: i64, unread: i64, held: i64| {
        testkit::eventually("the lag of the dead group", DEADLINE, || async {
            let lag = lag(&reader).await;
            let is_expected = lag.end == end && lag.lag_messages == unread && lag.held_messages == held;
            is_expected.then_some(lag)
        })
        .await
    };
    end(open_transaction(&config, 3).await, false).await;
    assert_eq!(becomes(4, 0, 0).await.lag_seconds, Some(0.0));
    end(open_transaction(&config, 2).await, true).await;
    assert!(becomes(7, 2, 0).await.lag_seconds.is_some(), "two committed records");
    end(open_transaction(&config, 2).await, false).await;
    becomes(10, 2, 0).await;
    let open = open_transaction(&config, 1).await;
    assert_eq!(becomes(11, 3, 1).await.stable_end, 10);
    end(open, false).await;
    becomes(12, 2, 0).await;
}

/// A reader that took the last stable offset for the end would say that it has seen everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_topics_count_what_they_cannot_read() {
    let config = broker_for(Group::Game).await;
    let specs: Vec<_> = catalogue().into_iter().filter(|spec| spec.name == DLQ_ACTIONS).collect();
    bus::admin::ensure_topics(&config, &specs).await.expect("the topic of actions");
    let topics = TopicReader::new(&config).expect("a reader");
    let letters = LetterReader::new(&config).expect("a reader");
    let limits = Limits { letters_max: 9, bytes_max: 1_000_000, deadline: DEADLINE, keep: Keep::Oldest };
    let held = async || {
        let (extents, held) = topics.extents_and_held(BETS).await.ok()?;
        let of_letters = letters.letters(limits, |_| true).await.ok()?.held;
        let of_actions = letters.actions(DEADLINE).await.ok()?.held;
        Some((extents.get(&PARTITION).cloned()?, held, of_letters, of_actions))
    };
    testkit::eventually("a reading of new topics", DEADLINE, || async {
        (held().await? == (0..0, Held::new(), 0, 0)).then_some(())
    })
    .await;

    let transactions = [
        open_transaction(&config, 2).await,
        open_transaction_in(&config, &BETS.dlq(Group::Game), 0, 1).await,
        open_transaction_in(&config, DLQ_ACTIONS, 0, 3).await,
    ];
    assert_eq!(held().await, Some((0..0, Held::from([(PARTITION, 2)]), 1, 3)));

    for transaction in transactions {
        end(transaction, true).await;
    }
    testkit::eventually("nothing held back", DEADLINE, || async {
        (held().await? == (0..3, Held::new(), 0, 0)).then_some(())
    })
    .await;
}
