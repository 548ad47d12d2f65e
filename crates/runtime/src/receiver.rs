//! What receives the telemetry of the services.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use contracts::parts::{Part, Ports};

use crate::RuntimeError;

/// Name of the recorder as a receiver.
const RECORDER: &str = "recorder";
/// Name of no receiver.
const NOBODY: &str = "none";

/// Receiver of the services' telemetry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Receiver {
    /// The recorder.
    #[default]
    Recorder,
    /// None. The services get no DSN, so they send nothing.
    Nobody,
    /// Another program that speaks Sentry's protocol, at this port of 127.0.0.1.
    Port(NonZeroU16),
}

impl Receiver {
    /// Port of the receiver on 127.0.0.1, if there is one.
    #[must_use]
    pub const fn port(self, ports: Ports) -> Option<u16> {
        match self {
            Self::Recorder => Some(ports.http(Part::Recorder)),
            Self::Nobody => None,
            Self::Port(port) => Some(port.get()),
        }
    }
}

impl FromStr for Receiver {
    type Err = RuntimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            RECORDER => Ok(Self::Recorder),
            NOBODY => Ok(Self::Nobody),
            port => port.parse::<NonZeroU16>().map(Self::Port).map_err(|_| {
                RuntimeError::Refused(format!(
                    "{port:?} is no receiver of telemetry: expected {RECORDER}, {NOBODY}, or a port of 127.0.0.1"
                ))
            }),
        }
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recorder => f.write_str(RECORDER),
            Self::Nobody => f.write_str(NOBODY),
            Self::Port(port) => write!(f, "{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receiver_is_the_recorder_nobody_or_a_port() {
        let ports = Ports::new(18_100).unwrap();
        for (text, port) in [("recorder", Some(18_101)), ("none", None), ("4711", Some(4_711))] {
            let receiver: Receiver = text.parse().unwrap();
            assert_eq!((receiver.port(ports), receiver.to_string().as_str()), (port, text));
        }
        assert_eq!(Receiver::default(), Receiver::Recorder);
        for wrong in ["", "0", "65536", "127.0.0.1:4711", "nobody"] {
            let error = wrong.parse::<Receiver>().unwrap_err().to_string();
            assert!(error.contains("expected recorder, none, or a port"), "{error}");
        }
    }
}
