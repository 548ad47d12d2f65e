//! Rows of faults of consumers.

use std::time::Duration;

use faults::{FaultId, ReadSite};

use super::{REPEATED, UNITS, bets, by_lag, by_metric, lasting, no_record, slow_records};
use crate::evidence::Evidence;
use crate::verify::{Begins, Row, Workload, alerts};

const NOTIFICATION: &str = "notification";
const OF_NOTIFICATION: &[(&str, &str)] = &[("messaging.consumer.group.name", NOTIFICATION)];
const RETRY_TOPIC: &str = "casino.bets.events.v1.retry.notification";
/// Text by which an issue names the producer of the records that cannot be decoded.
const OF_POISON: &str = "in a record of /foreign/bet-import";
/// Bets that arrive for longer than lagwatch needs to see their lag.
const STEADY: Workload = Workload::PacedBets { count: 40, interval_ms: 250 };

/// The services whose hook reads a fault of every consumer. Each of them handles records of every bet.
fn readers(fault: FaultId) -> impl Iterator<Item = &'static str> {
    ReadSite::all_of(fault).into_iter().map(|site| site.service)
}

/// Four such records are on the way of a bet, which the gateway answers in time with this delay. Every consumer is slow.
pub(super) fn slow() -> Row {
    let fault = FaultId::ConsumerSlow;
    let slow = readers(fault).map(|service| slow_records(service, "casino.", 380)).collect();
    let row = Row::new(fault, bets(5), Evidence::All(slow));
    let deadline_reason = "the last services need the records of three bets, and each bet takes two seconds";
    const EXEMPT: &[(&str, &str)] =
        &[("consumer lag", "one bet after the other waits for its result, so no backlog of 5 s builds up")];
    let deadline = Duration::from_secs(10);
    Row { params: &[("delay_ms", 400)], exempt: EXEMPT, deadline, deadline_reason, ..row }
}

/// The lag of one partition grows, and the group has its member.
pub(super) fn stuck() -> Row {
    let has_member =
        Evidence::MetricPeak { name: "pitboss.consumer.members", labels: OF_NOTIFICATION, min: 1.0 };
    let evidence = Evidence::All(vec![lag(5, 5), has_member]);
    let row = Row::new(FaultId::ConsumerStuck, bets(UNITS), evidence);
    Row { partition_of: Some(NOTIFICATION), ..by_lag(row) }
}

/// The lag grows, and the service handles nothing.
pub(super) fn dead() -> Row {
    let evidence = Evidence::All(vec![lag(5, 3), no_record(NOTIFICATION, "")]);
    lasting(by_lag(Row::new(FaultId::ConsumerDead, bets(UNITS), evidence)))
}

/// The monitor of the group misses its check-in, because the service was stopped.
pub(super) fn dead_missed_check_in() -> Row {
    let missed = Evidence::CheckInMissed { monitor: "consumer-notification" };
    let row = Row::new(FaultId::ConsumerDead, bets(UNITS), Evidence::All(vec![missed, lag(5, 3)]));
    let deadline_reason = "Sentry counts in whole minutes: a check-in is due a minute after the last one, and missed two \
                           minutes later";
    let deadline = Duration::from_secs(200);
    lasting(Row { variant: "missed-check-in", deadline, deadline_reason, is_slow: true, ..row })
}

/// The same issue again after each restart, and lag.
pub(super) fn crash_loop() -> Row {
    let crashes = Evidence::Issue {
        service: NOTIFICATION,
        title_contains: "crashed",
        fingerprint: &[],
        events_min: 2,
        groups_max: None,
    };
    by_lag(Row::new(FaultId::ConsumerCrashLoop, bets(UNITS), Evidence::All(vec![crashes, lag(5, 3)])))
}

pub(super) fn rebalance_storm() -> Row {
    let evidence =
        Evidence::MetricAbove { name: "pitboss.bus.rebalances", labels: OF_NOTIFICATION, min: 3.0 };
    let row = Row::new(FaultId::ConsumerRebalanceStorm, bets(UNITS), evidence);
    let deadline_reason = "a member needs seconds to join a group and to leave it, three times";
    Row { params: &[("interval_ms", 1_000)], deadline_reason, ..by_lag(row) }
}

/// Every consumer handles the same records twice. The outcome alone would not show that: a repetition in one service publishes its
/// answers again, and the next service finds those duplicate, too.
pub(super) fn duplicate() -> Row {
    let duplicates = |service| Evidence::SpanAttribute {
        service,
        op: "queue.process",
        name: "pitboss.outcome",
        value: "duplicate",
        count_min: REPEATED,
    };
    let fault = FaultId::ConsumerDuplicate;
    let twice = readers(fault).map(|service| Evidence::RepeatedRecords { service, count_min: REPEATED });
    let evidence = twice.chain([duplicates("payment"), duplicates("user")]).collect();
    Row::new(fault, bets(UNITS), Evidence::All(evidence))
}

/// Records wait in the retry topic, so there is lag. No record is slow or left behind: the alarms have to be silent.
pub(super) fn delayed_on_purpose() -> Row {
    let deferred = Evidence::SpanAttribute {
        service: NOTIFICATION,
        op: "queue.publish",
        name: "messaging.destination.name",
        value: RETRY_TOPIC,
        count_min: REPEATED,
    };
    let no_dead_letter = Evidence::absent(dead_letters(1.0));
    let [not_slow, no_lag] = [alerts::latency(), alerts::lag()].map(Evidence::absent);
    let evidence = Evidence::All(vec![deferred, lag(3, 1), no_dead_letter, not_slow, no_lag]);
    by_lag(Row::new(FaultId::ConsumerDelayedOnPurpose, STEADY, evidence))
}

/// One issue and one dead letter. The records of the load are handled beside it.
pub(super) fn poison() -> Row {
    let neighbours =
        Evidence::SegmentStatus { service: NOTIFICATION, op: "queue.process", status: "ok", count_min: 10 };
    let (one, named) = (Evidence::one_issue(NOTIFICATION, ""), Evidence::issue(NOTIFICATION, OF_POISON));
    poisoned(bets(UNITS), vec![one, named, dead_letters(1.0), neighbours])
}

/// Enough of them open the breaker after any earlier records of notification: they fill its window of 20. The bets of
/// several players end its pause, as one that is handled is enough.
///
/// No other row does the same work, because the records that wait during that pause would be lag in its control.
pub(super) fn poison_flood() -> Row {
    let breaker =
        Evidence::MetricPeak { name: "pitboss.bus.breaker.open", labels: OF_NOTIFICATION, min: 1.0 };
    let paused = Evidence::one_issue(NOTIFICATION, "the group notification pauses");
    let named = Evidence::one_issue(NOTIFICATION, OF_POISON);
    let workload = Workload::PacedBets { count: 12, interval_ms: 100 };
    let row = poisoned(workload, vec![named, paused, breaker, dead_letters(11.0)]);
    Row { variant: "flood", params: &[("count", 24)], applied_min: 24, ..row }
}

fn poisoned(workload: Workload, evidence: Vec<Evidence>) -> Row {
    let row = Row::new(FaultId::NotificationPoison, workload, Evidence::All(evidence));
    let culprit = "the producer /foreign/bet-import, which the issue and the record's header ce_source name";
    Row { begins: Begins::Injected, culprit, ..by_metric(row) }
}

const fn dead_letters(min: f64) -> Evidence {
    Evidence::MetricAbove { name: "pitboss.bus.records.dead_lettered", labels: OF_NOTIFICATION, min }
}

/// Lag of notification on one partition. Every bet of one player is on the same.
const fn lag(messages_min: u32, age_s_min: u32) -> Evidence {
    Evidence::Lag { group: NOTIFICATION, messages_min, age_s_min }
}
