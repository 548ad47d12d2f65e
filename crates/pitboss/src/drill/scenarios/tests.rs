use std::collections::BTreeSet;

use super::*;
use crate::drill::Step;

#[test]
fn names_are_found_and_differ() {
    let names: Vec<&str> = all(1).iter().map(|scenario| scenario.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 9);
    for name in names {
        assert_eq!(scenario(name, 1, true).map(|scenario| scenario.name), Some(name));
    }
    assert!(scenario("other", 1, true).is_none());
}

/// Otherwise a step would have no fault, or a fault would stay armed behind the person's back.
#[test]
fn each_fault_is_armed_seen_and_healed() {
    for Scenario { name, steps, .. } in all(3) {
        let (mut armed, mut seen) = (false, false);
        for step in &steps {
            match step {
                Step::Arm(broken) => {
                    assert!(!armed, "{name}: two faults at once");
                    broken.fault().definition().check_scope(&broken.scope).unwrap();
                    (armed, seen) = (true, false);
                }
                Step::WatchUntil(_) | Step::Guess => {
                    assert!(armed, "{name}: nothing is armed");
                    seen = true;
                }
                Step::Heal => {
                    assert!(armed && seen, "{name}: healed before it was seen");
                    armed = false;
                }
                Step::Load(_) => assert!(!armed, "{name}: the normal load meets a fault"),
                Step::Cause(_) => assert!(!armed, "{name}: the event would name the fault"),
                Step::Resolved { .. } => assert!(!armed && seen, "{name}: an alert ends after its fault"),
                Step::Say(_) | Step::Look(_) | Step::Letters(_) => {}
                Step::Audit | Step::Compensate => assert!(!armed, "{name}: audited before it was healed"),
            }
        }
        assert!(!armed && matches!(steps.last(), Some(Step::Audit)), "{name}");
        assert!(matches!(steps.first(), Some(Step::Say(_))), "{name}: it does not say what it will do");
    }
}

#[test]
fn params_of_faults_are_valid() {
    for Scenario { name, steps, .. } in all(5) {
        for step in steps {
            if let Step::Arm(broken) = step {
                let values = faults::Values::new(broken.fault(), broken.row.params.iter().copied());
                assert!(values.is_ok(), "{name}: {values:?}");
            }
        }
    }
}

#[test]
fn supervisor_faults_are_left_out_whole() {
    let mut lag = scenario("lag", 1, true).unwrap();
    let left_out = lag.leave_out_supervisor();
    assert_eq!(left_out, [faults::FaultId::ConsumerDead, faults::FaultId::ConsumerRebalanceStorm]);
    let count = |wanted: fn(&Step) -> bool| lag.steps.iter().filter(|step| wanted(step)).count();
    assert_eq!(count(|step| matches!(step, Step::Arm(_))), 3);
    assert_eq!(count(|step| matches!(step, Step::WatchUntil(_))), 3);
    assert_eq!(count(|step| matches!(step, Step::Heal)), 3);
    let mut alerts = scenario("alerts", 1, true).unwrap();
    let left_out = alerts.leave_out_supervisor();
    let dead = faults::FaultId::ConsumerDead;
    assert_eq!(left_out, [dead, faults::FaultId::NotificationPoison, dead]);
    let ends = alerts.steps.iter().filter(|step| matches!(step, Step::Resolved { .. })).count();
    assert_eq!(ends, 6, "nothing is waited for that was not armed");
    assert!(!alerts.steps.iter().any(|step| matches!(step, Step::Letters(_))), "there is no letter");
}

#[test]
fn errors_are_offered_by_their_services() {
    for Scenario { name, steps, .. } in all(3) {
        for step in steps {
            if let Step::Cause(row) = step {
                assert!(row.fault.is_offered_by(row.service) && !row.is_deadly(), "{name}: {}", row.name());
            }
        }
    }
    assert!(scenario("errors", 1, true).is_some_and(|errors| errors.needs_debug()));
    assert!(scenario("tracing", 1, true).is_some_and(|tracing| !tracing.needs_debug()));
}
