//! Test support for every crate: where the real servers of this test run are, settings that wait for them long enough, names that
//! no other test uses, waiting for a condition instead of sleeping, and one printed seed.
//!
//! `./pitboss test` starts Kafka, a MongoDB server and Redis on free ports and names them in the environment; a test never
//! starts what another one shares.

pub mod conventions;
pub mod guard;
pub mod patient;

use std::future::Future;
use std::time::{Duration, Instant};

/// How often [`eventually`] looks again, in milliseconds.
const POLL_INTERVAL_MS: u64 = 20;

fn server(variable: &str) -> String {
    match std::env::var(variable) {
        Ok(value) if !value.is_empty() => value,
        _ => panic!("{variable} is not set: this test needs real servers, run it through `./pitboss test`"),
    }
}

/// Kafka's bootstrap address, `host:port`.
///
/// # Panics
/// When the test was not started by `./pitboss test`.
#[must_use]
pub fn kafka() -> String {
    server("PITBOSS_TEST_KAFKA")
}

/// The MongoDB server's connection string.
///
/// # Panics
/// When the test was not started by `./pitboss test`.
#[must_use]
pub fn mongo() -> String {
    server("PITBOSS_TEST_MONGO")
}

/// The Redis server's URL.
///
/// # Panics
/// When the test was not started by `./pitboss test`.
#[must_use]
pub fn redis() -> String {
    server("PITBOSS_TEST_REDIS")
}

/// The processor time that this thread has used.
///
/// A busy machine does not change it. The kernel counts it to the nanosecond; the numbers in `/proc` are only brought up to date
/// by its timer, some milliseconds apart.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// A name for a topic, database or group that nothing else in this or an earlier run uses.
#[must_use]
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::now_v7().simple())
}

/// The seed of this run: `PITBOSS_TEST_SEED` or a random one; printed, so that a failure can be repeated.
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

/// Looks at `condition` until it yields a value, and returns it.
///
/// # Panics
/// When `deadline` passes first; `what` names what was waited for.
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
        assert!(started.elapsed() < deadline, "waited {deadline:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(POLL_INTERVAL_MS)).await;
    }
}
