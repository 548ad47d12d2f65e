//! Dead letters: the record as it came, and why it could not be handled.
//!
//! Promises: **a record is passed only after its dead letter was acknowledged.** Key, value and headers are the
//! original's, byte for byte, repeated headers too; what we know about the failure stands in `dlq-*` headers, never payload. A
//! record that is parked again says where it appeared FIRST and why it was parked LAST: these headers are replaced, not piled
//! up, and of several `traceparent` or `sentry-trace` only the one that counts is kept.
//!
//! **No record is too large to be parked.** Its dead letter is compressed, as its producer may have compressed it. Where the broker
//! refuses it all the same, what fits is parked and says what is missing, and an error event names the place where the whole is.

use std::fmt;

use contracts::{Group, Topic, headers};
use rdkafka::message::{Header, OwnedHeaders};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::PublishError;
use crate::producer::Producer;
use crate::record::Record;

mod part;
use part::Part;

/// What is tried, one after the other, when a dead letter is too large: so many bytes of its record.
const PART_BYTES: [usize; 5] = [1_048_576, 262_144, 65_536, 16_384, 4_096];
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

/// A dead letter that is not the whole record.
#[derive(Debug, thiserror::Error)]
#[error("{place} is too large for {topic}: what fits is there, the whole record only where it came from")]
struct Cut {
    place: String,
    topic: String,
}

/// Writes a dead letter and waits for its acknowledgement. What is too large is cut.
pub(crate) async fn keep(
    producer: &Producer,
    group: Group,
    record: &Record,
    message_id: &str,
    verdict: &Verdict<'_>,
) -> Result<(), PublishError> {
    let topic = topic_name(&record.topic, group)?;
    let (now, service) = (OffsetDateTime::now_utc(), producer.service());
    let (mut part, mut sizes) = (Part::whole(record), PART_BYTES.into_iter());
    loop {
        let (key, value, is_cut) = (part.key, part.value, part.is_cut());
        let native = headers_of(record, part, group, service, verdict, now);
        let told = (message_id, verdict.class.as_str());
        match producer.publish_verbatim(&topic, key, value, native, told).await {
            Ok(_) => {
                if is_cut {
                    tell_cut(record, group, topic);
                }
                return Ok(());
            }
            Err(error @ PublishError::Unwritable { .. }) => match sizes.next() {
                Some(bytes_max) => part = Part::within(record, bytes_max),
                None => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
}

fn tell_cut(record: &Record, group: Group, topic: String) {
    let place = format!("{}/{}/{}", record.topic, record.partition, record.offset);
    telemetry::report(
        &Cut { place: place.clone(), topic },
        &[
            ("error.kind", "dead_letter_cut"),
            ("kafka.topic", &record.topic),
            ("kafka.group", group.as_str()),
            ("kafka.record", &place),
        ],
    );
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
    part: Part<'_>,
    group: Group,
    service: &str,
    verdict: &Verdict<'_>,
    now: OffsetDateTime,
) -> OwnedHeaders {
    let cuts = headers::DLQ_CUTS.map(|name| (name, missing(record, &part, name)));
    let mut native = part.headers;
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
    for (name, amount) in cuts {
        if let Some(amount) = amount {
            add(name, &amount.to_string());
        }
    }
    native
}

/// What this header has to say: a record that was cut before is still a part of the first one.
fn missing(record: &Record, part: &Part<'_>, name: &str) -> Option<usize> {
    let before = record.header(name).map(|value| std::str::from_utf8(value).ok()?.parse().ok());
    before.map(Option::unwrap_or_default).or_else(|| part.cut(name))
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
