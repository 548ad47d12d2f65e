//! Work that does not progress: a blocked worker of the async runtime, and two tasks that wait for each other.

use std::time::{Duration, Instant};

use contracts::DebugFault;
use telemetry::spans;
use tokio::{
    sync::{Barrier, Mutex},
    time::{error::Elapsed, timeout},
};
use tracing::Instrument as _;

use super::answer::{Outcome, problem};
use crate::problem::Problem;

/// Longest time for which the worker is blocked. The watchdog of telemetry needs up to three seconds.
const BLOCKED_MAX: Duration = Duration::from_secs(6);
/// Pause between two looks whether the watchdog has reported it.
const PAUSE: Duration = Duration::from_millis(100);
/// Time for which two tasks wait for each other.
const DEADLOCKED: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
#[error("two tasks held one lock each and waited {limit_ms} ms for that of the other")]
struct Deadlocked {
    limit_ms: u128,
    #[source]
    source: Elapsed,
}

/// Blocks the worker that runs this request, as a synchronous call in a handler does, until the watchdog has reported it.
pub(super) fn block_worker() -> Outcome {
    tracing::info!("a handler calls something that blocks its worker");
    let began_at = Instant::now();
    spans::function("block_worker").in_scope(|| {
        while telemetry::last_event_id().is_none() && began_at.elapsed() < BLOCKED_MAX {
            std::thread::sleep(PAUSE);
        }
    });
    let detail =
        format!("a worker of the async runtime was blocked for {} ms", began_at.elapsed().as_millis());
    Outcome { detail, event_id: telemetry::last_event_id() }
}

/// Lets two tasks take two locks in opposite order. The limit ends them, which no lock would do.
pub(super) async fn deadlock() -> Problem {
    tracing::info!("two tasks take two locks in opposite order");
    let (account, ledger, both_hold_one) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
    let waiting = async {
        tokio::join!(
            lock_both("account, then ledger", &account, &ledger, &both_hold_one),
            lock_both("ledger, then account", &ledger, &account, &both_hold_one),
        )
    };
    match timeout(DEADLOCKED, waiting).await {
        Err(source) => {
            let error = Deadlocked { limit_ms: DEADLOCKED.as_millis(), source };
            let event_id = telemetry::report(&error, &[("kind", DebugFault::Deadlock.as_str())]);
            problem(DebugFault::Deadlock, &error, event_id)
        }
        Ok(((), ())) => Problem::internal().detail("the tasks did not wait for each other"),
    }
}

async fn lock_both(name: &str, first: &Mutex<()>, second: &Mutex<()>, both_hold_one: &Barrier) {
    let span = spans::function(name);
    let waiting = spans::unfinished(&span);
    let locking = async {
        let _first = first.lock().await;
        both_hold_one.wait().await;
        let _second = second.lock().await;
        waiting.finished();
    };
    locking.instrument(span).await;
}
