//! Metrics from one closed list, exported to Sentry (linked to the trace) and to Prometheus (`/metrics`).
//!
//! To add a metric, add a line to the list below: name, kind, unit, export to Sentry, and a description.

mod registry;
mod sentry_export;

pub use registry::render_prometheus;
pub(crate) use sentry_export::{export_sums, start_exporting};

/// Kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value that only grows.
    Counter,
    /// The current value.
    Gauge,
    /// A distribution of values.
    Distribution,
}

/// Unit of a metric. Sentry and Prometheus write it differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A plain number.
    None,
    /// Thousandths of a second.
    Millisecond,
    /// Seconds.
    Second,
    /// A share from 0 to 1.
    Ratio,
    /// Hundredths of a currency's main unit.
    MinorUnit,
}

/// Export of a metric to Sentry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    /// Each value separately, linked to its span. It is for business metrics.
    Each,
    /// Counters as sums and gauges as last values, every few seconds. It is for metrics that change with every record.
    Summed,
    /// No export to Sentry, only to Prometheus.
    Local,
}

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $variant:ident = $name:literal, $kind:ident, $unit:ident, $export:ident;)+) => {
        /// All metrics of Pitboss.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Metric { $($(#[doc = $help])+ $variant,)+ }

        impl Metric {
            /// All metrics.
            pub const ALL: &'static [Metric] = &[$(Metric::$variant,)+];

            /// The dotted name. Prometheus sees it with the prefix `pitboss_` and underscores.
            pub const fn name(self) -> &'static str { match self { $(Metric::$variant => $name,)+ } }

            /// The name in Sentry. It has the prefix `pitboss.`, because Sentry's conventions define none of these metrics.
            pub const fn sentry_name(self) -> &'static str {
                match self { $(Metric::$variant => concat!("pitboss.", $name),)+ }
            }

            /// Its kind.
            pub const fn kind(self) -> Kind { match self { $(Metric::$variant => Kind::$kind,)+ } }

            /// Its unit.
            pub const fn unit(self) -> Unit { match self { $(Metric::$variant => Unit::$unit,)+ } }

            /// Its export to Sentry.
            pub const fn export(self) -> Export { match self { $(Metric::$variant => Export::$export,)+ } }

            /// Its description, in a sentence.
            pub const fn help(self) -> &'static str { match self { $(Metric::$variant => concat!($($help,)+).trim_ascii(),)+ } }
        }
    };
}

metrics! {
    /// Records whose handler finished, by `topic`, `group`, `event_type` and `outcome` (applied, rejected).
    BusRecordsCompleted = "bus.records.completed", Counter, None, Summed;
    /// Records that had been handled before and changed nothing.
    BusRecordsDuplicate = "bus.records.duplicate", Counter, None, Summed;
    /// Records that can never be handled.
    BusRecordsPoison = "bus.records.poison", Counter, None, Each;
    /// Records parked in a dead-letter topic.
    BusRecordsDeadLettered = "bus.records.dead_lettered", Counter, None, Each;
    /// Attempts that failed for a passing reason and were made again.
    BusRecordsRetried = "bus.records.retried", Counter, None, Summed;
    /// Records that no handler of their group wants, by `topic` and `group`.
    BusRecordsSkipped = "bus.records.skipped", Counter, None, Summed;
    /// Partitions with a place that cannot be fetched or opened now, by `group`.
    BusPartitionsUnreadable = "bus.partitions.unreadable", Gauge, None, Summed;
    /// Milliseconds a handler took for one record.
    BusRecordDuration = "bus.record.duration", Distribution, Millisecond, Local;
    /// Records published and acknowledged, by `topic`.
    BusPublishCount = "bus.publish.count", Counter, None, Summed;
    /// Publishes that were refused outright: nothing was written.
    BusPublishRefused = "bus.publish.refused", Counter, None, Each;
    /// Publishes without an acknowledgement in time: written or not, nobody knows.
    BusPublishUnknown = "bus.publish.unknown", Counter, None, Each;
    /// Milliseconds from publish to acknowledgement.
    BusPublishDuration = "bus.publish.duration", Distribution, Millisecond, Local;
    /// Offset commits that failed.
    BusCommitFailures = "bus.commit.failures", Counter, None, Each;
    /// Times that partitions were assigned to this member anew.
    BusRebalances = "bus.rebalances", Counter, None, Each;
    /// Records a group has yet to read, by `group`, `topic` and `partition`.
    ConsumerLagMessages = "consumer.lag.messages", Gauge, None, Summed;
    /// Age of the oldest record that a group has yet to read.
    ConsumerLagSeconds = "consumer.lag.seconds", Gauge, Second, Summed;

    /// Bets that ended settled, by `game`, `currency` and `outcome` (win, loss).
    BetsSettled = "bets.settled", Counter, None, Each;
    /// Bets that ended rejected, by `game` and `reason`.
    BetsRejected = "bets.rejected", Counter, None, Each;
    /// Bets that ended voided.
    BetsVoided = "bets.voided", Counter, None, Each;
    /// What players staked, by `game` and `currency`.
    BetsStakeSum = "bets.stake.sum", Counter, MinorUnit, Each;
    /// What players were paid out, by `game` and `currency`.
    BetsPayoutSum = "bets.payout.sum", Counter, MinorUnit, Each;
    /// The stakes of settled bets that were voided afterwards, by `game` and `currency`: `bets.stake.sum` still has them.
    BetsVoidedStakeSum = "bets.voided.stake.sum", Counter, MinorUnit, Each;
    /// The payouts of settled bets that were voided afterwards, by `game` and `currency`: `bets.payout.sum` still has them.
    BetsVoidedPayoutSum = "bets.voided.payout.sum", Counter, MinorUnit, Each;
    /// Paid out divided by staked over the window that analytics keeps, by `game`.
    BetsRtpRatio = "bets.rtp.ratio", Gauge, Ratio, Summed;
    /// Milliseconds from the bet's request to its settled answer at the gateway.
    BetsLatency = "bets.latency", Distribution, Millisecond, Each;

    /// Players that did something in the last five minutes.
    PlayersActive = "players.active", Gauge, None, Summed;

    /// Deposits and withdrawals that ended, by `kind` and `outcome` (completed, failed).
    PaymentsEnded = "payments.ended", Counter, None, Each;
    /// Share of deposits and withdrawals that completed over the window that analytics keeps.
    PaymentsSuccessRatio = "payments.success.ratio", Gauge, Ratio, Summed;
    /// Decisions relayed to the ledger and to Kafka, by `origin` (handler, sweeper).
    LedgerRelayed = "ledger.relayed", Counter, None, Summed;
    /// Decisions that the sweeper relayed for a handler that died.
    RelaySwept = "relay.swept", Counter, None, Each;
    /// Notifications sent, by `channel`.
    NotificationsSent = "notifications.sent", Counter, None, Each;
    /// Notifications that could not be sent, by `channel`.
    NotificationsFailed = "notifications.failed", Counter, None, Each;

    /// Cache operations that failed; the cache is never needed for a right answer.
    CacheErrors = "cache.errors", Counter, None, Summed;
    /// Reads of the cache, by `hit`.
    CacheReads = "cache.reads", Counter, None, Summed;
    /// Database operations that failed, by `class`.
    StoreErrors = "store.errors", Counter, None, Summed;

    /// Requests that ended, by `route`, `method` and `status` (499: the caller went away before the answer).
    HttpRequests = "http.server.requests", Counter, None, Summed;
    /// Milliseconds from request to answer (or until its caller went away), by `route`.
    HttpRequestDuration = "http.server.duration", Distribution, Millisecond, Local;
    /// Players that hold a WebSocket open.
    WebsocketConnections = "websocket.connections", Gauge, None, Summed;

    /// Records whose time cannot be (ahead of our clock, or absurd), by `topic`, at each look; they have no latency.
    BusRecordsSkewed = "bus.records.skewed", Counter, None, Summed;
    /// Trace headers that were not used, by `header` and `reason` (malformed, oversized, not_text, duplicate, conflict).
    TraceHeadersDropped = "trace.headers.dropped", Counter, None, Summed;

    /// Copies of envelopes for a real Sentry, by `project` and `outcome` (sent, queue_full, rate_limited, refused, unreachable).
    RecorderForwardCopies = "recorder.forward.copies", Counter, None, Local;
    /// Items that were left out of copies because Sentry limits their category, by `project`.
    RecorderForwardItemsLeftOut = "recorder.forward.items.left_out", Counter, None, Local;
    /// Telemetry that was lost on its way out, by `reason` and `category`.
    TelemetryDrops = "telemetry.drops", Counter, None, Local;
    /// Transactions and spans that the sampler chose not to record, by `category`.
    TelemetrySampledOut = "telemetry.sampled_out", Counter, None, Local;
    /// Series that were not kept because there were too many: a label has too many values.
    TelemetrySeriesRefused = "telemetry.series.refused", Counter, None, Local;
}

/// Labels with few values each (a topic, a group, a game), never an id.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// Adds to a counter.
pub fn count(metric: Metric, value: u64, labels: Labels<'_>) {
    assert_eq!(metric.kind(), Kind::Counter, "{metric:?} is no counter");
    registry::add(metric, value, labels);
    #[expect(clippy::cast_precision_loss, reason = "a single increment is far below 2^53")]
    sentry_export::each(metric, value as f64, labels);
}

/// Sets a gauge.
pub fn gauge(metric: Metric, value: f64, labels: Labels<'_>) {
    assert_eq!(metric.kind(), Kind::Gauge, "{metric:?} is no gauge");
    registry::set(metric, value, labels);
    sentry_export::each(metric, value, labels);
}

/// Adds one value to a distribution.
pub fn distribution(metric: Metric, value: f64, labels: Labels<'_>) {
    assert_eq!(metric.kind(), Kind::Distribution, "{metric:?} is no distribution");
    registry::observe(metric, value, labels);
    sentry_export::each(metric, value, labels);
}
