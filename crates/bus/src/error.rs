//! What can go wrong with Kafka, told apart by what to do about it.

use std::error::Error;

use contracts::class::{Classify, ErrorClass};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Why a publish did not end in an acknowledgement.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The record was certainly not written, and cannot be: too large, or not a record at all.
    #[error("the record for {topic} cannot be written: {reason}")]
    Unwritable {
        /// Where it should have gone.
        topic: String,
        /// What was wrong with it.
        reason: String,
    },
    /// The record was certainly not written; the same record may be accepted later.
    #[error("the record for {topic} was refused: {source}")]
    Refused {
        /// Where it should have gone.
        topic: String,
        /// What librdkafka said.
        source: KafkaError,
    },
    /// Nobody knows whether it was written. Publish the same event again, under the same id, or wait and look.
    #[error("the outcome of the publish to {topic} is unknown: {source}")]
    OutcomeUnknown {
        /// Where it was going.
        topic: String,
        /// What librdkafka said.
        source: KafkaError,
    },
    /// The producer has given up for good (it was fenced, or lost its sequence): only a new process helps.
    #[error("the producer is dead: {source}")]
    Dead {
        /// What librdkafka said.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl PublishError {
    pub(crate) fn from_kafka(topic: &str, source: KafkaError) -> Self {
        use RDKafkaErrorCode as Code;
        let topic = topic.to_owned();
        match source.rdkafka_error_code() {
            Some(Code::Fatal | Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => {
                Self::Dead { source: source.into() }
            }
            Some(
                Code::MessageSizeTooLarge
                | Code::MessageBatchTooLarge
                | Code::InvalidMessageSize
                | Code::InvalidRecord,
            ) => Self::Unwritable { topic, reason: source.to_string() },
            Some(
                Code::QueueFull
                | Code::UnknownTopic
                | Code::UnknownPartition
                | Code::UnknownTopicOrPartition
                | Code::InvalidTopic
                | Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::PolicyViolation,
            ) => Self::Refused { topic, source },
            _ => Self::OutcomeUnknown { topic, source },
        }
    }
}

impl Classify for PublishError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Unwritable { .. } => ErrorClass::Poison,
            Self::Refused { .. } | Self::OutcomeUnknown { .. } => ErrorClass::Transient,
            Self::Dead { .. } => ErrorClass::Fatal,
        }
    }
}

/// Why a client could not be made or asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The settings do not make sense; all of it is said at once.
    #[error("bad Kafka settings: {}", .0.join("; "))]
    Config(Vec<String>),
    /// librdkafka refused.
    #[error("{doing}: {source}")]
    Kafka {
        /// What was being done.
        doing: &'static str,
        /// What librdkafka said.
        source: KafkaError,
    },
    /// The blocking task that asked did not come back.
    #[error("{doing}: the task was cancelled")]
    Cancelled {
        /// What was being done.
        doing: &'static str,
    },
}

impl ClientError {
    pub(crate) fn kafka(doing: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { doing, source }
    }
}

impl Classify for ClientError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Config(_) => ErrorClass::Fatal,
            Self::Kafka { .. } | Self::Cancelled { .. } => ErrorClass::Transient,
        }
    }
}

/// Why a consumer ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// The client could not be made, or said something that cannot be lived with.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A handler said that going on could do harm.
    #[error("the handler of {topic}/{partition}/{offset} stopped the consumer: {source}")]
    Handler {
        /// Where the record is.
        topic: String,
        /// Its partition.
        partition: i32,
        /// Its offset: not completed, it comes again.
        offset: i64,
        /// What the handler said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A poison record could not be kept, so it was not passed either.
    #[error("the dead letter of {topic}/{partition}/{offset} could not be written: {source}")]
    DeadLetter {
        /// Where the record is.
        topic: String,
        /// Its partition.
        partition: i32,
        /// Its offset: not completed, it comes again.
        offset: i64,
        /// What the producer said.
        source: Box<PublishError>,
    },
    /// Work does not end: better a new process than a silent one.
    #[error("stuck: {what} for {stalled_ms} ms")]
    Stalled {
        /// What does not move.
        what: String,
        /// For how long.
        stalled_ms: u64,
    },
    /// A worker vanished without a word, or the ledger was told something that cannot be.
    #[error("broken invariant: {0}")]
    Invariant(String),
}

impl ConsumerError {
    /// How the end of this consumer is told in metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::Handler { .. } => "handler",
            Self::DeadLetter { .. } => "dead_letter",
            Self::Stalled { .. } => "stalled",
            Self::Invariant(_) => "invariant",
        }
    }
}
