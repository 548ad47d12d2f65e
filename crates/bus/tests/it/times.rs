//! Timestamps of records: our topics use the broker's. On other topics an implausible one of the producer is counted.

use std::time::{SystemTime, UNIX_EPOCH};

use contracts::{Group, Topic};
use rdkafka::producer::FutureRecord;
use testkit::metrics::counted;

use crate::support::{
    CONSOLE_BET, DEADLINE, Running, TestHandler, bets, broker_for, committed_reaches, namespace, physical,
    raw_producer, specs_for,
};

const TOPIC: Topic = Topic::BetsCommands;
const IMPLAUSIBLE_MS: [i64; 2] = [1, 4_000_000_000_000];

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(0)
}

async fn publish_at(config: &bus::Config, timestamp_ms: i64) {
    let topic = physical(config, TOPIC.name());
    let record = FutureRecord::to(&topic).key("console").payload(CONSOLE_BET).timestamp(timestamp_ms);
    raw_producer(config).send(record, DEADLINE).await.expect("published");
}

fn skewed() -> f64 {
    counted("pitboss_bus_records_skewed_total", &[("topic", TOPIC.name())])
}

/// A single test, because the counter belongs to the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn implausible_producer_time_is_replaced_or_counted() {
    let config = broker_for(Group::Game).await;
    let (handler, before, began_ms) = (TestHandler::all(), skewed(), now_ms());
    for timestamp_ms in IMPLAUSIBLE_MS {
        publish_at(&config, timestamp_ms).await;
    }
    let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
    for seen in handler.wait_for(2).await {
        let made_at = seen.event.time.unix_timestamp_nanos() / 1_000_000;
        assert!((i128::from(began_ms)..i128::from(now_ms()) + 1).contains(&made_at), "{made_at}");
    }
    committed_reaches(&config, Group::Game, 2).await;
    consumer.stop().await.expect("stops in order");
    assert_eq!(skewed(), before, "the broker's time is no skew");

    // A topic with settings that are not ours
    let config = namespace();
    let mut specs = specs_for(Group::Game);
    for (name, value) in specs.iter_mut().flat_map(|spec| &mut spec.configs) {
        if name == "message.timestamp.type" {
            "CreateTime".clone_into(value);
        }
    }
    let allow_any = ("message.timestamp.after.max.ms".to_owned(), i64::MAX.to_string());
    specs.iter_mut().for_each(|spec| spec.configs.push(allow_any.clone()));
    bus::admin::ensure_topics(&config, &specs).await.expect("topics can be created");
    for timestamp_ms in IMPLAUSIBLE_MS {
        publish_at(&config, timestamp_ms).await;
    }
    let consumer = Running::start(&config, Group::Game, bets(TestHandler::all()));
    committed_reaches(&config, Group::Game, 2).await;
    consumer.stop().await.expect("stops in order");
    assert_eq!(skewed() - before, 2.0);
}
