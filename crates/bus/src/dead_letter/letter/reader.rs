//! Reader of the dead letters of all groups and of the actions on them, outside any group.
//!
//! A read goes from the place where the last one ended to the ends that the partitions have when it begins. It is bounded in
//! number, bytes and time. Nothing is committed, so any number of readers see all letters. A read that fails has not happened: the
//! next one begins in the same place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use contracts::Group;
use contracts::topics::DLQ_ACTIONS;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{Action, Letter, LetterPlace};
use crate::config::Config;
use crate::consumer::context::offsets_of;
use crate::error::ClientError;
use crate::offsets::NextOffset;
use crate::outside::{Outside, POLL};
use crate::partitions::TopicPartition;
use crate::record::Record;

/// Maximum number of letters whose actions one read returns. Those with the oldest actions are left out.
const HANDLED_MAX: usize = 100_000;

/// Letters that are kept when there are more than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those that were parked first, for work that goes through all of them in order.
    Oldest,
    /// Those that were parked last, for a list.
    Newest,
}

/// Bounds of one read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of letters.
    pub letters_max: usize,
    /// Maximum memory of the letters together.
    pub bytes_max: usize,
    /// Time after which the read ends incomplete.
    pub deadline: Duration,
    /// Which letters are kept.
    pub keep: Keep,
}

/// Result of one read.
#[derive(Debug, Default)]
pub struct Letters {
    /// The letters, in the order in which they were parked.
    pub letters: Vec<Letter>,
    /// Number of further letters that the limits left out.
    pub left_out: u64,
    /// The time was too short to read everything.
    pub is_incomplete: bool,
    /// Number of records of these topics that open transactions of other producers hold back. Nobody can read them yet.
    pub held: u64,
}

/// Result of one read of the actions.
#[derive(Debug, Default)]
pub struct Actions {
    /// The newest action on each letter, in their order.
    pub actions: Vec<Action>,
    /// Number of records of the topic that open transactions of other producers hold back. With any, a letter that was replayed or
    /// discarded may seem to be open.
    pub held: u64,
}

/// Offsets where the next read of each partition begins.
type Positions = BTreeMap<TopicPartition, i64>;

/// What one read of a topic reached.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    is_complete: bool,
    held: u64,
}

/// Reads dead letters and actions outside every group.
pub struct LetterReader {
    outside: Outside,
    /// The lock also allows only one read at a time, because the client has one assignment.
    next: Mutex<Positions>,
}

impl LetterReader {
    /// Creates a reader that begins with the oldest letter. It connects in the background.
    pub fn new(config: &Config) -> Result<Arc<Self>, ClientError> {
        Ok(Arc::new(Self { outside: Outside::new(config)?, next: Mutex::default() }))
    }

    /// Reads the letters that arrived since the last successful read and that are `wanted`, which is asked again about those of a
    /// failed read.
    pub async fn letters(
        self: &Arc<Self>,
        limits: Limits,
        wanted: impl Fn(&Letter) -> bool + Send + 'static,
    ) -> Result<Letters, ClientError> {
        let reader = Arc::clone(self);
        let read = telemetry::spawn_blocking(move || {
            reader.all_or_nothing(|next| reader.letters_blocking(next, limits, &wanted))
        });
        read.await.unwrap_or(Err(ClientError::Cancelled { doing: "reading dead letters" }))
    }

    /// Reads the newest action on each letter since the last successful read, in their order. Records that are not actions are
    /// skipped.
    ///
    /// # Errors
    /// Also when the time was too short: with a part of the actions, a letter that was discarded would seem to be open.
    pub async fn actions(self: &Arc<Self>, deadline: Duration) -> Result<Actions, ClientError> {
        let reader = Arc::clone(self);
        let read = telemetry::spawn_blocking(move || {
            let until = Instant::now() + deadline;
            reader.all_or_nothing(|next| {
                let mut newest = Newest::new(HANDLED_MAX);
                let reached = reader.read(next, DLQ_ACTIONS, until, &mut |record| {
                    if let Ok(action) = serde_json::from_slice::<Action>(&record.value) {
                        newest.add(action);
                    }
                })?;
                if !reached.is_complete {
                    let source = KafkaError::Global(RDKafkaErrorCode::OperationTimedOut);
                    return Err(ClientError::Kafka { doing: "reading actions on dead letters", source });
                }
                Ok(Actions { actions: newest.into_actions(), held: reached.held })
            })
        });
        read.await.unwrap_or(Err(ClientError::Cancelled { doing: "reading actions on dead letters" }))
    }

    /// Runs a read. Only if it succeeds, the next one begins behind it: the caller of a failed one gets nothing of what it has read.
    fn all_or_nothing<T>(
        &self,
        read: impl FnOnce(&mut Positions) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reached = next.clone();
        let result = read(&mut reached)?;
        *next = reached;
        Ok(result)
    }

    fn letters_blocking(
        &self,
        next: &mut Positions,
        limits: Limits,
        wanted: &dyn Fn(&Letter) -> bool,
    ) -> Result<Letters, ClientError> {
        let until = Instant::now() + limits.deadline;
        let mut kept = Kept::new(limits);
        let (mut is_incomplete, mut held) = (false, 0_u64);
        for group in Group::ALL {
            for topic in group.reads() {
                let reached = self.read(next, &topic.dlq(*group), until, &mut |record| {
                    if let Some(letter) = Letter::of(record).filter(|letter| wanted(letter)) {
                        kept.add(letter);
                    }
                })?;
                is_incomplete |= !reached.is_complete;
                held += reached.held;
            }
        }
        let left_out = kept.left_out;
        Ok(Letters { letters: kept.letters.into_values().collect(), left_out, is_incomplete, held })
    }

    /// Reads one topic from `next` on, which moves, up to its present last stable offsets. A missing topic is empty.
    fn read(
        &self,
        next: &mut Positions,
        topic: &str,
        until: Instant,
        each: &mut dyn FnMut(Record),
    ) -> Result<Reached, ClientError> {
        const DOING: &str = "reading a topic";
        let Unread { mut ends, starts, held } = self.unread(topic, next)?;
        if starts.is_empty() {
            return Ok(Reached { is_complete: true, held });
        }
        let positions = starts.iter().map(|(partition, start)| (partition, NextOffset(*start)));
        let (client, names) = (self.outside.records()?, self.outside.names());
        let list = offsets_of(positions, names).map_err(ClientError::kafka(DOING))?;
        client.assign(&list).map_err(ClientError::kafka(DOING))?;
        while !ends.is_empty() && Instant::now() < until {
            match client.poll(POLL) {
                Some(Ok(message)) => {
                    let record = Record::from_message(&message, names);
                    let (partition, following) = (record.partition, record.offset.saturating_add(1));
                    // Records behind the end are left to the next read
                    let Some(end) = ends.get(&partition).copied().filter(|end| following <= *end) else {
                        ends.remove(&partition);
                        continue;
                    };
                    next.insert(TopicPartition::new(topic, partition), following);
                    if following == end {
                        ends.remove(&partition);
                    }
                    each(record);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    ends.remove(&partition);
                }
                // librdkafka repeats the request by itself until the deadline
                Some(Err(error)) => tracing::debug!("a topic could not be read yet: {error}"),
                None => {}
            }
        }
        client.unassign().map_err(ClientError::kafka(DOING))?;
        Ok(Reached { is_complete: ends.is_empty(), held })
    }

    /// Finds the partitions with unread records, and counts the records that cannot be read yet.
    fn unread(&self, topic: &str, next: &Positions) -> Result<Unread, ClientError> {
        let (extents, held) = self.outside.extents_and_held(topic)?;
        let mut unread = Unread { held: held.values().sum(), ..Unread::default() };
        for (partition, extent) in extents {
            let key = TopicPartition::new(topic, partition);
            let start = next.get(&key).copied().unwrap_or(extent.start).max(extent.start);
            if start < extent.end {
                unread.ends.insert(partition, extent.end);
                unread.starts.push((key, start));
            }
        }
        Ok(unread)
    }
}

/// Partitions of one topic with unread records.
#[derive(Debug, Default)]
struct Unread {
    /// Last stable offset of each, by its number.
    ends: BTreeMap<i32, i64>,
    /// Offsets where the read begins.
    starts: Vec<(TopicPartition, i64)>,
    /// Number of records in all partitions that cannot be read yet.
    held: u64,
}

/// Order of a letter: its time, and its place where times are equal.
type Order = (i64, super::LetterId);

/// Letters within the limits.
struct Kept {
    limits: Limits,
    letters: BTreeMap<Order, Letter>,
    bytes: usize,
    left_out: u64,
}

impl Kept {
    fn new(limits: Limits) -> Self {
        Self { limits, letters: BTreeMap::new(), bytes: 0, left_out: 0 }
    }

    fn add(&mut self, letter: Letter) {
        self.bytes += letter.cost_bytes();
        self.letters.insert((letter.parked_at_ms.unwrap_or_default(), letter.id), letter);
        while self.letters.len() > self.limits.letters_max || self.bytes > self.limits.bytes_max {
            let removed = match self.limits.keep {
                Keep::Oldest => self.letters.pop_last(),
                Keep::Newest => self.letters.pop_first(),
            };
            let Some((_, removed)) = removed else { return };
            self.bytes = self.bytes.saturating_sub(removed.cost_bytes());
            self.left_out += 1;
        }
    }
}

/// The newest action on each letter, in the order of the actions.
struct Newest {
    letters_max: usize,
    /// Number of actions so far.
    count: u64,
    /// Number of the newest action on each letter.
    numbers: BTreeMap<LetterPlace, u64>,
    actions: BTreeMap<u64, Action>,
}

impl Newest {
    fn new(letters_max: usize) -> Self {
        Self { letters_max, count: 0, numbers: BTreeMap::new(), actions: BTreeMap::new() }
    }

    /// Adds an action, which replaces an earlier one on the same letter. The origin that the first one named stays.
    fn add(&mut self, mut action: Action) {
        self.count += 1;
        if let Some(earlier) = self.numbers.insert(action.letter.clone(), self.count)
            && let Some(earlier) = self.actions.remove(&earlier)
        {
            let own = action.origin.take();
            action.origin = earlier.origin.or(own);
        }
        self.actions.insert(self.count, action);
        if self.actions.len() > self.letters_max
            && let Some((_, oldest)) = self.actions.pop_first()
        {
            self.numbers.remove(&oldest.letter);
        }
    }

    fn into_actions(self) -> Vec<Action> {
        self.actions.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::letter;
    use super::super::{ActionKind, Note};
    use super::*;

    #[test]
    fn repeated_actions_keep_those_on_other_letters() {
        let act = |newest: &mut Newest, kind, offset, origin: &str| {
            let mut letter = letter(&[], "{}");
            letter.id.offset = offset;
            newest.add(Action::now(kind, &letter, &Note::new("ann", ""), None, Some(origin.to_owned())));
        };
        let mut newest = Newest::new(2);
        act(&mut newest, ActionKind::Replay, 1, "of 1");
        for number in 0..5 {
            act(&mut newest, ActionKind::Replay, 2, &format!("{number} of 2"));
        }
        act(&mut newest, ActionKind::Discard, 2, "later");
        let kept = |newest: Newest| -> Vec<(i64, ActionKind, Option<String>)> {
            let actions = newest.into_actions().into_iter();
            actions.map(|action| (action.letter.offset, action.action, action.origin)).collect()
        };
        assert_eq!(
            kept(newest),
            [
                (1, ActionKind::Replay, Some("of 1".to_owned())),
                (2, ActionKind::Discard, Some("0 of 2".to_owned()))
            ]
        );
        let mut full = Newest::new(2);
        for offset in [1, 2, 1, 3] {
            act(&mut full, ActionKind::Replay, offset, "");
        }
        let offsets: Vec<i64> = kept(full).into_iter().map(|(offset, ..)| offset).collect();
        assert_eq!(offsets, [1, 3], "the letter with the oldest action is left out");
    }

    fn kept(keep: Keep, letters_max: usize, bytes_max: usize) -> (Vec<i64>, u64) {
        let mut kept = Kept::new(Limits { letters_max, bytes_max, deadline: Duration::ZERO, keep });
        for (offset, parked_at_ms) in [(1, 30), (2, 10), (3, 20)] {
            let mut letter = letter(&[], "{}");
            letter.id.offset = offset;
            letter.parked_at_ms = Some(parked_at_ms);
            kept.add(letter);
        }
        (kept.letters.values().map(|letter| letter.id.offset).collect(), kept.left_out)
    }

    #[test]
    fn limits_keep_the_oldest_or_the_newest() {
        assert_eq!(kept(Keep::Oldest, 9, usize::MAX), (vec![2, 3, 1], 0));
        assert_eq!(kept(Keep::Oldest, 2, usize::MAX), (vec![2, 3], 1));
        assert_eq!(kept(Keep::Newest, 2, usize::MAX), (vec![3, 1], 1));
        let one = letter(&[], "{}").cost_bytes();
        assert_eq!(kept(Keep::Newest, 9, one), (vec![1], 2));
        assert_eq!(kept(Keep::Newest, 9, 1), (Vec::new(), 3));
    }
}
