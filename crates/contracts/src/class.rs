//! What kind of error an error is: the type decides, never its text.

/// What a consumer does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The record can never be handled: keep it aside, report it, go on.
    Poison,
    /// The same record may succeed later: hold it and try again.
    Transient,
    /// This process must not go on: stop it and let the supervisor start another.
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

/// An error that knows its class.
pub trait Classify {
    /// The class of this error.
    fn class(&self) -> ErrorClass;
}
