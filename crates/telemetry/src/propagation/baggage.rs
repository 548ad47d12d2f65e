//! `baggage`: an allow-list of two families. `sentry-*` is the sampling context, `pitboss.*` is ours; the rest is not copied.

use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::{Context, KeyValue};

use crate::dsc::{Dsc, FIELDS};

/// Bytes of all `baggage` headers together that are looked at (W3C's limit).
const BYTES_MAX: usize = 8_192;
/// Entries that are looked at (W3C's limit).
const ENTRIES_MAX: usize = 64;
/// Bytes of one decoded value; a release or a transaction's name is far shorter.
const VALUE_BYTES_MAX: usize = 1_024;
/// Entries of our own that travel.
const OWN_MAX: usize = 8;

/// Our own entries begin with this.
pub const ENTRY_PREFIX: &str = "pitboss.";

/// The `baggage` lines that arrived, until all were seen.
#[derive(Debug, Default)]
pub(super) struct Lines {
    joined: String,
}

/// What of them travels on.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) dsc: Option<Dsc>,
    pub(super) own: Vec<(String, String)>,
}

impl Lines {
    pub(super) fn add(&mut self, line: &str) {
        // a line that does not fit is left out whole: half an entry could be a valid, wrong one
        if self.joined.len() + line.len() < BYTES_MAX {
            if !self.joined.is_empty() {
                self.joined.push(',');
            }
            self.joined.push_str(line);
        }
    }

    pub(super) fn parse(&self) -> Parsed {
        let mut dsc = Dsc::default();
        let mut own: Vec<(String, String)> = Vec::new();
        for entry in self.joined.split(',').take(ENTRIES_MAX) {
            let pair = entry.split(';').next().unwrap_or_default();
            let Some((name, value)) = pair.split_once('=') else { continue };
            let (name, Some(value)) = (name.trim(), percent_decode(value.trim())) else { continue };
            if value.is_empty() || value.len() > VALUE_BYTES_MAX || value.chars().any(char::is_control) {
                continue;
            }
            if let Some(field) = name.strip_prefix("sentry-") {
                if FIELDS.contains(&field) {
                    dsc.set(field, &value);
                }
            } else if is_own(name) && own.len() < OWN_MAX {
                own.retain(|(known, _)| known != name);
                own.push((name.to_owned(), value));
            }
        }
        Parsed { dsc: (!dsc.trace_id.is_empty()).then_some(dsc), own }
    }
}

fn is_own(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(ENTRY_PREFIX)
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// An entry of ours (`pitboss.…`) in this context.
pub fn entry(context: &Context, name: &str) -> Option<String> {
    context.baggage().get(name).map(ToString::to_string)
}

/// The context with one more entry of ours; `None` when the name is not `pitboss.…` or the value is too long.
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

/// The header's value: ours first, then the sampling context, within W3C's limit.
pub(super) fn write(context: &Context, dsc: Option<&Dsc>) -> String {
    let mut line = String::new();
    for (name, value) in context.baggage().iter().filter(|(name, _)| is_own(name.as_str())) {
        push(&mut line, "", name.as_str(), value.0.as_str());
    }
    for (name, value) in dsc.into_iter().flat_map(Dsc::entries) {
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
