//! What a hook demands for one record: a delay, a stall, the end of the process, or failing attempts.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::time::Duration;

use telemetry::spans::{self, Status};
use tracing::Span;

use super::{InPlace, Processor, RecordTask, TaskResult, abandoned};
use crate::error::ConsumerError;
use crate::handler::HandlerError;
use crate::hook::{HookAction, REJECTED_ON_PURPOSE};
use crate::record::Record;

/// Interval at which a stalled record asks its hook again.
const STALL_CHECK: Duration = Duration::from_millis(200);

/// Error of an attempt that a hook made fail.
#[derive(Debug, thiserror::Error)]
#[error("the attempt failed on purpose, so that the record waits in its retry topic")]
struct FailedOnPurpose;

/// Error of an attempt after which a hook wants a dead letter.
#[derive(Debug, thiserror::Error)]
#[error("{}", REJECTED_ON_PURPOSE)]
struct RejectedOnPurpose;

impl RecordTask {
    /// Waits as a slow handler would, visibly to the watchdog. Returns false when the record must be given back instead.
    async fn delay(&self, delay: Duration) -> bool {
        let _running = self.activity.attempt();
        self.wait(delay).await
    }

    async fn wait(&self, time: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.cancellation.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }
}

impl Processor {
    /// Applies the hook's changes before the first attempt. Returns the end of the record if it must not be handled now.
    pub(super) async fn apply(&self, task: &RecordTask, action: HookAction) -> Option<TaskResult> {
        if action.crash {
            return Some(crash(&task.record));
        }
        if action.stall && !self.stall(task).await {
            return Some(abandoned());
        }
        if let Some(delay) = action.delay
            && !task.delay(delay).await
        {
            return Some(abandoned());
        }
        None
    }

    /// Returns true if a record may leave its topic after a failure on purpose: it is in its own topic, and its group has retry
    /// topics.
    pub(super) fn can_move(&self, record: &Record) -> bool {
        matches!(self.retry.in_place, InPlace::Limited { .. }) && !record.is_retry()
    }

    /// Returns the error of an attempt that must fail, if the record can move.
    pub(super) fn failure_on_purpose(&self, task: &RecordTask, action: HookAction) -> Option<HandlerError> {
        if !self.can_move(&task.record) {
            return None;
        }
        let rejected = action.reject.then(|| HandlerError::poison(RejectedOnPurpose));
        rejected.or_else(|| action.fail.then(|| HandlerError::transient(FailedOnPurpose)))
    }

    /// Waits until the partition no longer stalls. To the watchdog the lane waits on purpose. Returns false when the record must be
    /// given back instead.
    async fn stall(&self, task: &RecordTask) -> bool {
        let _holding = task.activity.hold();
        let Some(hook) = self.hook.get() else { return true };
        while hook.stalls(&task.record.topic, task.record.partition) {
            if !task.wait(STALL_CHECK).await {
                return false;
            }
        }
        true
    }
}

/// Ends the process as a panic that nothing catches would. The panic is reported in the trace of the record.
fn crash(record: &Record) -> TaskResult {
    let place = record.place();
    catch_unwind(AssertUnwindSafe(|| panic_at(&place))).ok();
    spans::set_error(&Span::current(), Status::InternalError);
    TaskResult::Failed(ConsumerError::Crashed { place })
}

fn panic_at(place: &str) {
    panic_any(format!("the handler of {place} crashed"))
}
