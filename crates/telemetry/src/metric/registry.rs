//! The metric values of this process, for Prometheus. The number of series is limited, and refused series are counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Kind, Labels, Metric, Unit};

/// Limit of label sets over all metrics. The topics and partitions of six services need a few hundred.
const SERIES_MAX: usize = 4_096;

/// Upper bounds in milliseconds: from a cache hit to a stalled partner.
const BUCKETS_MS: [f64; 14] =
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0];

type Key = (Metric, Vec<(String, String)>);

/// A series and its growth or value.
type Change = (Metric, Vec<(String, String)>, f64);

#[derive(Debug, Clone)]
pub(super) enum Series {
    Counter { total: u64, exported: u64 },
    Gauge(f64),
    Distribution { buckets: [u64; BUCKETS_MS.len()], count: u64, sum: f64 },
}

#[derive(Debug, Default)]
struct Registry {
    series: BTreeMap<Key, Series>,
    refused: u64,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { series: BTreeMap::new(), refused: 0 });

fn registry() -> MutexGuard<'static, Registry> {
    // A panic in another thread does not damage the sums, because every update keeps them valid
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn update(metric: Metric, labels: Labels<'_>, change: impl FnOnce(&mut Series)) {
    let key = key(metric, labels);
    let mut registry = registry();
    let full = registry.series.len() >= SERIES_MAX;
    match registry.series.entry(key) {
        std::collections::btree_map::Entry::Occupied(mut known) => change(known.get_mut()),
        std::collections::btree_map::Entry::Vacant(_) if full => registry.refused += 1,
        std::collections::btree_map::Entry::Vacant(new) => change(new.insert(empty(metric.kind()))),
    }
}

fn key(metric: Metric, labels: Labels<'_>) -> Key {
    let mut labels: Vec<(String, String)> =
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    labels.sort_unstable();
    (metric, labels)
}

fn empty(kind: Kind) -> Series {
    match kind {
        Kind::Counter => Series::Counter { total: 0, exported: 0 },
        Kind::Gauge => Series::Gauge(0.0),
        Kind::Distribution => Series::Distribution { buckets: [0; BUCKETS_MS.len()], count: 0, sum: 0.0 },
    }
}

pub(super) fn add(metric: Metric, value: u64, labels: Labels<'_>) {
    update(metric, labels, |series| {
        if let Series::Counter { total, .. } = series {
            *total = total.saturating_add(value);
        }
    });
}

pub(super) fn set(metric: Metric, value: f64, labels: Labels<'_>) {
    update(metric, labels, |series| *series = Series::Gauge(value));
}

/// Forgets a series.
pub(super) fn remove(metric: Metric, labels: Labels<'_>) {
    registry().series.remove(&key(metric, labels));
}

pub(super) fn observe(metric: Metric, value: f64, labels: Labels<'_>) {
    update(metric, labels, |series| {
        if let Series::Distribution { buckets, count, sum } = series {
            if let Some(bucket) = BUCKETS_MS.iter().position(|bound| value <= *bound) {
                buckets[bucket] += 1;
            }
            *count += 1;
            *sum += value;
        }
    });
}

/// Changes since the last call: growth of counters, values of gauges.
pub(super) fn take_changes(wanted: impl Fn(Metric) -> bool) -> Vec<Change> {
    let mut changes = Vec::new();
    for ((metric, labels), series) in registry().series.iter_mut().filter(|((metric, _), _)| wanted(*metric))
    {
        match series {
            Series::Counter { total, exported } if *total > *exported => {
                #[expect(clippy::cast_precision_loss, reason = "growth within seconds is far below 2^53")]
                changes.push((*metric, labels.clone(), (*total - *exported) as f64));
                *exported = *total;
            }
            Series::Gauge(value) => changes.push((*metric, labels.clone(), *value)),
            Series::Counter { .. } | Series::Distribution { .. } => {}
        }
    }
    changes
}

/// All metrics in Prometheus' text format, which is the response of `/metrics`.
pub fn render_prometheus() -> String {
    let mut out = String::new();
    let registry = registry();
    let mut last = None;
    for ((metric, labels), series) in &registry.series {
        if last.replace(*metric) != Some(*metric) {
            head(&mut out, *metric);
        }
        line(&mut out, &wire_name(*metric), labels, series);
    }
    head(&mut out, Metric::TelemetryDrops);
    for drop in crate::drops_by_category() {
        let labels = [("category", drop.category.as_str()), ("reason", drop.reason.as_str())];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        sample(&mut out, &wire_name(Metric::TelemetryDrops), &labels, None, drop.quantity);
    }
    head(&mut out, Metric::TelemetrySampledOut);
    for drop in crate::sampled_out() {
        let labels = [("category".to_owned(), drop.category.as_str().to_owned())];
        sample(&mut out, &wire_name(Metric::TelemetrySampledOut), &labels, None, drop.quantity);
    }
    head(&mut out, Metric::TelemetrySeriesRefused);
    sample(&mut out, &wire_name(Metric::TelemetrySeriesRefused), &[], None, registry.refused);
    out
}

pub(super) fn wire_name(metric: Metric) -> String {
    let unit = match metric.unit() {
        Unit::None | Unit::Ratio => "",
        Unit::Millisecond => "_milliseconds",
        Unit::Second => "_seconds",
        Unit::Byte => "_bytes",
        Unit::MinorUnit => "_minor",
    };
    let name = metric.name().replace('.', "_");
    let unit = if name.ends_with(unit) { "" } else { unit };
    let suffix = if metric.kind() == Kind::Counter { "_total" } else { "" };
    format!("pitboss_{name}{unit}{suffix}")
}

fn head(out: &mut String, metric: Metric) {
    let kind = match metric.kind() {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Distribution => "histogram",
    };
    let name = wire_name(metric);
    push(out, format_args!("# HELP {name} {}\n# TYPE {name} {kind}\n", metric.help()));
}

fn line(out: &mut String, name: &str, labels: &[(String, String)], series: &Series) {
    match series {
        Series::Counter { total, .. } => sample(out, name, labels, None, total),
        Series::Gauge(value) => sample(out, name, labels, None, value),
        Series::Distribution { buckets, count, sum } => {
            let mut below = 0;
            for (bound, in_bucket) in BUCKETS_MS.iter().zip(buckets) {
                below += in_bucket;
                sample(out, &format!("{name}_bucket"), labels, Some(&bound.to_string()), below);
            }
            sample(out, &format!("{name}_bucket"), labels, Some("+Inf"), count);
            sample(out, &format!("{name}_sum"), labels, None, sum);
            sample(out, &format!("{name}_count"), labels, None, count);
        }
    }
}

fn sample(
    out: &mut String,
    name: &str,
    labels: &[(String, String)],
    bound: Option<&str>,
    value: impl std::fmt::Display,
) {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| (name.replace('.', "_"), value.as_str()))
        .chain(bound.map(|bound| ("le".to_owned(), bound)))
        .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
        .collect();
    if pairs.is_empty() {
        push(out, format_args!("{name} {value}\n"));
    } else {
        push(out, format_args!("{name}{{{}}} {value}\n", pairs.join(",")));
    }
}

fn escape(value: &str) -> String {
    crate::scrub::text(value).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail
    out.write_fmt(text).ok();
}
