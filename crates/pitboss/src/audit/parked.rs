//! Records that are dead letters, read only when a check needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bus::letter::{FirstPlace, History, Keep, Letter, LetterId, LetterReader, Limits};
use contracts::Group;
use tokio::sync::OnceCell;

/// Time limit for reading all dead letters.
const READ_DEADLINE: Duration = Duration::from_secs(30);
/// Largest number of ids that are kept, and of places of letters.
const IDS_MAX: usize = 200_000;

/// Dead letters of all groups.
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
            bail!("there are {IDS_MAX} dead letters or more, which is too many for one audit");
        }
        Ok(())
    }

    /// Returns true if the record with this id was parked before the last update.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.known().ids.contains(id)
    }

    /// Returns true if analytics had parked this event before the last update, and nobody had replayed or discarded it.
    pub(super) fn is_open_in_analytics(&self, event_id: &str) -> bool {
        self.known().is_open_in_analytics(event_id)
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
    /// Ids of the records.
    ids: BTreeSet<String>,
    /// Places of the letters of analytics, by the id of the event.
    of_analytics: BTreeMap<String, Vec<(LetterId, FirstPlace)>>,
    /// Number of those places.
    places: usize,
    /// What operators did with letters.
    history: History,
}

impl Known {
    fn add(&mut self, letter: &Letter) {
        if self.is_full() {
            return;
        }
        let event_id = letter.event_id.as_str();
        self.ids.insert(event_id.to_owned());
        if letter.id.group == Group::Analytics {
            let places = self.of_analytics.entry(event_id.to_owned()).or_default();
            places.push((letter.id, letter.first.clone()));
            self.places += 1;
        }
    }

    fn is_full(&self) -> bool {
        self.ids.len() >= IDS_MAX || self.places >= IDS_MAX
    }

    fn is_open_in_analytics(&self, event_id: &str) -> bool {
        let mut places = self.of_analytics.get(event_id).into_iter().flatten();
        places.any(|(id, first)| self.history.is_open_at(*id, first))
    }
}

#[cfg(test)]
mod tests {
    use bus::letter::Action;
    use contracts::Topic;
    use serde_json::json;

    use super::*;

    fn letter(group: Group, offset: i64) -> Letter {
        let id = LetterId { group, topic: Topic::BetsEvents, partition: 0, offset };
        let headers = [
            ("ce_id", "e-1"),
            ("dlq-original-topic", Topic::BetsEvents.name()),
            ("dlq-original-partition", "2"),
            ("dlq-original-offset", "7"),
        ];
        Letter::example(id, 1_000, &headers, "{}")
    }

    /// An action on the letter of analytics at this offset, as it is read from the topic.
    fn action(kind: &str, offset: i64) -> Action {
        let topic = Topic::BetsEvents;
        let action = json!({
            "action": kind, "by": "ann", "at": "2026-11-28T18:00:00Z", "group": "analytics", "event_id": "e-1",
            "letter": { "topic": topic.dlq(Group::Analytics), "partition": 0, "offset": offset },
            "first": { "topic": topic.name(), "partition": 2, "offset": 7 },
        });
        serde_json::from_value(action).unwrap()
    }

    #[test]
    fn only_open_letter_of_analytics_explains() {
        let mut known = Known::default();
        known.add(&letter(Group::Notification, 3));
        assert!(known.ids.contains("e-1") && !known.is_open_in_analytics("e-1"), "of another group");
        known.add(&letter(Group::Analytics, 5));
        assert!(known.is_open_in_analytics("e-1") && !known.is_open_in_analytics("e-2"));
        known.history.extend([action("replay", 5)]);
        assert!(!known.is_open_in_analytics("e-1"), "it was replayed");
        known.add(&letter(Group::Analytics, 6));
        assert!(known.is_open_in_analytics("e-1"), "it came back");
        known.history.extend([action("discard", 6)]);
        assert!(!known.is_open_in_analytics("e-1"), "it was discarded");
    }
}
