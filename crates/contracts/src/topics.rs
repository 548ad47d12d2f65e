//! Topics and consumer groups, and the catalogue from which topics are created. The broker creates none by itself.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::Part;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// How much one record may weigh, on the broker and in the decoder.
pub const RECORD_BYTES_MAX: usize = 262_144;

/// A topic that events travel on. All are keyed by the player's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// What players want to bet.
    BetsCommands,
    /// What became of bets.
    BetsEvents,
    /// What the ledger is asked to do.
    PaymentsCommands,
    /// What the ledger decided.
    PaymentsEvents,
    /// Who players are and what they allow themselves.
    PlayersEvents,
}

impl Topic {
    /// Every topic there is.
    pub const ALL: &'static [Self] = &[
        Self::BetsCommands,
        Self::BetsEvents,
        Self::PaymentsCommands,
        Self::PaymentsEvents,
        Self::PlayersEvents,
    ];

    /// The name on the broker.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BetsCommands => "casino.bets.commands.v1",
            Self::BetsEvents => "casino.bets.events.v1",
            Self::PaymentsCommands => "casino.payments.commands.v1",
            Self::PaymentsEvents => "casino.payments.events.v1",
            Self::PlayersEvents => "casino.players.events.v1",
        }
    }

    /// How many partitions it has. More would move keys between partitions: a migration, not a setting.
    pub const fn partitions(self) -> i32 {
        6
    }

    /// How long records are kept.
    pub const fn retention_ms(self) -> i64 {
        match self {
            // A command is of use until it is decided; a week covers a long outage.
            Self::BetsCommands | Self::PaymentsCommands => 7 * DAY_MS,
            // Long enough to rebuild what is folded from them.
            Self::BetsEvents | Self::PaymentsEvents => 30 * DAY_MS,
            // Few records, each of which says who somebody is.
            Self::PlayersEvents => 90 * DAY_MS,
        }
    }

    /// Which of our services write to it. (The console may write to any.)
    pub const fn writers(self) -> &'static [Part] {
        match self {
            Self::BetsCommands => &[Part::Gateway],
            Self::BetsEvents => &[Part::Game],
            Self::PaymentsCommands => &[Part::Game, Part::Gateway, Part::Payment],
            Self::PaymentsEvents => &[Part::Payment],
            Self::PlayersEvents => &[Part::User],
        }
    }

    /// Where a group parks records of this topic that it cannot handle.
    pub fn dlq(self, group: Group) -> String {
        format!("{}.dlq.{}", self.name(), group.as_str())
    }

    /// Where a group keeps records of this topic that it will try again.
    pub fn retry(self, group: Group) -> String {
        format!("{}.retry.{}", self.name(), group.as_str())
    }

    /// The topic that a record belongs to by the name of where it was read, retry and dead-letter topics included.
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

/// The text is the name of none of our topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown topic")]
pub struct UnknownTopic;

impl FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|topic| topic.name() == text).ok_or(UnknownTopic)
    }
}

/// Who reads topics: the consumer groups, and the gateway, which has no group on the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// Decides bets.
    Game,
    /// Keeps the ledger.
    Payment,
    /// Keeps the players' history.
    User,
    /// Folds events into figures.
    Analytics,
    /// Sends messages to players.
    Notification,
    /// Answers waiting requests. Every instance reads all partitions from the end; the name is for dead letters.
    Gateway,
}

impl Group {
    /// Everybody who reads.
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

    /// What it reads.
    pub const fn reads(self) -> &'static [Topic] {
        match self {
            Self::Game => &[Topic::BetsCommands, Topic::PaymentsEvents],
            Self::Payment => &[Topic::PaymentsCommands, Topic::PlayersEvents],
            Self::User | Self::Gateway => &[Topic::BetsEvents, Topic::PaymentsEvents],
            Self::Analytics | Self::Notification => {
                &[Topic::BetsEvents, Topic::PaymentsEvents, Topic::PlayersEvents]
            }
        }
    }

    /// Whether it commits offsets on the broker.
    pub const fn commits(self) -> bool {
        !matches!(self, Self::Gateway)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is the id of none of our groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown consumer group")]
pub struct UnknownGroup;

impl FromStr for Group {
    type Err = UnknownGroup;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|group| group.as_str() == text).ok_or(UnknownGroup)
    }
}

/// One topic as it is created. Replication is the deployment's business and not in here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopicSpec {
    /// The name on the broker.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// The topic's settings, in the order of their names.
    pub configs: Vec<(String, String)>,
}

/// What the broker takes on our topics. More than [`RECORD_BYTES_MAX`], so that what we refuse is refused by us, with
/// a reason, and not by the broker.
const TOPIC_BYTES_MAX: usize = 2 * RECORD_BYTES_MAX;
/// What it takes as a dead letter: the largest record of a topic and the headers that say why it is there.
const DLQ_BYTES_MAX: usize = 8 * RECORD_BYTES_MAX;

/// Every topic that is created: those above and a dead-letter topic for each reader of each.
///
/// Retry topics have their names ([`Topic::retry`]) and are created together with the consumer that reads them.
pub fn catalogue() -> Vec<TopicSpec> {
    let mut specs: Vec<TopicSpec> = Topic::ALL
        .iter()
        .map(|topic| {
            let (name, partitions) = (topic.name().to_owned(), topic.partitions());
            spec(name, partitions, topic.retention_ms(), TOPIC_BYTES_MAX)
        })
        .collect();
    for group in Group::ALL {
        // Dead letters are few and read by people: one partition keeps their order; kept long enough to be looked at.
        specs
            .extend(group.reads().iter().map(|topic| spec(topic.dlq(*group), 1, 90 * DAY_MS, DLQ_BYTES_MAX)));
    }
    specs
}

fn spec(name: String, partitions: i32, retention_ms: i64, record_bytes_max: usize) -> TopicSpec {
    let configs = [
        ("cleanup.policy", "delete".to_owned()),
        ("max.message.bytes", record_bytes_max.to_string()),
        // A record's time is its producer's claim: with an event's time of last month, retention would delete an
        // acknowledged command before anybody read it (docs/adr/0009).
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("retention.ms", retention_ms.to_string()),
    ];
    TopicSpec {
        name,
        partitions,
        configs: configs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    }
}
