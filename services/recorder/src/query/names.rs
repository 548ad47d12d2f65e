//! Every name in the telemetry of each service, so that a test can compare the names with the declared ones.

use std::collections::{BTreeMap, BTreeSet};

use axum::{extract::State, response::Response};
use chassis::problem::Problem;
use serde::Serialize;

use super::{
    lines::{ListedEnvelope, WriteError, stream},
    params::UrlQuery,
    scan::{Scanned, Window, WindowParams, scan, window},
    state::Query,
};
use crate::protocol::{
    digest::Kinds,
    envelope::Item,
    event::LABEL_BYTES_MAX,
    fields::cut,
    signals::{self, Attributes},
    spans,
};

/// Item types whose names are read.
const READ_TYPES: [&str; 4] = ["transaction", "span", "log", "trace_metric"];
/// Largest number of names of one kind and service. Further ones are counted.
const NAMES_MAX: usize = 2_000;

/// Names of one service.
#[derive(Debug, Default, Serialize)]
struct ServiceNames {
    span_ops: BTreeSet<String>,
    span_attributes: BTreeSet<String>,
    log_fields: BTreeSet<String>,
    metrics: BTreeSet<String>,
    metric_labels: BTreeSet<String>,
    /// Occurrences of names that are not listed, because there are too many.
    left_out: u64,
}

/// Answer of [`list`].
#[derive(Debug, Serialize)]
struct Names {
    #[serde(flatten)]
    scanned: Scanned,
    services: BTreeMap<String, ServiceNames>,
}

/// `GET /api/v1/names?since=&project=&period_s=`
pub(super) async fn list(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<WindowParams>,
) -> Result<Response, Problem> {
    let window = window(&query, &params)?;
    stream(&query, "application/json", move |query, out| {
        serde_json::to_writer(&mut *out, &names(query, window)?)?;
        Ok(())
    })
    .await
}

fn names(query: &Query, window: Window) -> Result<Names, WriteError> {
    let mut services: BTreeMap<String, ServiceNames> = BTreeMap::new();
    let scanned = scan(query, window, Kinds::any_of(&READ_TYPES), |opened| {
        services.entry(opened.source.name.to_owned()).or_default().add(opened);
    })?;
    Ok(Names { scanned, services })
}

impl ServiceNames {
    fn add(&mut self, opened: &ListedEnvelope<'_>) {
        let left_out = &mut self.left_out;
        spans::each_span(opened.envelope, opened.source.received_at, |span| {
            insert(&mut self.span_ops, &span.op, left_out);
            span.attributes().each_name(|name| insert(&mut self.span_attributes, name, left_out));
        });
        for item in &opened.envelope.items {
            match item.item_type().as_ref() {
                "log" => each_attribute(item, |name| insert(&mut self.log_fields, name, left_out)),
                "trace_metric" => {
                    each_name(item, |name| insert(&mut self.metrics, name, left_out));
                    each_attribute(item, |name| insert(&mut self.metric_labels, name, left_out));
                }
                _ => {}
            }
        }
    }
}

fn insert(names: &mut BTreeSet<String>, name: &str, left_out: &mut u64) {
    if names.contains(name) {
        return;
    }
    if names.len() < NAMES_MAX {
        names.insert(cut(name.to_owned(), LABEL_BYTES_MAX));
    } else {
        *left_out += 1;
    }
}

fn each_name(item: &Item<'_>, mut each: impl FnMut(&str)) {
    let Some(json) = item.json() else { return };
    signals::each_entry(json, |entry| each(&entry.text("name").unwrap_or_default()));
}

fn each_attribute(item: &Item<'_>, mut each: impl FnMut(&str)) {
    let Some(json) = item.json() else { return };
    signals::each_entry(json, |entry| Attributes::read(&entry).names().for_each(&mut each));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::{envelope::Envelope, trace::Source};

    #[test]
    fn names_of_every_signal_are_listed_once() {
        let attributes = |name: &str| json!({name: {"value": 1, "type": "integer"}});
        let entries = |name: &str| json!({"items": [{"name": "m", "attributes": attributes(name)}]});
        let transaction = json!({"contexts": {"trace": {"op": "queue.process", "data": {"a": 1}}},
            "spans": [{"op": "db", "data": {"a": 1, "b": 2}}]});
        let body = [("transaction", transaction), ("log", entries("l")), ("trace_metric", entries("t"))]
            .map(|(item_type, payload)| format!("{{\"type\":\"{item_type}\"}}\n{payload}\n"))
            .concat();
        let body = format!("{{}}\n{body}");
        let envelope = Envelope::parse(body.as_bytes()).expect("an envelope");
        let source = Source { seq: 1, received_at: 1.0, project: 1, name: "game" };
        let mut names = ServiceNames::default();
        for _ in 0..2 {
            names.add(&ListedEnvelope { source, envelope: &envelope, bytes: 0 });
        }
        assert_eq!(
            serde_json::to_value(&names).expect("JSON"),
            json!({"span_ops": ["db", "queue.process"], "span_attributes": ["a", "b"], "log_fields": ["l"],
                "metrics": ["m"], "metric_labels": ["t"], "left_out": 0})
        );
    }

    #[test]
    fn too_many_names_are_counted() {
        let (mut names, mut left_out) = (BTreeSet::new(), 0);
        for number in 0..NAMES_MAX + 2 {
            insert(&mut names, &number.to_string(), &mut left_out);
        }
        insert(&mut names, "0", &mut left_out);
        assert_eq!((names.len(), left_out), (NAMES_MAX, 2));
    }
}
