//! CloudEvents binary mode: attributes in headers, the message in the value.

use super::record_headers::RecordHeaders;
use super::{Attributes, Read, TraceExtension, payload};
use crate::decode_error::DecodeError;
use crate::headers;

pub(super) fn decode(all: RecordHeaders<'_>, value: &[u8]) -> Result<Read, DecodeError> {
    let event_type = all.event_type()?.ok_or(DecodeError::MissingType)?;
    all.checked(headers::CE_SPECVERSION, |version| {
        if version == headers::SPEC_VERSION { Ok(()) } else { Err("is not 1.0") }
    })?;
    let attributes = Attributes {
        id: all.id()?,
        source: all.source()?.map(str::to_owned),
        time: all.time()?,
        subject: all.text(headers::CE_SUBJECT)?.map(str::to_owned),
        causation_id: all.causation_id()?,
        request_hash: all.request_hash()?,
    };
    let message = payload::read(event_type, all.media_type()?.as_ref(), value)?;
    Ok(Read { attributes, message, trace: trace(all) })
}

/// The tracing extension. An invalid one counts as absent and never refuses a record.
fn trace(all: RecordHeaders<'_>) -> TraceExtension {
    let text = |name| all.text(name).ok().flatten().map(str::to_owned);
    TraceExtension { traceparent: text(headers::CE_TRACEPARENT), tracestate: text(headers::CE_TRACESTATE) }
}
