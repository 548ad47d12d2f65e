//! Faults of the clock.

use super::scopes;
use crate::{Acts, Definition, FaultId, MoneyVerdict, ParamSpec, Scope};

pub(crate) static SKEW: Definition = Definition {
    id: FaultId::ClockSkew,
    acts: Acts::InService,
    services: &["gateway"],
    title: "The clock of a producer is ahead or behind",
    breaks: "Gateway publishes its commands with a wrong time: the time of the event and the send time in \
             the record's headers are shifted by `offset_ms`.",
    params: &[ParamSpec {
        name: "offset_ms",
        doc: "Shift of the clock in milliseconds. Above 0 the clock is ahead, below 0 it is behind.",
        default: 120_000,
        min: -3_600_000,
        max: 3_600_000,
    }],
    default_scope: Scope::All,
    scopes: scopes::EVERY,
    safety: "Only the times that gateway writes into its records are shifted. Ids, time-outs, sessions and \
             the times of spans keep the real clock. Topics keep the broker's time, and no service decides \
             about money by the time of a record.",
    evidence: &[
        "The metric `bus.records.skewed` counts the records of gateway's topics when its clock is ahead, or \
         behind by more than two minutes.",
        "`messaging.message.receive.latency` of these records is the time since the broker stored them: \
         never negative, and no zero that stands for an unknown time. A clock that is behind by less adds \
         its offset to the latency.",
        "The command's span in gateway has the attribute `flag.evaluation.clock.skew`, and the times of its \
         spans are right.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: bets settle as usual. `bus.records.skewed` counts, or receive latencies are too long by \
              a constant time. Where: the metric names the topic, and all of the records have the same \
              producer. Meaning: the clock of a producer is wrong. A difference between two hosts' clocks \
              says nothing about the speed of the system. Do: compare the event's time with the start of the \
              `queue.publish` span in the same trace. Synchronise that host's clock. Switch the fault off \
              (`./pitboss fault off clock.skew`). See that the metric stops rising.",
};
