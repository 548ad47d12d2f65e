//! Lookup of earlier decisions about a command: their keys, and their meaning for the command.

use contracts::{EventId, ids};

use super::Entry;
use super::entry::SETTLES;

/// Keys of one command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Keys {
    /// Key of the command's own decision, from its id alone.
    own: String,
    /// Keys of decisions about the same request under another command id.
    same_request: Vec<String>,
    /// Key of a decision of another kind that answers this command: the void of its wager.
    ended_by: Option<String>,
    /// Key of the decision that this command refers to. Only a void or a report has one.
    refers: Option<String>,
    /// Keys of the new decision.
    pub(super) decision: Vec<String>,
}

impl Keys {
    /// Returns the keys of a command that refers to no other decision.
    pub(super) fn plain(command_id: &EventId) -> Self {
        let own = command_key(command_id);
        Self { decision: vec![own.clone()], own, ..Self::default() }
    }

    /// Returns the keys of a wager. It is applied once, in whatever command it arrives. An earlier void is its outcome.
    pub(super) fn apply(command_id: &EventId, wager_id: &EventId) -> Self {
        let mut keys = Self::plain(command_id);
        keys.same_request.push(wager_key(wager_id));
        keys.ended_by = Some(void_key(wager_id));
        keys.decision.push(wager_key(wager_id));
        keys
    }

    /// Returns the keys of a void. A wager is voided once, and every later void gets the same answer.
    pub(super) fn void(command_id: &EventId, wager_id: &EventId) -> Self {
        let mut keys = Self::plain(command_id);
        keys.ended_by = Some(void_key(wager_id));
        keys.refers = Some(wager_key(wager_id));
        keys.decision.push(void_key(wager_id));
        keys
    }

    /// Returns the keys of a report. A payment is settled once. Reports of the provider and of operators differ in id.
    pub(super) fn report(command_id: &EventId, payment_id: &EventId) -> Self {
        let mut keys = Self::plain(command_id);
        keys.same_request = settlement_keys(payment_id);
        keys.refers = Some(command_key(payment_id));
        keys.decision.push(report_key(payment_id));
        keys
    }

    /// Returns all keys to look up.
    pub(super) fn all(&self) -> Vec<String> {
        let others = self.same_request.iter().chain(&self.ended_by).chain(&self.refers);
        std::iter::once(&self.own).chain(others).cloned().collect()
    }

    /// Returns true when the tail holds the command's own decision. The ledger rows cannot change the answer then.
    pub(super) fn are_decided_in(&self, tail: &[Entry]) -> bool {
        tail.iter().any(|entry| entry.keys.contains(&self.own))
    }
}

/// Meaning of the known decisions for a command.
#[derive(Debug, PartialEq)]
pub(super) enum Known<'a> {
    /// This decision is the answer.
    Decided(&'a Entry),
    /// This decision is about another request under the same id, or about the same request of another player.
    Conflict(&'a Entry),
    /// The command is a void or a report, and these decisions are another player's. It must not move money by them.
    OfOthers(Vec<&'a Entry>),
    /// The command is not decided. `referred` is the player's decision that it refers to.
    Undecided { referred: Option<&'a Entry> },
}

/// Returns the meaning of the player's `tail` and of the ledger `rows` under [`Keys::all`] for a command. The player's own
/// decisions come first.
pub(super) fn known<'a>(
    keys: &Keys,
    request_hash: &str,
    player_id: &str,
    tail: &'a [Entry],
    rows: &'a [(String, Entry)],
) -> Known<'a> {
    let own_rows = rows.iter().filter(|(owner, _)| owner == player_id).map(|(_, entry)| entry);
    let own: Vec<&Entry> = tail.iter().chain(own_rows).collect();
    let others: Vec<&Entry> =
        rows.iter().filter(|(owner, _)| owner != player_id).map(|(_, entry)| entry).collect();
    let same = || std::iter::once(&keys.own).chain(&keys.same_request);
    if let Some(entry) = first(&own, same()) {
        return if entry.request_hash == request_hash {
            Known::Decided(entry)
        } else {
            Known::Conflict(entry)
        };
    }
    if let Some(entry) = first(&own, &keys.ended_by) {
        return Known::Decided(entry);
    }
    if others.is_empty() {
        return Known::Undecided { referred: first(&own, &keys.refers) };
    }
    if keys.refers.is_none() {
        // A conflict whatever the hashes are, because the player is part of a command's content.
        if let Some(entry) = first(&others, same()) {
            return Known::Conflict(entry);
        }
        // A wager that was voided under a wrong player stays void, because game ended the bet on that event.
        if let Some(entry) = first(&others, &keys.ended_by) {
            return Known::Decided(entry);
        }
    }
    Known::OfOthers(others)
}

/// Returns the decision under the first of `keys` that has one.
fn first<'a, 'k>(entries: &[&'a Entry], keys: impl IntoIterator<Item = &'k String>) -> Option<&'a Entry> {
    keys.into_iter().find_map(|key| entries.iter().copied().find(|entry| entry.keys.contains(key)))
}

fn command_key(command_id: &EventId) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "the command's hash";

    fn entry(command_id: &str, request_hash: &str, key: &str) -> Entry {
        let row = bson::doc! {
            "seq": 1_i64, "command_id": command_id, "keys": [format!("c:{command_id}"), key],
            "request_hash": request_hash, "type": "", "outcome": "applied", "postings": [], "trace": {},
            "at": bson::DateTime::from_millis(0),
        };
        Entry::from_row(row).unwrap()
    }

    /// Each case has keys, the player's own decisions, another player's decisions, and the result.
    #[test]
    fn known_decisions_give_the_answer() {
        use Known::{Conflict, Decided, OfOthers, Undecided};
        let id = |text: &str| text.parse::<EventId>().unwrap();
        let [wager, wager_2] = [HASH, "other"].map(|hash| entry("wager", hash, "w:w"));
        let [report, report_2] = [HASH, "other"].map(|hash| entry("report", hash, "r:d"));
        let report_v1 = entry(ids::provider_reported_id(&id("d")).as_str(), HASH, "c:v1");
        let (void, requested) = (entry("void", "other", "v:w"), entry("d", "other", "c:d"));
        let plain = Keys::plain(&id("wager"));
        let apply = Keys::apply(&id("wager"), &id("w"));
        let apply_again = Keys::apply(&id("again"), &id("w"));
        let voids = Keys::void(&id("voids"), &id("w"));
        let void_as_wager = Keys::void(&id("wager"), &id("other"));
        let settles = Keys::report(&id("settles"), &id("d"));
        let cases: [(&Keys, &[&Entry], &[&Entry], Known<'_>); 23] = [
            (&plain, &[], &[], Undecided { referred: None }),
            (&plain, &[&wager], &[], Decided(&wager)),
            (&plain, &[&wager_2], &[], Conflict(&wager_2)),
            (&plain, &[], &[&wager], Conflict(&wager)),
            (&apply, &[], &[], Undecided { referred: None }),
            (&apply, &[&void], &[], Decided(&void)),
            (&apply, &[&void, &wager], &[], Decided(&wager)),
            (&apply, &[&void], &[&wager], Decided(&void)),
            (&apply, &[], &[&void], Decided(&void)),
            (&apply, &[], &[&void, &wager], Conflict(&wager)),
            (&apply_again, &[&wager], &[], Decided(&wager)),
            (&apply_again, &[&wager_2], &[], Conflict(&wager_2)),
            (&apply_again, &[], &[&wager], Conflict(&wager)),
            (&voids, &[], &[], Undecided { referred: None }),
            (&voids, &[&wager], &[], Undecided { referred: Some(&wager) }),
            (&voids, &[&wager, &void], &[], Decided(&void)),
            (&voids, &[], &[&wager, &void], OfOthers(vec![&wager, &void])),
            (&void_as_wager, &[], &[&wager], OfOthers(vec![&wager])),
            (&settles, &[&requested], &[], Undecided { referred: Some(&requested) }),
            (&settles, &[&requested, &report], &[], Decided(&report)),
            (&settles, &[&requested, &report_2], &[], Conflict(&report_2)),
            (&settles, &[&requested, &report_v1], &[], Decided(&report_v1)),
            (&settles, &[], &[&requested], OfOthers(vec![&requested])),
        ];
        for (number, (keys, own, others, expected)) in cases.iter().enumerate() {
            let tail: Vec<Entry> = own.iter().copied().cloned().collect();
            let mut rows: Vec<(String, Entry)> =
                others.iter().map(|entry| ("other".to_owned(), Entry::clone(entry))).collect();
            assert_eq!(known(keys, HASH, "p", &tail, &rows), *expected, "{number}: in the tail");
            rows.extend(tail.into_iter().map(|entry| ("p".to_owned(), entry)));
            assert_eq!(known(keys, HASH, "p", &[], &rows), *expected, "{number}: only in the ledger");
        }
    }
}
