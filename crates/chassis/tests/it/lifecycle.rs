//! Lifecycle of a process from start to drained, with the guaranteed order of the shutdown.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use chassis::{
    Failure, Lifecycle, Listeners, Shutdown,
    config::{Drain, ServiceConfig, Start},
};
use contracts::{Classify, ErrorClass};
use serde::{Deserialize, Serialize};
use telemetry::propagation::TrustPolicy;
use tokio::sync::Notify;
use validator::Validate;

#[derive(Debug, Deserialize, Serialize, Validate)]
pub(crate) struct Config {
    #[serde(default)]
    more_connections_max: usize,
}

impl ServiceConfig for Config {
    fn more_connections_max(&self) -> usize {
        self.more_connections_max
    }
}

/// Listeners on free ports, with this limit of the drain.
pub(crate) async fn listeners(drain_deadline_ms: u64, more: &[&'static str]) -> Listeners {
    crate::init_telemetry();
    let mut listeners = Listeners::local(more).await.expect("free ports");
    listeners.common.drain = Drain { deadline_ms: drain_deadline_ms };
    listeners
}

/// Stop deadline of a consumer that needs no time.
const NO_TIME: Duration = Duration::ZERO;

type Log = Arc<Mutex<Vec<String>>>;

fn append(log: &Log, what: impl Into<String>) {
    log.lock().expect("unpoisoned").push(what.into());
}

async fn status(url: &str) -> Option<u16> {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    client.get(url).send().await.ok().map(|answer| answer.status().as_u16())
}

/// One slow request, one consumer and one flush, each of which logs its end.
#[tokio::test]
async fn shutdown_drains_in_order() {
    let log = Log::default();
    let listeners = listeners(60_000, &[]).await;
    let (http, ops) =
        (listeners.http.local_addr().expect("an address"), listeners.ops.local_addr().expect("an address"));
    let shutdown = Shutdown::new();
    let mut lifecycle = Lifecycle::start(listeners, shutdown.clone());
    assert_eq!(status(&format!("http://{ops}/livez")).await, Some(200), "alive during start-up");
    assert_eq!(status(&format!("http://{ops}/readyz")).await, Some(503), "but not ready");

    let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (log, arrived, release) = (log.clone(), Arc::clone(&arrived), Arc::clone(&release));
        move || async move {
            arrived.notify_one();
            release.notified().await;
            append(&log, "request answered");
            "done"
        }
    };
    lifecycle.serve(chassis::http::router(
        Router::new().route("/slow", get(slow)),
        lifecycle.http(),
        TrustPolicy::inside(),
    ));
    let consumer_log = log.clone();
    lifecycle.consume("consumer", NO_TIME, |stop, ready| async move {
        ready.set(true);
        stop.cancelled().await;
        append(&consumer_log, "consumer stopped");
        Ok::<_, std::io::Error>(())
    });
    let flush_log = log.clone();
    lifecycle.on_flush("producer", move |_| async move {
        append(&flush_log, "producer flushed");
        Ok::<_, std::io::Error>(())
    });
    let running = telemetry::spawn(lifecycle.run());
    wait_for(&format!("http://{ops}/readyz"), 200).await;
    let request = telemetry::spawn(async move { status(&format!("http://{http}/slow")).await });
    arrived.notified().await;

    shutdown.trigger();
    wait_for(&format!("http://{ops}/readyz"), 503).await;
    assert_eq!(status(&format!("http://{http}/slow")).await, None, "no new connection is accepted");
    assert!(
        log.lock().expect("unpoisoned").is_empty(),
        "the consumer stopped before the open request was answered"
    );
    release.notify_one();
    assert_eq!(request.await.expect("no panic"), Some(200), "the open request is answered");
    let ended = running.await.expect("no panic");
    assert!(ended.is_ok(), "{:?}", ended.err().map(|failure| failure.describe()));
    assert_eq!(
        *log.lock().expect("unpoisoned"),
        ["request answered", "consumer stopped", "producer flushed"]
    );
}

async fn wait_for(url: &str, wanted: u16) {
    let start = Instant::now();
    while status(url).await != Some(wanted) {
        assert!(start.elapsed() < Duration::from_secs(60), "{url} did not return {wanted}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn failed_part_stops_the_process_with_its_error() {
    let mut lifecycle = Lifecycle::start(listeners(1_000, &[]).await, Shutdown::new());
    lifecycle.consume("consumer", NO_TIME, |_, _| async { Err(std::io::Error::other("the broker is gone")) });
    let failure = lifecycle.run().await.expect_err("a failure");
    assert_eq!(
        (failure.exit_code(), failure.describe().as_str()),
        (1, "consumer failed: the broker is gone")
    );
}

#[tokio::test]
async fn early_return_fails_consumer_only() {
    let shutdown = Shutdown::new();
    let mut lifecycle = Lifecycle::start(listeners(1_000, &[]).await, shutdown.clone());
    lifecycle.background("start-up job", |_| async { Ok::<_, std::io::Error>(()) });
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    lifecycle.consume("consumer", NO_TIME, |_, _| async move {
        opened.notified().await;
        Ok::<_, std::io::Error>(())
    });
    let running = telemetry::spawn(lifecycle.run());
    tokio::task::yield_now().await;
    assert!(!running.is_finished(), "the end of a background job stopped the process");
    gate.notify_one();
    let failure = running.await.expect("no panic").expect_err("a failure");
    assert_eq!(failure.describe(), "consumer failed: it stopped unexpectedly");
}

#[tokio::test]
async fn undrained_part_is_aborted_and_reported() {
    let shutdown = Shutdown::new();
    let mut lifecycle = Lifecycle::start(listeners(500, &[]).await, shutdown.clone());
    let flushed = Arc::new(Mutex::new(false));
    lifecycle.consume("stubborn", NO_TIME, |_, _| std::future::pending::<Result<(), std::io::Error>>());
    let seen = Arc::clone(&flushed);
    lifecycle.on_flush("producer", move |_| async move {
        *seen.lock().expect("unpoisoned") = true;
        Ok::<_, std::io::Error>(())
    });
    shutdown.trigger();
    let start = Instant::now();
    let failure = lifecycle.run().await.expect_err("not drained");
    // The consumer never stops, so any bound shows that the drain did not wait for it.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert!(failure.describe().contains("consumers: not drained in time"), "{}", failure.describe());
    assert!(*flushed.lock().expect("unpoisoned"), "the flush did not run");
}

#[tokio::test]
async fn address_in_use_is_exit_code_69() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut common = listeners(1_000, &[]).await.common;
    common.http.address = taken.local_addr().expect("an address");
    let failure = Listeners::bind(common, &Config { more_connections_max: 0 }).await.expect_err("in use");
    assert!(matches!(failure, Failure::Missing { .. }));
    assert_eq!(failure.exit_code(), 69);
    assert!(failure.describe().contains("http.address"), "{}", failure.describe());
}

#[tokio::test]
async fn too_long_stop_deadline_is_refused_at_start() {
    let mut lifecycle = Lifecycle::start(listeners(10_000, &[]).await, Shutdown::new());
    lifecycle.consume("kafka", Duration::from_millis(5_001), |stop, _| async move {
        stop.cancelled().await;
        Ok::<_, std::io::Error>(())
    });
    let failure = lifecycle.run().await.expect_err("refused");
    assert_eq!(failure.exit_code(), 64);
    assert!(failure.describe().contains("kafka may take 5001 ms"), "{}", failure.describe());
    assert!(failure.describe().contains("leaves 5000 ms"), "{}", failure.describe());
}

#[test]
fn phases_add_up_to_deadline() {
    for deadline_ms in [100, 10_000, 600_000] {
        let deadline = Duration::from_millis(deadline_ms);
        let drain = Drain { deadline_ms }.budget();
        assert_eq!(drain.listeners + drain.consumers + drain.flush, deadline);
        let start = Start { deadline_ms }.budget();
        assert_eq!(start.listeners + start.resources, deadline);
    }
}

/// Failure of a document store.
#[derive(Debug, thiserror::Error)]
#[error("no server")]
struct StoreFailed(ErrorClass);

impl Classify for StoreFailed {
    fn class(&self) -> ErrorClass {
        self.0
    }
}

#[tokio::test]
async fn start_retries_transient_failure() {
    let mut lifecycle = Lifecycle::start(listeners(1_000, &[]).await, Shutdown::new());
    let has_failed = AtomicBool::new(false);
    let open = || async {
        if has_failed.swap(true, Ordering::Relaxed) {
            Ok("indexes")
        } else {
            Err(StoreFailed(ErrorClass::Transient))
        }
    };
    let opened = lifecycle.start_phase("document store", open).await.expect("no failure");
    assert_eq!(opened, Some("indexes"));
}

#[tokio::test]
async fn fatal_failure_of_start_is_exit_code_69() {
    let mut lifecycle = Lifecycle::start(listeners(1_000, &[]).await, Shutdown::new());
    let open = || async { Err::<(), _>(StoreFailed(ErrorClass::Fatal)) };
    let failure = lifecycle.start_phase("document store", open).await.expect_err("a failure");
    let described = (failure.exit_code(), failure.describe());
    assert_eq!(described, (69, "cannot use the document store: no server".to_owned()));
}

/// The second phase begins at the limit already.
#[tokio::test]
async fn start_ends_at_limit_with_last_failure() {
    let mut listeners = listeners(1_000, &[]).await;
    listeners.common.start = Start { deadline_ms: 100 };
    let mut lifecycle = Lifecycle::start(listeners, Shutdown::new());
    let refused = || async { Err::<(), _>(StoreFailed(ErrorClass::Transient)) };
    let refused = lifecycle.start_phase("document store", refused).await.expect_err("a failure");
    let silent = std::future::pending::<Result<(), StoreFailed>>;
    let silent = lifecycle.start_phase("cache", silent).await.expect_err("a failure");
    assert_eq!((refused.exit_code(), silent.exit_code()), (69, 69));
    let (refused, silent) = (refused.describe(), silent.describe());
    assert!(refused.starts_with("cannot use the document store within "), "{refused}");
    assert!(refused.ends_with(" ms (start.deadline_ms): no server"), "{refused}");
    let reason =
        "the first attempt did not end by then, so there is no other reason (is the limit too short?)";
    assert_eq!(silent, format!("cannot use the cache within 0 ms (start.deadline_ms): {reason}"));
}

/// The second attempt never ends, so the reason is that of the first.
#[tokio::test]
async fn limit_in_second_attempt_names_first_reason() {
    let mut listeners = listeners(1_000, &[]).await;
    listeners.common.start = Start { deadline_ms: 2_000 };
    let mut lifecycle = Lifecycle::start(listeners, Shutdown::new());
    let has_failed = AtomicBool::new(false);
    let open = || async {
        if has_failed.swap(true, Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Err::<(), _>(StoreFailed(ErrorClass::Transient))
    };
    let failure = lifecycle.start_phase("document store", open).await.expect_err("a failure");
    let described = failure.describe();
    assert!(described.ends_with(" ms (start.deadline_ms): no server"), "{described}");
}

#[tokio::test]
async fn shutdown_during_start_is_orderly() {
    let shutdown = Shutdown::new();
    let mut lifecycle = Lifecycle::start(listeners(1_000, &[]).await, shutdown.clone());
    shutdown.trigger();
    let silent = std::future::pending::<Result<(), StoreFailed>>;
    let opened = lifecycle.start_phase("document store", silent).await.expect("no failure");
    assert_eq!(opened, None);
    lifecycle.run().await.expect("drained");
}
