//! Unreadable batches are reported within seconds with their position, never passed, and end readiness. Each scenario runs in its
//! own process, because the error events are read from what that process sent to Sentry.

use std::time::{Duration, Instant};

use bus::Config;
use contracts::{Group, Topic};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use crate::proxy::Proxy;
use crate::support::{
    DEADLINE, Running, TestHandler, bets, broker_for, committed, committed_reaches, physical, place_bet,
    players_in, scenario,
};
use testkit::receiver::Receiver;

const BETS: Topic = Topic::BetsCommands;
/// The promised seconds, with a reserve for a busy machine.
const REPORT_DEADLINE: Duration = Duration::from_secs(40);

#[test]
fn failed_decompression_ends_readiness() {
    testkit::scenario::run("damage::cannot_be_decompressed");
}

#[test]
fn batch_with_a_wrong_checksum_is_not_passed() {
    testkit::scenario::run("damage::wrong_checksum");
}

/// Returns the error events about an unreadable position.
fn events(receiver: &Receiver) -> Vec<Value> {
    let items = receiver.items().into_iter().filter(|(kind, _)| kind == "event").map(|(_, event)| event);
    items.filter(|event| event.to_string().contains("cannot be read at offset")).collect()
}

async fn reported(receiver: &Receiver, place: &str) -> Duration {
    let began = Instant::now();
    let event = testkit::eventually("an error event", DEADLINE, || async { events(receiver).pop() }).await;
    let wanted = format!("{place}: ");
    assert!(event.to_string().contains(&wanted), "it names the position ({wanted}): {event:#}");
    began.elapsed()
}

fn batch_of(config: &Config, codec: &str) -> FutureProducer {
    ClientConfig::new()
        .set("bootstrap.servers", &config.bootstrap_servers)
        .set("compression.type", codec)
        .set("partitioner", "murmur2_random")
        .set("message.max.bytes", "33554432")
        .create()
        .expect("a producer")
}

/// A kilobyte of zstd that decompresses to more than our limit. The broker accepts it, and librdkafka would fetch it forever.
#[test]
#[ignore = "the process of a test above"]
fn cannot_be_decompressed() {
    scenario(|receiver| async move {
        let config = broker_for(Group::Game).await;
        let player = players_in(2).next().expect("a key");
        let producer = bus::Producer::new(&config).expect("a producer");
        let topic = physical(&config, BETS.name());
        producer.publish(&place_bet(&player, 1)).await.expect("published");
        let large = vec![0_u8; 20 * 1_024 * 1_024];
        let record = FutureRecord::to(&topic).key(&player).payload(&large);
        let sent = batch_of(&config, "zstd").send(record, DEADLINE).await.expect("published");
        assert_eq!((sent.partition, sent.offset), (2, 1));
        producer.publish(&place_bet(&player, 3)).await.expect("published");

        let handler = TestHandler::all();
        let consumer = Running::start(&config, Group::Game, bets(handler.clone())).ready().await;
        handler.wait_for(1).await;
        let took = reported(&receiver, "casino.bets.commands.v1/2 cannot be read at offset 1").await;
        assert!(took < REPORT_DEADLINE, "reported after {took:?}");
        assert!(!consumer.is_ready(), "ready though a partition cannot be read");

        // Other partitions continue, and retries cause no second report
        let other = players_in(4).next().expect("a key");
        producer.publish(&place_bet(&other, 1)).await.expect("published");
        handler.wait_for(2).await;
        tokio::time::sleep(Duration::from_secs(9)).await; // meanwhile it is retried
        assert_eq!(events(&receiver).len(), 1);
        assert!(!consumer.is_ready());
        let partition = (BETS.name().to_owned(), 2);
        assert_eq!(committed(&config, Group::Game).expect("offsets").get(&partition), Some(&1));

        // An operator decides to delete it
        delete_before(&config, &topic, 2, 2).await;
        let seen = handler.wait_for(3).await;
        assert_eq!(seen[2].event.id.as_str(), format!("{player}-3"));
        consumer.wait_ready(true).await;
        committed_reaches(&config, Group::Game, 3 + 1).await;
        consumer.stop().await.expect("stops in order");
    });
}

async fn delete_before(config: &Config, topic: &str, partition: i32, offset: i64) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &config.bootstrap_servers)
        .create()
        .expect("an administrator");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
    admin.delete_records(&list, &AdminOptions::new()).await.expect("deleted");
}

/// librdkafka drops such a batch and continues with the next, so its records would be lost.
#[test]
#[ignore = "the process of a test above"]
fn wrong_checksum() {
    scenario(|receiver| async move {
        let config = broker_for(Group::Game).await;
        // One player, because only the order of one key is guaranteed.
        let player = players_in(2).next().expect("a key");
        let proxy = Proxy::start(&config.bootstrap_servers, b"damaged-here").await;
        let producer = bus::Producer::new(&config).expect("a producer");
        for number in 0..3 {
            let mut event = place_bet(&player, number);
            if number == 1 {
                event.source = "/damaged-here".to_owned();
            }
            producer.publish(&event).await.expect("published");
        }
        let through = Config { bootstrap_servers: proxy.address.to_string(), ..config.clone() };
        let handler = TestHandler::all();
        let consumer = Running::start(&through, Group::Game, bets(handler.clone())).ready().await;
        let took = reported(&receiver, "casino.bets.commands.v1/2 cannot be read at offset 1").await;
        assert!(took < REPORT_DEADLINE, "reported after {took:?}");
        assert!(!consumer.is_ready(), "ready though a partition cannot be read");
        tokio::time::sleep(Duration::from_secs(7)).await; // meanwhile it is retried
        assert_eq!(handler.ids(), vec![format!("{player}-0")], "a record behind it was taken");
        let partition = (BETS.name().to_owned(), 2);
        assert_eq!(committed(&config, Group::Game).expect("offsets").get(&partition), Some(&1));
        assert_eq!(events(&receiver).len(), 1);

        proxy.heal();
        let seen = handler.wait_for(3).await;
        let offsets: Vec<i64> = seen.iter().map(|seen| seen.offset).collect();
        assert_eq!(offsets, vec![0, 1, 2], "each once, in order");
        consumer.wait_ready(true).await;
        committed_reaches(&config, Group::Game, 3).await;
        consumer.stop().await.expect("stops in order");
    });
}
