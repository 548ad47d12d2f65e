//! Three errors: a handled one that is a 500, one behind a 401, and a panic. Each is one issue that says what an engineer needs.

use contracts::debug::DebugFault;
use contracts::parts::Part;
use faults::FaultId;

use crate::drill::{Break, Scenario, Step, Until};
use crate::evidence::Evidence;
use crate::verify::Row;
use crate::verify::debug::DebugRow;

const SESSION_ENDED: &str = "a valid session was answered as ended";
const HANDLED: DebugRow = DebugRow { service: Part::Payment, fault: DebugFault::ErrorParse };
const PANIC: DebugRow = DebugRow { service: Part::Game, fault: DebugFault::Crash };

pub(super) fn scenario() -> Scenario {
    let unauthorized = unauthorized();
    let steps = vec![
        Step::Say(
            "Three errors follow. However often one happens, it is one issue, and each of its events has the user, the breadcrumbs \
             that led to it, and the state of the process.",
        ),
        Step::Say(
            "First a 500 of payment, three times. Payment handles the error, so the issue has a chain of causes, and the tag kind \
             says which error it is.",
        ),
        Step::Cause(HANDLED),
        Step::Say(
            "Now players are answered with 401. The status is no error for the gateway, and nothing is wrong with the log-in. The \
             cause is in user, which the issue names.",
        ),
        Step::Load(unauthorized.row.workload),
        Step::Arm(Box::new(unauthorized)),
        Step::WatchUntil(Until::Evidence),
        Step::Heal,
        Step::Say(
            "Last a panic in a handler of game, three times. Nothing handles it. The process survives, the event lists its threads, \
             and the innermost frame of ours is the handler.",
        ),
        Step::Cause(PANIC),
        Step::Say("Open the three issues beside one another. ./pitboss issue list shows their states."),
        Step::Audit,
    ];
    Scenario {
        name: "errors",
        title: "three errors, each one issue with user, breadcrumbs and process",
        steps,
    }
}

/// The fault of the flag file, with evidence that is about the events as well.
fn unauthorized() -> Break {
    let usual = Break::of(FaultId::UserUnauthorized);
    let evidence = Evidence::All(vec![
        Evidence::SegmentStatus {
            service: "gateway",
            op: "http.server",
            status: "unauthenticated",
            count_min: 3,
        },
        Evidence::one_issue("user", SESSION_ENDED),
        Evidence::DescribedEvents { service: "user", text_contains: SESSION_ENDED, count_min: 3 },
    ]);
    Break { row: Row { evidence, ..usual.row }, ..usual }
}
