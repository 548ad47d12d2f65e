//! The rows of `verify`: one for each fault.

use std::time::Duration;

use faults::FaultId;

use super::{DEADLINE, Row, Workload};
use crate::evidence::Evidence;

/// Deadline of rows whose evidence is a metric.
const METRIC_DEADLINE: Duration = Duration::from_secs(10);
const METRIC_REASON: &str = "a service sends its metrics every 5 s";
/// Deadline of rows whose evidence is a metric that services add up first.
const SUM_DEADLINE: Duration = Duration::from_secs(15);
const SUM_REASON: &str = "a service adds these metrics up for 5 s, and sends its metrics every 5 s";

/// Units of a phase, unless a row needs more.
const UNITS: u32 = 10;
/// Spans or transactions that one row needs, so that a single slow moment of the machine is no evidence.
const REPEATED: usize = 3;
/// Thresholds of Sentry's N+1 detector.
const N_PLUS_ONE_COUNT: usize = 5;
const N_PLUS_ONE_MS: u64 = 50;
/// Bets after which a player's win can hardly be missing: one bet in 108 is a big win.
const BIG_WIN_BETS_MAX: u32 = 2_000;

/// All rows, in the order of [`FaultId::ALL`].
#[must_use]
pub fn rows() -> Vec<Row> {
    FaultId::ALL.into_iter().map(row).collect()
}

/// The row of one fault. A new fault needs an arm here.
fn row(fault: FaultId) -> Row {
    match fault {
        FaultId::PaymentRandomFailure => payment_random_failure(),
        FaultId::PaymentProviderSlow => payment_provider_slow(),
        FaultId::UserUnauthorized => user_unauthorized(),
        FaultId::UserNPlusOne => user_n_plus_one(),
        FaultId::GameCpuSpike => game_cpu_spike(),
        FaultId::GameRtpDrift => paid_to_owed(fault, 0.5, 0.9),
        FaultId::GamePayoutScale => paid_to_owed(fault, 10.0, 1_000.0),
        FaultId::AnalyticsNPlusOne => analytics_n_plus_one(),
        FaultId::ConsumerSlow => consumer_slow(),
        FaultId::ConsumerDuplicate => consumer_duplicate(),
        FaultId::NotificationProviderDown => notification_provider_down(),
        FaultId::NotificationProviderSlow => notification_provider_slow(),
    }
}

/// A row that has nothing special yet.
fn plain(fault: FaultId, workload: Workload, evidence: Evidence) -> Row {
    let (params, deadline, deadline_reason) = (&[], DEADLINE, "");
    Row { fault, params, workload: Some(workload), evidence, deadline, deadline_reason, is_slow: false }
}

fn payment_random_failure() -> Row {
    let issue = Evidence::Issue { service: "payment", title_contains: "failed before its request was sent" };
    let labels = &[("pitboss.kind", "deposit"), ("pitboss.outcome", "failed")];
    let failed = Evidence::MetricAbove { name: "pitboss.payments.ended", labels, min: 3.0 };
    let evidence = Evidence::All(vec![issue, failed]);
    let row = plain(FaultId::PaymentRandomFailure, Workload::Deposits { count: UNITS }, evidence);
    Row { deadline: METRIC_DEADLINE, deadline_reason: METRIC_REASON, ..row }
}

/// The delay is below payment's time-out for one request, so that no look-up follows.
fn payment_provider_slow() -> Row {
    let evidence = Evidence::SlowSpan {
        service: "payment",
        op: "http.client",
        description_contains: "/card/v1/charges",
        duration_ms_min: 900,
        count_min: REPEATED,
    };
    let row = plain(FaultId::PaymentProviderSlow, Workload::Deposits { count: 4 }, evidence);
    Row { params: &[("delay_ms", 1_000)], ..row }
}

fn user_unauthorized() -> Row {
    let refused = Evidence::SegmentStatus {
        service: "gateway",
        op: "http.server",
        status: "unauthenticated",
        count_min: REPEATED,
    };
    let issue = Evidence::Issue { service: "user", title_contains: "a valid session was answered as ended" };
    let workload = Workload::HistoryReads { count: UNITS, earlier_bets: 0 };
    plain(FaultId::UserUnauthorized, workload, Evidence::All(vec![refused, issue]))
}

fn user_n_plus_one() -> Row {
    let workload = Workload::HistoryReads { count: 5, earlier_bets: 110 };
    plain(FaultId::UserNPlusOne, workload, n_plus_one("user", "bet_history"))
}

/// As many bets as the fault can read, so that a fast store needs 50 ms for them too.
fn analytics_n_plus_one() -> Row {
    let workload = Workload::Bets { count: 5, earlier_bets: 110 };
    let row = plain(FaultId::AnalyticsNPlusOne, workload, n_plus_one("analytics", "facts"));
    Row { params: &[("bets_max", 100)], ..row }
}

fn n_plus_one(service: &'static str, description_contains: &'static str) -> Evidence {
    Evidence::Spans {
        service,
        op: "db",
        description_contains,
        same_parent_min: N_PLUS_ONE_COUNT,
        duration_ms_total_min: N_PLUS_ONE_MS,
    }
}

fn game_cpu_spike() -> Row {
    let evidence = slow_records("game", "casino.bets.commands.v1", 250);
    plain(FaultId::GameCpuSpike, bets(UNITS), evidence)
}

/// Payouts as the pay table owes them, beside those that were made, for the same reels.
fn paid_to_owed(fault: FaultId, min: f64, max: f64) -> Row {
    let (numerator, denominator) = ("pitboss.game.payout.paid", "pitboss.game.payout.owed");
    // About one bet in five pays.
    let row = plain(fault, bets(60), Evidence::MetricRatio { numerator, denominator, min, max });
    Row { deadline: SUM_DEADLINE, deadline_reason: SUM_REASON, ..row }
}

/// Four such records are on the way of a bet, which the gateway answers in time with this delay.
fn consumer_slow() -> Row {
    let slow = |service| slow_records(service, "casino.", 380);
    let row = plain(FaultId::ConsumerSlow, bets(5), Evidence::All(vec![slow("game"), slow("payment")]));
    Row { params: &[("delay_ms", 400)], ..row }
}

fn consumer_duplicate() -> Row {
    let duplicates = |service| Evidence::SpanAttribute {
        service,
        op: "queue.process",
        name: "pitboss.outcome",
        value: "duplicate",
        count_min: REPEATED,
    };
    let evidence = Evidence::All(vec![duplicates("payment"), duplicates("user")]);
    plain(FaultId::ConsumerDuplicate, bets(UNITS), evidence)
}

fn notification_provider_down() -> Row {
    let evidence = Evidence::SegmentStatus {
        service: "notification",
        op: "function",
        status: "unavailable",
        count_min: 1,
    };
    Row { is_slow: true, ..plain(FaultId::NotificationProviderDown, one_big_win(), evidence) }
}

fn notification_provider_slow() -> Row {
    let evidence = Evidence::SlowSpan {
        service: "notification",
        op: "function",
        description_contains: "send mail",
        duration_ms_min: 1_900,
        count_min: 1,
    };
    let row = plain(FaultId::NotificationProviderSlow, one_big_win(), evidence);
    Row { params: &[("delay_ms", 2_000)], is_slow: true, ..row }
}

fn slow_records(service: &'static str, description_contains: &'static str, duration_ms_min: u64) -> Evidence {
    let (op, count_min) = ("queue.process", REPEATED);
    Evidence::SlowSpan { service, op, description_contains, duration_ms_min, count_min }
}

const fn bets(count: u32) -> Workload {
    Workload::Bets { count, earlier_bets: 0 }
}

const fn one_big_win() -> Workload {
    Workload::BigWins { count: 1, bets_max: BIG_WIN_BETS_MAX }
}

#[cfg(test)]
mod tests {
    use faults::Values;

    use super::*;

    #[test]
    fn every_fault_has_its_row() {
        let order: Vec<FaultId> = rows().into_iter().map(|row| row.fault).collect();
        assert_eq!(order, FaultId::ALL);
    }

    #[test]
    fn params_are_valid() {
        for row in rows() {
            let values = Values::new(row.fault, row.params.iter().copied());
            assert!(values.is_ok(), "{}: {values:?}", row.fault);
        }
    }

    #[test]
    fn longer_deadline_has_a_reason() {
        for row in rows() {
            assert_eq!(row.deadline > DEADLINE, !row.deadline_reason.is_empty(), "{}", row.fault);
        }
    }

    /// Otherwise the injector would be its own witness.
    #[test]
    fn evidence_does_not_look_into_the_injector() {
        for row in rows() {
            let words = row.evidence.to_string();
            assert!(!words.contains("flag.") && !words.contains("fault"), "{}: {words}", row.fault);
        }
    }

    #[test]
    fn page_describes_every_row() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/EVIDENCE.md");
        let page = std::fs::read_to_string(page).unwrap();
        for row in rows() {
            let line = format!("| `{}` | {} |", row.fault, row.evidence);
            assert!(page.contains(&line), "docs/EVIDENCE.md lacks this line:\n{line}");
        }
    }
}
