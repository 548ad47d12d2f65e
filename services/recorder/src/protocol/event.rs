//! The payloads that traces and issues are made of, read leniently.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    lenient::{lenient, text},
    timestamp::Timestamp,
};

/// A `transaction` item.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Transaction {
    /// Name of the transaction: what its root span is called.
    #[serde(deserialize_with = "text")]
    pub transaction: Option<String>,
    /// When it began.
    pub start_timestamp: Timestamp,
    /// When it ended.
    pub timestamp: Timestamp,
    /// The release that sent it.
    #[serde(deserialize_with = "text")]
    pub release: Option<String>,
    /// The environment that sent it.
    #[serde(deserialize_with = "text")]
    pub environment: Option<String>,
    /// Holds `trace`: the root span.
    #[serde(deserialize_with = "lenient")]
    pub contexts: Contexts,
    /// Spans below the root.
    #[serde(deserialize_with = "lenient")]
    pub spans: Vec<SpanPayload>,
}

/// The contexts that are read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Contexts {
    /// The root span of a transaction, or the place of an error in its trace.
    #[serde(deserialize_with = "lenient")]
    pub trace: SpanPayload,
}

/// A span inside a transaction, a transaction's `contexts.trace`, or a standalone `span` item of the first version.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SpanPayload {
    /// Trace it belongs to.
    #[serde(deserialize_with = "text")]
    pub trace_id: Option<String>,
    /// Its own id.
    #[serde(deserialize_with = "text")]
    pub span_id: Option<String>,
    /// The span it is a child of.
    #[serde(deserialize_with = "text")]
    pub parent_span_id: Option<String>,
    /// What kind of work: `db`, `queue.publish`, ….
    #[serde(deserialize_with = "text")]
    pub op: Option<String>,
    /// What work exactly.
    #[serde(deserialize_with = "text")]
    pub description: Option<String>,
    /// Sentry's status name.
    #[serde(deserialize_with = "text")]
    pub status: Option<String>,
    /// When it began.
    pub start_timestamp: Timestamp,
    /// When it ended.
    pub timestamp: Timestamp,
    /// Attributes.
    pub data: Option<Box<RawValue>>,
    /// Spans of other traces (or places of this one) it is linked to.
    pub links: Option<Box<RawValue>>,
    /// The release, on standalone spans only.
    #[serde(deserialize_with = "text")]
    pub release: Option<String>,
}

/// An `event` item: an error or a message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ErrorEvent {
    /// The event's own id.
    #[serde(deserialize_with = "text")]
    pub event_id: Option<String>,
    /// When it happened.
    pub timestamp: Timestamp,
    /// `error`, `fatal`, `warning`, ….
    #[serde(deserialize_with = "text")]
    pub level: Option<String>,
    /// The release that sent it.
    #[serde(deserialize_with = "text")]
    pub release: Option<String>,
    /// The environment that sent it.
    #[serde(deserialize_with = "text")]
    pub environment: Option<String>,
    /// Name of the transaction it happened in.
    #[serde(deserialize_with = "text")]
    pub transaction: Option<String>,
    /// The reporter's own grouping.
    #[serde(deserialize_with = "lenient")]
    pub fingerprint: Vec<String>,
    /// The exceptions, the outermost last.
    #[serde(deserialize_with = "lenient")]
    pub exception: Exceptions,
    /// A message, as text or as an object.
    #[serde(deserialize_with = "lenient")]
    pub message: Message,
    /// A message with a template.
    #[serde(deserialize_with = "lenient")]
    pub logentry: Message,
    /// Who met it.
    #[serde(deserialize_with = "lenient")]
    pub user: User,
    /// Its place in a trace.
    #[serde(deserialize_with = "lenient")]
    pub contexts: Contexts,
    /// Its tags: an object, or pairs.
    pub tags: Option<Box<RawValue>>,
}

/// `exception`: an object with `values`, or the bare list that older SDKs send.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "ExceptionShapes")]
pub struct Exceptions(pub Vec<Exception>);

#[derive(Deserialize)]
#[serde(untagged)]
enum ExceptionShapes {
    Object {
        #[serde(default)]
        values: Vec<Exception>,
    },
    List(Vec<Exception>),
}

impl From<ExceptionShapes> for Exceptions {
    fn from(shape: ExceptionShapes) -> Self {
        match shape {
            ExceptionShapes::Object { values } | ExceptionShapes::List(values) => Self(values),
        }
    }
}

/// One exception of a chain.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Exception {
    /// Its class.
    #[serde(rename = "type")]
    pub class: Option<String>,
    /// Its message.
    pub value: Option<String>,
    /// Where it was raised.
    pub stacktrace: Option<Stacktrace>,
    /// How it was caught.
    pub mechanism: Option<Mechanism>,
}

/// Frames, the innermost last.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Stacktrace {
    /// The frames.
    pub frames: Vec<Frame>,
}

/// One frame.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Frame {
    /// Function name.
    pub function: Option<String>,
    /// Module or namespace.
    pub module: Option<String>,
    /// Source file.
    pub filename: Option<String>,
    /// Line in the source file.
    pub lineno: Option<u64>,
    /// Whether it is the application's own code.
    pub in_app: Option<bool>,
}

/// How an exception was caught.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Mechanism {
    /// False for what would have crashed the program.
    pub handled: Option<bool>,
}

/// A message: its text, and the template it was made from.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "MessageShapes")]
pub struct Message {
    /// The template, equal for all events of one log line.
    pub template: Option<String>,
    /// The text with its parameters in place.
    pub formatted: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum MessageShapes {
    Text(String),
    Object {
        #[serde(default)]
        message: Option<String>,
        #[serde(default)]
        formatted: Option<String>,
    },
}

impl From<MessageShapes> for Message {
    fn from(shape: MessageShapes) -> Self {
        match shape {
            MessageShapes::Text(text) => Self { template: None, formatted: Some(text) },
            MessageShapes::Object { message, formatted } => Self { template: message, formatted },
        }
    }
}

/// Who met an error.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct User {
    /// Stable id.
    #[serde(deserialize_with = "text")]
    pub id: Option<String>,
    /// Login name.
    #[serde(deserialize_with = "text")]
    pub username: Option<String>,
    /// Mail address.
    #[serde(deserialize_with = "text")]
    pub email: Option<String>,
    /// Address, when nothing better is known.
    #[serde(deserialize_with = "text")]
    pub ip_address: Option<String>,
}

impl User {
    /// The best name for counting distinct users.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        [&self.id, &self.username, &self.email, &self.ip_address]
            .into_iter()
            .find_map(|field| field.as_deref())
    }
}

impl ErrorEvent {
    /// The exception that names the event: the outermost, which Sentry sends last.
    #[must_use]
    pub fn main_exception(&self) -> Option<&Exception> {
        self.exception.0.last()
    }

    /// The message as people read it.
    #[must_use]
    pub fn message_text(&self) -> Option<&str> {
        [&self.logentry.formatted, &self.logentry.template, &self.message.formatted, &self.message.template]
            .into_iter()
            .find_map(|text| text.as_deref())
    }

    /// `Type: value`, or the message.
    #[must_use]
    pub fn title(&self) -> String {
        let named = self.main_exception().map(|exception| {
            let class = exception.class.as_deref().unwrap_or("Error");
            match exception.value.as_deref() {
                Some(value) if !value.is_empty() => format!("{class}: {value}"),
                _ => class.to_owned(),
            }
        });
        named.or_else(|| self.message_text().map(str::to_owned)).unwrap_or_else(|| "(no message)".to_owned())
    }

    /// Where it happened: the innermost in-app frame, else the transaction.
    #[must_use]
    pub fn culprit(&self) -> Option<String> {
        let frames = self.main_exception().and_then(|exception| exception.stacktrace.as_ref())?;
        let frame = frames.frames.iter().rev().find(|frame| frame.in_app == Some(true));
        match frame {
            Some(frame) => {
                let place = frame.module.as_deref().or(frame.filename.as_deref()).unwrap_or_default();
                Some(format!("{} {place}", frame.function.as_deref().unwrap_or("?")).trim().to_owned())
            }
            None => self.transaction.clone(),
        }
    }

    /// False when any exception of the chain was not handled.
    #[must_use]
    pub fn handled(&self) -> bool {
        !self
            .exception
            .0
            .iter()
            .any(|exception| exception.mechanism.as_ref().is_some_and(|how| how.handled == Some(false)))
    }
}

/// A value of a batch item (`log`, `trace_metric`, span v2): `{"value": …, "type": …}`.
#[derive(Debug, Deserialize)]
pub struct Attribute {
    /// The value itself.
    pub value: Box<RawValue>,
}

/// Attributes by name.
pub type Attributes = BTreeMap<String, Attribute>;

/// A batch item's payload; its entries are read one by one, so that one bad entry hides no other.
#[derive(Debug, Default, Deserialize)]
pub struct Batch<'a> {
    /// The entries.
    #[serde(borrow, default)]
    pub items: Vec<&'a RawValue>,
}

/// One entry of a `log` item.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct LogPayload {
    /// When it was written.
    pub timestamp: Timestamp,
    /// Trace it was written in.
    #[serde(deserialize_with = "text")]
    pub trace_id: Option<String>,
    /// Span it was written in.
    #[serde(deserialize_with = "text")]
    pub span_id: Option<String>,
    /// `info`, `warn`, ….
    #[serde(deserialize_with = "text")]
    pub level: Option<String>,
    /// The text.
    #[serde(deserialize_with = "text")]
    pub body: Option<String>,
    /// Its fields.
    #[serde(deserialize_with = "lenient")]
    pub attributes: Attributes,
}

/// One entry of a `trace_metric` item.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct MetricPayload {
    /// When it was measured.
    pub timestamp: Timestamp,
    /// Trace it was measured in.
    #[serde(deserialize_with = "text")]
    pub trace_id: Option<String>,
    /// Span it was measured in.
    #[serde(deserialize_with = "text")]
    pub span_id: Option<String>,
    /// Its name.
    #[serde(deserialize_with = "text")]
    pub name: Option<String>,
    /// `counter`, `gauge` or `distribution`.
    #[serde(rename = "type", deserialize_with = "text")]
    pub kind: Option<String>,
    /// The unit, where it has one.
    #[serde(deserialize_with = "text")]
    pub unit: Option<String>,
    /// The value as it was sent.
    pub value: Option<Box<RawValue>>,
    /// Its labels.
    #[serde(deserialize_with = "lenient")]
    pub attributes: Attributes,
}

/// One entry of a `span` item of the second version.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SpanV2Payload {
    /// Trace it belongs to.
    #[serde(deserialize_with = "text")]
    pub trace_id: Option<String>,
    /// Its own id.
    #[serde(deserialize_with = "text")]
    pub span_id: Option<String>,
    /// The span it is a child of.
    #[serde(deserialize_with = "text")]
    pub parent_span_id: Option<String>,
    /// What it is called.
    #[serde(deserialize_with = "text")]
    pub name: Option<String>,
    /// `ok` or `error`.
    #[serde(deserialize_with = "text")]
    pub status: Option<String>,
    /// True for the root of a service's part.
    #[serde(deserialize_with = "lenient")]
    pub is_segment: bool,
    /// When it began.
    pub start_timestamp: Timestamp,
    /// When it ended.
    pub end_timestamp: Timestamp,
    /// Its attributes, `sentry.op` among them.
    #[serde(deserialize_with = "lenient")]
    pub attributes: Attributes,
    /// Links to other spans.
    pub links: Option<Box<RawValue>>,
}
