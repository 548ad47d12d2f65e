//! Topics and consumer groups, and the catalogue for creating topics. The broker does not create topics automatically.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::Part;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Largest size of one record, on the broker and in the decoder.
pub const RECORD_BYTES_MAX: usize = 262_144;

/// A topic for events. The player's id is the key of every record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Bets that players want to place.
    BetsCommands,
    /// Results of bets.
    BetsEvents,
    /// Commands to the ledger.
    PaymentsCommands,
    /// Decisions of the ledger.
    PaymentsEvents,
    /// Players, their status, limits and preferences.
    PlayersEvents,
    /// Items of facts, which only the fault `analytics.fan-out` publishes.
    AnalyticsItems,
}

impl Topic {
    /// All topics.
    pub const ALL: &'static [Self] = &[
        Self::BetsCommands,
        Self::BetsEvents,
        Self::PaymentsCommands,
        Self::PaymentsEvents,
        Self::PlayersEvents,
        Self::AnalyticsItems,
    ];

    /// The name on the broker.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BetsCommands => "casino.bets.commands.v1",
            Self::BetsEvents => "casino.bets.events.v1",
            Self::PaymentsCommands => "casino.payments.commands.v1",
            Self::PaymentsEvents => "casino.payments.events.v1",
            Self::PlayersEvents => "casino.players.events.v1",
            Self::AnalyticsItems => "casino.analytics.items.v1",
        }
    }

    /// Number of partitions. A change would move keys between partitions, so it needs a migration.
    pub const fn partitions(self) -> i32 {
        6
    }

    /// The time that the broker keeps records.
    pub const fn retention_ms(self) -> i64 {
        match self {
            // A command matters only until it is decided. A week covers a long outage.
            Self::BetsCommands | Self::PaymentsCommands => 7 * DAY_MS,
            // Long enough to rebuild the rollups of these events.
            Self::BetsEvents | Self::PaymentsEvents => 30 * DAY_MS,
            // Few records, which hold the players' personal data.
            Self::PlayersEvents => 90 * DAY_MS,
            // Nobody needs an item once it has been read.
            Self::AnalyticsItems => DAY_MS,
        }
    }

    /// Services that write to it. (The console may write to any topic.)
    pub const fn writers(self) -> &'static [Part] {
        match self {
            Self::BetsCommands => &[Part::Gateway],
            Self::BetsEvents => &[Part::Game],
            Self::PaymentsCommands => &[Part::Game, Part::Gateway, Part::Payment],
            Self::PaymentsEvents => &[Part::Payment],
            Self::PlayersEvents => &[Part::User],
            Self::AnalyticsItems => &[Part::Analytics],
        }
    }

    /// The topic where a group parks records of this topic that it cannot process.
    pub fn dlq(self, group: Group) -> String {
        format!("{}.dlq.{}", self.name(), group.as_str())
    }

    /// The topic where a group keeps records of this topic for a retry.
    pub fn retry(self, group: Group) -> String {
        format!("{}.retry.{}", self.name(), group.as_str())
    }

    /// Returns true for the name of a retry topic.
    pub fn is_retry(name: &str) -> bool {
        Self::ALL
            .iter()
            .any(|topic| name.strip_prefix(topic.name()).is_some_and(|rest| rest.starts_with(".retry.")))
    }

    /// The topic that a record belongs to, by the name of the topic it was read from (a retry or dead-letter topic too).
    pub fn of_record(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|topic| {
            name.strip_prefix(topic.name()).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with(".retry.") || rest.starts_with(".dlq.")
            })
        })
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is not the name of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown topic")]
pub struct UnknownTopic;

impl FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|topic| topic.name() == text).ok_or(UnknownTopic)
    }
}

/// A reader of topics: a consumer group, or the gateway, which has no group on the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// Decides bets.
    Game,
    /// Maintains the ledger.
    Payment,
    /// Maintains the players' history.
    User,
    /// Aggregates events into rollups.
    Analytics,
    /// Sends messages to players.
    Notification,
    /// Completes waiting requests. Every instance reads all partitions from the end. Only dead letters use the name.
    Gateway,
}

impl Group {
    /// All readers.
    pub const ALL: &'static [Self] =
        &[Self::Game, Self::Payment, Self::User, Self::Analytics, Self::Notification, Self::Gateway];

    /// The group's id on the broker.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Game => "game",
            Self::Payment => "payment",
            Self::User => "user",
            Self::Analytics => "analytics",
            Self::Notification => "notification",
            Self::Gateway => "gateway",
        }
    }

    /// The topics it reads.
    pub const fn reads(self) -> &'static [Topic] {
        match self {
            Self::Game => &[Topic::BetsCommands, Topic::PaymentsEvents],
            Self::Payment => &[Topic::PaymentsCommands, Topic::PlayersEvents],
            Self::User | Self::Gateway => &[Topic::BetsEvents, Topic::PaymentsEvents],
            Self::Analytics => {
                &[Topic::BetsEvents, Topic::PaymentsEvents, Topic::PlayersEvents, Topic::AnalyticsItems]
            }
            Self::Notification => &[Topic::BetsEvents, Topic::PaymentsEvents, Topic::PlayersEvents],
        }
    }

    /// Returns true if a record that keeps failing moves to a retry topic. Otherwise it is retried in its lane and never passed.
    ///
    /// The order of a player's records is lost then, so it is never true for a group that decides about money.
    pub const fn uses_retry_topics(self) -> bool {
        matches!(self, Self::Analytics | Self::Notification)
    }

    /// The retry topics that it reads besides [`Self::reads`].
    pub fn retry_topics(self) -> Vec<String> {
        if self.uses_retry_topics() {
            self.reads().iter().map(|topic| topic.retry(self)).collect()
        } else {
            Vec::new()
        }
    }

    /// Returns true if it commits offsets on the broker.
    pub const fn commits(self) -> bool {
        !matches!(self, Self::Gateway)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is not the id of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such consumer group: expected one of {}", known_groups())]
pub struct UnknownGroup;

fn known_groups() -> String {
    Group::ALL.iter().map(|group| group.as_str()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Group {
    type Err = UnknownGroup;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|group| group.as_str() == text).ok_or(UnknownGroup)
    }
}

/// Settings of a topic for its creation, except replication, which depends on the deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopicSpec {
    /// The name on the broker.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
    /// The topic's settings, in the order of their names.
    pub configs: Vec<(String, String)>,
}

/// The broker's record limit on Pitboss topics. It is above [`RECORD_BYTES_MAX`], so that the decoder and not the broker
/// refuses a large record, with a reason.
const TOPIC_BYTES_MAX: usize = 2 * RECORD_BYTES_MAX;
/// The broker's record limit on dead-letter and retry topics: a topic's largest record and the headers about the failure.
const DLQ_BYTES_MAX: usize = 8 * RECORD_BYTES_MAX;

/// The topic that keeps what operators did with dead letters. It has no events, and its keys are places of dead letters.
pub const DLQ_ACTIONS: &str = "casino.dlq.actions.v1";

/// Every topic to create: all of [`Topic::ALL`], [`DLQ_ACTIONS`], and the dead-letter and retry topics of each reader.
pub fn catalogue() -> Vec<TopicSpec> {
    let mut specs: Vec<TopicSpec> = Topic::ALL
        .iter()
        .map(|topic| {
            let (name, partitions) = (topic.name().to_owned(), topic.partitions());
            spec(name, partitions, topic.retention_ms(), TOPIC_BYTES_MAX)
        })
        .collect();
    for group in Group::ALL {
        // Dead letters are few, and people read them: one partition keeps their order, 90 days leave time to inspect them.
        specs
            .extend(group.reads().iter().map(|topic| spec(topic.dlq(*group), 1, 90 * DAY_MS, DLQ_BYTES_MAX)));
        // Records wait there in the order of their due times. One partition is enough for the few that fail.
        if group.uses_retry_topics() {
            let retry = |topic: &Topic| spec(topic.retry(*group), 1, topic.retention_ms(), DLQ_BYTES_MAX);
            specs.extend(group.reads().iter().map(retry));
        }
    }
    // One partition keeps their order. They are kept longer than any dead letter.
    specs.push(spec(DLQ_ACTIONS.to_owned(), 1, 365 * DAY_MS, TOPIC_BYTES_MAX));
    specs
}

/// The part of the [`catalogue`] that one group's service needs: what it reads and writes, and its dead-letter and retry topics.
///
/// A broker that is shared by many tests carries the topics of each, so each creates only its own.
pub fn catalogue_of(group: Group) -> Vec<TopicSpec> {
    let is_written = |topic: &Topic| topic.writers().iter().any(|part| part.as_str() == group.as_str());
    let is_wanted = |topic: &Topic| group.reads().contains(topic) || is_written(topic);
    let mut names: Vec<String> =
        Topic::ALL.iter().filter(|topic| is_wanted(topic)).map(|topic| topic.name().to_owned()).collect();
    names.extend(group.reads().iter().map(|topic| topic.dlq(group)));
    names.extend(group.retry_topics());
    catalogue().into_iter().filter(|spec| names.contains(&spec.name)).collect()
}

fn spec(name: String, partitions: i32, retention_ms: i64, record_bytes_max: usize) -> TopicSpec {
    let configs = [
        ("cleanup.policy", "delete".to_owned()),
        ("max.message.bytes", record_bytes_max.to_string()),
        // By default the producer chooses a record's time. With an event's time of last month, retention would delete an
        // acknowledged command before a consumer reads it (docs/adr/0009).
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("retention.ms", retention_ms.to_string()),
    ];
    TopicSpec {
        name,
        partitions,
        configs: configs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    }
}
