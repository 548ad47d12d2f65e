//! Five ways to be slow, each beside the same load without a fault.

use faults::FaultId;

use crate::drill::{Break, Scenario, Step, Until};

/// Order in which they are shown: the store, the code that asks it, a consumer with the same mistake, the aggregation, the processor.
const FAULTS: [FaultId; 5] = [
    FaultId::UserSlowQuery,
    FaultId::UserNPlusOne,
    FaultId::AnalyticsNPlusOne,
    FaultId::AnalyticsSlowAggregation,
    FaultId::GameCpuSpike,
];

pub(super) fn scenario() -> Scenario {
    let mut steps = vec![Step::Say(
        "Services become slow in five ways, one after the other. Each time the same load runs first without the fault and then with \
         it, so that the figures stand side by side in the summary.",
    )];
    for fault in FAULTS {
        let broken = Break::of(fault);
        steps.push(Step::Load(broken.row.workload));
        steps.extend([Step::Arm(Box::new(broken)), Step::WatchUntil(Until::Evidence), Step::Heal]);
    }
    steps.push(Step::Say(
        "A slow query is one long span. N+1 queries are many short spans of the same form, below a request or below a record of \
         a consumer. A slow aggregation is one long span again, in another service. A CPU spike has no child span at all: its \
         profile names the function.",
    ));
    steps.push(Step::Audit);
    Scenario { name: "performance", title: "five ways to be slow, each beside its baseline", steps }
}
