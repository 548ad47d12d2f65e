//! One bet, one trace: what a trace shows when everything is in order, and where it points when something is not.

use faults::FaultId;

use crate::drill::{Scenario, Step, Until};
use crate::verify::Workload;

const BETS: Workload = Workload::Bets { count: 5, earlier_bets: 0 };

pub(super) fn scenario() -> Scenario {
    let steps = vec![
        Step::Say(
            "A bet passes through the gateway, game, payment and four topics of Kafka. All of it is one trace. First it is healthy. \
             Then one place becomes slow, and the trace shows which.",
        ),
        Step::Load(BETS),
        Step::Say(
            "Open the trace. Read it from the left: each queue.process is the child of the queue.publish that caused it. Remember \
             how long the longest span is.",
        ),
        Step::arm(FaultId::ConsumerSlow),
        Step::WatchUntil(Until::Evidence),
        Step::Say(
            "Open this trace beside the first one. The time is inside queue.process, before its database spans: the consumer is \
             slow, and neither the store nor the network.",
        ),
        Step::Heal,
        Step::arm(FaultId::PaymentProviderSlow),
        Step::WatchUntil(Until::Evidence),
        Step::Say(
            "Here the long span is http.client in payment. The cause is outside of the platform, as the trace shows.",
        ),
        Step::Heal,
        Step::Audit,
    ];
    Scenario { name: "tracing", title: "one bet is one trace, and the trace names the slow place", steps }
}
