//! Errors of the local runtime. Each message contains what failed, where it is logged and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

/// Number of log lines shown with a failure.
pub const LOG_LINES_SHOWN: usize = 15;

/// A failure of the local runtime.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Something that is needed is missing on this machine or too old.
    #[error("{what}\n  {advice}")]
    Missing {
        /// The missing thing.
        what: String,
        /// Advice for the user.
        advice: String,
    },
    /// A program could not be fetched or built.
    #[error("{what} failed: {reason}\n  log: {}{}", log.display(), shown(tail))]
    Fetch {
        /// The attempted step.
        what: String,
        /// Reason for the failure.
        reason: String,
        /// Log with the complete output.
        log: PathBuf,
        /// Last lines of the log.
        tail: Vec<String>,
    },
    /// A part ended before it was ready.
    #[error("{part} died at start ({cause})\n  log: {}{}", log.display(), shown(tail))]
    DiedAtStart {
        /// The part.
        part: String,
        /// Exit code or signal.
        cause: String,
        /// Its log.
        log: PathBuf,
        /// Last lines of the log.
        tail: Vec<String>,
    },
    /// A part runs but does not become ready.
    #[error("{part} is not ready after {waited_s} s ({state})\n  log: {}{}", log.display(), shown(tail))]
    NotReady {
        /// The part.
        part: String,
        /// Waiting time in seconds.
        waited_s: u64,
        /// State of the part.
        state: String,
        /// Its log.
        log: PathBuf,
        /// Last lines of the log.
        tail: Vec<String>,
    },
    /// Other processes use ports that are needed.
    #[error("{}\n  stop those processes, or use other ports: ./pitboss up --port-base 18100", lines(.0))]
    PortsInUse(Vec<PortInUse>),
    /// No supervisor is running.
    #[error("the platform is not running; start it with ./pitboss up")]
    NotRunning,
    /// Another command is changing the platform now.
    #[error(
        "another ./pitboss command is changing this platform (process {pid}); wait until it has finished, or stop it"
    )]
    Busy {
        /// Process that holds the lock, if known.
        pid: String,
    },
    /// No part has that name.
    #[error("there is no part \"{name}\"; there are: {known}")]
    UnknownPart {
        /// Requested name.
        name: String,
        /// Known names.
        known: String,
    },
    /// A refusal, with its reason.
    #[error("{0}")]
    Refused(String),
    /// The plan of parts is invalid.
    #[error("the plan of parts is invalid: {0}")]
    Plan(String),
    /// An operating system call failed.
    #[error("{what}: {source}{}", hint(source))]
    Io {
        /// The attempted operation.
        what: String,
        /// Reason for the failure.
        source: std::io::Error,
    },
}

/// A port that another process listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInUse {
    /// The port.
    pub port: u16,
    /// Part that needs it.
    pub part: String,
    /// Owner: process id and command line, if this user may see them.
    pub owner: Option<(i32, String)>,
}

impl fmt::Display for PortInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, part, owner } = self;
        write!(f, "port {port} (needed by {part}) is in use by ")?;
        match owner {
            Some((pid, command)) => write!(f, "process {pid}: {command}"),
            None => f.write_str("a process of another user"),
        }
    }
}

impl RuntimeError {
    /// Exit code of a command that fails with this error: 2 usage, 69 something needed is missing, 1 everything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::UnknownPart { .. } => 2,
            Self::Missing { .. } | Self::Fetch { .. } | Self::PortsInUse(_) | Self::NotRunning => 69,
            _ => 1,
        }
    }

    /// Creates a [`RuntimeError::Io`] with the attempted operation.
    pub fn io(what: impl Into<String>, source: impl Into<std::io::Error>) -> Self {
        Self::Io { what: what.into(), source: source.into() }
    }

    /// Creates a [`RuntimeError::Io`] about one file.
    pub(crate) fn file(verb: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let what = format!("cannot {verb} {}", path.display());
        move |source| Self::Io { what, source }
    }
}

fn lines(ports: &[PortInUse]) -> String {
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn shown(tail: &[String]) -> String {
    tail.iter().map(|line| format!("\n  | {line}")).collect()
}

/// Names three causes that take a minute to find with a hint and an hour without one.
fn hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::StorageFull => "\n  the disk is full: free some space and try again",
        std::io::ErrorKind::ReadOnlyFilesystem => "\n  the file system is read-only",
        std::io::ErrorKind::PermissionDenied => "\n  another user may have created this folder",
        _ => "",
    }
}
