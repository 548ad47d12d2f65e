//! Where and how a body is sent to a target.

use super::{queue::QueuedCopy, targets::Target};
use crate::{
    journal::Encoding,
    protocol::otlp::{Format, Signal},
};

/// Content type of an envelope.
const ENVELOPE: &str = "application/x-sentry-envelope";

/// Address, content type and compression of a body.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) endpoint: String,
    pub(super) content_type: &'static str,
    pub(super) encoding: Encoding,
}

impl Form {
    /// Returns the form of a copy. A copy of an envelope is compressed anew, an export is sent as received.
    pub(super) fn of_copy(copy: &QueuedCopy, target: &Target) -> Self {
        let Some((signal, format)) = copy.kind.otlp() else {
            return Self { encoding: Encoding::Gzip, ..Self::report(target) };
        };
        let path = match signal {
            Signal::Traces => "integration/otlp/v1/traces",
            Signal::Logs => "integration/otlp/v1/logs",
        };
        let content_type = match format {
            Format::Protobuf => "application/x-protobuf",
            Format::Json => "application/json",
        };
        Self { endpoint: target.dsn.endpoint_at(path), content_type, encoding: copy.encoding }
    }

    /// Returns the form of an envelope that only has a report, which is short.
    pub(super) fn report(target: &Target) -> Self {
        let endpoint = target.dsn.endpoint.clone();
        Self { endpoint, content_type: ENVELOPE, encoding: Encoding::Identity }
    }

    /// Returns true for an envelope.
    pub(super) fn is_envelope(&self) -> bool {
        self.content_type == ENVELOPE
    }
}
