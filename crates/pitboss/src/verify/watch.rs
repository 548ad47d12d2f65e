//! Observations of a phase with their times: the evidence, each of its signals, the alert conditions.

use std::time::Instant;

use super::Row;
use super::alerts::{Alert, Signal, alerts, signals};
use crate::evidence::{Evidence, Observation, Sighting};

/// Reads one observation after the other.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    evidence: &'a Evidence,
    parts: Vec<&'a Evidence>,
    alerts: Vec<Alert>,
    /// Alert conditions that the fault has to meet.
    expected: Vec<&'static str>,
    kinds: Vec<Signal>,
    seen: Seen,
}

/// Signals that were seen, each with the moment of its first time.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The evidence as a whole, as long as it holds.
    pub(super) held: Option<(Sighting, Instant)>,
    /// The signals of the evidence, in its order.
    pub(super) parts: Vec<Option<(Sighting, Instant)>>,
    /// The alert conditions that held once.
    pub(super) alerts: Vec<(&'static str, Instant)>,
    /// The kinds of signals that were seen once.
    pub(super) kinds: Vec<&'static str>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(row: &'a Row) -> Self {
        let parts = row.evidence.signals();
        let seen = Seen { parts: vec![None; parts.len()], ..Seen::default() };
        let expected = row.expected_alerts().collect();
        Self { evidence: &row.evidence, parts, alerts: alerts(), expected, kinds: signals(), seen }
    }

    /// Reads an observation that began with the phase.
    pub(super) fn note(&mut self, observation: &Observation, now: Instant) {
        let seen = &mut self.seen;
        seen.held = match (self.evidence.find(observation), seen.held.take()) {
            (None, _) => None,
            (Some(_), Some(first)) => Some(first),
            (Some(sighting), None) => Some((sighting, now)),
        };
        for (part, first) in self.parts.iter().zip(&mut seen.parts) {
            if first.is_none() {
                *first = part.find(observation).map(|sighting| (sighting, now));
            }
        }
        for Alert { id, condition } in &self.alerts {
            let is_known = seen.alerts.iter().any(|(known, _)| known == id);
            if !is_known && condition.find(observation).is_some() {
                seen.alerts.push((*id, now));
            }
        }
        for Signal { name, evidence } in &self.kinds {
            if !seen.kinds.contains(name) && evidence.find(observation).is_some() {
                seen.kinds.push(*name);
            }
        }
    }

    /// Returns true while the evidence holds.
    pub(super) fn holds(&self) -> bool {
        self.seen.held.is_some()
    }

    /// Returns true if all alert conditions that the fault has to meet held once.
    pub(super) fn is_alerted(&self) -> bool {
        self.expected.iter().all(|id| self.seen.alert_at(id).is_some())
    }

    /// Returns true if a phase shows something that a phase without a fault must not show, whatever arrives later.
    pub(super) fn is_spoilt(&self) -> bool {
        let is_alarmed = self.expected.iter().any(|id| self.seen.alert_at(id).is_some());
        is_alarmed || (self.holds() && !self.evidence.can_be_refuted())
    }

    pub(super) fn into_seen(self) -> Seen {
        self.seen
    }
}

impl Seen {
    /// Returns what a whole observation shows.
    pub(super) fn in_observation(row: &Row, observation: &Observation) -> Self {
        let mut watch = Watch::new(row);
        watch.note(observation, Instant::now());
        watch.into_seen()
    }

    /// Returns the moment at which an alert condition held first.
    pub(super) fn alert_at(&self, id: &str) -> Option<Instant> {
        self.alerts.iter().find(|(known, _)| *known == id).map(|(_, at)| *at)
    }

    /// Returns the alert conditions that held although the fault was not armed, of those that the fault has to meet.
    pub(super) fn alarms(&self, row: &Row) -> Vec<&'static str> {
        row.expected_alerts().filter(|id| self.alert_at(id).is_some()).collect()
    }

    /// Returns the alert conditions that the fault had to meet and did not meet in time.
    pub(super) fn missing_alerts(&self, row: &Row, from: Option<Instant>) -> Vec<&'static str> {
        let is_in_time = |id: &str| {
            let took = self.alert_at(id).zip(from).map(|(at, from)| at.saturating_duration_since(from));
            took.is_some_and(|took| took <= row.alert_deadline())
        };
        row.expected_alerts().filter(|id| !is_in_time(id)).collect()
    }

    /// Returns the first signal that the control did not show, or the evidence as a whole.
    pub(super) fn first_signal(&self, control: &Self) -> Option<&(Sighting, Instant)> {
        let is_quiet = |place: usize| control.parts.get(place).is_none_or(Option::is_none);
        let parts = self.parts.iter().enumerate().filter(|(place, _)| is_quiet(*place));
        parts.filter_map(|(_, part)| part.as_ref()).chain(&self.held).min_by_key(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use faults::FaultId;

    use super::*;
    use crate::evidence::Issue;
    use crate::verify::Workload;

    fn row() -> Row {
        let evidence = Evidence::All(vec![
            Evidence::issue("game", "first"),
            Evidence::issue("game", "second"),
            Evidence::absent(Evidence::issue("user", "")),
        ]);
        Row::new(FaultId::ConsumerSlow, Workload::Deposits { count: 1 }, evidence)
    }

    fn observation(titles: &[&str]) -> Observation {
        let issue = |title: &&str| Issue {
            project: "game".to_owned(),
            title: (*title).to_owned(),
            count_since: 1,
            ..Issue::default()
        };
        Observation { issues: titles.iter().map(issue).collect(), ..Observation::default() }
    }

    #[test]
    fn first_signal_comes_before_the_whole_evidence() {
        let row = row();
        let (mut watch, early) = (Watch::new(&row), Instant::now());
        let late = early + std::time::Duration::from_secs(3);
        watch.note(&observation(&["first"]), early);
        assert!(!watch.holds());
        watch.note(&observation(&["first", "second"]), late);
        assert!(watch.holds());
        let seen = watch.into_seen();
        let quiet = Seen::in_observation(&row, &Observation::default());
        let noisy = Seen::in_observation(&row, &observation(&["first"]));
        assert_eq!(seen.first_signal(&quiet).map(|(_, at)| *at), Some(early));
        assert_eq!(seen.first_signal(&noisy).map(|(_, at)| *at), Some(late), "the control shows the first");
        assert_eq!(seen.kinds, ["issue"]);
    }

    fn alerted(alerts: &[&'static str], at: Instant) -> Seen {
        Seen { alerts: alerts.iter().map(|id| (*id, at)).collect(), ..Seen::default() }
    }

    #[test]
    fn late_alert_is_missing_unless_exempt() {
        const EXEMPT: &[(&str, &str)] = &[("consumer lag", "five bets are no lag")];
        let row = row(); // consumer.slow has to raise two alerts
        let expected: Vec<&str> = row.expected_alerts().collect();
        assert_eq!(expected, ["consumer lag", "p95 above 500 ms"]);
        let from = Instant::now();
        let late = from + row.alert_deadline() + std::time::Duration::from_millis(1);
        let all = alerted(&["consumer lag", "p95 above 500 ms"], from);
        assert!(all.missing_alerts(&row, Some(from)).is_empty());
        assert_eq!(all.missing_alerts(&row, None).len(), 2, "no unit ended");
        assert_eq!(alerted(&["consumer lag"], late).missing_alerts(&row, Some(from)), expected);
        let eased = Row { exempt: EXEMPT, ..row };
        assert_eq!(alerted(&["consumer lag"], from).alarms(&eased), Vec::<&str>::new());
        assert_eq!(alerted(&["p95 above 500 ms", "dead letters"], from).alarms(&eased), ["p95 above 500 ms"]);
        assert_eq!(alerted(&[], from).missing_alerts(&eased, Some(from)), ["p95 above 500 ms"]);
    }

    #[test]
    fn irrefutable_evidence_ends_a_quiet_phase() {
        let refutable = row();
        let row = Row { evidence: Evidence::issue("game", "first"), ..row() };
        for (row, is_spoilt) in [(&refutable, false), (&row, true)] {
            let mut watch = Watch::new(row);
            watch.note(&observation(&["first", "second"]), Instant::now());
            assert!(watch.holds());
            assert_eq!(watch.is_spoilt(), is_spoilt);
        }
    }

    #[test]
    fn evidence_has_to_hold_at_the_end() {
        let row = row();
        let (mut watch, now) = (Watch::new(&row), Instant::now());
        watch.note(&observation(&["first", "second"]), now);
        watch.note(&observation(&["first"]), now);
        assert!(watch.into_seen().held.is_none());
    }
}
