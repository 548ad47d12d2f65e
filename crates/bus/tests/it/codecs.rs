//! Every codec of a stock producer, as real batches on a real broker.

use std::time::Duration;

use contracts::{Group, Topic};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::support::{CONSOLE_BET, Running, TestHandler, bets, broker_for, committed_reaches, physical};

const RECORDS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_codec_of_a_stock_producer_is_read() {
    let config = broker_for(Group::Game).await;
    let handler = TestHandler::all();
    let consumer = Running::start(&config, Group::Game, bets(handler.clone())).ready().await;
    let topic = physical(&config, Topic::BetsCommands.name());
    for (index, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let producer: FutureProducer = ClientConfig::new()
            .set("bootstrap.servers", &config.bootstrap_servers)
            .set("compression.type", codec)
            .set("linger.ms", "100") // one batch, because a codec is used only where it saves space
            .create()
            .expect("a producer with this codec");
        let sends = (0..RECORDS).map(|_| {
            let record = FutureRecord::to(&topic).key("console").payload(CONSOLE_BET);
            producer.send(record, Duration::from_secs(10))
        });
        for sent in futures::future::join_all(sends).await {
            sent.expect("published");
        }
        let seen = handler.wait_for(RECORDS * (index + 1)).await;
        assert_eq!(seen.len(), RECORDS * (index + 1), "{codec}");
    }
    committed_reaches(&config, Group::Game, i64::try_from(5 * RECORDS).expect("few")).await;
    consumer.stop().await.expect("stops in order");
}
