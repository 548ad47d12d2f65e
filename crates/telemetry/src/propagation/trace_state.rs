//! `tracestate`: vendors' state beside a `traceparent`, passed on as it came. One list, also when it arrives in several headers.

use opentelemetry::trace::TraceState;

use super::TRACESTATE;
use super::dropped::{Dropped, Why};

/// W3C asks for at least this much to be passed on.
pub(super) const BYTES_MAX: usize = 512;
/// W3C's bound of a list.
const MEMBERS_MAX: usize = 32;
/// One header that is longer is not looked at.
const LINE_BYTES_MAX: usize = 8_192;

/// The members seen so far, the leftmost first.
#[derive(Debug, Default)]
pub(super) struct Members(Vec<(String, String)>);

impl Members {
    /// Adds one header's members. A header with a member that is none is dropped whole.
    ///
    /// A key that comes again has its later value: a list that was appended to a message is newer than the one before it.
    pub(super) fn add(&mut self, line: &str, dropped: &mut Dropped) {
        if line.len() > LINE_BYTES_MAX {
            return dropped.note(TRACESTATE, Why::Oversized);
        }
        let members =
            line.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|m| !m.is_empty());
        let pairs: Option<Vec<(&str, &str)>> = members.map(member).collect();
        let Some(pairs) = pairs else { return dropped.note(TRACESTATE, Why::Malformed) };
        for (key, value) in pairs {
            if let Some((_, known)) = self.0.iter_mut().find(|(known, _)| known == key) {
                value.clone_into(known);
            } else if self.0.len() < MEMBERS_MAX {
                self.0.push((key.to_owned(), value.to_owned()));
            } else {
                dropped.note(TRACESTATE, Why::Oversized);
            }
        }
    }

    /// The list; what does not fit is left out at its end, where the oldest stands.
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
            dropped.note(TRACESTATE, Why::Oversized);
        }
        TraceState::from_key_value(fitting).unwrap_or_default()
    }
}

/// `key=value`, if it is one.
fn member(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    let is_printable = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let is_valid = is_printable && !value.is_empty() && TraceState::from_key_value([(key, value)]).is_ok();
    (is_valid && !key.is_empty()).then_some((key, value))
}
