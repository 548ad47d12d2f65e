//! Lag, read from outside: of a group that never existed, of a running one, and of a stopped one.

use std::sync::Arc;
use std::time::SystemTime;

use bus::lag::{GroupState, GroupStatus, PartitionLag, Reader};
use bus::{HandlerError, Outcome, Producer};
use contracts::{Group, Topic};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::FutureRecord;

use crate::support::{
    CONSOLE_BET, DEADLINE, Running, TestHandler, bets, broker_for, committed_reaches, namespace, physical,
    place_bet, raw_producer, specs_for,
};

/// Reads until every age is known. The reader omits an age rather than delay its caller.
async fn with_ages<E>(read: impl AsyncFn() -> Result<Vec<PartitionLag>, E>) -> Vec<PartitionLag> {
    testkit::eventually("every age to be read", DEADLINE, || async {
        let lags = read().await.ok()?;
        lags.iter().all(|lag| lag.lag_seconds.is_some()).then_some(lags)
    })
    .await
}

fn total(lags: &[PartitionLag]) -> i64 {
    lags.iter().map(|lag| lag.lag_messages).sum()
}

async fn status(reader: &Arc<Reader>) -> GroupStatus {
    let mut groups = reader.reading().await.expect("lag").groups;
    assert_eq!(groups.len(), 1, "the gateway has no group");
    groups.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lag_is_read_whether_or_not_the_group_runs() {
    let config = broker_for(Group::Game).await;
    let producer = Producer::new(&config).expect("a producer");
    let reader = Arc::new(Reader::new(&config, &[Group::Game, Group::Gateway]).expect("a reader"));

    // No group has read a record, and there is none to read
    let lags = reader.read().await.expect("lag");
    assert_eq!(lags.len(), 12, "six partitions of two topics; the gateway has no group");
    assert_eq!(total(&lags), 0);
    assert!(
        lags.iter().all(|lag| lag.members == 0 && lag.committed.is_none() && lag.lag_seconds == Some(0.0))
    );
    assert_eq!(status(&reader).await.state, GroupState::Absent);

    // A group that never existed: all records are unread and grow older
    for number in 0..30 {
        producer.publish(&place_bet(&format!("player-{number}"), number)).await.expect("published");
    }
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let lags = with_ages(async || reader.read().await).await;
    assert_eq!(total(&lags), 30);
    for lag in &lags {
        let seconds = lag.lag_seconds.expect("an age");
        let is_aged = (1.0..600.0).contains(&seconds);
        assert_eq!(is_aged, lag.lag_messages > 0, "{lag:?}");
        assert_eq!(lag.topic == Topic::BetsCommands.name(), lag.end > 0, "{lag:?}");
    }

    // A group that handles all records but one player's
    let handler = TestHandler::new(|delivery| match delivery.event.player_id() {
        "player-7" => Err(HandlerError::transient("held")),
        _ => Ok(Outcome::Applied),
    });
    let consumer = Running::start(&config, Group::Game, bets(handler)).ready().await;
    testkit::eventually("the lag to shrink", DEADLINE, || async {
        let lags = reader.read().await.ok()?;
        // Later records in the partition of the held one stay uncommitted too
        let is_reading = (1..15).contains(&total(&lags));
        (is_reading && lags.iter().all(|lag| lag.members == 1)).then_some(())
    })
    .await;
    let running = status(&reader).await;
    assert_eq!((running.state, running.members), (GroupState::Stable, 1));
    assert!(running.joins >= 1, "it joined after the first reading");
    consumer.stop().await.expect("stops in order");
    testkit::eventually("the group to be empty", DEADLINE, || async {
        let stopped = status(&reader).await;
        (stopped.state == GroupState::Empty && stopped.members == 0).then_some(())
    })
    .await;

    // The same group, stopped
    let lags = with_ages(async || bus::lag::read(&config, &[Group::Game]).await).await;
    let held: Vec<_> = lags.iter().filter(|lag| lag.lag_messages > 0).collect();
    assert!((1..15).contains(&total(&lags)), "{held:?}");
    assert!(held.iter().all(|lag| lag.members == 0 && lag.lag_seconds.expect("an age") >= 1.0), "{held:?}");

    let consumer = Running::start(&config, Group::Game, bets(TestHandler::all()));
    committed_reaches(&config, Group::Game, 30).await;
    assert_eq!(total(&reader.read().await.expect("lag")), 0);
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_share_the_partitions() {
    let config = broker_for(Group::Game).await;
    let members = async || {
        let read = bus::members::read(&config, Group::Game, std::time::Duration::ZERO);
        read.await.expect("members")
    };
    assert!(members().await.is_empty(), "nobody has joined");
    let canary = bus::Config { client_id: "game-canary".to_owned(), ..config.clone() };
    let first = Running::start(&config, Group::Game, bets(TestHandler::all())).ready().await;
    let second = Running::start(&canary, Group::Game, bets(TestHandler::all())).ready().await;
    let topics: Vec<&str> = Group::Game.reads().iter().map(|topic| topic.name()).collect();
    testkit::eventually("two members with half of the partitions each", DEADLINE, || async {
        let members = members().await;
        let counts: Vec<usize> = members.iter().map(|member| member.count(&topics)).collect();
        let has_canary = members.iter().any(|member| member.client_id == "game-canary");
        (has_canary && counts == [6, 6]).then_some(())
    })
    .await;
    first.stop().await.expect("stops in order");
    second.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_topic_is_left_out() {
    let config = broker_for(Group::Game).await;
    let reader = Arc::new(Reader::new(&config, &[Group::Game]).expect("a reader"));
    testkit::eventually("a reading of new topics", DEADLINE, || async {
        let lags = reader.read().await.ok()?;
        (lags.len() == 12).then_some(())
    })
    .await;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &config.bootstrap_servers).create().expect("a client");
    let deleted = physical(&config, Topic::PaymentsEvents.name());
    let results = admin.delete_topics(&[&deleted], &AdminOptions::new()).await.expect("an answer");
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    testkit::eventually("a reading without the topic", DEADLINE, || async {
        let lags = reader.read().await.ok()?;
        let is_left_out = lags.len() == 6 && lags.iter().all(|lag| lag.topic == Topic::BetsCommands.name());
        is_left_out.then_some(())
    })
    .await;
}

/// The topics have settings that are not ours, so the records carry their producers' times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn age_counts_from_first_sight() {
    let config = namespace();
    let mut specs = specs_for(Group::Game);
    for spec in &mut specs {
        for (name, value) in &mut spec.configs {
            if name == "message.timestamp.type" {
                "CreateTime".clone_into(value);
            }
        }
        spec.configs.push(("message.timestamp.after.max.ms".to_owned(), i64::MAX.to_string()));
    }
    bus::admin::ensure_topics(&config, &specs).await.expect("topics can be created");
    let topic = physical(&config, Topic::PaymentsEvents.name());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let now_ms = i64::try_from(now.as_millis()).expect("a time");
    let producer = raw_producer(&config);
    for (partition, timestamp_ms) in [(0, 1), (1, now_ms - 3_600_000), (2, now_ms + 86_400_000)] {
        let record = FutureRecord::<[u8], [u8]>::to(&topic).payload(CONSOLE_BET);
        let record = record.partition(partition).timestamp(timestamp_ms);
        producer.send(record, DEADLINE).await.expect("published");
    }
    let reader = Arc::new(Reader::new(&config, &[Group::Game]).expect("a reader"));
    let unread = async || {
        let lags = reader.read().await.expect("lag");
        lags.into_iter().filter(|lag| lag.lag_messages > 0).collect::<Vec<_>>()
    };
    let first = unread().await;
    assert_eq!(first.iter().map(|lag| lag.partition).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(first.iter().all(|lag| lag.lag_seconds.is_none()), "nobody knows how long they were there");
    let later = testkit::eventually("ages", DEADLINE, || async {
        let lags = unread().await;
        lags.iter().all(|lag| lag.lag_seconds.is_some_and(|age| age > 0.2)).then_some(lags)
    })
    .await;
    assert!(later.iter().all(|lag| lag.lag_seconds.is_some_and(|age| age < 600.0)), "{later:?}");
}
