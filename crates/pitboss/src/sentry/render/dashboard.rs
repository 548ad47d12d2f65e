//! Dashboards and their widgets.

use serde_json::{Value, json};

use super::query;
use crate::sentry::model::{
    Dashboard, MetricSource, PREFIX, Source, SpanColumn, SpanSource, Widget, sent_label,
};

/// Interval of a point in a widget over time.
const INTERVAL: &str = "5m";
/// Number of groups in a widget over time.
const GROUPS_MAX: u32 = 5;

/// A dashboard with all its widgets.
#[must_use]
pub fn dashboard(dashboard: &Dashboard) -> Value {
    let widgets: Vec<Value> = dashboard.widgets.iter().map(widget).collect();
    json!({ "title": format!("{PREFIX}{}", dashboard.title), "widgets": widgets })
}

/// Columns of a query.
struct Columns {
    /// Data set.
    kind: &'static str,
    /// What the rows are grouped by.
    groups: Vec<String>,
    /// What is shown, with the names for people. An empty name stands for the expression itself.
    shown: Vec<(String, &'static str)>,
    conditions: String,
}

fn widget(widget: &Widget) -> Value {
    let Columns { kind, groups, shown, conditions } = match &widget.source {
        Source::Spans(source) => of_spans(source),
        Source::Metrics(source) => of_metrics(source),
    };
    let aggregates: Vec<&String> = shown.iter().map(|(expression, _)| expression).collect();
    let fields: Vec<&String> = groups.iter().chain(aggregates.iter().copied()).collect();
    let names: Vec<&str> = groups.iter().map(|_| "").chain(shown.iter().map(|(_, name)| *name)).collect();
    let order = if groups.is_empty() { None } else { aggregates.first().map(|first| format!("-{first}")) };
    let limit = (widget.display.is_over_time() && !groups.is_empty()).then_some(GROUPS_MAX);
    let ([x, y], [w, h]) = (widget.at, widget.size);
    json!({
        "title": widget.title,
        "description": widget.means,
        "displayType": widget.display.as_str(),
        "widgetType": kind,
        "interval": INTERVAL,
        "limit": limit,
        "layout": { "x": x, "y": y, "w": w, "h": h, "minH": 1 },
        "queries": [{
            "name": "",
            "fields": fields,
            "columns": groups,
            "aggregates": aggregates,
            "fieldAliases": names,
            "conditions": conditions,
            "orderby": order.unwrap_or_default(),
        }],
    })
}

fn of_spans(source: &SpanSource) -> Columns {
    let ops = match source.ops.as_slice() {
        [op] => format!("span.op:{op}"),
        ops => format!("span.op:[{}]", ops.join(", ")),
    };
    let conditions = if source.transactions { format!("is_transaction:true {ops}") } else { ops };
    let shown = source.show.iter().map(|column| {
        let (expression, name) = span_column(*column);
        (expression.to_owned(), name)
    });
    Columns { kind: "spans", groups: source.by.clone(), shown: shown.collect(), conditions }
}

fn of_metrics(source: &MetricSource) -> Columns {
    let shown = source.show.iter().map(|column| (query::metric(column.aggregate, column.name.0), ""));
    Columns {
        kind: "tracemetrics",
        groups: source.by.iter().map(|label| sent_label(label)).collect(),
        shown: shown.collect(),
        conditions: query::conditions(&source.labels, ""),
    }
}

/// The expression of a figure, and its name. An equation may combine functions, and has conditions of its own.
const fn span_column(column: SpanColumn) -> (&'static str, &'static str) {
    match column {
        SpanColumn::Count => ("count(span.duration)", "Number"),
        SpanColumn::RatePerMinute => ("epm()", "A minute"),
        SpanColumn::P50Duration => ("p50(span.duration)", "Median"),
        SpanColumn::P95Duration => ("p95(span.duration)", "p95"),
        SpanColumn::AvgDuration => ("avg(span.duration)", "Mean duration"),
        SpanColumn::SumDuration => ("sum(span.duration)", "Time spent"),
        SpanColumn::FailureRate => ("failure_rate()", "Failed"),
        SpanColumn::TransactionErrorRate => {
            ("equation|1 - (count_if(trace.status,equals,ok) / count(span.duration))", "Failed transactions")
        }
        SpanColumn::AvgReceiveLatency => ("avg(messaging.message.receive.latency)", "Time in queue"),
        SpanColumn::Published => ("equation|count_if(span.op,equals,queue.publish)", "Published"),
        SpanColumn::Processed => ("equation|count_if(span.op,equals,queue.process)", "Processed"),
    }
}
