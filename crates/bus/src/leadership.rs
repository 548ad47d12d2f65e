//! Requests that need the leader of a partition, in the moments when there is none: right after a topic was created, and during an
//! election.

use std::time::Duration;

use backon::{BlockingRetryable as _, ConstantBuilder};
use rdkafka::error::RDKafkaErrorCode;

use crate::error::ClientError;

/// Time between two attempts. librdkafka asks for the new leader after the first refusal, which takes a few milliseconds.
const PAUSE: Duration = Duration::from_millis(100);
/// Number of attempts after the first one. Their pauses add up to 2 s, which is longer than an election.
const RETRIES_MAX: usize = 20;

/// Runs a blocking request until a leader answers it, 20 times more at most. Every other error is returned at once.
///
/// It sleeps between two attempts, so it must not run on a thread of the runtime.
///
/// # Errors
/// The last error of `request`.
pub(crate) fn await_leader<T>(request: impl FnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let pauses = ConstantBuilder::default().with_delay(PAUSE).with_max_times(RETRIES_MAX);
    request.retry(pauses).when(is_leaderless).call()
}

/// Returns true if the asked broker does not lead the partition, no broker does, or the leader cannot answer now.
///
/// A new leader does not know its newest offset at first, and a broker whose disk failed hands its partitions over. After most of
/// these refusals librdkafka only asks for the new leader. It does not repeat the request. All of them end by themselves.
fn is_leaderless(error: &ClientError) -> bool {
    use RDKafkaErrorCode as Code;
    let ClientError::Kafka { source, .. } = error else { return false };
    matches!(
        source.rdkafka_error_code(),
        Some(
            Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::OffsetNotAvailable
                | Code::ReplicaNotAvailable
                | Code::KafkaStorageError
        )
    )
}

#[cfg(test)]
mod tests {
    use rdkafka::error::KafkaError;

    use super::*;

    fn refused(code: RDKafkaErrorCode) -> ClientError {
        ClientError::Kafka { doing: "reading", source: KafkaError::MetadataFetch(code) }
    }

    #[test]
    fn request_is_repeated_until_there_is_a_leader() {
        let mut refusals =
            vec![RDKafkaErrorCode::NotLeaderForPartition, RDKafkaErrorCode::LeaderNotAvailable];
        let answer = await_leader(|| refusals.pop().map_or(Ok(7), |code| Err(refused(code))));
        assert_eq!(answer.expect("an answer"), 7);
        assert!(refusals.is_empty());
    }

    #[test]
    fn only_moments_without_a_leader_are_waited_for() {
        use RDKafkaErrorCode as Code;
        for (code, is_waited_for) in [
            (Code::NotLeaderForPartition, true),
            (Code::LeaderNotAvailable, true),
            (Code::OffsetNotAvailable, true),
            (Code::ReplicaNotAvailable, true),
            (Code::KafkaStorageError, true),
            (Code::OffsetOutOfRange, false),
            (Code::UnknownTopicOrPartition, false),
            (Code::TopicAuthorizationFailed, false),
            (Code::OperationTimedOut, false),
        ] {
            assert_eq!(is_leaderless(&refused(code)), is_waited_for, "{code:?}");
        }
    }

    #[test]
    fn other_errors_are_not_repeated() {
        let mut requests = 0;
        let answer: Result<(), _> = await_leader(|| {
            requests += 1;
            Err(refused(RDKafkaErrorCode::TopicAuthorizationFailed))
        });
        assert!(answer.is_err());
        assert_eq!(requests, 1);
    }
}
