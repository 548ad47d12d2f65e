//! Dead letters: the record as it came, and why it could not be handled.
//!
//! Promises: **a record is passed only after its dead letter was acknowledged.** Key, value and headers are the
//! original's, byte for byte; what we know about the failure stands in `dlq-*` headers, never payload. A record that is
//! parked again says where it appeared FIRST and why it was parked LAST: these headers are replaced, not piled up, and so
//! are trace headers of which somebody appended a second one.

use std::fmt;

use contracts::{Group, Topic, headers};
use rdkafka::message::{Header, OwnedHeaders};
use telemetry::propagation::{self, BAGGAGE, TRACEPARENT, TRACESTATE};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::PublishError;
use crate::producer::Producer;
use crate::record::{Came, Record};

/// The longest error message that a dead letter carries.
const ERROR_MESSAGE_BYTES_MAX: usize = 512;

/// Why a record was dead-lettered: the closed set of `dlq-error-class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeadLetterClass {
    /// The codec could not read it.
    Undecodable,
    /// The handler said that it can never be handled.
    Poison,
    /// The handler panicked on it, every time.
    Panic,
}

impl DeadLetterClass {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::Poison => "poison",
            Self::Panic => "panic",
        }
    }
}

/// What is said about a record that could not be handled.
pub(crate) struct Verdict<'a> {
    pub(crate) class: DeadLetterClass,
    pub(crate) reason: &'a (dyn fmt::Display + Sync),
    pub(crate) attempts: u32,
}

/// Writes a dead letter and waits for its acknowledgement.
pub(crate) async fn keep(
    producer: &Producer,
    group: Group,
    record: &Record,
    message_id: &str,
    verdict: &Verdict<'_>,
) -> Result<(), PublishError> {
    let topic = topic_name(&record.topic, group)?;
    let native = headers_of(record, group, producer.service(), verdict, OffsetDateTime::now_utc());
    let value = (!record.is_tombstone).then_some(&record.value);
    let told = (message_id, verdict.class.as_str());
    producer.publish_verbatim(&topic, record.key.as_ref(), value, native, told).await?;
    Ok(())
}

fn topic_name(original: &str, group: Group) -> Result<String, PublishError> {
    let topic = Topic::of_record(original).ok_or_else(|| PublishError::Unwritable {
        topic: original.to_owned(),
        reason: "it is not a topic of the catalogue, so it has no dead-letter topic".to_owned(),
    })?;
    Ok(topic.dlq(group))
}

fn headers_of(
    record: &Record,
    group: Group,
    service: &str,
    verdict: &Verdict<'_>,
    now: OffsetDateTime,
) -> OwnedHeaders {
    let mut native = originals(record);
    let mut add = |name: &str, value: &str| {
        let filled = std::mem::replace(&mut native, OwnedHeaders::new_with_capacity(0));
        native = filled.insert(Header { key: name, value: Some(value) });
    };
    let view = record.view();
    let first = view.first_appearance().unwrap_or(view.place());
    add(headers::DLQ_TOPIC, first.topic);
    add(headers::DLQ_PARTITION, &first.partition.to_string());
    add(headers::DLQ_OFFSET, &first.offset.to_string());
    if let Some(timestamp_ms) = first.timestamp_ms {
        add(headers::DLQ_TIMESTAMP_MS, &timestamp_ms.to_string());
    }
    add(headers::DLQ_GROUP, group.as_str());
    add(headers::DLQ_SERVICE, service);
    add(headers::DLQ_ERROR_CLASS, verdict.class.as_str());
    add(headers::DLQ_ERROR_MESSAGE, &bounded(&verdict.reason.to_string()));
    add(headers::DLQ_ATTEMPTS, &verdict.attempts.to_string());
    add(headers::DLQ_AT, &now.format(&Rfc3339).unwrap_or_default());
    native
}

/// The record's own headers, without what an earlier dead letter added, each trace header once.
fn originals(record: &Record) -> OwnedHeaders {
    let Some(came) = record.headers_as_they_came() else {
        return record.headers_verbatim(); // a name that is not UTF-8: nothing can be taken out
    };
    let mut native = OwnedHeaders::new_with_capacity(came.len());
    for (index, (name, value)) in came.iter().enumerate() {
        if name.starts_with(headers::DLQ_PREFIX) {
            continue;
        }
        let is_repeated = |(other, value): &&Came<'_>| other == name && value.is_some();
        let same: Vec<&[u8]> = came.iter().filter(is_repeated).filter_map(|(_, value)| *value).collect();
        if same.len() < 2 || !propagation::is_trace_header(name) {
            native = native.insert(Header { key: name, value: *value });
        } else if came.iter().position(|(other, _)| other == name) == Some(index) {
            native = native.insert(Header { key: name, value: Some(&merged(name, &same)) });
        }
    }
    native
}

/// Several trace headers of one name as the one that readers take them for: lists are joined, of the others the last
/// valid one counts.
fn merged(name: &str, values: &[&[u8]]) -> Vec<u8> {
    if matches!(name, BAGGAGE | TRACESTATE) {
        return values.join(&b","[..]);
    }
    let is_valid = |value: &&&[u8]| {
        let read = propagation::headers_of(&propagation::extract([(name, **value)]));
        read.iter().any(|(name, _)| *name == TRACEPARENT)
    };
    values.iter().rev().find(is_valid).or(values.last()).map(|value| value.to_vec()).unwrap_or_default()
}

/// One line of bounded length, cut between characters.
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
    fn a_long_or_hostile_message_becomes_one_bounded_line() {
        assert_eq!(bounded("a\nb\u{0}c"), "a b c");
        let long = bounded(&"ä".repeat(1_000));
        assert_eq!(long.len(), 512);
    }
}
