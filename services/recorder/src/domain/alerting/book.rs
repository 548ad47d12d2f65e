//! The alerts, and how findings are folded into them.

use std::collections::{BTreeMap, BTreeSet};

use rules::{Fold, Severity};
use serde::{Deserialize, Serialize};

use super::finding::{Finding, FoldedBy, Origin, key};

/// Largest number of alerts that are raised in any 24 hours.
pub const ALERTS_PER_DAY_MAX: usize = 10;
/// Largest number of alerts that are kept. The oldest is forgotten first.
pub const ALERTS_MAX: usize = 200;
/// Largest number of findings that an alert shows: the first, and the newest. It counts all.
const ENTRIES_MAX: usize = 40;
/// Largest number of keys that an alert counts by themselves. Further ones count together.
const KEYS_MAX: usize = 100;
/// Key of what is not counted by itself.
const OTHERS: &str = "others";
/// The day of the budget, in seconds.
const DAY_S: f64 = 86_400.0;

/// What is known of an alert.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// Something in it lasts.
    Firing,
    /// All that lasted has ended.
    Resolved,
    /// Nothing in it lasts: it has issues only.
    Noted,
}

impl AlertState {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Noted => "noted",
        }
    }
}

/// A finding in an alert.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Entry {
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// Why it is part of the alert.
    pub folded_by: FoldedBy,
    /// Time at which it ended.
    pub ended_at: Option<f64>,
}

/// One alert. Times are in seconds since the epoch.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Alert {
    /// Its number, from 1 on.
    pub id: u64,
    /// Slug of its fold.
    pub fold: String,
    /// Name of its fold, for people.
    pub name: String,
    /// The most urgent severity of its findings.
    pub severity: Severity,
    /// Time of the first finding.
    pub opened_at: f64,
    /// Time of the last finding.
    pub last_at: f64,
    /// Time at which the last of its lasting findings ended.
    pub resolved_at: Option<f64>,
    /// True if its fold had no other alert in the 24 hours before it.
    pub is_first_of_day: bool,
    /// Number of its findings.
    pub count: u64,
    /// Number of its findings by the reason for which they are part of it.
    pub folded: BTreeMap<FoldedBy, u64>,
    /// Number of its findings by what they are.
    pub keys: BTreeMap<String, u64>,
    /// What lasts at present.
    pub lasting: BTreeSet<String>,
    /// Its first finding and its newest ones, oldest first.
    pub entries: Vec<Entry>,
}

impl Alert {
    fn new(id: u64, fold: &Fold, is_first_of_day: bool, finding: &Finding) -> Self {
        Self {
            id,
            fold: fold.slug.clone(),
            name: fold.name.clone(),
            severity: finding.severity,
            opened_at: finding.at,
            last_at: finding.at,
            resolved_at: None,
            is_first_of_day,
            count: 0,
            folded: BTreeMap::new(),
            keys: BTreeMap::new(),
            lasting: BTreeSet::new(),
            entries: Vec::new(),
        }
    }

    /// Returns what is known of it.
    #[must_use]
    pub fn state(&self) -> AlertState {
        match (self.lasting.is_empty(), self.resolved_at) {
            (false, _) => AlertState::Firing,
            (true, Some(_)) => AlertState::Resolved,
            (true, None) => AlertState::Noted,
        }
    }

    fn add(&mut self, finding: Finding, folded_by: FoldedBy) {
        let key = finding.key();
        self.severity = self.severity.max(finding.severity);
        self.last_at = self.last_at.max(finding.at);
        self.count += 1;
        *self.folded.entry(folded_by).or_default() += 1;
        if finding.lasts {
            self.resolved_at = None;
            self.lasting.insert(key.clone());
        }
        let is_counted = self.keys.len() < KEYS_MAX || self.keys.contains_key(&key);
        let counted = if is_counted { key } else { OTHERS.to_owned() };
        *self.keys.entry(counted).or_default() += 1;
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.remove(1);
        }
        self.entries.push(Entry { finding, folded_by, ended_at: None });
    }

    fn end(&mut self, key: &str, at: f64) -> bool {
        if !self.lasting.remove(key) {
            return false;
        }
        if self.lasting.is_empty() {
            self.resolved_at = Some(at);
        }
        let open = self.entries.iter_mut().filter(|entry| entry.ended_at.is_none() && entry.finding.lasts);
        for entry in open.filter(|entry| entry.finding.key() == key) {
            entry.ended_at = Some(at);
        }
        true
    }
}

/// The alerts, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Book {
    alerts: Vec<Alert>,
}

impl Book {
    /// Returns a book with these alerts.
    #[must_use]
    pub fn restore(mut alerts: Vec<Alert>) -> Self {
        alerts.sort_by_key(|alert| alert.id);
        Self { alerts }
    }

    /// Returns the alerts, oldest first.
    #[must_use]
    pub fn alerts(&self) -> &[Alert] {
        &self.alerts
    }

    /// Adds a finding to the alert that it belongs to, or raises one. Returns the number of the alert.
    ///
    /// A finding of no fold is no alert.
    pub fn add(&mut self, finding: Finding, folds: &[Fold]) -> Option<u64> {
        let fold = folds.iter().find(|fold| fold.has(finding.origin.source()))?;
        let may_open = self.may_open(fold, folds.len(), finding.at);
        let latest = self.alerts.iter_mut().rev().find(|alert| alert.fold == fold.slug);
        if let Some(alert) = latest {
            let is_near = finding.at - alert.last_at <= f64::from(fold.period_min) * 60.0;
            let is_joined = is_near || !alert.lasting.is_empty();
            if is_joined || may_open.is_none() {
                let folded_by = match (is_joined, alert.keys.contains_key(&finding.key())) {
                    (false, _) => FoldedBy::Budget,
                    (true, true) => FoldedBy::Repeat,
                    (true, false) => FoldedBy::Cause,
                };
                alert.add(finding, folded_by);
                return Some(alert.id);
            }
        }
        let id = self.alerts.last().map_or(1, |alert| alert.id + 1);
        let mut alert = Alert::new(id, fold, may_open.unwrap_or_default(), &finding);
        alert.add(finding, FoldedBy::First);
        self.alerts.push(alert);
        if self.alerts.len() > ALERTS_MAX {
            self.alerts.remove(0);
        }
        Some(id)
    }

    /// Ends what this origin found in a project. Returns the numbers of the alerts that changed.
    pub fn end(&mut self, origin: &Origin, project: &str, at: f64) -> Vec<u64> {
        let key = key(origin, project);
        let changed = self.alerts.iter_mut().filter_map(|alert| alert.end(&key, at).then_some(alert.id));
        changed.collect()
    }

    /// Ends what nobody watches any more, such as a rule that is not declared any more. Returns the numbers of the alerts that changed.
    pub fn end_others(&mut self, is_watched: impl Fn(&str) -> bool, at: f64) -> Vec<u64> {
        let mut changed = Vec::new();
        for alert in &mut self.alerts {
            let others: Vec<String> = alert.lasting.iter().filter(|key| !is_watched(key)).cloned().collect();
            for key in &others {
                alert.end(key, at.max(alert.last_at));
            }
            if !others.is_empty() {
                changed.push(alert.id);
            }
        }
        changed
    }

    /// Returns `None` if no alert of this fold is left for the day before `at`. Otherwise whether it would be the first of its fold.
    ///
    /// The first of each fold is always left. The others share what remains, so in no 24 hours there are more than the ten.
    fn may_open(&self, fold: &Fold, folds: usize, at: f64) -> Option<bool> {
        let of_day = || self.alerts.iter().filter(|alert| alert.opened_at > at - DAY_S);
        if !of_day().any(|alert| alert.fold == fold.slug) {
            return Some(true);
        }
        let further = of_day().filter(|alert| !alert.is_first_of_day).count();
        (further < ALERTS_PER_DAY_MAX.saturating_sub(folds)).then_some(false)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn finding(at: f64, origin: Origin, project: &str) -> Finding {
        let lasts = !matches!(origin, Origin::Issue(_));
        Finding {
            at,
            what: origin.to_string(),
            origin,
            project: project.to_owned(),
            severity: Severity::Medium,
            value: Some(1.0),
            bound: None,
            window_s: None,
            traces: Vec::new(),
            lasts,
        }
    }

    fn rule(slug: &str) -> Origin {
        Origin::Rule(slug.to_owned())
    }

    fn folds() -> &'static [Fold] {
        &rules::declared().folds
    }

    #[test]
    fn dead_letters_and_lag_are_one_alert() {
        let mut book = Book::default();
        assert_eq!(book.add(finding(0.0, rule("lag-seconds"), "lagwatch"), folds()), Some(1));
        for service in ["game", "payment", "user", "game"] {
            assert_eq!(book.add(finding(10.0, rule("dead-letters"), service), folds()), Some(1));
        }
        let missed = Origin::CheckIn("consumer-game".to_owned());
        assert_eq!(book.add(finding(20.0, missed, "game"), folds()), Some(1));
        let [alert] = book.alerts() else { panic!("{book:?}") };
        let reasons: Vec<FoldedBy> = alert.entries.iter().map(|entry| entry.folded_by).collect();
        let expected = [
            FoldedBy::First,
            FoldedBy::Cause,
            FoldedBy::Cause,
            FoldedBy::Cause,
            FoldedBy::Repeat,
            FoldedBy::Cause,
        ];
        assert_eq!(reasons, expected);
        assert_eq!((alert.count, alert.keys["dead-letters in game"]), (6, 2));
    }

    #[test]
    fn alert_is_resolved_when_all_has_ended() {
        let mut book = Book::default();
        book.add(finding(0.0, rule("lag-seconds"), "lagwatch"), folds());
        book.add(finding(5.0, rule("dead-letters"), "game"), folds());
        assert_eq!(book.end(&rule("lag-seconds"), "lagwatch", 60.0), [1]);
        assert_eq!(book.alerts()[0].state(), AlertState::Firing);
        assert_eq!(book.end(&rule("dead-letters"), "game", 90.0), [1]);
        assert_eq!(
            (book.alerts()[0].state(), book.alerts()[0].resolved_at),
            (AlertState::Resolved, Some(90.0))
        );
        assert!(book.end(&rule("dead-letters"), "game", 95.0).is_empty(), "it has ended already");
        assert_eq!(book.alerts()[0].entries[0].ended_at, Some(60.0));
        book.add(finding(100.0, rule("dead-letters"), "game"), folds());
        assert_eq!((book.alerts().len(), book.alerts()[0].state()), (1, AlertState::Firing), "it goes on");
    }

    #[test]
    fn finding_after_the_period_is_a_new_alert() {
        let mut book = Book::default();
        let fold = folds().iter().find(|fold| fold.issues).expect("a fold");
        let period_s = f64::from(fold.period_min) * 60.0;
        let issue = |number: u32| Origin::Issue(number.to_string());
        book.add(finding(0.0, issue(1), "game"), folds());
        assert_eq!(book.add(finding(period_s, issue(2), "game"), folds()), Some(1));
        assert_eq!(book.add(finding(2.0 * period_s + 1.0, issue(2), "game"), folds()), Some(2));
        assert_eq!(book.alerts()[0].state(), AlertState::Noted);
        // Money is another cause, whatever the time.
        assert_eq!(book.add(finding(2.0 * period_s + 2.0, rule("audit-findings"), "cli"), folds()), Some(3));
    }

    #[test]
    fn alert_that_lasts_takes_later_findings() {
        let mut book = Book::default();
        book.add(finding(0.0, rule("lag-seconds"), "lagwatch"), folds());
        assert_eq!(book.add(finding(50_000.0, rule("lag-messages"), "lagwatch"), folds()), Some(1));
    }

    #[test]
    fn what_nobody_watches_any_more_has_ended() {
        let mut book = Book::default();
        book.add(finding(7.0, rule("lag-seconds"), "lagwatch"), folds());
        book.add(finding(8.0, rule("lag-messages"), "lagwatch"), folds());
        assert_eq!(book.end_others(|key| key.starts_with("lag-seconds"), 3.0), [1]);
        assert_eq!(book.alerts()[0].state(), AlertState::Firing);
        assert_eq!(book.end_others(|_| false, 3.0), [1]);
        assert_eq!(book.alerts()[0].resolved_at, Some(8.0), "not before its last finding");
        assert!(book.end_others(|_| false, 9.0).is_empty());
    }

    #[test]
    fn everything_has_a_bound() {
        let mut book = Book::default();
        for number in 0..1_000_u32 {
            book.add(finding(f64::from(number), Origin::Issue(number.to_string()), "game"), folds());
        }
        let alert = &book.alerts()[0];
        assert_eq!((alert.count, alert.entries.len()), (1_000, ENTRIES_MAX));
        assert_eq!((alert.keys.len(), alert.keys[OTHERS]), (KEYS_MAX + 1, 900));
        assert_eq!(alert.entries[0].finding.at, 0.0, "the first is kept");
        assert_eq!(alert.entries[ENTRIES_MAX - 1].finding.at, 999.0);
    }

    #[test]
    fn stored_alert_is_read_again() {
        let mut book = Book::default();
        book.add(finding(0.5, rule("lag-seconds"), "lagwatch"), folds());
        book.add(finding(1.5, Origin::Issue("7".to_owned()), "game"), folds());
        let text = serde_json::to_string(book.alerts()).expect("JSON");
        assert_eq!(Book::restore(serde_json::from_str(&text).expect("alerts")), book);
    }
}
