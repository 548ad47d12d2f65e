//! The `baggage` header. Only the sampling context (`sentry-*`) and Pitboss entries (`pitboss.*`) are passed on.

use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::TraceId;
use opentelemetry::{Context, KeyValue};

use super::BAGGAGE;
use super::dropped::{DropReason, Dropped};
use crate::sampling_context::SamplingContext;

/// Longest `baggage` header that is read or written (W3C's limit).
const BYTES_MAX: usize = 8_192;
/// Longest decoded value. A release or a transaction's name is far shorter.
const VALUE_BYTES_MAX: usize = 1_024;
/// Largest number of Pitboss entries.
const OWN_MAX: usize = 8;

/// Prefix of Pitboss entries.
pub const ENTRY_PREFIX: &str = "pitboss.";

/// The accepted entries of all headers.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// Sampling contexts: usually one, or several if headers were appended.
    contexts: Vec<SamplingContext>,
    pub(super) own: Vec<(String, String)>,
}

impl Parsed {
    /// The last sampling context of that trace.
    pub(super) fn sampling_context_of(&self, trace_id: TraceId) -> Option<&SamplingContext> {
        self.contexts.iter().rev().find(|dsc| dsc.belongs_to(trace_id))
    }

    /// Adds one header's sampling context. It extends the previous one, unless it belongs to another trace.
    fn add_sampling_context(&mut self, entries: Vec<(&str, String)>) {
        let trace_id = entries.iter().rev().find(|(field, _)| *field == "trace_id").map(|(_, value)| value);
        let is_another = match (self.contexts.last(), trace_id) {
            (None, _) => !entries.is_empty(),
            (Some(last), Some(trace_id)) => !last.trace_id.is_empty() && last.trace_id != *trace_id,
            (Some(_), None) => false,
        };
        if is_another {
            self.contexts.push(SamplingContext::default());
        }
        if let Some(dsc) = self.contexts.last_mut() {
            entries.iter().for_each(|(field, value)| dsc.set(field, value));
        }
    }
}

/// Reads all `baggage` headers of a message, in their order.
pub(super) fn parse<'a>(lines: impl Iterator<Item = &'a str>, dropped: &mut Dropped) -> Parsed {
    let mut parsed = Parsed::default();
    for line in lines {
        // The whole header is dropped, because a cut entry could be valid but wrong
        if line.len() > BYTES_MAX {
            dropped.record(BAGGAGE, DropReason::Oversized);
            continue;
        }
        let mut sampling_entries = Vec::new();
        for entry in line.split(',') {
            let pair = entry.split(';').next().unwrap_or_default();
            let name = pair.split('=').next().unwrap_or_default().trim();
            let field = name.strip_prefix("sentry-");
            if field.is_none() && !is_own(name) {
                continue;
            }
            let Some(value) = value_of(pair) else {
                dropped.record(BAGGAGE, DropReason::Malformed);
                continue;
            };
            if value.is_empty() {
                continue;
            }
            if let Some(field) = field {
                sampling_entries.push((field, value));
            } else {
                parsed.own.retain(|(known, _)| known != name);
                if parsed.own.len() < OWN_MAX {
                    parsed.own.push((name.to_owned(), value));
                }
            }
        }
        parsed.add_sampling_context(sampling_entries);
    }
    parsed
}

/// The decoded value, or `None` if it is invalid.
fn value_of(pair: &str) -> Option<String> {
    let (_, value) = pair.split_once('=')?;
    let value = percent_decode(value.trim())?;
    (value.len() <= VALUE_BYTES_MAX && !value.chars().any(char::is_control)).then_some(value)
}

fn is_own(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(ENTRY_PREFIX)
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// A Pitboss entry (`pitboss.…`) of this context.
pub fn entry(context: &Context, name: &str) -> Option<String> {
    context.baggage().get(name).map(ToString::to_string)
}

/// A Pitboss entry (`pitboss.…`) that arrived with the current unit of work. Without it this is one lookup and no allocation.
pub fn baggage_entry(name: &str) -> Option<String> {
    Context::map_current(|context| entry(context, name))
}

/// Adds a Pitboss entry to the context. Returns `None` if the name or value is invalid or there are too many entries.
pub fn with_entry(context: &Context, name: &str, value: &str) -> Option<Context> {
    if !is_own(name) || value.len() > VALUE_BYTES_MAX {
        return None;
    }
    let mut own = entries(context);
    own.retain(|(known, _)| known != name);
    own.push((name.to_owned(), value.to_owned()));
    (own.len() <= OWN_MAX).then(|| keep(context.clone(), own))
}

fn entries(context: &Context) -> Vec<(String, String)> {
    context.baggage().iter().map(|(name, (value, _))| (name.to_string(), value.to_string())).collect()
}

pub(super) fn keep(context: Context, own: Vec<(String, String)>) -> Context {
    if own.is_empty() {
        return context;
    }
    context.with_baggage(own.into_iter().map(|(name, value)| KeyValue::new(name, value)))
}

/// The header's value within W3C's limit: Pitboss entries first, then the sampling context.
pub(super) fn write(context: &Context, dsc: Option<&SamplingContext>) -> String {
    let mut line = String::new();
    for (name, value) in context.baggage().iter().filter(|(name, _)| is_own(name.as_str())) {
        push(&mut line, "", name.as_str(), value.0.as_str());
    }
    for (name, value) in dsc.into_iter().flat_map(SamplingContext::entries) {
        push(&mut line, "sentry-", name, value);
    }
    line
}

fn push(line: &mut String, prefix: &str, name: &str, value: &str) {
    let before = line.len();
    if !line.is_empty() {
        line.push(',');
    }
    line.push_str(prefix);
    line.push_str(name);
    line.push('=');
    percent_encode(value, line);
    if line.len() > BYTES_MAX {
        line.truncate(before);
    }
}

fn percent_encode(value: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'.' | b'~' | b':' | b'/' | b'@' | b'+')
        {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

fn percent_decode(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let (high, low) =
                (char::from(rest.next()?).to_digit(16)?, char::from(rest.next()?).to_digit(16)?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}
