//! By which keys a command finds its own decision, and those that it refers to.

use contracts::{EventId, ids};

use super::Entry;
use super::entry::SETTLES;

/// What a command has to know before it can be decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lookup {
    /// The command's own decision: its id alone.
    own: String,
    /// Other decisions that answer this command: the first one found, in this order.
    answers: Vec<(String, Match)>,
    /// A decision that this command refers to.
    refers: Option<String>,
    /// The keys of the decision that will be made.
    pub(super) keys: Vec<String>,
}

impl Lookup {
    /// A command that stands alone.
    pub(super) fn plain(command_id: &EventId) -> Self {
        let own = command_key(command_id);
        Self { keys: vec![own.clone()], own, ..Self::default() }
    }

    /// A wager is applied once, whatever command it comes in; a void that came first is its outcome.
    pub(super) fn apply(command_id: &EventId, wager_id: &EventId) -> Self {
        let mut lookup = Self::plain(command_id);
        lookup.answers =
            vec![(wager_key(wager_id), Match::SameRequest), (void_key(wager_id), Match::OtherRequest)];
        lookup.keys.push(wager_key(wager_id));
        lookup
    }

    /// A wager is voided once; whoever voids it again, in whatever words, gets the same answer.
    pub(super) fn void(command_id: &EventId, wager_id: &EventId) -> Self {
        let mut lookup = Self::plain(command_id);
        lookup.answers = vec![(void_key(wager_id), Match::OtherRequest)];
        lookup.refers = Some(wager_key(wager_id));
        lookup.keys.push(void_key(wager_id));
        lookup
    }

    /// A payment is settled once, whoever reports it: the provider's own report has one id, an operator's has another.
    pub(super) fn report(command_id: &EventId, payment_id: &EventId) -> Self {
        let mut lookup = Self::plain(command_id);
        lookup.answers =
            settlement_keys(payment_id).into_iter().map(|key| (key, Match::SameRequest)).collect();
        lookup.refers = Some(command_key(payment_id));
        lookup.keys.push(report_key(payment_id));
        lookup
    }

    /// Everything to ask for.
    pub(super) fn wanted(&self) -> Vec<String> {
        let mut wanted = vec![self.own.clone()];
        wanted.extend(self.answers.iter().map(|(key, _)| key.clone()));
        wanted.extend(self.refers.clone());
        wanted
    }

    /// Whether this command is somebody's word about an earlier decision: a void, a report.
    pub(super) fn is_about_another(&self) -> bool {
        self.refers.is_some()
    }

    /// Whether the ledger could still change the answer that the tail gives: not when it knows the command itself.
    pub(super) fn is_settled_by(&self, tail: &[Entry]) -> bool {
        tail.iter().any(|entry| entry.keys.contains(&self.own))
    }

    /// The decision that answers this command.
    pub(super) fn answer<'a>(&self, found: &'a [Entry]) -> Option<(&'a Entry, Match)> {
        let by = |key: &String| found.iter().find(|entry| entry.keys.contains(key));
        let own = by(&self.own).map(|entry| (entry, Match::SameRequest));
        own.or_else(|| self.answers.iter().find_map(|(key, kind)| by(key).map(|entry| (entry, *kind))))
    }

    /// The decision that this command refers to.
    pub(super) fn referred<'a>(&self, found: &'a [Entry]) -> Option<&'a Entry> {
        let key = self.refers.as_ref()?;
        found.iter().find(|entry| entry.keys.contains(key))
    }
}

/// Whether the hashes of a command and of the decision that answers it can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// The same request: another hash is a conflict.
    SameRequest,
    /// Another kind of request, whose answer this is: no conflict.
    OtherRequest,
}

/// The key of a command's own decision.
pub(super) fn command_key(command_id: &EventId) -> String {
    format!("c:{command_id}")
}

/// By which keys the decision that settled a payment is found. Rows of the first version have no key of the payment; the
/// provider's own report is found by its id.
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
