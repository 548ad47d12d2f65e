//! Errors of tasks and threads.

use std::{error::Error, num::ParseIntError, string::FromUtf8Error, time::Duration};

use contracts::DebugFault;
use telemetry::spans;
use tokio::time::error::Elapsed;
use tracing::Instrument as _;

use super::answer::{Outcome, problem};
use crate::problem::Problem;

/// Deadline of the part that waits for a reply.
const REPLY_DEADLINE: Duration = Duration::from_millis(50);
/// Name of the thread that panics.
const THREAD: &str = "debug-settler";

/// Failure of one part of a request.
#[derive(Debug, thiserror::Error)]
enum PartFailed {
    #[error("the stake is no number")]
    Stake(#[source] ParseIntError),
    #[error("the name is no text")]
    Name(#[source] FromUtf8Error),
    #[error("there was no reply in time")]
    Reply(#[source] Elapsed),
}

#[derive(Debug, thiserror::Error)]
#[error("{failed} of {parts} parts of the request failed")]
struct PartsFailed {
    failed: usize,
    parts: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("the thread {THREAD} panicked")]
struct ThreadFailed;

async fn read_stake() -> Result<(), PartFailed> {
    tokio::task::yield_now().await;
    "1e2".parse::<i64>().map(drop).map_err(PartFailed::Stake)
}

async fn read_name() -> Result<(), PartFailed> {
    tokio::task::yield_now().await;
    String::from_utf8(vec![0xc3, 0x28]).map(drop).map_err(PartFailed::Name)
}

async fn await_reply() -> Result<(), PartFailed> {
    let never = std::future::pending::<()>();
    tokio::time::timeout(REPLY_DEADLINE, never).await.map_err(PartFailed::Reply)
}

/// Three tasks fail beside one another. One event has all their errors.
pub(super) async fn failing_tasks() -> Problem {
    tracing::info!("three parts of the request begin");
    let tasks = [
        telemetry::spawn(read_stake().instrument(spans::function("read_stake"))),
        telemetry::spawn(read_name().instrument(spans::function("read_name"))),
        telemetry::spawn(await_reply().instrument(spans::function("await_reply"))),
    ];
    let parts = tasks.len();
    let mut errors = Vec::new();
    for task in tasks {
        match task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => errors.push(error),
            Err(_) => return Problem::internal(),
        }
    }
    let error = PartsFailed { failed: errors.len(), parts };
    let causes: Vec<&(dyn Error + 'static)> =
        errors.iter().map(|cause| cause as &(dyn Error + 'static)).collect();
    let event_id = telemetry::report_group(&error, &causes, &[("kind", DebugFault::AsyncError.as_str())]);
    problem(DebugFault::AsyncError, &error, event_id)
}

/// A thread with a name panics. The hook of telemetry reports it in the trace of the request.
pub(super) async fn failing_thread() -> Problem {
    tracing::info!("a thread begins to settle");
    let Ok(thread) = telemetry::spawn_thread(THREAD, settle_on_thread) else { return Problem::internal() };
    let joined = telemetry::spawn_blocking(move || thread.join().is_err()).await;
    if joined.is_ok_and(|has_failed| has_failed) {
        return problem(DebugFault::ThreadError, &ThreadFailed, telemetry::last_event_id());
    }
    Problem::internal().detail("the thread did not panic")
}

#[inline(never)]
fn settle_on_thread() {
    panic!("an operator asked this thread to panic")
}

/// A task that nobody waits for panics. Its event is known only to Sentry.
pub(super) fn detached_task() -> Outcome {
    tracing::info!("a task begins that nobody waits for");
    let task = async {
        tokio::task::yield_now().await;
        settle_detached();
    };
    telemetry::spawn(task.instrument(spans::function("settle_detached")));
    let detail = "a task panics in the trace of this request, and nobody waits for it".to_owned();
    Outcome { detail, event_id: None }
}

#[inline(never)]
fn settle_detached() {
    panic!("an operator asked this task to panic")
}
