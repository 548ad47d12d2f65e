//! Queries for flame graphs: of the profiles of one envelope, of the chunks of a period, and of all spans of a trace.
//!
//! Of a trace, the profiles of its transactions count with the thread that each ran on. The chunks of the continuous profiles that its
//! spans name count with the samples that each span's own thread has between the span's start and end, and with those of all threads
//! where nobody says the thread. A span that names no profile has no samples in chunks. A worker thread serves other work while a span
//! waits, so some of these samples can be of that.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::{extract::State, response::Response};
use chassis::problem::Problem;
use serde::{Deserialize, Serialize};

use super::{
    lines::{ListedEnvelope, WriteError, each_envelope, stream, with_envelope},
    params::UrlQuery,
    profiles::whole_body,
    read_limit::ReadLimit,
    state::{Query, unknown_project},
    traces,
};
use crate::{
    index::{
        Page,
        read::{self, EnvelopeRow},
    },
    journal::Reader,
    protocol::{
        digest::{self, Kinds},
        envelope::{Envelope, Item},
        fields::Fields,
        flame::{Flame, Profilers, Select},
        profile::{FunctionShare, comparable_profiler_id},
        trace::Trace,
    },
};

/// Item type of a part of a continuous profile.
const CHUNK: &str = "profile_chunk";
/// Item type of the profile of a transaction.
const PROFILE: &str = "profile";
/// Period of a query that names none.
const PERIOD_S: f64 = 3_600.0;
/// Time after its last sample by which a chunk has arrived: its own minute, and a receiver that was out of order for a while.
const LATE_S: f64 = 150.0;
/// Approximate memory limit of the trace whose spans select samples.
const TRACE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest number of envelopes of a trace whose profiles are read.
const ENVELOPES_MAX: u32 = 1_000;
/// Largest number of periods of one thread in one trace. Further ones are not looked for.
const PERIODS_MAX: usize = 256;

/// Parameters: a trace, an envelope, or chunks by service, continuous profile and period.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct FlameParams {
    #[serde(default)]
    trace: Option<String>,
    #[serde(default)]
    seq: Option<u64>,
    #[serde(default)]
    project: Option<String>,
    #[serde(default)]
    profiler: Option<String>,
    #[serde(default)]
    from: Option<f64>,
    #[serde(default)]
    to: Option<f64>,
    #[serde(default)]
    focus: Option<String>,
}

/// Profiles that are drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Subject {
    /// Everything that was profiled of a trace.
    Trace([u8; 16]),
    /// Profiles and chunks of one envelope.
    Envelope(u64),
    /// Samples of chunks.
    Chunks(Chunks),
}

/// Samples of the chunks of a service, or of all, from one moment to another, in seconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chunks {
    project: Option<u32>,
    profiler: Option<String>,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) subject: Subject,
    pub(crate) focus: Option<String>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) flame: Flame,
    /// Profiles of transactions with such samples.
    pub(crate) profiles: u64,
    /// Chunks with such samples.
    pub(crate) chunks: u64,
    /// Profiles and chunks that are larger than the recorder keeps in memory.
    pub(crate) unread: u64,
    /// True when a limit was reached, so that further ones were not read.
    pub(crate) truncated: bool,
}

impl FlameParams {
    /// Returns the address of a page with these parameters and a focus.
    pub(crate) fn with_focus(&self, path: &str, focus: Option<&str>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let number = |number: f64| number.to_string();
        let all = [
            ("trace", self.trace.clone()),
            ("seq", self.seq.map(|seq| seq.to_string())),
            ("project", self.project.clone()),
            ("profiler", self.profiler.clone()),
            ("from", self.from.map(number)),
            ("to", self.to.map(number)),
            ("focus", focus.map(str::to_owned)),
        ];
        for (name, value) in all {
            if let Some(value) = value {
                query.append_pair(name, &value);
            }
        }
        format!("{path}?{}", query.finish())
    }

    /// Returns the same parameters with the period that a query without one has now. A link to it keeps its meaning.
    pub(crate) fn settled(mut self) -> Self {
        if self.trace.is_none() && self.seq.is_none() {
            let to = self.to.unwrap_or_else(now);
            self.from = Some(self.from.unwrap_or(to - PERIOD_S));
            self.to = Some(to);
        }
        self
    }

    /// Returns the requested function.
    pub(crate) fn focus(&self) -> Option<&str> {
        self.focus.as_deref().filter(|focus| !focus.is_empty())
    }

    /// Returns the requested trace.
    pub(crate) fn trace(&self) -> Option<&str> {
        self.trace.as_deref()
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Checks the parameters.
pub(crate) fn wanted(query: &Query, params: &FlameParams) -> Result<Wanted, Problem> {
    let params = params.clone().settled();
    let focus = params.focus().map(str::to_owned);
    let subject = match (&params.trace, params.seq) {
        (Some(_), Some(_)) => return Err(Problem::bad_request("give either trace or seq")),
        (Some(trace), None) => {
            let id = digest::trace_id(trace);
            Subject::Trace(id.ok_or_else(|| Problem::bad_request("a trace id is 32 hexadecimal digits"))?)
        }
        (None, Some(seq)) => Subject::Envelope(seq),
        (None, None) => Subject::Chunks(chunks(query, &params)?),
    };
    Ok(Wanted { subject, focus })
}

fn chunks(query: &Query, params: &FlameParams) -> Result<Chunks, Problem> {
    let project = match params.project.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => Some(query.projects.find(name).ok_or_else(|| unknown_project(query, name))?),
        None => None,
    };
    let (from, to) = (params.from.unwrap_or_default(), params.to.unwrap_or_default());
    if !(from.is_finite() && to.is_finite() && 0.0 <= from && from <= to) {
        return Err(Problem::bad_request("from and to must be seconds since 1970, from not after to"));
    }
    Ok(Chunks { project, profiler: params.profiler.clone(), from, to })
}

/// Reads the profiles that are wanted.
pub(crate) fn find(query: &Query, wanted: Wanted) -> Result<Found, WriteError> {
    let mut reading = Reading {
        query,
        reader: query.journal.reader(),
        limit: ReadLimit::default(),
        found: Found { flame: Flame::new(wanted.focus), profiles: 0, chunks: 0, unread: 0, truncated: false },
    };
    match wanted.subject {
        Subject::Trace(id) => reading.trace(id)?,
        Subject::Envelope(seq) => {
            let row = query.index.read(|connection| read::envelope(connection, seq))?;
            reading.rows(row.into_iter().collect(), &[PROFILE, CHUNK], Select::All)?;
        }
        Subject::Chunks(chunks) => {
            let select = Select::Period(chunks.from, chunks.to);
            reading.chunks(&chunks, select)?;
        }
    }
    Ok(reading.found)
}

/// Profiles while they are read.
struct Reading<'a> {
    query: &'a Query,
    /// For envelopes that are read as a whole.
    reader: Reader,
    limit: ReadLimit,
    found: Found,
}

impl Reading<'_> {
    fn trace(&mut self, id: [u8; 16]) -> Result<(), WriteError> {
        let query = self.query;
        let rows = query.index.read(|connection| read::trace_envelopes(connection, id, ENVELOPES_MAX))?;
        self.found.truncated |= u32::try_from(rows.len()).is_ok_and(|count| count >= ENVELOPES_MAX);
        self.rows(rows, &[PROFILE], Select::ActiveThread)?;
        let Some(trace) = traces::assemble(query, id, TRACE_BYTES_MAX)? else { return Ok(()) };
        self.found.truncated |= trace.truncated;
        for (name, profilers) in profilers_of(&trace) {
            let moments = profilers.values().flat_map(|threads| threads.values()).flatten();
            let (from, to) = moments.fold((f64::INFINITY, f64::NEG_INFINITY), |(from, to), period| {
                (from.min(period.0), to.max(period.1))
            });
            let project = query.projects.find(&name);
            if project.is_some() && from <= to {
                let chunks = Chunks { project, profiler: None, from, to };
                self.chunks(&chunks, Select::Profilers(&profilers))?;
            }
        }
        Ok(())
    }

    fn rows(&mut self, rows: Vec<EnvelopeRow>, types: &[&str], select: Select<'_>) -> Result<(), WriteError> {
        let query = self.query;
        let mut reader = query.journal.reader();
        for row in rows {
            if self.limit.is_reached() {
                self.found.truncated = true;
                break;
            }
            with_envelope(query, &mut reader, row, |opened| self.envelope(&opened, types, None, select))?;
        }
        Ok(())
    }

    fn chunks(&mut self, chunks: &Chunks, select: Select<'_>) -> Result<(), WriteError> {
        let query = self.query;
        // A chunk arrives after its first sample, and soon after its last one
        let begin_us = (chunks.from * 1e6) as u64;
        let since = query.index.read(|connection| read::last_seq_before(connection, begin_us))?;
        let page = Page { since, project: chunks.project, limit: u32::MAX };
        each_envelope(query, page, Kinds::of(CHUNK), |opened| {
            if opened.source.received_at > chunks.to + LATE_S {
                return Ok(true);
            }
            if self.limit.is_reached() {
                self.found.truncated = true;
                return Ok(true);
            }
            self.envelope(&opened, &[CHUNK], chunks.profiler.as_deref(), select)?;
            Ok(false)
        })
    }

    /// Adds the items of these types, of one continuous profile if one is named.
    fn envelope(
        &mut self,
        opened: &ListedEnvelope<'_>,
        types: &[&str],
        profiler: Option<&str>,
        select: Select<'_>,
    ) -> Result<(), WriteError> {
        self.limit.count(opened);
        let is_wanted = |item: &&Item<'_>| types.contains(&item.item_type().as_ref());
        let is_complete = opened.envelope.items.iter().filter(is_wanted).all(|item| item.omitted == 0);
        let whole =
            if is_complete { None } else { whole_body(self.query, &mut self.reader, opened.source.seq)? };
        let parsed = whole.as_deref().and_then(|bytes| Envelope::parse(bytes).ok());
        let items = &parsed.as_ref().unwrap_or(opened.envelope).items;
        for item in items.iter().filter(is_wanted) {
            let Some(json) = item.json() else {
                self.found.unread += 1;
                continue;
            };
            if profiler.is_some_and(|wanted| !is_of_profiler(json, wanted)) {
                continue;
            }
            let before = self.found.flame.samples();
            self.found.flame.add(opened.source.name, json, select);
            let has_samples = u64::from(self.found.flame.samples() > before);
            if item.item_type() == CHUNK {
                self.found.chunks += has_samples;
            } else {
                self.found.profiles += has_samples;
            }
        }
        Ok(())
    }
}

fn is_of_profiler(json: &str, wanted: &str) -> bool {
    let id = Fields::parse(json).text("profiler_id");
    id.is_some_and(|id| comparable_profiler_id(&id) == comparable_profiler_id(wanted))
}

/// Returns the continuous profiles of each service with the periods of the spans that name them, by thread.
fn profilers_of(trace: &Trace) -> BTreeMap<String, Profilers> {
    let mut services: BTreeMap<String, Profilers> = BTreeMap::new();
    for span in &trace.spans {
        let Some(on) = span.profiled.clone().filter(|_| span.start <= span.end) else { continue };
        let profilers = services.entry(span.project.clone()).or_default();
        let periods = profilers.entry(on.profiler_id).or_default().entry(on.thread_id).or_default();
        // Spans come in order of their start, and a child is mostly within its parent
        if let Some((_, to)) = periods.last_mut()
            && span.start <= *to
        {
            *to = to.max(span.end);
        } else if periods.len() < PERIODS_MAX {
            periods.push((span.start, span.end));
        }
    }
    services
}

/// Answer of [`json`].
#[derive(Debug, Serialize)]
struct Answer {
    samples: u64,
    profiles: u64,
    chunks: u64,
    /// Profiles that are larger than the recorder keeps in memory.
    unread: u64,
    truncated: bool,
    /// Samples whose innermost functions did not fit into the tree.
    cut_samples: u64,
    /// The functions with the most samples of their own.
    functions: Vec<FunctionShare>,
}

/// `GET /api/v1/flame?trace=&seq=&project=&profiler=&from=&to=&focus=`: functions by the samples in which they were the innermost.
pub(super) async fn json(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<FlameParams>,
) -> Result<Response, Problem> {
    let wanted = wanted(&query, &params)?;
    stream(&query, "application/json", move |query, out| {
        let found = find(query, wanted)?;
        let answer = Answer {
            samples: found.flame.samples(),
            profiles: found.profiles,
            chunks: found.chunks,
            unread: found.unread,
            truncated: found.truncated,
            cut_samples: found.flame.cut(),
            functions: found.flame.functions(),
        };
        serde_json::to_writer(&mut *out, &answer)?;
        Ok(())
    })
    .await
}

/// `GET /api/v1/flame/folded`, with the same parameters: stacks as text, one a line, for other tools that draw flame graphs.
pub(super) async fn folded(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<FlameParams>,
) -> Result<Response, Problem> {
    let wanted = wanted(&query, &params)?;
    stream(&query, "text/plain; charset=utf-8", move |query, out| {
        find(query, wanted)?.flame.write_folded(out)?;
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;

    use super::*;
    use crate::protocol::trace::{LeftOut, Profiled, Span};

    fn span(project: &str, data: &serde_json::Value, start: f64, end: f64) -> Span {
        Span {
            span_id: "a".repeat(16),
            parent_span_id: None,
            project: project.to_owned(),
            release: None,
            op: "function".to_owned(),
            description: None,
            status: None,
            start,
            end,
            data: to_raw_value(data).expect("JSON"),
            links: to_raw_value(&serde_json::json!([])).expect("JSON"),
            is_transaction: false,
            seq: 1,
            profiled: Profiled::read(&to_raw_value(data).expect("JSON"), None),
        }
    }

    fn trace(spans: Vec<Span>) -> Trace {
        Trace {
            trace_id: "ab".repeat(16),
            services: Vec::new(),
            spans,
            errors: Vec::new(),
            logs: Vec::new(),
            metrics: Vec::new(),
            missing_parents: Vec::new(),
            duplicates: Vec::new(),
            truncated: false,
            left_out: LeftOut::default(),
            absent_parents: Vec::new(),
        }
    }

    #[test]
    fn spans_within_others_of_a_thread_count_once() {
        let on = |id: u64| serde_json::json!({"thread.id": id, "sentry.profiler_id": "p1"});
        let trace = trace(vec![
            span("game", &on(7), 10.0, 12.0),
            span("game", &on(7), 11.0, 11.5),
            span("game", &on(8), 11.2, 11.3),
            span("game", &on(7), 13.0, 14.0),
            span("game", &serde_json::json!({"thread.id": 7, "sentry.profiler_id": "p2"}), 13.5, 15.0),
            span("game", &serde_json::json!({"sentry.profiler_id": "p2"}), 14.0, 16.0),
            span("user", &serde_json::json!({"thread.id": 7}), 10.0, 20.0),
        ]);
        let services = profilers_of(&trace);
        assert_eq!(services.len(), 1, "user names no profile");
        let game = &services["game"];
        let seven = Some("7".to_owned());
        assert_eq!(game["p1"][&seven], [(10.0, 12.0), (13.0, 14.0)]);
        assert_eq!(game["p1"][&Some("8".to_owned())], [(11.2, 11.3)]);
        assert_eq!(game["p2"][&seven], [(13.5, 15.0)], "another process");
        let any_thread: Option<String> = None;
        assert_eq!(game["p2"][&any_thread], [(14.0, 16.0)]);
    }

    #[test]
    fn link_keeps_the_period_of_its_query() {
        let params =
            FlameParams { project: Some("game".to_owned()), to: Some(5_000.5), ..Default::default() };
        let link = params.settled().with_focus("/flame", Some("a::b<c>"));
        assert_eq!(link, "/flame?project=game&from=1400.5&to=5000.5&focus=a%3A%3Ab%3Cc%3E");
        let of_trace = FlameParams { trace: Some("ab".to_owned()), ..Default::default() };
        assert_eq!(of_trace.settled().with_focus("/flame", None), "/flame?trace=ab");
    }
}
