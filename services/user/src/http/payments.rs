//! `GET /internal/v1/players/{player_id}/payments?kind=deposit|withdrawal`: latest first.

use axum::extract::State;
use chassis::http::{Json, Path, Query};
use chassis::problem::Problem;
use money::Currency;
use serde::{Deserialize, Serialize};

use super::api::Api;
use super::bets::PageQuery;
use crate::domain::Kind;
use crate::history::HistoryDocument;

/// Direction of the payments. The page is selected as in [`super::bets`].
#[derive(Deserialize)]
pub(super) struct KindQuery {
    kind: Direction,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    Deposit,
    Withdrawal,
}

#[derive(Serialize)]
pub(super) struct Payment {
    payment_id: String,
    kind: String,
    outcome: String,
    amount_minor: i64,
    balance_minor: Option<i64>,
    currency: Currency,
    reason: Option<String>,
    at_epoch_ms: i64,
    trace_id: Option<String>,
}

impl From<HistoryDocument> for Payment {
    fn from(entry: HistoryDocument) -> Self {
        Self {
            payment_id: entry.id,
            kind: entry.kind,
            outcome: entry.outcome,
            amount_minor: entry.amount_minor,
            balance_minor: entry.balance_minor,
            currency: entry.currency,
            reason: entry.reason,
            at_epoch_ms: entry.at.timestamp_millis(),
            trace_id: entry.trace_id,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Answer {
    payments: Vec<Payment>,
    next: Option<String>,
}

pub(super) async fn page(
    State(api): State<Api>,
    Path(player_id): Path<String>,
    Query(query): Query<KindQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Answer>, Problem> {
    let kind = match query.kind {
        Direction::Deposit => Kind::Deposit,
        Direction::Withdrawal => Kind::Withdrawal,
    };
    let page = page.read(&api, &player_id, kind).await?;
    Ok(Json(Answer { payments: page.entries.into_iter().map(Payment::from).collect(), next: page.next }))
}
