//! Faults of trace headers on records.

use super::scopes;
use crate::{Acts, Definition, FaultId, MoneyVerdict, ParamSpec, Scope};

const COUNT: ParamSpec = ParamSpec {
    name: "count",
    doc: "Number of bet commands that are published each time the fault is armed.",
    default: 10,
    min: 1,
    max: 100,
};

pub(crate) static HOSTILE_HEADERS: Definition = Definition {
    id: FaultId::TraceHostileHeaders,
    acts: Acts::Supervisor,
    services: &["supervisor"],
    title: "Records arrive with damaged trace headers",
    breaks: "The supervisor publishes valid bet commands of its own player, with trace headers that are \
             damaged, doubled, cut or far too long.",
    params: &[COUNT],
    default_scope: Scope::All,
    scopes: scopes::PLATFORM,
    safety: "The bets are real and small, and belong to a player that the supervisor registered. Readers use \
             a header only if it is valid, and their memory for it is bounded.",
    evidence: &[
        "Every bet settles.",
        "The metric `trace.headers.dropped` counts by header and reason.",
        "Each bet has its own trace. No two bets share a trace, and no bet joins a foreign one.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: traces that begin at the consumer. `trace.headers.dropped` counts. Where: the metric \
              names header and reason. Meaning: a producer or a proxy damages trace headers. The work itself \
              is done, and a new trace starts instead of joining a wrong one. Do: find the producer by the \
              topic and the records' headers. Correct it (here: `./pitboss fault off \
              trace.hostile-headers`). New traces begin at the producer again.",
};

pub(crate) static SAMPLING_CONFLICT: Definition = Definition {
    id: FaultId::TraceSamplingConflict,
    acts: Acts::Supervisor,
    services: &["supervisor"],
    title: "Records arrive with trace headers that disagree about sampling",
    breaks: "The supervisor publishes valid bet commands of its own player, whose trace headers contradict \
             one another: one says that the trace is sampled, the other that it is not.",
    params: &[COUNT],
    default_scope: Scope::All,
    scopes: scopes::PLATFORM,
    safety: "The bets are real and small, and belong to a player that the supervisor registered. The \
             decision of a trace is made once, from its id, and all hops follow it.",
    evidence: &[
        "Every bet settles.",
        "Each trace is complete in all services, or absent in all of them.",
        "The metric `trace.headers.dropped` counts with the reason `sampling`.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: nothing in the results. `trace.headers.dropped` counts conflicts. Where: the metric's \
              reason is `sampling`. The traces in question are complete. Meaning: two tracers on the way \
              disagree about sampling, which would leave traces with holes. Do: let one of them decide. Stop \
              it (here: `./pitboss fault off trace.sampling-conflict`). Compare the trace ids of all \
              services at a low sample rate.",
};
