//! Arguments of the program, and the names that follow from them.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

use crate::rows::{WRITES_AFTER_ANSWER_MAX, WRITES_BEFORE_ANSWER_MAX};

/// What a process of the chain does. A front and a settler with the same name are one chain, of which the settler can be killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Everything
    #[default]
    Chain,
    /// Topics, database, listener and answers
    Front,
    /// Settling alone, for a front
    Settler,
}

/// In which order the documents of the bets are written that a consumer has fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// All bets together: one command for each collection
    #[default]
    Batch,
    /// One bet of a player after the other, and one document of it after the other
    Player,
}

/// Where the chain finds its servers, and what it may call its topics and its database.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "barechain",
    about = "Settles bets with Kafka and MongoDB alone, for the benchmarks of ./pitboss"
)]
pub struct Settings {
    /// Bootstrap servers of the broker
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: String,
    /// Connection string of the document store
    #[arg(long, value_name = "URI")]
    pub mongo: String,
    /// Name that no other run has: of the database, and the beginning of the names of the topics and the consumer group
    #[arg(long)]
    pub name: String,
    /// Address of the HTTP listener. Port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Milliseconds for which a request waits for its outcome. The default is that of the gateway
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    pub reply_deadline_ms: u64,
    /// What this process does
    #[arg(long, value_enum, default_value_t = Role::Chain)]
    pub role: Role,
    /// Documents of a bet that are durable before its outcome is published
    #[arg(long, default_value_t = WRITES_BEFORE_ANSWER_MAX, value_parser = clap::value_parser!(u8).range(0..=i64::from(WRITES_BEFORE_ANSWER_MAX)))]
    pub writes_before_answer: u8,
    /// Documents of a bet that are written beside its outcome
    #[arg(long, default_value_t = WRITES_AFTER_ANSWER_MAX, value_parser = clap::value_parser!(u8).range(0..=i64::from(WRITES_AFTER_ANSWER_MAX)))]
    pub writes_after_answer: u8,
    /// Order of the documents. With `player` the first of two or more is the player's account, by compare-and-set
    #[arg(long, value_enum, default_value_t = Order::Batch)]
    pub order: Order,
}

impl Settings {
    /// Topic of the bets that are not settled yet. It and the other two have the platform's names in a namespace, so that programs
    /// of the platform can read them.
    #[must_use]
    pub fn commands_topic(&self) -> String {
        format!("{}.casino.bets.commands.v1", self.name)
    }

    /// Topic of the outcomes.
    #[must_use]
    pub fn outcomes_topic(&self) -> String {
        format!("{}.casino.bets.events.v1", self.name)
    }

    /// Group that settles the bets.
    #[must_use]
    pub fn group(&self) -> String {
        format!("{}.game", self.name)
    }
}
