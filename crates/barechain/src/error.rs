//! Reasons why the chain ends.

use std::io;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::task::JoinError;

/// Reason why the chain ends. It repeats nothing, so each of them is final.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The operating system refused something.
    #[error("{doing} failed: {source}")]
    Io {
        /// The attempted step.
        doing: &'static str,
        /// Its error.
        source: io::Error,
    },
    /// A Kafka client failed.
    #[error("{doing} failed: {source}")]
    Kafka {
        /// The attempted step.
        doing: &'static str,
        /// Its error.
        source: KafkaError,
    },
    /// The broker refused a request about a topic.
    #[error("{doing} of topic {topic} failed: {code}")]
    Topic {
        /// The attempted step.
        doing: &'static str,
        /// Name of the topic.
        topic: String,
        /// Answer of the broker.
        code: RDKafkaErrorCode,
    },
    /// The store failed.
    #[error("{doing} failed: {source}")]
    Store {
        /// The attempted step.
        doing: &'static str,
        /// Its error.
        source: Box<mongodb::error::Error>,
    },
    /// Another process has changed an account of this one's players.
    #[error("an account was changed by another process")]
    Overtaken,
    /// A step took too long.
    #[error("{doing} was not done in time")]
    TimedOut {
        /// The attempted step.
        doing: &'static str,
    },
    /// A record is not one of the chain's.
    #[error("a record is not valid JSON for its topic: {0}")]
    Record(#[from] serde_json::Error),
    /// A task panicked.
    #[error("a task failed: {0}")]
    Task(JoinError),
    /// A task ended that should have run until the program ends.
    #[error("a task ended too early")]
    Ended,
}

impl ChainError {
    /// Error of the operating system in this step.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }

    /// Error of a Kafka client in this step.
    pub(crate) fn kafka(doing: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { doing, source }
    }

    /// Error of the store in this step.
    pub(crate) fn store(doing: &'static str) -> impl FnOnce(mongodb::error::Error) -> Self {
        move |source| Self::Store { doing, source: Box::new(source) }
    }
}
