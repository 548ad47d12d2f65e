//! Faults of the business, two of which raise no exception.

use faults::FaultId;

use crate::drill::{Break, Scenario, Step, Until};

/// The last one is found by the audit as well.
const FAULTS: [FaultId; 3] = [FaultId::PaymentRandomFailure, FaultId::GameRtpDrift, FaultId::GamePayoutScale];

pub(super) fn scenario() -> Scenario {
    let mut steps = vec![Step::Say(
        "Three faults of the business follow. The first one fails payments, which an issue shows. The other two pay wrong amounts: \
         no exception, no failed request, no slow span. Only metrics and the audit show them.",
    )];
    for fault in FAULTS {
        let broken = Break::of(fault);
        steps.push(Step::Load(broken.row.workload));
        steps.extend([Step::Arm(Box::new(broken)), Step::WatchUntil(Until::Evidence), Step::Heal]);
    }
    steps.push(Step::Say(
        "The audit comes now. It compares each payout with the published pay table, so it has to find the bets that were paid \
         wrongly.",
    ));
    steps.push(Step::Audit);
    steps.push(Step::Say(
        "A ledger is never edited. Compensating entries put it right: a void for each bet that the audit found takes its stake and its \
         payout back. The audit then checks every void against the bet.",
    ));
    steps.push(Step::Compensate);
    steps.push(Step::Say(
        "The last audit still names the bets: what was paid wrongly stays on record. The voids beside them are right.",
    ));
    steps.push(Step::Audit);
    Scenario { name: "business-metrics", title: "wrong amounts that raise no exception", steps }
}
