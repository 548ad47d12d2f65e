//! Closed list of the faults.

use std::fmt;
use std::str::FromStr;

use crate::definition::Definition;
use crate::registry::{
    analytics, clock, consumer, game, infrastructure, kafka, notification, payment, trace, user,
};

/// A fault that can be armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultId {
    /// A share of the payments fails.
    PaymentRandomFailure,
    /// The card provider answers late.
    PaymentProviderSlow,
    /// The card provider refuses connections.
    PaymentProviderDown,
    /// Valid sessions are answered with 401.
    UserUnauthorized,
    /// The history reads each bet with a separate query.
    UserNPlusOne,
    /// The history is read after a query that scans a whole collection.
    UserSlowQuery,
    /// A spin burns CPU time.
    GameCpuSpike,
    /// The pay table pays less than the published one.
    GameRtpDrift,
    /// Payouts are too high by a factor.
    GamePayoutScale,
    /// Player metrics read each bet with a separate query.
    AnalyticsNPlusOne,
    /// The summary is aggregated without an index.
    AnalyticsSlowAggregation,
    /// One record is published again as one record per item.
    AnalyticsFanOut,
    /// A consumer takes longer for each record.
    ConsumerSlow,
    /// A consumer handles each record twice.
    ConsumerDuplicate,
    /// One partition of a consumer stops moving.
    ConsumerStuck,
    /// A consumer ends with a panic at a record, again and again.
    ConsumerCrashLoop,
    /// Records wait in the retry topic until they are due.
    ConsumerDelayedOnPurpose,
    /// The process of a consumer is gone.
    ConsumerDead,
    /// Members join and leave a consumer group all the time.
    ConsumerRebalanceStorm,
    /// The mail server refuses every e-mail for now.
    NotificationProviderDown,
    /// The mail server answers late.
    NotificationProviderSlow,
    /// Records that cannot be decoded reach notification.
    NotificationPoison,
    /// The clock of a producer is ahead or behind.
    ClockSkew,
    /// Records arrive with damaged trace headers.
    TraceHostileHeaders,
    /// Records arrive with trace headers that disagree about sampling.
    TraceSamplingConflict,
    /// The broker stops and comes back.
    KafkaBrokerRestart,
    /// A topic is no longer permitted.
    KafkaAclDenied,
    /// The largest size of a message is lowered on a topic in use.
    KafkaMessageTooLarge,
    /// Records that were not read yet are deleted.
    KafkaRecordsDeleted,
    /// The broker slows a client down by quota.
    KafkaThrottled,
    /// The broker stores records, and its answer is lost.
    KafkaReplyLost,
    /// Connections to the broker stay open and answer nothing.
    KafkaHalfOpen,
    /// The document store freezes from time to time.
    MongoStall,
    /// The cache is emptied again and again.
    RedisFlush,
    /// The receiver of telemetry is out of order.
    SentryDown,
}

/// Error: a text that names no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no fault `{0}`. `./pitboss fault list` shows all of them")]
pub struct UnknownFault(pub String);

impl FaultId {
    /// All faults, in the order of the enum.
    pub const ALL: [Self; 35] = [
        Self::PaymentRandomFailure,
        Self::PaymentProviderSlow,
        Self::PaymentProviderDown,
        Self::UserUnauthorized,
        Self::UserNPlusOne,
        Self::UserSlowQuery,
        Self::GameCpuSpike,
        Self::GameRtpDrift,
        Self::GamePayoutScale,
        Self::AnalyticsNPlusOne,
        Self::AnalyticsSlowAggregation,
        Self::AnalyticsFanOut,
        Self::ConsumerSlow,
        Self::ConsumerDuplicate,
        Self::ConsumerStuck,
        Self::ConsumerCrashLoop,
        Self::ConsumerDelayedOnPurpose,
        Self::ConsumerDead,
        Self::ConsumerRebalanceStorm,
        Self::NotificationProviderDown,
        Self::NotificationProviderSlow,
        Self::NotificationPoison,
        Self::ClockSkew,
        Self::TraceHostileHeaders,
        Self::TraceSamplingConflict,
        Self::KafkaBrokerRestart,
        Self::KafkaAclDenied,
        Self::KafkaMessageTooLarge,
        Self::KafkaRecordsDeleted,
        Self::KafkaThrottled,
        Self::KafkaReplyLost,
        Self::KafkaHalfOpen,
        Self::MongoStall,
        Self::RedisFlush,
        Self::SentryDown,
    ];

    /// Name in the flag file, on the command line and in Sentry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PaymentRandomFailure => "payment.random-failure",
            Self::PaymentProviderSlow => "payment.provider-slow",
            Self::PaymentProviderDown => "payment.provider-down",
            Self::UserUnauthorized => "user.unauthorized",
            Self::UserNPlusOne => "user.n-plus-one",
            Self::UserSlowQuery => "user.slow-query",
            Self::GameCpuSpike => "game.cpu-spike",
            Self::GameRtpDrift => "game.rtp-drift",
            Self::GamePayoutScale => "game.payout-scale",
            Self::AnalyticsNPlusOne => "analytics.n-plus-one",
            Self::AnalyticsSlowAggregation => "analytics.slow-aggregation",
            Self::AnalyticsFanOut => "analytics.fan-out",
            Self::ConsumerSlow => "consumer.slow",
            Self::ConsumerDuplicate => "consumer.duplicate",
            Self::ConsumerStuck => "consumer.stuck",
            Self::ConsumerCrashLoop => "consumer.crash-loop",
            Self::ConsumerDelayedOnPurpose => "consumer.delayed-on-purpose",
            Self::ConsumerDead => "consumer.dead",
            Self::ConsumerRebalanceStorm => "consumer.rebalance-storm",
            Self::NotificationProviderDown => "notification.provider-down",
            Self::NotificationProviderSlow => "notification.provider-slow",
            Self::NotificationPoison => "notification.poison",
            Self::ClockSkew => "clock.skew",
            Self::TraceHostileHeaders => "trace.hostile-headers",
            Self::TraceSamplingConflict => "trace.sampling-conflict",
            Self::KafkaBrokerRestart => "kafka.broker-restart",
            Self::KafkaAclDenied => "kafka.acl-denied",
            Self::KafkaMessageTooLarge => "kafka.message-too-large",
            Self::KafkaRecordsDeleted => "kafka.records-deleted",
            Self::KafkaThrottled => "kafka.throttled",
            Self::KafkaReplyLost => "kafka.reply-lost",
            Self::KafkaHalfOpen => "kafka.half-open",
            Self::MongoStall => "mongo.stall",
            Self::RedisFlush => "redis.flush",
            Self::SentryDown => "sentry.down",
        }
    }

    /// Description of the fault.
    #[must_use]
    pub fn definition(self) -> &'static Definition {
        match self {
            Self::PaymentRandomFailure => &payment::RANDOM_FAILURE,
            Self::PaymentProviderSlow => &payment::PROVIDER_SLOW,
            Self::PaymentProviderDown => &payment::PROVIDER_DOWN,
            Self::UserUnauthorized => &user::UNAUTHORIZED,
            Self::UserNPlusOne => &user::N_PLUS_ONE,
            Self::UserSlowQuery => &user::SLOW_QUERY,
            Self::GameCpuSpike => &game::CPU_SPIKE,
            Self::GameRtpDrift => &game::RTP_DRIFT,
            Self::GamePayoutScale => &game::PAYOUT_SCALE,
            Self::AnalyticsNPlusOne => &analytics::N_PLUS_ONE,
            Self::AnalyticsSlowAggregation => &analytics::SLOW_AGGREGATION,
            Self::AnalyticsFanOut => &analytics::FAN_OUT,
            Self::ConsumerSlow => &consumer::SLOW,
            Self::ConsumerDuplicate => &consumer::DUPLICATE,
            Self::ConsumerStuck => &consumer::STUCK,
            Self::ConsumerCrashLoop => &consumer::CRASH_LOOP,
            Self::ConsumerDelayedOnPurpose => &consumer::DELAYED_ON_PURPOSE,
            Self::ConsumerDead => &consumer::DEAD,
            Self::ConsumerRebalanceStorm => &consumer::REBALANCE_STORM,
            Self::NotificationProviderDown => &notification::PROVIDER_DOWN,
            Self::NotificationProviderSlow => &notification::PROVIDER_SLOW,
            Self::NotificationPoison => &notification::POISON,
            Self::ClockSkew => &clock::SKEW,
            Self::TraceHostileHeaders => &trace::HOSTILE_HEADERS,
            Self::TraceSamplingConflict => &trace::SAMPLING_CONFLICT,
            Self::KafkaBrokerRestart => &kafka::BROKER_RESTART,
            Self::KafkaAclDenied => &kafka::ACL_DENIED,
            Self::KafkaMessageTooLarge => &kafka::MESSAGE_TOO_LARGE,
            Self::KafkaRecordsDeleted => &kafka::RECORDS_DELETED,
            Self::KafkaThrottled => &kafka::THROTTLED,
            Self::KafkaReplyLost => &kafka::REPLY_LOST,
            Self::KafkaHalfOpen => &kafka::HALF_OPEN,
            Self::MongoStall => &infrastructure::MONGO_STALL,
            Self::RedisFlush => &infrastructure::REDIS_FLUSH,
            Self::SentryDown => &infrastructure::SENTRY_DOWN,
        }
    }
}

impl fmt::Display for FaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FaultId {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        Self::ALL.into_iter().find(|id| id.as_str() == text).ok_or_else(|| UnknownFault(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_follows_enum() {
        for (place, id) in FaultId::ALL.into_iter().enumerate() {
            assert_eq!(id as usize, place, "{id}");
        }
    }

    #[test]
    fn name_is_parsed_back() {
        for id in FaultId::ALL {
            assert_eq!(id.as_str().parse(), Ok(id));
        }
        let error = "payment.random".parse::<FaultId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no fault `payment.random`. `./pitboss fault list` shows all of them"
        );
    }
}
