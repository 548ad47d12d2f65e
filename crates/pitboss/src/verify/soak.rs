//! A load without any fault: no evidence of any row and no alert condition may hold, and the recorder may raise no alert.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::alerts::{Alert, alerts};
use super::{Means, Progress, Row, Workload};
use crate::alerts::Alerts;
use crate::evidence::{Evidence, Observation, Sighting, Window};

/// Time after which evidence is judged again. The phases of a row are about as long.
const SLICE: Duration = Duration::from_secs(30);
/// Time after the work of a slice in which services send their metrics.
const REST: Duration = Duration::from_secs(6);
/// Time from one unit to the next. It leaves most of two cores idle.
const INTERVAL_MS: u32 = 200;

/// Result of a load without faults.
#[derive(Clone, Debug, Serialize)]
pub struct Soak {
    /// Seed of the amounts.
    pub seed: u64,
    /// Time that it took.
    pub duration_s: f64,
    /// Number of times that everything was judged.
    pub slices: u64,
    /// Units of work that ended.
    pub units: u64,
    /// Units that were not answered with 200.
    pub failed: u64,
    /// Number of rules that the recorder evaluated at the end. Without any, its silence proves nothing.
    pub rules_evaluated: usize,
    /// Slices in which the recorder received no transaction, so that they prove nothing.
    pub slices_without_telemetry: u64,
    /// False alarms: what held although no fault was armed.
    pub findings: Vec<Finding>,
}

/// One false alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The slice in which it held.
    pub slice: u64,
    /// End of the slice (UTC).
    pub at: String,
    /// Row whose evidence held, or alert condition.
    pub what: String,
    /// Place where it was seen, with the value.
    pub place: String,
    /// Trace that shows it.
    pub trace_id: Option<String>,
}

impl Soak {
    /// Returns true if work was done and arrived, nothing was found, and at most one unit in a hundred failed.
    #[must_use]
    pub fn holds(&self) -> bool {
        let is_exposed = self.units > 0 && self.slices_without_telemetry == 0 && self.rules_evaluated > 0;
        is_exposed && self.failed.saturating_mul(100) <= self.units && self.findings.is_empty()
    }
}

/// Puts the platform under a load of bets, deposits, reads and changes of limits for `duration`, and calls `progress_of` after
/// each slice.
///
/// # Errors
/// When the platform does not answer.
pub async fn soak(
    means: Means<'_>,
    rows: &[Row],
    seed: u64,
    duration: Duration,
    progress_of: impl Fn(&Soak),
) -> Result<Soak> {
    let count = u32::try_from(SLICE.min(duration).as_millis()).unwrap_or(u32::MAX).div_ceil(INTERVAL_MS);
    let workload = Workload::Mixed { count, interval_ms: INTERVAL_MS };
    let players = workload.prepare(means.gateway).await?;
    // The registrations, each of which needs a password's hash, are no part of the load.
    tokio::time::sleep(REST).await;
    let began = Instant::now();
    let mut soak = Soak {
        seed,
        duration_s: 0.0,
        slices: 0,
        units: 0,
        failed: 0,
        rules_evaluated: 0,
        slices_without_telemetry: 0,
        findings: Vec::new(),
    };
    let began_s = OffsetDateTime::now_utc().unix_timestamp_nanos() as f64 / 1e9;
    let evidence = Evidence::Any(rows.iter().map(|row| row.evidence.clone()).collect());
    let mut window = Window::open(means.target).await?.for_evidence(&evidence);
    while began.elapsed() < duration {
        soak.slices += 1;
        let progress = Progress::default();
        workload.run(means, &players, seed.wrapping_add(soak.slices), &progress).await;
        tokio::time::sleep(REST).await;
        soak.units += progress.units();
        soak.failed += progress.failed();
        // The next window opens before the last reading of this one, so that nothing arrives between two of them.
        let next = Window::open(means.target).await?.for_evidence(&evidence);
        soak.judge(window.read().await?, rows);
        window = next;
        soak.duration_s = began.elapsed().as_secs_f64();
        progress_of(&soak);
    }
    soak.alarms(&Alerts::read(means.target).await?, began_s);
    Ok(soak)
}

impl Soak {
    /// Adds what the recorder's rules found since the beginning. A finding that is folded into an older alert is one, too.
    fn alarms(&mut self, alerts: &Alerts, began_s: f64) {
        self.rules_evaluated =
            alerts.evaluated_at.filter(|at| *at > began_s).map_or(0, |_| alerts.rules.len());
        for (id, entry) in alerts.since(began_s) {
            let at = OffsetDateTime::from_unix_timestamp(entry.at as i64).ok();
            self.findings.push(Finding {
                slice: self.slices,
                at: at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default(),
                what: format!("alert {id}"),
                place: format!("{} in {}", entry.what, entry.project),
                trace_id: entry.traces.first().cloned(),
            });
        }
    }

    /// Adds what a slice shows.
    fn judge(&mut self, seen: &Observation, rows: &[Row]) {
        let at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        self.slices_without_telemetry += u64::from(seen.transactions.is_empty());
        self.findings.extend(findings(seen, rows, self.slices, &at));
    }
}

fn findings(seen: &Observation, rows: &[Row], slice: u64, at: &str) -> Vec<Finding> {
    let find = |what: &str, evidence: &Evidence| {
        let Sighting { place, trace_id } = evidence.find(seen)?;
        Some(Finding { slice, at: at.to_owned(), what: what.to_owned(), place, trace_id })
    };
    let of_rows = rows.iter().filter_map(|row| find(&row.name(), &row.evidence));
    let alerts = alerts();
    let of_alerts = alerts.iter().filter_map(|Alert { id, condition }| find(id, condition));
    of_rows.chain(of_alerts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::MetricValue;
    use crate::verify::rows;

    #[test]
    fn quiet_platform_has_no_finding() {
        assert_eq!(findings(&Observation::default(), &rows(), 1, "now"), []);
    }

    #[test]
    fn alert_of_the_recorder_is_a_finding() {
        let mut soak = Soak {
            seed: 1,
            duration_s: 1.0,
            slices: 4,
            units: 9,
            failed: 0,
            rules_evaluated: 0,
            slices_without_telemetry: 0,
            findings: Vec::new(),
        };
        assert!(!soak.holds(), "no rule was evaluated");
        soak.alarms(&crate::alerts::tests::answer(), 60.0);
        assert_eq!((soak.rules_evaluated, soak.findings.len(), soak.holds()), (3, 1, false));
        assert_eq!(soak.findings[0].place, "Consumer lag above 30 s in lagwatch");
        soak.findings.clear();
        soak.alarms(&crate::alerts::tests::answer(), 99.0);
        assert!(soak.holds(), "what was found before the soak is none of its findings");
        soak.alarms(&crate::alerts::tests::answer(), 101.0);
        assert!(!soak.holds(), "the last round was before it");
    }

    #[test]
    fn alert_condition_is_a_finding() {
        let metric = MetricValue {
            seq: 1,
            name: Some("pitboss.bus.records.dead_lettered".to_owned()),
            value: serde_json::json!(1.0),
            attributes: serde_json::Map::new(),
        };
        let seen = Observation { metrics: vec![metric], ..Observation::default() };
        let found = findings(&seen, &rows(), 4, "now");
        assert_eq!((found.len(), found[0].what.as_str(), found[0].slice), (1, "dead letters", 4));
        let soak = |units, findings| Soak {
            seed: 1,
            duration_s: 1.0,
            slices: 4,
            units,
            failed: 0,
            rules_evaluated: 26,
            slices_without_telemetry: 0,
            findings,
        };
        assert!(soak(9, Vec::new()).holds());
        assert!(!soak(9, found).holds() && !soak(0, Vec::new()).holds());
        assert!(Soak { failed: 1, ..soak(100, Vec::new()) }.holds());
        let mut blind = soak(9, Vec::new());
        blind.judge(&Observation::default(), &rows());
        assert!(blind.findings.is_empty() && !blind.holds(), "nothing arrived, so nothing was proven");
        assert!(!Soak { failed: 1, ..soak(99, Vec::new()) }.holds(), "a load that fails is no healthy soak");
    }
}
