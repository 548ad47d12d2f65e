//! Evidence in words, for the documents and the reports.

use std::fmt;

use super::Evidence;

type Labels = [(&'static str, &'static str)];

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issue { .. } => self.issue_words(f),
            Self::DescribedEvents { service, text_contains, count_min } => {
                write!(f, "{count_min} or more events of {} about \"{text_contains}\", ", any(service))?;
                f.write_str("each with its user, breadcrumbs and the state of the process")
            }
            Self::Spans { .. }
            | Self::SlowSpan { .. }
            | Self::SpanStatus { .. }
            | Self::SegmentStatus { .. }
            | Self::SpanAttribute { .. }
            | Self::CacheMisses { .. }
            | Self::SpanNumber { .. } => self.span_words(f),
            Self::SpansInTrace { .. } | Self::SameTraces { .. } | Self::RepeatedRecords { .. } => {
                self.trace_words(f)
            }
            Self::MetricRatio { .. }
            | Self::MetricAbove { .. }
            | Self::MetricPeak { .. }
            | Self::MetricShare { .. }
            | Self::Lag { .. }
            | Self::NotMeasured { .. } => self.metric_words(f),
            Self::CheckInMissed { .. }
            | Self::ProfileFrame { .. }
            | Self::ClientReport { .. }
            | Self::P95Above { .. }
            | Self::ErrorRateAbove { .. }
            | Self::LoadUnaffected { .. } => self.rate_words(f),
            Self::All(all) => joined(f, all, ", and "),
            Self::Any(any) => joined(f, any, ", or "),
            Self::Absent(evidence) => write!(f, "not: {evidence}"),
        }
    }
}

impl Evidence {
    fn issue_words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Issue { service, title_contains, fingerprint, events_min, groups_max } = self else {
            return Ok(());
        };
        match groups_max {
            Some(1) => write!(f, "exactly one issue of {}", any(service))?,
            Some(max) => write!(f, "one to {max} issues of {}", any(service))?,
            None => write!(f, "an issue of {}", any(service))?,
        }
        if !title_contains.is_empty() {
            write!(f, " whose title contains \"{title_contains}\"")?;
        }
        if !fingerprint.is_empty() {
            write!(f, " with the fingerprint {}", fingerprint.join(", "))?;
        }
        if *events_min > 1 { write!(f, ", with {events_min} events or more") } else { Ok(()) }
    }

    fn span_words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spans { service, op, description_contains, same_parent_min, duration_ms_total_min } => {
                write!(
                    f,
                    "in a transaction of {service}, below one parent and after a different {op} span, "
                )?;
                write!(f, "at least {same_parent_min} equal {op} spans in a row")?;
                naming(f, description_contains)?;
                write!(f, ", together {duration_ms_total_min} ms or more (Sentry's N+1 rule)")
            }
            Self::SlowSpan { service, op, description_contains, duration_ms_min, count_min } => {
                let service = any(service);
                write!(f, "{count_min} or more {op} spans of {service} of {duration_ms_min} ms or more")?;
                naming(f, description_contains)
            }
            Self::SpanStatus { service, op, description_contains, status, count_min } => {
                let service = any(service);
                write!(f, "{count_min} or more {op} spans of {service} with the status {status}")?;
                naming(f, description_contains)
            }
            Self::SegmentStatus { service, op, status, count_min } => {
                let service = any(service);
                write!(f, "{count_min} or more {op} transactions of {service} with the status {status}")
            }
            Self::SpanAttribute { service, op, name, value, count_min } => {
                write!(f, "{count_min} or more {op} spans of {} with {name} = {value}", any(service))
            }
            Self::CacheMisses { service, count_min } => write!(
                f,
                "{count_min} or more cache.get spans of {} with cache.hit = false, besides one for each cache.remove span",
                any(service)
            ),
            Self::SpanNumber { service, op, name, min, max, count_min } => {
                let service = any(service);
                write!(f, "{count_min} or more {op} spans of {service} with {name} ")?;
                band(f, *min, *max)
            }
            _ => Ok(()),
        }
    }

    fn trace_words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SpansInTrace { service, op, description_contains, count_min } => {
                write!(f, "a trace with {count_min} or more {op} spans of {}", any(service))?;
                naming(f, description_contains)
            }
            Self::RepeatedRecords { service, count_min } => {
                write!(f, "{count_min} or more records that {} handled more than once", any(service))
            }
            Self::SameTraces { services, op, without_service, without_op, traces_min } => {
                let services = services.join(", ");
                write!(f, "the same set of {traces_min} or more traces with {op} in {services}, ")?;
                write!(f, "among those without a transaction {without_op} of {without_service}")
            }
            _ => Ok(()),
        }
    }

    fn metric_words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MetricRatio { numerator, denominator, min, max } => {
                write!(f, "{numerator} divided by {denominator} ")?;
                band(f, *min, *max)
            }
            Self::MetricAbove { name, labels, min } => {
                write!(f, "a sum of {name} of {min} or more")?;
                labelled(f, labels)
            }
            Self::MetricPeak { name, labels, min } => {
                write!(f, "a value of {name} of {min} or more")?;
                labelled(f, labels)
            }
            Self::MetricShare { name, labels, percent, count_min } => {
                write!(f, "more than {percent} % of {name}, {count_min} at least,")?;
                labelled(f, labels)
            }
            Self::Lag { group, messages_min, age_s_min } => {
                let group: &str = if group.is_empty() { "any group, without retry topics," } else { group };
                write!(f, "lag of {group} on one partition of {messages_min} records or more")?;
                if *age_s_min > 0 { write!(f, " and {age_s_min} s or more") } else { Ok(()) }
            }
            Self::NotMeasured { topic, group, published_min, age_s_min } => {
                write!(f, "{published_min} or more acknowledged publishes to {topic}, none of which ")?;
                write!(f, "{group} handles, while the oldest one waits for {age_s_min} s or more")
            }
            _ => Ok(()),
        }
    }

    fn rate_words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProfileFrame { service, function_contains, share_percent_min } => {
                write!(
                    f,
                    "a CPU profile of {service} with {share_percent_min} % or more of its samples in "
                )?;
                write!(f, "functions named {function_contains}")
            }
            Self::CheckInMissed { monitor } => write!(f, "a missed check-in of the monitor {monitor}"),
            Self::ClientReport { service, reason, quantity_min } => {
                let service = any(service);
                write!(f, "client reports of {service} about {quantity_min} or more lost items")?;
                if reason.is_empty() { Ok(()) } else { write!(f, " for the reason {reason}") }
            }
            Self::P95Above { duration_ms, count_min } => {
                write!(f, "p95 of one service and op above {duration_ms} ms, ")?;
                write!(f, "{count_min} transactions at least")
            }
            Self::ErrorRateAbove { percent, count_min } => {
                write!(f, "more than {percent} % failed transactions of one service, {count_min} at least")
            }
            Self::LoadUnaffected { p50_ratio_max } => {
                write!(f, "a load without a failed unit, with a p50 of at most {p50_ratio_max} times ")?;
                f.write_str("that of the control and with at most a tenth of slow units")
            }
            _ => Ok(()),
        }
    }
}

fn any(service: &str) -> &str {
    if service.is_empty() { "any service" } else { service }
}

fn band(f: &mut fmt::Formatter<'_>, min: f64, max: f64) -> fmt::Result {
    match (min.is_finite(), max.is_finite()) {
        (true, true) => write!(f, "between {min} and {max}"),
        (true, false) => write!(f, "of {min} or more"),
        (false, _) => write!(f, "of {max} or less"),
    }
}

fn labelled(f: &mut fmt::Formatter<'_>, labels: &Labels) -> fmt::Result {
    for (number, (label, value)) in labels.iter().enumerate() {
        let word = if number == 0 { "where" } else { "and" };
        write!(f, " {word} {label} = {value}")?;
    }
    Ok(())
}

fn naming(f: &mut fmt::Formatter<'_>, part: &str) -> fmt::Result {
    if part.is_empty() { Ok(()) } else { write!(f, " whose description contains \"{part}\"") }
}

fn joined(f: &mut fmt::Formatter<'_>, list: &[Evidence], separator: &str) -> fmt::Result {
    for (number, evidence) in list.iter().enumerate() {
        if number > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{evidence}")?;
    }
    Ok(())
}
