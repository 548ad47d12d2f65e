//! One trace from the recorder: fetches it until it is complete, compares it with the trace of one bet, and draws it as a tree.

pub mod edges;
pub mod recorder;
pub mod tree;

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

/// A trace, assembled by the recorder from the envelopes of every service.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Trace {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// Every span of every transaction, including the transactions' own.
    #[serde(default)]
    pub spans: Vec<Span>,
    /// Error events that belong to the trace.
    #[serde(default)]
    pub errors: Vec<serde_json::Value>,
    /// Log records that belong to the trace.
    #[serde(default)]
    pub logs: Vec<serde_json::Value>,
    /// Metrics that were emitted in the trace.
    #[serde(default)]
    pub metrics: Vec<serde_json::Value>,
    /// Parents that a span names and that are not in the trace.
    #[serde(default)]
    pub missing_parents: Vec<String>,
    /// Services that took part.
    #[serde(default)]
    pub services: Vec<String>,
}

/// One span in Sentry's form.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Span {
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// Id of the parent. Absent for the root of the trace.
    pub parent_span_id: Option<String>,
    /// Service that sent the span.
    pub project: String,
    /// Kind of work: `http.server`, `queue.publish`, `db`, …
    #[serde(default)]
    pub op: String,
    /// Object of the work.
    #[serde(default)]
    pub description: Option<String>,
    /// `ok` or a Sentry status.
    #[serde(default)]
    pub status: Option<String>,
    /// Start, in seconds since the epoch.
    pub start: f64,
    /// End, in seconds since the epoch.
    pub end: f64,
    /// Attributes.
    #[serde(default)]
    pub data: serde_json::Map<String, serde_json::Value>,
    /// `true` for the span of a transaction itself.
    #[serde(default)]
    pub is_transaction: bool,
}

impl Span {
    /// Duration in milliseconds.
    #[must_use]
    pub fn duration_ms(&self) -> f64 {
        (self.end - self.start) * 1000.0
    }

    /// A string attribute.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.data.get(key).and_then(serde_json::Value::as_str)
    }
}

impl Trace {
    /// Returns all defects that keep this trace from being one unbroken tree in which no record is processed before its publish
    /// began. Empty if there are none.
    #[must_use]
    pub fn defects(&self) -> Vec<String> {
        let mut defects = Vec::new();
        let roots = self.spans.iter().filter(|s| s.parent_span_id.is_none()).count();
        if roots != 1 {
            defects.push(format!("{roots} roots instead of one"));
        }
        let mut seen = HashSet::new();
        for span in &self.spans {
            if !seen.insert(&span.span_id) {
                defects.push(format!("span {} was sent twice", span.span_id));
            }
        }
        let by_id: HashMap<&str, &Span> = self.spans.iter().map(|s| (s.span_id.as_str(), s)).collect();
        for span in &self.spans {
            let Some(parent_id) = span.parent_span_id.as_deref() else { continue };
            match by_id.get(parent_id) {
                None => defects.push(format!("orphan: {} {} of {}", span.op, span.span_id, span.project)),
                Some(parent) if span.op == "queue.process" => defects.extend(defect_of_hop(parent, span)),
                Some(_) => {}
            }
        }
        defects
    }
}

/// Returns what is wrong between the publish of a record and its processing.
///
/// It needs no tolerance, because the services share the clock of one machine.
fn defect_of_hop(parent: &Span, process: &Span) -> Option<String> {
    if parent.op != "queue.publish" {
        return Some(format!("a queue.process of {} is the child of a {}", process.project, parent.op));
    }
    (process.start < parent.start).then(|| {
        let early_ms = (parent.start - process.start) * 1000.0;
        format!("a queue.process of {} starts {early_ms:.3} ms before its queue.publish", process.project)
    })
}
