//! Evaluation of evidence over an observation.

use std::collections::{BTreeMap, BTreeSet};

use contracts::Topic;

use super::event::ErrorEvent;
use super::observation::{Issue, Load, Monitor, Observation, is_of};
use super::{Evidence, Sighting, describes, n_plus_one, profile, rates};
use crate::trace::Span;

/// Names of lagwatch's gauges and of their labels in Sentry.
const LAG_MESSAGES: &str = "pitboss.consumer.lag.messages";
const LAG_SECONDS: &str = "pitboss.consumer.lag.seconds";
const GROUP: &str = "messaging.consumer.group.name";
const TOPIC: &str = "messaging.destination.name";
const PARTITION: &str = "messaging.destination.partition.id";
/// Name of a record's place in its partition in Sentry.
const OFFSET: &str = "messaging.kafka.offset";
/// Difference of two medians that says nothing on a machine that does other work as well.
const LATENCY_SLACK_MS: f64 = 25.0;
/// One slow unit of so many can be due to the machine.
const SLOW_SHARE: u64 = 10;

impl Evidence {
    /// Returns where the evidence was found, or `None` if it does not hold.
    #[must_use]
    pub fn find(&self, seen: &Observation) -> Option<Sighting> {
        match self {
            Self::Issue { .. } => self.find_issue(seen),
            Self::DescribedEvents { .. } => self.find_events(seen),
            Self::Spans { .. }
            | Self::SlowSpan { .. }
            | Self::SpanStatus { .. }
            | Self::SegmentStatus { .. }
            | Self::SpanAttribute { .. }
            | Self::CacheMisses { .. }
            | Self::SpanNumber { .. } => self.find_spans(seen),
            Self::SpansInTrace { .. } | Self::SameTraces { .. } => self.find_traces(seen),
            Self::RepeatedRecords { service, count_min } => repeated_records(seen, service, *count_min),
            Self::MetricRatio { .. }
            | Self::MetricAbove { .. }
            | Self::MetricPeak { .. }
            | Self::MetricShare { .. }
            | Self::Lag { .. }
            | Self::NotMeasured { .. } => self.find_metric(seen),
            Self::CheckInMissed { .. }
            | Self::ProfileFrame { .. }
            | Self::ClientReport { .. }
            | Self::P95Above { .. }
            | Self::ErrorRateAbove { .. }
            | Self::LoadUnaffected { .. } => self.find_rate(seen),
            Self::All(all) => {
                let found: Option<Vec<Sighting>> = all.iter().map(|evidence| evidence.find(seen)).collect();
                found?.into_iter().next()
            }
            Self::Any(any) => any.iter().find_map(|evidence| evidence.find(seen)),
            Self::Absent(evidence) => match evidence.find(seen) {
                Some(_) => None,
                None => Some(Sighting { place: self.to_string(), trace_id: None }),
            },
        }
    }

    fn find_issue(&self, seen: &Observation) -> Option<Sighting> {
        let Self::Issue { service, title_contains, fingerprint, events_min, groups_max } = self else {
            return None;
        };
        let matches = |issue: &&Issue| {
            is_of(&issue.project, service)
                && issue.count_since > 0
                && issue.title.contains(title_contains)
                && (fingerprint.is_empty() || issue.fingerprint == *fingerprint)
        };
        let matching: Vec<&Issue> = seen.issues.iter().filter(matches).collect();
        let most = matching.iter().max_by_key(|issue| issue.count_since)?;
        let is_grouped = groups_max.is_none_or(|max| matching.len() <= max);
        let trace_id = most.last_trace_id.clone();
        let place = format!("issue \"{}\" of {}", most.title, most.project);
        (is_grouped && most.count_since >= *events_min).then_some(Sighting { place, trace_id })
    }

    fn find_events(&self, seen: &Observation) -> Option<Sighting> {
        let Self::DescribedEvents { service, text_contains, count_min } = self else { return None };
        let is_wanted = |event: &&ErrorEvent| {
            is_of(&event.service, service)
                && event.outermost().is_some_and(|(_, text)| text.contains(text_contains))
        };
        let matching: Vec<&ErrorEvent> = seen.events.iter().filter(is_wanted).collect();
        let trace_id = matching.first()?.trace_id().map(str::to_owned);
        let holds = matching.len() >= *count_min && matching.iter().all(|event| event.is_described());
        let place = format!("{} described events of {service}", matching.len());
        holds.then_some(Sighting { place, trace_id })
    }

    fn find_spans(&self, seen: &Observation) -> Option<Sighting> {
        match self {
            Self::Spans { service, op, description_contains, same_parent_min, duration_ms_total_min } => {
                let rule = n_plus_one::Rule {
                    op,
                    description_contains,
                    same_parent_min: *same_parent_min,
                    duration_ms_total_min: *duration_ms_total_min as f64,
                };
                let mut of_service = seen.transactions.iter().filter(|t| is_of(&t.service, service));
                let (transaction, n_plus_one::Run { count, duration_ms }) = of_service
                    .find_map(|transaction| Some((transaction, n_plus_one::find(transaction, &rule)?)))?;
                let place = format!("{count} equal {op} spans of {service}, {duration_ms:.0} ms");
                Some(Sighting { place, trace_id: Some(transaction.trace_id.clone()) })
            }
            Self::SlowSpan { service, op, description_contains, duration_ms_min, count_min } => {
                let is_slow = |span: &Span| {
                    span.op == *op
                        && describes(span, description_contains)
                        && span.duration_ms() >= *duration_ms_min as f64
                };
                seen.spans(service, *count_min, is_slow, &format!("slow {op} spans of {service}"))
            }
            Self::SpanStatus { service, op, description_contains, status, count_min } => {
                let has_status = |span: &Span| {
                    span.op == *op
                        && describes(span, description_contains)
                        && span.status.as_deref() == Some(*status)
                };
                seen.spans(service, *count_min, has_status, &format!("{op} span of {service} is {status}"))
            }
            Self::SegmentStatus { service, op, status, count_min } => {
                let has_status = |span: &Span| {
                    span.is_transaction && span.op == *op && span.status.as_deref() == Some(*status)
                };
                seen.spans(service, *count_min, has_status, &format!("{op} of {service} is {status}"))
            }
            Self::SpanAttribute { service, op, name, value, count_min } => {
                let has_value = |span: &Span| span.op == *op && attribute_is(span, name, value);
                seen.spans(service, *count_min, has_value, &format!("{name} of {op} of {service}"))
            }
            Self::CacheMisses { service, count_min } => {
                let of_service = seen.transactions.iter().filter(|t| is_of(&t.service, service));
                let removed =
                    of_service.flat_map(|t| &t.spans).filter(|span| span.op == "cache.remove").count();
                let is_missed =
                    |span: &Span| span.op == "cache.get" && attribute_is(span, "cache.hit", "false");
                let count_min = count_min.saturating_add(removed);
                seen.spans(service, count_min, is_missed, &format!("missed cache.get of {service}"))
            }
            Self::SpanNumber { service, op, name, min, max, count_min } => {
                let in_band = |span: &Span| {
                    let number = span.data.get(*name).and_then(serde_json::Value::as_f64);
                    span.op == *op && number.is_some_and(|number| (*min..=*max).contains(&number))
                };
                seen.spans(service, *count_min, in_band, &format!("{name} of {op} of {service}"))
            }
            _ => None,
        }
    }

    fn find_traces(&self, seen: &Observation) -> Option<Sighting> {
        match self {
            Self::SpansInTrace { service, op, description_contains, count_min } => {
                let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
                for transaction in seen.transactions.iter().filter(|t| is_of(&t.service, service)) {
                    let spans = transaction.spans.iter();
                    let count =
                        spans.filter(|span| span.op == *op && describes(span, description_contains)).count();
                    *counts.entry(&transaction.trace_id).or_default() += count;
                }
                let (trace_id, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
                let place = format!("{count} {op} spans of {service} in one trace");
                (count >= *count_min && count > 0)
                    .then(|| Sighting { place, trace_id: Some(trace_id.to_owned()) })
            }
            Self::SameTraces { services, op, without_service, without_op, traces_min } => {
                let is_left_out = |op: &str, service: &str| op == *without_op && service == *without_service;
                let left_out: BTreeSet<&str> = seen
                    .segments()
                    .filter(|(transaction, segment)| is_left_out(&segment.op, &transaction.service))
                    .map(|(transaction, _)| transaction.trace_id.as_str())
                    .collect();
                let traces_of = |service: &str| -> BTreeSet<&str> {
                    let is_counted = |name: &str, segment: &Span| name == service && segment.op == *op;
                    let segments = seen.segments();
                    let counted = segments.filter(|(t, segment)| is_counted(&t.service, segment));
                    let traces = counted.map(|(transaction, _)| transaction.trace_id.as_str());
                    traces.filter(|trace_id| !left_out.contains(trace_id)).collect()
                };
                let sets: Vec<BTreeSet<&str>> = services.iter().map(|service| traces_of(service)).collect();
                let first = sets.first()?;
                let is_same = sets.iter().all(|set| set == first);
                let place = format!("{} equal traces in {}", first.len(), services.join(", "));
                let trace_id = first.first().map(|trace_id| (*trace_id).to_owned());
                (is_same && first.len() >= *traces_min && trace_id.is_some())
                    .then_some(Sighting { place, trace_id })
            }
            _ => None,
        }
    }

    fn find_metric(&self, seen: &Observation) -> Option<Sighting> {
        match self {
            Self::MetricRatio { numerator, denominator, min, max } => {
                let (above, below) = (seen.sum(numerator, &[]), seen.sum(denominator, &[]));
                let ratio = above / below;
                let in_band = below > 0.0 && ratio >= *min && ratio <= *max;
                in_band.then(|| Sighting::metric(format!("{numerator} / {denominator} = {ratio:.3}")))
            }
            Self::MetricAbove { name, labels, min } => {
                let sum = seen.sum(name, labels);
                (sum >= *min).then(|| Sighting::metric(format!("metric {name} = {sum}")))
            }
            Self::MetricPeak { name, labels, min } => {
                let peak = seen.peak(name, labels)?;
                (peak >= *min).then(|| Sighting::metric(format!("metric {name} = {peak}")))
            }
            Self::MetricShare { name, labels, percent, count_min } => {
                let (part, all) = (seen.sum(name, labels), seen.sum(name, &[]));
                let share = 100.0 * part / all;
                let exceeds = part >= *count_min && all > 0.0 && share > *percent;
                exceeds.then(|| Sighting::metric(format!("{share:.0} % of metric {name}")))
            }
            Self::Lag { group, messages_min, age_s_min } => lag(seen, group, *messages_min, *age_s_min),
            Self::NotMeasured { topic, group, published_min, age_s_min } => {
                not_measured(seen, topic, group, *published_min, *age_s_min)
            }
            _ => None,
        }
    }

    fn find_rate(&self, seen: &Observation) -> Option<Sighting> {
        match self {
            Self::ProfileFrame { service, function_contains, share_percent_min } => {
                profile::find(&seen.profiles, service, function_contains, f64::from(*share_percent_min))
            }
            Self::CheckInMissed { monitor } => {
                let is_missed = |found: &Monitor| found.monitor == *monitor && found.state == "missed";
                let place = format!("missed check-in of {monitor}");
                seen.monitors.iter().any(is_missed).then(|| Sighting::metric(place))
            }
            Self::ClientReport { service, reason, quantity_min } => {
                let reports = seen.client_reports.iter().filter(|report| {
                    is_of(&report.service, service) && (reason.is_empty() || report.reason == *reason)
                });
                let lost: u64 = reports.map(|report| report.quantity).sum();
                (lost >= *quantity_min && lost > 0)
                    .then(|| Sighting::metric(format!("client reports of {lost} lost items")))
            }
            Self::P95Above { duration_ms, count_min } => rates::slow(seen, *duration_ms as f64, *count_min),
            Self::ErrorRateAbove { percent, count_min } => rates::failed(seen, *percent, *count_min),
            Self::LoadUnaffected { p50_ratio_max } => unaffected(seen.load.as_ref(), *p50_ratio_max),
            _ => None,
        }
    }
}

impl Sighting {
    pub(super) fn metric(place: String) -> Self {
        Self { place, trace_id: None }
    }
}

/// Without a control to compare the load with it holds: then the other parts of the evidence decide alone.
fn unaffected(load: Option<&Load>, p50_ratio_max: f64) -> Option<Sighting> {
    let Some((load, control_p50_ms)) = load.and_then(|load| Some((load, load.control_p50_ms?))) else {
        return Some(Sighting::metric("a load without a control".to_owned()));
    };
    let p50_ms_max = control_p50_ms * p50_ratio_max + LATENCY_SLACK_MS;
    let is_usual = load.p50_ms <= p50_ms_max && load.slow.saturating_mul(SLOW_SHARE) <= load.units;
    let is_unaffected = load.units > 0 && load.failed == 0 && is_usual;
    let place = format!("{} units of load without a failure", load.units);
    is_unaffected.then(|| Sighting::metric(place))
}

/// Group, topic and partition.
type Place<'a> = (&'a str, &'a str, &'a str);

/// The partition of the group with the largest lag that reaches both thresholds. Records of a retry topic wait there on purpose, so
/// they count only for a group that is named.
fn lag(seen: &Observation, group: &str, messages_min: u32, age_s_min: u32) -> Option<Sighting> {
    let (messages, ages) = (peaks(seen, LAG_MESSAGES), peaks(seen, LAG_SECONDS));
    let mut most: Option<(Place<'_>, f64, f64)> = None;
    for (place, unread) in messages {
        let age_s = ages.get(&place).copied().unwrap_or_default();
        let is_counted = if group.is_empty() { !Topic::is_retry(place.1) } else { place.0 == group };
        let is_reached =
            is_counted && unread >= f64::from(messages_min.max(1)) && age_s >= f64::from(age_s_min);
        if is_reached && most.is_none_or(|(_, known, _)| unread > known) {
            most = Some((place, unread, age_s));
        }
    }
    let ((group, topic, partition), unread, age_s) = most?;
    let place = format!("lag of {group} on {topic}/{partition}: {unread} records, {age_s:.0} s");
    Some(Sighting::metric(place))
}

/// Publishes to a topic of which a group handles none, although the oldest record waits for this time.
fn not_measured(
    seen: &Observation,
    topic: &str,
    group: &str,
    published_min: usize,
    age_s_min: u32,
) -> Option<Sighting> {
    let of_topic = |op: &'static str| {
        let spans = seen.transactions.iter().flat_map(|transaction| &transaction.spans);
        spans.filter(move |span| span.op == op && span.text(TOPIC) == Some(topic))
    };
    let published = of_topic("queue.publish").filter(|span| span.status.as_deref() == Some("ok")).count();
    let is_measured = of_topic("queue.process").any(|span| span.text(GROUP) == Some(group));
    let ages = peaks(seen, LAG_SECONDS).into_iter().filter(|(place, _)| (place.0, place.1) == (group, topic));
    let age_s = ages.map(|(_, age_s)| age_s).reduce(f64::max)?;
    let is_missing = published >= published_min.max(1) && !is_measured && age_s >= f64::from(age_s_min);
    let place = format!("{published} records on {topic}, none of them handled by {group} for {age_s:.0} s");
    is_missing.then(|| Sighting::metric(place))
}

/// The records of which a service has several transactions. A record that was published again has another place in the log.
fn repeated_records(seen: &Observation, service: &str, count_min: usize) -> Option<Sighting> {
    let mut counts: BTreeMap<(&str, &str, &str, i64), usize> = BTreeMap::new();
    let mut trace_id = None;
    let segments = seen.segments().filter(|(transaction, _)| is_of(&transaction.service, service));
    for (transaction, segment) in segments.filter(|(_, segment)| segment.op == "queue.process") {
        let offset = segment.data.get(OFFSET).and_then(serde_json::Value::as_i64);
        let (Some(topic), Some(partition), Some(offset)) =
            (segment.text(TOPIC), segment.text(PARTITION), offset)
        else {
            continue;
        };
        let count = counts.entry((transaction.service.as_str(), topic, partition, offset)).or_default();
        *count += 1;
        if *count == 2 && trace_id.is_none() {
            trace_id = Some(transaction.trace_id.clone());
        }
    }
    let repeated = counts.into_values().filter(|count| *count > 1).count();
    let place = format!("{repeated} records that {service} handled more than once");
    (repeated >= count_min && repeated > 0).then_some(Sighting { place, trace_id })
}

/// The largest value of a gauge for each partition of each group.
fn peaks<'a>(seen: &'a Observation, name: &str) -> BTreeMap<Place<'a>, f64> {
    let mut peaks = BTreeMap::new();
    for metric in seen.metrics.iter().filter(|metric| metric.name.as_deref() == Some(name)) {
        let place = (metric.label(GROUP), metric.label(TOPIC), metric.label(PARTITION));
        let value = metric.value.as_f64().unwrap_or_default();
        let peak = peaks.entry(place).or_insert(value);
        *peak = value.max(*peak);
    }
    peaks
}

/// Compares an attribute with a text. A number and a truth value count as their text.
fn attribute_is(span: &Span, name: &str, value: &str) -> bool {
    match span.data.get(name) {
        Some(serde_json::Value::String(text)) => text == value,
        Some(serde_json::Value::Bool(truth)) => truth.to_string() == value,
        Some(serde_json::Value::Number(number)) => number.to_string() == value,
        _ => false,
    }
}
