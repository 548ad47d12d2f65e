//! Tests of lagwatch: it reports lag from outside, also of a group without members, and refuses requests for other host names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bus::{CancellationToken, Consumer, Delivery, HandleAny, HandlerError, Outcome, Producer, Router};
use chassis::Listeners;
use contracts::proto::bets::v1::PlaceBet;
use contracts::proto::common::v1::Money;
use contracts::topics::Group;
use contracts::{Event, EventType, Message, ids};
use lagwatch::config::Config;
use serde_json::Value;
use testkit::http::{get, request};
use testkit::metrics::series;
use testkit::service::Running;

const TIMEOUT: Duration = Duration::from_secs(60);

struct ApplyAll;

#[async_trait::async_trait]
impl HandleAny for ApplyAll {
    async fn handle(&self, _: &Delivery) -> Result<Outcome, HandlerError> {
        Ok(Outcome::Applied)
    }
}

fn config() -> Config {
    let settings = [
        ("PITBOSS__KAFKA__BOOTSTRAP_SERVERS", testkit::kafka()),
        ("PITBOSS__KAFKA__NAMESPACE", testkit::unique("lagwatch")),
        ("PITBOSS__WATCH__INTERVAL_MS", "200".to_owned()),
    ];
    let environment: HashMap<_, _> =
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    chassis::config::load(include_str!("../../src/defaults.toml"), None, environment).unwrap()
}

/// Returns the sum of messages, the greatest age, and the members of the group `game` on the topic of bet commands.
fn of_game(lag: &Value) -> Option<(i64, f64, u64)> {
    let rows = lag["groups"].as_array()?.iter();
    let rows: Vec<_> =
        rows.filter(|row| row["group"] == "game" && row["topic"] == "casino.bets.commands.v1").collect();
    let messages = rows.iter().filter_map(|row| row["lag_messages"].as_i64()).sum();
    let seconds = rows.iter().filter_map(|row| row["lag_seconds"].as_f64()).fold(0.0, f64::max);
    (rows.len() == 6).then_some((messages, seconds, rows[0]["members"].as_u64()?))
}

/// Returns the state and the joins of the group `game`.
fn state_of_game(lag: &Value) -> Option<(String, u64)> {
    let state = lag["states"].as_array()?.iter().find(|state| state["group"] == "game")?;
    Some((state["state"].as_str()?.to_owned(), state["joins"].as_u64()?))
}

/// Returns the value of a group's metric, as a Prometheus server would read it.
async fn metric(ops: SocketAddr, name: &str, group: &str) -> Option<f64> {
    let page = testkit::http::text(ops, "/metrics").await?;
    series(&page, name, &[("group", group)]).first().map(|(_, value)| *value)
}

fn bet(player: &str) -> Event {
    let stake = Some(Money { minor: 100, currency: "EUR".to_owned() });
    let message: Message = PlaceBet { player_id: player.to_owned(), game: "slots".to_owned(), stake }.into();
    Event::command(testkit::unique("bet").parse().unwrap(), "test", ids::request_hash(&message), message)
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_of_stopped_group_is_reported() {
    let config = config();
    bus::admin::ensure_topics(&config.kafka, &contracts::topics::catalogue()).await.unwrap();
    let producer = Producer::new(&config.kafka).unwrap();
    for n in 0..7 {
        producer.publish(&bet(&format!("player-{n}"))).await.unwrap();
    }
    let listeners = Listeners::local(&[]).await.unwrap();
    let service = Running::spawn(lagwatch::run, config.clone(), listeners);
    let (address, ops) = (service.http, service.ops);

    let (lag, members) = testkit::eventually("the lag of a group without members", TIMEOUT, || async {
        let (_, lag) = get(address, "/api/v1/lag").await?;
        let found = of_game(&lag).filter(|(messages, seconds, _)| *messages == 7 && *seconds > 1.0);
        found.map(|(_, _, members)| (lag, members))
    })
    .await;
    assert_eq!(members, 0);
    assert_eq!(state_of_game(&lag), Some(("absent".to_owned(), 0)), "{lag}");
    assert!(lag["number"].as_u64() >= Some(1) && lag["watched_s"].is_u64(), "{lag}");
    let is_held = |row: &Value| row["held_messages"] != 0 || row["stable_end"] != row["end"];
    assert!(!lag["groups"].as_array().unwrap().iter().any(is_held), "no transaction is open: {lag}");
    let (status, _) = get(ops, "/readyz").await.unwrap();
    assert_eq!(status, 200);

    let router = Router::new().on_each([EventType::PlaceBet], ApplyAll);
    let consumer = Consumer::new(&config.kafka, Group::Game, router, producer).unwrap();
    let stop = CancellationToken::new();
    let consuming = telemetry::spawn(consumer.run(stop.clone(), |_| {}));
    let after = testkit::eventually("no lag and one member", TIMEOUT, || async {
        let (_, lag) = get(address, "/api/v1/lag").await?;
        of_game(&lag).filter(|(messages, _, members)| *messages == 0 && *members == 1)
    })
    .await;
    assert!(after.1 < 0.001, "without lag there is no age");
    testkit::eventually("the member's join", TIMEOUT, || async {
        let (_, lag) = get(address, "/api/v1/lag").await?;
        state_of_game(&lag).filter(|(state, joins)| state == "stable" && *joins >= 1)
    })
    .await;
    // The other test of this process sets the same gauges
    for name in ["pitboss_consumer_members", "pitboss_consumer_joins_total"] {
        testkit::eventually(name, TIMEOUT, || async {
            metric(ops, name, "game").await.filter(|value| *value >= 1.0)
        })
        .await;
    }
    testkit::eventually("no held records", TIMEOUT, || async {
        metric(ops, "pitboss_consumer_lag_held", "game").await.filter(|value| *value == 0.0)
    })
    .await;
    stop.cancel();
    consuming.await.unwrap().unwrap();
    service.stop().await;
}

/// Such a request comes from a web page that points its own name at this machine, or from a proxy with an unconfigured name.
#[tokio::test(flavor = "multi_thread")]
async fn request_for_other_host_is_refused() {
    let config = config();
    bus::admin::ensure_topics(&config.kafka, &contracts::topics::catalogue()).await.unwrap();
    let listeners = Listeners::local(&[]).await.unwrap();
    let service = Running::spawn(lagwatch::run, config, listeners);
    for address in [service.http, service.ops] {
        for path in ["/api/v1/lag", "/readyz"] {
            assert_ne!(get(address, path).await.unwrap().0, 421, "{path}");
            for host in ["lag.example", "lagwatch"] {
                let headers = [("host".to_owned(), host.to_owned())];
                let (status, _) = request(address, "GET", path, &headers).await.unwrap();
                assert_eq!(status, 421, "{path} of {host}");
            }
        }
    }
    service.stop().await;
}
