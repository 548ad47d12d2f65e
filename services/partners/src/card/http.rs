//! HTTP interface for merchants, with a listener of its own: `POST /card/v1/charges`, `POST /card/v1/charges/void`,
//! `GET /card/v1/charges?idempotency_key=`, and the same for `/card/v1/payouts`.
//!
//! The provider's books are on the main listener, where no fault of the provider acts: `GET /card/v1/statement?since=&limit=`,
//! and the look-ups again.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use chassis::http::{Json, Query};
use chassis::problem::Problem;
use faults::{FaultId, Faults};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::{Card, Kind, Line, Order, Refusal};
use crate::journal::JournalError;

/// Largest number of lines in one answer.
const LINES_MAX: usize = 10_000;

/// State of the routes.
#[derive(Debug, Clone)]
struct Api {
    card: Card,
    faults: Faults,
}

/// Returns the routes for merchants.
pub fn routes(card: Card, faults: Faults) -> Router {
    Router::new()
        .route("/card/v1/charges", post(charge).get(find_charge))
        .route("/card/v1/payouts", post(payout).get(find_payout))
        .route("/card/v1/charges/void", post(void_charge))
        .route("/card/v1/payouts/void", post(void_payout))
        .with_state(Api { card, faults })
}

/// Returns the routes of the provider's books, which move no money.
pub fn books(card: Card) -> Router {
    Router::new()
        .route("/card/v1/charges", get(find_charge))
        .route("/card/v1/payouts", get(find_payout))
        .route("/card/v1/statement", get(statement))
        .with_state(Api { card, faults: Faults::none() })
}

impl Api {
    /// Waits before an answer about a payment while the fault `payment.provider-slow` is active. The order is stored by then.
    async fn delay_answer(&self, idempotency_key: &str) {
        let key = Some(idempotency_key);
        let active = chassis::faults::active(&self.faults, FaultId::PaymentProviderSlow, None, key);
        if let Some(values) = active {
            let delay_ms = u64::try_from(values.get("delay_ms")).unwrap_or_default();
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
    }
}

type OrderResult = Result<(StatusCode, Json<Line>), Problem>;

async fn charge(State(api): State<Api>, headers: HeaderMap, Json(order): Json<Order>) -> OrderResult {
    perform(api, Card::accept, Kind::Charge, &headers, order).await
}

async fn payout(State(api): State<Api>, headers: HeaderMap, Json(order): Json<Order>) -> OrderResult {
    perform(api, Card::accept, Kind::Payout, &headers, order).await
}

async fn void_charge(State(api): State<Api>, headers: HeaderMap, Json(order): Json<Order>) -> OrderResult {
    perform(api, Card::void, Kind::Charge, &headers, order).await
}

async fn void_payout(State(api): State<Api>, headers: HeaderMap, Json(order): Json<Order>) -> OrderResult {
    perform(api, Card::void, Kind::Payout, &headers, order).await
}

/// Operation on an order: accept or void it.
type Operation = fn(&Card, Kind, &str, &Order) -> Result<Line, Refusal>;

async fn perform(api: Api, run: Operation, kind: Kind, headers: &HeaderMap, order: Order) -> OrderResult {
    let key =
        headers.get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (card, order_key) = (api.card.clone(), key.clone());
    let performed = telemetry::spawn_blocking(move || run(&card, kind, &order_key, &order)).await;
    api.delay_answer(&key).await;
    let performed = performed.map_err(|_| Problem::internal())?;
    performed.map(|line| (StatusCode::OK, Json(line))).map_err(|refusal| match refusal {
        Refusal::Invalid(what) => Problem::bad_request(what),
        Refusal::OtherOrder => {
            Problem::new(StatusCode::CONFLICT, "other-order", "The idempotency key belongs to another order")
        }
        Refusal::Journal(error) => {
            tracing::error!(error = %error, "an order was refused because it could not be stored");
            Problem::unavailable("the order could not be stored, try again later")
        }
    })
}

/// Query of a look-up.
#[derive(Debug, Deserialize)]
struct Key {
    idempotency_key: String,
}

async fn find_charge(State(api): State<Api>, Query(key): Query<Key>) -> Result<Json<Line>, Problem> {
    find(api, Kind::Charge, key.idempotency_key).await
}

async fn find_payout(State(api): State<Api>, Query(key): Query<Key>) -> Result<Json<Line>, Problem> {
    find(api, Kind::Payout, key.idempotency_key).await
}

async fn find(api: Api, kind: Kind, key: String) -> Result<Json<Line>, Problem> {
    let (card, order_key) = (api.card.clone(), key.clone());
    let found = read(move || card.find(kind, &order_key)).await;
    api.delay_answer(&key).await;
    found?.map(Json).ok_or_else(Problem::not_found)
}

/// Reads from the disk on a blocking thread, so that no other request waits.
async fn read<T: Send + 'static>(
    from_disk: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, Problem> {
    let read = telemetry::spawn_blocking(from_disk).await.map_err(|_| Problem::internal())?;
    read.map_err(|error| {
        tracing::error!(error = %error, "the statement could not be read");
        Problem::unavailable("the statement cannot be read, try again later")
    })
}

/// Part of the statement.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    since: u64,
    limit: Option<usize>,
}

/// Statement, in the order of the answers.
#[derive(Debug, Serialize)]
struct Statement {
    entries: Vec<Line>,
}

async fn statement(State(api): State<Api>, Query(page): Query<Page>) -> Result<Json<Statement>, Problem> {
    let limit = page.limit.unwrap_or(LINES_MAX).min(LINES_MAX);
    let entries = read(move || api.card.statement(page.since, limit)).await?;
    Ok(Json(Statement { entries }))
}
