//! Records that the broker deleted before the group read them are counted and reported.

use bus::Producer;
use contracts::{Group, Topic};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use testkit::metrics::counted;

use crate::support::{
    DEADLINE, Running, TestHandler, bets, broker_for, committed_reaches, physical, place_bet,
};

const TOPIC: Topic = Topic::BetsCommands;
const READ: u64 = 3;
const DELETED: u64 = 5;

/// Deletes the records of a partition below an offset.
pub(crate) async fn delete_below(config: &bus::Config, partition: i32, offset: i64) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &config.bootstrap_servers)
        .create()
        .expect("an administration client");
    let mut list = TopicPartitionList::new();
    let topic = physical(config, TOPIC.name());
    list.add_partition_offset(&topic, partition, Offset::Offset(offset)).expect("a position");
    admin.delete_records(&list, &AdminOptions::new()).await.expect("deleted");
}

#[test]
fn deleted_unread_records_are_reported() {
    testkit::scenario::run("gaps::scenario");
}

#[test]
#[ignore = "the process of the test above"]
fn scenario() {
    let Some(receiver) = crate::support::scenario(|_| read_behind_deleted_records()) else { return };
    let items = receiver.items();
    let is_report = |(kind, item): &&(String, serde_json::Value)| {
        kind == "event" && item.to_string().contains("from offset 3 to 7 of casino.bets.commands.v1")
    };
    assert_eq!(items.iter().filter(is_report).count(), 1, "one event for the gap: {items:#?}");
}

async fn read_behind_deleted_records() {
    let config = broker_for(Group::Game).await;
    let handler = TestHandler::all();
    let producer = Producer::new(&config).expect("a producer");
    let mut partition = 0;
    for number in 0..READ {
        partition = producer.publish(&place_bet("p", number)).await.expect("published").partition;
    }
    let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
    committed_reaches(&config, Group::Game, i64::try_from(READ).expect("small")).await;
    consumer.stop().await.expect("stops in order");

    for number in READ..=READ + DELETED {
        producer.publish(&place_bet("p", number)).await.expect("published");
    }
    let end = i64::try_from(READ + DELETED).expect("small");
    delete_below(&config, partition, end).await;
    let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
    let missed = || async {
        let labels = [("topic", TOPIC.name()), ("group", "game")];
        let count = counted("pitboss_bus_records_missed_total", &labels);
        (count > 0.0).then_some(count)
    };
    let missed = testkit::eventually("the gap to be counted", DEADLINE, missed).await;
    assert_eq!(missed, 5.0);
    committed_reaches(&config, Group::Game, end + 1).await;
    assert_eq!(handler.seen().len(), usize::try_from(READ + 1).expect("small"));
    consumer.stop().await.expect("stops in order");
}
