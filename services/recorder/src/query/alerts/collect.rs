//! Gathers the values of the rules from envelopes. Each envelope is read once.

use std::collections::{BTreeMap, HashMap};

use rules::{Labels, Measured, Rule, Series, Share, Signal, SpanMeasure, matches, sent_label};

use crate::{
    protocol::{
        event::LABEL_BYTES_MAX,
        fields::Fields,
        signals::{self, Attributes},
        spans::{self, StoredSpan},
    },
    query::{lines::ListedEnvelope, monitors::Tracker},
};

/// Item type of metrics.
const METRIC: &str = "trace_metric";
/// Statuses of a transaction that has not failed, as in Sentry.
const NOT_FAILED: [&str; 4] = ["ok", "cancelled", "unknown", "unset"];

/// A part of a rule's signal that a metric is.
#[derive(Debug)]
struct Use {
    rule: usize,
    share: Share,
    /// Names as they are sent, and patterns.
    labels: Labels,
    without: Labels,
}

/// Values of all rules.
#[derive(Debug)]
pub(super) struct Collector {
    rules: &'static [Rule],
    /// What each metric is used for, by its name in Sentry.
    metrics: HashMap<&'static str, Vec<Use>>,
    /// Values of a rule in a project.
    series: BTreeMap<(usize, String), Series>,
    /// Monitors of check-ins.
    pub(super) monitors: Tracker,
    /// Number of values that arrived after the window of their rule.
    pub(super) late: u64,
}

impl Collector {
    pub(super) fn new(rules: &'static [Rule]) -> Self {
        let mut metrics: HashMap<&'static str, Vec<Use>> = HashMap::new();
        for (rule, declared) in rules.iter().enumerate() {
            let mut add = |metric: rules::Named, share, labels: &Labels, without: &Labels| {
                let of_metric = metrics.entry(metric.0.sentry_name()).or_default();
                of_metric.push(Use { rule, share, labels: sent(labels), without: sent(without) });
            };
            match &declared.signal {
                Signal::Metric(signal) => add(signal.name, Share::Part, &signal.labels, &signal.without),
                Signal::Ratio(ratio) => {
                    add(ratio.of, Share::Part, &ratio.labels, &Labels::new());
                    add(ratio.to, Share::Whole, &Labels::new(), &Labels::new());
                }
                Signal::Transactions(_) => {}
            }
        }
        Self { rules, metrics, series: BTreeMap::new(), monitors: Tracker::default(), late: 0 }
    }

    /// Adds what an envelope has for any rule.
    pub(super) fn add(&mut self, opened: &ListedEnvelope<'_>) {
        let (project, received_at) = (opened.source.name, opened.source.received_at);
        self.monitors.add(opened);
        spans::each_segment(opened.envelope, received_at, |span| self.segment(project, span, received_at));
        for item in opened.envelope.items.iter().filter(|item| item.item_type() == METRIC) {
            let Some(json) = item.json() else { continue };
            signals::each_entry(json, |entry| self.metric(project, &entry, received_at));
        }
    }

    /// Forgets what no evaluation needs any more.
    pub(super) fn forget(&mut self, now: f64) {
        self.monitors.forget(now);
        for ((rule, _), series) in &mut self.series {
            series.forget(&self.rules[*rule], now);
        }
    }

    /// Evaluates a rule in a project.
    pub(super) fn measure(&self, rule: usize, project: &str, now: f64) -> Measured {
        let empty = Series::default();
        let series = self.series.get(&(rule, project.to_owned())).unwrap_or(&empty);
        series.measure(&self.rules[rule], now)
    }

    fn segment(&mut self, project: &str, span: &StoredSpan<'_, '_>, received_at: f64) {
        let rules = self.rules;
        for (rule, declared) in rules.iter().enumerate() {
            let Signal::Transactions(signal) = &declared.signal else { continue };
            if signal.op != span.op || !declared.is_of(project) {
                continue;
            }
            let trace = span.trace_id();
            let mut put = |share, value| {
                self.put(rule, project, span.end, received_at, (share, value), trace.as_deref());
            };
            match signal.measure {
                SpanMeasure::P95DurationMs => put(Share::Part, span.duration_ms()),
                SpanMeasure::FailureRate => {
                    put(Share::Whole, 1.0);
                    let status = span.segment.status.as_deref();
                    if status.is_some_and(|status| !NOT_FAILED.contains(&status)) {
                        put(Share::Part, 1.0);
                    }
                }
            }
        }
    }

    fn metric(&mut self, project: &str, entry: &Fields<'_>, received_at: f64) {
        let Some(name) = entry.text("name") else { return };
        let Some(uses) = self.metrics.get(name.as_str()) else { return };
        let value = entry.get("value").and_then(|value| value.get().parse::<f64>().ok());
        let Some(value) = value.filter(|value| value.is_finite()) else { return };
        let attributes = Attributes::read(entry);
        let (at, trace) = (entry.time("timestamp").or(received_at), entry.short("trace_id", LABEL_BYTES_MAX));
        let is_meant = |used: &&Use| {
            self.rules[used.rule].is_of(project)
                && used.labels.iter().all(|(label, pattern)| has(&attributes, label, pattern))
                && !used.without.iter().any(|(label, pattern)| has(&attributes, label, pattern))
        };
        let meant: Vec<(usize, Share)> =
            uses.iter().filter(is_meant).map(|used| (used.rule, used.share)).collect();
        for (rule, share) in meant {
            self.put(rule, project, at, received_at, (share, value), trace.as_deref());
        }
    }

    fn put(
        &mut self,
        rule: usize,
        project: &str,
        at: f64,
        received_at: f64,
        (share, value): (Share, f64),
        trace: Option<&str>,
    ) {
        let rules = self.rules;
        let declared = &rules[rule];
        // A clock that runs ahead would keep a value from its evaluation.
        let at = at.min(received_at);
        if at < received_at - f64::from(declared.window_s) {
            self.late += 1;
            return;
        }
        let series = self.series.entry((rule, project.to_owned())).or_default();
        series.add(declared, at, share, value, trace);
    }
}

fn sent(labels: &Labels) -> Labels {
    labels.iter().map(|(label, pattern)| (sent_label(label), pattern.clone())).collect()
}

fn has(attributes: &Attributes<'_>, label: &str, pattern: &str) -> bool {
    attributes.text(label).is_some_and(|text| matches(pattern, &text))
}

#[cfg(test)]
mod tests {
    use rules::Verdict;
    use serde_json::json;

    use super::*;
    use crate::protocol::{envelope::Envelope, trace::Source};

    const NOW: f64 = 1_800_000_000.0;

    fn index_of(slug: &str) -> usize {
        rules::declared().rules.iter().position(|rule| rule.slug == slug).expect("a rule")
    }

    /// Adds an envelope of a project that was received at `NOW`.
    fn add(collector: &mut Collector, project: &str, item_type: &str, payload: &serde_json::Value) {
        let text = format!("{{}}\n{{\"type\":\"{item_type}\"}}\n{payload}\n");
        let envelope = Envelope::parse(text.as_bytes()).expect("an envelope");
        let source = Source { seq: 1, received_at: NOW, project: 1, name: project };
        collector.add(&ListedEnvelope { source, envelope: &envelope, bytes: 1 });
    }

    fn metric(name: &str, value: f64, at: f64, labels: &[(&str, &str)]) -> serde_json::Value {
        let attributes: serde_json::Map<String, serde_json::Value> = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!({"value": value, "type": "string"})))
            .collect();
        json!({"items": [{"timestamp": at, "trace_id": "ab".repeat(16), "name": name, "type": "counter",
            "value": value, "attributes": attributes}]})
    }

    fn transaction(op: &str, duration_s: f64, status: &str) -> serde_json::Value {
        json!({"type": "transaction", "transaction": "POST /", "start_timestamp": NOW - duration_s, "timestamp": NOW,
            "contexts": {"trace": {"trace_id": "cd".repeat(16), "span_id": "12".repeat(8), "op": op, "status": status}},
            "spans": [{"op": "http.server", "start_timestamp": NOW - 100.0, "timestamp": NOW, "status": "internal_error"}]})
    }

    fn measured(collector: &Collector, slug: &str, project: &str) -> Measured {
        collector.measure(index_of(slug), project, NOW)
    }

    #[test]
    fn metric_counts_with_its_labels() {
        let mut collector = Collector::new(&rules::declared().rules);
        let failed = metric("pitboss.payments.ended", 6.0, NOW, &[("pitboss.outcome", "failed")]);
        let captured = metric("pitboss.payments.ended", 94.0, NOW, &[("pitboss.outcome", "captured")]);
        add(&mut collector, "analytics", METRIC, &failed);
        add(&mut collector, "analytics", METRIC, &captured);
        add(&mut collector, "payment", METRIC, &failed);
        let found = measured(&collector, "payment-failures", "analytics");
        assert_eq!((found.verdict, found.traces), (Verdict::Firing(0.06), vec!["ab".repeat(16)]));
        assert_eq!(measured(&collector, "payment-failures", "payment").verdict, Verdict::NoData);
    }

    #[test]
    fn trace_of_a_metric_is_cut() {
        let mut collector = Collector::new(&rules::declared().rules);
        let mut letter = metric("pitboss.bus.records.dead_lettered", 1.0, NOW, &[]);
        letter["items"][0]["trace_id"] = json!("x".repeat(100_000));
        add(&mut collector, "game", METRIC, &letter);
        let traces = measured(&collector, "dead-letters", "game").traces;
        assert_eq!(traces.iter().map(String::len).collect::<Vec<_>>(), [LABEL_BYTES_MAX]);
    }

    #[test]
    fn lag_in_retry_topics_is_left_out() {
        let mut collector = Collector::new(&rules::declared().rules);
        for (topic, seconds) in
            [("casino.bets.events.v1.retry.analytics", 900.0), ("casino.bets.events.v1", 4.0)]
        {
            let lag = metric(
                "pitboss.consumer.lag.seconds",
                seconds,
                NOW,
                &[("messaging.destination.name", topic)],
            );
            add(&mut collector, "lagwatch", METRIC, &lag);
        }
        assert_eq!(measured(&collector, "lag-seconds", "lagwatch").verdict, Verdict::Ok(4.0));
    }

    #[test]
    fn only_roots_of_services_are_transactions() {
        let mut collector = Collector::new(&rules::declared().rules);
        for (duration_s, status) in
            [(0.9, "ok"), (0.9, "internal_error"), (0.9, "internal_error"), (0.9, "cancelled")]
        {
            add(&mut collector, "gateway", "transaction", &transaction("http.server", duration_s, status));
        }
        let Verdict::Firing(p95_ms) = measured(&collector, "request-latency", "gateway").verdict else {
            panic!("it is silent")
        };
        assert!((899.0..901.0).contains(&p95_ms), "{p95_ms}");
        assert_eq!(
            measured(&collector, "request-errors", "gateway").verdict,
            Verdict::Ok(0.5),
            "two are too few"
        );
        add(&mut collector, "gateway", "transaction", &transaction("http.server", 0.1, "not_found"));
        let errors = measured(&collector, "request-errors", "gateway");
        assert_eq!((errors.verdict, errors.traces.len()), (Verdict::Firing(0.6), 3));
        assert_eq!(measured(&collector, "request-errors", "user").verdict, Verdict::NoData);
    }

    #[test]
    fn late_values_are_counted_and_early_ones_count_at_once() {
        let mut collector = Collector::new(&rules::declared().rules);
        let name = "pitboss.bus.records.dead_lettered";
        add(&mut collector, "game", METRIC, &metric(name, 1.0, NOW - 301.0, &[]));
        assert_eq!(
            (measured(&collector, "dead-letters", "game").verdict, collector.late),
            (Verdict::NoData, 1)
        );
        add(&mut collector, "game", METRIC, &metric(name, 1.0, NOW + 900.0, &[]));
        assert_eq!(measured(&collector, "dead-letters", "game").verdict, Verdict::Firing(1.0));
        collector.forget(NOW + 400.0);
        assert_eq!(measured(&collector, "dead-letters", "game").verdict, Verdict::NoData);
    }
}
