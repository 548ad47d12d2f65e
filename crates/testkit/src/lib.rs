//! Test support for every crate: addresses of the real servers, settings with generous time-outs, a service in the process of the
//! test, unique names, waiting for a condition instead of sleeping, and one printed seed.
//!
//! `./pitboss test` starts Kafka, a MongoDB server and Redis on free ports and passes their addresses in the environment. A test
//! never starts a server that other tests share.

pub mod conventions;
pub mod debug;
pub mod faults;
pub mod guard;
pub mod http;
pub mod long_timeouts;
pub mod metrics;
pub mod receiver;
pub mod reports;
pub mod scenario;
pub mod service;
pub mod tail;

use std::future::Future;
use std::time::{Duration, Instant};

/// Polling interval of [`eventually`], in milliseconds.
const POLL_INTERVAL_MS: u64 = 20;
/// Longest wait until a service or a consumer is ready, generous for a busy machine.
const READY_MAX: Duration = Duration::from_secs(60);

fn server(variable: &str) -> String {
    match std::env::var(variable) {
        Ok(value) if !value.is_empty() => value,
        _ => panic!("{variable} is not set: this test needs real servers, run it through `./pitboss test`"),
    }
}

/// Returns Kafka's bootstrap address, `host:port`.
///
/// # Panics
/// When the test was not started by `./pitboss test`.
#[must_use]
pub fn kafka() -> String {
    server("PITBOSS_TEST_KAFKA")
}

/// Returns the address at which clients of the proxy `wire` expect it, because the broker advertises it. One test may use it.
///
/// # Panics
/// When the test was not started by `./pitboss test`.
#[must_use]
pub fn wire() -> String {
    server("PITBOSS_TEST_WIRE")
}

/// Returns the address of the broker's listener for the proxy `wire`.
///
/// # Panics
/// When the test was not started by `./pitboss test`.
#[must_use]
pub fn wire_upstream() -> String {
    server("PITBOSS_TEST_WIRE_UPSTREAM")
}

/// Returns the MongoDB server's connection string.
///
/// # Panics
/// When the test was not started by `./pitboss test`.
#[must_use]
pub fn mongo() -> String {
    server("PITBOSS_TEST_MONGO")
}

/// Returns the Redis server's URL.
///
/// # Panics
/// When the test was not started by `./pitboss test`.
#[must_use]
pub fn redis() -> String {
    server("PITBOSS_TEST_REDIS")
}

/// Returns the processor time that this thread has used.
///
/// It does not depend on the load of the machine. The kernel counts it in nanoseconds, whereas its timer updates the numbers in
/// `/proc` only every few milliseconds.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Returns a name for a topic, database or group that is unique, also across runs.
#[must_use]
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::now_v7().simple())
}

/// Returns the seed of this run: `PITBOSS_TEST_SEED` or a random one. It is printed, so that a failure can be reproduced.
///
/// # Panics
/// When the variable is set and is not a number.
#[must_use]
#[expect(clippy::print_stderr, reason = "the seed has to stand in the output of the failed test")]
pub fn seed() -> u64 {
    let seed = match std::env::var("PITBOSS_TEST_SEED") {
        Ok(text) => text.parse().expect("PITBOSS_TEST_SEED is an unsigned integer"),
        Err(_) => rand::random(),
    };
    eprintln!("seed: PITBOSS_TEST_SEED={seed}");
    seed
}

/// Polls `condition` until it yields a value, and returns the value.
///
/// # Panics
/// When `deadline` passes first. `what` names the condition in the message.
pub async fn eventually<T, F, Fut>(what: &str, deadline: Duration, mut condition: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(started.elapsed() < deadline, "timed out after {deadline:?} waiting for {what}");
        tokio::time::sleep(Duration::from_millis(POLL_INTERVAL_MS)).await;
    }
}
