//! Faults of any consumer, which act in the bus's hook.

use super::alert;
use crate::{Definition, FaultId, MoneyVerdict, ParamSpec, Scope};

pub(crate) static SLOW: Definition = Definition {
    id: FaultId::ConsumerSlow,
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
    safety: "Only the lane of the record waits: records of other keys go on, the consumer stays in its \
             group, and offsets are committed as usual. The number of records in memory stays bounded, \
             because a full lane pauses its partition.",
    evidence: &[
        "`queue.process` transactions that last at least `delay_ms`, with the attribute \
         `flag.evaluation.consumer.slow`.",
        "`messaging.message.receive.latency` of the following records rises.",
        "`consumer.lag.messages` and `consumer.lag.seconds` of the group rise while records arrive faster \
         than they are handled.",
    ],
    alerts: &[alert::CONSUMER_LAG, alert::LATENCY_P95],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: bets take longer or are answered with 202; the lag of a group rises. Where: lagwatch's \
              metrics name group, topic and partition; in the trace the `queue.process` of that group is \
              long, and the time is before its own database and HTTP spans. Meaning: the consumer is alive \
              and too slow; a dead one has no `queue.process` at all, a stuck one stands on one partition. \
              Do: compare processing time with time in queue; switch the fault off (`./pitboss fault off \
              consumer.slow`) or add a member to the group; wait until the lag is zero.",
};

pub(crate) static DUPLICATE: Definition = Definition {
    id: FaultId::ConsumerDuplicate,
    services: &["any"],
    title: "A consumer handles each record twice",
    breaks: "After its handler has succeeded, each record is handed to it a second time, as a redelivery \
             would be.",
    params: &[],
    default_scope: Scope::All,
    safety: "A record is repeated once, in its lane and before its offset completes, so the order per player \
             holds. Handlers are idempotent: the second delivery has no effect.",
    evidence: &[
        "The metric `bus.records.duplicate` counts the repetitions.",
        "In one trace, two `queue.process` transactions of a group for one record; the second has the \
         outcome `duplicate`, and the first the attribute `flag.evaluation.consumer.duplicate`.",
        "No second effect: one ledger entry a command, one e-mail a win.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: `bus.records.duplicate` rises as fast as records are handled; nothing else changes. \
              Where: the metric by group, and the attribute on the records' traces. Meaning: records are \
              delivered at least once, and the promise that each effect happens once is at work. A real \
              cause is a consumer that dies before it commits. Do: look at rebalances and restarts of the \
              group; switch the fault off (`./pitboss fault off consumer.duplicate`); run `./pitboss audit`, \
              which has to find nothing.",
};
