//! Reason why a process failed, and the exit code that reports it to the supervisor.

use std::{error::Error, fmt::Display, process::ExitCode};

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

    /// Creates a [`Failure::Configuration`] with one problem, which names the setting.
    pub fn invalid_setting(problem: impl Display) -> Self {
        Self::Configuration(ConfigErrors(vec![problem.to_string()]))
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

/// An error that lists invalid settings is a [`Failure::Configuration`], wherever it occurs.
impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        match invalid_settings(&error) {
            Some(problems) => Self::Configuration(ConfigErrors(problems.to_vec())),
            None => Self::Failed(Box::new(error)),
        }
    }
}

/// Returns the problems that an error of another crate lists.
fn invalid_settings<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a [String]> {
    if let Some(bus::ClientError::Config(problems)) = error.downcast_ref::<bus::ClientError>() {
        return Some(problems);
    }
    match error.downcast_ref::<telemetry::InitError>() {
        Some(telemetry::InitError::Invalid(problems)) => Some(problems),
        _ => None,
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
        assert_eq!(Failure::invalid_setting("mail.from: not an address").exit_code(), 64);
        assert_eq!(Failure::from(std::io::Error::other("gone")).exit_code(), 1);
        assert_eq!(
            Failure::missing("port 8100", std::io::Error::other("in use")).describe(),
            "port 8100: in use"
        );
    }

    #[test]
    fn invalid_settings_are_bad_configuration() {
        let config = bus::Config { lanes: 0, ..bus::Config::default() };
        let failure = Failure::from(bus::Producer::new(&config).err().expect("refused"));
        assert_eq!(failure.exit_code(), 64);
        assert!(
            failure.describe().contains("\n  kafka.lanes is not between 1 and 1024"),
            "{}",
            failure.describe()
        );

        let problem = "SENTRY_DSN is not a DSN".to_owned();
        let failure = Failure::from(telemetry::InitError::Invalid(vec![problem]));
        assert_eq!(failure.exit_code(), 64);
        assert!(failure.describe().contains("SENTRY_DSN"), "{}", failure.describe());
    }
}
