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
    /// Bytes.
    Byte,
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
    /// Records that were handled before and therefore changed nothing.
    BusRecordsDuplicate = "bus.records.duplicate", Counter, None, Summed;
    /// Records that can never be handled.
    BusRecordsPoison = "bus.records.poison", Counter, None, Each;
    /// Records parked in a dead-letter topic.
    BusRecordsDeadLettered = "bus.records.dead_lettered", Counter, None, Each;
    /// Records that moved to a retry topic and are handled again when they are due.
    BusRecordsDeferred = "bus.records.deferred", Counter, None, Each;
    /// Records that the broker deleted before a group read them, by `topic`, `group` and `partition`.
    BusRecordsMissed = "bus.records.missed", Counter, None, Each;
    /// 1 while a group pauses or tries single records, because most of its records became dead letters, by `group`.
    BusBreakerOpen = "bus.breaker.open", Gauge, None, Summed;
    /// Attempts to handle a record that failed transiently and were retried.
    BusRecordsRetried = "bus.records.retried", Counter, None, Summed;
    /// Records without a handler in their group, by `topic` and `group`.
    BusRecordsSkipped = "bus.records.skipped", Counter, None, Summed;
    /// Partitions with a record that cannot be read now, by `group`.
    BusPartitionsUnreadable = "bus.partitions.unreadable", Gauge, None, Summed;
    /// Duration of handling one record, in milliseconds.
    BusRecordDuration = "bus.record.duration", Distribution, Millisecond, Local;
    /// Records published and acknowledged, by `topic`.
    BusPublishCount = "bus.publish.count", Counter, None, Summed;
    /// Publishes that the broker or client refused, so that nothing was written.
    BusPublishRefused = "bus.publish.refused", Counter, None, Each;
    /// Acknowledged publishes that were sent more than once, because an earlier answer was lost or an error, by `topic`. Only
    /// where `kafka.publish_retries_shown` is on.
    BusPublishRetried = "bus.publish.retried", Counter, None, Each;
    /// Publishes without an acknowledgement in time. The record may or may not have been written.
    BusPublishUnknown = "bus.publish.unknown", Counter, None, Each;
    /// Time from publish to acknowledgement, in milliseconds.
    BusPublishDuration = "bus.publish.duration", Distribution, Millisecond, Local;
    /// Offset commits that failed.
    BusCommitFailures = "bus.commit.failures", Counter, None, Each;
    /// Assignments of partitions to this member.
    BusRebalances = "bus.rebalances", Counter, None, Each;
    /// Records that a group has not read yet, by `group`, `topic` and `partition`.
    ConsumerLagMessages = "consumer.lag.messages", Gauge, None, Summed;
    /// Time since the oldest record that a group has not read yet was first seen, in seconds, by `group`, `topic` and `partition`.
    ConsumerLagSeconds = "consumer.lag.seconds", Gauge, Second, Summed;
    /// Records of these that open transactions hold back, by `group` and `topic`.
    ConsumerLagHeld = "consumer.lag.held", Gauge, None, Summed;
    /// Time since the last reading of the lag that succeeded, in seconds. Without a reading there is no lag to show.
    ConsumerLagReadingAge = "consumer.lag.reading.age", Gauge, Second, Summed;
    /// Current members of a group, seen from outside, by `group`.
    ConsumerMembers = "consumer.members", Gauge, None, Summed;
    /// Members that joined a group, seen from outside, by `group`. A consumer that starts again joins as a new member.
    ConsumerJoins = "consumer.joins", Counter, None, Summed;

    /// Settled bets, by `game`, `currency` and `outcome` (win, loss).
    BetsSettled = "bets.settled", Counter, None, Each;
    /// Rejected bets, by `game` and `reason`.
    BetsRejected = "bets.rejected", Counter, None, Each;
    /// Voided bets, by `game`.
    BetsVoided = "bets.voided", Counter, None, Each;
    /// Sum of the players' stakes, by `game` and `currency`.
    BetsStakeSum = "bets.stake.sum", Counter, MinorUnit, Each;
    /// Sum of the payouts to players, by `game` and `currency`.
    BetsPayoutSum = "bets.payout.sum", Counter, MinorUnit, Each;
    /// Stakes of bets that were voided after they had settled, by `game` and `currency`. `bets.stake.sum` includes them.
    BetsVoidedStakeSum = "bets.voided.stake.sum", Counter, MinorUnit, Each;
    /// Payouts of bets that were voided after they had settled, by `game` and `currency`. `bets.payout.sum` includes them.
    BetsVoidedPayoutSum = "bets.voided.payout.sum", Counter, MinorUnit, Each;
    /// Payouts divided by stakes in the time window of analytics, by `game` and `currency`.
    BetsRtpRatio = "bets.rtp.ratio", Gauge, Ratio, Summed;
    /// Time from the request of a bet to its settled response at the gateway, in milliseconds.
    BetsLatency = "bets.latency", Distribution, Millisecond, Each;
    /// Undecided bets of a gateway that are younger than the longest wait of a request.
    BetsInFlight = "bets.in_flight", Gauge, None, Summed;
    /// Bets that may be in flight in a gateway. It is there only while the platform is overloaded.
    BetsInFlightLimit = "bets.in_flight.limit", Gauge, None, Summed;
    /// Bets that a gateway refused because the platform was overloaded. Nothing of them was published.
    BetsRefused = "bets.refused", Counter, None, Summed;

    /// Payouts that the published pay table owes for the decided bets, by `game`.
    GamePayoutOwed = "game.payout.owed", Counter, MinorUnit, Summed;
    /// Payouts of the decided bets as game pays them, by `game`. Without a fault it equals `game.payout.owed`.
    GamePayoutPaid = "game.payout.paid", Counter, MinorUnit, Summed;

    /// Players with activity in the last five minutes.
    PlayersActive = "players.active", Gauge, None, Summed;

    /// Finished deposits and withdrawals, by `kind` and `outcome` (completed, failed).
    PaymentsEnded = "payments.ended", Counter, None, Each;
    /// Share of completed deposits and withdrawals in the time window of analytics, by `currency`.
    PaymentsSuccessRatio = "payments.success.ratio", Gauge, Ratio, Summed;
    /// Decisions relayed to the ledger and to Kafka, by `origin` (handler, sweeper).
    LedgerRelayed = "ledger.relayed", Counter, None, Summed;
    /// Decisions that the sweeper relayed because their handler had died.
    RelaySwept = "relay.swept", Counter, None, Each;
    /// Notifications sent, by `channel`.
    NotificationsSent = "notifications.sent", Counter, None, Each;
    /// Notifications that could not be sent, by `channel`.
    NotificationsFailed = "notifications.failed", Counter, None, Each;

    /// Failed cache operations. Results stay correct without the cache.
    CacheErrors = "cache.errors", Counter, None, Summed;
    /// Reads of the cache, by `hit`.
    CacheReads = "cache.reads", Counter, None, Summed;
    /// Commands sent to the document store, by `collection`. Writes and reads that were made at the same time share one.
    StoreCommands = "store.commands", Counter, None, Local;
    /// Failed database operations, by `class`.
    StoreErrors = "store.errors", Counter, None, Summed;

    /// Finished requests, by `route`, `method` and `status` (499: the caller disconnected before the response).
    HttpRequests = "http.server.requests", Counter, None, Summed;
    /// Time from request to response (or until the caller disconnected), in milliseconds, by `route`.
    HttpRequestDuration = "http.server.duration", Distribution, Millisecond, Local;
    /// Requests that a gateway refused because there were too many, by `reason` (player, address, credentials: log-ins and
    /// registrations of an address; debug: debug faults; overload: bets).
    RequestsRefused = "requests.refused", Counter, None, Summed;

    /// Worker threads of the async runtime of a process.
    RuntimeWorkers = "runtime.workers", Gauge, None, Summed;
    /// Tasks of the async runtime that have not ended.
    RuntimeTasksAlive = "runtime.tasks.alive", Gauge, None, Summed;
    /// Tasks that wait in the queue that all workers of the async runtime share.
    RuntimeQueueDepth = "runtime.queue.depth", Gauge, None, Summed;
    /// Memory of the process that is in RAM.
    ProcessMemory = "process.memory.resident", Gauge, Byte, Summed;
    /// CPU time of the process, in milliseconds.
    ProcessCpuTime = "process.cpu.time", Counter, Millisecond, Summed;

    /// Findings of the last round of the money audit, by `check`: 0 as long as the money is right.
    AuditFindings = "audit.findings", Gauge, None, Summed;
    /// Records that the money audit has checked, by `check`.
    AuditChecked = "audit.checked", Counter, None, Summed;
    /// Rounds of the money audit, by `outcome` (clean, violated, unproven, failed). An unproven one checked nothing where it had to.
    AuditRounds = "audit.rounds", Counter, None, Summed;

    /// Units of work on which a fault acted, by `fault`.
    FaultsApplied = "faults.applied", Counter, None, Summed;
    /// Flags in the file of the armed faults that are invalid or name no fault. They are off.
    FaultsFlagsInvalid = "faults.flags.invalid", Gauge, None, Summed;
    /// 1 while the faults of the process are counted and have no effect (`faults.ineffective`).
    FaultsIneffective = "faults.ineffective", Gauge, None, Local;

    /// Open connections of clients of the proxy in front of the broker.
    WireConnections = "wire.connections", Gauge, None, Summed;
    /// Clients that the proxy in front of the broker disconnected at once, because it has the largest number of them.
    WireConnectionsRefused = "wire.connections.refused", Counter, None, Each;
    /// Frames that the proxy in front of the broker passed on, by `direction` (request, response).
    WireFrames = "wire.frames", Counter, None, Local;
    /// Bytes that the proxy in front of the broker passed on, by `direction` (request, response).
    WireBytes = "wire.bytes", Counter, None, Local;
    /// Answers to produce requests that the proxy in front of the broker dropped because of a fault.
    WireAnswersDropped = "wire.answers.dropped", Counter, None, Each;

    /// Records with an impossible timestamp (such as one in the future), by `topic`, at each reading. They have no latency.
    BusRecordsSkewed = "bus.records.skewed", Counter, None, Summed;
    /// Trace headers that were not used, by `header` and `reason` (malformed, oversized, not_text, duplicate, conflict, sampling).
    TraceHeadersDropped = "trace.headers.dropped", Counter, None, Summed;

    /// Copies of envelopes for a real Sentry, by `project` and `outcome` (sent, queue_full, rate_limited, refused, unreachable).
    RecorderForwardCopies = "recorder.forward.copies", Counter, None, Local;
    /// Items that were left out of copies because Sentry limits their category, by `project`.
    RecorderForwardItemsLeftOut = "recorder.forward.items.left_out", Counter, None, Local;
    /// Telemetry that was lost before it reached Sentry, by `reason` and `category`.
    TelemetryDrops = "telemetry.drops", Counter, None, Local;
    /// Transactions and spans that the sampler chose not to record, by `category`.
    TelemetrySampledOut = "telemetry.sampled_out", Counter, None, Local;
    /// Series that were refused at the limit, because a label has too many values.
    TelemetrySeriesRefused = "telemetry.series.refused", Counter, None, Local;
}

impl Metric {
    /// The name in Prometheus' text format: with the unit, and `_total` for a counter. The series of a distribution end with
    /// `_bucket`, `_sum` and `_count`.
    pub fn prometheus_name(self) -> String {
        registry::wire_name(self)
    }

    /// The unit in Sentry, `none` if the metric is sent without one. A counter never has one there.
    pub const fn sentry_unit(self) -> &'static str {
        match (self.kind(), self.unit()) {
            (Kind::Counter, _) | (_, Unit::None | Unit::MinorUnit) => "none",
            (_, Unit::Millisecond) => "millisecond",
            (_, Unit::Second) => "second",
            (_, Unit::Byte) => "byte",
            (_, Unit::Ratio) => "ratio",
        }
    }
}

/// Labels with few values each (a topic, a group, a game), never an id.
///
/// A name has no dots. It stands beside its value in the file that counts, where the test of `schemas/names.json` finds it.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// Adds to a counter.
pub fn count(metric: Metric, value: u64, labels: Labels<'_>) {
    assert_eq!(metric.kind(), Kind::Counter, "{metric:?} is not a counter");
    registry::add(metric, value, labels);
    #[expect(clippy::cast_precision_loss, reason = "a single increment is far below 2^53")]
    sentry_export::each(metric, value as f64, labels);
}

/// Sets a gauge.
pub fn gauge(metric: Metric, value: f64, labels: Labels<'_>) {
    assert_eq!(metric.kind(), Kind::Gauge, "{metric:?} is not a gauge");
    registry::set(metric, value, labels);
    sentry_export::each(metric, value, labels);
}

/// Removes a gauge whose value is not known any more. It is exported again when it is set again.
pub fn remove_gauge(metric: Metric, labels: Labels<'_>) {
    assert_eq!(metric.kind(), Kind::Gauge, "{metric:?} is not a gauge");
    registry::remove(metric, labels);
}

/// Adds one value to a distribution.
pub fn distribution(metric: Metric, value: f64, labels: Labels<'_>) {
    assert_eq!(metric.kind(), Kind::Distribution, "{metric:?} is not a distribution");
    registry::observe(metric, value, labels);
    sentry_export::each(metric, value, labels);
}
