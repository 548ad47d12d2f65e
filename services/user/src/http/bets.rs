//! `GET /internal/v1/players/{player_id}/bets?limit=&before=`: latest first.

use axum::extract::State;
use chassis::http::{Json, Path, Query};
use chassis::problem::Problem;
use faults::{FaultId, Place};
use money::Currency;
use serde::{Deserialize, Serialize};
use store::StoreError;

use super::api::Api;
use super::problems;
use crate::domain::Kind;
use crate::history::{self, HistoryDocument, Page};

#[derive(Deserialize)]
pub(super) struct PageQuery {
    #[serde(default = "page_default")]
    limit: u32,
    before: Option<String>,
}

fn page_default() -> u32 {
    20
}

impl PageQuery {
    /// Reads the requested page of one kind.
    pub(super) async fn read(&self, api: &Api, player_id: &str, kind: Kind) -> Result<Page, Problem> {
        if self.limit == 0 || self.limit > history::PAGE_MAX {
            return Err(Problem::bad_request(format!("limit must be 1 to {}", history::PAGE_MAX)));
        }
        if self.before.as_deref().is_some_and(|before| !history::is_place(before)) {
            return Err(Problem::bad_request("before must be the value of next from an earlier page"));
        }
        telemetry::set_user(player_id);
        search_slowly(api, player_id, kind).await.map_err(problems::store_failed)?;
        let before = self.before.as_deref();
        let page = match single_reads(api, player_id, kind) {
            Some(bets_max) => {
                api.history.page_one_by_one(player_id, kind, self.limit, before, bets_max).await
            }
            None => api.history.page(player_id, kind, self.limit, before).await,
        };
        page.map_err(problems::store_failed)
    }
}

/// Searches rows without an index first, while the fault `user.slow-query` acts on the history of bets.
///
/// Before its rows are written the search would be fast, so the request is not affected then.
async fn search_slowly(api: &Api, player_id: &str, kind: Kind) -> Result<(), StoreError> {
    let (faults, player_id) = (&api.faults, Some(player_id));
    let is_affected = kind == Kind::Bet
        && chassis::faults::is_active(faults, FaultId::UserSlowQuery, Place::Before, player_id, None);
    if is_affected
        && api.scanned_rows.is_ready().await
        && chassis::faults::active(faults, FaultId::UserSlowQuery, player_id, None).is_some()
    {
        api.scanned_rows.query().await?;
    }
    Ok(())
}

/// Returns the number of bets that the fault `user.n-plus-one` reads one by one, while it is active.
fn single_reads(api: &Api, player_id: &str, kind: Kind) -> Option<usize> {
    if kind != Kind::Bet {
        return None;
    }
    let values = chassis::faults::active(&api.faults, FaultId::UserNPlusOne, Some(player_id), None)?;
    Some(usize::try_from(values.get("bets_max")).unwrap_or_default())
}

#[derive(Serialize)]
pub(super) struct Bet {
    bet_id: String,
    game: Option<String>,
    outcome: String,
    stake_minor: i64,
    payout_minor: Option<i64>,
    balance_minor: Option<i64>,
    currency: Currency,
    reels: Vec<String>,
    reason: Option<String>,
    at_epoch_ms: i64,
    trace_id: Option<String>,
}

impl From<HistoryDocument> for Bet {
    fn from(entry: HistoryDocument) -> Self {
        Self {
            bet_id: entry.id,
            game: entry.game,
            outcome: entry.outcome,
            stake_minor: entry.amount_minor,
            payout_minor: entry.payout_minor,
            balance_minor: entry.balance_minor,
            currency: entry.currency,
            reels: entry.reels,
            reason: entry.reason,
            at_epoch_ms: entry.at.timestamp_millis(),
            trace_id: entry.trace_id,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Answer {
    bets: Vec<Bet>,
    next: Option<String>,
}

pub(super) async fn page(
    State(api): State<Api>,
    Path(player_id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Answer>, Problem> {
    let page = query.read(&api, &player_id, Kind::Bet).await?;
    Ok(Json(Answer { bets: page.entries.into_iter().map(Bet::from).collect(), next: page.next }))
}
