//! The `tracestate` header: vendors' state for a `traceparent`. Several headers form one list, which is passed on unchanged.

use opentelemetry::trace::TraceState;

use super::TRACESTATE;
use super::dropped::{DropReason, Dropped};

/// Longest list that is passed on, which is the minimum that W3C requires.
pub(super) const BYTES_MAX: usize = 512;
/// W3C's limit of members in a list.
const MEMBERS_MAX: usize = 32;
/// Longest header that is read.
const LINE_BYTES_MAX: usize = 8_192;

/// The members read so far, the leftmost first.
#[derive(Debug, Default)]
pub(super) struct Members(Vec<(String, String)>);

impl Members {
    /// Adds one header's members. A header with an invalid member is dropped completely.
    ///
    /// A repeated key gets its later value, because an appended header is newer than the one before it.
    pub(super) fn add(&mut self, line: &str, dropped: &mut Dropped) {
        if line.len() > LINE_BYTES_MAX {
            return dropped.record(TRACESTATE, DropReason::Oversized);
        }
        let members =
            line.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|m| !m.is_empty());
        let pairs: Option<Vec<(&str, &str)>> = members.map(member).collect();
        let Some(pairs) = pairs else { return dropped.record(TRACESTATE, DropReason::Malformed) };
        for (key, value) in pairs {
            if let Some((_, known)) = self.0.iter_mut().find(|(known, _)| known == key) {
                value.clone_into(known);
            } else if self.0.len() < MEMBERS_MAX {
                self.0.push((key.to_owned(), value.to_owned()));
            } else {
                dropped.record(TRACESTATE, DropReason::Oversized);
            }
        }
    }

    /// The list, cut at its end (the oldest members) if it is too long.
    pub(super) fn into_state(self, dropped: &mut Dropped) -> TraceState {
        let mut bytes = 0;
        let all = self.0.len();
        let fitting: Vec<(String, String)> = self
            .0
            .into_iter()
            .take_while(|(key, value)| {
                bytes += key.len() + value.len() + 2;
                bytes <= BYTES_MAX + 1
            })
            .collect();
        if fitting.len() < all {
            dropped.record(TRACESTATE, DropReason::Oversized);
        }
        TraceState::from_key_value(fitting).unwrap_or_default()
    }
}

/// Parses `key=value`.
fn member(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    let is_printable = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let is_valid = is_printable && !value.is_empty() && TraceState::from_key_value([(key, value)]).is_ok();
    (is_valid && !key.is_empty()).then_some((key, value))
}
