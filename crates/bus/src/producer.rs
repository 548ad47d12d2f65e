//! Publishing with acknowledgement.
//!
//! It guarantees that **`Ok` means that all in-sync replicas have the record**. An error states whether the record was certainly
//! not written or whether that is unknown. Each publish is one `queue.publish` span, whose context is sent in the headers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::{Event, Format, headers};
use rdkafka::message::OwnedHeaders;
use telemetry::attributes as names;
use telemetry::metric::{self, Metric};
use telemetry::spans::{self, PublishAttrs, Status};
use tracing::{Instrument as _, Span};

use crate::client_errors;
use crate::clients;
use crate::config::Config;
use crate::error::{ClientError, PublishError};
use crate::latency;
use crate::names::Names;
use crate::record::{RawRecord, keep_last_of_each, to_native};

mod delivery;
mod retries;
use delivery::{Client, Lazy, Outgoing};

/// Position of a published record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Partition that the key selected.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
}

/// A record to publish byte for byte.
pub(crate) struct Verbatim<'a> {
    pub(crate) topic: &'a str,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: OwnedHeaders,
}

/// Creates the span of a record that moves to another topic, below the current one. `error_type` is the reason of the move.
pub(crate) fn verbatim_span(
    topic: &str,
    message_id: &str,
    body_size_bytes: usize,
    error_type: &'static str,
) -> Span {
    let span = spans::queue_publish(&PublishAttrs {
        message_id,
        destination: topic,
        event_type: None,
        body_size_bytes,
    });
    spans::set_attr(&span, names::ERROR_TYPE, error_type);
    span
}

/// The producer of the process. Clones share it.
#[derive(Clone)]
pub struct Producer {
    client: Client,
    /// Client for dead letters, which are compressed.
    dead_letters: Arc<Lazy>,
    names: Names,
    format: Format,
    queue_full_timeout: Duration,
    service: Arc<str>,
}

impl Producer {
    /// Creates a producer. It connects in the background.
    pub fn new(config: &Config) -> Result<Self, ClientError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(ClientError::Config(problems));
        }
        let client =
            Client::new(&clients::producer(config)).map_err(ClientError::kafka("creating the producer"))?;
        Ok(Self {
            client,
            dead_letters: Arc::new(Lazy::new(clients::dead_letters(config))),
            names: config.names(),
            format: Format::Protobuf,
            queue_full_timeout: Duration::from_millis(u64::from(config.queue_full_timeout_ms)),
            service: config.client_id.as_str().into(),
        })
    }

    /// Returns the same producer with another value format.
    #[must_use]
    pub fn with_format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Name of the publishing service, for the `dlq-service` header.
    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// Publishes an event and waits for its acknowledgement. Its send time is [`Event::sent_at_ms`], else the time of this call.
    pub async fn publish(&self, event: &Event) -> Result<Published, PublishError> {
        let encoded = event.encode(self.format);
        let raw = RawRecord {
            topic: encoded.topic.name().to_owned(),
            key: Some(encoded.key),
            headers: encoded.headers,
            value: encoded.value,
        };
        let event_type = event.message.event_type();
        self.publish_traced(raw, event.id.as_str(), Some(event_type.as_str()), event.sent_at_ms).await
    }

    /// Publishes an encoded record, with the trace headers of the current span.
    pub async fn publish_raw(&self, record: &RawRecord) -> Result<Published, PublishError> {
        let text = |name: &str| {
            headers::last(&record.headers, name).map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let id = text(headers::CE_ID).unwrap_or_default();
        let event_type = text(headers::CE_TYPE);
        self.publish_traced(record.clone(), &id, event_type.as_deref(), None).await
    }

    async fn publish_traced(
        &self,
        mut record: RawRecord,
        message_id: &str,
        event_type: Option<&str>,
        sent_at_ms: Option<i64>,
    ) -> Result<Published, PublishError> {
        let span = spans::queue_publish(&PublishAttrs {
            message_id,
            destination: &record.topic,
            event_type,
            body_size_bytes: record.value.len(),
        });
        telemetry::propagation::inject(&span, &mut record.headers);
        let sent_at_ms = sent_at_ms.unwrap_or_else(contracts::now_ms);
        record.headers.push((latency::ENQUEUED_TIME.to_owned(), latency::enqueued_at(sent_at_ms).into()));
        keep_last_of_each(&mut record.headers);
        let outgoing = Outgoing {
            topic: &record.topic,
            key: record.key.as_deref(),
            value: Some(record.value.as_ref()),
            headers: to_native(&record.headers),
        };
        self.send(&self.client, outgoing, &span).await
    }

    /// Publishes bytes and headers exactly as given, so a dead letter keeps its record's trace. The span is that of the whole move
    /// ([`verbatim_span`]), which may take several publishes.
    pub(crate) async fn publish_verbatim(
        &self,
        record: Verbatim<'_>,
        span: &Span,
    ) -> Result<Published, PublishError> {
        let Verbatim { topic, key, value, headers } = record;
        let client = self.dead_letters.get_or_create().map_err(|source| {
            spans::set_error(span, Status::Unavailable);
            PublishError::Refused { topic: topic.to_owned(), source }
        })?;
        self.send(client, Outgoing { topic, key, value, headers }, span).await
    }

    /// Does the same for a topic that others read. Only a record that is too large otherwise is compressed, because the consumer of
    /// another language may lack lz4.
    pub(crate) async fn publish_replay(
        &self,
        record: Verbatim<'_>,
        span: &Span,
    ) -> Result<Published, PublishError> {
        let Verbatim { topic, key, value, headers } = &record;
        let plain = Outgoing { topic, key: *key, value: *value, headers: headers.clone() };
        match self.send(&self.client, plain, span).await {
            Err(PublishError::Unwritable { .. }) => self.publish_verbatim(record, span).await,
            ended => ended,
        }
    }

    async fn send(
        &self,
        client: &Client,
        outgoing: Outgoing<'_>,
        span: &Span,
    ) -> Result<Published, PublishError> {
        let topic = outgoing.topic;
        let physical = self.names.physical(topic);
        let outgoing = Outgoing { topic: &physical, ..outgoing };
        let began = Instant::now();
        let unfinished = spans::unfinished(span);
        let acknowledged = client.send(outgoing, self.queue_full_timeout).instrument(span.clone()).await;
        unfinished.finished();
        let destination = [("topic", topic)];
        match acknowledged {
            Ok(published) => {
                let partition = published.partition.to_string();
                spans::set_attr(span, names::MESSAGING_DESTINATION_PARTITION_ID, partition);
                spans::set_attr(span, names::MESSAGING_KAFKA_OFFSET, published.offset);
                spans::set_ok(span);
                metric::count(Metric::BusPublishCount, 1, &destination);
                client_errors::publish_succeeded(topic);
                let retries = client.retries_since(began, &physical, published.partition);
                if retries > 0 {
                    let count = i64::try_from(retries).unwrap_or(i64::MAX);
                    spans::set_attr(span, names::MESSAGING_MESSAGE_RETRY_COUNT, count);
                    metric::count(Metric::BusPublishRetried, 1, &destination);
                }
                let took_ms = began.elapsed().as_secs_f64() * 1_000.0;
                metric::distribution(Metric::BusPublishDuration, took_ms, &destination);
                Ok(published)
            }
            Err(error) => {
                let error = PublishError::from_kafka(topic, error);
                let (status, counter) = status_and_metric(&error);
                // The report marks the span as failed, so the precise status comes after it.
                span.in_scope(|| client_errors::report_publish(topic, &error));
                spans::set_error(span, status);
                metric::count(counter, 1, &destination);
                Err(error)
            }
        }
    }

    /// Waits until every published record is acknowledged or given up, at most for `deadline`.
    pub async fn flush(&self, deadline: Duration) -> Result<(), ClientError> {
        let clients = [Some(&self.client), self.dead_letters.get()].map(|client| client.cloned());
        let until = Instant::now() + deadline;
        let flush = move || {
            let left = || until.saturating_duration_since(Instant::now());
            clients.into_iter().flatten().try_for_each(|client| client.flush(left()))
        };
        let flushed = telemetry::spawn_blocking(flush).await;
        match flushed {
            Ok(result) => result.map_err(ClientError::kafka("flushing the producer")),
            Err(_) => Err(ClientError::Cancelled { doing: "flushing the producer" }),
        }
    }
}

/// Returns the span status and the metric of a failure.
fn status_and_metric(error: &PublishError) -> (Status, Metric) {
    match error {
        PublishError::Unwritable { .. } => (Status::InvalidArgument, Metric::BusPublishRefused),
        PublishError::Refused { .. } => (Status::ResourceExhausted, Metric::BusPublishRefused),
        PublishError::OutcomeUnknown { .. } => (Status::DeadlineExceeded, Metric::BusPublishUnknown),
        PublishError::Dead { .. } => (Status::InternalError, Metric::BusPublishRefused),
    }
}
