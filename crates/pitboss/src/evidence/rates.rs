//! Rates over the transactions of one service: the 95th percentile of their durations, and the share that failed.

use std::collections::BTreeMap;

use super::{Observation, Sighting};

/// Op of transactions that no request waits for: a sweep, a rollup, an attempt at a payment, an e-mail.
const BACKGROUND: &str = "function";

/// Transactions of one kind.
#[derive(Debug, Default)]
struct Count<'a> {
    all: usize,
    matching: usize,
    trace_id: Option<&'a str>,
}

impl<'a> Count<'a> {
    fn add(&mut self, matches: bool, trace_id: &'a str) {
        self.all += 1;
        if matches {
            self.matching += 1;
            self.trace_id.get_or_insert(trace_id);
        }
    }

    /// More than this share, and not only a few.
    fn exceeds(&self, percent: u32, count_min: usize) -> bool {
        let share = self.matching as f64 * 100.0 / self.all.max(1) as f64;
        self.matching >= count_min.max(1) && share > f64::from(percent)
    }

    fn sighting(&self, place: String) -> Sighting {
        Sighting { place, trace_id: self.trace_id.map(str::to_owned) }
    }
}

/// The 95th percentile is above a duration exactly if more than 5 % last longer. Work in the background does not count.
pub(super) fn slow(seen: &Observation, duration_ms: f64, count_min: usize) -> Option<Sighting> {
    let mut kinds: BTreeMap<(&str, &str), Count<'_>> = BTreeMap::new();
    for (transaction, segment) in seen.segments().filter(|(_, segment)| segment.op != BACKGROUND) {
        let kind = (transaction.service.as_str(), segment.op.as_str());
        kinds.entry(kind).or_default().add(segment.duration_ms() > duration_ms, &transaction.trace_id);
    }
    let ((service, op), count) = kinds.into_iter().find(|(_, count)| count.exceeds(5, count_min))?;
    let Count { all, matching, .. } = count;
    let place =
        format!("{matching} of {all} {op} transactions of {service} last longer than {duration_ms:.0} ms");
    Some(count.sighting(place))
}

/// The share of failed transactions of one service. As in Sentry, neither a cancelled nor an unknown one has failed.
pub(super) fn failed(seen: &Observation, percent: u32, count_min: usize) -> Option<Sighting> {
    let mut services: BTreeMap<&str, Count<'_>> = BTreeMap::new();
    for (transaction, segment) in seen.segments() {
        let has_failed =
            !matches!(segment.status.as_deref(), None | Some("ok" | "cancelled" | "unknown" | "unset"));
        services.entry(&transaction.service).or_default().add(has_failed, &transaction.trace_id);
    }
    let (service, count) = services.into_iter().find(|(_, count)| count.exceeds(percent, count_min))?;
    let place = format!("{} of {} transactions of {service} failed", count.matching, count.all);
    Some(count.sighting(place))
}
