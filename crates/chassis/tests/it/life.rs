//! Process life from start to drained, with the guaranteed order of the shutdown.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use chassis::{
    Edges, Failure, Life, Shutdown,
    config::{Drain, Http, Ops, ServiceConfig},
};
use serde::{Deserialize, Serialize};
use telemetry::propagation::TrustPolicy;
use tokio::sync::Notify;
use validator::Validate;

#[derive(Debug, Deserialize, Serialize, Validate)]
pub(crate) struct Config {
    #[validate(nested)]
    pub(crate) http: Http,
    ops: Ops,
    #[serde(default)]
    #[validate(nested)]
    drain: Drain,
    #[serde(default)]
    more_connections_max: usize,
}

impl ServiceConfig for Config {
    fn http(&self) -> &Http {
        &self.http
    }

    fn ops(&self) -> &Ops {
        &self.ops
    }

    fn drain(&self) -> &Drain {
        &self.drain
    }

    fn more_connections_max(&self) -> usize {
        self.more_connections_max
    }
}

pub(crate) fn config(drain_deadline_ms: u64) -> Config {
    crate::telemetry_up();
    let nowhere = "127.0.0.1:0".parse().expect("an address");
    Config {
        http: testkit::patient::http(nowhere),
        ops: Ops { address: nowhere },
        drain: Drain { deadline_ms: drain_deadline_ms },
        more_connections_max: 0,
    }
}

type Log = Arc<Mutex<Vec<String>>>;

fn note(log: &Log, what: impl Into<String>) {
    log.lock().expect("unpoisoned").push(what.into());
}

async fn status(url: &str) -> Option<u16> {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    client.get(url).send().await.ok().map(|answer| answer.status().as_u16())
}

/// One slow request, one consumer and one flush, each of which logs when it ended.
#[tokio::test]
async fn the_end_comes_in_order_and_open_requests_are_answered() {
    let log = Log::default();
    let edges = Edges::local(&[]).await.expect("free ports");
    let (http, ops) =
        (edges.http.local_addr().expect("an address"), edges.ops.local_addr().expect("an address"));
    let shutdown = Shutdown::new();
    let config = config(60_000);
    let mut life = Life::start(edges, &config, shutdown.clone());
    assert_eq!(status(&format!("http://{ops}/livez")).await, Some(200), "alive before it is built");
    assert_eq!(status(&format!("http://{ops}/readyz")).await, Some(503), "and not ready");

    let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (log, arrived, release) = (log.clone(), Arc::clone(&arrived), Arc::clone(&release));
        move || async move {
            arrived.notify_one();
            release.notified().await;
            note(&log, "request answered");
            "done"
        }
    };
    life.serve(chassis::http::router(
        Router::new().route("/slow", get(slow)),
        &config.http,
        TrustPolicy::inside(),
    ));
    let part = life.readiness().register("part");
    let consumer_log = log.clone();
    life.consume("consumer", |stop| async move {
        part.set(true);
        stop.cancelled().await;
        note(&consumer_log, "consumer stopped");
        Ok::<_, std::io::Error>(())
    });
    let flush_log = log.clone();
    life.on_flush("producer", move |_| async move {
        note(&flush_log, "producer flushed");
        Ok::<_, std::io::Error>(())
    });
    let running = telemetry::spawn(life.run());
    wait_for(&format!("http://{ops}/readyz"), 200).await;
    let asking = telemetry::spawn(async move { status(&format!("http://{http}/slow")).await });
    arrived.notified().await;

    shutdown.trigger();
    wait_for(&format!("http://{ops}/readyz"), 503).await;
    assert_eq!(status(&format!("http://{http}/slow")).await, None, "nobody new is accepted");
    assert!(
        log.lock().expect("unpoisoned").is_empty(),
        "the consumer lives as long as a request may need it"
    );
    release.notify_one();
    assert_eq!(asking.await.expect("no panic"), Some(200), "who was inside is answered");
    let ended = running.await.expect("no panic");
    assert!(ended.is_ok(), "{:?}", ended.err().map(|failure| failure.story()));
    assert_eq!(
        *log.lock().expect("unpoisoned"),
        ["request answered", "consumer stopped", "producer flushed"]
    );
}

async fn wait_for(url: &str, wanted: u16) {
    let begun = Instant::now();
    while status(url).await != Some(wanted) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{url} never answered {wanted}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_part_that_fails_ends_the_process_with_its_story() {
    let edges = Edges::local(&[]).await.expect("free ports");
    let mut life = Life::start(edges, &config(1_000), Shutdown::new());
    life.consume("consumer", |_| async { Err(std::io::Error::other("the broker is gone")) });
    let failure = life.run().await.expect_err("a failure");
    assert_eq!((failure.exit_code(), failure.story().as_str()), (1, "consumer failed: the broker is gone"));
}

#[tokio::test]
async fn a_consumer_that_just_ends_is_a_failure_and_background_work_may() {
    let edges = Edges::local(&[]).await.expect("free ports");
    let shutdown = Shutdown::new();
    let mut life = Life::start(edges, &config(1_000), shutdown.clone());
    life.background("start-up job", |_| async { Ok::<_, std::io::Error>(()) });
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    life.consume("consumer", |_| async move {
        opened.notified().await;
        Ok::<_, std::io::Error>(())
    });
    let running = telemetry::spawn(life.run());
    tokio::task::yield_now().await;
    assert!(!running.is_finished(), "the job's end is no reason to end");
    gate.notify_one();
    let failure = running.await.expect("no panic").expect_err("a failure");
    assert_eq!(failure.story(), "consumer failed: it ended without being told to");
}

#[tokio::test]
async fn what_does_not_drain_is_left_behind_in_time_and_named() {
    let edges = Edges::local(&[]).await.expect("free ports");
    let shutdown = Shutdown::new();
    let mut life = Life::start(edges, &config(500), shutdown.clone());
    let flushed = Arc::new(Mutex::new(false));
    life.consume("stubborn", |_| std::future::pending::<Result<(), std::io::Error>>());
    let seen = Arc::clone(&flushed);
    life.on_flush("producer", move |_| async move {
        *seen.lock().expect("unpoisoned") = true;
        Ok::<_, std::io::Error>(())
    });
    shutdown.trigger();
    let begun = Instant::now();
    let failure = life.run().await.expect_err("not drained");
    // The consumer never ends by itself, so any bound shows that the drain did not wait for it.
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(failure.story().contains("consumers: not drained in time"), "{}", failure.story());
    assert!(*flushed.lock().expect("unpoisoned"), "the flush has its share of the time");
}

#[tokio::test]
async fn an_address_in_use_is_something_missing() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut config = config(1_000);
    config.http.address = taken.local_addr().expect("an address");
    let failure = Edges::bind(&config).await.expect_err("in use");
    assert!(matches!(failure, Failure::Missing { .. }));
    assert_eq!(failure.exit_code(), 69);
    assert!(failure.story().contains("http.address"), "{}", failure.story());
}
