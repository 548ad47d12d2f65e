//! Events and transactions for display. Each field is read independently, and long texts are cut where Sentry cuts them.

use serde_json::value::RawValue;

use super::{
    culprit,
    exception::{VALUE_BYTES_MAX, exceptions},
    exception_groups::{self, Counted},
    fields::{self, Fields, cut, values},
    images,
    timestamp::Timestamp,
};
pub use super::{
    exception::{Added, Exception, Frame, Stacktrace},
    fields::LABEL_BYTES_MAX,
    images::Image,
};

/// Longest title of an issue.
const TITLE_BYTES_MAX: usize = 256;
/// Largest number of a message's parameters that are read.
const PARAMS_MAX: usize = 64;
/// Text with which an SDK asks the server to fill in the user's address. The recorder does not store sender addresses.
const AUTOMATIC_ADDRESS: &str = "{{auto}}";
/// Largest number of feature flags that are read of an event (SDKs keep the last 100).
const FLAGS_MAX: usize = 100;
/// Largest number of a fingerprint's parts that are read.
const FINGERPRINT_MAX: usize = 64;

/// A `transaction` item.
#[derive(Debug, Default)]
pub struct Transaction<'a> {
    /// Name of the transaction and of its root span.
    pub transaction: Option<String>,
    /// Start time.
    pub start_timestamp: Timestamp,
    /// End time.
    pub timestamp: Timestamp,
    /// The release that sent it.
    pub release: Option<String>,
    /// The environment that sent it.
    pub environment: Option<String>,
    /// The root span.
    pub trace: Fields<'a>,
    /// Continuous profile that ran meanwhile.
    pub profiler_id: Option<String>,
    /// JSON list of the spans below the root.
    pub spans: Option<&'a RawValue>,
}

impl<'a> Transaction<'a> {
    /// Reads every valid field.
    #[must_use]
    pub fn parse(json: &'a str) -> Self {
        let fields = Fields::parse(json);
        let contexts = fields.object("contexts");
        Self {
            transaction: fields.text("transaction"),
            start_timestamp: fields.time("start_timestamp"),
            timestamp: fields.time("timestamp"),
            release: fields.short("release", LABEL_BYTES_MAX),
            environment: fields.short("environment", LABEL_BYTES_MAX),
            trace: contexts.object("trace"),
            profiler_id: contexts.object("profile").short("profiler_id", LABEL_BYTES_MAX),
            spans: fields.get("spans"),
        }
    }
}

/// A span inside a transaction, a transaction's `contexts.trace`, or a standalone `span` item of the first version.
#[derive(Debug, Default)]
pub struct SpanPayload {
    /// Trace that the span belongs to.
    pub trace_id: Option<String>,
    /// Id of the span.
    pub span_id: Option<String>,
    /// Id of the parent span.
    pub parent_span_id: Option<String>,
    /// Kind of work, such as `db` or `queue.publish`.
    pub op: Option<String>,
    /// Description of the work.
    pub description: Option<String>,
    /// Status, as Sentry names it.
    pub status: Option<String>,
    /// Start time.
    pub start_timestamp: Timestamp,
    /// End time.
    pub timestamp: Timestamp,
    /// Attributes.
    pub data: Option<Box<RawValue>>,
    /// Links to other spans, of any trace.
    pub links: Option<Box<RawValue>>,
    /// Release, on standalone spans only.
    pub release: Option<String>,
}

impl SpanPayload {
    /// Reads every valid field.
    #[must_use]
    pub fn read(fields: &Fields<'_>) -> Self {
        Self {
            trace_id: fields.text("trace_id"),
            span_id: fields.short("span_id", LABEL_BYTES_MAX),
            parent_span_id: fields.short("parent_span_id", LABEL_BYTES_MAX),
            op: fields.text("op"),
            description: fields.text("description"),
            status: fields.text("status"),
            start_timestamp: fields.time("start_timestamp"),
            timestamp: fields.time("timestamp"),
            data: fields.raw("data"),
            links: fields.raw("links"),
            release: fields.text("release"),
        }
    }
}

/// An `event` item: an error, a message or user feedback.
#[derive(Debug, Default)]
pub struct ErrorEvent {
    /// The event's own id.
    pub event_id: Option<String>,
    /// `error`, `transaction`, `feedback` or another type, if the sender gives one.
    pub kind: Option<String>,
    /// Time of the event.
    pub timestamp: Timestamp,
    /// `fatal`, `error`, `warning`, `info` or `debug`. Missing levels, and those unknown to Sentry, become `error`.
    pub level: Option<String>,
    /// Programming language, as the SDK names it.
    pub platform: Option<String>,
    /// The release that sent it.
    pub release: Option<String>,
    /// The environment that sent it.
    pub environment: Option<String>,
    /// Name of the transaction in which it happened.
    pub transaction: Option<String>,
    /// Grouping chosen by the sender.
    pub fingerprint: Vec<String>,
    /// Exceptions, outermost last.
    pub exceptions: Vec<Exception>,
    /// The exceptions that decide the issue and the name.
    pub counted: Counted,
    /// Stack of a thread or of the event itself. Empty when an exception has a stack.
    pub stacktrace: Stacktrace,
    /// Where Sentry sees it, unless that is the transaction.
    pub frame_culprit: Option<String>,
    /// Message, sent as text or as an object.
    pub message: Message,
    /// Affected user, by the best available name.
    pub user: Option<String>,
    /// Trace in which it happened.
    pub trace_id: Option<String>,
    /// Span in which it happened.
    pub span_id: Option<String>,
    /// Text of user feedback.
    pub feedback: Option<String>,
    /// Feature flags that were on.
    pub flags_on: Vec<String>,
    /// Programs and libraries in whose memory the addresses of the frames are.
    pub images: Vec<Image>,
}

/// Text of a message and its template.
#[derive(Debug, Default)]
pub struct Message {
    /// Template, equal for all events of one log statement.
    pub template: Option<String>,
    /// Text with its parameters filled in.
    pub formatted: Option<String>,
}

impl ErrorEvent {
    /// Reads every valid field.
    #[must_use]
    pub fn parse(json: &str) -> Self {
        let fields = Fields::parse(json);
        let contexts = fields.object("contexts");
        let trace = contexts.object("trace");
        let exceptions = exceptions(fields.get("exception"));
        let has_stack = exceptions.iter().any(|exception| !exception.stacktrace.frames.is_empty());
        let stacktrace = if has_stack { Stacktrace::default() } else { other_stack(&fields) };
        let platform = fields.short("platform", LABEL_BYTES_MAX);
        let frame_culprit = culprit::of_stack(&fields, platform.as_deref(), &exceptions);
        let message = Message::read(fields.get("logentry")).or(Message::read(fields.get("message")));
        Self {
            event_id: fields.text("event_id"),
            kind: fields.text("type"),
            timestamp: fields.time("timestamp"),
            level: Some(level(fields.text("level").as_deref()).to_owned()),
            release: fields.short("release", LABEL_BYTES_MAX),
            environment: fields.short("environment", LABEL_BYTES_MAX),
            transaction: fields.short("transaction", LABEL_BYTES_MAX),
            fingerprint: fingerprint(fields.list("fingerprint")),
            counted: exception_groups::counted(platform.as_deref(), &exceptions),
            platform,
            exceptions,
            stacktrace,
            frame_culprit,
            message,
            user: user(&fields.object("user")),
            trace_id: trace.text("trace_id"),
            span_id: trace.short("span_id", LABEL_BYTES_MAX),
            feedback: contexts.object("feedback").short("message", VALUE_BYTES_MAX),
            flags_on: flags_on(&contexts.object("flags")),
            images: images::images(&fields.object("debug_meta")),
        }
    }

    /// Returns true for user feedback, which Sentry separates from errors, whatever the type of the item.
    #[must_use]
    pub fn is_feedback(&self) -> bool {
        self.kind.as_deref() == Some("feedback") || self.feedback.is_some()
    }

    /// Returns the exception that names the event: the outermost, otherwise the only distinct one of a group, or the one that a
    /// framework wraps.
    #[must_use]
    pub fn main_exception(&self) -> Option<&Exception> {
        self.exceptions.get(self.counted.main?)
    }

    /// Returns the outermost exception, which SDKs send last.
    #[must_use]
    pub fn outermost_exception(&self) -> Option<&Exception> {
        self.exceptions.last()
    }

    /// Returns the exceptions that decide the issue.
    pub fn grouped_exceptions(&self) -> impl Iterator<Item = &Exception> {
        self.counted.grouped.iter().filter_map(|position| self.exceptions.get(*position))
    }

    /// Returns the stack of the outermost exception, otherwise that of a thread or of the event.
    #[must_use]
    pub fn main_stack(&self) -> &Stacktrace {
        match self.outermost_exception() {
            Some(exception) if !exception.stacktrace.frames.is_empty() => &exception.stacktrace,
            _ => &self.stacktrace,
        }
    }

    /// Returns the message for display.
    #[must_use]
    pub fn message_text(&self) -> Option<&str> {
        self.message.formatted.as_deref().or(self.message.template.as_deref())
    }

    /// Returns the first line of `Type: value`, of the value, or of the message, otherwise the name of a function.
    #[must_use]
    pub fn title(&self) -> String {
        let named = self.main_exception().and_then(|exception| {
            let value = exception.value.as_deref().filter(|value| !value.trim().is_empty());
            match (exception.class.as_deref(), value) {
                (Some(class), Some(value)) => Some(format!("{class}: {}", first_line(value))),
                (Some(class), None) => Some(class.to_owned()),
                (None, value) => value.map(|value| first_line(value).to_owned()),
            }
        });
        let message =
            || self.feedback.as_deref().or(self.message_text()).map(|text| first_line(text).to_owned());
        let function = || self.main_stack().frames.iter().rev().find_map(|frame| frame.function.clone());
        let title = named.or_else(message).or_else(function);
        cut(title.unwrap_or_else(|| "(no message)".to_owned()), TITLE_BYTES_MAX)
    }

    /// Returns the place of the event as Sentry names it: the transaction, otherwise a frame in the form of its language.
    #[must_use]
    pub fn culprit(&self) -> Option<String> {
        self.transaction.clone().or_else(|| self.frame_culprit.clone())
    }

    /// Returns false when any exception of the chain was not handled.
    #[must_use]
    pub fn handled(&self) -> bool {
        !self.exceptions.iter().any(|exception| exception.handled == Some(false))
    }
}

fn flags_on(flags: &Fields<'_>) -> Vec<String> {
    let values = flags.list("values");
    let flags = values.iter().take(FLAGS_MAX).map(|flag| Fields::of(Some(*flag)));
    let on = flags.filter(|flag| flag.boolean("result") == Some(true));
    on.filter_map(|flag| flag.short("flag", LABEL_BYTES_MAX)).collect()
}

impl Message {
    fn read(value: Option<&RawValue>) -> Self {
        let Some(value) = value else { return Self::default() };
        let fields = Fields::of(Some(value));
        let text = fields::text(value).map(|text| cut(text, VALUE_BYTES_MAX));
        let template = fields.short("message", VALUE_BYTES_MAX);
        let filled_in = || {
            let params = fields.list("params");
            let params =
                params.into_iter().take(PARAMS_MAX).map(|value| fields::text(value).unwrap_or_default());
            Some(cut(fill_in(template.as_deref()?, params)?, VALUE_BYTES_MAX))
        };
        let formatted = text.or_else(|| fields.short("formatted", VALUE_BYTES_MAX)).or_else(filled_in);
        Self { template, formatted }
    }

    fn or(self, other: Self) -> Self {
        Self { template: self.template.or(other.template), formatted: self.formatted.or(other.formatted) }
    }
}

/// Returns the stack of the crashed thread, else of the current one, else of the first with a stack, else the event's own.
fn other_stack(event: &Fields<'_>) -> Stacktrace {
    let threads = values(event.get("threads"));
    let threads: Vec<Fields<'_>> = threads.iter().map(|thread| Fields::of(Some(*thread))).collect();
    let with_stack =
        || threads.iter().filter(|thread| !thread.object("stacktrace").list("frames").is_empty());
    let chosen = with_stack()
        .find(|thread| thread.boolean("crashed") == Some(true))
        .or_else(|| with_stack().find(|thread| thread.boolean("current") == Some(true)))
        .or_else(|| with_stack().next());
    let stack = chosen.map_or_else(|| event.object("stacktrace"), |thread| thread.object("stacktrace"));
    Stacktrace::read(&stack)
}

fn fingerprint(parts: Vec<&RawValue>) -> Vec<String> {
    let texts = parts.into_iter().filter_map(fields::text).map(|part| cut(part, LABEL_BYTES_MAX));
    texts.take(FINGERPRINT_MAX).collect()
}

/// Returns the best name for counting distinct users.
fn user(fields: &Fields<'_>) -> Option<String> {
    let named = ["id", "username", "email", "ip_address"].into_iter();
    let mut names = named.filter_map(|name| fields.short(name, LABEL_BYTES_MAX));
    names.find(|name| name != AUTOMATIC_ADDRESS)
}

/// Returns the level as Sentry stores it. Old Python clients send the number of the standard library's level.
fn level(sent: Option<&str>) -> &'static str {
    match sent.unwrap_or_default() {
        "fatal" | "critical" | "50" => "fatal",
        "warning" | "30" => "warning",
        "info" | "log" | "20" => "info",
        "debug" | "10" => "debug",
        _ => "error",
    }
}

/// Fills parameters into a template of `%s`, `%d` or `{}`, in order. Returns `None` when nothing was filled in.
fn fill_in(template: &str, mut params: impl Iterator<Item = String>) -> Option<String> {
    let (mut text, mut rest, mut is_filled) = (String::new(), template, false);
    while let Some((at, place)) =
        ["%s", "%d", "{}"].into_iter().filter_map(|p| Some((rest.find(p)?, p))).min()
    {
        let Some(param) = params.next() else { break };
        text.push_str(rest.get(..at)?);
        text.push_str(&param);
        rest = rest.get(at + place.len()..)?;
        is_filled = true;
    }
    text.push_str(rest);
    is_filled.then_some(text)
}

fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or_default()
}

#[cfg(test)]
mod long_lists;

#[cfg(test)]
mod tests;
