//! Arranges a trace in rows from top to bottom: spans depth first, each followed by its errors and logs.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use super::format::{Service, duration_ms};
use crate::{
    projects::Projects,
    protocol::trace::{Log, Span, Trace, TraceError},
};

/// Deepest indentation. Deeper levels are drawn like this one, because the width of the page is limited.
const DEPTH_MAX: usize = 24;
/// A bar that ends before this percentage has room for its duration behind it.
const LABEL_FITS_BELOW: f64 = 86.0;
/// A bar that begins after this percentage has room for its duration before it.
const LABEL_FITS_FROM: f64 = 12.0;
/// Smallest width of a bar, in percent.
const BAR_MIN: f64 = 0.3;

/// Rows of a trace and labels of the axis.
#[derive(Debug)]
pub(super) struct Waterfall {
    pub(super) rows: Vec<Row>,
    pub(super) services: Vec<Service>,
    pub(super) begin: f64,
    pub(super) duration: String,
    pub(super) ticks: Vec<(u32, String)>,
}

#[derive(Debug)]
pub(super) enum Row {
    Span(Box<SpanRow>),
    Error { depth: usize, title: String, issue_id: String, at: f64, handled: bool },
    Log { depth: usize, level: String, body: String, at: f64, attributes: Vec<(String, String)> },
    Missing { parent: String, is_stored: bool },
}

/// A span and its bar.
#[derive(Debug)]
pub(super) struct SpanRow {
    pub(super) depth: usize,
    pub(super) id: String,
    pub(super) parent: String,
    pub(super) service: Service,
    pub(super) op: String,
    pub(super) description: String,
    pub(super) status: String,
    pub(super) failed: bool,
    pub(super) is_transaction: bool,
    pub(super) release: String,
    pub(super) starts: String,
    pub(super) duration: String,
    pub(super) left: f64,
    pub(super) width: f64,
    /// Position of the duration: before, inside or after the bar.
    pub(super) side: &'static str,
    pub(super) attributes: Vec<(String, String)>,
    /// Trace id and span id of each link.
    pub(super) links: Vec<(String, String)>,
    pub(super) seq: u64,
    pub(super) is_duplicate: bool,
}

struct Drawing<'a> {
    trace: &'a Trace,
    projects: &'a Projects,
    children: BTreeMap<Option<&'a str>, Vec<usize>>,
    errors: BTreeMap<&'a str, Vec<&'a TraceError>>,
    logs: BTreeMap<&'a str, Vec<&'a Log>>,
    drawn: HashSet<usize>,
    annotated: HashSet<&'a str>,
    duplicates: HashSet<&'a str>,
    begin: f64,
    length: f64,
    rows: Vec<Row>,
}

impl Waterfall {
    /// Arranges the rows of a trace.
    pub(super) fn new(trace: &Trace, projects: &Projects) -> Self {
        let moments = trace.spans.iter().flat_map(|span| [span.start, span.end]);
        let moments = moments.chain(trace.errors.iter().map(|error| error.timestamp));
        let moments: Vec<f64> =
            moments.chain(trace.logs.iter().map(|log| log.timestamp)).filter(|at| *at > 0.0).collect();
        let begin = moments.iter().copied().fold(f64::INFINITY, f64::min);
        let end = moments.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (begin, length) = if begin.is_finite() { (begin, (end - begin).max(1e-6)) } else { (0.0, 1e-6) };
        let rows = Drawing::new(trace, projects, begin, length).draw();
        let tick = |percent: u32| (percent, duration_ms(length * f64::from(percent) * 10.0));
        Self {
            rows,
            services: trace.services.iter().map(|name| Service::new(projects, name)).collect(),
            begin,
            duration: duration_ms(length * 1000.0),
            ticks: [0, 25, 50, 75].map(tick).into(),
        }
    }
}

impl<'a> Drawing<'a> {
    fn new(trace: &'a Trace, projects: &'a Projects, begin: f64, length: f64) -> Self {
        let mut children: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
        for (index, span) in trace.spans.iter().enumerate() {
            children.entry(span.parent_span_id.as_deref()).or_default().push(index);
        }
        let mut errors: BTreeMap<&str, Vec<&TraceError>> = BTreeMap::new();
        for error in &trace.errors {
            errors.entry(error.span_id.as_deref().unwrap_or_default()).or_default().push(error);
        }
        let mut logs: BTreeMap<&str, Vec<&Log>> = BTreeMap::new();
        for log in &trace.logs {
            logs.entry(log.span_id.as_deref().unwrap_or_default()).or_default().push(log);
        }
        let (drawn, annotated, rows) = (HashSet::new(), HashSet::new(), Vec::new());
        let duplicates = trace.duplicates.iter().map(String::as_str).collect();
        Self { trace, projects, children, errors, logs, drawn, annotated, duplicates, begin, length, rows }
    }

    /// Draws roots, then spans whose parent is not shown, then circles of spans, then errors and logs without a shown span.
    fn draw(mut self) -> Vec<Row> {
        self.draw_children(None, 0);
        for parent in &self.trace.absent_parents {
            self.rows.push(Row::Missing { parent: parent.clone(), is_stored: self.trace.truncated });
            self.draw_children(Some(parent), 1);
        }
        for index in 0..self.trace.spans.len() {
            self.draw_span(index, 0);
        }
        let elsewhere: Vec<&str> = self.errors.keys().chain(self.logs.keys()).copied().collect();
        for span_id in elsewhere {
            self.draw_annotations(span_id, 0);
        }
        self.rows
    }

    fn draw_children(&mut self, parent: Option<&str>, depth: usize) {
        // An explicit stack, because a chain of twenty thousand spans must not overflow the thread's stack.
        let mut stack: Vec<(usize, usize)> = Vec::new();
        let push = |stack: &mut Vec<(usize, usize)>, children: &[usize], depth| {
            stack.extend(children.iter().rev().map(|index| (*index, depth)));
        };
        push(&mut stack, self.children.get(&parent).map(Vec::as_slice).unwrap_or_default(), depth);
        while let Some((index, depth)) = stack.pop() {
            if self.draw_span(index, depth) {
                let id = self.trace.spans[index].span_id.as_str();
                push(
                    &mut stack,
                    self.children.get(&Some(id)).map(Vec::as_slice).unwrap_or_default(),
                    depth + 1,
                );
            }
        }
    }

    /// Draws a span with its errors and logs. Returns false when it was drawn before.
    fn draw_span(&mut self, index: usize, depth: usize) -> bool {
        if !self.drawn.insert(index) {
            return false;
        }
        let span = &self.trace.spans[index];
        let row = self.row(span, depth);
        self.rows.push(Row::Span(Box::new(row)));
        self.draw_annotations(&span.span_id, depth + 1);
        true
    }

    fn draw_annotations(&mut self, span_id: &'a str, depth: usize) {
        if !self.annotated.insert(span_id) {
            return;
        }
        let depth = depth.min(DEPTH_MAX);
        for error in self.errors.get(span_id).into_iter().flatten() {
            self.rows.push(Row::Error {
                depth,
                title: error.title.clone(),
                issue_id: error.issue_id.clone(),
                at: self.percent(error.timestamp),
                handled: error.handled,
            });
        }
        for log in self.logs.get(span_id).into_iter().flatten() {
            self.rows.push(Row::Log {
                depth,
                level: log.level.clone().unwrap_or_default(),
                body: log.body.clone().unwrap_or_default(),
                at: self.percent(log.timestamp),
                attributes: members(log.attributes.get()),
            });
        }
    }

    fn row(&self, span: &Span, depth: usize) -> SpanRow {
        let left = self.percent(span.start).min(100.0 - BAR_MIN);
        // A rounding error can make `100.0 - left` less than `BAR_MIN`, for which `clamp` would panic.
        let width = ((span.end - span.start) / self.length * 100.0).max(BAR_MIN).min(100.0 - left);
        let side = match left {
            left if left + width <= LABEL_FITS_BELOW => "after",
            left if left > LABEL_FITS_FROM => "before",
            _ => "inside",
        };
        let status = span.status.clone().unwrap_or_default();
        SpanRow {
            depth: depth.min(DEPTH_MAX),
            id: span.span_id.clone(),
            parent: span.parent_span_id.clone().unwrap_or_default(),
            service: Service::new(self.projects, &span.project),
            op: span.op.clone(),
            description: span.description.clone().unwrap_or_default(),
            failed: !status.is_empty() && status != "ok",
            status,
            is_transaction: span.is_transaction,
            release: span.release.clone().unwrap_or_default(),
            starts: duration_ms((span.start - self.begin) * 1000.0),
            duration: duration_ms((span.end - span.start) * 1000.0),
            left,
            width,
            side,
            attributes: members(span.data.get()),
            links: links(span.links.get()),
            seq: span.seq,
            is_duplicate: self.duplicates.contains(span.span_id.as_str()),
        }
    }

    fn percent(&self, at: f64) -> f64 {
        ((at - self.begin) / self.length * 100.0).clamp(0.0, 100.0)
    }
}

/// Returns the names and values of a JSON object, with the values as text.
fn members(json: &str) -> Vec<(String, String)> {
    let object: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    object.into_iter().map(|(name, value)| (name, text(value))).collect()
}

fn links(json: &str) -> Vec<(String, String)> {
    let links: Vec<Value> = serde_json::from_str(json).unwrap_or_default();
    let id = |link: &Value, name: &str| {
        link[name]
            .as_str()
            .filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .unwrap_or_default()
            .to_owned()
    };
    links.iter().map(|link| (id(link, "trace_id"), id(link, "span_id"))).collect()
}
