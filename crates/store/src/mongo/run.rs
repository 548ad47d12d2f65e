//! Execution of one operation: its span, its time-out, its error.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use contracts::class::Classify as _;
use telemetry::metric::{self, Metric};
use telemetry::spans::Status;
use tracing::{Instrument as _, Span};

use super::clock::Clock;
use crate::StoreError;

/// Maximum number of unreadable documents that one process reports. Others are only counted.
const REPORTED_MAX: usize = 10_000;

/// State that all operations of one client share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) namespace: String,
    pub(crate) operation_timeout_ms: u64,
    pub(crate) clock: Clock,
    /// Reported unreadable documents, by collection and id.
    pub(crate) reported: Mutex<HashSet<(&'static str, String)>>,
}

impl Context {
    /// Reports an unreadable document once per process.
    pub(crate) fn report_once(&self, error: &StoreError) {
        let StoreError::Unreadable { collection, id, .. } = error else { return };
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.len() < REPORTED_MAX && reported.insert((collection, id.clone())) {
            drop(reported);
            telemetry::report(error, &[("db.collection.name", collection), ("document.id", id)]);
        }
    }

    /// Counts a command and runs it within the operation's time-out. A time-out is `Transient`, because the outcome is unknown.
    pub(crate) async fn in_time<R>(
        &self,
        collection: &'static str,
        operation: impl Future<Output = Result<R, StoreError>>,
    ) -> Result<R, StoreError> {
        metric::count(Metric::StoreCommands, 1, &[("collection", collection)]);
        match tokio::time::timeout(Duration::from_millis(self.operation_timeout_ms), operation).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(StoreError::timed_out(collection, self.operation_timeout_ms)),
        }
    }

    /// [`Context::in_time`] for a driver call, whose error it classifies.
    pub(crate) async fn bounded<R>(
        &self,
        collection: &'static str,
        call: impl Future<Output = Result<R, mongodb::error::Error>>,
    ) -> Result<R, StoreError> {
        let classified = async { call.await.map_err(|error| StoreError::from_driver(collection, &error)) };
        self.in_time(collection, classified).await
    }

    /// [`Context::bounded`] inside a `db` span.
    pub(crate) async fn traced<R>(
        &self,
        collection: &'static str,
        operation: &'static str,
        description: &str,
        call: impl Future<Output = Result<R, mongodb::error::Error>>,
    ) -> Result<R, StoreError> {
        let span = self.span(collection, operation, description);
        in_span(&span, self.bounded(collection, call)).await
    }

    /// Returns the `db` span of an operation.
    pub(crate) fn span(&self, collection: &'static str, operation: &'static str, description: &str) -> Span {
        telemetry::spans::db("mongodb", &self.namespace, collection, operation, description)
    }
}

/// Runs an operation inside its `db` span and counts its error. A duplicate key is an expected answer, so the span's status
/// remains ok.
pub(crate) async fn in_span<R>(
    span: &Span,
    operation: impl Future<Output = Result<R, StoreError>>,
) -> Result<R, StoreError> {
    let pending = telemetry::spans::unfinished(span);
    let answer = operation.instrument(span.clone()).await;
    pending.finished();
    match &answer {
        Ok(_) | Err(StoreError::DuplicateKey { .. }) => telemetry::spans::set_ok(span),
        Err(StoreError::Transient { .. }) => telemetry::spans::set_error(span, Status::Unavailable),
        Err(StoreError::Fatal { .. } | StoreError::Unreadable { .. }) => {
            telemetry::spans::set_error(span, Status::InternalError)
        }
    }
    if let Err(error @ (StoreError::Transient { .. } | StoreError::Fatal { .. })) = &answer {
        metric::count(Metric::StoreErrors, 1, &[("class", error.class().as_str())]);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreadable(id: &str) -> StoreError {
        StoreError::Unreadable { collection: "players", id: id.to_owned(), reason: "test".to_owned() }
    }

    #[test]
    fn reported_documents_are_bounded() {
        let (clock, reported) = (Clock::default(), Mutex::default());
        let context = Context { namespace: "test".to_owned(), operation_timeout_ms: 1, clock, reported };
        let reported_count = || context.reported.lock().unwrap().len();
        for error in [unreadable("a"), unreadable("a"), StoreError::timed_out("players", 1), unreadable("b")]
        {
            context.report_once(&error);
        }
        assert_eq!(reported_count(), 2, "each unreadable document once, and nothing else");
        let others = (0..REPORTED_MAX).map(|number| ("others", number.to_string()));
        context.reported.lock().unwrap().extend(others);
        let full = reported_count();
        context.report_once(&unreadable("c"));
        assert_eq!(reported_count(), full, "the set does not grow beyond its bound");
    }
}
