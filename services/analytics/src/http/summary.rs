//! `GET /api/v1/summary?hours=24`: returns RTP and volume per game and currency, and payments per currency.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use chassis::http::{Json, Query};
use chassis::problem::Problem;
use faults::{FaultId, Faults, Place};
use serde::{Deserialize, Serialize};
use store::StoreError;
use store::mongo::ScannedRows;
use time::OffsetDateTime;

use crate::domain::active::ActivePlayers;
use crate::domain::bucket::Level;
use crate::domain::fact::NO_GAME;
use crate::domain::totals::Totals;
use crate::facts::Facts;

/// Longest window of a summary, which is one month.
const HOURS_MAX: u16 = 31 * 24;
const HOURS_DEFAULT: u16 = 24;

#[derive(Clone, Debug)]
pub(crate) struct Sources {
    pub(crate) facts: Facts,
    pub(crate) active: Arc<Mutex<ActivePlayers>>,
    pub(crate) faults: Faults,
    pub(crate) scanned_rows: ScannedRows,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Span {
    hours: Option<u16>,
}

/// Response body.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Window in seconds since 1970. It includes the current hour, which is not complete yet.
    from_s: i64,
    to_s: i64,
    active_players: usize,
    registered: i64,
    games: Vec<GameView>,
    payments: Vec<PaymentsView>,
}

#[derive(Debug, Serialize)]
struct GameView {
    game: String,
    currency: String,
    bets: i64,
    rejected: i64,
    voided: i64,
    stake_minor: i64,
    payout_minor: i64,
    /// Return to player in millionths of the stakes. Null without a bet.
    rtp_ppm: Option<i64>,
}

#[derive(Debug, Serialize)]
struct PaymentsView {
    currency: String,
    completed: i64,
    failed: i64,
    deposited_minor: i64,
    withdrawn_minor: i64,
    /// Share of completed payments in millionths. Null without a payment.
    success_ppm: Option<i64>,
}

pub(crate) async fn show(
    State(sources): State<Sources>,
    Query(span): Query<Span>,
) -> Result<Json<Summary>, Problem> {
    let hours = span.hours.unwrap_or(HOURS_DEFAULT);
    if hours == 0 || hours > HOURS_MAX {
        return Err(Problem::bad_request(format!("`hours` must be from 1 to {HOURS_MAX}")));
    }
    aggregate_slowly(&sources).await?;
    let now_ms = store::time::to_bson(OffsetDateTime::now_utc()).timestamp_millis();
    let to_s = Level::Hour.start_s(now_ms).saturating_add(Level::Hour.length_s());
    let from_s = to_s.saturating_sub(Level::Hour.length_s().saturating_mul(i64::from(hours)));
    let sums = sources.facts.totals_between(Level::Hour, from_s, to_s).await.map_err(unavailable)?;
    let sums = sums.map_err(|too_many| {
        telemetry::report(&too_many, &[]);
        Problem::internal()
    })?;
    let active_players = sources.active.lock().unwrap_or_else(PoisonError::into_inner).count(now_ms);
    Ok(Json(Summary::of(from_s, to_s, active_players, sums)))
}

/// Runs an aggregation without an index first, while the fault `analytics.slow-aggregation` is active.
///
/// Before its rows are written the aggregation would be fast, so the request is not affected then.
async fn aggregate_slowly(sources: &Sources) -> Result<(), Problem> {
    let faults = &sources.faults;
    if chassis::faults::is_active(faults, FaultId::AnalyticsSlowAggregation, Place::Before, None, None)
        && sources.scanned_rows.is_ready().await
        && chassis::faults::active(faults, FaultId::AnalyticsSlowAggregation, None, None).is_some()
    {
        sources.scanned_rows.query().await.map_err(unavailable)?;
    }
    Ok(())
}

fn unavailable(error: StoreError) -> Problem {
    tracing::warn!(error = %error, "reading the summary failed");
    Problem::unavailable("the document store does not answer")
}

impl Summary {
    fn of(from_s: i64, to_s: i64, active_players: usize, sums: Vec<(String, String, Totals)>) -> Self {
        let mut summary =
            Self { from_s, to_s, active_players, registered: 0, games: Vec::new(), payments: Vec::new() };
        for (game, currency, totals) in sums {
            summary.registered = summary.registered.saturating_add(totals.registered);
            if game == NO_GAME {
                summary.payments.push(PaymentsView {
                    currency,
                    completed: totals.payments_completed,
                    failed: totals.payments_failed,
                    deposited_minor: totals.deposited_minor,
                    withdrawn_minor: totals.withdrawn_minor,
                    success_ppm: totals.payment_success_ppm(),
                });
            } else {
                #[cfg(feature = "regression")]
                let payout_minor = i64::from(crate::regression::narrowed(totals.payout_minor));
                #[cfg(not(feature = "regression"))]
                let payout_minor = totals.payout_minor;
                summary.games.push(GameView {
                    game,
                    currency,
                    bets: totals.bets,
                    rejected: totals.rejected,
                    voided: totals.voided,
                    stake_minor: totals.stake_minor,
                    payout_minor,
                    rtp_ppm: totals.rtp_ppm(),
                });
            }
        }
        summary
    }
}
