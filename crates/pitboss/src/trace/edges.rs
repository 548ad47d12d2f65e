//! Edges that the trace of one settled bet must have: `schemas/bet-trace.json`, shared by documentation, command line and tests.
//!
//! An edge is (service, op, destination) with the number of times that it occurs. The trace of a bet has these edges and no
//! others. An additional database or cache call is a finding, not noise.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::{Span, Trace};

/// The list in the repository.
const LIST: &str = include_str!("../../../../schemas/bet-trace.json");

/// One expected edge.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// Service that sends the span.
    pub service: String,
    /// Op of the span.
    pub op: String,
    /// Topic, route, `operation collection`, or cache key without its id.
    pub destination: String,
    /// Minimum number of occurrences.
    pub min: u32,
    /// Maximum number of occurrences.
    pub max: u32,
}

#[derive(Deserialize)]
struct List {
    edges: Vec<Edge>,
}

static EXPECTED: LazyLock<Vec<Edge>> = LazyLock::new(|| {
    // The list is compiled in and a test parses it, so it is valid in a program that was tested.
    serde_json::from_str::<List>(LIST).map(|list| list.edges).unwrap_or_default()
});

/// Edges that one bet must have.
#[must_use]
pub fn expected() -> &'static [Edge] {
    &EXPECTED
}

/// Object of a span's work, without anything that differs between bets.
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

/// Removes scheme and host from `GET http://host:port/path`, because they differ between machines.
fn without_host(description: &str) -> String {
    let Some((method, url)) = description.split_once(' ') else { return description.to_owned() };
    let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|slash| rest.get(slash..)));
    format!("{method} {}", path.unwrap_or(url))
}

/// Returns all differences from the trace of one bet: first the defects of the tree, then the differences from the list.
#[must_use]
pub fn findings(trace: &Trace) -> Vec<String> {
    let mut found = trace.defects();
    found.extend(differences(trace));
    found
}

/// Returns the differences between a trace and the list. Empty if there are none.
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
        counts.into_iter().map(|((s, op, to), n)| format!("{s} {op} {to}: {n}, but the list has none")),
    );
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edge_has_no_host() {
        assert_eq!(without_host("GET http://127.0.0.1:8102/a/{b}"), "GET /a/{b}");
        assert_eq!(without_host("GET /a"), "GET /a");
    }

    #[test]
    fn list_of_edges_is_valid() {
        let list: List = serde_json::from_str(LIST).expect("schemas/bet-trace.json is a list of edges");
        assert!(list.edges.len() >= 10, "only {} edges", list.edges.len());
        assert!(list.edges.iter().all(|e| e.min <= e.max && e.max > 0));
    }

    fn span(span_id: &str, parent: Option<&str>, edge: &Edge) -> Span {
        let mut data = serde_json::Map::new();
        let mut description = edge.destination.clone();
        match edge.op.as_str() {
            "db" => {
                let (operation, collection) = edge.destination.split_once(' ').expect("operation collection");
                data.insert("db.operation".into(), operation.into());
                data.insert("db.collection.name".into(), collection.into());
            }
            "cache.get" | "cache.put" => description.push_str(":an-id"),
            "http.client" => description = description.replacen(" /", " http://127.0.0.1:8102/", 1),
            op if op.starts_with("queue.") => {
                data.insert("messaging.destination.name".into(), edge.destination.clone().into());
            }
            _ => {}
        }
        Span {
            span_id: span_id.to_owned(),
            parent_span_id: parent.map(str::to_owned),
            project: edge.service.clone(),
            op: edge.op.clone(),
            description: Some(description),
            status: None,
            start: 0.0,
            end: 0.0,
            data,
            is_transaction: false,
        }
    }

    /// A correct trace: the first edge is the root, a `queue.process` is below its publish, and all others are below the root.
    fn good() -> Trace {
        let edges: Vec<&Edge> = expected().iter().filter(|edge| edge.min > 0).collect();
        let publish_of = |edge: &Edge| {
            let is_it = |e: &&Edge| e.op == "queue.publish" && e.destination == edge.destination;
            edges.iter().position(is_it).expect("a processed record was published").to_string()
        };
        let spans = edges.iter().enumerate().map(|(index, edge)| {
            let parent = match edge.op.as_str() {
                _ if index == 0 => None,
                "queue.process" => Some(publish_of(edge)),
                _ => Some("0".to_owned()),
            };
            span(&index.to_string(), parent.as_deref(), edge)
        });
        Trace {
            trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
            spans: spans.collect(),
            errors: vec![],
            logs: vec![],
            metrics: vec![],
            missing_parents: vec![],
            services: vec![],
        }
    }

    fn find<'a>(trace: &'a mut Trace, service: &str, op: &str) -> &'a mut Span {
        trace.spans.iter_mut().find(|s| s.project == service && s.op == op).expect("a span of the list")
    }

    /// Fault that a test adds to a good trace.
    type Fault = fn(&mut Trace);

    #[test]
    fn each_fault_of_a_trace_is_found() {
        assert_eq!(findings(&good()), Vec::<String>::new());
        let faults: [(&str, Fault); 10] = [
            ("2 roots instead of one", |t| find(t, "game", "db").parent_span_id = None),
            ("0 roots instead of one", |t| t.spans[0].parent_span_id = Some("1".into())),
            ("span 5 was sent twice", |t| t.spans.push(t.spans[5].clone())),
            ("orphan: db", |t| find(t, "user", "db").parent_span_id = Some("elsewhere".into())),
            ("a queue.process of user is the child of a http.server", |t| {
                find(t, "user", "queue.process").parent_span_id = Some("0".into());
            }),
            ("a queue.process of user starts 2.000 ms before its queue.publish", |t| {
                find(t, "user", "queue.process").start = -0.002;
            }),
            ("gateway cache.put reply: 0 instead of 1", |t| t.spans.retain(|s| s.op != "cache.put")),
            ("payment db update accounts: 2 instead of 1", |t| {
                let mut again = t.spans.iter().find(|s| destination(s) == "update accounts").cloned();
                again.iter_mut().for_each(|span| span.span_id = "again".into());
                t.spans.extend(again);
            }),
            ("analytics db find facts: 1, but the list has none", |t| {
                let edge = Edge {
                    service: "analytics".into(),
                    op: "db".into(),
                    destination: "find facts".into(),
                    min: 1,
                    max: 1,
                };
                t.spans.push(span("more", Some("0"), &edge));
            }),
            ("game queue.publish casino.bets.events.v1: 0 instead of 1", |t| {
                let is_it = |s: &Span| s.project == "game" && destination(s) == "casino.bets.events.v1";
                t.spans.retain(|s| !is_it(s));
            }),
        ];
        for (expected_finding, add_fault) in faults {
            let mut trace = good();
            add_fault(&mut trace);
            let found = findings(&trace);
            assert!(found.iter().any(|f| f.contains(expected_finding)), "{expected_finding}: {found:#?}");
        }
    }
}
