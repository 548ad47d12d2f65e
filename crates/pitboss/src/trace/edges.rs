//! The edges that the trace of one settled bet must have: `schemas/bet-trace.json`, the list that documentation, command line
//! and tests share.
//!
//! An edge is (service, op, destination) with the number of times it occurs. The trace of a bet has these and no others; a
//! database or cache call more is a finding, not noise.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::{Span, Trace};

/// The list as it stands in the repository.
const LIST: &str = include_str!("../../../../schemas/bet-trace.json");

/// One expected edge.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// The service that sends it.
    pub service: String,
    /// The span's op.
    pub op: String,
    /// Topic, route, `operation collection`, or cache key without its id.
    pub destination: String,
    /// How often it occurs at least.
    pub min: u32,
    /// How often it occurs at most.
    pub max: u32,
}

#[derive(Deserialize)]
struct List {
    edges: Vec<Edge>,
}

static EXPECTED: LazyLock<Vec<Edge>> = LazyLock::new(|| {
    // The list is compiled in and a test parses it: it cannot be malformed in a program that was tested.
    serde_json::from_str::<List>(LIST).map(|list| list.edges).unwrap_or_default()
});

/// The edges that one bet must have.
#[must_use]
pub fn expected() -> &'static [Edge] {
    &EXPECTED
}

/// What a span worked on, without anything that differs from bet to bet.
#[must_use]
pub fn destination(span: &Span) -> String {
    if span.op.starts_with("queue.") {
        return span.text("messaging.destination.name").unwrap_or_default().to_owned();
    }
    if span.op == "db" {
        let operation = span.text("db.operation").unwrap_or_default();
        let collection = span.text("db.collection.name").unwrap_or_default();
        return format!("{operation} {collection}");
    }
    let description = span.description.as_deref().unwrap_or_default();
    if span.op.starts_with("cache.") {
        return description.split(':').next().unwrap_or_default().to_owned();
    }
    if span.op == "http.client" {
        return without_host(description);
    }
    description.to_owned()
}

/// `GET http://host:port/path` without the scheme and the host, which differ from machine to machine.
fn without_host(description: &str) -> String {
    let Some((method, url)) = description.split_once(' ') else { return description.to_owned() };
    let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|slash| rest.get(slash..)));
    format!("{method} {}", path.unwrap_or(url))
}

/// Everything that keeps a trace from being the trace of one bet: what breaks the tree, then what differs from the list.
#[must_use]
pub fn findings(trace: &Trace) -> Vec<String> {
    let mut found = trace.defects();
    found.extend(differences(trace));
    found
}

/// How a trace differs from the trace of one bet; empty when it does not.
#[must_use]
pub fn differences(trace: &Trace) -> Vec<String> {
    let mut counts: BTreeMap<(String, String, String), u32> = BTreeMap::new();
    for span in &trace.spans {
        *counts.entry((span.project.clone(), span.op.clone(), destination(span))).or_default() += 1;
    }
    let mut found = Vec::new();
    for edge in expected() {
        let key = (edge.service.clone(), edge.op.clone(), edge.destination.clone());
        let count = counts.remove(&key).unwrap_or(0);
        if count < edge.min || count > edge.max {
            let wanted = if edge.min == edge.max {
                edge.min.to_string()
            } else {
                format!("{}–{}", edge.min, edge.max)
            };
            found.push(format!(
                "{} {} {}: {count} instead of {wanted}",
                edge.service, edge.op, edge.destination
            ));
        }
    }
    found.extend(
        counts.into_iter().map(|((s, op, to), n)| format!("{s} {op} {to}: {n} that the list does not have")),
    );
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_not_part_of_an_edge() {
        assert_eq!(without_host("GET http://127.0.0.1:8102/a/{b}"), "GET /a/{b}");
        assert_eq!(without_host("GET /a"), "GET /a");
    }

    #[test]
    fn the_list_parses_and_is_not_empty() {
        let list: List = serde_json::from_str(LIST).expect("schemas/bet-trace.json is a list of edges");
        assert!(list.edges.len() >= 10, "only {} edges", list.edges.len());
        assert!(list.edges.iter().all(|e| e.min <= e.max && e.max > 0));
    }
}
