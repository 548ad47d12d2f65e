//! What was seen in a phase, and when: the evidence, each of its signals, the alert conditions.

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
    kinds: Vec<Signal>,
    seen: Seen,
}

/// What was seen, each with the moment of its first time.
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
        Self { evidence: &row.evidence, parts, alerts: alerts(), kinds: signals(), seen }
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
            last_trace_id: None,
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

    #[test]
    fn evidence_has_to_hold_at_the_end() {
        let row = row();
        let (mut watch, now) = (Watch::new(&row), Instant::now());
        watch.note(&observation(&["first", "second"]), now);
        watch.note(&observation(&["first"]), now);
        assert!(watch.into_seen().held.is_none());
    }
}
