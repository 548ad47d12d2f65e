//! Turns an OTLP export into the envelope of streamed spans or logs that Sentry's ingestion makes of it.
//!
//! It guarantees that memory stays within a small multiple of the export and within the limit for the envelope. Records are
//! read one at a time from protobuf ([`proto`]) or JSON ([`json`]), because a decoded message can be a hundred times as large as
//! its bytes. The envelope depends only on the export, so a lost index is rebuilt with the same rows. What Sentry leaves out
//! (events of spans, nested lists, attributes of other types) is in the stored bytes only.

mod batches;
mod json;
mod logs;
mod proto;
mod record;
mod spans;
mod wire;

use batches::Batches;

/// Signal of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans: `ExportTraceServiceRequest`.
    Traces,
    /// Log records: `ExportLogsServiceRequest`.
    Logs,
}

/// Encoding of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

/// Error when an export cannot be turned into an envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtlpError {
    /// The bytes are not an export in this format.
    #[error("{0}")]
    Malformed(String),
    /// The envelope would exceed the limit.
    #[error("the spans or logs need more than {0} bytes, with the attributes of their resource in each")]
    TooLarge(usize),
}

/// Returns the envelope with the spans or logs of a decompressed export, which has at most `bytes_max` bytes.
pub fn to_envelope(
    signal: Signal,
    format: Format,
    export: &[u8],
    bytes_max: usize,
) -> Result<Vec<u8>, OtlpError> {
    let mut out = Batches::new(signal, bytes_max);
    match (signal, format) {
        (Signal::Traces, Format::Protobuf) => {
            proto::each_span(export, &mut |origin, span| spans::write(origin, &span, &mut out))?;
        }
        (Signal::Traces, Format::Json) => {
            json::each_span(export, &mut |origin, span| spans::write(origin, &span, &mut out))?;
        }
        (Signal::Logs, Format::Protobuf) => {
            proto::each_log(export, &mut |origin, log| logs::write(origin, &log, &mut out))?;
        }
        (Signal::Logs, Format::Json) => {
            json::each_log(export, &mut |origin, log| logs::write(origin, &log, &mut out))?;
        }
    }
    Ok(out.finish())
}

#[cfg(test)]
mod messages;
#[cfg(test)]
mod tests;
