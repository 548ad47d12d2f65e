//! One trace as the recorder tells it: fetching it until it is whole, comparing it with what one bet must look like, and
//! drawing it as a tree.

pub mod edges;
pub mod tree;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How often the recorder is asked while a trace is not whole yet.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A trace, assembled by the recorder from the envelopes of every service.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Trace {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// Every span of every transaction, the transactions' own included.
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
    /// Parents that are named by a span and are not in the trace.
    #[serde(default)]
    pub missing_parents: Vec<String>,
    /// The services that took part.
    #[serde(default)]
    pub services: Vec<String>,
}

/// One span, as Sentry has it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Span {
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// The parent's id; absent for the root of the trace.
    pub parent_span_id: Option<String>,
    /// The service that sent it.
    pub project: String,
    /// What kind of work it is: `http.server`, `queue.publish`, `db`, …
    #[serde(default)]
    pub op: String,
    /// What it worked on.
    #[serde(default)]
    pub description: Option<String>,
    /// `ok` or a Sentry status.
    #[serde(default)]
    pub status: Option<String>,
    /// Seconds since the epoch.
    pub start: f64,
    /// Seconds since the epoch.
    pub end: f64,
    /// Attributes.
    #[serde(default)]
    pub data: serde_json::Map<String, serde_json::Value>,
    /// Whether this is the span of a transaction itself.
    #[serde(default)]
    pub is_transaction: bool,
}

impl Span {
    /// How long it took, in milliseconds.
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
    /// Everything that keeps this trace from being one unbroken tree; empty when it is one.
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
                Some(parent) if span.op == "queue.process" && parent.op != "queue.publish" => {
                    defects
                        .push(format!("a queue.process of {} is the child of a {}", span.project, parent.op));
                }
                Some(_) => {}
            }
        }
        defects
    }
}

/// Asks the recorder at `recorder_url` for the trace; `None` when it has nothing of it.
///
/// # Errors
/// When the recorder cannot be reached or answers something else than a trace.
pub async fn fetch(client: &reqwest::Client, recorder_url: &str, trace_id: &str) -> Result<Option<Trace>> {
    let url = format!("{recorder_url}/api/v1/traces/{trace_id}");
    let response =
        client.get(&url).send().await.with_context(|| format!("the recorder does not answer at {url}"))?;
    if response.status() == reqwest::StatusCode::NOT_FOUND {
        return Ok(None);
    }
    if !response.status().is_success() {
        bail!("the recorder answered {} to GET {url}", response.status());
    }
    Ok(Some(response.json().await.context("the recorder's answer is not a trace")?))
}

/// Fetches the trace of a bet until it has every edge that one bet must have, or `deadline` passes; then it is returned as it
/// is, for the caller to judge.
///
/// # Errors
/// When the recorder cannot be reached, or nothing of the trace arrived in time.
pub async fn fetch_whole_bet(
    client: &reqwest::Client,
    recorder_url: &str,
    trace_id: &str,
    deadline: Duration,
) -> Result<Trace> {
    let until = Instant::now() + deadline;
    loop {
        let found = fetch(client, recorder_url, trace_id).await?;
        let whole = found.as_ref().is_some_and(|t| edges::findings(t).is_empty());
        match found {
            Some(trace) if whole || Instant::now() >= until => return Ok(trace),
            None if Instant::now() >= until => {
                bail!("nothing of trace {trace_id} reached the recorder within {} s", deadline.as_secs())
            }
            _ => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}
