//! The alert conditions of the catalogue as data, so that `verify` can determine when each would fire.
//!
//! They are the conditions that [`faults::Definition::alerts`] names, over the same window as the evidence of a row. Their bounds and
//! their smallest numbers of bad measurements are those of the rules (`deploy/sentry/rules.toml`), which the recorder evaluates. A row
//! lasts seconds, so where the bound of a rule cannot be reached in it, the rule has another one for rows (`row_bound`).

use rules::Rule;

use crate::evidence::Evidence;

/// Acknowledged publishes of which a group handles none, so that its latency is not measured.
const PUBLISHED_MIN: usize = 5;
/// Labels of a payment that failed, as they are sent.
const FAILED: &[(&str, &str)] = &[("pitboss.outcome", "failed")];

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
    let payments = rule("payment-failures");
    let failed = Evidence::MetricShare {
        name: telemetry::metric::Metric::PaymentsEnded.sentry_name(),
        labels: FAILED,
        percent: percent(payments),
        count_min: f64::from(payments.bad_min),
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
    let rule = rule("request-latency");
    Evidence::P95Above { duration_ms: whole(rule.firing.bound()), count_min: count_min(rule) }
}

fn error_rate() -> Evidence {
    let rule = rule("request-errors");
    Evidence::ErrorRateAbove { percent: whole(percent(rule)), count_min: count_min(rule) }
}

/// Lag of any group, without what waits in retry topics on purpose.
#[must_use]
pub fn lag() -> Evidence {
    let [messages_min, age_s_min] = ["lag-messages", "lag-seconds"].map(|slug| whole(row_bound(rule(slug))));
    Evidence::Lag { group: "", messages_min, age_s_min }
}

/// Without data the condition about latency is silent, and so is a consumer that is dead. Notification handles each settled bet, so
/// its silence is one.
fn not_measured() -> Evidence {
    Evidence::NotMeasured {
        topic: "casino.bets.events.v1",
        group: "notification",
        published_min: PUBLISHED_MIN,
        age_s_min: whole(row_bound(rule("lag-seconds"))),
    }
}

fn dead_letters() -> Evidence {
    let metric = telemetry::metric::Metric::BusRecordsDeadLettered;
    // The first whole number above the bound.
    let min = rule("dead-letters").firing.bound().floor() + 1.0;
    Evidence::MetricAbove { name: metric.sentry_name(), labels: &[], min }
}

/// A declared rule. A test asks for each that is named here.
fn rule(slug: &str) -> &'static Rule {
    rules::rule(slug).expect("a declared rule, which a test asks for")
}

/// The bound of a share, in percent. Rounded, because 0.05 times 100 is not 5 for every share.
fn percent(rule: &Rule) -> f64 {
    (rule.firing.bound() * 10_000.0).round() / 100.0
}

fn row_bound(rule: &Rule) -> f64 {
    rule.row_bound.unwrap_or_else(|| rule.firing.bound())
}

fn count_min(rule: &Rule) -> usize {
    whole(f64::from(rule.bad_min))
}

/// A bound as a whole number of its unit. The bounds of the conditions are whole, which a test checks.
fn whole<T: TryFrom<u32> + Default>(bound: f64) -> T {
    // Negative and large numbers end at the limits of the type.
    T::try_from(bound as u32).unwrap_or_default()
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
    fn bounds_are_those_of_the_rules() {
        assert!(matches!(latency(), Evidence::P95Above { duration_ms: 500, count_min: 3 }));
        assert!(matches!(error_rate(), Evidence::ErrorRateAbove { percent: 1, count_min: 3 }));
        assert!(matches!(lag(), Evidence::Lag { group: "", messages_min: 2, age_s_min: 5 }));
        let all = alerts();
        let Some(Evidence::MetricShare { percent, count_min, .. }) =
            all.first().map(|alert| &alert.condition)
        else {
            panic!("the first condition is that of the payments")
        };
        assert_eq!([*percent, *count_min], [5.0, 2.0]);
        assert!(matches!(dead_letters(), Evidence::MetricAbove { min: 1.0, .. }));
    }

    /// A condition stands for every rule of its name, so their bounds are the same.
    #[test]
    fn rules_of_a_condition_have_the_same_bound() {
        let of = |condition: &str, slug: &str| {
            let rules =
                rules::declared().rules.iter().filter(|rule| rule.condition.as_deref() == Some(condition));
            let bounds: Vec<_> = rules.map(|rule| (rule.firing, rule.bad_min)).collect();
            assert!(
                bounds.iter().all(|bound| *bound == (rule(slug).firing, rule(slug).bad_min)),
                "{bounds:?}"
            );
            assert!(!bounds.is_empty(), "{condition}");
        };
        of("p95 above 500 ms", "request-latency");
        of("error rate above 1 %", "request-errors");
        of("payment failures above 5 %", "payment-failures");
        of("dead letters", "dead-letters");
        let failed: Vec<_> =
            FAILED.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        let rules::Signal::Ratio(ratio) = &rule("payment-failures").signal else { panic!("a ratio") };
        let sent: Vec<_> =
            ratio.labels.iter().map(|(label, value)| (rules::sent_label(label), value.clone())).collect();
        assert_eq!(sent, failed);
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
