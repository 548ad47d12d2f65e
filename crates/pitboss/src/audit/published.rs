//! Records of the topics, read outside every group: once from the mark on, and on to the present ends when a check needs that.
//!
//! Of each event only a digest and its place stay in memory, about a hundred bytes. There is a limit to their number. Beyond it,
//! what is not known counts as not checkable.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bus::{Ranges, Record, TopicReader};
use contracts::{Event, EventType, Group, Topic};
use runtime::RuntimeError;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::mark::Mark;
use super::statement::key;
use super::tally::Subject;
use super::window::{Begin, CLOCKS_DIFFER_MS_MAX, Window};

/// Topics that are read, with the group whose progress limits how far.
pub(super) const TOPICS: [(Topic, Option<Group>); 4] = [
    (Topic::BetsCommands, Some(Group::Game)),
    (Topic::PaymentsCommands, Some(Group::Payment)),
    (Topic::PaymentsEvents, None),
    (Topic::BetsEvents, None),
];
/// Topics whose events are kept in memory.
const EVENTS: [Topic; 2] = [Topic::PaymentsEvents, Topic::BetsEvents];
/// Number of records that are read at a time.
const RECORDS_AT_ONCE: usize = 5_000;
/// Length of the range in which single records are looked for at a time.
const PLACES_RANGE: i64 = 1_000;
/// Time limit for reading that many.
const DEADLINE: Duration = Duration::from_secs(30);
/// Age of the last read after which the topics are read on while documents are examined.
const UPDATE_AFTER_MS: i64 = 5_000;
/// Largest number of events, and of players, that are kept.
const EVENTS_MAX: usize = 2_000_000;

/// Digest of the type and the value of a record.
pub(super) type Digest = [u8; 16];

/// An event on its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    topic: Topic,
    partition: i32,
    offset: i64,
    digest: Digest,
}

impl Seen {
    fn subject(&self) -> Subject {
        Subject::record(self.topic.name(), self.partition, self.offset)
    }
}

/// Knowledge about the event of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It is on its topic, here.
    Published(Subject, Digest),
    /// It is not on its topic.
    Missing,
    /// The document is older than what is read, so an earlier audit looked for it.
    Earlier,
    /// The broker may have deleted it.
    Deleted,
    /// It may be among the records that an open transaction holds back.
    Held {
        /// The document is older than what is read.
        is_earlier: bool,
    },
}

/// Comparison of a new record with the earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sighting {
    /// Another record has this id and another content.
    pub(super) other_content: Option<Subject>,
    /// The event appears for the first time.
    pub(super) is_first: bool,
}

#[derive(Debug, Default)]
struct State {
    windows: BTreeMap<Topic, Window>,
    events: HashMap<Uuid, Seen>,
    /// Number of the newest wager of each player.
    newest: HashMap<Uuid, i64>,
    is_full: bool,
    /// Store's time before the event topics were read the last time. What was published before it is known.
    read_at_ms: i64,
}

/// Records of the topics.
pub(super) struct Published {
    reader: Arc<TopicReader>,
    records_read: Arc<AtomicU64>,
    since_ms: Option<i64>,
    settled_ms: i64,
    state: Mutex<State>,
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published").field("since_ms", &self.since_ms).finish_non_exhaustive()
    }
}

impl Published {
    /// Opens the topics from the mark to their present ends. `started_ms` is the store's time now, and `settled_ms` the time from
    /// which the next audit reads.
    ///
    /// # Errors
    /// When the broker does not answer, or has not all topics. Events that are nowhere would count as deleted.
    pub(super) async fn open(
        kafka: &bus::Config,
        from: &Mark,
        (started_ms, settled_ms): (i64, i64),
        records_read: Arc<AtomicU64>,
    ) -> Result<Self> {
        let reader = TopicReader::new(kafka).context("the topics cannot be read")?;
        let mut windows = BTreeMap::new();
        for (topic, _) in TOPICS {
            let (extents, held) =
                reader.extents_and_held(topic).await.map_err(|error| unreadable(kafka, &error))?;
            if extents.is_empty() {
                return Err(missing(topic, kafka).into());
            }
            let of_time = match from.since_ms {
                Some(since_ms) => {
                    let since_ms = since_ms.saturating_sub(CLOCKS_DIFFER_MS_MAX);
                    Some(reader.offsets_at(topic, &extents, since_ms).await?)
                }
                None => None,
            };
            let begin = match (from.offsets.get(topic.name()), of_time) {
                (Some(offsets), of_time) => {
                    Begin::Mark { offsets: offsets.clone(), of_time: of_time.unwrap_or_default() }
                }
                (None, Some(of_time)) => Begin::Time(of_time),
                (None, None) => Begin::Oldest,
            };
            let mut window = Window::new(&extents, &begin);
            window.set_held(held);
            windows.insert(topic, window);
        }
        let state = Mutex::new(State { windows, read_at_ms: started_ms, ..State::default() });
        let settled_ms = settled_ms.saturating_sub(CLOCKS_DIFFER_MS_MAX);
        Ok(Self { reader, records_read, since_ms: from.since_ms, settled_ms, state })
    }

    /// Leaves out the records that a group has not completed, and returns their number.
    pub(super) async fn leave_out_unread(&self, group: Group, topic: Topic) -> Result<u64> {
        let extents = self.reader.extents(topic).await?;
        let committed = self.reader.committed(group, topic, &extents).await?;
        Ok(self.state().windows.get_mut(&topic).map_or(0, |window| window.limit(&committed)))
    }

    /// Reads the next records of a topic. `None`: everything was read.
    pub(super) async fn chunk(&self, topic: Topic) -> Result<Option<Vec<Record>>> {
        let requested = {
            let mut state = self.state();
            let Some(window) = state.windows.get_mut(&topic) else { return Ok(None) };
            let unread = window.unread();
            if unread.is_empty() {
                window.close();
                return Ok(None);
            }
            unread
        };
        let read = self.reader.read(topic, requested.clone(), RECORDS_AT_ONCE, DEADLINE).await;
        let bus::Chunk { records, left } = read.with_context(|| format!("{topic} cannot be read"))?;
        // After the records, because the broker may delete before the reader gets there.
        let extents = self.reader.extents(topic).await?;
        if let Some(window) = self.state().windows.get_mut(&topic) {
            window
                .advance(&requested, (&left, records.as_slice()), &extents, self.settled_ms)
                .with_context(|| format!("{topic} changed while it was read"))?;
        }
        self.records_read.fetch_add(u64::try_from(records.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(Some(records))
    }

    /// Reads the event topics on to their present ends, at the store's time `now_ms`. The records are only registered, and the next
    /// audit examines them.
    pub(super) async fn update(&self, now_ms: i64) -> Result<()> {
        for topic in EVENTS {
            let (extents, held) = self.reader.extents_and_held(topic).await?;
            if let Some(window) = self.state().windows.get_mut(&topic) {
                window.extend(&extents).with_context(|| format!("{topic} changed while it was read"))?;
                window.set_held(held);
            }
            while let Some(records) = self.chunk(topic).await? {
                for record in &records {
                    if let Ok(event) = Event::decode(&record.view()) {
                        self.register(topic, record, &event);
                    }
                }
            }
        }
        self.state().read_at_ms = now_ms;
        Ok(())
    }

    /// Does the same if the last read is some time ago.
    pub(super) async fn update_if_due(&self, now_ms: i64) -> Result<()> {
        if now_ms.saturating_sub(self.read_at_ms()) < UPDATE_AFTER_MS {
            return Ok(());
        }
        self.update(now_ms).await
    }

    /// Returns the store's time before which everything that was published is known.
    pub(super) fn read_at_ms(&self) -> i64 {
        self.state().read_at_ms
    }

    /// Returns true if an event with this id was read.
    pub(super) fn has(&self, event_id: &str) -> bool {
        self.state().events.contains_key(&key(event_id))
    }

    /// Reads single records again. Those that the broker has deleted are left out.
    pub(super) async fn records_at(
        &self,
        topic: Topic,
        mut places: BTreeMap<i32, BTreeSet<i64>>,
    ) -> Result<Vec<Record>> {
        let extents = self.reader.extents(topic).await?;
        let mut found = Vec::new();
        while !places.is_empty() {
            let ranges = next_ranges(&places);
            let inside = ranges.iter().filter_map(|(partition, range)| {
                let extent = extents.get(partition)?;
                let range = range.start.max(extent.start)..range.end.min(extent.end);
                (!range.is_empty()).then_some((*partition, range))
            });
            let read = self.reader.read(topic, inside.collect(), usize::MAX, DEADLINE).await;
            let records = read.with_context(|| format!("{topic} cannot be read"))?.records;
            let is_wanted = |record: &Record| {
                places.get(&record.partition).is_some_and(|offsets| offsets.contains(&record.offset))
            };
            found.extend(records.into_iter().filter(is_wanted));
            for (partition, range) in &ranges {
                if let Some(offsets) = places.get_mut(partition) {
                    offsets.retain(|offset| *offset >= range.end);
                }
            }
            places.retain(|_, offsets| !offsets.is_empty());
        }
        Ok(found)
    }

    /// Keeps an event, the first record of each id.
    pub(super) fn register(&self, topic: Topic, record: &Record, event: &Event) -> Sighting {
        let mut state = self.state();
        if state.events.len() >= EVENTS_MAX {
            state.is_full = true;
            return Sighting::default();
        }
        let digest = digest(event.event_type().as_str(), &record.value);
        let own = Seen { topic, partition: record.partition, offset: record.offset, digest };
        let first = *state.events.entry(key(event.id.as_str())).or_insert(own);
        Sighting {
            other_content: (first.digest != digest && has_one_content(event.event_type()))
                .then(|| first.subject()),
            is_first: first == own,
        }
    }

    /// Registers the number of a player's wager that appears for the first time. Returns the number of a newer wager whose record
    /// came before, if there is one.
    pub(super) fn newer_before(&self, topic: Topic, record: &Record, event: &Event, seq: i64) -> Option<i64> {
        let mut state = self.state();
        let at_ms = i64::try_from(event.time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MIN);
        let window = state.windows.get(&topic)?;
        if !window.has_first_appearance(record.partition, at_ms) || state.newest.len() >= EVENTS_MAX {
            return None;
        }
        let newest = state.newest.entry(key(event.player_id())).or_insert(seq);
        if *newest > seq {
            return Some(*newest);
        }
        *newest = seq;
        None
    }

    /// Looks for the event of a document of a player that is of this time.
    pub(super) fn presence(&self, topic: Topic, event_id: &str, player_id: &str, at_ms: i64) -> Presence {
        let state = self.state();
        if let Some(seen) = state.events.get(&key(event_id)) {
            return Presence::Published(seen.subject(), seen.digest);
        }
        let window = state.windows.get(&topic);
        let is_deleted = window.is_none_or(|window| window.may_be_deleted(player_id, at_ms));
        let is_earlier = self.since_ms.is_some_and(|since_ms| at_ms < since_ms);
        if is_deleted || state.is_full {
            Presence::Deleted
        } else if window.is_some_and(|window| window.may_be_held(player_id)) {
            Presence::Held { is_earlier }
        } else if is_earlier {
            Presence::Earlier
        } else {
            Presence::Missing
        }
    }

    /// Returns true if an open transaction may hold back a record of this player on any topic. What follows from that record is
    /// missing then, however long ago it was published.
    pub(super) fn may_be_held(&self, player_id: &str) -> bool {
        self.state().windows.values().any(|window| window.may_be_held(player_id))
    }

    /// Returns the number of records that open transactions held back when the topics were read last, by topic.
    pub(super) fn held(&self) -> BTreeMap<String, u64> {
        let state = self.state();
        let counts = state.windows.iter().map(|(topic, window)| (topic.name().to_owned(), window.held()));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Returns true for a record that the audit reads in any case.
    pub(super) fn is_in_window(&self, topic: Topic, partition: i32, offset: i64) -> bool {
        self.state().windows.get(&topic).is_some_and(|window| window.contains(partition, offset))
    }

    /// Returns the offsets at which the next audit begins, by topic.
    pub(super) fn marks(&self) -> BTreeMap<String, BTreeMap<i32, i64>> {
        let state = self.state();
        state.windows.iter().map(|(topic, window)| (topic.name().to_owned(), window.marks())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unreadable(kafka: &bus::Config, error: &bus::ClientError) -> RuntimeError {
    RuntimeError::Missing {
        what: format!("the topics cannot be read at {}: {error}", kafka.bootstrap_servers),
        advice: "see ./pitboss status. The audit reads the broker itself, at its port on the gateway's host"
            .to_owned(),
    }
}

fn missing(topic: Topic, kafka: &bus::Config) -> RuntimeError {
    RuntimeError::Missing {
        what: format!("there is no topic {topic} at {}", kafka.bootstrap_servers),
        advice: "see ./pitboss status. ./pitboss up creates the topics".to_owned(),
    }
}

/// Returns the digest of a record.
pub(super) fn digest(event_type: &str, value: &[u8]) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(event_type.as_bytes());
    // No type has a zero byte in its name.
    hasher.update([0]);
    hasher.update(value);
    let mut digest = Digest::default();
    digest.iter_mut().zip(hasher.finalize().iter()).for_each(|(to, from)| *to = *from);
    digest
}

/// Two commands of different types, or of two players, may use the id of a third one. Their reports have one id.
fn has_one_content(event_type: EventType) -> bool {
    !matches!(event_type, EventType::CommandConflict | EventType::BetConflict)
}

/// Returns one range for each partition, from its first place on.
fn next_ranges(places: &BTreeMap<i32, BTreeSet<i64>>) -> Ranges {
    let range = |(partition, offsets): (&i32, &BTreeSet<i64>)| {
        let first = *offsets.first()?;
        let last = *offsets.range(..first.saturating_add(PLACES_RANGE)).next_back()?;
        Some((*partition, first..last.saturating_add(1)))
    };
    places.iter().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_in_ranges_of_bounded_length() {
        let places = BTreeMap::from([(0, BTreeSet::from([3, 900, 5_000])), (1, BTreeSet::from([7]))]);
        assert_eq!(next_ranges(&places), Ranges::from([(0, 3..901), (1, 7..8)]));
    }

    #[test]
    fn event_behind_open_transaction_is_not_missing() {
        // There are records before the window, so nothing that belongs to it is deleted.
        let begin = Begin::Time(BTreeMap::from([(0, 5)]));
        let window = Window::new(&Ranges::from([(0, 4..9)]), &begin);
        let windows = BTreeMap::from([(Topic::BetsEvents, window)]);
        let published = Published {
            reader: TopicReader::new(&bus::Config::default()).unwrap(),
            records_read: Arc::default(),
            since_ms: Some(50_000),
            settled_ms: 50_000,
            state: Mutex::new(State { windows, ..State::default() }),
        };
        let presence = |at_ms| published.presence(Topic::BetsEvents, "e-1", "ada", at_ms);
        assert_eq!((presence(60_000), presence(40_000)), (Presence::Missing, Presence::Earlier));
        assert!(published.held().is_empty() && !published.may_be_held("ada"));
        published.state().windows.get_mut(&Topic::BetsEvents).unwrap().set_held(bus::Held::from([(0, 3)]));
        assert_eq!(presence(60_000), Presence::Held { is_earlier: false });
        assert_eq!(presence(40_000), Presence::Held { is_earlier: true });
        assert!(published.may_be_held("ada"));
        assert_eq!(published.held(), BTreeMap::from([(Topic::BetsEvents.name().to_owned(), 3)]));
    }

    #[test]
    fn digest_is_of_type_and_value() {
        let one = digest("a", b"b");
        assert_eq!(one, digest("a", b"b"));
        assert!(one != digest("ab", b"") && one != digest("a", b"c") && one != Digest::default());
    }

    #[test]
    fn conflicts_may_share_an_id() {
        assert!(has_one_content(EventType::BetSettled) && !has_one_content(EventType::BetConflict));
    }
}
