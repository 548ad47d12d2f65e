//! Rows of faults of the broker, and of the way to it.

use std::time::Duration;

use faults::FaultId;

use super::{REPEATED, UNITS, bets, by_lag, lasting, no_record};
use crate::evidence::Evidence;
use crate::verify::{Row, Workload};

const BETS_COMMANDS: &str = "casino.bets.commands.v1";
/// Outage that is longer than the gateway waits for a bet's outcome (2 s) and for the broker (3 s), so that bets fail on a fast
/// machine, too.
const DOWN: &[(&str, i64)] = &[("down_ms", 6_000)];
/// Services that report an outage of the broker, each as one issue.
const REPORTERS_MAX: usize = 8;

/// The client sends the record again: the span shows that, and the topic's readers see it once.
pub(super) fn reply_lost() -> Row {
    let repeated = Evidence::SpanNumber {
        service: "user",
        op: "queue.publish",
        name: "messaging.message.retry.count",
        min: 1.0,
        max: f64::INFINITY,
        count_min: 1,
    };
    let once = Evidence::absent(Evidence::SpansInTrace {
        service: "payment",
        op: "queue.process",
        description_contains: "casino.players.events.v1",
        count_min: 2,
    });
    let evidence = Evidence::All(vec![repeated, once]);
    let row = Row::new(FaultId::KafkaReplyLost, Workload::LimitChanges { count: 3 }, evidence);
    Row { culprit: "the network between user and the broker, as only user repeats publications", ..row }
}

/// User alone stops: its lag grows, and it handles nothing.
pub(super) fn half_open() -> Row {
    let lag = Evidence::Lag { group: "user", messages_min: 5, age_s_min: 3 };
    let evidence = Evidence::All(vec![lag, no_record("user", "casino.")]);
    let row = Row::new(FaultId::KafkaHalfOpen, bets(UNITS), evidence);
    Row { culprit: "the network between user and the broker, as the lag of user alone grows", ..by_lag(row) }
}

/// Payment holds its decisions and publishes them when it may. Nothing is skipped.
pub(super) fn acl_denied() -> Row {
    let issue = Evidence::one_issue("payment", "publishing to casino.payments.events.v1 fails");
    let not_skipped = Evidence::absent(Evidence::MetricAbove {
        name: "pitboss.bus.records.dead_lettered",
        labels: &[("messaging.consumer.group.name", "payment")],
        min: 1.0,
    });
    let workload = Workload::PacedBets { count: UNITS, interval_ms: 200 };
    let row = Row::new(FaultId::KafkaAclDenied, workload, Evidence::All(vec![issue, not_skipped]));
    const EXEMPT: &[(&str, &str)] = &[(
        "error rate above 1 %",
        "payment holds its records until it may publish, so no record ends as failed",
    )];
    Row {
        culprit: "the access rules of the broker, which the issue's text names with the topic",
        exempt: EXEMPT,
        ..lasting(row)
    }
}

/// The command is refused at the edge, and nothing follows behind it.
pub(super) fn message_too_large() -> Row {
    let reason = "publishing to casino.bets.commands.v1 fails: Message production error: MessageSizeTooLarge";
    let issue = Evidence::one_issue("gateway", reason);
    let refused = Evidence::SpanStatus {
        service: "gateway",
        op: "queue.publish",
        description_contains: BETS_COMMANDS,
        status: "invalid_argument",
        count_min: REPEATED,
    };
    let evidence = Evidence::All(vec![issue, refused, no_record("game", BETS_COMMANDS)]);
    lasting(Row::new(FaultId::KafkaMessageTooLarge, bets(UNITS), evidence))
}

/// The gap is counted and reported, never silent.
pub(super) fn records_deleted() -> Row {
    let issue = Evidence::issue("notification", "the broker deleted the records");
    let counted = Evidence::MetricAbove {
        name: "pitboss.bus.records.missed",
        labels: &[("messaging.consumer.group.name", "notification")],
        min: 1.0,
    };
    let workload = Workload::PacedBets { count: 40, interval_ms: 250 };
    let row = Row::new(FaultId::KafkaRecordsDeleted, workload, Evidence::All(vec![issue, counted]));
    let culprit = "the client that deleted the records, as notification only reports the gap";
    let deadline_reason = "notification is stopped, and starts again, before it can find the gap";
    // The records have to arrive when notification has stopped.
    Row { deadline: Duration::from_secs(60), deadline_reason, culprit, lasts_until_applied: true, ..row }
}

/// Publications of gateway wait, and nothing is refused.
pub(super) fn throttled() -> Row {
    let slow = Evidence::SlowSpan {
        service: "gateway",
        op: "queue.publish",
        description_contains: BETS_COMMANDS,
        duration_ms_min: 400,
        count_min: REPEATED,
    };
    // Consumers are as fast as before, so they are not the cause.
    let consumers_slow = Evidence::SlowSpan {
        service: "game",
        op: "queue.process",
        description_contains: BETS_COMMANDS,
        duration_ms_min: 400,
        count_min: REPEATED,
    };
    let evidence = Evidence::All(vec![slow, Evidence::absent(consumers_slow)]);
    let workload = Workload::PacedBets { count: 40, interval_ms: 200 };
    let row = Row::new(FaultId::KafkaThrottled, workload, evidence);
    let culprit = "gateway's client, as only its publications wait and no consumer is slower";
    let deadline_reason = "the broker measures a client over ten seconds before it delays its answers";
    lasting(Row { deadline: Duration::from_secs(20), deadline_reason, culprit, ..row })
}

/// Publications wait for the broker, and each service reports the outage once.
pub(super) fn restart() -> Row {
    let slow = Evidence::SlowSpan {
        service: "gateway",
        op: "queue.publish",
        description_contains: BETS_COMMANDS,
        duration_ms_min: 1_000,
        count_min: REPEATED,
    };
    let reported = Evidence::Issue {
        service: "",
        title_contains: "no Kafka broker can be reached",
        fingerprint: &[],
        events_min: 1,
        groups_max: Some(REPORTERS_MAX),
    };
    let workload = Workload::PacedBets { count: 40, interval_ms: 250 };
    let row = Row::new(FaultId::KafkaBrokerRestart, workload, Evidence::All(vec![slow, reported]));
    let culprit = "the broker, as all services report it at the same time";
    let deadline_reason =
        "the broker first ends, which needs seconds, and clients wait before they report it";
    Row {
        params: DOWN,
        deadline: Duration::from_secs(60),
        deadline_reason,
        culprit,
        // The bets have to arrive while the broker is away, however long it takes to end.
        lasts_until_applied: true,
        ..row
    }
}
