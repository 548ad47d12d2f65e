//! Five broken consumers side by side: each has a signature of its own in the lag of its group.

use faults::{FaultId, Scope};

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
        steps.extend([Step::Arm(Box::new(broken(fault))), Step::WatchUntil(until), Step::Heal]);
    }
    steps.push(Step::Say(
        "Slow: the lag grows although records are handled. Dead: it grows without members. Stuck: one partition stands still. \
         Crash-looping: it stands still, and members join again and again. Rebalance storm: members join and leave, and records \
         are handled in between.",
    ));
    steps.push(Step::Audit);
    Scenario { name: "lag", title: "five broken consumers and their signatures", steps }
}

fn broken(fault: FaultId) -> Break {
    let usual = Break::of(fault);
    let row = Row { workload: Some(STEADY), ..usual.row };
    let row = match fault {
        FaultId::ConsumerSlow => {
            let evidence = Evidence::Lag { group: GROUP, messages_min: 5, age_s_min: 2 };
            Row { params: SLOW, evidence, ..row }
        }
        _ => row,
    };
    Break { row, scope: Scope::Service(GROUP.to_owned()), is_hidden: false }
}
