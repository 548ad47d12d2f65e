//! The alert conditions of the catalogue as data, so that `verify` can determine when each would fire.
//!
//! They are the conditions that [`faults::Definition::alerts`] names, over the same window as the evidence of a row.

use crate::evidence::Evidence;

/// Failed or slow transactions that a condition needs, so that one slow moment of the machine is no alert.
const TRANSACTIONS_MIN: usize = 3;
/// Failed payments that the condition needs.
const PAYMENTS_MIN: f64 = 2.0;
/// Unread records, and the age of the oldest of them, that are lag and not the usual delay of a reading.
const LAG_MESSAGES: u32 = 2;
const LAG_AGE_S: u32 = 5;
/// Acknowledged publishes of which a group handles none, so that its latency is not measured.
const PUBLISHED_MIN: usize = 5;

/// A condition with the text that the registry of faults has for it.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Text in [`faults::Definition::alerts`].
    pub id: &'static str,
    /// The condition.
    pub condition: Evidence,
}

/// A kind of signal that a fault shows or not.
#[derive(Clone, Debug)]
pub struct Signal {
    /// Name in the scorecard.
    pub name: &'static str,
    /// Evidence of the condition.
    pub evidence: Evidence,
}

/// All conditions.
#[must_use]
pub fn alerts() -> Vec<Alert> {
    let failed = Evidence::MetricShare {
        name: "pitboss.payments.ended",
        labels: &[("pitboss.outcome", "failed")],
        percent: 5.0,
        count_min: PAYMENTS_MIN,
    };
    vec![
        Alert { id: "payment failures above 5 %", condition: failed },
        Alert { id: "p95 above 500 ms", condition: latency() },
        Alert { id: "error rate above 1 %", condition: error_rate() },
        Alert { id: "consumer lag", condition: lag() },
        Alert { id: "latency not measured", condition: not_measured() },
        Alert { id: "dead letters", condition: dead_letters() },
    ]
}

/// The kinds of signals that the scorecard lists as shown or blind.
#[must_use]
pub fn signals() -> Vec<Signal> {
    vec![
        Signal { name: "issue", evidence: Evidence::issue("", "") },
        Signal { name: "failed transactions", evidence: error_rate() },
        Signal { name: "latency", evidence: latency() },
        Signal { name: "lag", evidence: lag() },
        Signal { name: "dead letters", evidence: dead_letters() },
    ]
}

/// More than 5 % of the transactions of one service and op last longer than 500 ms.
#[must_use]
pub fn latency() -> Evidence {
    Evidence::P95Above { duration_ms: 500, count_min: TRANSACTIONS_MIN }
}

fn error_rate() -> Evidence {
    Evidence::ErrorRateAbove { percent: 1, count_min: TRANSACTIONS_MIN }
}

/// Lag of any group, without what waits in retry topics on purpose.
#[must_use]
pub fn lag() -> Evidence {
    Evidence::Lag { group: "", messages_min: LAG_MESSAGES, age_s_min: LAG_AGE_S }
}

/// Without data the condition about latency is silent, and so is a consumer that is dead. Notification handles each settled bet, so
/// its silence is one.
fn not_measured() -> Evidence {
    Evidence::NotMeasured {
        topic: "casino.bets.events.v1",
        group: "notification",
        published_min: PUBLISHED_MIN,
        age_s_min: LAG_AGE_S,
    }
}

fn dead_letters() -> Evidence {
    Evidence::MetricAbove { name: "pitboss.bus.records.dead_lettered", labels: &[], min: 1.0 }
}

#[cfg(test)]
mod tests {
    use faults::FaultId;

    use super::*;

    #[test]
    fn every_alert_of_the_registry_has_a_condition() {
        let known: Vec<&str> = alerts().iter().map(|alert| alert.id).collect();
        for id in FaultId::ALL {
            for alert in id.definition().alerts {
                assert!(known.contains(alert), "{id}: {alert}");
            }
        }
        let used = |known: &str| FaultId::ALL.iter().any(|id| id.definition().alerts.contains(&known));
        assert!(known.iter().all(|known| used(known)), "a condition that no fault has to meet");
    }

    #[test]
    fn nothing_is_alerted_without_data() {
        let nothing = crate::evidence::Observation::default();
        assert!(alerts().iter().all(|alert| alert.condition.find(&nothing).is_none()));
        assert!(signals().iter().all(|signal| signal.evidence.find(&nothing).is_none()));
    }

    /// A wait on purpose is no outage, and a dead consumer is one although nothing measures it.
    #[test]
    fn only_dead_consumer_has_missing_latency() {
        let id = "latency not measured";
        let with: Vec<FaultId> =
            FaultId::ALL.into_iter().filter(|fault| fault.definition().alerts.contains(&id)).collect();
        assert_eq!(with, [FaultId::ConsumerDead]);
    }
}
