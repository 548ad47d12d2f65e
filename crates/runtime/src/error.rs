//! What can go wrong, in the words that the person in front of the terminal gets: what, where it is written, what to do.

use std::path::{Path, PathBuf};

use crate::ports::PortInUse;

/// How many last lines of a log are shown with a failure.
pub const LOG_LINES_SHOWN: usize = 15;

/// A failure of the local runtime.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Something that is needed is not on this machine, or is too old.
    #[error("{what}\n  {advice}")]
    Missing {
        /// What is missing.
        what: String,
        /// What to do.
        advice: String,
    },
    /// A fetched or built program could not be had.
    #[error("{what} failed: {why}\n  log: {}{}", log.display(), shown(tail))]
    Fetch {
        /// What was tried.
        what: String,
        /// Why it failed.
        why: String,
        /// Where everything is written.
        log: PathBuf,
        /// The last lines of it.
        tail: Vec<String>,
    },
    /// A part ended before it was ready.
    #[error("{part} died at start ({how})\n  log: {}{}", log.display(), shown(tail))]
    DiedAtStart {
        /// The part.
        part: String,
        /// How it ended: exit code or signal.
        how: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        tail: Vec<String>,
    },
    /// A part runs and does not become ready.
    #[error("{part} is not ready after {waited_s} s ({why})\n  log: {}{}", log.display(), shown(tail))]
    NotReady {
        /// The part.
        part: String,
        /// How long it was waited for.
        waited_s: u64,
        /// What it says of itself.
        why: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        tail: Vec<String>,
    },
    /// Ports that are needed belong to somebody else.
    #[error("{}\n  end those processes, or start the platform elsewhere: ./pitboss up --port-base 18100", lines(.0))]
    PortsInUse(Vec<PortInUse>),
    /// No supervisor is running.
    #[error("the platform is not running; start it with ./pitboss up")]
    NotRunning,
    /// Another command is changing the platform at this moment.
    #[error("another ./pitboss command is at work on this platform (process {pid}); wait for it, or end it")]
    Busy {
        /// Who holds the lock, as far as it is written down.
        pid: String,
    },
    /// No part has that name.
    #[error("there is no part \"{name}\"; there are: {known}")]
    UnknownPart {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The supervisor refused, in its own words.
    #[error("{0}")]
    Refused(String),
    /// A plan of parts that cannot be carried out.
    #[error("the plan of parts is wrong: {0}")]
    Plan(String),
    /// The operating system refused.
    #[error("{what}: {source}{}", hint(source))]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl RuntimeError {
    /// The exit code of the command that meets this: 2 usage, 69 something needed is missing, 1 everything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::UnknownPart { .. } => 2,
            Self::Missing { .. } | Self::Fetch { .. } | Self::PortsInUse(_) | Self::NotRunning => 69,
            _ => 1,
        }
    }

    /// An input/output failure with what was tried.
    pub fn io(what: impl Into<String>, source: impl Into<std::io::Error>) -> Self {
        Self::Io { what: what.into(), source: source.into() }
    }

    /// As [`RuntimeError::io`], about one file.
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

/// Three failures have a cause that people find in a minute when told, and in an hour when not.
fn hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::StorageFull => "\n  the disk is full: make room and try again",
        std::io::ErrorKind::ReadOnlyFilesystem => "\n  the file system is read-only",
        std::io::ErrorKind::PermissionDenied => "\n  was this folder made by another user?",
        _ => "",
    }
}
