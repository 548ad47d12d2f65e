//! Moves of a record that cannot be handled now: to a retry topic, or to the dead letters.
//!
//! It guarantees that the record is passed only after its move was acknowledged. Its lane waits until then, because passing the
//! record would lose it.

use std::error::Error;

use contracts::Classify as _;
use contracts::class::ErrorClass;
use telemetry::metric::Metric;
use telemetry::spans::{self, Status};
use tracing::Span;

use super::pauses::Pauses;
use super::{
    InPlace, Passed, Processor, RecordTask, TaskResult, Undecodable, attempts_so_far, millis_since_epoch,
    record_attempts, report,
};
use crate::client_errors;
use crate::dead_letter::{DeadLetterClass, Failure, Move};
use crate::error::{ConsumerError, PublishError};
use crate::handler::Delivery;
use crate::record::Record;

/// Lap from which records that move to a retry topic are reported. Until then the cause may have ended.
const REPORTED_FROM_LAP: u32 = 3;

/// A record failed again and again, also after it had waited in the retry topic.
#[derive(Debug, thiserror::Error)]
#[error("a record of {topic} was not handled in {laps} laps through its retry topic: {source}")]
struct KeepsFailing {
    topic: String,
    laps: u32,
    source: Box<dyn Error + Send + Sync>,
}

impl Processor {
    /// Moves a record to its retry topic if its failure may end and it has laps left, otherwise to the dead letters.
    pub(super) async fn give_up(
        &self,
        task: &RecordTask,
        delivery: &Delivery,
        class: DeadLetterClass,
        source: Box<dyn Error + Send + Sync>,
    ) -> TaskResult {
        let (id, attempts) = (&delivery.event.id, attempts_so_far(&task.record, delivery.attempt));
        record_attempts(attempts);
        let failure = Failure { class, reason: &source, attempts };
        if class == DeadLetterClass::Transient
            && let Some(deferred) = self.defer(task, id.as_str(), &failure).await
        {
            return deferred;
        }
        match class {
            DeadLetterClass::Transient => {
                let (topic, laps) = (task.record.topic.clone(), task.record.laps());
                let text = source.to_string();
                let failing = KeepsFailing { topic, laps, source: text.into() };
                report(&failing, &task.record, class.as_str());
            }
            _ => report(source.as_ref(), &task.record, class.as_str()),
        }
        self.park(task, id.as_str(), &failure).await
    }

    pub(super) async fn park_undecodable(&self, task: &RecordTask, error: &Undecodable) -> TaskResult {
        let class = DeadLetterClass::Undecodable;
        report(error, &task.record, class.as_str());
        let failure = Failure { class, reason: error, attempts: attempts_so_far(&task.record, 1) };
        self.park(task, task.record.view().identity().as_str(), &failure).await
    }

    /// Moves a record to its retry topic. Returns None if it has no lap left, or does not fit there.
    async fn defer(&self, task: &RecordTask, message_id: &str, failure: &Failure<'_>) -> Option<TaskResult> {
        let InPlace::Limited { delay_ms, laps_max, .. } = self.retry.in_place else { return None };
        let record = task.record.as_ref();
        if record.laps() >= laps_max {
            return None;
        }
        if record.laps() + 1 >= REPORTED_FROM_LAP && client_errors::retry_report_is_due(&record.topic) {
            let (topic, laps) = (record.topic.clone(), record.laps());
            let failing = KeepsFailing { topic, laps, source: failure.reason.to_string().into() };
            report(&failing, record, failure.class.as_str());
        }
        let due_ms = millis_since_epoch(std::time::SystemTime::now())
            .saturating_add(i64::try_from(delay_ms).unwrap_or(i64::MAX));
        let moved = match Move::to_retry_topic(self.group, record, message_id, failure, due_ms) {
            Ok(to_retry) => self.publish_until_acknowledged(task, &to_retry).await,
            Err(error) => Err(error),
        };
        spans::set_error(&Span::current(), Status::Unavailable);
        match moved {
            Ok(true) => {
                self.count(Metric::BusRecordsDeferred, record);
                Some(TaskResult::Done(Passed::Deferred))
            }
            Ok(false) => Some(TaskResult::Abandoned),
            // A part of it could not be handled later, so it becomes a dead letter
            Err(PublishError::Unwritable { .. }) => None,
            Err(error) => Some(TaskResult::Failed(not_moved(record, error))),
        }
    }

    /// Moves a record to the dead letters.
    async fn park(&self, task: &RecordTask, message_id: &str, failure: &Failure<'_>) -> TaskResult {
        if failure.class != DeadLetterClass::Transient {
            self.count(Metric::BusRecordsPoison, &task.record);
        }
        let moved = match Move::to_dead_letters(self.group, &task.record, message_id, failure) {
            Ok(to_dead_letters) => {
                // The report already marked this span as failed. This sets the precise status.
                spans::set_error(&Span::current(), status_of(failure.class));
                self.publish_until_acknowledged(task, &to_dead_letters).await
            }
            Err(error) => Err(error),
        };
        match moved {
            Ok(true) => {
                self.count(Metric::BusRecordsDeadLettered, &task.record);
                TaskResult::Done(Passed::DeadLettered)
            }
            Ok(false) => TaskResult::Abandoned,
            Err(error) => TaskResult::Failed(not_moved(&task.record, error)),
        }
    }

    /// Publishes a move until it is acknowledged. Returns false when the record must be given back instead.
    async fn publish_until_acknowledged(
        &self,
        task: &RecordTask,
        moving: &Move<'_>,
    ) -> Result<bool, PublishError> {
        let mut pauses = Pauses::new(&self.retry, &task.activity);
        loop {
            let error = match moving.publish(&self.producer).await {
                Ok(()) => return Ok(true),
                Err(error) => error,
            };
            if error.class() != ErrorClass::Transient {
                return Err(error);
            }
            tracing::warn!(
                messaging.destination.name = task.record.topic,
                messaging.destination.partition.id = task.record.partition,
                messaging.kafka.offset = task.record.offset,
                "a dead letter or retry was not acknowledged and is published again: {error}"
            );
            if pauses.alert_is_due() {
                report(&error, &task.record, "dead_letter");
            }
            if !pauses.pause(&task.cancellation).await {
                return Ok(false);
            }
        }
    }
}

/// Status of the last attempt at a record that becomes a dead letter.
fn status_of(class: DeadLetterClass) -> Status {
    match class {
        DeadLetterClass::Transient => Status::Unavailable,
        DeadLetterClass::Undecodable | DeadLetterClass::Poison | DeadLetterClass::Panic => {
            Status::InvalidArgument
        }
    }
}

fn not_moved(record: &Record, source: PublishError) -> ConsumerError {
    ConsumerError::DeadLetter {
        topic: record.topic.clone(),
        partition: record.partition,
        offset: record.offset,
        source: Box::new(source),
    }
}
