//! Four ways to be slow, each beside the same load without a fault.

use faults::FaultId;

use crate::drill::{Break, Scenario, Step, Until};

/// Order in which they are shown: the store, the code that asks it, the aggregation, the processor.
const FAULTS: [FaultId; 4] =
    [FaultId::UserSlowQuery, FaultId::UserNPlusOne, FaultId::AnalyticsSlowAggregation, FaultId::GameCpuSpike];

pub(super) fn scenario() -> Scenario {
    let mut steps = vec![Step::Say(
        "Four services become slow, one after the other. Each time the same load runs first without the fault and then with it, so \
         that the figures stand side by side in the summary.",
    )];
    for fault in FAULTS {
        let broken = Break::of(fault);
        steps.extend(broken.row.workload.map(Step::Load));
        steps.extend([Step::Arm(Box::new(broken)), Step::WatchUntil(Until::Evidence), Step::Heal]);
    }
    steps.push(Step::Say(
        "A slow query is one long span. N+1 queries are many short spans of the same form. A slow aggregation is one long span \
         again, in another service. A CPU spike has no child span at all: its profile names the function.",
    ));
    steps.push(Step::Audit);
    Scenario { name: "performance", title: "four slow services, each beside its baseline", steps }
}
