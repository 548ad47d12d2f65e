//! One operation: its span, its time limit, its error.

use std::future::Future;
use std::time::Duration;

use contracts::class::Classify as _;
use telemetry::metric::{self, Metric};
use telemetry::spans::Status;
use tracing::Instrument as _;

use crate::StoreError;

/// What every operation of one client shares.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) namespace: String,
    pub(crate) operation_timeout_ms: u64,
}

impl Context {
    /// Runs a driver call within the operation time-out. A time-out is `Transient`: the outcome is unknown.
    pub(crate) async fn bounded<R>(
        &self,
        collection: &'static str,
        call: impl Future<Output = Result<R, mongodb::error::Error>>,
    ) -> Result<R, StoreError> {
        match tokio::time::timeout(Duration::from_millis(self.operation_timeout_ms), call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(StoreError::from_driver(collection, &error)),
            Err(_elapsed) => Err(StoreError::timed_out(collection, self.operation_timeout_ms)),
        }
    }

    /// [`Context::bounded`] inside a `db` span. A duplicate key is an answer, so it leaves the span's status ok.
    pub(crate) async fn traced<R>(
        &self,
        collection: &'static str,
        operation: &'static str,
        description: &str,
        call: impl Future<Output = Result<R, mongodb::error::Error>>,
    ) -> Result<R, StoreError> {
        let span = telemetry::spans::db("mongodb", &self.namespace, collection, operation, description);
        let answer = self.bounded(collection, call).instrument(span.clone()).await;
        match &answer {
            Ok(_) | Err(StoreError::DuplicateKey { .. }) => telemetry::spans::set_ok(&span),
            Err(StoreError::Transient { .. }) => telemetry::spans::set_error(&span, Status::Unavailable),
            Err(StoreError::Fatal { .. }) => telemetry::spans::set_error(&span, Status::InternalError),
        }
        if let Err(error @ (StoreError::Transient { .. } | StoreError::Fatal { .. })) = &answer {
            metric::count(Metric::StoreErrors, 1, &[("class", error.class().as_str())]);
        }
        answer
    }
}
