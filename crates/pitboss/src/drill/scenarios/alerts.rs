//! Each alert rule beside the fault that has to make it fire: it fires within its time, and ends after the fault.

use faults::FaultId;

use crate::drill::{Break, LetterAction, Scenario, Step, Until};
use crate::verify::{Row, Workload};

/// Page of the recorder.
const ALERTS: &str = "alerts";
/// Bets of several players.
const STEADY: Workload = Workload::PacedBets { count: 40, interval_ms: 250 };
/// Time in which a rule ends after the last bad value has left its window: two evaluations, and metrics on their way.
const END_S: u32 = 180;

/// A rule, the fault that makes it fire, and the time in seconds within which it has to.
const FIRES: [(&str, FaultId, u32); 8] = [
    ("payment-failures", FaultId::PaymentRandomFailure, 150),
    ("request-errors", FaultId::UserUnauthorized, 150),
    ("request-latency", FaultId::UserSlowQuery, 300),
    ("processing-latency", FaultId::ConsumerSlow, 180),
    // The oldest record has to wait for half a minute first.
    ("lag-seconds", FaultId::ConsumerDead, 180),
    ("dead-letters", FaultId::NotificationPoison, 90),
    ("payouts-below-owed", FaultId::GameRtpDrift, 180),
    ("payouts-above-owed", FaultId::GamePayoutScale, 180),
];
/// Sentry counts in whole minutes: a check-in is due a minute after the last one, and missed two minutes later.
const MISSED: (&str, FaultId, u32) = ("check-in consumer-notification", FaultId::ConsumerDead, 300);

pub(super) fn scenario() -> Scenario {
    let mut steps = vec![Step::Say(
        "Nine alerts follow, each with the fault that has to raise it. The recorder evaluates the rules of deploy/sentry over what it \
         receives. Keep ./pitboss alerts --watch open in a second terminal. A rule ends when the last bad value has left its window, \
         which takes five to ten minutes: the whole drill needs an hour.",
    )];
    for (rule, fault, within_s) in FIRES.into_iter().chain([MISSED]) {
        let broken = broken(fault);
        steps.push(Step::Arm(Box::new(broken)));
        steps.push(Step::WatchUntil(Until::Alert { rule, within_s }));
        steps.extend([Step::Look(ALERTS), Step::Heal]);
        if fault == FaultId::NotificationPoison {
            steps.push(Step::Letters(LetterAction::Discard));
        }
        steps.push(Step::Resolved { rule, within_s: window_s(rule) + END_S });
    }
    steps.push(Step::Say(
        "Look at how few alerts that were: everything with one cause is in one, and each finding says why it is there. The audit comes \
         now. Two of the faults paid wrong amounts, so it has to find them.",
    ));
    steps.push(Step::Audit);
    steps.push(Step::Compensate);
    steps.push(Step::Audit);
    Scenario { name: "alerts", title: "each alert rule fires, and ends", steps }
}

fn window_s(rule: &str) -> u32 {
    // A monitor of check-ins has no window: the next check-in ends it.
    rules::rule(rule).map_or(0, |rule| rule.window_s)
}

fn broken(fault: FaultId) -> Break {
    let usual = Break::of(fault);
    match fault {
        FaultId::ConsumerSlow => {
            let row = Row { params: &[("delay_ms", 3_000)], workload: STEADY, ..usual.row };
            Break { row, ..usual }
        }
        _ => usual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_that_of_an_alert_of_its_fault() {
        for (slug, fault, within_s) in FIRES {
            let rule = rules::rule(slug).unwrap_or_else(|| panic!("there is no rule {slug}"));
            assert!(within_s > rule.fires_within_s(), "{slug}: it cannot fire in {within_s} s");
            // The rules about the pay table have no condition, because no fault of `verify` has to meet one.
            if let Some(condition) = rule.condition.as_deref() {
                assert!(
                    fault.definition().alerts.contains(&condition),
                    "{fault} does not raise `{condition}`"
                );
            }
        }
    }
}
