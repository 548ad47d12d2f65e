//! Where and how a body is sent to a target.

use std::time::Duration;

use super::targets::Target;
use crate::{
    journal::{BodyKind, Encoding},
    protocol::otlp::{Format, Signal},
};

/// Content type of an envelope.
const ENVELOPE: &str = "application/x-sentry-envelope";
/// Time-out of a request, after which the copy is lost, and the rate that extends it.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
const BYTES_PER_S_MIN: u64 = 1024 * 1024;

/// Address, content type, compression and time-out of a body.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) endpoint: String,
    pub(super) content_type: &'static str,
    pub(super) encoding: Encoding,
    pub(super) deadline: Duration,
}

impl Form {
    /// Returns the form of a body of this length. A copy of an envelope is compressed anew, an export is sent as received.
    pub(super) fn of_copy(kind: BodyKind, encoding: Encoding, bytes: u64, target: &Target) -> Self {
        let deadline = SEND_DEADLINE + Duration::from_secs(bytes / BYTES_PER_S_MIN);
        let Some((signal, format)) = kind.otlp() else {
            return Self { encoding: Encoding::Gzip, deadline, ..Self::report(target) };
        };
        let path = match signal {
            Signal::Traces => "integration/otlp/v1/traces",
            Signal::Logs => "integration/otlp/v1/logs",
        };
        let content_type = match format {
            Format::Protobuf => "application/x-protobuf",
            Format::Json => "application/json",
        };
        Self { endpoint: target.dsn.endpoint_at(path), content_type, encoding, deadline }
    }

    /// Returns the form of an envelope that only has a report, which is short.
    pub(super) fn report(target: &Target) -> Self {
        let endpoint = target.dsn.endpoint.clone();
        Self { endpoint, content_type: ENVELOPE, encoding: Encoding::Identity, deadline: SEND_DEADLINE }
    }

    /// Returns true for an envelope.
    pub(super) fn is_envelope(&self) -> bool {
        self.content_type == ENVELOPE
    }
}
