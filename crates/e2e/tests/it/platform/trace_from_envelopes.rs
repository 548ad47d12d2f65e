//! Rebuilds a trace from raw envelopes alone, without trusting the recorder's own assembly.

use std::collections::BTreeSet;

use pitboss::trace::{Span, Trace};
use serde_json::Value;

use super::Platform;

/// Every envelope after `since`, as the recorder keeps it, in order of arrival.
pub(crate) async fn envelopes(platform: &Platform, since: u64) -> Vec<Value> {
    let url = format!("{}/api/v1/envelopes?since={since}", platform.recorder_url);
    let text = platform.http.get(url).send().await.expect("the recorder answers").text().await.expect("text");
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("one object a line"))
        .collect()
}

/// Number of the last envelope that the recorder has.
pub(crate) async fn last_seq(platform: &Platform) -> u64 {
    let mut last = 0;
    loop {
        let page = envelopes(platform, last).await;
        match page.last() {
            Some(line) => last = line["seq"].as_u64().expect("seq"),
            None => return last,
        }
    }
}

/// All items of type `kind` after `since`, as (project, payload).
pub(crate) async fn items(platform: &Platform, mut since: u64, kind: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    loop {
        let page = envelopes(platform, since).await;
        let Some(last) = page.last() else { return found };
        since = last["seq"].as_u64().expect("seq");
        for envelope in &page {
            let project = envelope["project"].as_str().unwrap_or_default().to_owned();
            for item in envelope["items"].as_array().into_iter().flatten() {
                if item["headers"]["type"] == kind {
                    found.push((project.clone(), item["payload"].clone()));
                }
            }
        }
    }
}

/// Builds the trace `trace_id` from the given transactions.
pub(crate) fn rebuild_trace(trace_id: &str, transactions: &[(String, Value)]) -> Trace {
    let mut spans = Vec::new();
    for (project, event) in transactions {
        let context = &event["contexts"]["trace"];
        if context["trace_id"] != trace_id {
            continue;
        }
        let mut root = span(project, context, true);
        root.description = event["transaction"].as_str().map(str::to_owned);
        root.start = seconds(&event["start_timestamp"]);
        root.end = seconds(&event["timestamp"]);
        spans.push(root);
        for child in event["spans"].as_array().into_iter().flatten() {
            assert_eq!(child["trace_id"], trace_id, "a span of another trace inside a transaction: {child}");
            let mut child_span = span(project, child, false);
            child_span.start = seconds(&child["start_timestamp"]);
            child_span.end = seconds(&child["timestamp"]);
            spans.push(child_span);
        }
    }
    let services: BTreeSet<String> = spans.iter().map(|s| s.project.clone()).collect();
    Trace {
        trace_id: trace_id.to_owned(),
        spans,
        errors: vec![],
        logs: vec![],
        metrics: vec![],
        missing_parents: vec![],
        services: services.into_iter().collect(),
    }
}

fn span(project: &str, value: &Value, is_transaction: bool) -> Span {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    Span {
        span_id: text("span_id").expect("span_id"),
        parent_span_id: text("parent_span_id"),
        project: project.to_owned(),
        op: text("op").unwrap_or_default(),
        description: text("description"),
        status: text("status"),
        start: 0.0,
        end: 0.0,
        data: value["data"].as_object().cloned().unwrap_or_default(),
        is_transaction,
    }
}

fn seconds(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a time in seconds as a float, not {value}"))
}
