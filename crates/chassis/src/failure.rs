//! Reason why a process failed, and the exit code that reports it to the supervisor.

use std::{error::Error, process::ExitCode};

use crate::config::ConfigErrors;

/// Reason for an exit that was not requested.
///
/// It does not implement [`Error`] itself, so that `?` turns every error into [`Failure::Failed`]. A missing external resource
/// has to be distinguished explicitly, with [`Failure::missing`].
#[derive(Debug)]
pub enum Failure {
    /// The configuration was refused (exit code 64).
    Configuration(ConfigErrors),
    /// Something that the process needs is missing: a port, a file, a broker (exit code 69).
    Missing {
        /// The missing resource, described for the reader of the log.
        what: String,
        /// Reason why it is missing.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Any other failure (exit code 1).
    Failed(Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// Creates a [`Failure::Missing`].
    pub fn missing(what: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Missing { what: what.into(), source: source.into() }
    }

    /// Creates a [`Failure::Failed`].
    pub fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(source.into())
    }

    /// Exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) => 64,
            Self::Missing { .. } => 69,
            Self::Failed(_) => 1,
        }
    }

    /// The failure and its causes in one line.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Configuration(errors) => errors.to_string(),
            Self::Missing { what, source } => format!("{what}: {}", chain(source.as_ref())),
            Self::Failed(source) => chain(source.as_ref()),
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error))
    }
}

impl From<&Failure> for ExitCode {
    fn from(failure: &Failure) -> Self {
        Self::from(failure.exit_code())
    }
}

/// An error with its causes. A cause that its effect already quotes is not repeated.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let message = next.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_depends_on_kind_of_failure() {
        assert_eq!(Failure::missing("kafka", "refused").exit_code(), 69);
        assert_eq!(Failure::from(std::io::Error::other("gone")).exit_code(), 1);
        assert_eq!(
            Failure::missing("port 8100", std::io::Error::other("in use")).describe(),
            "port 8100: in use"
        );
    }
}
