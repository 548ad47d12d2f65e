//! Error classes, which follow from the type of an error and never from its text.

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
