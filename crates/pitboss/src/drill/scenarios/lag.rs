//! Five broken consumers side by side: each has its own signature in the lag of its group.

use faults::{FaultId, Scope};

use super::queues_dashboard::QUEUES;
use crate::drill::{Break, Scenario, Step, Until};
use crate::evidence::Evidence;
use crate::lag::signature::Signature;
use crate::verify::{Row, Workload};

/// No player waits for this group.
const GROUP: &str = "notification";
/// Bets of several players, so that several partitions get records.
const STEADY: Workload = Workload::PacedBets { count: 40, interval_ms: 250 };
/// Longer than a player waits from one bet to the next, so that the lag grows.
const SLOW: &[(&str, i64)] = &[("delay_ms", 3_000)];

pub(super) fn scenario() -> Scenario {
    let mut steps = vec![
        Step::Say(
            "The service notification breaks in five ways, one after the other, under the same load. Keep ./pitboss lag open in a \
             second terminal. Each way has its own signature: what the lag, its age, the committed offsets and the members do \
             together.",
        ),
        Step::Load(STEADY),
    ];
    for (fault, signature) in [
        (FaultId::ConsumerSlow, Signature::Slow),
        (FaultId::ConsumerDead, Signature::Dead),
        (FaultId::ConsumerStuck, Signature::Stuck),
        (FaultId::ConsumerCrashLoop, Signature::CrashLooping),
        (FaultId::ConsumerRebalanceStorm, Signature::RebalanceStorm),
    ] {
        let until = Until::Signature { group: GROUP, signature };
        let look = Step::Look(QUEUES);
        steps.extend([Step::Arm(Box::new(broken(fault))), Step::WatchUntil(until), look, Step::Heal]);
    }
    steps.push(Step::Say(
        "Slow: the lag grows although records are handled. Dead: it grows without members. Stuck: one partition does not advance. \
         Crash-looping: the same, and members join again and again. Rebalance storm: members join and leave, and records \
         are handled in between. The queues page distinguishes them by what notification processed, and by the time in \
         queue.",
    ));
    steps.push(Step::Audit);
    Scenario { name: "lag", title: "five broken consumers and their signatures", steps }
}

fn broken(fault: FaultId) -> Break {
    let usual = Break::of(fault);
    let row = Row { workload: STEADY, ..usual.row };
    let row = match fault {
        FaultId::ConsumerSlow => {
            let evidence = Evidence::Lag { group: GROUP, messages_min: 5, age_s_min: 2 };
            Row { params: SLOW, evidence, ..row }
        }
        _ => row,
    };
    Break { row, scope: Scope::Service(GROUP.to_owned()), is_hidden: false }
}
