//! Log lines on standard output, as text for people or as JSON for machines. Each has the trace id and is scrubbed.

use std::fmt;
use std::io::{self, Write};

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::config::LogFormat;
use crate::{scrub, spans};

/// Formats one event as one line.
#[derive(Debug, Clone)]
pub(crate) struct Format {
    pub(crate) service: String,
    pub(crate) format: LogFormat,
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let at = OffsetDateTime::now_utc().format(&Rfc3339).map_err(|_| fmt::Error)?;
        let metadata = event.metadata();
        let trace_id = spans::trace_id();
        match self.format {
            LogFormat::Pretty => {
                write!(out, "{at} {:>5} {}: {}", metadata.level(), metadata.target(), fields.message)?;
                for (name, value) in &fields.others {
                    match value {
                        Value::String(text) => write!(out, " {name}={text}")?,
                        other => write!(out, " {name}={other}")?,
                    }
                }
                if let Some(id) = trace_id {
                    write!(out, " trace.id={id}")?;
                }
            }
            LogFormat::Json => {
                let mut line = Map::new();
                line.insert("time".to_owned(), at.into());
                line.insert("level".to_owned(), metadata.level().as_str().into());
                line.insert("service".to_owned(), self.service.clone().into());
                line.insert("target".to_owned(), metadata.target().into());
                line.insert("message".to_owned(), fields.message.into());
                if let Some(id) = trace_id {
                    line.insert("trace.id".to_owned(), id.into());
                }
                line.extend(fields.others);
                let mut line = Value::Object(line);
                scrub::json(&mut line);
                write!(out, "{line}")?;
            }
        }
        writeln!(out)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.put(field, format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field, value.into());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

/// Standard output behind the scrubber. Each event arrives as one write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scrubbed;

impl<'a> MakeWriter<'a> for Scrubbed {
    type Writer = Scrubbed;

    fn make_writer(&'a self) -> Self::Writer {
        Scrubbed
    }
}

impl Write for Scrubbed {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let clean = scrub::text(text.trim_end_matches('\n'));
        let mut out = io::stdout().lock();
        out.write_all(clean.as_bytes())?;
        out.write_all(b"\n")?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}
