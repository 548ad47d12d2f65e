//! The rows of `verify`: one for each fault, and its variants.

mod brokers;
mod consumers;
mod platform;
mod services;

use std::time::Duration;

use faults::FaultId;

use super::{Begins, Row, Workload};
use crate::evidence::Evidence;

// Deadlines are for a machine that is two or three times slower than ours. A row that is proven earlier does not wait for them.

/// Deadline of rows whose evidence is a metric.
const METRIC_DEADLINE: Duration = Duration::from_secs(15);
const METRIC_REASON: &str = "a service sends its metrics every 5 s";
/// Deadline of rows whose evidence is a metric that services add up first.
const SUM_DEADLINE: Duration = Duration::from_secs(25);
const SUM_REASON: &str = "a service adds these metrics up for 5 s, and sends its metrics every 5 s";
/// Deadline of rows whose evidence is lag.
const LAG_DEADLINE: Duration = Duration::from_secs(30);
const LAG_REASON: &str = "lag needs time to grow, and lagwatch reads it every 3 s and sends it every 5 s";

/// Units of a phase, unless a row needs more.
const UNITS: u32 = 10;
/// Spans or transactions that one row needs, so that a single slow moment of the machine is no evidence.
const REPEATED: usize = 3;

/// All rows: one for each fault in the order of [`FaultId::ALL`], and then the variants.
#[must_use]
pub fn rows() -> Vec<Row> {
    FaultId::ALL.into_iter().map(row).chain(variants()).collect()
}

/// Rows of faults with other parameters, other evidence or for other traffic than in [`row`]. Their names have a `@`.
fn variants() -> Vec<Row> {
    vec![
        services::random_failure_of_a_share(),
        services::unauthorized_for_a_player(),
        services::unauthorized_for_a_release(),
        consumers::dead_missed_check_in(),
        consumers::poison_flood(),
        platform::clock_behind(),
        platform::sentry_hangs(),
        platform::sentry_rate_limited(),
    ]
}

/// The row of one fault. A new fault needs an arm here.
pub(crate) fn row(fault: FaultId) -> Row {
    match fault {
        FaultId::PaymentRandomFailure => services::payment_random_failure(),
        FaultId::PaymentProviderSlow => services::payment_provider_slow(),
        FaultId::PaymentProviderDown => services::payment_provider_down(),
        FaultId::UserUnauthorized => services::user_unauthorized(),
        FaultId::UserNPlusOne => services::user_n_plus_one(),
        FaultId::UserSlowQuery => services::user_slow_query(),
        FaultId::GameCpuSpike => services::game_cpu_spike(),
        FaultId::GameRtpDrift => services::paid_to_owed(fault, 0.5, 0.9),
        FaultId::GamePayoutScale => services::game_payout_scale(),
        FaultId::AnalyticsNPlusOne => services::analytics_n_plus_one(),
        FaultId::AnalyticsSlowAggregation => services::analytics_slow_aggregation(),
        FaultId::AnalyticsFanOut => services::analytics_fan_out(),
        FaultId::ConsumerSlow => consumers::slow(),
        FaultId::ConsumerStuck => consumers::stuck(),
        FaultId::ConsumerDead => consumers::dead(),
        FaultId::ConsumerCrashLoop => consumers::crash_loop(),
        FaultId::ConsumerRebalanceStorm => consumers::rebalance_storm(),
        FaultId::ConsumerDuplicate => consumers::duplicate(),
        FaultId::ConsumerDelayedOnPurpose => consumers::delayed_on_purpose(),
        FaultId::NotificationPoison => consumers::poison(),
        FaultId::NotificationProviderDown => services::notification_provider_down(),
        FaultId::NotificationProviderSlow => services::notification_provider_slow(),
        FaultId::KafkaReplyLost => brokers::reply_lost(),
        FaultId::KafkaHalfOpen => brokers::half_open(),
        FaultId::KafkaAclDenied => brokers::acl_denied(),
        FaultId::KafkaMessageTooLarge => brokers::message_too_large(),
        FaultId::KafkaRecordsDeleted => brokers::records_deleted(),
        FaultId::KafkaThrottled => brokers::throttled(),
        FaultId::KafkaBrokerRestart => brokers::restart(),
        FaultId::ClockSkew => platform::clock_skew(),
        FaultId::TraceHostileHeaders => platform::hostile_headers(),
        FaultId::TraceSamplingConflict => platform::sampling_conflict(),
        FaultId::MongoStall => platform::mongo_stall(),
        FaultId::RedisFlush => platform::redis_flush(),
        FaultId::SentryDown => platform::sentry_down(),
    }
}

/// A row whose evidence is a metric.
fn by_metric(row: Row) -> Row {
    Row { deadline: METRIC_DEADLINE, deadline_reason: METRIC_REASON, ..row }
}

/// A row whose evidence is lag.
fn by_lag(row: Row) -> Row {
    Row { deadline: LAG_DEADLINE, deadline_reason: LAG_REASON, ..row }
}

/// A row whose work begins when the fault is in effect.
fn lasting(row: Row) -> Row {
    Row { begins: Begins::Applied, ..row }
}

fn slow_records(service: &'static str, description_contains: &'static str, duration_ms_min: u64) -> Evidence {
    let (op, count_min) = ("queue.process", REPEATED);
    Evidence::SlowSpan { service, op, description_contains, duration_ms_min, count_min }
}

/// No record of a topic reaches the handler of a service. An empty topic means any.
fn no_record(service: &'static str, topic: &'static str) -> Evidence {
    Evidence::absent(Evidence::SpansInTrace {
        service,
        op: "queue.process",
        description_contains: topic,
        count_min: 1,
    })
}

const fn bets(count: u32) -> Workload {
    Workload::Bets { count, earlier_bets: 0 }
}

#[cfg(test)]
mod tests;
