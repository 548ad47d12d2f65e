//! Why a process ended, and the exit code that says it to the supervisor.

use std::{error::Error, process::ExitCode};

use crate::config::ConfigErrors;

/// The reason of an end that was not asked for.
///
/// It does not implement [`Error`] itself, so that `?` turns every error into [`Failure::Failed`]; what is missing from
/// outside is told apart on purpose, with [`Failure::missing`].
#[derive(Debug)]
pub enum Failure {
    /// The configuration was refused; exit 64.
    Configuration(ConfigErrors),
    /// Something that the process needs is not there: a port, a file, a broker; exit 69.
    Missing {
        /// What is needed, in words that help the reader.
        what: String,
        /// Why it cannot be had.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The process could not keep its promise; exit 1.
    Failed(Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// Something needed is missing.
    pub fn missing(what: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Missing { what: what.into(), source: source.into() }
    }

    /// The process could not keep its promise.
    pub fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(source.into())
    }

    /// The number that the process ends with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) => 64,
            Self::Missing { .. } => 69,
            Self::Failed(_) => 1,
        }
    }

    /// The whole story in one line: the failure and what caused it.
    #[must_use]
    pub fn story(&self) -> String {
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

/// An error with its causes; a cause that its effect already quotes is not told twice.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut story = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !story.contains(&words) {
            story.push_str(": ");
            story.push_str(&words);
        }
        cause = next.source();
    }
    story
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_says_whose_turn_it_is() {
        assert_eq!(Failure::missing("kafka", "refused").exit_code(), 69);
        assert_eq!(Failure::from(std::io::Error::other("gone")).exit_code(), 1);
        assert_eq!(
            Failure::missing("port 8100", std::io::Error::other("in use")).story(),
            "port 8100: in use"
        );
    }
}
