//! Fakes of the services that the gateway calls. They record calls and return prepared responses.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{HeaderMap, Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use chassis::internal::INTERNAL_TOKEN_PROBLEM;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::INTERNAL_TOKEN;

/// The fakes. Clones share their records.
#[derive(Clone, Default)]
pub(crate) struct FakePeers {
    records: Arc<Mutex<Records>>,
}

/// Prepared responses, and the calls so far.
#[derive(Default)]
pub(crate) struct Records {
    /// Open sessions with their players.
    pub(crate) sessions: HashMap<String, String>,
    bets: HashMap<String, Value>,
    payments: HashMap<String, Value>,
    restrictions: HashMap<String, Value>,
    history: HashMap<String, Vec<Value>>,
    /// The card provider's calls that reached the payment service.
    pub(crate) webhooks: Vec<(HeaderMap, String)>,
    pub(crate) session_checks: usize,
    /// The debug faults that reached a service, with their bodies.
    pub(crate) debug: Vec<(String, Value)>,
    /// Networks of the log-ins and registrations, as sent to the user service.
    pub(crate) networks: Vec<String>,
    /// Path and query of each call.
    pub(crate) targets: Vec<String>,
    /// Baggage of each call.
    pub(crate) baggage: Vec<String>,
    /// The services expect another internal token, except for session checks.
    pub(crate) token_changed: bool,
    /// A log-out ends the session but returns an error.
    pub(crate) log_outs_fail: bool,
}

impl FakePeers {
    /// Starts all of them on one free port.
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let peers = Self::default();
        let routes = Router::new()
            .route("/internal/v1/players", post(register))
            .route("/internal/v1/sessions", post(log_in))
            .route("/internal/v1/sessions/current", get(session).delete(end_session))
            .route("/internal/v1/players/{id}", get(profile))
            .route("/internal/v1/players/{id}/bets", get(history))
            .route("/internal/v1/players/{id}/limits", put(restrict))
            .route("/internal/v1/players/{id}/self-exclusion", post(restrict))
            .route("/internal/v1/bets/{id}", get(bet))
            .route("/internal/v1/games/slots/pay-table", get(pay_table))
            .route("/internal/v1/payments/{id}", get(payment))
            .route("/internal/v1/restrictions/{id}", get(restriction))
            .route("/internal/v1/accounts/{id}/balances", get(balances))
            .route("/internal/v1/webhooks/card-provider", post(webhook))
            .route("/internal/v1/debug/{fault}", post(debug))
            .layer(middleware::from_fn_with_state(peers.clone(), check_token))
            .with_state(peers.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        telemetry::spawn(async move { axum::serve(listener, routes).await });
        (peers, address)
    }

    pub(crate) fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().expect("unpoisoned")
    }

    /// Adds an open session.
    pub(crate) fn open_session(&self, session_id: &str, player_id: &str) {
        self.records().sessions.insert(session_id.to_owned(), player_id.to_owned());
    }

    /// Sets the game service's record of a bet.
    pub(crate) fn set_bet(&self, bet_id: &str, bet: Value) {
        self.records().bets.insert(bet_id.to_owned(), bet);
    }

    /// Sets a player's history at the user service, latest first.
    pub(crate) fn set_history(&self, player_id: &str, bets: Vec<Value>) {
        self.records().history.insert(player_id.to_owned(), bets);
    }

    /// Sets the payment service's record of a payment.
    pub(crate) fn set_payment(&self, payment_id: &str, payment: Value) {
        self.records().payments.insert(payment_id.to_owned(), payment);
    }

    /// Sets the payment service's record of a restriction.
    pub(crate) fn set_restriction(&self, cause_id: &str, player_id: &str) {
        let restriction = json!({ "cause_id": cause_id, "player_id": player_id });
        self.records().restrictions.insert(cause_id.to_owned(), restriction);
    }

    fn count_log_in(&self, headers: &HeaderMap) {
        let network = headers["x-client-network"].to_str().expect("text").to_owned();
        self.records().networks.push(network);
    }
}

/// Rejects a call that does not carry the token exactly once, like the real services.
async fn check_token(State(peers): State<FakePeers>, request: Request, next: Next) -> Response {
    let tokens: Vec<_> = request.headers().get_all("x-internal-token").iter().collect();
    let is_session_check =
        request.method() == Method::GET && request.uri().path() == "/internal/v1/sessions/current";
    let has_changed = peers.records().token_changed && !is_session_check;
    if tokens != [INTERNAL_TOKEN] || has_changed {
        let problem = json!({ "type": format!("/problems/{INTERNAL_TOKEN_PROBLEM}"), "title": "Refused", "status": 401 });
        return (StatusCode::UNAUTHORIZED, Json(problem)).into_response();
    }
    let baggage = request.headers().get("baggage").and_then(|value| value.to_str().ok());
    peers.records().baggage.push(baggage.unwrap_or_default().to_owned());
    peers.records().targets.push(request.uri().to_string());
    next.run(request).await
}

/// Fails as a service with the fault does. `memory-leak` succeeds, and `infinite-loop` finds another fault running.
async fn debug(
    State(peers): State<FakePeers>,
    Path(fault): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    peers.records().debug.push((fault.clone(), body));
    if fault == "memory-leak" {
        let report =
            json!({ "service": "game", "fault": fault, "detail": "leaked", "sentry_event_id": "e2" });
        return Json(report).into_response();
    }
    if fault == "infinite-loop" {
        let problem = json!({ "type": "/problems/debug-busy", "title": "Busy", "status": 429 });
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], Json(problem)).into_response();
    }
    let problem =
        json!({ "type": "/problems/debug-fault", "title": "Failed", "status": 500, "sentry_event_id": "e1" });
    let content_type = [("content-type", "application/problem+json")];
    (StatusCode::INTERNAL_SERVER_ERROR, content_type, Json(problem)).into_response()
}

async fn register(State(peers): State<FakePeers>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    peers.count_log_in(&headers);
    assert!(headers.contains_key("idempotency-key"), "the user service needs the key");
    if body["email"] == "taken@players.example" {
        let problem = json!({ "type": "/problems/email-taken", "title": "Taken", "status": 409, "trace_id": "not yours" });
        return (StatusCode::CONFLICT, Json(problem)).into_response();
    }
    (StatusCode::CREATED, Json(json!({ "player_id": "p-1" }))).into_response()
}

async fn log_in(State(peers): State<FakePeers>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    peers.count_log_in(&headers);
    if body["email"] == "guessed@players.example" {
        let problem =
            json!({ "type": "/problems/too-many-requests", "title": "Too many requests", "status": 429 });
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "27")], Json(problem)).into_response();
    }
    if body["email"] == "wrong@players.example" {
        let problem = json!({ "type": "/problems/unauthorized", "title": "Authentication required", "status": 401, "detail": "the password is wrong" });
        return (StatusCode::UNAUTHORIZED, Json(problem)).into_response();
    }
    peers.open_session("s-1", "p-1");
    let session = json!({ "player_id": "p-1", "session_id": "s-1", "expires_at_epoch_s": 4_102_444_800_u64 });
    Json(session).into_response()
}

fn session_id(headers: &HeaderMap) -> &str {
    headers.get("x-session-id").and_then(|id| id.to_str().ok()).expect("the user service needs the session")
}

async fn end_session(State(peers): State<FakePeers>, headers: HeaderMap) -> StatusCode {
    let mut records = peers.records();
    records.sessions.remove(session_id(&headers));
    match records.log_outs_fail {
        true => StatusCode::INTERNAL_SERVER_ERROR,
        false => StatusCode::NO_CONTENT,
    }
}

async fn session(State(peers): State<FakePeers>, headers: HeaderMap) -> Response {
    let mut records = peers.records();
    records.session_checks += 1;
    match records.sessions.get(session_id(&headers)) {
        Some(player_id) => Json(json!({ "player_id": player_id })).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn profile(Path(id): Path<String>) -> Json<Value> {
    Json(json!({
        "player_id": id, "email": "ada@players.example", "display_name": "Ada", "currency": "EUR",
        "kyc_status": "pending", "email_enabled": true, "self_excluded_until_epoch_ms": null,
        "limits": { "max_stake_minor": 500, "daily_loss_minor": null, "currency": "EUR" },
        "registered_at_epoch_ms": 1,
    }))
}

async fn pay_table() -> Json<Value> {
    let fraction = json!({ "numerator": 1, "denominator": 2, "percent": "50.000" });
    Json(json!({
        "game": "slots", "version": "1", "stake_minor_min": 1, "stake_minor_max": 1_000, "rtp": fraction,
        "hit_rate": fraction, "combinations": 8, "pays": [{ "line": ["bar", "bar", "bar"], "multiplier": 4 }],
        "strips": [["bar"], ["bar"], ["bar"]],
    }))
}

async fn history(State(peers): State<FakePeers>, Path(id): Path<String>) -> Json<Value> {
    let bets = peers.records().history.get(&id).cloned().unwrap_or_default();
    Json(json!({ "bets": bets, "next": "the next page" }))
}

async fn restrict(headers: HeaderMap) -> Json<Value> {
    let key = headers
        .get("idempotency-key")
        .and_then(|key| key.to_str().ok())
        .expect("the user service needs the key");
    Json(json!({ "event_id": format!("event-of-{key}") }))
}

async fn bet(State(peers): State<FakePeers>, Path(id): Path<String>) -> Response {
    found(peers.records().bets.get(&id))
}

async fn payment(State(peers): State<FakePeers>, Path(id): Path<String>) -> Response {
    found(peers.records().payments.get(&id))
}

async fn restriction(State(peers): State<FakePeers>, Path(id): Path<String>) -> Response {
    found(peers.records().restrictions.get(&id))
}

fn found(document: Option<&Value>) -> Response {
    document
        .map_or_else(|| StatusCode::NOT_FOUND.into_response(), |found| Json(found.clone()).into_response())
}

async fn balances(Path(id): Path<String>) -> Response {
    match id.as_str() {
        "p-1" => Json(json!({ "balances": { "EUR": 1234 } })).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn webhook(State(peers): State<FakePeers>, headers: HeaderMap, body: String) -> StatusCode {
    if headers.get("x-card-signature").is_some_and(|signature| signature == "forged") {
        return StatusCode::UNAUTHORIZED;
    }
    peers.records().webhooks.push((headers, body));
    StatusCode::ACCEPTED
}
