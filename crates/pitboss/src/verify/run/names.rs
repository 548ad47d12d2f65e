//! Names in the telemetry of a whole run, compared with the declared ones (`schemas/names.json`): nothing else is sent, and each
//! of them is sent at least once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::Value;
use telemetry::attributes::FLAG_EVALUATION;

use super::recorder;
use crate::declared_names;
use crate::target::Target;

/// Reason of names that only some failures have.
const TROUBLE: &str = "only a failure has it that no row causes for certain";
/// Declared names that a run need not send: the reason, the kind, and the names.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "only `audit --watch` sends it",
        "metrics",
        "pitboss.audit.checked pitboss.audit.findings pitboss.audit.rounds",
    ),
    ("only `audit --watch` sends it", "metric_labels", "pitboss.check"),
    (
        "no row has a bet that is rejected or voided",
        "metrics",
        "pitboss.bets.rejected pitboss.bets.voided pitboss.bets.voided.payout.sum \
         pitboss.bets.voided.stake.sum",
    ),
    ("no row has a request beyond a rate limit", "metrics", "pitboss.requests.refused"),
    ("no row overloads the platform", "metrics", "pitboss.bets.in_flight.limit pitboss.bets.refused"),
    (
        "only metrics that are not sent have it",
        "metric_labels",
        "pitboss.collection pitboss.direction pitboss.project",
    ),
    (
        TROUBLE,
        "metrics",
        "pitboss.bus.breaker.open pitboss.bus.commit.failures pitboss.bus.partitions.unreadable \
         pitboss.bus.publish.unknown pitboss.cache.errors pitboss.faults.flags.invalid pitboss.relay.swept \
         pitboss.store.errors pitboss.wire.connections.refused",
    ),
    (TROUBLE, "metric_labels", "pitboss.class pitboss.service"),
    (
        TROUBLE,
        "log_fields",
        "http.response.status_code messaging.consumer.group.name messaging.destination.name \
         messaging.destination.partition.id messaging.kafka.offset pitboss.accounts pitboss.bet.id \
         pitboss.buckets pitboss.bytes_max pitboss.count pitboss.delay_ms pitboss.entries pitboss.event.id \
         pitboss.exit_code pitboss.kafka.facility pitboss.ledger.row pitboss.player.id pitboss.reasons \
         pitboss.records pitboss.sweeps pitboss.telemetry.lost",
    ),
    (
        "only streamed spans have it (`telemetry.trace_lifecycle`)",
        "span_attributes",
        "db.query.text sentry.environment sentry.op sentry.origin sentry.platform sentry.release sentry.sdk.name \
         sentry.sdk.version sentry.segment.id sentry.segment.name sentry.segment.name.source sentry.status.message",
    ),
    (
        "only the spans of a profiled process have it, and no row profiles one (`SENTRY_PROFILE_SESSION_SAMPLE_RATE`)",
        "span_attributes",
        "sentry.profiler_id thread.id thread.name",
    ),
    ("two tasks have to write at the same moment", "span_attributes", "db.operation.batch.size"),
    (
        "only a debug fault logs it, and its rows are proven after this comparison",
        "log_fields",
        "pitboss.fault",
    ),
    (
        "only lines of the level debug have it, which are not sent",
        "log_fields",
        "messaging.message.retry.count pitboss.attempt pitboss.bytes pitboss.common pitboss.config \
         pitboss.part pitboss.round",
    ),
    (
        "only the recorder logs it, and it sends no telemetry",
        "log_fields",
        "pitboss.changes pitboss.damaged_bytes pitboss.mode pitboss.next_seq pitboss.project pitboss.reason \
         pitboss.rows pitboss.runs pitboss.segment.base pitboss.segment.offset pitboss.status \
         pitboss.torn_bytes",
    ),
    (
        "the field has it only for a value of another type",
        "log_fields",
        "pitboss.error pitboss.http.response.status_code pitboss.messaging.consumer.group.name \
         pitboss.messaging.destination.name pitboss.messaging.destination.partition.id \
         pitboss.messaging.kafka.offset pitboss.retry.count",
    ),
];

/// Time for the last metrics: a service adds them up for 5 s, and sends them every 5 s.
const ARRIVES_WITHIN: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Names that arrived, each behind its kind, as `metrics pitboss.bets.settled`.
#[derive(Debug)]
pub(super) struct Sent {
    /// Last envelope whose names were read.
    since: u64,
    names: BTreeSet<String>,
}

/// The declared names beside those that arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Number of declared names.
    pub declared: usize,
    /// Number of them that were sent.
    pub sent: usize,
    /// Number of them that were not sent, for a known reason.
    pub excused: usize,
    /// Names that were sent and are not declared, each behind its kind.
    pub undeclared: Vec<String>,
    /// Declared names that were not sent, without those that need not be.
    pub never_sent: Vec<String>,
    /// Reason why the names could not be read. Empty otherwise.
    pub unread: String,
}

impl Sent {
    /// Begins behind an envelope.
    pub(super) fn since(seq: u64) -> Self {
        Self { since: seq, names: BTreeSet::new() }
    }

    /// Adds what arrived since the last call. What a failed call did not read, the next one does.
    ///
    /// # Errors
    /// When the recorder does not answer, or does not list all names.
    pub(super) async fn read(&mut self, target: &Target) -> Result<()> {
        loop {
            let answer = recorder(target, &format!("names?since={}", self.since)).await?;
            for (_, names) in answer["services"].as_object().into_iter().flatten() {
                self.names.extend(names_in(names));
                if names["left_out"].as_u64().is_some_and(|count| count > 0) {
                    bail!("the recorder left out names of a service that sends too many");
                }
            }
            let before = self.since;
            self.since = answer["seq"].as_u64().unwrap_or(before);
            if answer["truncated"] != true || self.since == before {
                return Ok(());
            }
        }
    }

    /// Waits until every declared name was sent that has to be, as long as the last metrics may need.
    pub(super) async fn coverage(&mut self, target: &Target) -> Coverage {
        let began = Instant::now();
        loop {
            let unread = self.read(target).await.err().map(|error| format!("{error:#}")).unwrap_or_default();
            let coverage = Coverage { unread, ..compare(&declared(), &self.names) };
            let is_complete = coverage.never_sent.is_empty() && coverage.unread.is_empty();
            if is_complete || began.elapsed() >= ARRIVES_WITHIN {
                return coverage;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

impl Coverage {
    /// Returns true if all that was sent is declared, and all that is declared was sent.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.undeclared.is_empty() && self.never_sent.is_empty() && self.unread.is_empty()
    }

    /// The comparison in words.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Self { declared, sent, excused, undeclared, never_sent, unread } = self;
        let first = format!("{sent} of {declared} declared names were sent, and {excused} need not be");
        let undeclared = undeclared.iter().map(|name| format!("sent and not declared: {name}"));
        let never_sent = never_sent.iter().map(|name| format!("declared and never sent: {name}"));
        let unread = (!unread.is_empty()).then(|| format!("not all names were read: {unread}"));
        std::iter::once(first).chain(undeclared).chain(never_sent).chain(unread).collect()
    }
}

/// The declared names. A file that is not readable declares none, so that all names are undeclared.
fn declared() -> BTreeSet<String> {
    let lists: Value = serde_json::from_str(declared_names::FILE).unwrap_or_default();
    names_in(&lists)
}

/// The names in lists by kind.
fn names_in(lists: &Value) -> BTreeSet<String> {
    let lists = lists.as_object().into_iter().flatten();
    let names = lists.flat_map(|(kind, names)| {
        let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
        names.map(move |name| format!("{kind} {name}"))
    });
    names.collect()
}

/// The names that need not be sent.
fn exceptions() -> BTreeSet<String> {
    let names = EXCEPTIONS.iter().flat_map(|(_, kind, names)| {
        let names = names.split_whitespace();
        names.map(move |name| format!("{kind} {name}"))
    });
    names.collect()
}

fn compare(declared: &BTreeSet<String>, sent: &BTreeSet<String>) -> Coverage {
    let exceptions = exceptions();
    let (excused, never_sent): (Vec<String>, Vec<String>) =
        declared.difference(sent).cloned().partition(|name| exceptions.contains(name));
    // The faults declare the attributes of their flags.
    let of_flags = format!("span_attributes {FLAG_EVALUATION}");
    let undeclared = sent.difference(declared).filter(|name| !name.starts_with(&of_flags));
    Coverage {
        declared: declared.len(),
        sent: declared.intersection(sent).count(),
        excused: excused.len(),
        undeclared: undeclared.cloned().collect(),
        never_sent,
        unread: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn exceptions_are_declared() {
        let (declared, exceptions) = (declared(), exceptions());
        let unknown: Vec<_> = exceptions.difference(&declared).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        let listed: usize = EXCEPTIONS.iter().map(|(_, _, names)| names.split_whitespace().count()).sum();
        assert_eq!(listed, exceptions.len(), "one is listed twice");
        assert!(exceptions.len() * 2 < declared.len(), "{} of {}", exceptions.len(), declared.len());
    }

    #[test]
    fn run_with_all_names_holds() {
        let mut sent: BTreeSet<String> = declared().difference(&exceptions()).cloned().collect();
        let coverage = compare(&declared(), &sent);
        assert!(coverage.holds() && coverage.excused == exceptions().len(), "{coverage:?}");
        sent.insert("span_attributes flag.evaluation.consumer.slow".to_owned());
        assert!(compare(&declared(), &sent).holds(), "faults declare the attributes of their flags");
    }

    #[test]
    fn missing_and_unknown_names_are_red() {
        let declared = set(&["metrics a", "metrics b", "metrics pitboss.audit.rounds"]);
        let coverage = compare(&declared, &set(&["metrics a", "span_ops a"]));
        assert!(!coverage.holds());
        assert_eq!((coverage.declared, coverage.sent, coverage.excused), (3, 1, 1));
        assert_eq!(coverage.undeclared, ["span_ops a"]);
        assert_eq!(coverage.never_sent, ["metrics b"]);
        for sent in [&["metrics a"][..], &["metrics a", "metrics b", "metrics c"]] {
            assert!(!compare(&declared, &set(sent)).holds(), "{sent:?}");
        }
        assert!(!Coverage { unread: "no answer".to_owned(), ..Coverage::default() }.holds());
    }

    #[test]
    fn lines_name_what_is_wrong() {
        let declared = set(&["metrics a"]);
        let coverage = compare(&declared, &set(&["metrics b"]));
        let lines = Coverage { unread: "no answer".to_owned(), ..coverage }.lines();
        assert_eq!(
            lines,
            [
                "0 of 1 declared names were sent, and 0 need not be",
                "sent and not declared: metrics b",
                "declared and never sent: metrics a",
                "not all names were read: no answer",
            ]
        );
    }

    #[test]
    fn names_are_separated_by_kind() {
        let lists = serde_json::json!({"span_ops": ["db"], "log_fields": ["db"], "left_out": 0});
        assert_eq!(names_in(&lists), set(&["log_fields db", "span_ops db"]));
    }
}
