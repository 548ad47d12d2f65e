//! Spawning of tasks inside the trace. A bare `tokio::spawn` loses the span and shares the caller's error scope.

use std::future::Future;
use std::{io, thread};

use sentry::{Hub, SentryFutureExt as _};
use tokio::task::JoinHandle;
use tracing::Instrument as _;

/// Runs `future` with a separate error scope (tags, user, breadcrumbs), copied from the current one.
pub fn with_hub<F: Future>(future: F) -> impl Future<Output = F::Output> {
    future.bind_hub(Hub::new_from_top(Hub::current()))
}

/// `tokio::spawn` that keeps the current span and gives the task a separate error scope.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "this is the one place that adds hub and span to it")]
    tokio::spawn(with_hub(future.in_current_span()))
}

/// A thread with a name that keeps the current span and the error scope of its caller. The caller waits for it, so that the two do
/// not change the scope at the same time.
pub fn spawn_thread<F, T>(name: &str, work: F) -> io::Result<thread::JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (span, hub) = (tracing::Span::current(), Hub::current());
    thread::Builder::new().name(name.to_owned()).spawn(move || Hub::run(hub, || span.in_scope(work)))
}

/// `tokio::task::spawn_blocking` that keeps the current span and copies the error scope.
#[track_caller]
pub fn spawn_blocking<F, T>(work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let span = tracing::Span::current();
    let hub = std::sync::Arc::new(Hub::new_from_top(Hub::current()));
    tokio::task::spawn_blocking(move || Hub::run(hub, || span.in_scope(work)))
}
