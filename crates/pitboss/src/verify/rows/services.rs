//! Rows of faults inside one service.

use std::time::Duration;

use faults::FaultId;

use super::{REPEATED, SUM_DEADLINE, SUM_REASON, UNITS, bets, by_metric, slow_records};
use crate::evidence::Evidence;
use crate::verify::{Reach, Row, Workload};

/// Thresholds of Sentry's N+1 detector.
const N_PLUS_ONE_COUNT: usize = 5;
const N_PLUS_ONE_MS: u64 = 50;
/// Duration from which a query is slow for Sentry's detector.
const SLOW_QUERY_MS: u64 = 500;
/// Bets after which a player's win can hardly be missing: one bet in 108 is a big win.
const BIG_WIN_BETS_MAX: u32 = 2_000;
/// Reads of four players in turn, five of each. Those of one player are neither fewer nor more than five.
const READS_OF_FOUR: Workload = Workload::PacedReads { count: 20, interval_ms: 150 };
const READS_OF_ONE: usize = 5;
/// Records that one record becomes, a few below the default of the fault.
const FANNED_OUT: usize = 15;
const ITEMS_TOPIC: &str = "casino.analytics.items.v1";
const SEED_REASON: &str = "the service first writes the rows that the store has to scan";
/// Time for these rows, and for three scans.
const SEED_DEADLINE: Duration = Duration::from_secs(40);
/// Deadline of rows that wait for a big win.
const WIN_DEADLINE: Duration = Duration::from_secs(15);
const WIN_REASON: &str = "eight players at once fill the machine, so that notification is behind the bets";

pub(super) fn payment_random_failure() -> Row {
    let issue = Evidence::issue("payment", "failed before its request was sent");
    let labels = &[("pitboss.kind", "deposit"), ("pitboss.outcome", "failed")];
    let failed = Evidence::MetricAbove { name: "pitboss.payments.ended", labels, min: 3.0 };
    let evidence = Evidence::All(vec![issue, failed]);
    by_metric(Row::new(FaultId::PaymentRandomFailure, Workload::Deposits { count: UNITS }, evidence))
}

/// Half of the deposits fail, and the others are completed.
pub(super) fn random_failure_of_a_share() -> Row {
    let ended = |labels| Evidence::MetricAbove { name: "pitboss.payments.ended", labels, min: 3.0 };
    let evidence = Evidence::All(vec![
        Evidence::issue("payment", "failed before its request was sent"),
        ended(&[("pitboss.kind", "deposit"), ("pitboss.outcome", "failed")]),
        ended(&[("pitboss.kind", "deposit"), ("pitboss.outcome", "completed")]),
    ]);
    // Fewer than three of 24 fail, or are completed, once in 28 000 runs.
    let row = Row::new(FaultId::PaymentRandomFailure, Workload::Deposits { count: 24 }, evidence);
    Row { variant: "share", reach: Reach::Share(50), ..by_metric(row) }
}

/// The delay is below payment's time-out for one request, so that no look-up follows.
pub(super) fn payment_provider_slow() -> Row {
    let evidence = Evidence::SlowSpan {
        service: "payment",
        op: "http.client",
        description_contains: "/card/v1/charges",
        duration_ms_min: 900,
        count_min: REPEATED,
    };
    let row = Row::new(FaultId::PaymentProviderSlow, Workload::Deposits { count: 4 }, evidence);
    Row { params: &[("delay_ms", 1_000)], ..row }
}

/// Payment reports a provider that five requests in a row did not reach.
pub(super) fn payment_provider_down() -> Row {
    let attempts =
        Evidence::SegmentStatus { service: "payment", op: "function", status: "unavailable", count_min: 5 };
    let issue = Evidence::one_issue("payment", "the card provider cannot be reached");
    // Not one deposit is given up: all of them are held.
    let none_failed = Evidence::absent(Evidence::MetricAbove {
        name: "pitboss.payments.ended",
        labels: &[("pitboss.outcome", "failed")],
        min: 1.0,
    });
    let workload = Workload::PacedDeposits { count: UNITS, interval_ms: 200 };
    Row::new(FaultId::PaymentProviderDown, workload, Evidence::All(vec![attempts, issue, none_failed]))
}

pub(super) fn user_unauthorized() -> Row {
    let refused = Evidence::SegmentStatus {
        service: "gateway",
        op: "http.server",
        status: "unauthenticated",
        count_min: REPEATED,
    };
    let issue = Evidence::issue("user", "a valid session was answered as ended");
    let workload = Workload::HistoryReads { count: UNITS, earlier_bets: 0 };
    Row::new(FaultId::UserUnauthorized, workload, Evidence::All(vec![refused, issue]))
}

/// The reads of one player are refused, and of no other.
pub(super) fn unauthorized_for_a_player() -> Row {
    let ended = |status, count_min| Evidence::SegmentStatus {
        service: "gateway",
        op: "http.server",
        status,
        count_min,
    };
    let evidence = Evidence::All(vec![
        ended("unauthenticated", REPEATED),
        Evidence::issue("user", "a valid session was answered as ended"),
        ended("ok", 2 * READS_OF_ONE),
        Evidence::absent(ended("unauthenticated", READS_OF_ONE + 1)),
    ]);
    let row = Row::new(FaultId::UserUnauthorized, READS_OF_FOUR, evidence);
    Row { variant: "player", reach: Reach::Player, ..row }
}

/// The release that runs refuses every read. In the control the fault is armed for another release.
pub(super) fn unauthorized_for_a_release() -> Row {
    Row { variant: "release", reach: Reach::Release, ..user_unauthorized() }
}

pub(super) fn user_n_plus_one() -> Row {
    let workload = Workload::HistoryReads { count: 5, earlier_bets: 110 };
    Row::new(FaultId::UserNPlusOne, workload, n_plus_one("user", "bet_history"))
}

pub(super) fn user_slow_query() -> Row {
    let workload = Workload::HistoryReads { count: UNITS, earlier_bets: 0 };
    let row = Row::new(FaultId::UserSlowQuery, workload, slow_query("user", "slow_query_rows"));
    Row { deadline: SEED_DEADLINE, deadline_reason: SEED_REASON, ..row }
}

/// Twice as many bets as a fast store reads in 50 ms.
pub(super) fn analytics_n_plus_one() -> Row {
    let workload = Workload::Bets { count: 5, earlier_bets: 210 };
    let row = Row::new(FaultId::AnalyticsNPlusOne, workload, n_plus_one("analytics", "facts"));
    Row { params: &[("bets_max", 200)], ..row }
}

pub(super) fn analytics_slow_aggregation() -> Row {
    let evidence = slow_query("analytics", "slow_aggregation_facts");
    let row = Row::new(FaultId::AnalyticsSlowAggregation, Workload::Summaries { count: UNITS }, evidence);
    Row { deadline: SEED_DEADLINE, deadline_reason: SEED_REASON, ..row }
}

/// The records of one bet, published and handled by the same service, all in the trace of the bet.
pub(super) fn analytics_fan_out() -> Row {
    let items = |op| Evidence::SpansInTrace {
        service: "analytics",
        op,
        description_contains: ITEMS_TOPIC,
        count_min: FANNED_OUT,
    };
    let evidence = Evidence::All(vec![items("queue.publish"), items("queue.process")]);
    let row = Row::new(FaultId::AnalyticsFanOut, bets(UNITS), evidence);
    Row { culprit: "the producer of the items, which is analytics itself, and not their consumer", ..row }
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

fn slow_query(service: &'static str, description_contains: &'static str) -> Evidence {
    let (op, duration_ms_min, count_min) = ("db", SLOW_QUERY_MS, REPEATED);
    Evidence::SlowSpan { service, op, description_contains, duration_ms_min, count_min }
}

pub(super) fn game_cpu_spike() -> Row {
    let slow = slow_records("game", "casino.bets.commands.v1", 250);
    // Sampling begins shortly before the function and ends shortly after it.
    let profile =
        Evidence::ProfileFrame { service: "game", function_contains: "hunt_primes", share_percent_min: 50 };
    Row::new(FaultId::GameCpuSpike, bets(UNITS), Evidence::All(vec![slow, profile]))
}

/// Payouts as the pay table owes them, beside those that were made, for the same reels.
pub(super) fn paid_to_owed(fault: FaultId, min: f64, max: f64) -> Row {
    let (numerator, denominator) = ("pitboss.game.payout.paid", "pitboss.game.payout.owed");
    // About one bet in five pays.
    let row = Row::new(fault, bets(60), Evidence::MetricRatio { numerator, denominator, min, max });
    Row { deadline: SUM_DEADLINE, deadline_reason: SUM_REASON, ..row }
}

/// The players are paid more than they stake, too. One win in 60 bets is enough for that.
pub(super) fn game_payout_scale() -> Row {
    let row = paid_to_owed(FaultId::GamePayoutScale, 10.0, 1_000.0);
    let (numerator, denominator) = ("pitboss.bets.payout.sum", "pitboss.bets.stake.sum");
    let paid = Evidence::MetricRatio { numerator, denominator, min: 1.5, max: f64::INFINITY };
    Row { evidence: Evidence::All(vec![row.evidence, paid]), ..row }
}

pub(super) fn notification_provider_down() -> Row {
    let evidence = Evidence::SegmentStatus {
        service: "notification",
        op: "function",
        status: "unavailable",
        count_min: 1,
    };
    let row = Row::new(FaultId::NotificationProviderDown, one_big_win(), evidence);
    const EXEMPT: &[(&str, &str)] =
        &[("error rate above 1 %", "one e-mail fails, and the alert needs three failed transactions")];
    Row { exempt: EXEMPT, ..waiting_for_a_win(row) }
}

pub(super) fn notification_provider_slow() -> Row {
    let evidence = Evidence::SlowSpan {
        service: "notification",
        op: "function",
        description_contains: "send mail",
        duration_ms_min: 1_900,
        count_min: 1,
    };
    let row = Row::new(FaultId::NotificationProviderSlow, one_big_win(), evidence);
    const EXEMPT: &[(&str, &str)] =
        &[("p95 above 500 ms", "e-mails are sent in the background, so no request waits for a slow one")];
    Row { params: &[("delay_ms", 2_000)], exempt: EXEMPT, ..waiting_for_a_win(row) }
}

fn waiting_for_a_win(row: Row) -> Row {
    Row { is_slow: true, deadline: WIN_DEADLINE, deadline_reason: WIN_REASON, ..row }
}

const fn one_big_win() -> Workload {
    Workload::BigWins { count: 1, bets_max: BIG_WIN_BETS_MAX }
}
