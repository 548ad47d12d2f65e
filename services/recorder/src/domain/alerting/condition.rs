//! State of one rule in one project.

use rules::{Rule, Verdict};
use serde::{Deserialize, Serialize};

/// Time for which a rule that ended is shown as resolved, in seconds.
const RESOLVED_SHOWN_S: f64 = 600.0;

/// What is known of a rule.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// What is measured is good.
    #[default]
    Ok,
    /// It was bad at the last evaluation, and not at the one before.
    Pending,
    /// It is bad.
    Firing,
    /// It was firing and ended in the last minutes.
    Resolved,
    /// Nothing is measured, which is not bad.
    NoData,
}

/// State of one rule in one project.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Condition {
    /// What is known.
    pub phase: Phase,
    /// Time of the last change, in seconds since the epoch.
    pub since: f64,
    /// Last measured value. `None` if nothing was measured.
    pub value: Option<f64>,
}

/// What an evaluation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It fires since this evaluation.
    Fired,
    /// It has ended.
    Ended,
}

impl Condition {
    /// Takes an evaluation at `now`. It fires if two in a row are bad, and ends with the first that is not.
    pub fn step(&mut self, rule: &Rule, verdict: Verdict, now: f64) -> Option<Change> {
        self.value = match verdict {
            Verdict::Firing(value) | Verdict::Ok(value) => Some(value),
            Verdict::NoData => None,
        };
        self.go(verdict.is_firing(rule), verdict == Verdict::NoData, now)
    }

    /// Takes the state of something that is bad or good, such as a monitor of check-ins.
    pub fn step_plain(&mut self, is_bad: bool, now: f64) -> Option<Change> {
        self.go(is_bad, false, now)
    }

    fn go(&mut self, is_bad: bool, is_empty: bool, now: f64) -> Option<Change> {
        let before = self.phase;
        let next = match (before, is_bad) {
            (Phase::Pending | Phase::Firing, true) => Phase::Firing,
            (Phase::Ok | Phase::Resolved | Phase::NoData, true) => Phase::Pending,
            (Phase::Firing, false) => Phase::Resolved,
            (Phase::Resolved, false) if now - self.since < RESOLVED_SHOWN_S => Phase::Resolved,
            (_, false) if is_empty => Phase::NoData,
            (_, false) => Phase::Ok,
        };
        if next == before {
            return None;
        }
        (self.phase, self.since) = (next, now);
        match (before, next) {
            (_, Phase::Firing) => Some(Change::Fired),
            (Phase::Firing, _) => Some(Change::Ended),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: Verdict = Verdict::Firing(31.0);
    const GOOD: Verdict = Verdict::Ok(1.0);

    /// The phases and changes after each of some evaluations, ten seconds apart.
    fn phases(slug: &str, verdicts: &[Verdict]) -> Vec<(Phase, Option<Change>)> {
        let rule = rules::rule(slug).expect("a rule");
        let mut condition = Condition::default();
        let step = |(number, verdict): (usize, &Verdict)| {
            let change = condition.step(rule, *verdict, number as f64 * 10.0);
            (condition.phase, change)
        };
        verdicts.iter().enumerate().map(step).collect()
    }

    #[test]
    fn rule_fires_at_the_second_bad_evaluation_and_ends_with_a_good_one() {
        let expected = [
            (Phase::Ok, None),
            (Phase::Pending, None),
            (Phase::Firing, Some(Change::Fired)),
            (Phase::Firing, None),
            (Phase::Resolved, Some(Change::Ended)),
            (Phase::Resolved, None),
            (Phase::Pending, None),
            (Phase::Firing, Some(Change::Fired)),
        ];
        assert_eq!(phases("lag-seconds", &[GOOD, BAD, BAD, BAD, GOOD, GOOD, BAD, BAD]), expected);
    }

    #[test]
    fn one_bad_evaluation_is_no_alarm() {
        let found = phases("lag-seconds", &[GOOD, BAD, GOOD, BAD, GOOD]);
        assert!(found.iter().all(|(phase, change)| *phase != Phase::Firing && change.is_none()), "{found:?}");
    }

    #[test]
    fn missing_data_is_bad_where_the_rule_says_so() {
        let silent = [Verdict::NoData; 2];
        assert_eq!(phases("lag-seconds", &silent)[1], (Phase::Firing, Some(Change::Fired)));
        assert_eq!(phases("payment-failures", &silent)[1], (Phase::NoData, None));
        let ended = phases("payment-failures", &[BAD, BAD, Verdict::NoData]);
        assert_eq!(ended[2], (Phase::Resolved, Some(Change::Ended)), "nothing fails any more");
    }

    #[test]
    fn resolved_rule_is_ok_after_some_minutes() {
        let mut condition = Condition { phase: Phase::Firing, since: 0.0, value: None };
        assert_eq!(condition.step_plain(false, 10.0), Some(Change::Ended));
        assert_eq!((condition.step_plain(false, 600.0), condition.phase), (None, Phase::Resolved));
        assert_eq!((condition.step_plain(false, 610.0), condition.phase), (None, Phase::Ok));
    }
}
