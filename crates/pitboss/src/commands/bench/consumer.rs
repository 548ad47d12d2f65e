//! The two services that decide about a bet, as consumers that a benchmark stops or kills.

use std::fmt;

use clap::ValueEnum;
use contracts::{Group, Topic};
use serde::Serialize;

/// A consumer of the platform that publishes one record for each that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Consumer {
    /// Decides bets.
    Game,
    /// Maintains the ledger.
    Payment,
}

impl Consumer {
    /// Its group. The service has the same name.
    pub(super) const fn group(self) -> Group {
        match self {
            Self::Game => Group::Game,
            Self::Payment => Group::Payment,
        }
    }

    /// Name of its service.
    pub(super) const fn as_str(self) -> &'static str {
        self.group().as_str()
    }

    /// Topic of its commands.
    pub(super) const fn reads(self) -> Topic {
        match self {
            Self::Game => Topic::BetsCommands,
            Self::Payment => Topic::PaymentsCommands,
        }
    }

    /// Topic of what it publishes for a bet's command.
    pub(super) const fn publishes(self) -> Topic {
        match self {
            Self::Game => Topic::PaymentsCommands,
            Self::Payment => Topic::PaymentsEvents,
        }
    }

    /// Number of its writes to the store for a bet's command, all of them before it publishes.
    pub(super) const fn store_writes(self) -> u8 {
        match self {
            Self::Game => 1,
            Self::Payment => 2,
        }
    }
}

impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::edges;

    /// Number of edges of a bet in this service whose destination begins with one of these words.
    fn edges_of(consumer: Consumer, op: &str, words: &[&str]) -> usize {
        let is_wanted = |edge: &&edges::Edge| {
            edge.service == consumer.as_str()
                && edge.op == op
                && edge.min > 0
                && words.iter().any(|word| edge.destination.starts_with(word))
        };
        edges::expected().iter().filter(is_wanted).count()
    }

    #[test]
    fn writes_and_topics_are_those_of_a_bet() {
        // The other write of game is that of payment's answer.
        let writes = edges_of(Consumer::Game, "db", &["insert"]);
        assert_eq!(writes, usize::from(Consumer::Game.store_writes()));
        let writes = edges_of(Consumer::Payment, "db", &["insert", "update", "findAndModify"]);
        assert_eq!(writes, usize::from(Consumer::Payment.store_writes()));
        for consumer in [Consumer::Game, Consumer::Payment] {
            assert_eq!(edges_of(consumer, "queue.process", &[consumer.reads().name()]), 1);
            assert_eq!(edges_of(consumer, "queue.publish", &[consumer.publishes().name()]), 1);
            assert!(consumer.group().reads().contains(&consumer.reads()));
        }
    }
}
