//! What a service writes: one handler per event type, and the class of what went wrong.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use contracts::class::{Classify, ErrorClass};
use contracts::{Event, EventType};

use crate::record::Record;

/// One decoded record on its way through a handler.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What the record says.
    pub event: Event,
    /// The record itself.
    pub record: Arc<Record>,
    /// Which attempt this is in this process: 1 for the first.
    pub attempt: u32,
}

/// How a handled record ended. A business "no" is an outcome, never an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It had its effect.
    Applied,
    /// Its effect was there already.
    Duplicate,
    /// The business said no, and said so in an event.
    Rejected,
}

impl Outcome {
    /// The name in spans and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
        }
    }
}

/// Handles one type of event.
///
/// Records of one key are never handled at the same time or out of order. A record may come again after a crash, a
/// hand-over or a time-out, so a handler is idempotent.
#[async_trait]
pub trait Handle: Send + Sync {
    /// Does what the event asks for; returns only when the effect would survive a crash.
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError>;
}

#[async_trait]
impl<H: Handle + ?Sized> Handle for Arc<H> {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        H::handle(self, delivery).await
    }
}

/// Why a handler failed, with the class that decides what happens to the record.
///
/// Not itself an [`Error`], so that every classified error converts with `?`.
pub struct HandlerError {
    class: ErrorClass,
    source: Box<dyn Error + Send + Sync>,
}

impl HandlerError {
    /// This record can never be handled: it is dead-lettered, reported, and passed.
    pub fn poison(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { class: ErrorClass::Poison, source: source.into() }
    }

    /// It may work later: the same record is tried again, its lane waits.
    pub fn transient(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { class: ErrorClass::Transient, source: source.into() }
    }

    /// Going on could do harm: the consumer stops with this error.
    pub fn fatal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { class: ErrorClass::Fatal, source: source.into() }
    }

    /// What happens to the record.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// What went wrong.
    #[must_use]
    pub fn source(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.source.as_ref()
    }

    pub(crate) fn into_source(self) -> Box<dyn Error + Send + Sync> {
        self.source
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.class, self.source)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl<E> From<E> for HandlerError
where
    E: Classify + Error + Send + Sync + 'static,
{
    fn from(error: E) -> Self {
        Self { class: error.class(), source: Box::new(error) }
    }
}

/// The types that a group handles. Any other known type completes without a transaction of its own.
#[derive(Default)]
pub struct Router {
    routes: Vec<(EventType, Arc<dyn Handle>)>,
}

impl Router {
    /// A router that handles nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends `event_type` to `handler`.
    ///
    /// # Panics
    /// When the type has a handler already: that is a mistake in the program, seen at its first start.
    #[must_use]
    pub fn on(mut self, event_type: EventType, handler: impl Handle + 'static) -> Self {
        assert!(self.find(event_type).is_none(), "{} has two handlers", event_type.as_str());
        self.routes.push((event_type, Arc::new(handler)));
        self
    }

    /// The types that have a handler.
    pub fn types(&self) -> impl Iterator<Item = EventType> + '_ {
        self.routes.iter().map(|(event_type, _)| *event_type)
    }

    pub(crate) fn find(&self, event_type: EventType) -> Option<&Arc<dyn Handle>> {
        self.routes.iter().find(|(known, _)| *known == event_type).map(|(_, handler)| handler)
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.types().map(EventType::as_str)).finish()
    }
}
