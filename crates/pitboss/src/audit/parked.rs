//! Records that are dead letters, read only when a check needs them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bus::letter::{Action, ActionKind, FirstPlace, History, Keep, Letter, LetterId, LetterReader, Limits};
use contracts::Group;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::OnceCell;

use super::rules::Standing;

/// Time limit for reading all dead letters.
const READ_DEADLINE: Duration = Duration::from_secs(30);
/// Largest number of letters whose places are kept.
const LETTERS_MAX: usize = 200_000;
/// Groups whose dead letters explain that something is missing. No check asks for the letters of the others.
const GROUPS: [Group; 3] = [Group::Game, Group::Payment, Group::Analytics];

/// Dead letters of the groups in [`GROUPS`].
pub(super) struct Parked {
    kafka: bus::Config,
    reader: OnceCell<Arc<LetterReader>>,
    known: Arc<Mutex<Known>>,
    /// Open transactions held dead letters back at the last update.
    is_held: AtomicBool,
}

impl fmt::Debug for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parked")
            .field("bootstrap_servers", &self.kafka.bootstrap_servers)
            .finish_non_exhaustive()
    }
}

impl Parked {
    /// Creates an empty set. It connects with its first update.
    pub(super) fn at(kafka: bus::Config) -> Self {
        Self { kafka, reader: OnceCell::new(), known: Arc::default(), is_held: AtomicBool::new(false) }
    }

    /// Reads the dead letters that were parked since the last update, and what operators did with letters since then.
    ///
    /// # Errors
    /// When they cannot be read completely, because a missing one would look like a lost record.
    pub(super) async fn update(&self) -> Result<()> {
        let reader = self.reader.get_or_try_init(|| async { self.connect() }).await?;
        let known = Arc::clone(&self.known);
        let keep = move |letter: &Letter| {
            known.lock().unwrap_or_else(PoisonError::into_inner).add(letter);
            // The letters themselves are not needed.
            false
        };
        let limits =
            Limits { letters_max: 1, bytes_max: usize::MAX, deadline: READ_DEADLINE, keep: Keep::Newest };
        let read = reader.letters(limits, keep).await;
        let at = &self.kafka.bootstrap_servers;
        let read = read.with_context(|| format!("the dead letters cannot be read at {at}"))?;
        if read.is_incomplete {
            bail!("the dead letters could not be read within {} s", READ_DEADLINE.as_secs());
        }
        self.is_held.store(read.held > 0, Ordering::Relaxed);
        let actions = reader.actions(READ_DEADLINE).await;
        let actions =
            actions.with_context(|| format!("the actions on dead letters cannot be read at {at}"))?;
        let mut known = self.known();
        known.history.extend(actions.actions);
        if known.is_full() {
            bail!("there are {LETTERS_MAX} dead letters or more, which is too many for one audit");
        }
        Ok(())
    }

    /// Says what had become of the letters of this record by the last update. `None`: this group had not parked it.
    pub(super) fn standing(&self, group: Group, event_id: &str) -> Option<Standing> {
        self.known().standing(group, event_id)
    }

    /// Returns true if analytics had parked this event before the last update, and nobody had replayed or discarded it.
    pub(super) fn is_open_in_analytics(&self, event_id: &str) -> bool {
        self.standing(Group::Analytics, event_id) == Some(Standing::Open)
    }

    /// Returns true if a dead letter may be one that could not be read at the last update.
    pub(super) fn may_be_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self) -> Result<Arc<LetterReader>> {
        LetterReader::new(&self.kafka).context("the dead letters cannot be read")
    }
}

/// What was read about dead letters.
#[derive(Default)]
struct Known {
    /// Places of the letters, by group and id of the record.
    places: BTreeMap<Group, BTreeMap<String, BTreeMap<LetterId, FirstPlace>>>,
    /// Number of those places.
    letters: usize,
    /// What operators did with letters.
    history: History,
}

impl Known {
    /// Adds a letter, unless it is known: the letters of a failed read are read again.
    fn add(&mut self, letter: &Letter) {
        let group = letter.id.group;
        if self.is_full() || !GROUPS.contains(&group) {
            return;
        }
        let of_group = self.places.entry(group).or_default();
        let places = of_group.entry(letter.event_id.as_str().to_owned()).or_default();
        if places.insert(letter.id, letter.first.clone()).is_none() {
            self.letters += 1;
        }
    }

    fn is_full(&self) -> bool {
        self.letters >= LETTERS_MAX
    }

    fn standing(&self, group: Group, event_id: &str) -> Option<Standing> {
        let places = self.places.get(&group)?.get(event_id)?;
        let standings = places.iter().map(|(id, first)| standing_after(self.history.closed_by(*id, first)));
        // The same record appeared several times: who replays one of its letters wants its end, also if the others were discarded.
        standings.max_by_key(|standing| match standing {
            Standing::Open => (2, 0),
            Standing::Replayed { at_ms } => (1, *at_ms),
            Standing::Discarded => (0, 0),
        })
    }
}

/// Says what has become of a letter, by the action that closed it.
fn standing_after(closed_by: Option<&Action>) -> Standing {
    let Some(action) = closed_by else { return Standing::Open };
    match action.action {
        ActionKind::Discard => Standing::Discarded,
        ActionKind::Replay => {
            // A time that cannot be read was long ago: it excuses nothing.
            let at = OffsetDateTime::parse(&action.at, &Rfc3339).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            Standing::Replayed { at_ms: at.unix_timestamp().saturating_mul(1_000) }
        }
    }
}

#[cfg(test)]
mod tests {
    use contracts::Topic;
    use serde_json::json;

    use super::*;

    fn letter(group: Group, offset: i64) -> Letter {
        letter_of_copy(group, offset, "7")
    }

    /// A letter of the record at this offset of the first topic.
    fn letter_of_copy(group: Group, offset: i64, first: &str) -> Letter {
        let id = LetterId { group, topic: Topic::BetsEvents, partition: 0, offset };
        let headers = [
            ("ce_id", "e-1"),
            ("dlq-original-topic", Topic::BetsEvents.name()),
            ("dlq-original-partition", "2"),
            ("dlq-original-offset", first),
        ];
        Letter::example(id, 1_000, &headers, "{}")
    }

    /// Time of each action.
    const AT: &str = "2026-11-28T18:00:00Z";

    /// An action on the letter of a group at this offset, as it is read from the topic.
    fn action(group: Group, kind: &str, offset: i64) -> Action {
        let topic = Topic::BetsEvents;
        let action = json!({
            "action": kind, "by": "ann", "at": AT, "group": group.as_str(), "event_id": "e-1",
            "letter": { "topic": topic.dlq(group), "partition": 0, "offset": offset },
            "first": { "topic": topic.name(), "partition": 2, "offset": 7 },
        });
        serde_json::from_value(action).unwrap()
    }

    #[test]
    fn replay_counts_beside_discarded_copies() {
        let (group, mut known) = (Group::Payment, Known::default());
        known.add(&letter(group, 5));
        known.add(&letter_of_copy(group, 6, "8"));
        let mut discard = action(group, "discard", 6);
        discard.first.offset = 8;
        known.history.extend([action(group, "replay", 5), discard]);
        assert!(matches!(known.standing(group, "e-1"), Some(Standing::Replayed { .. })));
    }

    #[test]
    fn letter_that_is_read_again_counts_once() {
        let mut known = Known::default();
        for offset in [5, 6, 5, 6] {
            known.add(&letter(Group::Payment, offset));
        }
        assert_eq!(known.letters, 2);
        assert_eq!(known.places[&Group::Payment]["e-1"].len(), 2);
    }

    #[test]
    fn letter_of_its_own_group_has_a_standing() {
        for group in GROUPS {
            let mut known = Known::default();
            let others = [Group::Game, Group::Payment, Group::Analytics, Group::Notification, Group::Gateway];
            others.iter().filter(|other| **other != group).for_each(|other| known.add(&letter(*other, 3)));
            assert_eq!(known.standing(group, "e-1"), None, "of other groups");
            known.add(&letter(group, 5));
            assert_eq!(known.standing(group, "e-1"), Some(Standing::Open));
            assert_eq!(known.standing(group, "e-2"), None);
            known.history.extend([action(group, "replay", 5)]);
            let at_ms = OffsetDateTime::parse(AT, &Rfc3339).unwrap().unix_timestamp() * 1_000;
            assert_eq!(known.standing(group, "e-1"), Some(Standing::Replayed { at_ms }));
            known.add(&letter(group, 6));
            assert_eq!(known.standing(group, "e-1"), Some(Standing::Open), "it came back");
            known.history.extend([action(group, "discard", 6)]);
            assert_eq!(known.standing(group, "e-1"), Some(Standing::Discarded));
        }
    }
}
