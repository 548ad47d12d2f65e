//! Errors of the Kafka clients, classified by the caller's next step.

use std::error::Error;

use contracts::class::{Classify, ErrorClass};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Reason why a publish was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The record was certainly not written and never can be: it is too large or invalid.
    #[error("the record for {topic} cannot be written: {reason}")]
    Unwritable {
        /// Topic of the record.
        topic: String,
        /// Reason of the rejection.
        reason: String,
    },
    /// The record was certainly not written. The same record may be accepted later.
    #[error("the record for {topic} was not accepted; publish it again later: {source}")]
    Refused {
        /// Topic of the record.
        topic: String,
        /// Error of librdkafka.
        source: KafkaError,
    },
    /// The record may or may not have been written. Publish the same event again, under the same id, or wait and check.
    #[error("the outcome of the publish to {topic} is unknown: {source}")]
    OutcomeUnknown {
        /// Topic of the record.
        topic: String,
        /// Error of librdkafka.
        source: KafkaError,
    },
    /// The producer failed permanently (it was fenced, or lost its sequence). Only a new process helps.
    #[error("the producer failed permanently; restart the process: {source}")]
    Dead {
        /// Error of librdkafka.
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

/// Reason why a client could not be created or a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The settings are invalid. Lists every problem.
    #[error("invalid Kafka settings: {}", .0.join("; "))]
    Config(Vec<String>),
    /// librdkafka returned an error.
    #[error("{doing}: {source}")]
    Kafka {
        /// Operation that failed.
        doing: &'static str,
        /// Error of librdkafka.
        source: KafkaError,
    },
    /// The blocking task of the request was cancelled.
    #[error("{doing}: the task was cancelled")]
    Cancelled {
        /// Operation that failed.
        doing: &'static str,
    },
}

impl ClientError {
    /// Returns true if no broker could be reached, or none answered in time. Any other error is an answer, or one of this process.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        use RDKafkaErrorCode as Code;
        let Self::Kafka { source, .. } = self else { return false };
        let code = match source {
            // The library reports no code of an administrative request, but the error has one.
            KafkaError::AdminOp(code) => Some(*code),
            other => other.rdkafka_error_code(),
        };
        matches!(
            code,
            Some(
                Code::BrokerTransportFailure
                    | Code::Resolve
                    | Code::AllBrokersDown
                    | Code::OperationTimedOut
                    | Code::MessageTimedOut
                    | Code::TimedOutQueue
                    | Code::RequestTimedOut
                    | Code::NetworkException
            )
        )
    }

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

/// Reason why a consumer stopped without a shutdown signal.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// The client could not be created, or reported an error that it cannot recover from.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A handler reported that continuing could do harm.
    #[error("the handler of {topic}/{partition}/{offset} stopped the consumer: {source}")]
    Handler {
        /// Topic of the record.
        topic: String,
        /// Partition of the record.
        partition: i32,
        /// Offset of the record. It is not completed, so the record is redelivered.
        offset: i64,
        /// Error of the handler.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A hook ended the process at a record, like a crash in its handler.
    #[error("the process crashed at {place}")]
    Crashed {
        /// Topic, partition and offset of the record. It is not completed, so the record is redelivered.
        place: String,
    },
    /// The dead letter of a poison record could not be written, so the record was not passed either.
    #[error("the dead letter of {topic}/{partition}/{offset} could not be written: {source}")]
    DeadLetter {
        /// Topic of the record.
        topic: String,
        /// Partition of the record.
        partition: i32,
        /// Offset of the record. It is not completed, so the record is redelivered.
        offset: i64,
        /// Error of the producer.
        source: Box<PublishError>,
    },
    /// Work makes no progress. A restart is better than a process that hangs silently.
    #[error("{what} made no progress for {stalled_ms} ms")]
    Stalled {
        /// The slot or frontier that is stuck.
        what: String,
        /// Duration of the stall.
        stalled_ms: u64,
    },
    /// A worker ended without a result, or the offsets received a contradictory update.
    #[error("broken invariant: {0}")]
    Invariant(String),
}

impl ConsumerError {
    /// Name of this error in reports (`error.kind`).
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::Handler { .. } => "handler",
            Self::Crashed { .. } => "crashed",
            Self::DeadLetter { .. } => "dead_letter",
            Self::Stalled { .. } => "stalled",
            Self::Invariant(_) => "invariant",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_network_errors_are_unreachable() {
        use RDKafkaErrorCode as Code;
        let error = |source| ClientError::Kafka { doing: "testing", source };
        for code in [Code::AllBrokersDown, Code::BrokerTransportFailure, Code::OperationTimedOut] {
            assert!(error(KafkaError::MetadataFetch(code)).is_unreachable(), "{code:?}");
            assert!(error(KafkaError::AdminOp(code)).is_unreachable(), "{code:?}");
        }
        for code in [Code::TopicAuthorizationFailed, Code::UnknownTopicOrPartition, Code::InvalidRequest] {
            assert!(!error(KafkaError::MetadataFetch(code)).is_unreachable(), "{code:?}");
            assert!(!error(KafkaError::AdminOp(code)).is_unreachable(), "{code:?}");
        }
        assert!(!error(KafkaError::Canceled).is_unreachable());
        assert!(!ClientError::Config(vec!["acks".to_owned()]).is_unreachable());
        assert!(!ClientError::Cancelled { doing: "testing" }.is_unreachable());
    }
}
