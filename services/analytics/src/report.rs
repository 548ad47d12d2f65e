//! Metrics for Sentry and `/metrics`: counters change once per new fact (a replay changes none), gauges once per recompute.
//!
//! Counters only grow, so a void is not subtracted from them. Reversed amounts have their own counters, and the difference is the
//! figure without voided bets. The gauges follow the rollups, which are net of voids.

use std::sync::{Arc, Mutex, PoisonError};

use contracts::{Game, Message};
use telemetry::metric::{self, Metric};
use time::OffsetDateTime;

use crate::domain::active::ActivePlayers;
use crate::domain::bucket::Level;
use crate::domain::fact::{Fact, Kind};
use crate::domain::fold::Rollup;

/// Counts a new fact.
pub(crate) fn count(message: &Message, fact: &Fact) {
    let (game, currency) = (("game", fact.game.as_str()), ("currency", fact.currency.as_str()));
    let (in_minor, out_minor) = (fact.in_minor.unsigned_abs(), fact.out_minor.unsigned_abs());
    let payment =
        |kind, outcome| metric::count(Metric::PaymentsEnded, 1, &[("kind", kind), ("outcome", outcome)]);
    match fact.kind {
        Kind::BetSettled => {
            let outcome = if out_minor > 0 { "win" } else { "loss" };
            metric::count(Metric::BetsSettled, 1, &[game, currency, ("outcome", outcome)]);
            metric::count(Metric::BetsStakeSum, in_minor, &[game, currency]);
            if out_minor > 0 {
                metric::count(Metric::BetsPayoutSum, out_minor, &[game, currency]);
            }
        }
        Kind::BetRejected => {
            let reason = match message {
                Message::BetRejected(bet) => bet.reason().as_str_name(),
                _ => "",
            };
            metric::count(Metric::BetsRejected, 1, &[game, ("reason", reason)]);
        }
        Kind::BetVoided => metric::count(Metric::BetsVoided, 1, &[game]),
        Kind::BetReversed => {
            metric::count(Metric::BetsVoided, 1, &[game]);
            metric::count(Metric::BetsVoidedStakeSum, in_minor, &[game, currency]);
            metric::count(Metric::BetsVoidedPayoutSum, out_minor, &[game, currency]);
        }
        Kind::DepositCompleted => payment("deposit", "completed"),
        Kind::DepositFailed => payment("deposit", "failed"),
        Kind::WithdrawalCompleted => payment("withdrawal", "completed"),
        Kind::WithdrawalFailed => payment("withdrawal", "failed"),
        Kind::PlayerRegistered => {}
    }
}

/// Sets the gauges.
#[derive(Debug)]
pub(crate) struct Reporter {
    active: Arc<Mutex<ActivePlayers>>,
}

impl Reporter {
    pub(crate) fn new(active: Arc<Mutex<ActivePlayers>>) -> Self {
        Self { active }
    }

    /// Sets the gauges after a recompute: return and payment success of the current hour, and active players.
    pub(crate) fn report(&self, rollups: &[Rollup]) {
        let now_ms = store::time::to_bson(OffsetDateTime::now_utc()).timestamp_millis();
        for rollup in rollups {
            if rollup.level != Level::Hour || rollup.bucket.start_s != Level::Hour.start_s(now_ms) {
                continue;
            }
            // A bucket's game is text, and older builds used names that clients had typed. Such names must not become labels.
            let (game, currency) = (Game::label(&rollup.bucket.game), rollup.bucket.currency.as_str());
            if let Some(ppm) = rollup.totals.rtp_ppm() {
                metric::gauge(Metric::BetsRtpRatio, ratio(ppm), &[("game", game), ("currency", currency)]);
            }
            if let Some(ppm) = rollup.totals.payment_success_ppm() {
                metric::gauge(Metric::PaymentsSuccessRatio, ratio(ppm), &[("currency", currency)]);
            }
        }
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner).count(now_ms);
        metric::gauge(Metric::PlayersActive, f64::from(u32::try_from(active).unwrap_or(u32::MAX)), &[]);
    }
}

/// Converts millionths to a share for a graph. No calculation uses it.
fn ratio(ppm: i64) -> f64 {
    f64::from(i32::try_from(ppm).unwrap_or(i32::MAX)) / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bucket::Bucket;
    use crate::domain::totals::Totals;

    #[test]
    fn gauge_of_unknown_game_is_labelled_unknown() {
        let hour_s = Level::Hour.start_s(OffsetDateTime::now_utc().unix_timestamp().saturating_mul(1_000));
        // Rollups of this hour and the next, because the next hour may begin before the report.
        let rollups = [hour_s, hour_s.saturating_add(Level::Hour.length_s())].map(|start_s| Rollup {
            level: Level::Hour,
            bucket: Bucket { start_s, game: "a-made-up-name".to_owned(), currency: "TST".to_owned() },
            totals: Totals::of(Kind::BetSettled, 1, 100, 50),
        });
        Reporter::new(Arc::new(Mutex::new(ActivePlayers::new(1_000, 1)))).report(&rollups);
        let metrics = metric::render_prometheus();
        let gauges = testkit::metrics::series(&metrics, "pitboss_bets_rtp_ratio", &[("currency", "TST")]);
        assert_eq!(gauges, [(r#"currency="TST",game="unknown""#, 0.5)]);
    }
}
