//! Moves of a record that could not be handled: to its dead-letter topic, or to a retry topic until it is due again.
//!
//! It guarantees that **a record is passed only after its move was acknowledged**. Key, value and headers are the original's,
//! byte for byte, with repeated headers. `dlq-*` headers describe the failure, without payload. When a record is moved again,
//! they name its FIRST place and its LAST failure: they are replaced, not accumulated. Of several `traceparent` or `sentry-trace`
//! headers, only the effective one is kept. Its `baggage` stays whole, with the faults of the first request (`pitboss.faults`).
//! A replay must not send that entry again. It begins a new trace, linked to the first.
//!
//! **A move is one `queue.publish` span** below the attempt that failed, however often it is published until it is acknowledged.
//! The next attempt at a record in a retry topic continues that span.
//!
//! **No record is too large for a dead letter.** It is compressed, because the original may have been. If the broker still
//! rejects it, it holds what fits and states what is missing, and an error event names the place of the whole record. A record
//! that does not fit in its retry topic becomes a dead letter, because a part of it could not be handled.

use std::fmt;

use contracts::{Group, Topic, headers};
use rdkafka::message::{Header, OwnedHeaders};
use telemetry::propagation::{self, TRACEPARENT};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::Span;

use crate::error::PublishError;
use crate::producer::{Producer, Verbatim, verbatim_span};
use crate::record::Record;

pub mod letter;
mod part;
use part::Part;

/// Number of record bytes to keep, tried in this order while a dead letter is too large.
const PART_BYTES: [usize; 5] = [1_048_576, 262_144, 65_536, 16_384, 4_096];
/// Maximum length of the error message in a dead letter.
const ERROR_MESSAGE_BYTES_MAX: usize = 512;

/// Reason of a move: the closed set of `dlq-error-class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeadLetterClass {
    /// The codec could not decode the record.
    Undecodable,
    /// The handler reported that the record can never be handled.
    Poison,
    /// The handler panicked on the record too often.
    Panic,
    /// The record may succeed later, but did not succeed so far.
    Transient,
}

impl DeadLetterClass {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::Poison => "poison",
            Self::Panic => "panic",
            Self::Transient => "transient",
        }
    }
}

/// Failure of a record that could not be handled.
pub(crate) struct Failure<'a> {
    pub(crate) class: DeadLetterClass,
    pub(crate) reason: &'a (dyn fmt::Display + Sync),
    /// Number of attempts so far, also before earlier moves.
    pub(crate) attempts: u32,
}

/// Error event for a dead letter that is not the whole record.
#[derive(Debug, thiserror::Error)]
#[error("{place} is too large for {topic}: its dead letter is cut; copy the whole record from its own topic")]
struct Cut {
    place: String,
    topic: String,
}

/// One move of a record to another topic of its group.
pub(crate) struct Move<'a> {
    group: Group,
    record: &'a Record,
    failure: &'a Failure<'a>,
    topic: String,
    /// Number of moves to a retry topic, including this one.
    laps: u32,
    /// Time from which a record in a retry topic may be handled. None for a dead letter.
    due_ms: Option<i64>,
    span: Span,
}

impl<'a> Move<'a> {
    /// Prepares the move of a record to the dead-letter topic, with its span below the current one.
    pub(crate) fn to_dead_letters(
        group: Group,
        record: &'a Record,
        message_id: &str,
        failure: &'a Failure<'a>,
    ) -> Result<Self, PublishError> {
        let topic = topic_of(&record.topic)?.dlq(group);
        let span = verbatim_span(&topic, message_id, record.value.len(), failure.class.as_str());
        Ok(Self { group, record, failure, topic, laps: record.laps(), due_ms: None, span })
    }

    /// Prepares the move of a record to the retry topic until `due_ms`, with its span below the current one.
    pub(crate) fn to_retry_topic(
        group: Group,
        record: &'a Record,
        message_id: &str,
        failure: &'a Failure<'a>,
        due_ms: i64,
    ) -> Result<Self, PublishError> {
        let topic = topic_of(&record.topic)?.retry(group);
        let span = verbatim_span(&topic, message_id, record.value.len(), failure.class.as_str());
        let laps = record.laps().saturating_add(1);
        Ok(Self { group, record, failure, topic, laps, due_ms: Some(due_ms), span })
    }

    /// Publishes the record and waits for its acknowledgement. Cuts a dead letter that is too large.
    pub(crate) async fn publish(&self, producer: &Producer) -> Result<(), PublishError> {
        let now = OffsetDateTime::now_utc();
        let (mut part, mut sizes) = (Part::whole(self.record), PART_BYTES.into_iter());
        loop {
            let (key, value, is_cut) = (part.key, part.value, part.is_cut());
            let headers = self.headers_of(part, producer.service(), now);
            let verbatim = Verbatim { topic: &self.topic, key, value, headers };
            match producer.publish_verbatim(verbatim, &self.span).await {
                Ok(_) => {
                    if is_cut {
                        self.report_cut();
                    }
                    return Ok(());
                }
                Err(error @ PublishError::Unwritable { .. }) if self.due_ms.is_none() => match sizes.next() {
                    Some(bytes_max) => part = Part::within(self.record, bytes_max),
                    None => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
    }

    fn report_cut(&self) {
        let place = self.record.place();
        telemetry::report(
            &Cut { place: place.clone(), topic: self.topic.clone() },
            &[
                ("error.kind", "dead_letter_cut"),
                ("messaging.destination.name", &self.record.topic),
                ("messaging.consumer.group.name", self.group.as_str()),
                ("kafka.record", &place),
            ],
        );
    }

    fn headers_of(&self, part: Part<'_>, service: &str, now: OffsetDateTime) -> OwnedHeaders {
        let cuts = headers::DLQ_CUTS.map(|name| (name, missing(self.record, &part, name)));
        let mut native = part.headers;
        let mut add = |name: &str, value: &str| {
            let filled = std::mem::replace(&mut native, OwnedHeaders::new_with_capacity(0));
            native = filled.insert(Header { key: name, value: Some(value) });
        };
        let view = self.record.view();
        let first = view.first_appearance().unwrap_or(view.place());
        add(headers::DLQ_TOPIC, first.topic);
        add(headers::DLQ_PARTITION, &first.partition.to_string());
        add(headers::DLQ_OFFSET, &first.offset.to_string());
        if let Some(timestamp_ms) = first.timestamp_ms {
            add(headers::DLQ_TIMESTAMP_MS, &timestamp_ms.to_string());
        }
        add(headers::DLQ_GROUP, self.group.as_str());
        add(headers::DLQ_SERVICE, service);
        add(headers::DLQ_ERROR_CLASS, self.failure.class.as_str());
        add(headers::DLQ_ERROR_MESSAGE, &bounded(&self.failure.reason.to_string()));
        add(headers::DLQ_ATTEMPTS, &self.failure.attempts.to_string());
        add(headers::DLQ_AT, &now.format(&Rfc3339).unwrap_or_default());
        if self.laps > 0 {
            add(headers::DLQ_LAPS, &self.laps.to_string());
        }
        if let Some(due_ms) = self.due_ms {
            add(headers::DLQ_DUE_MS, &due_ms.to_string());
        }
        if let Some(traceparent) = traceparent_of(&self.span) {
            add(headers::DLQ_RETRY_TRACEPARENT, &traceparent);
        }
        for (name, amount) in cuts {
            if let Some(amount) = amount {
                add(name, &amount.to_string());
            }
        }
        native
    }
}

/// Returns the topic of the catalogue that a record belongs to, also for one that was read from a retry topic.
fn topic_of(name: &str) -> Result<Topic, PublishError> {
    Topic::of_record(name).ok_or_else(|| PublishError::Unwritable {
        topic: name.to_owned(),
        reason: "the topic is not in the catalogue, so it has no topic for records that failed".to_owned(),
    })
}

/// Returns the trace context of a span, or None while telemetry is off.
fn traceparent_of(span: &Span) -> Option<String> {
    let mut carried = Vec::new();
    propagation::inject(span, &mut carried);
    let value = headers::last(&carried, TRACEPARENT)?;
    std::str::from_utf8(value).ok().map(str::to_owned)
}

/// Returns the value of a cut header. A record that was cut before keeps the value of the first cut.
fn missing(record: &Record, part: &Part<'_>, name: &str) -> Option<usize> {
    let before = record.header(name).map(|value| std::str::from_utf8(value).ok()?.parse().ok());
    before.map(Option::unwrap_or_default).or_else(|| part.cut(name))
}

/// Returns one line of bounded length, cut at a character boundary.
fn bounded(message: &str) -> String {
    let mut end = message.len().min(ERROR_MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let cut = message.get(..end).unwrap_or_default();
    cut.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::bounded;

    #[test]
    fn error_message_becomes_one_bounded_line() {
        assert_eq!(bounded("a\nb\u{0}c"), "a b c");
        let long = bounded(&"ä".repeat(1_000));
        assert_eq!(long.len(), 512);
    }
}
