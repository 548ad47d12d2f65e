//! Flow of records during a row, as the recorder counts it from raw envelopes: for each topic, published × groups that read it +
//! redelivered = processed + skipped, exactly.

use std::time::{Duration, Instant};

use anyhow::Result;
use contracts::{Group, Topic};
use faults::FaultId;
use serde::Serialize;
use serde_json::Value;

use super::recorder;
use crate::target::Target;

/// Longest wait for the last spans and counters. Most of them arrive during the audit, which comes before. A counter is sent after up
/// to 5 s, so the wait is twice as long.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Faults under which the bytes cannot prove the equation, with the reason.
const EXEMPT: &[(&[FaultId], &str)] = &[
    (
        &[FaultId::ConsumerDead, FaultId::ConsumerCrashLoop, FaultId::KafkaRecordsDeleted],
        "a process ends, and with it counts of skipped records that it has not sent yet",
    ),
    (
        &[FaultId::ConsumerRebalanceStorm, FaultId::KafkaHalfOpen, FaultId::KafkaBrokerRestart],
        "a skipped record can be read twice, and only the span of a handled one has its place",
    ),
    (
        &[
            FaultId::KafkaReplyLost,
            FaultId::KafkaAclDenied,
            FaultId::KafkaMessageTooLarge,
            FaultId::KafkaThrottled,
        ],
        "a publish that was not acknowledged, or not in time, has no offset",
    ),
    (
        &[FaultId::NotificationPoison, FaultId::TraceHostileHeaders, FaultId::TraceSamplingConflict],
        "the supervisor publishes records without a span",
    ),
    (&[FaultId::SentryDown], "telemetry is lost on purpose"),
];
/// The same for a row in whose window all that is wrong are records that were handled or skipped and not published.
const LATE: &str = "counters of earlier records arrived late";

/// Flow of the records of a row. It does not decide the verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Flow {
    /// Spans of publishes.
    pub published: u64,
    /// Violations of the equation, one text each.
    pub violations: Vec<String>,
    /// Reason why the bytes cannot prove the equation. Empty if they can.
    pub exempt: &'static str,
}

impl Flow {
    fn of(queues: &Value) -> Self {
        let published = queues["total"]["published"].as_u64().unwrap_or_default();
        let violations = violations(queues);
        let exempt = if is_only_late(queues) { LATE } else { "" };
        Self { published, violations, exempt }
    }

    /// A row whose fault makes the equation unprovable.
    pub(super) fn without_proof(exempt: &'static str) -> Self {
        Self { exempt, ..Self::default() }
    }

    /// The violations that the bytes prove.
    #[must_use]
    pub fn proven(&self) -> &[String] {
        if self.exempt.is_empty() { &self.violations } else { &[] }
    }

    /// The flow in a few words.
    #[must_use]
    pub fn text(&self) -> String {
        match (self.exempt.is_empty(), self.violations.len()) {
            (false, _) => "exempt".to_owned(),
            (true, 0) => "exact".to_owned(),
            (true, count) => format!("{count} missing"),
        }
    }
}

/// Reason why the bytes cannot prove the equation under a fault.
pub(super) fn exempt(fault: FaultId) -> Option<&'static str> {
    EXEMPT.iter().find(|(faults, _)| faults.contains(&fault)).map(|(_, reason)| *reason)
}

/// Waits until the equation holds for the records since an envelope. Returns also the last envelope of a reading that is exact:
/// nothing was on its way then.
pub(super) async fn read(target: &Target, since: u64) -> Result<(Flow, Option<u64>)> {
    let began = Instant::now();
    loop {
        let queues = recorder(target, &format!("dashboards/queues?since={since}")).await?;
        let flow = Flow::of(&queues);
        let is_exact = flow.violations.is_empty();
        if is_exact || began.elapsed() >= ARRIVES_WITHIN {
            return Ok((flow, queues["seq"].as_u64().filter(|_| is_exact)));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Violations of the equation in the recorder's dashboard of queues, one text each.
#[must_use]
pub fn violations(queues: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if queues["flow_exact"] != true || queues["spans_incomplete"] != 0 {
        found.push(format!("{} spans are incomplete, or the flow is not exact", queues["spans_incomplete"]));
    }
    for topic in Topic::ALL {
        if let Some(row) = rows(queues).find(|row| row["destination"] == topic.name()) {
            of_topic(*topic, &row["flow"], &mut found);
        }
    }
    found
}

fn of_topic(topic: Topic, flow: &Value, found: &mut Vec<String>) {
    let readers = Group::ALL.iter().filter(|group| group.reads().contains(&topic));
    let readers: Vec<&str> = readers.map(|group| group.as_str()).collect();
    for reader in &readers {
        match groups(flow).find(|group| group["group"] == *reader) {
            Some(group) if group["missing"] == 0 => {}
            Some(group) => found.push(format!("{topic}: {group}")),
            None if flow["acknowledged"] == 0 => {}
            None => found.push(format!("{topic}: nothing of {reader}")),
        }
    }
    for group in groups(flow).filter(|group| !readers.iter().any(|reader| group["group"] == *reader)) {
        found.push(format!("{topic}: {group} does not read it"));
    }
    if flow["without_offset"] != 0 {
        found.push(format!("{topic}: {} publishes without an offset", flow["without_offset"]));
    }
}

/// Returns true if no record is missing: each violation is of counters of earlier records that arrived in the window.
#[must_use]
pub fn is_only_late(queues: &Value) -> bool {
    let missing = |row: &Value| -> Vec<i64> {
        groups(&row["flow"]).map(|group| group["missing"].as_i64().unwrap_or(i64::MAX)).collect()
    };
    let is_ours = |row: &Value| Topic::ALL.iter().any(|topic| row["destination"] == topic.name());
    let ours = rows(queues).filter(|row| is_ours(row)).flat_map(missing);
    let late = ours.filter(|missing| *missing < 0).count();
    late > 0 && late == violations(queues).len() && rows(queues).flat_map(missing).all(|missing| missing <= 0)
}

fn rows(queues: &Value) -> impl Iterator<Item = &Value> {
    queues["destinations"].as_array().into_iter().flatten()
}

fn groups(flow: &Value) -> impl Iterator<Item = &Value> {
    flow["groups"].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A dashboard with three records of a topic that payment alone reads.
    fn queues(groups: &[(&str, i64)]) -> Value {
        let groups: Vec<Value> =
            groups.iter().map(|(group, missing)| json!({"group": group, "missing": missing})).collect();
        let flow = json!({"acknowledged": 3, "without_offset": 0, "groups": groups});
        let rows = json!([{"destination": Topic::PaymentsCommands.name(), "flow": flow}]);
        json!({"flow_exact": true, "spans_incomplete": 0, "total": {"published": 3}, "destinations": rows})
    }

    #[test]
    fn flow_without_a_gap_is_exact() {
        let flow = Flow::of(&queues(&[("payment", 0)]));
        assert_eq!((flow.published, flow.text().as_str()), (3, "exact"));
    }

    #[test]
    fn each_gap_is_a_violation() {
        let mut inexact = queues(&[("payment", 0)]);
        inexact["flow_exact"] = false.into();
        let mut without_offset = queues(&[("payment", 0)]);
        without_offset["destinations"][0]["flow"]["without_offset"] = 1.into();
        let table = [
            (queues(&[("payment", 1)]), "\"missing\":1"),
            (queues(&[]), "nothing of payment"),
            (queues(&[("payment", 0), ("game", 0)]), "does not read it"),
            (inexact, "not exact"),
            (without_offset, "1 publishes without an offset"),
        ];
        for (queues, text) in table {
            let found = violations(&queues);
            assert!(found.len() == 1 && found[0].contains(text), "{text}: {found:?}");
        }
    }

    #[test]
    fn late_counters_differ_from_a_gap() {
        let late = Flow::of(&queues(&[("payment", -2)]));
        assert_eq!((late.exempt, late.violations.len()), (LATE, 1));
        assert!(late.proven().is_empty());
        for gap in [queues(&[("payment", 2)]), queues(&[])] {
            let flow = Flow::of(&gap);
            assert_eq!((flow.exempt, flow.text().as_str()), ("", "1 missing"), "{gap}");
        }
    }

    #[test]
    fn most_rows_have_to_be_exact() {
        let all = EXEMPT.iter().map(|(faults, _)| faults.len()).sum::<usize>();
        assert!(all * 2 < FaultId::ALL.len(), "{all}");
        assert!(exempt(FaultId::ConsumerDuplicate).is_none() && exempt(FaultId::SentryDown).is_some());
    }
}
