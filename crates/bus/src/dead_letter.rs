//! Dead letters: the record as it came, and why it could not be handled.
//!
//! Promise: **a record is passed only after its dead letter was acknowledged.** Key, value and headers are the
//! original's, byte for byte; what we know about the failure is added in `dlq-*` headers, never payload.

use std::fmt;

use contracts::{Group, Topic, headers};
use rdkafka::message::{Header, OwnedHeaders};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::PublishError;
use crate::producer::Producer;
use crate::record::Record;

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
    producer.publish_verbatim(&topic, record.key.as_ref(), value, native, message_id).await?;
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
    let mut native = record.headers_verbatim();
    let mut add = |name: &str, value: &str| {
        let filled = std::mem::replace(&mut native, OwnedHeaders::new_with_capacity(0));
        native = filled.insert(Header { key: name, value: Some(value) });
    };
    // Identity comes from where a record FIRST appeared: a record that was dead-lettered before carries that along.
    if record.header(headers::DLQ_TOPIC).is_none() {
        add(headers::DLQ_TOPIC, &record.topic);
        add(headers::DLQ_PARTITION, &record.partition.to_string());
        add(headers::DLQ_OFFSET, &record.offset.to_string());
        if let Some(timestamp_ms) = record.timestamp_ms {
            add(headers::DLQ_TIMESTAMP_MS, &timestamp_ms.to_string());
        }
    }
    add(headers::DLQ_GROUP, group.as_str());
    add(headers::DLQ_SERVICE, service);
    add(headers::DLQ_ERROR_CLASS, verdict.class.as_str());
    add(headers::DLQ_ERROR_MESSAGE, &bounded(&verdict.reason.to_string()));
    add(headers::DLQ_ATTEMPTS, &verdict.attempts.to_string());
    add(headers::DLQ_AT, &now.format(&Rfc3339).unwrap_or_default());
    native
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
