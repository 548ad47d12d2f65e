//! Counts and suspects of an audit in progress.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::books::Source;
use super::report::{Check, CheckId, Finding};
use super::rollups::Level;
use super::violation::Violation;

/// Largest number of suspects of one check that are kept to be examined again.
const SUSPECTS_MAX: u64 = 1_000;
/// Largest number of open records that a mark carries along.
const OPEN_MAX: usize = 50_000;

/// Subject of a suspect, by which it can be read again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Subject {
    /// Document with this id.
    Document(Source, String),
    /// Line of the provider's statement.
    Order(u64),
    /// E-mail with this number in the mailbox.
    Mail(u64),
    /// Rollups of one time.
    Bucket { level: Level, start_s: i64 },
    /// Record of a topic.
    Record { topic: String, partition: i32, offset: i64 },
    /// Event with this id that was not found on its topic. It is not read again. The next audit knows by it that the event is still
    /// missing, and was not published before the records that it reads.
    Event(String),
}

impl Subject {
    /// Returns the subject of a record.
    pub(super) fn record(topic: &str, partition: i32, offset: i64) -> Self {
        Self::Record { topic: topic.to_owned(), partition, offset }
    }

    /// Returns the command that shows it, if there is one.
    fn command(&self) -> Option<String> {
        let Self::Record { topic, partition, offset } = self else { return None };
        Some(format!(
            "shown by: ./pitboss kafka console-consumer --topic {topic} --partition {partition} --offset {offset} --max-messages 1"
        ))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(source, id) => write!(f, "{} _id={id}", source.namespace()),
            Self::Order(sequence) => write!(f, "partners: /card/v1/statement sequence={sequence}"),
            Self::Mail(sequence) => write!(f, "partners: /mail/v1/messages sequence={sequence}"),
            Self::Bucket { level, start_s } => {
                write!(f, "analytics.rollups level={} start_s={start_s}", level.as_str())
            }
            Self::Record { topic, partition, offset } => {
                write!(f, "{topic} partition={partition} offset={offset}")
            }
            Self::Event(id) => write!(f, "event id={id}"),
        }
    }
}

/// Verdict on one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it must be.
    Agrees,
    /// Its counterpart is not there, and may still be on its way.
    InFlight,
    /// Its counterpart cannot be read any more, because the broker has deleted it.
    Deleted,
    /// Its counterpart is not there, because the record that it follows from is an open dead letter.
    Parked,
    /// It violates the check.
    Differs(Violation),
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    checked: u64,
    in_flight: u64,
    deleted: u64,
    parked: u64,
    suspects: u64,
    unexamined: u64,
}

/// Counts and suspects.
#[derive(Debug)]
pub(super) struct Tally {
    counts: BTreeMap<CheckId, Count>,
    suspects: BTreeMap<(CheckId, Subject), Finding>,
    /// Suspects about records that cannot change, so examining them again would show the same.
    lasting: BTreeSet<(CheckId, Subject)>,
    suspects_max: u64,
    /// Records that were in flight.
    open: BTreeSet<Subject>,
    open_left_out: u64,
}

impl Tally {
    /// Creates a tally that keeps a bounded number of suspects.
    pub(super) fn bounded() -> Self {
        Self { suspects_max: SUSPECTS_MAX, ..Self::unbounded() }
    }

    /// Creates a tally for records whose number is already bounded.
    pub(super) fn unbounded() -> Self {
        Self {
            counts: BTreeMap::new(),
            suspects: BTreeMap::new(),
            lasting: BTreeSet::new(),
            suspects_max: u64::MAX,
            open: BTreeSet::new(),
            open_left_out: 0,
        }
    }

    /// Counts records that were checked.
    pub(super) fn checked(&mut self, check: CheckId, count: u64) {
        self.count(check).checked += count;
    }

    /// Counts one record and keeps a suspect if it violates the check. `others` are records beside the subject.
    pub(super) fn record(&mut self, check: CheckId, subject: &Subject, verdict: Verdict, others: &[Subject]) {
        match verdict {
            Verdict::Agrees => self.checked(check, 1),
            Verdict::InFlight => {
                self.count(check).in_flight += 1;
                self.keep_open(subject.clone());
            }
            Verdict::Deleted => self.count(check).deleted += 1,
            Verdict::Parked => {
                // It is read again until an operator replays or discards the letter.
                self.count(check).parked += 1;
                self.keep_open(subject.clone());
            }
            Verdict::Differs(violation) => {
                self.checked(check, 1);
                self.suspect(check, subject, violation, others);
            }
        }
    }

    /// Counts records that are on their way, and that the next audit reads in any case.
    pub(super) fn in_flight(&mut self, check: CheckId, count: u64) {
        self.count(check).in_flight += count;
    }

    /// Keeps a suspect that needs no second look, because what it is about cannot change.
    pub(super) fn lasting(
        &mut self,
        check: CheckId,
        subject: &Subject,
        violation: Violation,
        others: &[Subject],
    ) {
        self.suspect(check, subject, violation, others);
        self.lasting.insert((check, subject.clone()));
    }

    /// Keeps a record that the next audit has to read again.
    pub(super) fn keep_open(&mut self, subject: Subject) {
        if self.open.len() < OPEN_MAX || self.open.contains(&subject) {
            self.open.insert(subject);
        } else {
            self.open_left_out += 1;
        }
    }

    /// Counts one record, which violates the check if there is a problem.
    pub(super) fn expect_none(&mut self, check: CheckId, subject: &Subject, problem: Option<Violation>) {
        self.record(check, subject, problem.map_or(Verdict::Agrees, Verdict::Differs), &[]);
    }

    /// Counts one record, which violates the check if there is a problem. A problem needs no second look, because what it is about
    /// cannot change.
    pub(super) fn expect_none_ever(&mut self, check: CheckId, subject: &Subject, problem: Option<Violation>) {
        self.checked(check, 1);
        if let Some(violation) = problem {
            self.lasting(check, subject, violation, &[]);
        }
    }

    /// Keeps a suspect, the first one of each check and subject.
    pub(super) fn suspect(
        &mut self,
        check: CheckId,
        subject: &Subject,
        violation: Violation,
        others: &[Subject],
    ) {
        let key = (check, subject.clone());
        if self.suspects.contains_key(&key) {
            return;
        }
        let max = self.suspects_max;
        let count = self.count(check);
        if count.suspects >= max {
            count.unexamined += 1;
            return;
        }
        count.suspects += 1;
        let named = std::iter::once(subject).chain(others);
        let pointers =
            named.flat_map(|subject| std::iter::once(subject.to_string()).chain(subject.command()));
        let pointers = pointers.collect();
        let Violation { what, amounts } = violation;
        self.suspects.insert(key, Finding { what, amounts, pointers });
    }

    fn count(&mut self, check: CheckId) -> &mut Count {
        self.counts.entry(check).or_default()
    }

    /// Returns the subjects of all suspects.
    pub(super) fn subjects(&self) -> BTreeSet<Subject> {
        self.suspects.keys().map(|(_, subject)| subject.clone()).collect()
    }

    /// Returns the subjects that have to be read again: those of all suspects that could turn out to be none.
    pub(super) fn unconfirmed(&self) -> BTreeSet<Subject> {
        let unconfirmed = self.suspects.keys().filter(|key| !self.lasting.contains(*key));
        unconfirmed.map(|(_, subject)| subject.clone()).collect()
    }

    /// Drops the suspects that `again` does not confirm, and keeps what `again` says about the others.
    pub(super) fn keep_confirmed(&mut self, mut again: Self) {
        let suspects = std::mem::take(&mut self.suspects);
        let confirmed = suspects.into_iter().filter_map(|(key, finding)| {
            if self.lasting.contains(&key) {
                return Some((key, finding));
            }
            again.suspects.remove_entry(&key)
        });
        self.suspects = confirmed.collect();
        // A suspect may turn out to be in flight.
        again.open.into_iter().for_each(|subject| self.keep_open(subject));
    }

    /// Returns the records that the next audit has to read again: those in flight, and those that violate a check. `None` if there
    /// are more than could be kept or examined.
    pub(super) fn open(&self) -> Option<BTreeSet<Subject>> {
        let has_unexamined = self.counts.values().any(|count| count.unexamined > 0);
        let mut all: BTreeSet<Subject> = self.open.union(&self.subjects()).cloned().collect();
        // The next audit begins with the first bucket that differs.
        all.retain(|subject| !matches!(subject, Subject::Bucket { .. }));
        (self.open_left_out == 0 && !has_unexamined).then_some(all)
    }

    /// Returns the number of records that a check has seen.
    pub(super) fn seen(&self, check: CheckId) -> u64 {
        let seen = |count: &Count| count.checked + count.in_flight + count.deleted + count.parked;
        self.counts.get(&check).map_or(0, seen)
    }

    /// Returns the result of one check.
    pub(super) fn result(&self, check: CheckId, empty: bool) -> Check {
        let count = self.counts.get(&check).copied().unwrap_or_default();
        let own = self.suspects.iter().filter(|((of, _), _)| *of == check);
        Check {
            name: check.name(),
            promise: check.promise(),
            checked: count.checked,
            in_flight: count.in_flight,
            deleted: count.deleted,
            parked: count.parked,
            empty,
            findings: own.map(|(_, finding)| finding.clone()).collect(),
            unexamined: count.unexamined,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bet(id: &str) -> Subject {
        Subject::Document(Source::Bets, id.to_owned())
    }

    #[test]
    fn open_are_records_in_flight_and_findings() {
        let mut tally = Tally::bounded();
        tally.record(CheckId::Facts, &bet("agrees"), Verdict::Agrees, &[]);
        tally.record(CheckId::Facts, &bet("young"), Verdict::InFlight, &[]);
        tally.record(CheckId::Facts, &bet("wrong"), Verdict::Differs("wrong".into()), &[]);
        tally.record(CheckId::Facts, &bet("was wrong"), Verdict::Differs("wrong".into()), &[]);
        let bucket = Subject::Bucket { level: Level::Slot, start_s: 10 };
        tally.record(CheckId::Rollups, &bucket, Verdict::InFlight, &[]);
        let mut again = Tally::unbounded();
        again.record(CheckId::Facts, &bet("wrong"), Verdict::Differs("still wrong".into()), &[]);
        again.record(CheckId::Facts, &bet("was wrong"), Verdict::Agrees, &[]);
        tally.keep_confirmed(again);
        assert_eq!(tally.open(), Some(BTreeSet::from([bet("young"), bet("wrong")])));
        assert_eq!(tally.result(CheckId::Facts, false).violations(), 1);
    }

    #[test]
    fn lasting_suspects_stay() {
        let record = Subject::record("t", 1, 7);
        let mut tally = Tally::bounded();
        tally.lasting(CheckId::EventContents, &record, "wrong".into(), &[Subject::record("t", 1, 3)]);
        tally.keep_confirmed(Tally::unbounded());
        let check = tally.result(CheckId::EventContents, false);
        let pointers = check.findings.iter().flat_map(|finding| &finding.pointers).collect::<Vec<_>>();
        assert_eq!(pointers[0], "t partition=1 offset=7");
        assert!(pointers[1].contains("--topic t --partition 1 --offset 7 "), "{pointers:?}");
        assert_eq!(pointers[2], "t partition=1 offset=3");
        assert_eq!(tally.open(), Some(BTreeSet::from([record])));
    }

    #[test]
    fn lasting_suspects_are_not_read_again() {
        let mut tally = Tally::bounded();
        tally.expect_none_ever(CheckId::Payouts, &bet("right"), None);
        tally.expect_none_ever(CheckId::Payouts, &bet("wrong"), Some("wrong".into()));
        assert!(tally.unconfirmed().is_empty());
        tally.expect_none(CheckId::SettledBets, &bet("other"), Some("wrong".into()));
        assert_eq!(tally.unconfirmed(), BTreeSet::from([bet("other")]));
        // The same bet violates another check, which may have read too early.
        tally.expect_none(CheckId::SettledBets, &bet("wrong"), Some("wrong".into()));
        assert_eq!(tally.unconfirmed(), BTreeSet::from([bet("other"), bet("wrong")]));
        tally.keep_confirmed(Tally::unbounded());
        let check = tally.result(CheckId::Payouts, false);
        assert_eq!((check.checked, check.violations()), (2, 1));
        assert!(tally.result(CheckId::SettledBets, false).is_clean());
    }

    #[test]
    fn deleted_counterpart_is_no_finding() {
        let mut tally = Tally::bounded();
        tally.record(CheckId::BetEvents, &bet("old"), Verdict::Deleted, &[]);
        let check = tally.result(CheckId::BetEvents, false);
        assert_eq!((check.checked, check.deleted, check.violations()), (0, 1, 0));
        assert!(check.is_clean() && tally.seen(CheckId::BetEvents) == 1);
    }

    #[test]
    fn parked_counterpart_stays_open_and_is_no_finding() {
        let mut tally = Tally::bounded();
        tally.record(CheckId::Facts, &bet("parked"), Verdict::Parked, &[]);
        let check = tally.result(CheckId::Facts, false);
        assert_eq!((check.checked, check.parked, check.violations()), (0, 1, 0));
        assert!(check.is_clean() && tally.seen(CheckId::Facts) == 1);
        assert_eq!(tally.open(), Some(BTreeSet::from([bet("parked")])));
    }

    #[test]
    fn mark_stays_if_suspects_were_not_examined() {
        let mut tally = Tally::bounded();
        for number in 0..=SUSPECTS_MAX {
            let subject = bet(&number.to_string());
            tally.record(CheckId::Facts, &subject, Verdict::Differs("wrong".into()), &[]);
        }
        assert_eq!(tally.open(), None);
        // When the examined ones turn out to be none, nothing is known about the others either.
        tally.keep_confirmed(Tally::unbounded());
        assert_eq!(tally.result(CheckId::Facts, false).violations(), 0);
        assert_eq!(tally.open(), None);
    }
}
