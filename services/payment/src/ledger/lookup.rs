//! Keys by which a command finds its own decision and the decisions that it refers to.

use contracts::{EventId, ids};

use super::Entry;
use super::entry::SETTLES;

/// Keys to look up before a command can be decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lookup {
    /// Key of the command's own decision, from its id alone.
    own: String,
    /// Keys of other decisions that answer this command. The first one found counts.
    answers: Vec<(String, Match)>,
    /// Key of a decision that this command refers to.
    refers: Option<String>,
    /// Keys of the new decision.
    pub(super) keys: Vec<String>,
}

impl Lookup {
    /// Creates the lookup of a command that refers to no other decision.
    pub(super) fn plain(command_id: &EventId) -> Self {
        let own = command_key(command_id);
        Self { keys: vec![own.clone()], own, ..Self::default() }
    }

    /// Creates the lookup of a wager. It is applied once, in whatever command it arrives. An earlier void is its outcome.
    pub(super) fn apply(command_id: &EventId, wager_id: &EventId) -> Self {
        let mut lookup = Self::plain(command_id);
        lookup.answers =
            vec![(wager_key(wager_id), Match::SameRequest), (void_key(wager_id), Match::OtherRequest)];
        lookup.keys.push(wager_key(wager_id));
        lookup
    }

    /// Creates the lookup of a void. A wager is voided once, and every later void gets the same answer.
    pub(super) fn void(command_id: &EventId, wager_id: &EventId) -> Self {
        let mut lookup = Self::plain(command_id);
        lookup.answers = vec![(void_key(wager_id), Match::OtherRequest)];
        lookup.refers = Some(wager_key(wager_id));
        lookup.keys.push(void_key(wager_id));
        lookup
    }

    /// Creates the lookup of a report. A payment is settled once. Reports of the provider and of operators differ in id.
    pub(super) fn report(command_id: &EventId, payment_id: &EventId) -> Self {
        let mut lookup = Self::plain(command_id);
        lookup.answers =
            settlement_keys(payment_id).into_iter().map(|key| (key, Match::SameRequest)).collect();
        lookup.refers = Some(command_key(payment_id));
        lookup.keys.push(report_key(payment_id));
        lookup
    }

    /// Returns all keys to look up.
    pub(super) fn wanted(&self) -> Vec<String> {
        let mut wanted = vec![self.own.clone()];
        wanted.extend(self.answers.iter().map(|(key, _)| key.clone()));
        wanted.extend(self.refers.clone());
        wanted
    }

    /// Returns true when this command is about an earlier decision: a void or a report.
    pub(super) fn is_about_another(&self) -> bool {
        self.refers.is_some()
    }

    /// Returns true when the tail holds the command's own decision. The ledger cannot change the answer then.
    pub(super) fn is_settled_by(&self, tail: &[Entry]) -> bool {
        tail.iter().any(|entry| entry.keys.contains(&self.own))
    }

    /// Returns the decision that answers this command.
    pub(super) fn answer<'a>(&self, found: &'a [Entry]) -> Option<(&'a Entry, Match)> {
        let by = |key: &String| found.iter().find(|entry| entry.keys.contains(key));
        let own = by(&self.own).map(|entry| (entry, Match::SameRequest));
        own.or_else(|| self.answers.iter().find_map(|(key, kind)| by(key).map(|entry| (entry, *kind))))
    }

    /// Returns the decision that this command refers to.
    pub(super) fn referred<'a>(&self, found: &'a [Entry]) -> Option<&'a Entry> {
        let key = self.refers.as_ref()?;
        found.iter().find(|entry| entry.keys.contains(key))
    }
}

/// Relation between a command and the decision that answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// The same request. Another hash is a conflict.
    SameRequest,
    /// Another kind of request, which this decision answers. It is never a conflict.
    OtherRequest,
}

/// Returns the key of a command's own decision.
pub(super) fn command_key(command_id: &EventId) -> String {
    format!("c:{command_id}")
}

/// Returns the keys of the decision that settled a payment. Rows of the first version have no key of the payment, but the id of
/// the provider's own report finds them.
pub(super) fn settlement_keys(payment_id: &EventId) -> Vec<String> {
    vec![report_key(payment_id), command_key(&ids::provider_reported_id(payment_id))]
}

fn report_key(payment_id: &EventId) -> String {
    format!("{SETTLES}{payment_id}")
}

fn wager_key(wager_id: &EventId) -> String {
    format!("w:{wager_id}")
}

fn void_key(wager_id: &EventId) -> String {
    format!("v:{wager_id}")
}
