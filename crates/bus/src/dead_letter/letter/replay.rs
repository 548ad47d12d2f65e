//! Replaying and discarding a dead letter. A record that several groups gave up is published once for the letters of all.
//!
//! A replay is the original record again, with its key, value and headers byte for byte. Three things differ. The headers of the
//! verdict are gone, and `dlq-original-*` name the first appearance, so the identity stays and what was applied already changes
//! nothing. The entries of the first request in `baggage` (its sampling context, its faults) are gone. The trace is a new one,
//! whose first span is linked to the traces before.

use bytes::Bytes;
use contracts::{Classify, ErrorClass, Topic, headers};
use rdkafka::message::{Header, OwnedHeaders};
use telemetry::attributes as names;
use telemetry::propagation::{self, BAGGAGE, ENTRY_PREFIX};
use telemetry::spans::{self, PublishAttrs, Status};
use tracing::{Instrument as _, Span};

use super::{Action, ActionKind, Handled, Letter, Note};
use crate::error::PublishError;
use crate::latency::{self, ENQUEUED_TIME};
use crate::producer::{Producer, Published, Verbatim};

/// Prefix of the entries of a sampling context in `baggage`.
const SAMPLING_PREFIX: &str = "sentry-";
/// W3C's limit of a `baggage` header.
const BAGGAGE_BYTES_MAX: usize = 8_192;

/// Headers in their order. A value may be null, and a name may repeat.
type Headers = Vec<(String, Option<Bytes>)>;

/// A record to publish in a new trace.
struct Outgoing<'a> {
    topic: &'a str,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    /// The headers without those of the trace.
    headers: Headers,
    /// Entries to send beside those of the trace.
    baggage: String,
    message_id: &'a str,
    event_type: Option<&'a str>,
}

/// Reason why a letter was not replayed or discarded.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The letter is cut, so a replay would be another record.
    #[error("it holds only a part of its record (header {0}); copy the whole record from its own topic")]
    Cut(&'static str),
    /// A header name is not UTF-8, so the headers of the verdict cannot be told from the record's own.
    #[error("a header name of it is not UTF-8; copy the record from its own topic")]
    Headers,
    /// The place of the first appearance is damaged, so the identity is unknown.
    #[error("its dlq-original-* headers are damaged, so a replay could take effect twice")]
    Place,
    /// The first appearance is in another topic. A producer may have written that, to have a record published where it may not.
    #[error("its dlq-original-topic is not the topic that its group read, so it does not belong there")]
    Topic,
    /// The record was not replayed.
    #[error("it was not published: {0}")]
    Publish(#[source] PublishError),
    /// The action was not recorded. A replay took place.
    #[error("the action was not recorded in the topic of actions: {0}")]
    Record(#[source] PublishError),
}

impl Classify for ActError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Cut(_) | Self::Headers | Self::Place | Self::Topic => ErrorClass::Poison,
            Self::Publish(error) | Self::Record(error) => error.class(),
        }
    }
}

impl Letter {
    /// Checks that a replay would be the whole original record.
    pub fn check_replayable(&self) -> Result<(), ActError> {
        if let Some(cut) = headers::DLQ_CUTS.into_iter().find(|name| self.record.header(name).is_some()) {
            return Err(ActError::Cut(cut));
        }
        if self.record.headers_unreadable {
            return Err(ActError::Headers);
        }
        let view = self.record.view();
        let first = view.first_appearance().map_err(|_| ActError::Place)?;
        if Topic::of_record(first.topic) == Some(self.id.topic) { Ok(()) } else { Err(ActError::Topic) }
    }

    /// The topic that a replay goes to: that of the first appearance, never a retry or dead-letter topic.
    fn target(&self) -> &'static str {
        self.id.topic.name()
    }

    /// The headers of a replay, without those of its trace.
    fn replay_headers(&self) -> Result<Headers, ActError> {
        let received = self.record.headers_as_received().ok_or(ActError::Headers)?;
        let own = received.into_iter().filter(|(name, _)| {
            !name.starts_with(headers::DLQ_PREFIX)
                && !propagation::is_trace_header(name)
                && *name != ENQUEUED_TIME
        });
        let mut kept: Headers =
            own.map(|(name, value)| (name.to_owned(), value.map(Bytes::copy_from_slice))).collect();
        let view = self.record.view();
        let first = view.first_appearance().map_err(|_| ActError::Place)?;
        let mut add = |name: &str, text: String| kept.push((name.to_owned(), Some(text.into())));
        add(headers::DLQ_TOPIC, first.topic.to_owned());
        add(headers::DLQ_PARTITION, first.partition.to_string());
        add(headers::DLQ_OFFSET, first.offset.to_string());
        if let Some(timestamp_ms) = first.timestamp_ms {
            add(headers::DLQ_TIMESTAMP_MS, timestamp_ms.to_string());
        }
        Ok(kept)
    }

    /// The entries of `baggage` that do not belong to the first request, as they were written.
    fn replay_baggage(&self) -> String {
        let lines = self.record.headers.iter().filter(|(name, _)| name == BAGGAGE);
        let lines = lines.filter_map(|(_, value)| std::str::from_utf8(value).ok());
        let entries = lines.flat_map(|line| line.split(',')).filter(|entry| {
            let name = entry.split('=').next().unwrap_or_default().trim();
            !name.is_empty() && !name.starts_with(SAMPLING_PREFIX) && !name.starts_with(ENTRY_PREFIX)
        });
        entries.collect::<Vec<&str>>().join(",")
    }
}

/// A letter, and what was done with its record before.
pub type Known<'a> = (&'a Letter, Option<&'a Handled>);

/// Result of a replay for the letters of one record.
#[derive(Debug)]
pub struct Replayed {
    /// The action on the first letter.
    pub action: Action,
    /// The action on each of the others, in their order.
    pub others: Vec<Result<Action, ActError>>,
}

/// Publishes the letter's record to its own topic again, and records that.
///
/// # Errors
/// When the letter is not the whole record, or the broker did not acknowledge. After [`ActError::Record`] the record was
/// published, and another replay would change nothing.
pub async fn replay(
    producer: &Producer,
    letter: &Letter,
    note: &Note,
    before: Option<&Handled>,
) -> Result<Action, ActError> {
    Ok(replay_once(producer, (letter, before), &[], note).await?.action)
}

/// Publishes the record of the first letter once, and records an action for it and for each of the others.
///
/// The others are letters of the same record in other groups, which get it again with that one publish.
///
/// # Errors
/// As those of [`replay()`]. No action on the others is recorded then.
pub async fn replay_once(
    producer: &Producer,
    (letter, before): Known<'_>,
    others: &[Known<'_>],
    note: &Note,
) -> Result<Replayed, ActError> {
    letter.check_replayable()?;
    let headers = letter.replay_headers()?;
    let span = transaction("dlq.replay", letter, before);
    let action = describe(ActionKind::Replay, letter, note, before, &span);
    let work = async {
        let event_type = letter.event_type();
        let topic = letter.target();
        let outgoing = Outgoing {
            topic,
            key: letter.record.key.as_deref(),
            value: (!letter.record.is_tombstone).then_some(letter.record.value.as_ref()),
            headers,
            baggage: letter.replay_baggage(),
            message_id: letter.event_id.as_str(),
            event_type: event_type.as_deref(),
        };
        let published = publish(producer, outgoing).await.map_err(ActError::Publish)?;
        let action = action.published_at(topic, published);
        record(producer, &action, letter).await?;
        let mut recorded = Vec::with_capacity(others.len());
        for (other, before) in others {
            let mut shared = describe(ActionKind::Replay, other, note, *before, &span);
            shared.published.clone_from(&action.published);
            let result = record(producer, &shared, other).await;
            recorded.push(result.map(|()| shared));
        }
        Ok::<Replayed, ActError>(Replayed { action, others: recorded })
    };
    finish(work.instrument(span.clone()).await, &span)
}

/// Gives the letter up and records that. The letter stays in its topic.
///
/// # Errors
/// When the broker did not acknowledge the action.
pub async fn discard(
    producer: &Producer,
    letter: &Letter,
    note: &Note,
    before: Option<&Handled>,
) -> Result<Action, ActError> {
    let span = transaction("dlq.discard", letter, before);
    let action = describe(ActionKind::Discard, letter, note, before, &span);
    let recorded = record(producer, &action, letter).instrument(span.clone()).await;
    finish(recorded.map(|()| action), &span)
}

/// Begins the transaction of an action: a new trace, linked to the record's first trace and to the letter's.
fn transaction(name: &str, letter: &Letter, before: Option<&Handled>) -> Span {
    let parents = [before.and_then(|handled| handled.origin.clone()), letter.traceparent()];
    let mut parents: Vec<String> = parents.into_iter().flatten().collect();
    parents.dedup();
    let origin = |parent: &String| propagation::origin([(headers::TRACEPARENT, parent.as_bytes())]);
    let span = spans::background(name, parents.iter().filter_map(origin));
    spans::set_attr(&span, names::MESSAGING_CONSUMER_GROUP_NAME, letter.id.group.as_str());
    span
}

fn describe(kind: ActionKind, letter: &Letter, note: &Note, before: Option<&Handled>, span: &Span) -> Action {
    let context = spans::span_context(span);
    let trace_id = context.is_valid().then(|| context.trace_id().to_string());
    let origin = before.and_then(|handled| handled.origin.clone()).or_else(|| letter.traceparent());
    Action::now(kind, letter, note, trace_id, origin)
}

fn finish<T>(result: Result<T, ActError>, span: &Span) -> Result<T, ActError> {
    match &result {
        Ok(_) => spans::set_ok(span),
        Err(_) => spans::set_error(span, Status::Unavailable),
    }
    result
}

/// Publishes the action and waits for its acknowledgement.
async fn record(producer: &Producer, action: &Action, letter: &Letter) -> Result<(), ActError> {
    let topic = contracts::topics::DLQ_ACTIONS;
    let value = serde_json::to_vec(action).map_err(|error| {
        ActError::Record(PublishError::Unwritable { topic: topic.to_owned(), reason: error.to_string() })
    })?;
    let key = format!("{}/{}/{}", action.letter.topic, action.letter.partition, action.letter.offset);
    let content_type = (headers::CONTENT_TYPE.to_owned(), Some(Bytes::from(headers::APPLICATION_JSON)));
    let outgoing = Outgoing {
        topic,
        key: Some(key.as_bytes()),
        value: Some(value.as_slice()),
        headers: vec![content_type],
        baggage: String::new(),
        message_id: letter.event_id.as_str(),
        event_type: None,
    };
    publish(producer, outgoing).await.map_err(ActError::Record)?;
    Ok(())
}

/// Publishes the record with its headers unchanged, and adds the trace of a new span and the send time.
async fn publish(producer: &Producer, record: Outgoing<'_>) -> Result<Published, PublishError> {
    let Outgoing { topic, key, value, mut headers, baggage, message_id, event_type } = record;
    let span = spans::queue_publish(&PublishAttrs {
        message_id,
        destination: topic,
        event_type,
        body_size_bytes: value.map_or(0, <[u8]>::len),
    });
    let mut added = Vec::new();
    propagation::inject(&span, &mut added);
    add_baggage(&mut added, baggage);
    added.push((ENQUEUED_TIME.to_owned(), latency::enqueued_at(contracts::now_ms()).into()));
    headers.extend(added.into_iter().map(|(name, value)| (name, Some(value))));
    let record = Verbatim { topic, key, value, headers: native(&headers) };
    producer.publish_replay(record, &span).await
}

/// Adds entries to the header `baggage`. They are left out if the header would exceed W3C's limit.
fn add_baggage(added: &mut Vec<(String, Bytes)>, entries: String) {
    if entries.is_empty() {
        return;
    }
    let line = added.iter_mut().find(|(name, _)| name == BAGGAGE).map(|(_, line)| line);
    match line {
        Some(line) if line.len() + 1 + entries.len() <= BAGGAGE_BYTES_MAX => {
            let joined: Vec<u8> = [&**line, b",".as_slice(), entries.as_bytes()].concat();
            *line = joined.into();
        }
        Some(_) => {}
        None => added.push((BAGGAGE.to_owned(), entries.into())),
    }
}

fn native(headers: &[(String, Option<Bytes>)]) -> OwnedHeaders {
    headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |native, (name, value)| {
        native.insert(Header { key: name, value: value.as_deref() })
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::letter;
    use super::*;

    fn names_of(letter: &Letter) -> Vec<String> {
        letter.replay_headers().unwrap().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn replay_keeps_own_headers_and_first_place() {
        let more = [
            (headers::CE_ID, "id-1"),
            ("twice", "1"),
            (headers::TRACEPARENT, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            (headers::BAGGAGE, "a=b"),
            (headers::DLQ_ERROR_MESSAGE, "text"),
            (ENQUEUED_TIME, "1.5"),
            ("twice", "2"),
        ];
        let shown = letter(&more, "{}");
        let place = [headers::DLQ_TOPIC, headers::DLQ_PARTITION, headers::DLQ_OFFSET];
        let own = [headers::CE_ID, "twice", "twice"];
        assert_eq!(names_of(&shown), [own.as_slice(), place.as_slice()].concat());
        assert_eq!(shown.target(), "casino.bets.commands.v1");
    }

    #[test]
    fn baggage_of_the_first_request_is_removed() {
        let more = [
            (headers::BAGGAGE, "sentry-trace_id=1, vendor=x;p=1,pitboss.faults=consumer.slow"),
            (headers::BAGGAGE, " pitboss.faults = f ,other=y"),
        ];
        assert_eq!(letter(&more, "{}").replay_baggage(), " vendor=x;p=1,other=y");
        assert_eq!(letter(&[(headers::BAGGAGE, "pitboss.faults=f")], "{}").replay_baggage(), "");
        assert_eq!(letter(&[], "{}").replay_baggage(), "");
    }

    #[test]
    fn incomplete_letter_is_not_replayed() {
        letter(&[], "{}").check_replayable().unwrap();
        let cut = letter(&[(headers::DLQ_VALUE_TRUNCATED, "9")], "{}").check_replayable();
        assert!(matches!(cut, Err(ActError::Cut(headers::DLQ_VALUE_TRUNCATED))), "{cut:?}");
        let mut unreadable = letter(&[], "{}");
        unreadable.record.headers_unreadable = true;
        assert!(matches!(unreadable.check_replayable(), Err(ActError::Headers)));
        let mut damaged = letter(&[], "{}");
        damaged.record.headers.retain(|(name, _)| name != headers::DLQ_OFFSET);
        assert!(matches!(damaged.check_replayable(), Err(ActError::Place)));
        let mut foreign = letter(&[], "{}");
        foreign.record.headers.push((headers::DLQ_TOPIC.to_owned(), "casino.payments.events.v1".into()));
        assert!(matches!(foreign.check_replayable(), Err(ActError::Topic)));
    }

    #[test]
    fn entries_join_the_baggage_of_the_trace() {
        let mut added = vec![(BAGGAGE.to_owned(), Bytes::from_static(b"sentry-trace_id=1"))];
        add_baggage(&mut added, "vendor=x".to_owned());
        assert_eq!(added, [(BAGGAGE.to_owned(), Bytes::from_static(b"sentry-trace_id=1,vendor=x"))]);
        add_baggage(&mut added, "y".repeat(BAGGAGE_BYTES_MAX));
        assert_eq!(added[0].1.len(), 26, "too long");
        let mut alone = Vec::new();
        add_baggage(&mut alone, "vendor=x".to_owned());
        assert_eq!(alone, [(BAGGAGE.to_owned(), Bytes::from_static(b"vendor=x"))]);
    }
}
