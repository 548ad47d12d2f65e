//! Error classes, which follow from the type of an error and never from its text.
//!
//! # Which type to use
//!
//! | what happened, and where | type |
//! |---|---|
//! | a business "no", such as too little money | a result and no error: an outcome of the domain, an event, an answer |
//! | an error in a crate that others call | an enum of that crate (`thiserror`) that implements [`Classify`] if a handler can meet it |
//! | an error in the handler of a record | `bus::HandlerError`, by `?` from a classified error |
//! | an error in the handler of a request | `chassis::problem::Problem` |
//! | a process that cannot start, or has to end | `chassis::Failure`, whose variant decides the exit code |
//! | an error in the command line | `anyhow::Error`, with the advice in its text |
//!
//! An error is logged once, where it is handled. Code that passes it on adds context and does not log it.

/// Reaction of a consumer to an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The record can never be processed. The consumer parks it as a dead letter, reports it and continues.
    Poison,
    /// The same record may succeed later. The consumer pauses and retries it.
    Transient,
    /// This process must not continue. It exits, and the supervisor starts another instance.
    Fatal,
}

impl ErrorClass {
    /// The name in logs, metrics and dead-letter headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Poison => "poison",
            Self::Transient => "transient",
            Self::Fatal => "fatal",
        }
    }
}

/// An error that has an [`ErrorClass`].
pub trait Classify {
    /// The class of this error.
    fn class(&self) -> ErrorClass;
}
