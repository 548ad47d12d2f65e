//! What the recorder has to receive after a debug fault, as data. It is judged by the bytes alone, as all evidence.

mod list;
mod words;

use serde_json::Value;

use super::{Answer, DebugRow};
use crate::evidence::{ErrorEvent, Observation, Transaction};
use crate::trace::Span;

pub use list::expectations;

/// Log line of every debug fault, which the breadcrumbs of its event have to begin with or contain.
const ASKED: &str = "an operator asked for a debug fault";

/// One statement about what arrived. It holds or it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The gateway and the service have a transaction in the trace that the answer names.
    Transactions,
    /// The service sent exactly one event in that trace.
    OneEvent,
    /// No service sent an event in that trace.
    NoEvent,
    /// The answer names the event.
    EventInAnswer,
    /// Something handled the error.
    Handled,
    /// Nothing handled the error.
    Unhandled,
    /// The event has a tag with this value. Empty: any value.
    Tag(&'static str, &'static str),
    /// The outermost exception has this type.
    Type(&'static str),
    /// The outermost exception has this text.
    Text(&'static str),
    /// The fingerprint begins with these parts.
    Fingerprint(&'static [&'static str]),
    /// A function of the program is on the stack.
    OwnFrame,
    /// The innermost function of the program has this text in its name.
    Function(&'static str),
    /// The breadcrumbs lead to the error.
    Breadcrumbs,
    /// The event names the player of the request.
    User,
    /// The event has the state of the process.
    Process,
    /// The process had at least so much memory in RAM.
    MemoryMin(u64),
    /// The event names the armed fault.
    ArmedFault,
    /// The event lists several threads, and one of them crashed. Its name has this text.
    Threads(&'static str),
    /// The event is a group of so many errors.
    Linked(usize),
    /// The event has this detail in its context `pitboss`.
    Detail(&'static str),
    /// The service has at least so many spans with this op and this status in the trace.
    Spans {
        /// Op of the spans.
        op: &'static str,
        /// Their status.
        status: &'static str,
        /// Smallest number of them.
        count_min: usize,
    },
    /// The service has a span of the document store that lasted so long.
    SlowQuery {
        /// Smallest duration.
        duration_ms_min: u64,
    },
    /// A CPU profile in the trace has this function in at least a half of its samples.
    Profile(&'static str),
    /// The service sent an event with a minidump.
    Minidump,
    /// That event is in the trace of the answer.
    InTrace,
}

/// What one row is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The row.
    pub row: DebugRow,
    /// The answer to its request.
    pub answer: &'a Answer,
    /// The player that the request named.
    pub player_id: &'a str,
    /// Name of the fault that was armed meanwhile.
    pub armed: &'a str,
    /// Number of minidumps of the service that were there before the request.
    pub dumps_before: usize,
    /// What the recorder received.
    pub seen: &'a Observation,
}

impl<'a> Scene<'a> {
    fn trace_id(&self) -> Option<&'a str> {
        self.answer.text("trace_id")
    }

    fn service(&self) -> &'static str {
        self.row.service.as_str()
    }

    /// The events of the service in the trace of the request. About a process that died, another one sends events.
    fn events(&self) -> Vec<&'a ErrorEvent> {
        let (service, trace_id) = (self.service(), self.trace_id());
        if self.row.is_deadly() {
            return dumps(self.seen, service).skip(self.dumps_before).collect();
        }
        let is_own = |event: &&ErrorEvent| {
            event.service == service && trace_id.is_some() && event.trace_id() == trace_id
        };
        self.seen.events.iter().filter(is_own).collect()
    }

    fn transactions_of(&self, service: &str) -> impl Iterator<Item = &'a Transaction> {
        let trace_id = self.trace_id();
        let of_service = self.seen.transactions.iter().filter(move |one| one.service == service);
        of_service.filter(move |one| trace_id == Some(one.trace_id.as_str()))
    }

    fn spans(&self) -> impl Iterator<Item = &'a Span> {
        self.transactions_of(self.service()).flat_map(|transaction| &transaction.spans)
    }

    /// The statements of the row that do not hold.
    #[must_use]
    pub fn missing(&self) -> Vec<Expectation> {
        let expectations = expectations(self.row);
        expectations.into_iter().filter(|expectation| !expectation.holds(self)).collect()
    }
}

impl Expectation {
    /// Returns true if it tells the event of this fault from the events of the others.
    #[must_use]
    pub fn is_identity(self) -> bool {
        matches!(self, Self::Tag(..) | Self::Type(_) | Self::Text(_) | Self::Minidump)
    }

    /// Returns true if what arrived shows it.
    #[must_use]
    pub fn holds(self, scene: &Scene<'_>) -> bool {
        let events = scene.events();
        match self {
            Self::Transactions => {
                let mut services = ["gateway", scene.service()].into_iter();
                services.all(|service| scene.transactions_of(service).next().is_some())
            }
            Self::NoEvent => {
                let trace_id = scene.trace_id();
                trace_id.is_some() && scene.seen.events.iter().all(|event| event.trace_id() != trace_id)
            }
            Self::OneEvent => events.len() == 1,
            Self::EventInAnswer => {
                let named = scene.answer.text("sentry_event_id");
                named.is_some() && events.iter().any(|event| event.id().as_deref() == named)
            }
            Self::Spans { op, status, count_min } => {
                let matches = |span: &&Span| span.op == op && span.status.as_deref() == Some(status);
                scene.spans().filter(matches).count() >= count_min
            }
            Self::SlowQuery { duration_ms_min } => scene
                .spans()
                .any(|span| span.op.starts_with("db") && span.duration_ms() >= duration_ms_min as f64),
            Self::Profile(function) => scene.seen.profiles.iter().any(|profile| {
                let is_own =
                    profile.service == scene.service() && profile.trace_id.as_deref() == scene.trace_id();
                is_own && scene.trace_id().is_some() && profile.share_percent(function) >= 50.0
            }),
            Self::User => events.iter().any(|event| event.user_id() == Some(scene.player_id)),
            Self::InTrace => {
                let trace_id = scene.trace_id();
                trace_id.is_some() && events.iter().any(|event| event.trace_id() == trace_id)
            }
            Self::ArmedFault => events.iter().any(|event| event.has_flag(scene.armed)),
            of_event => events.iter().any(|event| of_event.is_shown_by(event)),
        }
    }

    /// Returns true if this event shows a statement that is about the event alone.
    #[must_use]
    pub fn is_shown_by(self, event: &ErrorEvent) -> bool {
        let outermost = event.outermost();
        match self {
            Self::Handled => event.is_handled(),
            Self::Unhandled => !event.is_handled(),
            Self::Tag(name, wanted) => event
                .tag(name)
                .is_some_and(|value| value == wanted || (wanted.is_empty() && !value.is_empty())),
            Self::Type(wanted) => outermost.is_some_and(|(kind, _)| kind == wanted),
            Self::Text(wanted) => outermost.is_some_and(|(_, text)| text == wanted),
            Self::Fingerprint(parts) => event.fingerprint().starts_with(parts),
            Self::OwnFrame => event.own_frames().any(|frame| !function_of(frame).is_empty()),
            Self::Function(wanted) => {
                event.own_frames().next_back().is_some_and(|frame| function_of(frame).contains(wanted))
            }
            Self::Breadcrumbs => event.breadcrumbs().any(|text| text.contains(ASKED)),
            Self::Process => event.has_process(),
            Self::MemoryMin(bytes) => event.figure("rss_bytes").is_some_and(|rss_bytes| rss_bytes >= bytes),
            Self::Threads(name) => has_threads(event, name),
            Self::Linked(count) => linked(event) == Some(count),
            Self::Detail(name) => {
                let detail = event.context("pitboss").and_then(|details| details.get(name)?.as_str());
                detail.is_some_and(|text| !text.is_empty())
            }
            Self::Minidump => event.has_minidump,
            Self::Transactions
            | Self::OneEvent
            | Self::NoEvent
            | Self::EventInAnswer
            | Self::User
            | Self::ArmedFault
            | Self::InTrace
            | Self::Spans { .. }
            | Self::SlowQuery { .. }
            | Self::Profile(_) => false,
        }
    }
}

/// Returns true if an event of the service is that of this fault, whatever its trace. In a control there must be none.
#[must_use]
pub fn is_known(row: DebugRow, seen: &Observation) -> bool {
    let identity: Vec<Expectation> =
        expectations(row).into_iter().filter(|expectation| expectation.is_identity()).collect();
    let is_same = |event: &ErrorEvent| {
        event.service == row.service.as_str() && identity.iter().all(|one| one.is_shown_by(event))
    };
    !identity.is_empty() && seen.events.iter().any(is_same)
}

/// The events of a service with a minidump, in the order of their receipt.
pub(super) fn dumps<'a>(seen: &'a Observation, service: &'a str) -> impl Iterator<Item = &'a ErrorEvent> {
    seen.events.iter().filter(move |event| event.service == service && event.has_minidump)
}

fn function_of(frame: &Value) -> &str {
    frame.get("function").and_then(Value::as_str).unwrap_or_default()
}

fn has_threads(event: &ErrorEvent, name: &str) -> bool {
    let is_wanted = |thread: &Value| {
        let is_crashed = thread.get("crashed").and_then(Value::as_bool) == Some(true);
        is_crashed && thread.get("name").and_then(Value::as_str).is_some_and(|text| text.contains(name))
    };
    event.threads().len() > 1 && event.threads().iter().any(is_wanted)
}

/// Number of errors directly below the root of a group. `None` if the event is no group.
fn linked(event: &ErrorEvent) -> Option<usize> {
    let mechanisms = || event.exceptions().iter().filter_map(|exception| exception.get("mechanism"));
    let is_root = |mechanism: &Value| {
        mechanism.get("is_exception_group").and_then(Value::as_bool) == Some(true)
            && mechanism.get("exception_id").and_then(Value::as_u64) == Some(0)
    };
    let is_below_root = |mechanism: &&Value| mechanism.get("parent_id").and_then(Value::as_u64) == Some(0);
    mechanisms().any(is_root).then(|| mechanisms().filter(is_below_root).count())
}
