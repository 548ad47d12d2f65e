//! The same rules for Prometheus, over the `/metrics` of the services: `deploy/prometheus/pitboss.rules.yml`.
//!
//! The label `job` of a scrape has to be the name of the service.

use std::fmt::Write as _;

use telemetry::metric::{Kind, Metric};

use super::model::{
    Aggregate, Definitions, Labels, NoData, Rule, Signal, SpanMeasure, SpanSignal, Threshold,
};

/// Time before a failed scrape in which the process is looked for, in seconds. One that was away for longer counts as another one.
const PROCESS_LOOKBACK_S: u32 = 3_600;
/// First lines of the file.
const HEAD: &str = "\
# Written from deploy/sentry/rules.toml: UPDATE_SCHEMAS=1 ./pitboss test -p pitboss prometheus
#
# The label `job` of a scrape has to be the name of the service. A counter that appears during the window counts with its whole
# value, which `increase` alone would not see: the first dead letter of a topic is such a counter. A counter that is only missing
# where the window begins, because that scrape failed or Prometheus did not run, is no new one, unless its process is a new one.
groups:
  - name: pitboss
    rules:
";

/// Renders all rules as a file of alerting rules. Rules that Prometheus has no metric for are listed in comments at its end.
#[must_use]
pub fn render(definitions: &Definitions) -> String {
    let mut text = HEAD.to_owned();
    let mut left_out = String::new();
    for rule in &definitions.rules {
        let Some(measured) = expression(rule) else {
            push(
                &mut left_out,
                format_args!("# Not here, because /metrics does not have it: {}\n", rule.slug),
            );
            continue;
        };
        let comparison = match rule.firing {
            Threshold::Above(bound) => format!("{measured} > {bound}"),
            Threshold::Below(bound) => format!("{measured} < {bound}"),
        };
        alert(&mut text, rule, "", &rule.name, &comparison);
        if rule.no_data == NoData::Firing
            && let Some(silent) = silence(rule)
        {
            alert(&mut text, rule, "NoData", &format!("{} (no data)", rule.name), &silent);
        }
    }
    text + &left_out
        + "# Not here, because check-ins are not on /metrics: missed check-ins. Alert on `up == 0` of the services.\n"
}

fn alert(text: &mut String, rule: &Rule, suffix: &str, summary: &str, expression: &str) {
    push(
        text,
        format_args!(
            "      - alert: {}{suffix}\n        expr: {}\n        labels:\n          severity: {}\n        annotations:\n          summary: {}\n          description: {}\n",
            camel_case(&rule.slug),
            quoted(expression),
            rule.severity.as_str(),
            quoted(summary),
            quoted(&rule.means),
        ),
    );
}

/// The measured value of a rule, or nothing if `/metrics` does not have it.
fn expression(rule: &Rule) -> Option<String> {
    let window_s = rule.window_s;
    match &rule.signal {
        Signal::Metric(signal) => {
            let series = Series::of(signal.name.0, rule).with(&signal.labels).without(&signal.without);
            series.aggregate(signal.aggregate, window_s)
        }
        Signal::Ratio(ratio) => {
            let of = Series::of(ratio.of.0, rule).with(&ratio.labels).selector("");
            let to = Series::of(ratio.to.0, rule).selector("");
            Some(format!("{} / {}", growth(&of, window_s), growth(&to, window_s)))
        }
        Signal::Transactions(signal) => match signal.measure {
            SpanMeasure::P95DurationMs => {
                Series::of(durations(signal)?, rule).aggregate(Aggregate::P95, window_s)
            }
            SpanMeasure::FailureRate => {
                let requests = (signal.op == "http.server").then_some(Metric::HttpRequests)?;
                let all = Series::of(requests, rule);
                let failed = all.clone().matching("status", "=~", "5..");
                let [failed, all] = [failed, all].map(|series| growth(&series.selector(""), window_s));
                Some(format!("{failed} / {all}"))
            }
        },
    }
}

/// An expression that holds if nothing was measured in the window.
fn silence(rule: &Rule) -> Option<String> {
    let window_s = rule.window_s;
    let series = match &rule.signal {
        Signal::Metric(signal) => {
            Series::of(signal.name.0, rule).with(&signal.labels).without(&signal.without)
        }
        Signal::Ratio(ratio) => Series::of(ratio.to.0, rule),
        Signal::Transactions(signal) => Series::of(durations(signal)?, rule),
    };
    // Of a window that Prometheus did not see from its beginning nobody knows.
    let without_growth = |suffix: &str| {
        let grown = growth(&series.selector(suffix), window_s);
        format!("{grown} < 1 unless on () absent(up offset {window_s}s)")
    };
    Some(match series.metric.kind() {
        Kind::Gauge => format!("absent_over_time({}[{window_s}s])", series.selector("")),
        Kind::Counter => without_growth(""),
        Kind::Distribution => without_growth("_count"),
    })
}

/// The metric with the durations of transactions of an op.
fn durations(signal: &SpanSignal) -> Option<Metric> {
    match signal.op.as_str() {
        "http.server" => Some(Metric::HttpRequestDuration),
        "queue.process" => Some(Metric::BusRecordDuration),
        _ => None,
    }
}

/// Series of a metric with some labels.
#[derive(Clone, Debug)]
struct Series {
    metric: Metric,
    matchers: Vec<String>,
}

impl Series {
    /// Those of the rule's services.
    fn of(metric: Metric, rule: &Rule) -> Self {
        let series = Self { metric, matchers: Vec::new() };
        series.matching("job", "=~", &rule.projects.join("|"))
    }

    fn matching(mut self, label: &str, operator: &str, value: &str) -> Self {
        self.matchers.push(format!("{label}{operator}\"{value}\""));
        self
    }

    fn with(self, labels: &Labels) -> Self {
        labels.iter().fold(self, |series, (label, pattern)| series.pattern(label, pattern, "=", "=~"))
    }

    fn without(self, labels: &Labels) -> Self {
        labels.iter().fold(self, |series, (label, pattern)| series.pattern(label, pattern, "!=", "!~"))
    }

    /// `*` in a pattern stands for any text. The lint allows no character that a pattern of Prometheus needs escaped but the dot.
    fn pattern(self, label: &str, pattern: &str, exact: &str, regex: &str) -> Self {
        let label = label.replace('.', "_");
        if pattern.contains('*') {
            let pattern = pattern.replace('.', "\\\\.").replace('*', ".*");
            return self.matching(&label, regex, &pattern);
        }
        self.matching(&label, exact, pattern)
    }

    fn selector(&self, suffix: &str) -> String {
        format!("{}{suffix}{{{}}}", self.metric.prometheus_name(), self.matchers.join(","))
    }

    fn aggregate(&self, function: Aggregate, window_s: u32) -> Option<String> {
        let over_time = |name: &str| {
            let series = self.selector("");
            format!("{name}({name}_over_time({series}[{window_s}s]))")
        };
        let increase = |suffix: &str| growth(&self.selector(suffix), window_s);
        match (self.metric.kind(), function) {
            (Kind::Gauge, Aggregate::Avg | Aggregate::Min | Aggregate::Max) => {
                Some(over_time(function.as_str()))
            }
            (Kind::Gauge, Aggregate::Count) => {
                Some(format!("sum(count_over_time({}[{window_s}s]))", self.selector("")))
            }
            (Kind::Counter, Aggregate::Sum) => Some(increase("")),
            (Kind::Distribution, Aggregate::P95) => {
                let buckets = self.selector("_bucket");
                Some(format!("histogram_quantile(0.95, sum by (le) (increase({buckets}[{window_s}s])))"))
            }
            (Kind::Distribution, Aggregate::Avg) => {
                Some(format!("{} / {}", increase("_sum"), increase("_count")))
            }
            (Kind::Distribution, Aggregate::Sum) => Some(increase("_sum")),
            (Kind::Distribution, Aggregate::Count) => Some(increase("_count")),
            (Kind::Distribution, Aggregate::Min | Aggregate::Max)
            | (Kind::Gauge, Aggregate::Sum | Aggregate::P95)
            | (Kind::Counter, _) => None,
        }
    }
}

/// Growth of counters in a window, 0 without any.
///
/// Prometheus marks all series of a target as ended when a scrape fails. Without `up`, one failed scrape would make each counter
/// new a window later, and an old dead letter would fire again. A process that has used less CPU time than before the failed scrape
/// is another one, whose counters began at 0.
fn growth(series: &str, window_s: u32) -> String {
    let then = format!("offset {window_s}s");
    let cpu_time = Metric::ProcessCpuTime.prometheus_name();
    let same =
        format!("{cpu_time} >= on (job, instance) last_over_time({cpu_time}[{PROCESS_LOOKBACK_S}s] {then})");
    let new = format!(
        "({series} unless {series} {then} unless on (job, instance) (up {then} == 0 and on (job, instance) ({same})) unless on () absent(up {then}))"
    );
    format!("((sum(increase({series}[{window_s}s]) unless {new}) or vector(0)) + (sum({new}) or vector(0)))")
}

fn camel_case(slug: &str) -> String {
    let capitalised = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    slug.split('-').map(capitalised).collect()
}

/// A text of YAML in single quotes, in which only the quote itself is special.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail
    text.write_fmt(line).ok();
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::files::tests::declared;
    use super::*;

    fn rendered(slug: &str) -> String {
        let rule = declared().rules.into_iter().find(|rule| rule.slug == slug).unwrap();
        expression(&rule).unwrap_or_default()
    }

    #[test]
    fn prometheus_rules_are_those_of_the_file() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/prometheus/pitboss.rules.yml");
        let text = render(&declared());
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(text == written, "UPDATE_SCHEMAS=1 ./pitboss test -p pitboss prometheus writes it:\n{text}");
    }

    #[test]
    fn prometheus_gauge_has_the_worst_value_of_the_window() {
        let expected = "max(max_over_time(pitboss_consumer_lag_seconds{job=~\"lagwatch\",topic!~\".*\\\\.retry\\\\..*\"}[300s]))";
        assert_eq!(rendered("lag-seconds"), expected);
    }

    #[test]
    fn prometheus_counter_that_is_new_counts_whole() {
        let rule = rendered("payment-failures");
        let failed = "pitboss_payments_ended_total{job=~\"analytics\",outcome=\"failed\"}";
        assert!(rule.contains(&format!("sum(({failed} unless {failed} offset 600s ")), "{rule}");
        assert!(
            rule.contains(" / ((sum(increase(pitboss_payments_ended_total{job=~\"analytics\"}[600s])"),
            "{rule}"
        );
    }

    #[test]
    fn prometheus_counter_is_not_new_after_a_failed_scrape() {
        let cpu_time = "pitboss_process_cpu_time_milliseconds_total";
        let same = format!("{cpu_time} >= on (job, instance) last_over_time({cpu_time}[3600s] offset 60s)");
        let new = format!(
            "(c unless c offset 60s unless on (job, instance) (up offset 60s == 0 and on (job, instance) ({same})) \
             unless on () absent(up offset 60s))"
        );
        let expected =
            format!("((sum(increase(c[60s]) unless {new}) or vector(0)) + (sum({new}) or vector(0)))");
        assert_eq!(growth("c", 60), expected, "what does not count as new counts as it grew");
    }

    #[test]
    fn prometheus_has_the_percentile_of_the_op() {
        assert!(rendered("request-latency").starts_with(
            "histogram_quantile(0.95, sum by (le) (increase(pitboss_http_server_duration_milliseconds_bucket{job=~\"gateway|user\"}"
        ));
        assert!(rendered("processing-latency").contains("pitboss_bus_record_duration_milliseconds_bucket{"));
        assert!(rendered("request-errors").contains(",status=~\"5..\"}"));
        assert_eq!(rendered("processing-errors"), "", "/metrics counts no failed attempts by record");
    }

    #[test]
    fn prometheus_fires_on_silence_where_the_rule_does() {
        let text = render(&declared());
        assert!(text.contains(
            "- alert: LagSecondsNoData\n        expr: 'absent_over_time(pitboss_consumer_lag_seconds{"
        ));
        let growth_of_none = "- alert: LatencyNotMeasuredNoData\n        expr: '((sum(increase(";
        assert!(
            text.contains(growth_of_none) && text.contains(" < 1 unless on () absent(up offset 900s)'\n")
        );
        assert!(!text.contains("PaymentFailuresNoData"));
        assert!(text.contains("# Not here, because /metrics does not have it: processing-errors\n"));
    }

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(quoted("it's"), "'it''s'");
        assert_eq!(camel_case("rtp-above-band"), "RtpAboveBand");
    }
}
