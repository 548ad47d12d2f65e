//! What the recorder received since a moment, read from its HTTP queries.

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Sighting;
use crate::target::Target;
use crate::trace::Span;

/// Everything that evidence is judged by.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// Transactions with their spans.
    pub transactions: Vec<Transaction>,
    /// Issues with an event since the moment.
    pub issues: Vec<Issue>,
    /// Values of metrics.
    pub metrics: Vec<MetricValue>,
}

/// One transaction of a service.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Service that sent it.
    pub service: String,
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// Its spans. The first one is the segment, the span of the transaction itself.
    pub spans: Vec<Span>,
}

/// An issue, as the recorder groups it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Issue {
    /// Service that sent it.
    pub project: String,
    /// Title, as Sentry shows it.
    #[serde(default)]
    pub title: String,
    /// Number of events since the moment.
    #[serde(default)]
    pub count_since: u64,
    /// Trace of the last event.
    #[serde(default)]
    pub last_trace_id: Option<String>,
}

/// One value of a metric.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct MetricValue {
    /// Position of its envelope.
    pub seq: u64,
    /// Name of the metric.
    #[serde(default)]
    pub name: Option<String>,
    /// The value.
    #[serde(default)]
    pub value: Value,
    /// Its labels.
    #[serde(default)]
    pub attributes: Map<String, Value>,
}

impl Observation {
    /// Returns the sum of a metric's values with these labels.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let counts = |metric: &&MetricValue| {
            metric.name.as_deref() == Some(name)
                && labels.iter().all(|(label, value)| {
                    metric.attributes.get(*label).and_then(Value::as_str) == Some(*value)
                })
        };
        self.metrics.iter().filter(counts).filter_map(|metric| metric.value.as_f64()).sum()
    }

    /// Returns the first of at least `count_min` matching spans of a service.
    pub(super) fn spans(
        &self,
        service: &str,
        count_min: usize,
        matches: impl Fn(&Span) -> bool,
        what: &str,
    ) -> Option<Sighting> {
        let of_service = self.transactions.iter().filter(|transaction| transaction.service == service);
        let found = of_service.flat_map(|t| t.spans.iter().map(move |span| (t, span)));
        let mut matching = found.filter(|(_, span)| matches(span));
        let (first, _) = matching.next()?;
        let count = matching.count().saturating_add(1);
        let place = format!("{count} × {what}");
        (count >= count_min).then(|| Sighting { place, trace_id: Some(first.trace_id.clone()) })
    }
}

impl Transaction {
    /// Reads the payload of a transaction item. Returns `None` for one without a trace.
    #[must_use]
    pub fn read(service: &str, payload: &Value) -> Option<Self> {
        let context = payload.get("contexts")?.get("trace")?;
        let mut segment = span(service, context)?;
        segment.is_transaction = true;
        segment.description = text(payload, "transaction");
        (segment.start, segment.end) = times(payload);
        let children = payload.get("spans").and_then(Value::as_array).into_iter().flatten();
        let children = children.filter_map(|child| {
            let mut read = span(service, child)?;
            (read.start, read.end) = times(child);
            Some(read)
        });
        let trace_id = text(context, "trace_id")?;
        let spans = std::iter::once(segment).chain(children).collect();
        Some(Self { service: service.to_owned(), trace_id, spans })
    }
}

fn span(service: &str, value: &Value) -> Option<Span> {
    Some(Span {
        span_id: text(value, "span_id")?,
        parent_span_id: text(value, "parent_span_id"),
        project: service.to_owned(),
        op: text(value, "op").unwrap_or_default(),
        description: text(value, "description"),
        status: text(value, "status"),
        start: 0.0,
        end: 0.0,
        data: value.get("data").and_then(Value::as_object).cloned().unwrap_or_default(),
        is_transaction: false,
    })
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn times(value: &Value) -> (f64, f64) {
    let time = |key: &str| value.get(key).and_then(Value::as_f64).unwrap_or_default();
    (time("start_timestamp"), time("timestamp"))
}

/// An observation that grows: everything since it was opened.
#[derive(Debug)]
pub struct Window<'a> {
    target: &'a Target,
    /// Last envelope before the window.
    since: u64,
    transactions_until: u64,
    metrics_until: u64,
    seen: Observation,
}

impl<'a> Window<'a> {
    /// Opens a window that begins behind the last envelope of the recorder.
    ///
    /// # Errors
    /// When the recorder does not answer.
    pub async fn open(target: &'a Target) -> Result<Self> {
        #[derive(Deserialize)]
        struct Status {
            durable_seq: u64,
        }
        let text = get(target, "status").await?;
        let status: Status = serde_json::from_str(&text).context("the recorder's status is not readable")?;
        let since = status.durable_seq;
        let seen = Observation::default();
        Ok(Self { target, since, transactions_until: since, metrics_until: since, seen })
    }

    /// Reads what has arrived since the last call, and returns everything since the window was opened.
    ///
    /// # Errors
    /// When the recorder does not answer.
    pub async fn read(&mut self) -> Result<&Observation> {
        #[derive(Deserialize)]
        struct Envelope {
            seq: u64,
            project: String,
            items: Vec<Item>,
        }
        #[derive(Deserialize)]
        struct Item {
            headers: Value,
            payload: Value,
        }
        let path = format!("envelopes?type=transaction&since={}", self.transactions_until);
        for envelope in lines::<Envelope>(self.target, &path).await? {
            self.transactions_until = self.transactions_until.max(envelope.seq);
            let transactions = envelope
                .items
                .iter()
                .filter(|item| item.headers.get("type").and_then(Value::as_str) == Some("transaction"));
            let read = transactions.filter_map(|item| Transaction::read(&envelope.project, &item.payload));
            self.seen.transactions.extend(read);
        }
        let path = format!("metrics?since={}", self.metrics_until);
        let metrics = lines::<MetricValue>(self.target, &path).await?;
        self.metrics_until = metrics.iter().map(|metric| metric.seq).max().unwrap_or(self.metrics_until);
        self.seen.metrics.extend(metrics);
        self.seen.issues = lines(self.target, &format!("issues?since={}", self.since)).await?;
        Ok(&self.seen)
    }
}

async fn get(target: &Target, path: &str) -> Result<String> {
    let url = format!("{}/api/v1/{path}", target.recorder_url);
    let response = target.http().get(&url).send().await;
    let response = response.with_context(|| format!("the recorder does not answer at {url}"))?;
    Ok(response.error_for_status()?.text().await?)
}

async fn lines<T: DeserializeOwned>(target: &Target, path: &str) -> Result<Vec<T>> {
    let text = get(target, path).await?;
    let lines = text.lines().filter(|line| !line.is_empty());
    let parsed: Result<Vec<T>, serde_json::Error> = lines.map(serde_json::from_str).collect();
    parsed.with_context(|| format!("the recorder's answer to {path} is not readable"))
}
