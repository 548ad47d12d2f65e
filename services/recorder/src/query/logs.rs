//! Search of log entries by trace, level, attribute, service and text, newest first.
//!
//! An answer is a page. It names the cursor of the next one, and no entry is on two pages or on none. Entries that arrive between two
//! pages are on neither, because a page continues downwards.

use std::{
    collections::VecDeque,
    num::ParseIntError,
    str::FromStr,
    time::{Duration, Instant},
};

use axum::{extract::State, response::Response};
use chassis::problem::Problem;
use serde::{Deserialize, Serialize};

use super::{
    lines::{ListedEnvelope, WriteError, stream, with_envelope},
    params::UrlQuery,
    state::{ListParams, Query, checked_limit, page},
};
use crate::{
    index::{
        IndexError,
        read::{self, EnvelopeRow},
    },
    protocol::{
        assembly,
        digest::{self, Kinds},
        fields::Fields,
        trace::Log,
    },
};

/// Item type of log entries.
const LOG: &str = "log";
/// Number of entries on a page that names none.
const ENTRIES: u32 = 100;
/// Largest number of entries on a page.
const ENTRIES_MAX: u32 = 1_000;
/// Limit of the texts on a page. One entry is always there.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Limit of the decompressed bytes that are read for one page.
const READ_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Longest search for one page.
const SEARCH_DEADLINE: Duration = Duration::from_secs(5);
/// Number of rows that are fetched from the index at a time.
const ROWS: u32 = 200;
/// Levels of entries, as SDKs send them.
pub(crate) const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "fatal"];
/// Longest text of a parameter.
const TEXT_BYTES_MAX: usize = 1_000;

/// Parameters: `?trace=&level=&attribute=&text=&project=&before=&limit=`. An empty one is as none, because forms send it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct SearchParams {
    #[serde(default)]
    pub(crate) trace: String,
    #[serde(default)]
    pub(crate) level: String,
    #[serde(default)]
    pub(crate) attribute: String,
    #[serde(default)]
    pub(crate) text: String,
    #[serde(default)]
    pub(crate) project: String,
    #[serde(default)]
    before: String,
    #[serde(default)]
    limit: Option<u32>,
}

/// Where a page continues: with the entries before this one. An entry is named by its envelope and its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    seq: u64,
    entry: usize,
}

impl Cursor {
    /// Returns the newest envelope with entries before this one.
    fn last_seq(self) -> u64 {
        if self.entry == 0 { self.seq.saturating_sub(1) } else { self.seq }
    }
}

impl FromStr for Cursor {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (seq, entry) = text.split_once('-').unwrap_or((text, "0"));
        Ok(Self { seq: seq.parse()?, entry: entry.parse()? })
    }
}

/// A checked search.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    trace: Option<[u8; 16]>,
    level: Option<String>,
    /// Name of an attribute, and its value if it must have one.
    attribute: Option<(String, Option<String>)>,
    /// In lower case.
    text: Option<String>,
    project: Option<u32>,
    before: Cursor,
    limit: usize,
}

/// One page.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Found {
    /// Entries, newest first.
    pub(crate) logs: Vec<Log>,
    /// `before` of the next page. Absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// Number of envelopes that were read.
    pub(crate) envelopes: u64,
    /// True when a limit ended the search before the page was full. The next page continues it.
    pub(crate) truncated: bool,
    #[serde(skip)]
    text_bytes: usize,
    #[serde(skip)]
    read_bytes: u64,
}

/// `GET /api/v1/logs/search`
pub(super) async fn list(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<SearchParams>,
) -> Result<Response, Problem> {
    let wanted = search(&query, &params)?;
    stream(&query, "application/json", move |query, out| {
        serde_json::to_writer(&mut *out, &find(query, &wanted)?)?;
        Ok(())
    })
    .await
}

/// Checks the parameters.
pub(crate) fn search(query: &Query, params: &SearchParams) -> Result<Search, Problem> {
    let SearchParams { trace, level, attribute, text, project, before, limit } = params;
    if [trace, level, attribute, text, before].iter().any(|given| given.len() > TEXT_BYTES_MAX) {
        return Err(Problem::bad_request(format!("a parameter has more than {TEXT_BYTES_MAX} bytes")));
    }
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let trace = match given(trace) {
        Some(id) => Some(digest::trace_id(&id).ok_or_else(|| bad("trace must be 32 hexadecimal digits"))?),
        None => None,
    };
    let level = given(level);
    if level.as_ref().is_some_and(|level| !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level))) {
        return Err(Problem::bad_request(format!("level must be one of {}", LEVELS.join(", "))));
    }
    let before = match given(before) {
        Some(cursor) => {
            cursor.parse::<Cursor>().map_err(|_| bad("before must be the next of an earlier page"))?
        }
        None => Cursor { seq: u64::MAX, entry: 0 },
    };
    let attribute = given(attribute).map(|wanted| match wanted.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (wanted, None),
    });
    Ok(Search {
        trace,
        level,
        attribute,
        text: given(text).map(|text| text.to_lowercase()),
        project: page(query, &ListParams::of(None, given(project)), 0)?.project,
        before,
        limit: checked_limit(*limit)?.unwrap_or(ENTRIES).min(ENTRIES_MAX) as usize,
    })
}

fn bad(message: &'static str) -> Problem {
    Problem::bad_request(message)
}

/// Reads one page.
pub(crate) fn find(query: &Query, search: &Search) -> Result<Found, WriteError> {
    let began = Instant::now();
    let mut reader = query.journal.reader();
    let mut found = Found::default();
    let mut upto = search.before.last_seq();
    loop {
        let rows = rows(query, search, upto)?;
        for row in &rows {
            let added = with_envelope(query, &mut reader, *row, |opened| Ok(found.add(search, &opened)))?;
            if added == Some(true) {
                return Ok(found);
            }
            if found.read_bytes >= READ_BYTES_MAX || began.elapsed() >= SEARCH_DEADLINE {
                found.truncated = true;
                found.next = Some(format!("{}-0", row.seq));
                return Ok(found);
            }
        }
        match rows.last() {
            Some(last) if last.seq > 1 => upto = last.seq - 1,
            _ => return Ok(found),
        }
    }
}

/// Returns the next envelopes to read, newest first.
fn rows(query: &Query, search: &Search, upto: u64) -> Result<Vec<EnvelopeRow>, IndexError> {
    query.index.read(|connection| match search.trace {
        Some(id) => read::trace_logs_down_from(connection, id, upto, ROWS),
        None => read::envelopes_down_from(connection, upto, search.project, Kinds::of(LOG), ROWS),
    })
}

impl Found {
    /// Adds the entries of an envelope, newest first. Returns true when the page is full.
    fn add(&mut self, search: &Search, opened: &ListedEnvelope<'_>) -> bool {
        self.envelopes += 1;
        self.read_bytes += opened.bytes;
        let source = opened.source;
        if search.project.is_some_and(|project| project != source.project) {
            return false;
        }
        let end = if source.seq == search.before.seq { search.before.entry } else { usize::MAX };
        let room = search.limit.saturating_sub(self.logs.len());
        let mut last = Last { entries: VecDeque::new(), text_bytes: self.text_bytes, room, has_more: false };
        let mut place = 0;
        for item in opened.envelope.items.iter().filter(|item| item.item_type() == LOG) {
            assembly::logs(source, item, |log| {
                if place < end && search.matches(&log) {
                    last.push(place, log);
                }
                place += 1;
            });
        }
        let first = last.entries.front().map_or(0, |(place, _)| *place);
        self.text_bytes = last.text_bytes;
        self.logs.extend(last.entries.into_iter().rev().map(|(_, log)| log));
        let is_full = last.has_more || self.logs.len() >= search.limit || self.text_bytes >= PAGE_BYTES_MAX;
        if is_full {
            let entry = if last.has_more { first } else { 0 };
            self.next = Some(format!("{}-{entry}", source.seq));
        }
        is_full
    }
}

/// The last entries of an envelope for which the page has room, with their places.
struct Last {
    entries: VecDeque<(usize, Log)>,
    text_bytes: usize,
    room: usize,
    has_more: bool,
}

impl Last {
    fn push(&mut self, place: usize, log: Log) {
        self.text_bytes += text_bytes(&log);
        self.entries.push_back((place, log));
        while self.entries.len() > 1
            && (self.entries.len() > self.room || self.text_bytes > PAGE_BYTES_MAX)
            && let Some((_, oldest)) = self.entries.pop_front()
        {
            self.text_bytes -= text_bytes(&oldest);
            self.has_more = true;
        }
    }
}

fn text_bytes(log: &Log) -> usize {
    log.body.as_ref().map_or(0, String::len) + log.attributes.get().len()
}

impl Search {
    fn matches(&self, log: &Log) -> bool {
        let is_of_trace =
            self.trace.is_none_or(|id| log.trace_id.as_deref().and_then(digest::trace_id) == Some(id));
        let is_of_level = self
            .level
            .as_ref()
            .is_none_or(|level| log.level.as_ref().is_some_and(|known| known.eq_ignore_ascii_case(level)));
        let has_text = self.text.as_ref().is_none_or(|text| {
            log.body.as_ref().is_some_and(|body| body.to_lowercase().contains(text.as_str()))
        });
        is_of_trace && is_of_level && has_text && self.has_attribute(log)
    }

    fn has_attribute(&self, log: &Log) -> bool {
        let Some((name, value)) = &self.attribute else { return true };
        let attributes = Fields::parse(log.attributes.get());
        match value {
            Some(value) => {
                attributes.text(name).is_some_and(|known| known == *value)
                    || attributes.get(name).is_some_and(|known| is_same_number(known.get(), value))
            }
            None => attributes.get(name).is_some(),
        }
    }
}

/// Returns true if both are the same number and one is written with a fraction or an exponent: a sender may write 1 as 1.0.
fn is_same_number(json: &str, wanted: &str) -> bool {
    let has_fraction = [json, wanted].iter().any(|text| text.contains(['.', 'e', 'E']));
    let number = |text: &str| text.parse::<f64>().ok();
    has_fraction && number(json).is_some_and(|known| number(wanted) == Some(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers() {
        for (json, wanted) in [("1.0", "1"), ("1", "1.0"), ("1e3", "1000"), ("-0.50", "-.5")] {
            assert!(is_same_number(json, wanted), "{json} {wanted}");
        }
        for (json, wanted) in [("1.0", "2"), ("\"1.0\"", "1"), ("true", "1"), ("1.0", "x"), ("1.0", "")] {
            assert!(!is_same_number(json, wanted), "{json} {wanted}");
        }
        assert!(
            !is_same_number("9007199254740993", "9007199254740992"),
            "whole numbers are compared as text"
        );
    }

    #[test]
    fn cursor_names_an_envelope_and_perhaps_an_entry() {
        assert_eq!("12-3".parse::<Cursor>(), Ok(Cursor { seq: 12, entry: 3 }));
        assert_eq!("12".parse::<Cursor>(), Ok(Cursor { seq: 12, entry: 0 }));
        let last_seq = |text: &str| text.parse::<Cursor>().expect("a cursor").last_seq();
        assert_eq!(["12-3", "12", "0"].map(last_seq), [12, 11, 0], "no envelope is read for nothing");
        for wrong in ["", "x", "12-", "-3", "1-2-3"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }
}
