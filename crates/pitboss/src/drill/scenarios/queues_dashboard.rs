//! Slow and repeated records on Sentry's dashboards for queues, queries and caches.

use faults::FaultId;

use crate::drill::{Scenario, Step, Until};
use crate::verify::Workload;

const BETS: Workload = Workload::Bets { count: 20, earlier_bets: 0 };
/// The dashboard of the last quarter of an hour.
pub(super) const QUEUES: &str = "dashboards/queues?period_s=900";

pub(super) fn scenario() -> Scenario {
    let steps = vec![
        Step::Say(
            "The recorder computes Sentry's dashboards from the same bytes. They are read three times: healthy, with slow \
             consumers, and with records that are handled twice.",
        ),
        Step::Load(BETS),
        Step::Look(QUEUES),
        Step::arm(FaultId::ConsumerSlow),
        Step::WatchUntil(Until::Evidence),
        Step::Look(QUEUES),
        Step::Say(
            "The processing time of each topic rose, and the time in queue of the records behind. The error rate did not: slow is \
             no error.",
        ),
        Step::Heal,
        Step::arm(FaultId::ConsumerDuplicate),
        Step::WatchUntil(Until::Evidence),
        Step::Look(QUEUES),
        Step::Say(
            "More records are processed than published. The table by group shows why: published times groups, plus redelivered, is \
             processed plus skipped.",
        ),
        Step::Heal,
        Step::Look("dashboards/queries?period_s=900"),
        Step::Look("dashboards/caches?period_s=900"),
        Step::Audit,
    ];
    Scenario { name: "queues-dashboard", title: "slow and repeated records on Sentry's dashboards", steps }
}
