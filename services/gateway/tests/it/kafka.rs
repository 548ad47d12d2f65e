//! The real service in this process with a real broker: a bet becomes a command, and the event becomes the answer.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bus::{Delivery, HandleAny, HandlerError, Outcome, Producer, Router, Tail};
use chassis::{Listeners, Shutdown};
use contracts::{Event, EventType, Topic};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    fake_peers::FakePeers,
    harness::{self, Broker},
};

/// A game service that settles every bet.
struct Game(Producer);

#[async_trait]
impl HandleAny for Game {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        if let Some(settled) = harness::outcome(&delivery.event, Broker::Settles) {
            self.0.publish(&Event::follower(&delivery.event.id, "game", settled)).await?;
        }
        Ok(Outcome::Applied)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bet_over_kafka_and_orderly_shutdown() {
    let (peers, address) = FakePeers::start().await;
    peers.open_session("s-1", "p-1");
    let mut config = harness::config(address);
    config.kafka = bus::Config {
        bootstrap_servers: testkit::kafka(),
        namespace: testkit::unique("gateway"),
        ..bus::Config::default()
    };
    config.bets.wait_ms = 60_000;
    bus::admin::ensure_topics(&config.kafka, &contracts::topics::catalogue_of(contracts::Group::Gateway))
        .await
        .expect("topics");

    let producer = Producer::new(&config.kafka).expect("a producer");
    let router = Router::new().on_each([EventType::PlaceBet], Game(producer.clone()));
    let game = Tail::new(&config.kafka, &[Topic::BetsCommands], router, producer).expect("a game");
    let (game_stop, game_ready) =
        (CancellationToken::new(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let ready = Arc::clone(&game_ready);
    let playing = telemetry::spawn(
        game.run(game_stop.clone(), move |up| ready.store(up, std::sync::atomic::Ordering::SeqCst)),
    );

    let listeners = Listeners::local(&[]).await.expect("free ports");
    let (http, ops) =
        (listeners.http.local_addr().expect("an address"), listeners.ops.local_addr().expect("an address"));
    let shutdown = Shutdown::new();
    let running = telemetry::spawn(gateway::run(config, listeners, shutdown.clone()));
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    testkit::eventually("readiness", Duration::from_secs(60), || async {
        let ready = client.get(format!("http://{ops}/readyz")).send().await;
        let gateway_ready = ready.is_ok_and(|answer| answer.status() == StatusCode::OK);
        (game_ready.load(std::sync::atomic::Ordering::SeqCst) && gateway_ready).then_some(())
    })
    .await;

    let bet = client
        .post(format!("http://{http}/api/v1/bets"))
        .bearer_auth(harness::token("p-1", "s-1"))
        .header("idempotency-key", testkit::unique("k"))
        .json(&json!({ "game": "slots", "stake_minor": 100, "currency": "EUR" }))
        .send()
        .await
        .expect("a response");
    assert_eq!(bet.status(), StatusCode::OK);
    let bet: Value = bet.json().await.expect("JSON");
    assert_eq!((&bet["outcome"], &bet["balance_minor"]), (&json!("won"), &json!(2400)));

    shutdown.trigger();
    let ended =
        tokio::time::timeout(Duration::from_secs(90), running).await.expect("in time").expect("no panic");
    assert!(ended.is_ok(), "{:?}", ended.err().map(|failure| failure.describe()));
    game_stop.cancel();
    playing.await.expect("no panic").expect("an orderly shutdown");
}
