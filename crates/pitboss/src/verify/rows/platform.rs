//! Rows of faults of clocks, of trace headers, of the stores, and of the receiver of telemetry.

use std::time::Duration;

use faults::FaultId;

use super::{METRIC_DEADLINE, REPEATED, SUM_DEADLINE, SUM_REASON, UNITS, bets, by_metric, lasting};
use crate::evidence::Evidence;
use crate::verify::{Arrives, Begins, Row, Workload};

const BETS_COMMANDS: &str = "casino.bets.commands.v1";
const LATENCY: &str = "messaging.message.receive.latency";
/// Largest receive latency that a local broker explains. The clock of the fault is off by two minutes or more.
const LATENCY_MS_MAX: f64 = 30_000.0;
/// Records that the supervisor publishes for one row.
const INJECTED: u64 = 10;
/// Bets of the load and of the supervisor together.
const ALL_BETS: f64 = 20.0;

/// Skew is counted, and it falsifies no latency.
pub(super) fn clock_skew() -> Row {
    let counted = Evidence::MetricAbove {
        name: "pitboss.bus.records.skewed",
        labels: &[("messaging.destination.name", BETS_COMMANDS)],
        min: 3.0,
    };
    let latency = |service, min, max, count_min| Evidence::SpanNumber {
        service,
        op: "queue.process",
        name: LATENCY,
        min,
        max,
        count_min,
    };
    let plausible = latency("game", 0.0, LATENCY_MS_MAX, REPEATED);
    let negative = latency("", f64::NEG_INFINITY, -1.0, 1);
    let years = latency("", LATENCY_MS_MAX, f64::INFINITY, 1);
    let evidence =
        Evidence::All(vec![counted, plausible, Evidence::absent(negative), Evidence::absent(years)]);
    let row = Row::new(FaultId::ClockSkew, bets(UNITS), evidence);
    Row { culprit: "the clock of gateway, as all records of its topic are skewed", ..by_metric(row) }
}

/// Every bet settles, and none is in the trace of another one.
pub(super) fn hostile_headers() -> Row {
    let dropped = Evidence::MetricAbove { name: "pitboss.trace.headers.dropped", labels: &[], min: 5.0 };
    let joined = Evidence::SpansInTrace {
        service: "game",
        op: "queue.process",
        description_contains: BETS_COMMANDS,
        count_min: 2,
    };
    let evidence = Evidence::All(vec![dropped, all_settled(), Evidence::absent(joined)]);
    injected(Row::new(FaultId::TraceHostileHeaders, bets(UNITS), evidence))
}

/// Every bet settles, and each foreign trace is in all services of its path or in none.
pub(super) fn sampling_conflict() -> Row {
    let conflicts = Evidence::MetricAbove {
        name: "pitboss.trace.headers.dropped",
        labels: &[("pitboss.reason", "sampling")],
        min: 1.0,
    };
    let same = Evidence::SameTraces {
        services: &["game", "payment", "user", "analytics"],
        op: "queue.process",
        without_service: "gateway",
        without_op: "http.server",
        traces_min: 1,
    };
    let evidence = Evidence::All(vec![conflicts, all_settled(), same]);
    injected(Row::new(FaultId::TraceSamplingConflict, bets(UNITS), evidence))
}

/// A clock that is behind by more than the two minutes in which a producer may still be sending.
pub(super) fn clock_behind() -> Row {
    Row { variant: "behind", params: &[("offset_ms", -300_000)], ..clock_skew() }
}

fn all_settled() -> Evidence {
    Evidence::MetricAbove { name: "pitboss.bets.settled", labels: &[], min: ALL_BETS }
}

fn injected(row: Row) -> Row {
    let culprit = "the producer of the records, which is not a Pitboss service";
    // The bets that settled are added up before they are sent.
    let (deadline, deadline_reason) = (SUM_DEADLINE, SUM_REASON);
    Row { begins: Begins::Injected, applied_min: INJECTED, culprit, deadline, deadline_reason, ..row }
}

/// Queries of several services wait at the same time.
pub(super) fn mongo_stall() -> Row {
    let slow = |service| Evidence::SlowSpan {
        service,
        op: "db",
        description_contains: "",
        duration_ms_min: 1_000,
        count_min: 1,
    };
    // Reads of histories ask user's store at any time. Its records come only while game and payment are served. Each 1.6 s have one
    // deposit and one read, so the 2 s in which a query begins that waits for one at least have both, whenever the store is frozen.
    let workload = Workload::Mixed { count: 50, interval_ms: 200 };
    let evidence = Evidence::All(vec![slow("game"), slow("payment"), slow("user")]);
    let row = Row::new(FaultId::MongoStall, workload, evidence);
    Row {
        params: &[("interval_ms", 6_000)],
        culprit: "the document store, as queries of all services wait at the same time",
        deadline: METRIC_DEADLINE,
        deadline_reason: "the store is frozen for 3 s in each 6 s, and a query is reported when it has ended",
        ..row
    }
}

/// Smallest number of misses. The sessions of the four players, when they merely expire, make at most half as many in a minute.
const MISSES_MIN: usize = 8;

/// Reads of sessions miss that hit before, and players stay logged in.
pub(super) fn redis_flush() -> Row {
    let missed = Evidence::CacheMisses { service: "user", count_min: MISSES_MIN };
    let logged_out = Evidence::SegmentStatus {
        service: "gateway",
        op: "http.server",
        status: "unauthenticated",
        count_min: 1,
    };
    let workload = Workload::PacedReads { count: 40, interval_ms: 150 };
    let evidence = Evidence::All(vec![missed, Evidence::absent(logged_out)]);
    let row = Row::new(FaultId::RedisFlush, workload, evidence);
    Row { params: &[("interval_ms", 1_000)], ..row }
}

/// Telemetry that is lost for a reason, and nothing but telemetry. Each way in which the receiver fails has its own reason.
fn lost_by(reason: &'static str) -> Evidence {
    let lost = Evidence::ClientReport { service: "gateway", reason, quantity_min: 1 };
    Evidence::All(vec![lost, Evidence::LoadUnaffected { p50_ratio_max: 2.0 }])
}

/// Nothing but telemetry suffers, and afterwards its loss is reported. Any reason counts, so that no loss is missed in a soak.
pub(super) fn sentry_down() -> Row {
    let workload = Workload::PacedBets { count: 20, interval_ms: 150 };
    let row = Row::new(FaultId::SentryDown, workload, lost_by(""));
    Row {
        arrives: Arrives::AfterTheEnd,
        deadline: Duration::from_secs(15),
        deadline_reason: "senders wait up to 3 s before they try again, and report losses after that",
        ..lasting(row)
    }
}

/// The receiver takes requests and does not answer. The load lasts longer than the 5 s after which a sender gives a request up.
pub(super) fn sentry_hangs() -> Row {
    Row {
        variant: "hangs",
        params: &[("mode", 1)],
        evidence: lost_by("network_error"),
        workload: Workload::PacedBets { count: 40, interval_ms: 200 },
        deadline: Duration::from_secs(20),
        deadline_reason: "a sender waits up to 5 s for an answer and 3 s before it tries again, and reports losses after that",
        ..sentry_down()
    }
}

/// The receiver answers 429, and senders do not send until the time that it names.
pub(super) fn sentry_rate_limited() -> Row {
    Row {
        variant: "rate-limited",
        params: &[("mode", 2)],
        evidence: lost_by("ratelimit_backoff"),
        deadline: Duration::from_secs(20),
        deadline_reason: "the receiver asks its senders to wait 5 s, and they report losses after that",
        ..sentry_down()
    }
}
