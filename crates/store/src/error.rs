//! Errors of the document store, classified by the caller's next step.

use contracts::class::{Classify, ErrorClass};
use mongodb::error::{Error as DriverError, ErrorKind, WriteFailure};

/// Server codes of a duplicate key.
const DUPLICATE_KEY_CODES: [i32; 3] = [11000, 11001, 12582];

/// Server codes of an invalid request, which a retry cannot help: BadValue, FailedToParse, Unauthorized, TypeMismatch,
/// IllegalOperation, AuthenticationFailed, CommandNotFound, InvalidOptions, IndexOptionsConflict, IndexKeySpecsConflict,
/// DocumentValidationFailure, Location40415 (unknown field).
const WRONG_REQUEST_CODES: [i32; 12] = [2, 9, 13, 14, 20, 18, 59, 72, 85, 86, 121, 40415];

/// An operation on the document store failed.
///
/// The texts contain codes, indexes and addresses, never values, because they appear in logs and in Sentry.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A unique index already has that key. Usually this is an expected answer. If no caller handles it, it is a bug.
    #[error("{collection}: the unique key already exists (index {index})")]
    DuplicateKey {
        /// Collection of the write.
        collection: &'static str,
        /// Index that refused the write. `?` when the server did not name it.
        index: String,
    },
    /// The store was unreachable or did not answer in time. The outcome of a write is UNKNOWN. Read, then retry.
    #[error("{collection}: the document store did not answer: {reason}")]
    Transient {
        /// Collection of the operation, or `-`.
        collection: &'static str,
        /// Cause, without values.
        reason: String,
    },
    /// A stored document cannot be decoded: a newer build wrote it, or it is damaged. It affects only its owner. Set the request
    /// for it aside, and continue with all others.
    #[error("{collection}: a document cannot be read: {reason}")]
    Unreadable {
        /// Collection of the document.
        collection: &'static str,
        /// The document's `_id`. `?` where ids of that collection are secrets.
        id: String,
        /// Cause, without values.
        reason: String,
    },
    /// The request, the document or the configuration is wrong. A retry does not help.
    #[error("{collection}: the document store refused the request: {reason}")]
    Fatal {
        /// Collection of the operation, or `-`.
        collection: &'static str,
        /// Cause, without values.
        reason: String,
    },
}

impl StoreError {
    /// Returns true when a unique index already has the key.
    #[must_use]
    pub fn is_duplicate_key(&self) -> bool {
        matches!(self, Self::DuplicateKey { .. })
    }

    /// Returns true when a stored document does not decode.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Unreadable { .. })
    }

    pub(crate) fn unreadable(collection: &'static str, id: String, error: &bson::error::Error) -> Self {
        Self::Unreadable { collection, id, reason: without_values(&error.to_string()) }
    }

    pub(crate) fn timed_out(collection: &'static str, after_ms: u64) -> Self {
        Self::Transient { collection, reason: format!("no answer within {after_ms} ms") }
    }

    pub(crate) fn fatal(collection: &'static str, reason: impl Into<String>) -> Self {
        Self::Fatal { collection, reason: reason.into() }
    }

    pub(crate) fn from_driver(collection: &'static str, error: &DriverError) -> Self {
        match error.kind.as_ref() {
            ErrorKind::Write(WriteFailure::WriteError(e)) => Self::from_code(collection, e.code, &e.message),
            ErrorKind::Command(e) => Self::from_code(collection, e.code, &e.message),
            ErrorKind::InsertMany(e) => match e.write_errors.as_ref().and_then(|errors| errors.first()) {
                Some(first) => Self::from_code(collection, first.code, &first.message),
                None => Self::Transient { collection, reason: "write concern not satisfied".into() },
            },
            ErrorKind::Write(WriteFailure::WriteConcernError(e)) => Self::Transient {
                collection,
                reason: format!("write concern not satisfied (code {})", e.code),
            },
            ErrorKind::Io(e) => Self::Transient { collection, reason: format!("i/o: {}", e.kind()) },
            ErrorKind::ServerSelection { .. } => {
                Self::Transient { collection, reason: "no server available".into() }
            }
            ErrorKind::ConnectionPoolCleared { .. } => {
                Self::Transient { collection, reason: "connections lost".into() }
            }
            ErrorKind::DnsResolve { .. } => {
                Self::Transient { collection, reason: "name not resolved".into() }
            }
            ErrorKind::Internal { .. } => {
                Self::Transient { collection, reason: "driver: internal error".into() }
            }
            ErrorKind::InvalidResponse { .. } => {
                Self::Transient { collection, reason: "invalid reply".into() }
            }
            ErrorKind::Bson(_) => Self::fatal(collection, "a document does not have the expected shape"),
            ErrorKind::InvalidArgument { message, .. } => {
                Self::fatal(collection, format!("invalid argument: {message}"))
            }
            ErrorKind::Authentication { .. } => Self::fatal(collection, "authentication failed"),
            ErrorKind::SessionsNotSupported => Self::fatal(collection, "sessions are not supported"),
            _ => Self::fatal(collection, "unexpected driver error"),
        }
    }

    pub(crate) fn from_code(collection: &'static str, code: i32, message: &str) -> Self {
        if DUPLICATE_KEY_CODES.contains(&code) {
            return Self::DuplicateKey { collection, index: index_in(message) };
        }
        let reason = format!("server code {code}");
        if WRONG_REQUEST_CODES.contains(&code) {
            Self::Fatal { collection, reason }
        } else {
            Self::Transient { collection, reason }
        }
    }
}

impl Classify for StoreError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Transient { .. } => ErrorClass::Transient,
            Self::Unreadable { .. } => ErrorClass::Poison,
            Self::DuplicateKey { .. } | Self::Fatal { .. } => ErrorClass::Fatal,
        }
    }
}

/// Removes the found values from a decoder's message: ``unknown variant `JPY`, expected one of …`` names a value of the document.
/// Field names and expected values stay, because they come from our own code.
fn without_values(text: &str) -> String {
    const TEXT_MAX: usize = 300;
    let (found, expected) = text.split_once(", expected ").unwrap_or((text, ""));
    let names_a_field = found.contains("missing field");
    let mut clean = String::new();
    let mut quote: Option<char> = None;
    for c in found.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => continue,
            None if (c == '`' || c == '"') && !names_a_field => {
                clean.push('?');
                quote = Some(c);
            }
            None => clean.push(c),
        }
    }
    if !expected.is_empty() {
        clean.push_str(", expected ");
        clean.push_str(expected);
    }
    clean.chars().take(TEXT_MAX).collect()
}

/// Returns the index named in `E11000 duplicate key error collection: db.c index: email_1 dup key: { … }`.
fn index_in(message: &str) -> String {
    let mut words = message.split_ascii_whitespace();
    words.by_ref().find(|word| *word == "index:");
    words.next().map_or_else(|| "?".to_owned(), |name| name.chars().take(100).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_key_error_names_only_the_index() {
        let message = "E11000 duplicate key error collection: u.players index: email_1 dup key: { email: \"a@b.example\" }";
        let error = StoreError::from_code("players", 11000, message);
        assert!(error.is_duplicate_key());
        assert_eq!(error.to_string(), "players: the unique key already exists (index email_1)");
    }

    #[test]
    fn error_text_has_no_document_values() {
        let text = "unknown variant `JPY`, expected one of `EUR`, `USD`";
        assert_eq!(without_values(text), "unknown variant ?, expected one of `EUR`, `USD`");
        assert_eq!(
            without_values("invalid type: string \"a@b.example\", expected i64"),
            "invalid type: string ?, expected i64"
        );
        assert_eq!(without_values("missing field `tail`"), "missing field `tail`");
    }

    #[test]
    fn unknown_codes_are_transient() {
        assert_eq!(StoreError::from_code("c", 91, "").class(), ErrorClass::Transient);
        assert_eq!(StoreError::from_code("c", 112, "").class(), ErrorClass::Transient);
        assert_eq!(StoreError::from_code("c", 121, "").class(), ErrorClass::Fatal);
    }
}
