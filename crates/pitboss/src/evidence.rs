//! Evidence as data: what the recorder has to receive, so that a fault counts as visible.
//!
//! It is evaluated over what the recorder received since a moment ([`Observation`]), so from the bytes alone. It never reads the
//! flag file, a counter of the injector, or an attribute that names a fault. [`std::fmt::Display`] renders it in words, for
//! `docs/EVIDENCE.md` and for the reports.

mod n_plus_one;
mod observation;
mod words;

pub use observation::{Issue, MetricValue, Observation, Transaction, Window};

use crate::trace::Span;

/// A statement about what the recorder received. It holds or it does not.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// An issue with an event since the moment.
    Issue {
        /// Service that sent it.
        service: &'static str,
        /// Part of its title.
        title_contains: &'static str,
    },
    /// N+1 queries below one parent, by the published rule of Sentry's detector.
    Spans {
        /// Service that sent them.
        service: &'static str,
        /// Op of the spans.
        op: &'static str,
        /// Part of their description.
        description_contains: &'static str,
        /// Smallest number of consecutive equal spans.
        same_parent_min: usize,
        /// Smallest time that they cover together.
        duration_ms_total_min: u64,
    },
    /// Slow spans.
    SlowSpan {
        /// Service that sent them.
        service: &'static str,
        /// Op of the spans.
        op: &'static str,
        /// Part of their description. Empty: any.
        description_contains: &'static str,
        /// Smallest duration of one.
        duration_ms_min: u64,
        /// Smallest number of them.
        count_min: usize,
    },
    /// Segments (root spans of transactions) with a status.
    SegmentStatus {
        /// Service that sent them.
        service: &'static str,
        /// Op of the segments.
        op: &'static str,
        /// Status, as Sentry names it.
        status: &'static str,
        /// Smallest number of them.
        count_min: usize,
    },
    /// A quotient of two sums of metrics within a band. It does not hold without a denominator.
    MetricRatio {
        /// Metric whose sum is divided.
        numerator: &'static str,
        /// Metric by whose sum it is divided.
        denominator: &'static str,
        /// Lower end of the band.
        min: f64,
        /// Upper end of the band.
        max: f64,
    },
    /// A sum of a metric's values.
    MetricAbove {
        /// Name of the metric in Sentry.
        name: &'static str,
        /// Labels that a value must have to count.
        labels: &'static [(&'static str, &'static str)],
        /// Smallest sum.
        min: f64,
    },
    /// Spans with a text attribute.
    SpanAttribute {
        /// Service that sent them.
        service: &'static str,
        /// Op of the spans.
        op: &'static str,
        /// Name of the attribute in Sentry.
        name: &'static str,
        /// Its value.
        value: &'static str,
        /// Smallest number of them.
        count_min: usize,
    },
    /// All of them.
    All(Vec<Self>),
    /// At least one of them.
    Any(Vec<Self>),
    /// The opposite.
    Absent(Box<Self>),
}

/// Place where evidence was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Signal and service, in words.
    pub place: String,
    /// Trace that shows it.
    pub trace_id: Option<String>,
}

impl Evidence {
    /// Returns where the evidence was found, or `None` if it does not hold.
    #[must_use]
    pub fn find(&self, seen: &Observation) -> Option<Sighting> {
        match self {
            Self::Issue { service, title_contains } => {
                let issue = seen.issues.iter().find(|issue| {
                    issue.project == *service && issue.count_since > 0 && issue.title.contains(title_contains)
                })?;
                let trace_id = issue.last_trace_id.clone();
                Some(Sighting { place: format!("issue \"{}\" of {service}", issue.title), trace_id })
            }
            Self::Spans { service, op, description_contains, same_parent_min, duration_ms_total_min } => {
                let rule = n_plus_one::Rule {
                    op,
                    description_contains,
                    same_parent_min: *same_parent_min,
                    duration_ms_total_min: *duration_ms_total_min as f64,
                };
                let mut of_service = seen.transactions.iter().filter(|t| t.service == *service);
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
            Self::SegmentStatus { service, op, status, count_min } => {
                let has_status = |span: &Span| {
                    span.is_transaction && span.op == *op && span.status.as_deref() == Some(*status)
                };
                seen.spans(service, *count_min, has_status, &format!("{op} of {service} is {status}"))
            }
            Self::SpanAttribute { service, op, name, value, count_min } => {
                let has_value = |span: &Span| span.op == *op && span.text(name) == Some(*value);
                seen.spans(service, *count_min, has_value, &format!("{name} of {op} of {service}"))
            }
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
}

impl Sighting {
    fn metric(place: String) -> Self {
        Self { place, trace_id: None }
    }
}

fn describes(span: &Span, part: &str) -> bool {
    part.is_empty() || span.description.as_deref().is_some_and(|description| description.contains(part))
}

#[cfg(test)]
mod tests;
