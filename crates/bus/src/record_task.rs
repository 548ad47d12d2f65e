//! Processing of one record: decoding, one transaction, attempts, and a dead letter where needed.
//!
//! It guarantees **one `queue.process` transaction per handled record and lap**, as a child of the record's `queue.publish`. A
//! transient failure is retried in place. Then the record stays in its lane, and is never skipped, or moves to the retry topic of a
//! group that has one. A poison record is reported in its own trace, dead-lettered, and then passed.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use contracts::class::ErrorClass;
use contracts::{Event, Group, TraceExtension, headers};
use futures::FutureExt as _;
use telemetry::attributes as names;
use telemetry::metric::{self, Metric};
use telemetry::propagation::{SENTRY_TRACE, TRACEPARENT};
use telemetry::spans::{self, ProcessAttrs, Status};
use telemetry::watchdog::Observed;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use crate::config::Config;
use crate::dead_letter::{DeadLetterClass, letter};
use crate::error::ConsumerError;
use crate::handler::{Delivery, HandleAny, HandlerError, Outcome, Router};
use crate::hook::{HookAction, RecordHook};
use crate::lane_activity::{LaneActivity, RecordWork};
use crate::latency;
use crate::producer::Producer;
use crate::record::Record;
use crate::retry::Backoff;

mod hooked;
mod moving;
mod pauses;
use pauses::Pauses;

/// Number of panics on one record after which it is poison.
const PANICS_MAX: u32 = 3;

/// Shared state for processing the records of one consumer.
pub(crate) struct Processor {
    pub(crate) group: Group,
    pub(crate) router: Router,
    pub(crate) producer: Producer,
    pub(crate) retry: RetryPolicy,
    pub(crate) hook: OnceLock<Arc<dyn RecordHook>>,
}

/// Policy for transient failures.
#[derive(Clone, Debug)]
pub(crate) struct RetryPolicy {
    backoff: Backoff,
    alert_after: Duration,
    in_place: InPlace,
}

/// What follows the attempts in the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InPlace {
    /// More attempts. The lane waits, because money depends on the order of the records.
    Forever,
    /// The record moves to a retry topic, at most `laps_max` times, and then to the dead letters.
    Limited { attempts_max: u32, delay_ms: u64, laps_max: u32 },
    /// The record is passed after its first report. Only outside groups: no client waits for an old answer there, so holding its
    /// lane would delay the new ones.
    UntilReported,
}

impl RetryPolicy {
    /// Policy of a group's consumer.
    pub(crate) fn of_group(config: &Config, group: Group) -> Self {
        let in_place = if group.uses_retry_topics() {
            InPlace::Limited {
                attempts_max: config.retry_in_place_max,
                delay_ms: config.retry_topic_delay_ms,
                laps_max: config.retry_topic_laps_max,
            }
        } else {
            InPlace::Forever
        };
        Self::new(config, in_place)
    }

    /// Policy of a reader outside groups.
    pub(crate) fn of_tail(config: &Config) -> Self {
        Self::new(config, InPlace::UntilReported)
    }

    fn new(config: &Config, in_place: InPlace) -> Self {
        Self {
            backoff: Backoff::new(config.retry_backoff_min_ms, config.retry_backoff_max_ms),
            alert_after: Duration::from_millis(config.retry_alert_after_ms),
            in_place,
        }
    }
}

/// One record to process.
pub(crate) struct RecordTask {
    pub(crate) record: Arc<Record>,
    pub(crate) received_at: std::time::SystemTime,
    /// Cancelled when the partition is revoked or the process stops. A record that waits for its next attempt is then given back.
    /// A running attempt continues to its end.
    pub(crate) cancellation: CancellationToken,
    pub(crate) activity: Arc<LaneActivity>,
}

/// Result of processing a record.
#[derive(Debug)]
pub(crate) enum TaskResult {
    /// The record needs no redelivery.
    Done(Passed),
    /// The record was given back unfinished.
    Abandoned,
    /// The consumer must stop. The record is not finished.
    Failed(ConsumerError),
}

/// Reason why a record needs no redelivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// Its handler had an outcome.
    Handled,
    /// It has no handler, or was passed after a report.
    Skipped,
    /// It moved to a retry topic.
    Deferred,
    /// It moved to the dead letters.
    DeadLettered,
}

/// Reason why an attempt had no outcome.
enum AttemptError {
    Handler(HandlerError),
    Panic,
}

impl Processor {
    pub(crate) fn new(group: Group, router: Router, producer: Producer, retry: RetryPolicy) -> Self {
        Self { group, router, producer, retry, hook: OnceLock::new() }
    }

    /// Processes one record to its end, and once more if the hook requests a redelivery.
    pub(crate) async fn run(&self, task: &RecordTask) -> TaskResult {
        let (result, repeat) = self.deliver(task, self.hook.get()).await;
        if repeat { self.deliver(task, None).await.0 } else { result }
    }

    /// Delivers a record to its handler, in one transaction. Returns true if the record was handled and must be redelivered.
    async fn deliver(&self, task: &RecordTask, hook: Option<&Arc<dyn RecordHook>>) -> (TaskResult, bool) {
        let record = &task.record;
        let decoded = decode(record);
        let handler = match &decoded {
            Ok((event, _)) => match self.router.find(event.message.event_type()) {
                Some(handler) => Some(handler),
                None => {
                    self.count(Metric::BusRecordsSkipped, record);
                    return (TaskResult::Done(Passed::Skipped), false);
                }
            },
            Err(_) => None,
        };
        let span = self.transaction(task, decoded.as_ref().ok());
        let event_type = decoded.as_ref().ok().map(|(event, _)| event.message.event_type().as_str());
        let observed = self.observed(task, event_type, &span);
        let work = async {
            match (decoded, handler) {
                (Ok((event, _)), Some(handler)) => {
                    let ask = |hook: &Arc<dyn RecordHook>| hook.before(record, self.can_move(record));
                    let action = hook.map_or_else(HookAction::default, ask);
                    self.handle(task, event, handler.as_ref(), action).await
                }
                (Err(error), _) => (self.park_undecodable(task, &error).await, false),
                (Ok(_), None) => (TaskResult::Done(Passed::Skipped), false),
            }
        };
        let unfinished = spans::unfinished(&span);
        let _shown = task.activity.show(observed.clone());
        let work = observed.run(work).instrument(span.clone());
        let result = telemetry::crash::shown(&span, work).await;
        unfinished.finished();
        // Tasks that the handler left running may hold the span, although the record is processed.
        spans::end(&span);
        result
    }

    /// The record as the watchdogs report it: with its place and its step, in its trace.
    fn observed(&self, task: &RecordTask, event_type: Option<&'static str>, span: &Span) -> Observed {
        let (record, activity) = (Arc::clone(&task.record), Arc::downgrade(&task.activity));
        Observed::new(RecordWork { group: self.group, record, event_type, activity }, span)
    }

    /// Creates the `queue.process` span, as a child of the span in the record's headers. In a retry topic that is the move there.
    fn transaction(&self, task: &RecordTask, read: Option<&(Event, TraceExtension)>) -> Span {
        let record = &task.record;
        let moved = record.retry_traceparent();
        let is_replaced = |name: &str| moved.is_some() && matches!(name, TRACEPARENT | SENTRY_TRACE);
        let carried = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_ref()));
        let carried =
            carried.filter(|(name, _)| !is_replaced(name)).chain(moved.map(|value| (TRACEPARENT, value)));
        let parent = match read {
            Some((_, extension)) => {
                telemetry::propagation::extract_with_extension(carried, extension.pairs())
            }
            None => telemetry::propagation::extract(carried),
        };
        let message_id = read.map_or_else(|| record.view().identity(), |(event, _)| event.id.clone());
        let latency = latency::of(record, millis_since_epoch(task.received_at));
        if latency.is_skewed {
            metric::count(Metric::BusRecordsSkewed, 1, &[("topic", &record.topic)]);
        }
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of at most 90 days")]
        let receive_latency_ms = latency.ms.map(|ms| ms as f64);
        spans::queue_process(
            &ProcessAttrs {
                message_id: message_id.as_str(),
                destination: &record.topic,
                event_type: read.map(|(event, _)| event.message.event_type().as_str()),
                body_size_bytes: record.value.len(),
                receive_latency_ms,
                // `record_attempts` sets the final number.
                retry_count: 0,
                consumer_group: self.group.as_str(),
                partition: record.partition,
                offset: record.offset,
            },
            &parent,
        )
    }

    async fn handle(
        &self,
        task: &RecordTask,
        event: Event,
        handler: &dyn HandleAny,
        action: HookAction,
    ) -> (TaskResult, bool) {
        telemetry::set_user(event.message.player_id());
        let began = Instant::now();
        if let Some(ended) = self.apply(task, action).await {
            return (ended, false);
        }
        let mut delivery = Delivery { event, record: Arc::clone(&task.record), attempt: 1 };
        let mut pauses = Pauses::new(&self.retry, &task.activity);
        let mut panics = 0;
        loop {
            let attempted = match self.failure_on_purpose(task, action) {
                Some(error) => Err(AttemptError::Handler(error)),
                None => attempt(handler, &delivery, &task.activity).await,
            };
            let error = match attempted {
                Ok(outcome) => {
                    return (self.complete(&delivery, outcome, began.elapsed()), action.repeat);
                }
                Err(error) => error,
            };
            panics += u32::from(matches!(error, AttemptError::Panic));
            match self.next(&delivery, error, panics, &mut pauses) {
                Next::End(result) => return (result, false),
                Next::Move(class, source) => {
                    return (self.give_up(task, &delivery, class, source).await, false);
                }
                Next::Retry => {}
            }
            if !pauses.pause(&task.cancellation).await {
                return (abandoned(), false);
            }
            delivery.attempt = delivery.attempt.saturating_add(1);
        }
    }

    fn complete(&self, delivery: &Delivery, outcome: Outcome, took: Duration) -> TaskResult {
        let span = Span::current();
        record_attempts(attempts_so_far(&delivery.record, delivery.attempt));
        spans::set_attr(&span, "pitboss.outcome", outcome.as_str());
        spans::set_ok(&span);
        let event_type = delivery.event.message.event_type().as_str();
        let labels = [
            ("topic", delivery.record.topic.as_str()),
            ("group", self.group.as_str()),
            ("event_type", event_type),
            ("outcome", outcome.as_str()),
        ];
        let [topic, group, event_type, _] = labels;
        match outcome {
            Outcome::Duplicate => {
                metric::count(Metric::BusRecordsDuplicate, 1, &[topic, group, event_type]);
            }
            Outcome::Applied | Outcome::Rejected => metric::count(Metric::BusRecordsCompleted, 1, &labels),
        }
        metric::distribution(
            Metric::BusRecordDuration,
            took.as_secs_f64() * 1_000.0,
            &[topic, group, event_type],
        );
        TaskResult::Done(Passed::Handled)
    }

    fn count(&self, metric: Metric, record: &Record) {
        metric::count(metric, 1, &[("topic", &record.topic), ("group", self.group.as_str())]);
    }

    /// Returns what follows a failed attempt. `panics` counts the attempts so far that panicked.
    fn next(&self, delivery: &Delivery, error: AttemptError, panics: u32, pauses: &mut Pauses<'_>) -> Next {
        let error = match error {
            AttemptError::Panic if panics >= PANICS_MAX => {
                let source = format!("the handler panicked {PANICS_MAX} times");
                return Next::Move(DeadLetterClass::Panic, source.into());
            }
            AttemptError::Panic => return Next::Retry,
            AttemptError::Handler(error) => error,
        };
        match error.class() {
            ErrorClass::Poison => Next::Move(DeadLetterClass::Poison, error.into_source()),
            ErrorClass::Fatal => {
                let source = error.into_source();
                report(source.as_ref(), &delivery.record, "fatal");
                Next::End(TaskResult::Failed(ConsumerError::Handler {
                    topic: delivery.record.topic.clone(),
                    partition: delivery.record.partition,
                    offset: delivery.record.offset,
                    source,
                }))
            }
            ErrorClass::Transient => self.transient(delivery, error, pauses),
        }
    }

    /// Retries in place as long as the policy of the group permits, and reports a failure that lasts.
    fn transient(&self, delivery: &Delivery, error: HandlerError, pauses: &mut Pauses<'_>) -> Next {
        tracing::debug!(
            event.id = %delivery.event.id,
            retry.count = attempts_so_far(&delivery.record, delivery.attempt).saturating_sub(1),
            "an attempt failed and is retried: {error}"
        );
        self.count(Metric::BusRecordsRetried, &delivery.record);
        if let InPlace::Limited { attempts_max, .. } = self.retry.in_place {
            return match delivery.attempt < attempts_max {
                true => Next::Retry,
                false => Next::Move(DeadLetterClass::Transient, error.into_source()),
            };
        }
        if !pauses.alert_is_due() {
            return Next::Retry;
        }
        report(error.source(), &delivery.record, "transient");
        if self.retry.in_place == InPlace::Forever {
            return Next::Retry;
        }
        spans::set_error(&Span::current(), Status::Unavailable);
        Next::End(TaskResult::Done(Passed::Skipped))
    }
}

/// Next step after a failed attempt.
enum Next {
    Retry,
    /// The record moves to a retry topic or to the dead letters.
    Move(DeadLetterClass, Box<dyn std::error::Error + Send + Sync>),
    End(TaskResult),
}

/// Reason why a record cannot be decoded.
#[derive(Debug, thiserror::Error)]
enum Undecodable {
    #[error("a header name is not UTF-8")]
    Headers,
    /// With the producer that the record names, if it names one, because that is where the cause is.
    #[error("{problem}{origin}")]
    Codec { problem: contracts::DecodeError, origin: String },
}

fn decode(record: &Record) -> Result<(Event, TraceExtension), Undecodable> {
    if record.headers_unreadable {
        return Err(Undecodable::Headers);
    }
    Event::decode_traced(&record.view()).map_err(|problem| {
        let producer = letter::text(record, headers::CE_SOURCE);
        let origin = if producer.is_empty() { producer } else { format!(", in a record of {producer}") };
        Undecodable::Codec { problem, origin }
    })
}

/// Calls the handler once. A panic is a bug in the handler. It costs the record one attempt and does not end the process.
async fn attempt(
    handler: &dyn HandleAny,
    delivery: &Delivery,
    activity: &LaneActivity,
) -> Result<Outcome, AttemptError> {
    let _running = activity.attempt();
    match AssertUnwindSafe(handler.handle(delivery)).catch_unwind().await {
        Ok(result) => result.map_err(AttemptError::Handler),
        Err(_) => Err(AttemptError::Panic),
    }
}

/// Marks the span of a record that is given back unfinished.
fn abandoned() -> TaskResult {
    spans::set_error(&Span::current(), Status::Cancelled);
    TaskResult::Abandoned
}

fn record_attempts(attempts: u32) {
    let retries = i64::from(attempts.saturating_sub(1));
    spans::set_attr(&Span::current(), names::MESSAGING_MESSAGE_RETRY_COUNT, retries);
}

/// Number of attempts at a record, with those before it moved to the retry topic that it was read from.
fn attempts_so_far(record: &Record, attempt: u32) -> u32 {
    record.earlier_attempts().saturating_add(attempt)
}

fn millis_since_epoch(time: std::time::SystemTime) -> i64 {
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn report(error: &(dyn std::error::Error + 'static), record: &Record, class: &'static str) {
    let position = record.place();
    telemetry::report(
        error,
        &[("error.class", class), ("messaging.destination.name", &record.topic), ("kafka.record", &position)],
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;

    #[test]
    fn undecodable_record_names_its_producer() {
        let reason = |source: &[u8]| {
            let mut record = record();
            record.value = vec![0xff_u8; 8].into();
            record.headers = [(headers::CE_TYPE, b"no.such.type".as_slice()), (headers::CE_SOURCE, source)]
                .map(|(name, value)| (name.to_owned(), value.to_vec().into()))
                .to_vec();
            decode(&record).unwrap_err().to_string()
        };
        assert_eq!(reason(b"/import\n"), "unknown event type `no.such.type`, in a record of /import ");
        assert_eq!(reason(b""), "unknown event type `no.such.type`");
    }
}
