//! Errors of the Kafka clients as issues in Sentry: one for each kind of error and topic, whatever the number of records.
//!
//! It guarantees that **a failure that lasts is reported at most once a minute**. After a successful publish the next failure is a
//! new one, and is reported again, at most every five seconds. The callers still get every error, so nothing is lost here: a record
//! that was not published is published again or refused by its caller.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use contracts::Topic;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::error::PublishError;
use crate::names::Names;

/// Interval of reports about the same kind of error and topic.
const REPORT_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// The same interval after a success in between. Records that fail one by one among others must not report each of them.
const REPORT_AFTER_SUCCESS: Duration = Duration::from_secs(5);
/// Maximum number of kinds and topics that are remembered.
const REMEMBERED_MAX: usize = 256;

/// Reports about publishing, whose subject is the topic, and that no broker can be reached (no subject).
static PUBLISHING: Throttle = Throttle::new();
/// All other reports. A successful publish says nothing about them.
static OTHERS: Throttle = Throttle::new();

/// Kind of a client's error. Each kind is one issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// No broker can be reached.
    BrokersDown,
    /// The broker denies access to a topic or group.
    NotAuthorized,
    /// A topic does not exist.
    UnknownTopic,
    /// A record can never be written, because of its size or content.
    Unwritable,
    /// A record was certainly not written, and may be accepted later.
    Refused,
    /// A record was not acknowledged in time.
    Unacknowledged,
    /// The broker rejects offset commits.
    Commit,
    /// Records move to a retry topic again and again.
    Retry,
}

impl Kind {
    /// Name in the tag `error.kind`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BrokersDown => "kafka_brokers_down",
            Self::NotAuthorized => "kafka_not_authorized",
            Self::UnknownTopic => "kafka_unknown_topic",
            Self::Unwritable => "kafka_unwritable",
            Self::Refused => "kafka_refused",
            Self::Unacknowledged => "kafka_unacknowledged",
            Self::Commit => "kafka_commit",
            Self::Retry => "kafka_retry",
        }
    }

    fn of_code(code: RDKafkaErrorCode) -> Option<Self> {
        use RDKafkaErrorCode as Code;
        match code {
            Code::AllBrokersDown => Some(Self::BrokersDown),
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication => Some(Self::NotAuthorized),
            Code::UnknownTopicOrPartition | Code::UnknownTopic => Some(Self::UnknownTopic),
            _ => None,
        }
    }

    fn of_publish(error: &PublishError) -> Option<Self> {
        let of_source = |source: &KafkaError| source.rdkafka_error_code().and_then(Self::of_code);
        match error {
            PublishError::Unwritable { .. } => Some(Self::Unwritable),
            PublishError::Refused { source, .. } => Some(of_source(source).unwrap_or(Self::Refused)),
            PublishError::OutcomeUnknown { source, .. } => {
                Some(of_source(source).unwrap_or(Self::Unacknowledged))
            }
            // It ends the process, which reports it
            PublishError::Dead { .. } => None,
        }
    }
}

/// A client cannot do its work. The text has no position, so that all such errors are one issue.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientFailure {
    #[error("no Kafka broker can be reached")]
    BrokersDown,
    #[error("publishing to {topic} fails: {problem}")]
    Publish { topic: String, problem: String },
    #[error("reading {subject} fails: {problem}")]
    Read { subject: String, problem: String },
    #[error("offsets of the group {group} cannot be committed: {problem}")]
    Commit { group: &'static str, problem: String },
}

/// Reports a failed publish, at most once a minute for its kind and topic.
pub(crate) fn report_publish(topic: &str, error: &PublishError) {
    let Some(kind) = Kind::of_publish(error) else { return };
    // A dead letter that is too large is cut and published again
    let is_moved = Topic::of_record(topic).is_some_and(|first| first.name() != topic);
    if kind == Kind::Unwritable && is_moved {
        return;
    }
    if kind == Kind::BrokersDown {
        report_brokers_down();
    } else if PUBLISHING.is_due(kind, topic, Instant::now()) {
        let failure = ClientFailure::Publish { topic: topic.to_owned(), problem: problem_of(error) };
        let tags = [("error.kind", kind.as_str()), ("messaging.destination.name", topic)];
        telemetry::report(&failure, &tags);
    }
}

/// Registers that a record was published to the topic, so that the next failure is reported as a new one.
///
/// Called for every record: without a report in the last minute it is one relaxed load.
pub(crate) fn publish_succeeded(topic: &str) {
    if PUBLISHING.has_reports() {
        PUBLISHING.note_success(topic, Instant::now());
    }
}

/// Reports that no broker can be reached, at most once a minute in a process.
pub(crate) fn report_brokers_down() {
    let kind = Kind::BrokersDown;
    if PUBLISHING.is_due(kind, "", Instant::now()) {
        telemetry::report(&ClientFailure::BrokersDown, &[("error.kind", kind.as_str())]);
    }
}

/// Reports an error of a reader, at most once a minute for its kind and topic. `subscription` is named if the error names no
/// topic.
pub(crate) fn report_read(error: &KafkaError, reason: &str, names: &Names, subscription: &str) {
    let Some((code, kind)) =
        error.rdkafka_error_code().and_then(|code| Kind::of_code(code).map(|kind| (code, kind)))
    else {
        return;
    };
    // One connection may have been closed because it was idle, so the consumer asks first (`consumer::health`)
    if kind == Kind::BrokersDown {
        return;
    }
    let topic = topic_in(reason, names);
    let subject = topic.as_deref().unwrap_or(subscription);
    if !OTHERS.is_due(kind, subject, Instant::now()) {
        return;
    }
    let failure = ClientFailure::Read { subject: subject.to_owned(), problem: code.to_string() };
    let mut tags = vec![("error.kind", kind.as_str())];
    tags.extend(topic.as_deref().map(|topic| ("messaging.destination.name", topic)));
    telemetry::report(&failure, &tags);
}

/// Reports that commits of a group fail, at most once a minute.
pub(crate) fn report_commit(error: &KafkaError, group: &'static str) {
    if OTHERS.is_due(Kind::Commit, group, Instant::now()) {
        let failure = ClientFailure::Commit { group, problem: error.to_string() };
        let tags = [("error.kind", Kind::Commit.as_str()), ("messaging.consumer.group.name", group)];
        telemetry::report(&failure, &tags);
    }
}

/// Returns true once a minute for a topic, for the report about records that move to its retry topic again and again.
pub(crate) fn retry_report_is_due(topic: &str) -> bool {
    OTHERS.is_due(Kind::Retry, topic, Instant::now())
}

/// Describes the failure without the topic, which the report names anyway.
fn problem_of(error: &PublishError) -> String {
    match error {
        PublishError::Unwritable { reason, .. } => reason.clone(),
        PublishError::Refused { source, .. } | PublishError::OutcomeUnknown { source, .. } => {
            source.to_string()
        }
        PublishError::Dead { source } => source.to_string(),
    }
}

/// Returns the catalogue name of the topic that an error of librdkafka names.
fn topic_in(reason: &str, names: &Names) -> Option<String> {
    let mut words = reason.split([' ', ':', ',', '[', ']', '(', ')', '"', '\'']);
    let topic = words.find_map(|word| {
        let logical = names.logical(word);
        Topic::of_record(logical).map(|_| logical)
    });
    topic.map(str::to_owned)
}

/// A report, as long as it keeps the next one back.
#[derive(Clone, Copy)]
struct Report {
    at: Instant,
    /// A publish succeeded after it.
    has_ended: bool,
}

impl Report {
    fn is_recent(self, now: Instant) -> bool {
        let interval = if self.has_ended { REPORT_AFTER_SUCCESS } else { REPORT_AGAIN_AFTER };
        now.saturating_duration_since(self.at) < interval
    }
}

/// The last reports by kind and subject.
struct Throttle {
    reports: Mutex<BTreeMap<(Kind, String), Report>>,
    has_reports: AtomicBool,
}

impl Throttle {
    const fn new() -> Self {
        Self { reports: Mutex::new(BTreeMap::new()), has_reports: AtomicBool::new(false) }
    }

    /// Returns false if nothing was reported lately.
    fn has_reports(&self) -> bool {
        self.has_reports.load(Ordering::Relaxed)
    }

    /// Returns true if the kind was not reported for this subject in the last minute, and registers the report.
    fn is_due(&self, kind: Kind, subject: &str, now: Instant) -> bool {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.retain(|_, report| report.is_recent(now));
        let key = (kind, subject.to_owned());
        if reports.len() >= REMEMBERED_MAX || reports.contains_key(&key) {
            return false;
        }
        reports.insert(key, Report { at: now, has_ended: false });
        self.has_reports.store(true, Ordering::Relaxed);
        true
    }

    /// Registers a success with this subject, which also shows that a broker can be reached.
    fn note_success(&self, subject: &str, now: Instant) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        for ((kind, of), report) in reports.iter_mut() {
            report.has_ended |= *kind == Kind::BrokersDown || of.as_str() == subject;
        }
        reports.retain(|_, report| report.is_recent(now));
        self.has_reports.store(!reports.is_empty(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_kind_and_topic_is_reported_once_a_minute() {
        let (throttle, now) = (Throttle::new(), Instant::now());
        assert!(throttle.is_due(Kind::NotAuthorized, "a", now));
        assert!(!throttle.is_due(Kind::NotAuthorized, "a", now + REPORT_AGAIN_AFTER / 2));
        assert!(throttle.is_due(Kind::NotAuthorized, "b", now));
        assert!(throttle.is_due(Kind::UnknownTopic, "a", now));
        assert!(throttle.is_due(Kind::NotAuthorized, "a", now + REPORT_AGAIN_AFTER));
    }

    #[test]
    fn failure_after_success_is_reported_again() {
        let (throttle, now) = (Throttle::new(), Instant::now());
        let (soon, later) = (now + REPORT_AFTER_SUCCESS / 2, now + REPORT_AFTER_SUCCESS);
        assert!(!throttle.has_reports());
        for kind in [Kind::NotAuthorized, Kind::Refused] {
            assert!(throttle.is_due(kind, "a", now) && throttle.is_due(kind, "b", now));
        }
        assert!(throttle.is_due(Kind::BrokersDown, "", now));
        throttle.note_success("a", soon);
        assert!(!throttle.is_due(Kind::NotAuthorized, "a", soon), "failures among successes are not a flood");
        for kind in [Kind::NotAuthorized, Kind::Refused] {
            assert!(throttle.is_due(kind, "a", later));
            assert!(!throttle.is_due(kind, "a", later + REPORT_AFTER_SUCCESS), "this failure lasts");
            assert!(!throttle.is_due(kind, "b", later), "no record was published there");
        }
        assert!(throttle.is_due(Kind::BrokersDown, "", later), "a publish needs a broker");
    }

    #[test]
    fn successes_cost_nothing_without_a_report() {
        let (throttle, now) = (Throttle::new(), Instant::now());
        assert!(throttle.is_due(Kind::Refused, "a", now) && throttle.has_reports());
        throttle.note_success("a", now + REPORT_AFTER_SUCCESS / 2);
        assert!(throttle.has_reports());
        throttle.note_success("a", now + REPORT_AFTER_SUCCESS);
        assert!(!throttle.has_reports());
    }

    #[test]
    fn remembered_kinds_and_topics_are_bounded() {
        let (throttle, now) = (Throttle::new(), Instant::now());
        let due = (0..1_000).filter(|n| throttle.is_due(Kind::UnknownTopic, &n.to_string(), now)).count();
        assert_eq!(due, REMEMBERED_MAX);
    }

    #[test]
    fn topic_is_found_in_the_text_of_an_error() {
        let names = Names::new("t-1");
        let reason = "Subscribed topic not available: t-1.casino.bets.events.v1.retry.analytics: Broker: x";
        assert_eq!(topic_in(reason, &names).as_deref(), Some("casino.bets.events.v1.retry.analytics"));
        assert_eq!(topic_in("Fetch from broker 1 failed: Broker: Topic authorization failed", &names), None);
    }

    #[test]
    fn kind_follows_from_the_code() {
        let publish = |code| PublishError::from_kafka("t", KafkaError::MessageProduction(code));
        use RDKafkaErrorCode as Code;
        for (code, kind) in [
            (Code::TopicAuthorizationFailed, Some(Kind::NotAuthorized)),
            (Code::MessageSizeTooLarge, Some(Kind::Unwritable)),
            (Code::UnknownTopicOrPartition, Some(Kind::UnknownTopic)),
            (Code::QueueFull, Some(Kind::Refused)),
            (Code::MessageTimedOut, Some(Kind::Unacknowledged)),
            (Code::Fenced, None),
        ] {
            assert_eq!(Kind::of_publish(&publish(code)), kind, "{code:?}");
        }
    }
}
