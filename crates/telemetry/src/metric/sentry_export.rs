//! Export of metrics to Sentry: some values separately in their trace, others as sums every few seconds.

use std::time::Duration;

use sentry::metrics;
use sentry::protocol::Unit as SentryUnit;

use super::{Export, Kind, Labels, Metric, Unit, registry};

/// Interval between exports of sums and gauges.
const SUMS_EVERY: Duration = Duration::from_secs(5);

pub(super) fn each(metric: Metric, value: f64, labels: Labels<'_>) {
    if metric.export() == Export::Each {
        capture(metric, value, labels.iter().copied());
    }
}

/// Starts the thread that exports the sums. It runs as long as the process does.
pub(crate) fn start_exporting() {
    let work = || {
        crate::frames::warm();
        loop {
            // The sleep is an interval and waits for no condition
            std::thread::sleep(SUMS_EVERY);
            export_sums();
        }
    };
    if std::thread::Builder::new().name("telemetry-sums".to_owned()).spawn(work).is_err() {
        tracing::warn!("summed metrics will not reach Sentry: no thread for them");
    }
}

/// Exports the changes since the last time.
pub(crate) fn export_sums() {
    for (metric, labels, value) in registry::take_changes(|metric| metric.export() == Export::Summed) {
        capture(metric, value, labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    }
}

fn capture<'a>(metric: Metric, value: f64, labels: impl Iterator<Item = (&'a str, &'a str)>) {
    if sentry::Hub::main().client().is_none() {
        return;
    }
    let unit = unit_of(metric);
    // The three builders share no type, so the labels are added in each arm
    match metric.kind() {
        Kind::Counter => labels
            .fold(metrics::counter(metric.sentry_name(), value), |m, (name, value)| {
                m.attribute(name.to_owned(), value.to_owned())
            })
            .capture(),
        Kind::Gauge => {
            let gauge = metrics::gauge(metric.sentry_name(), value);
            let gauge = labels.fold(gauge, |m, (name, value)| m.attribute(name.to_owned(), value.to_owned()));
            unit.into_iter().fold(gauge, |gauge, unit| gauge.unit(unit)).capture();
        }
        Kind::Distribution => {
            let values = metrics::distribution(metric.sentry_name(), value);
            let values =
                labels.fold(values, |m, (name, value)| m.attribute(name.to_owned(), value.to_owned()));
            unit.into_iter().fold(values, |values, unit| values.unit(unit)).capture();
        }
    }
}

/// The unit of a gauge or a distribution.
fn unit_of(metric: Metric) -> Option<SentryUnit> {
    match metric.unit() {
        Unit::None | Unit::MinorUnit => None,
        Unit::Millisecond => Some(SentryUnit::Millisecond),
        Unit::Second => Some(SentryUnit::Second),
        Unit::Byte => Some(SentryUnit::Byte),
        Unit::Ratio => Some(SentryUnit::Ratio),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_in_queries_is_the_sent_one() {
        for metric in Metric::ALL.iter().filter(|metric| metric.kind() != Kind::Counter) {
            let sent = unit_of(*metric).map(|unit| serde_json::to_value(unit).unwrap());
            let sent = sent.as_ref().map_or("none", |unit| unit.as_str().unwrap());
            assert_eq!(sent, metric.sentry_unit(), "{metric:?}");
        }
    }
}
