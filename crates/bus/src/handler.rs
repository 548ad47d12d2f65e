//! Handler interface of the services: one handler per event type, with classified errors.

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use contracts::class::{Classify, ErrorClass};
use contracts::{Contract, Event, EventType};

use crate::record::Record;

/// One decoded record, as a handler receives it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The decoded event.
    pub event: Event,
    /// The record that carried the event.
    pub record: Arc<Record>,
    /// Number of this attempt in this process, from 1.
    pub attempt: u32,
}

/// Result of a handled record. A business rejection is an outcome, never an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The handler applied the effect.
    Applied,
    /// The effect existed already.
    Duplicate,
    /// The business rules rejected it, and an event reports that.
    Rejected,
}

impl Outcome {
    /// Name in spans and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
        }
    }
}

/// Handles events whose message is an `M`.
///
/// Records of one key are never handled concurrently or out of order. A record may be redelivered after a crash, a hand-over or a
/// time-out, so a handler must be idempotent.
#[async_trait]
pub trait Handle<M: Contract>: Send + Sync {
    /// Applies the message. Returns only when the effect would survive a crash. `delivery` has the whole event and its record.
    async fn handle(&self, message: &M, delivery: &Delivery) -> Result<Outcome, HandlerError>;
}

#[async_trait]
impl<M: Contract, H: Handle<M> + ?Sized> Handle<M> for Arc<H> {
    async fn handle(&self, message: &M, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        H::handle(self, message, delivery).await
    }
}

/// Handles events of several types in the same way. [`Handle`] is for one type.
#[async_trait]
pub trait HandleAny: Send + Sync {
    /// Applies the event. Returns only when the effect would survive a crash.
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError>;
}

#[async_trait]
impl<H: HandleAny + ?Sized> HandleAny for Arc<H> {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        H::handle(self, delivery).await
    }
}

/// A [`Handle`] whose message type is erased, so that a router can hold handlers of all types.
struct Typed<M, H> {
    handler: H,
    message: PhantomData<fn(M)>,
}

#[async_trait]
impl<M: Contract, H: Handle<M>> HandleAny for Typed<M, H> {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let misrouted = || HandlerError::fatal(Misrouted(M::EVENT_TYPE));
        let message = M::from_message(&delivery.event.message).ok_or_else(misrouted)?;
        self.handler.handle(message, delivery).await
    }
}

/// The consumer chose a handler by a type that the message does not have.
#[derive(Debug, thiserror::Error)]
#[error("the handler of {0} received a message of another type")]
struct Misrouted(EventType);

/// Error of a handler, with the class that decides what happens to the record.
///
/// It does not implement [`Error`], so that every classified error converts with `?`.
pub struct HandlerError {
    class: ErrorClass,
    source: Box<dyn Error + Send + Sync>,
}

impl HandlerError {
    /// The record can never be handled. It is reported, dead-lettered and passed.
    pub fn poison(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { class: ErrorClass::Poison, source: source.into() }
    }

    /// The record may succeed later. It is retried while its lane waits, or later from the retry topic of a group that has one.
    pub fn transient(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { class: ErrorClass::Transient, source: source.into() }
    }

    /// Continuing could do harm. The consumer stops with this error.
    pub fn fatal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { class: ErrorClass::Fatal, source: source.into() }
    }

    /// Returns the class, which decides what happens to the record.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// Returns the cause.
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

/// The types that a group handles. Every other known type completes without a transaction.
#[derive(Default)]
pub struct Router {
    routes: Vec<(EventType, Arc<dyn HandleAny>)>,
}

impl Router {
    /// Creates a router without handlers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Routes events of type `M` to `handler`.
    ///
    /// # Panics
    /// When the type already has a handler. That is a programming error, visible at the first start.
    #[must_use]
    pub fn on<M: Contract>(mut self, handler: impl Handle<M> + 'static) -> Self {
        self.add(M::EVENT_TYPE, Arc::new(Typed { handler, message: PhantomData }));
        self
    }

    /// Routes events of each of these types to `handler`.
    ///
    /// # Panics
    /// When a type already has a handler.
    #[must_use]
    pub fn on_each(
        mut self,
        types: impl IntoIterator<Item = EventType>,
        handler: impl HandleAny + 'static,
    ) -> Self {
        let handler: Arc<dyn HandleAny> = Arc::new(handler);
        for event_type in types {
            self.add(event_type, Arc::clone(&handler));
        }
        self
    }

    fn add(&mut self, event_type: EventType, handler: Arc<dyn HandleAny>) {
        assert!(self.find(event_type).is_none(), "{event_type} has two handlers");
        self.routes.push((event_type, handler));
    }

    /// Returns the types that have a handler.
    pub fn types(&self) -> impl Iterator<Item = EventType> + '_ {
        self.routes.iter().map(|(event_type, _)| *event_type)
    }

    pub(crate) fn find(&self, event_type: EventType) -> Option<&Arc<dyn HandleAny>> {
        self.routes.iter().find(|(known, _)| *known == event_type).map(|(_, handler)| handler)
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.types().map(EventType::as_str)).finish()
    }
}
