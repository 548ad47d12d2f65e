//! Faults of any consumer, which act in the bus's hook or on the process of the consumer.

use std::sync::LazyLock;

use super::{alert, scopes};
use crate::{Acts, Definition, FaultId, MoneyVerdict, ParamSpec, Scope};

pub(crate) static SLOW: Definition = Definition {
    id: FaultId::ConsumerSlow,
    acts: Acts::InService,
    services: &["any"],
    title: "A consumer takes longer for each record",
    breaks: "Before its handler runs, each record waits in its lane, inside its `queue.process`.",
    params: &[ParamSpec {
        name: "delay_ms",
        doc: "Time that each record waits, in milliseconds.",
        default: 500,
        min: 1,
        max: 10_000,
    }],
    default_scope: Scope::All,
    scopes: scopes::EVERY,
    safety: "Only the lane of the record waits: records of other keys are handled, the consumer stays in its \
             group, and offsets are committed as usual. The number of records in memory stays bounded, \
             because a full lane pauses its partition.",
    evidence: &[
        "`queue.process` transactions that last at least `delay_ms`, with the attribute \
         `flag.evaluation.consumer.slow`.",
        "`messaging.message.receive.latency` of the following records rises once a full lane pauses its \
         partition.",
        "`consumer.lag.messages` and `consumer.lag.seconds` of the group rise while records arrive faster \
         than they are handled.",
    ],
    alerts: &[alert::CONSUMER_LAG, alert::LATENCY_P95],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: bets take longer or are answered with 202. The lag of a group rises. Where: lagwatch's \
              metrics name group, topic and partition. In the trace the `queue.process` of that group is \
              long, and the time is before its own database and HTTP spans. Meaning: the consumer is alive \
              and too slow. A dead one has no `queue.process` at all, a stuck one stands on one partition. \
              Do: compare processing time with time in queue. Switch the fault off (`./pitboss fault off \
              consumer.slow`) or add a member to the group. Wait until the lag is zero.",
};

pub(crate) static DUPLICATE: Definition = Definition {
    id: FaultId::ConsumerDuplicate,
    acts: Acts::InService,
    services: &["any"],
    title: "A consumer handles each record twice",
    breaks: "After its handler has succeeded, each record is handed to it a second time, as a redelivery \
             would be.",
    params: &[],
    default_scope: Scope::All,
    scopes: scopes::EVERY,
    safety: "A record is repeated once, in its lane and before its offset completes, so the order per player \
             holds. Handlers are idempotent: the second delivery has no effect.",
    evidence: &[
        "The metric `bus.records.duplicate` counts the repetitions.",
        "In one trace, two `queue.process` transactions of a group for one record. The second has the \
         outcome `duplicate`, and the first the attribute `flag.evaluation.consumer.duplicate`.",
        "No second effect: one ledger entry a command, one e-mail a win.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: `bus.records.duplicate` rises as fast as records are handled. Nothing else changes. \
              Where: the metric by group, and the attribute on the records' traces. Meaning: records are \
              delivered at least once, and the promise that each effect happens once is at work. A real \
              cause is a consumer that dies before it commits. Do: look at rebalances and restarts of the \
              group. Switch the fault off (`./pitboss fault off consumer.duplicate`). Run `./pitboss audit`, \
              which has to find nothing.",
};

/// Scope of the faults that stop a consumer. No player waits for notification.
fn notification() -> Scope {
    Scope::Service("notification".to_owned())
}

pub(crate) static STUCK: LazyLock<Definition> = LazyLock::new(|| Definition {
    id: FaultId::ConsumerStuck,
    acts: Acts::InService,
    services: &["any"],
    title: "One partition of a consumer stops moving",
    breaks: "The next record of the partition waits in its lane before its handler runs, until the fault is \
             disarmed.",
    params: &[ParamSpec {
        name: "partition",
        doc: "Number of the partition that stops, in every topic of the group.",
        default: 0,
        min: 0,
        max: 63,
    }],
    default_scope: notification(),
    scopes: scopes::PROCESS,
    safety: "Other partitions are not affected. The consumer stays in its group, commits nothing for the \
             partition and skips nothing. A full lane pauses its partition, so memory stays bounded. A \
             shutdown does not wait for the record.",
    evidence: &[
        "`consumer.lag.seconds` of that partition grows by one second each second, and the lag of the other \
         partitions stays low.",
        "No `queue.process` of the group ends for that partition. The one that waits ends after the fault, \
         with its whole duration and the attribute `flag.evaluation.consumer.stuck`.",
    ],
    alerts: &[alert::CONSUMER_LAG],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: some players get no e-mails (or no result, in another group), others are served as \
              usual. Where: the age of the oldest message grows on one partition only. The group has all of \
              its members. Meaning: one record holds up the records behind it. A dead consumer would stop \
              all partitions, a slow one none. Do: look at the oldest record of the partition \
              (`./pitboss lag`). Switch the fault off (`./pitboss fault off consumer.stuck`) or restart the \
              service. The partition continues at the same record, and its lag returns to zero.",
});

pub(crate) static CRASH_LOOP: LazyLock<Definition> = LazyLock::new(|| Definition {
    id: FaultId::ConsumerCrashLoop,
    acts: Acts::InService,
    services: &["any"],
    title: "A consumer ends with a panic at a record, again and again",
    breaks: "The handler of the next record panics, and the process ends. The supervisor restarts it, and it \
             meets the same record again.",
    params: &[],
    default_scope: notification(),
    scopes: scopes::PLAYERS,
    safety: "The record is not committed, so none is lost or skipped. Pauses between restarts double, and \
             the supervisor gives up after its usual number of restarts. When the fault ends it starts the \
             service again. Other services are not touched.",
    evidence: &[
        "Two issues in the service: the unhandled panic, and the end of the consumer that follows it. Both \
         repeat with each restart.",
        "The restarts of the service rise in `./pitboss status`.",
        "`consumer.lag.messages` of the group grows in lagwatch, which is outside the group.",
    ],
    alerts: &[alert::CONSUMER_LAG, alert::ERROR_RATE],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: a service starts and ends again and again. Its two issues have one event each for each \
              start. Where: all panics have the same stack and the same record. `./pitboss status` counts \
              the restarts. Meaning: one record ends the process, so waiting does not help. Do: take topic, \
              partition and offset from the issue. Fix the handler or park the record. Switch the fault off \
              (`./pitboss fault off consumer.crash-loop`). The service starts, handles the record and \
              catches up.",
});

pub(crate) static DELAYED_ON_PURPOSE: LazyLock<Definition> = LazyLock::new(|| Definition {
    id: FaultId::ConsumerDelayedOnPurpose,
    acts: Acts::InService,
    services: &["notification", "analytics"],
    title: "Records wait in the retry topic until they are due",
    breaks: "The first tries of a record fail for now, so it moves to the retry topic of its group and is \
             handled when it is due. With `permanent=1` its first try fails for good, as with a release that \
             rejects good records, so it becomes a dead letter. Only groups with retry topics are affected: \
             notification and analytics.",
    params: &[ParamSpec {
        name: "permanent",
        doc: "With 1 a record becomes a dead letter at once, and with 0 it waits in the retry topic.",
        default: 0,
        min: 0,
        max: 1,
    }],
    default_scope: notification(),
    scopes: scopes::EVERY,
    safety: "A record fails on purpose only in its own topic, so it takes one lap. Order among the records \
             of one player is not promised in these groups. Groups that move money have no retry topics. \
             With `permanent=1` the group pauses when most of its last records became dead letters, and a \
             replay after the end of the fault loses no record.",
    evidence: &[
        "`queue.publish` spans to the group's retry topic, and later one successful `queue.process` of the \
         same record in the same trace.",
        "The lag of the group in messages grows on the retry topic, and falls when the records are due.",
        "No alert about latency, none about lag, and without `permanent=1` no dead letter: this row shows \
         that waiting for a due time is no outage.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: messages on a retry topic. E-mails arrive later than usual, and none is missing. Where: \
              `./pitboss lag` shows the retry topic beside the first one. In the trace the second attempt \
              follows after the due time. Meaning: the consumer waits as it should. An alert about this lag \
              would be a false alarm. Do: look at the reason of the first failure. Switch the fault off \
              (`./pitboss fault off consumer.delayed-on-purpose`). Then the retry topic empties.",
});

pub(crate) static DEAD: LazyLock<Definition> = LazyLock::new(|| Definition {
    id: FaultId::ConsumerDead,
    acts: Acts::Supervisor,
    services: &["supervisor"],
    title: "The process of a consumer is gone",
    breaks: "The supervisor stops the process of the service in the scope and does not restart it. Its group \
             is empty.",
    params: &[],
    default_scope: notification(),
    scopes: scopes::ONE_SERVICE,
    safety: "The process ends as at a shutdown and starts again when the fault ends. Its records stay on the \
             broker, within their retention, and its offsets stay committed.",
    evidence: &[
        "`consumer.lag.messages` and `consumer.lag.seconds` of the group grow, seen by lagwatch from outside.",
        "No `queue.process` of the service, and no telemetry of the process at all. Two to three minutes after its \
         last check-in the monitor `consumer-<group>` is missed.",
        "No process measures the latency of the group any more, although records are published and wait. The \
         missing figure is a separate alert.",
        "When the fault has ended, records that waited are handled, with their true receive latency.",
    ],
    alerts: &[alert::CONSUMER_LAG, alert::NOT_MEASURED],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: nothing from the service any more. The lag of its group grows on all partitions. Where: \
              lagwatch reports lag for a group without members. `./pitboss status` shows the stopped part. \
              Meaning: the consumer is dead. Metrics of the consumer itself could not show it. Do: read the \
              last lines of its log. Start it (here: `./pitboss fault off consumer.dead`). See the lag of \
              all partitions return to zero, then run `./pitboss audit`.",
});

pub(crate) static REBALANCE_STORM: LazyLock<Definition> = LazyLock::new(|| Definition {
    id: FaultId::ConsumerRebalanceStorm,
    acts: Acts::Supervisor,
    services: &["supervisor"],
    title: "Members join and leave a consumer group all the time",
    breaks: "The supervisor joins the consumer group of the service in the scope as a further member, and \
             leaves it again. Each time the group assigns its partitions again.",
    params: &[ParamSpec {
        name: "interval_ms",
        doc: "Time between joining and leaving, in milliseconds.",
        default: 2_000,
        min: 500,
        max: 30_000,
    }],
    default_scope: notification(),
    scopes: scopes::ONE_SERVICE,
    safety: "The further member handles and commits nothing, and returns its partitions when it leaves. \
             Records that were handled without a commit are delivered again and have no second effect.",
    evidence: &[
        "The metric `bus.rebalances` of the group counts at each join and each leave.",
        "The lag of the group rises and falls in steps, while `queue.process` spans are as short as before.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: the lag of a group moves in steps, although each record is handled as fast as before. \
              Where: the counter of rebalances grows all the time. The group's members change in lagwatch. \
              Meaning: the group spends its time on assignments. Usual causes are a member that restarts, or \
              handlers that exceed the poll interval. Do: find the member that comes and goes. Stop it \
              (here: `./pitboss fault off consumer.rebalance-storm`). The counter stops rising, and the lag \
              returns to zero.",
});
