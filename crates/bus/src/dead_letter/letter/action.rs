//! What operators did with dead letters: who replayed or discarded which one, when and why.
//!
//! The actions are records of `casino.dlq.actions.v1`. A letter is closed when an action names it, or a later copy of its record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{FirstPlace, Letter, LetterId, one_line};
use crate::producer::Published;

/// Maximum number of characters of a name.
const BY_CHARS_MAX: usize = 64;
/// Maximum number of characters of a reason.
const REASON_CHARS_MAX: usize = 256;

/// Kind of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionKind {
    /// The record was published to its own topic again.
    Replay,
    /// The record was given up.
    Discard,
}

impl ActionKind {
    /// Name of the kind in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Discard => "discard",
        }
    }
}

/// Who acts, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    by: String,
    reason: String,
}

impl Note {
    /// Creates a note of bounded length on one line each.
    #[must_use]
    pub fn new(by: &str, reason: &str) -> Self {
        let bounded = |text: &str, max| one_line(text.trim()).chars().take(max).collect();
        Self { by: bounded(by, BY_CHARS_MAX), reason: bounded(reason, REASON_CHARS_MAX) }
    }
}

/// Place of a dead letter in its topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LetterPlace {
    /// Catalogue name of the dead-letter topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl From<LetterId> for LetterPlace {
    fn from(id: LetterId) -> Self {
        Self { topic: id.dead_letter_topic(), partition: id.partition, offset: id.offset }
    }
}

/// One action, the value of a record of `casino.dlq.actions.v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What was done.
    pub action: ActionKind,
    /// Who did it, as the operator named themselves.
    pub by: String,
    /// When, RFC 3339.
    pub at: String,
    /// Why. Empty if nobody said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The letter.
    pub letter: LetterPlace,
    /// The group that had given up.
    pub group: String,
    /// Place of the record's first appearance.
    pub first: FirstPlace,
    /// Identity of the record.
    pub event_id: String,
    /// Trace of the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The first trace of the record, as `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Where a replay was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<FirstPlace>,
}

impl Action {
    /// Describes an action that takes place now.
    pub(super) fn now(
        kind: ActionKind,
        letter: &Letter,
        note: &Note,
        trace_id: Option<String>,
        origin: Option<String>,
    ) -> Self {
        Self {
            action: kind,
            by: note.by.clone(),
            at: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            reason: note.reason.clone(),
            letter: letter.id.into(),
            group: letter.id.group.as_str().to_owned(),
            first: letter.first.clone(),
            event_id: letter.event_id.to_string(),
            trace_id,
            origin,
            published: None,
        }
    }

    /// The same action with the place of the new record.
    pub(super) fn published_at(mut self, topic: &str, published: Published) -> Self {
        let Published { partition, offset } = published;
        self.published = Some(FirstPlace { topic: topic.to_owned(), partition, offset });
        self
    }
}

/// What was done with the copies of one record in one group.
#[derive(Clone, Debug)]
pub struct Handled {
    /// The last action.
    pub last: Action,
    /// The trace that the first action named as the record's, as `traceparent`.
    pub origin: Option<String>,
}

/// The actions on all letters, by group and first place.
#[derive(Clone, Debug, Default)]
pub struct History(BTreeMap<(String, FirstPlace), Handled>);

impl History {
    /// Adds actions in their order.
    pub fn extend(&mut self, actions: impl IntoIterator<Item = Action>) {
        for action in actions {
            let key = (action.group.clone(), action.first.clone());
            match self.0.get_mut(&key) {
                Some(known) => {
                    known.origin = known.origin.take().or_else(|| action.origin.clone());
                    known.last = action;
                }
                None => {
                    let origin = action.origin.clone();
                    drop(self.0.insert(key, Handled { last: action, origin }));
                }
            }
        }
    }

    /// What was done with this letter's record.
    #[must_use]
    pub fn of(&self, letter: &Letter) -> Option<&Handled> {
        self.0.get(&(letter.id.group.as_str().to_owned(), letter.first.clone()))
    }

    /// Returns true unless an action names this letter or a later copy.
    #[must_use]
    pub fn is_open(&self, letter: &Letter) -> bool {
        self.is_open_at(letter.id, &letter.first)
    }

    /// Does the same for a letter of which only its place and the first place of its record are known.
    #[must_use]
    pub fn is_open_at(&self, id: LetterId, first: &FirstPlace) -> bool {
        self.closed_by(id, first).is_none()
    }

    /// Returns the last action on the record of that letter, if it closed the letter: it names the letter or a later copy.
    #[must_use]
    pub fn closed_by(&self, id: LetterId, first: &FirstPlace) -> Option<&Action> {
        let last = &self.0.get(&(id.group.as_str().to_owned(), first.clone()))?.last;
        let LetterPlace { partition, offset, .. } = last.letter;
        (partition == id.partition && offset >= id.offset).then_some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::letter;
    use super::*;

    fn action(kind: ActionKind, letter: &Letter, origin: Option<&str>) -> Action {
        Action::now(kind, letter, &Note::new("ann", ""), None, origin.map(str::to_owned))
    }

    #[test]
    fn action_closes_earlier_copies_only() {
        let mut copy = letter(&[], "{}");
        let mut history = History::default();
        assert!(history.is_open(&copy));
        history.extend([
            action(ActionKind::Replay, &copy, Some("first")),
            action(ActionKind::Discard, &copy, Some("second")),
        ]);
        assert!(!history.is_open(&copy));
        let handled = history.of(&copy).unwrap();
        assert_eq!((handled.last.action, handled.origin.as_deref()), (ActionKind::Discard, Some("first")));
        copy.id.offset = 11;
        assert!(!history.is_open(&copy), "an earlier copy of the same record");
        copy.id.offset = 13;
        assert!(history.is_open(&copy), "the record failed again");
        copy.first.offset += 1;
        assert!(history.of(&copy).is_none(), "another record");
    }

    #[test]
    fn action_round_trips_with_bounded_notes() {
        let note = Note::new(&"n".repeat(100), &format!("line\nbreak{}", "x".repeat(400)));
        assert_eq!((note.by.len(), note.reason.chars().count()), (64, 256));
        assert!(!note.reason.contains('\n'));
        let published = Published { partition: 4, offset: 9 };
        let written = Action::now(ActionKind::Replay, &letter(&[], "{}"), &note, Some("t".into()), None)
            .published_at("casino.bets.commands.v1", published);
        let json = serde_json::to_value(&written).unwrap();
        assert_eq!((&json["action"], &json["letter"]["offset"]), (&"replay".into(), &12.into()));
        assert_eq!(json["published"]["topic"], "casino.bets.commands.v1");
        assert_eq!(serde_json::from_value::<Action>(json).unwrap(), written);
    }
}
