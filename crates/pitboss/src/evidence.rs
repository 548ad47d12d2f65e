//! Evidence as data: what the recorder has to receive, so that a fault counts as visible.
//!
//! It is evaluated over what the recorder received since a moment ([`Observation`]), so from the bytes alone. It never reads the
//! flag file, a counter of the injector, or an attribute that names a fault. [`std::fmt::Display`] renders it in words, for
//! `docs/EVIDENCE.md` and for the reports.

mod event;
mod find;
mod frames;
mod n_plus_one;
mod observation;
mod profile;
mod rates;
mod streamed;
mod window;
mod words;

pub use event::ErrorEvent;
pub use frames::{ReportedEvent, ReportedFrame, ReportedStack, Unlocated, events_since, located_frames};
pub use observation::{ClientReport, Issue, Load, MetricValue, Monitor, Observation, Transaction};
pub use profile::Profile;
pub use window::Window;

use crate::trace::Span;

/// A statement about what the recorder received. It holds or it does not. An empty service means any service.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// Issues with events since the moment.
    Issue {
        /// Service that sent them.
        service: &'static str,
        /// Part of their title.
        title_contains: &'static str,
        /// Fingerprint that the service gave them, part by part. Empty: any.
        fingerprint: &'static [&'static str],
        /// Smallest number of events of one of them.
        events_min: u64,
        /// Largest number of such issues, where all events have to be one group.
        groups_max: Option<usize>,
    },
    /// Error events that name a user, and have breadcrumbs and the state of the process.
    DescribedEvents {
        /// Service that sent them.
        service: &'static str,
        /// Part of the text of their outermost exception.
        text_contains: &'static str,
        /// Smallest number of them. None without these parts may be there.
        count_min: usize,
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
    /// Spans with a status.
    SpanStatus {
        /// Service that sent them.
        service: &'static str,
        /// Op of the spans.
        op: &'static str,
        /// Part of their description. Empty: any.
        description_contains: &'static str,
        /// Status, as Sentry names it.
        status: &'static str,
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
    /// Spans with an attribute. A number and a truth value count as their text.
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
    /// Reads of a cache that find nothing, beyond one for each removal of a key. A change removes what it makes outdated, so the
    /// read after it misses in any case.
    CacheMisses {
        /// Service that sent the spans.
        service: &'static str,
        /// Smallest number of misses, besides one for each `cache.remove` span.
        count_min: usize,
    },
    /// Spans with a number as attribute, within a band.
    SpanNumber {
        /// Service that sent them.
        service: &'static str,
        /// Op of the spans.
        op: &'static str,
        /// Name of the attribute in Sentry.
        name: &'static str,
        /// Lower end of the band.
        min: f64,
        /// Upper end of the band.
        max: f64,
        /// Smallest number of them.
        count_min: usize,
    },
    /// Spans of one kind in one trace.
    SpansInTrace {
        /// Service that sent them.
        service: &'static str,
        /// Op of the spans.
        op: &'static str,
        /// Part of their description. Empty: any.
        description_contains: &'static str,
        /// Smallest number of them in one trace.
        count_min: usize,
    },
    /// Records that a service handled more than once, by their place in the log.
    RepeatedRecords {
        /// The service.
        service: &'static str,
        /// Smallest number of such records.
        count_min: usize,
    },
    /// Services that have segments of one op in the same set of traces, among those in which another service has no segment.
    SameTraces {
        /// The services.
        services: &'static [&'static str],
        /// Op of their segments.
        op: &'static str,
        /// Service that must have no segment of `without_op` in such a trace.
        without_service: &'static str,
        /// Op of that segment.
        without_op: &'static str,
        /// Smallest number of such traces.
        traces_min: usize,
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
    /// The largest value of a gauge.
    MetricPeak {
        /// Name of the metric in Sentry.
        name: &'static str,
        /// Labels that a value must have to count.
        labels: &'static [(&'static str, &'static str)],
        /// Smallest peak.
        min: f64,
    },
    /// The share of a metric's values with some labels in all its values with others.
    MetricShare {
        /// Name of the metric in Sentry.
        name: &'static str,
        /// Labels that a value must have to count.
        labels: &'static [(&'static str, &'static str)],
        /// Share that is exceeded, in percent.
        percent: f64,
        /// Smallest sum of the values that count.
        count_min: f64,
    },
    /// Lag of a group on one partition, as lagwatch reports it from outside the group.
    Lag {
        /// The group. Empty: any, without retry topics, where records wait on purpose.
        group: &'static str,
        /// Smallest number of unread records.
        messages_min: u32,
        /// Smallest age of the oldest of them.
        age_s_min: u32,
    },
    /// A group that handles no record of a topic, so that its latency is not measured, although records are published and wait.
    ///
    /// Missing data is bad here. Only the age of the oldest record distinguishes it from data that has not arrived yet.
    NotMeasured {
        /// Topic whose records the group handles.
        topic: &'static str,
        /// The group.
        group: &'static str,
        /// Smallest number of publishes that were acknowledged.
        published_min: usize,
        /// Smallest age of the oldest unread record, as lagwatch reports it.
        age_s_min: u32,
    },
    /// A monitor whose check-ins stay away for longer than it permits.
    CheckInMissed {
        /// Name of the monitor.
        monitor: &'static str,
    },
    /// A CPU profile in which a function has a share of the samples.
    ProfileFrame {
        /// Service that sent it.
        service: &'static str,
        /// Part of the function's name.
        function_contains: &'static str,
        /// Smallest share of the samples, in percent.
        share_percent_min: u32,
    },
    /// Client reports that say what a service's telemetry lost.
    ClientReport {
        /// Service that sent them.
        service: &'static str,
        /// Reason of the losses, as Sentry names it. Empty: any.
        reason: &'static str,
        /// Smallest number of lost items.
        quantity_min: u64,
    },
    /// One service and op whose 95th percentile of the transactions is above a duration. Work in the background does not count.
    P95Above {
        /// The duration.
        duration_ms: u64,
        /// Smallest number of longer transactions.
        count_min: usize,
    },
    /// One service whose share of failed transactions is above a limit. Cancelled ones do not count, as in Sentry.
    ErrorRateAbove {
        /// Share that is exceeded, in percent.
        percent: u32,
        /// Smallest number of failed transactions.
        count_min: usize,
    },
    /// A load without a failed unit, whose median is at most a multiple of that of the control, and of which at most a tenth is slow.
    ///
    /// It is not a higher percentile, because a load has few units. One pause of the machine's disk is enough to move that.
    ///
    /// It is the one form that is measured by the sender of the load, because the service under test is the way to Sentry itself. A
    /// phase that has no control to be compared with, such as the control itself, is judged by the other parts of the evidence.
    LoadUnaffected {
        /// Largest quotient of the two.
        p50_ratio_max: f64,
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
    /// An issue of a service with at least one event.
    #[must_use]
    pub const fn issue(service: &'static str, title_contains: &'static str) -> Self {
        Self::Issue { service, title_contains, fingerprint: &[], events_min: 1, groups_max: None }
    }

    /// Exactly one issue of a service, however many events it has.
    #[must_use]
    pub const fn one_issue(service: &'static str, title_contains: &'static str) -> Self {
        Self::Issue { service, title_contains, fingerprint: &[], events_min: 1, groups_max: Some(1) }
    }

    /// The opposite.
    #[must_use]
    pub fn absent(evidence: Self) -> Self {
        Self::Absent(Box::new(evidence))
    }

    /// Returns true if the evidence reads the monitors of check-ins. Others need not be asked for them.
    #[must_use]
    pub fn reads_monitors(&self) -> bool {
        match self {
            Self::CheckInMissed { .. } => true,
            Self::All(several) | Self::Any(several) => several.iter().any(Self::reads_monitors),
            Self::Absent(evidence) => evidence.reads_monitors(),
            _ => false,
        }
    }

    /// Returns true if evidence that holds can cease to hold, because of what arrives later.
    #[must_use]
    pub fn can_be_refuted(&self) -> bool {
        match self {
            Self::Absent(_)
            | Self::DescribedEvents { .. }
            | Self::SameTraces { .. }
            | Self::NotMeasured { .. }
            | Self::CacheMisses { .. } => true,
            Self::Issue { groups_max, .. } => groups_max.is_some(),
            Self::All(several) | Self::Any(several) => several.iter().any(Self::can_be_refuted),
            _ => false,
        }
    }

    /// The parts that can be seen one before the other: those of [`Evidence::All`], without what has to be absent.
    #[must_use]
    pub fn signals(&self) -> Vec<&Self> {
        match self {
            Self::All(all) => all.iter().flat_map(Self::signals).collect(),
            Self::Absent(_) | Self::LoadUnaffected { .. } => Vec::new(),
            single => vec![single],
        }
    }
}

fn describes(span: &Span, part: &str) -> bool {
    part.is_empty() || span.description.as_deref().is_some_and(|description| description.contains(part))
}

#[cfg(test)]
mod tests;
