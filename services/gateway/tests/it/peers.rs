//! Stand-ins for the user, game and payment services. They record calls and return prepared answers.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{HeaderMap, Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::stage::INTERNAL_TOKEN;

/// State of the stand-ins. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Behind {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    sessions: Mutex<HashMap<String, String>>,
    bets: Mutex<HashMap<String, Value>>,
    payments: Mutex<HashMap<String, Value>>,
    history: Mutex<HashMap<String, Vec<Value>>>,
    webhooks: Mutex<Vec<(HeaderMap, String)>>,
    session_checks: AtomicUsize,
    log_ins: AtomicUsize,
    networks: Mutex<Vec<String>>,
    targets: Mutex<Vec<String>>,
    token_changed: AtomicBool,
    log_outs_break: AtomicBool,
}

impl Behind {
    /// Starts all three on one free port.
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let behind = Self::default();
        let routes = Router::new()
            .route("/internal/v1/players", post(register))
            .route("/internal/v1/sessions", post(log_in))
            .route("/internal/v1/sessions/current", get(session).delete(end_session))
            .route("/internal/v1/players/{id}", get(profile))
            .route("/internal/v1/players/{id}/bets", get(history))
            .route("/internal/v1/players/{id}/limits", put(restrict))
            .route("/internal/v1/players/{id}/self-exclusion", post(restrict))
            .route("/internal/v1/bets/{id}", get(bet))
            .route("/internal/v1/games/slots/pay-table", get(|| async { Json(json!({ "pays": [] })) }))
            .route("/internal/v1/payments/{id}", get(payment))
            .route("/internal/v1/accounts/{id}/balances", get(balances))
            .route("/internal/v1/webhooks/card-provider", post(webhook))
            .layer(middleware::from_fn_with_state(behind.clone(), only_ours))
            .with_state(behind.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        telemetry::spawn(async move { axum::serve(listener, routes).await });
        (behind, address)
    }

    /// Adds an open session.
    pub(crate) fn open_session(&self, session_id: &str, player_id: &str) {
        self.inner.sessions.lock().expect("unpoisoned").insert(session_id.to_owned(), player_id.to_owned());
    }

    /// Ends a session.
    pub(crate) fn end_session(&self, session_id: &str) {
        self.inner.sessions.lock().expect("unpoisoned").remove(session_id);
    }

    /// Makes the services expect another internal token, except for session checks.
    pub(crate) fn change_the_token(&self) {
        self.inner.token_changed.store(true, Ordering::SeqCst);
    }

    /// Makes a log-out end the session but answer with an error.
    pub(crate) fn break_log_outs(&self) {
        self.inner.log_outs_break.store(true, Ordering::SeqCst);
    }

    /// Sets the game service's record of a bet.
    pub(crate) fn know_bet(&self, bet_id: &str, bet: Value) {
        self.inner.bets.lock().expect("unpoisoned").insert(bet_id.to_owned(), bet);
    }

    /// Sets a player's history at the user service, latest first.
    pub(crate) fn know_history(&self, player_id: &str, bets: Vec<Value>) {
        self.inner.history.lock().expect("unpoisoned").insert(player_id.to_owned(), bets);
    }

    /// Sets the payment service's record of a payment.
    pub(crate) fn know_payment(&self, payment_id: &str, payment: Value) {
        self.inner.payments.lock().expect("unpoisoned").insert(payment_id.to_owned(), payment);
    }

    /// Number of session checks.
    pub(crate) fn session_checks(&self) -> usize {
        self.inner.session_checks.load(Ordering::SeqCst)
    }

    /// Number of log-ins and registrations that reached the user service.
    pub(crate) fn log_ins(&self) -> usize {
        self.inner.log_ins.load(Ordering::SeqCst)
    }

    /// Networks of the log-ins and registrations, as sent to the user service.
    pub(crate) fn networks(&self) -> Vec<String> {
        self.inner.networks.lock().expect("unpoisoned").clone()
    }

    fn someone_wants_in(&self, headers: &HeaderMap) {
        self.inner.log_ins.fetch_add(1, Ordering::SeqCst);
        let network = headers["x-client-network"].to_str().expect("text").to_owned();
        self.inner.networks.lock().expect("unpoisoned").push(network);
    }

    /// Path and query of each call.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.inner.targets.lock().expect("unpoisoned").clone()
    }

    /// The card provider's calls that reached the payment service.
    pub(crate) fn webhooks(&self) -> Vec<(HeaderMap, String)> {
        self.inner.webhooks.lock().expect("unpoisoned").clone()
    }
}

/// Rejects a call that does not carry the token exactly once, like the real services.
async fn only_ours(State(behind): State<Behind>, request: Request, next: Next) -> Response {
    let tokens: Vec<_> = request.headers().get_all("x-internal-token").iter().collect();
    let is_look = request.method() == Method::GET && request.uri().path() == "/internal/v1/sessions/current";
    let has_changed = behind.inner.token_changed.load(Ordering::SeqCst) && !is_look;
    if tokens != [INTERNAL_TOKEN] || has_changed {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    behind.inner.targets.lock().expect("unpoisoned").push(request.uri().to_string());
    next.run(request).await
}

async fn register(State(behind): State<Behind>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    behind.someone_wants_in(&headers);
    assert!(headers.contains_key("idempotency-key"), "user is told the key");
    if body["email"] == "taken@players.example" {
        let problem = json!({ "type": "/problems/email-taken", "title": "Taken", "status": 409, "trace_id": "not yours" });
        return (StatusCode::CONFLICT, Json(problem)).into_response();
    }
    (StatusCode::CREATED, Json(json!({ "player_id": "p-1" }))).into_response()
}

async fn log_in(State(behind): State<Behind>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    behind.someone_wants_in(&headers);
    if body["email"] == "guessed@players.example" {
        let problem =
            json!({ "type": "/problems/too-many-requests", "title": "Too many requests", "status": 429 });
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "27")], Json(problem)).into_response();
    }
    if body["email"] == "wrong@players.example" {
        let problem = json!({ "type": "/problems/unauthorized", "title": "Log in first", "status": 401, "detail": "the password is wrong" });
        return (StatusCode::UNAUTHORIZED, Json(problem)).into_response();
    }
    behind.open_session("s-1", "p-1");
    let session = json!({ "player_id": "p-1", "session_id": "s-1", "expires_at_epoch_s": 4_102_444_800_u64 });
    Json(session).into_response()
}

fn session_id(headers: &HeaderMap) -> &str {
    headers.get("x-session-id").and_then(|id| id.to_str().ok()).expect("user is told the session")
}

async fn end_session(State(behind): State<Behind>, headers: HeaderMap) -> StatusCode {
    behind.end_session(session_id(&headers));
    match behind.inner.log_outs_break.load(Ordering::SeqCst) {
        true => StatusCode::INTERNAL_SERVER_ERROR,
        false => StatusCode::NO_CONTENT,
    }
}

async fn session(State(behind): State<Behind>, headers: HeaderMap) -> Response {
    behind.inner.session_checks.fetch_add(1, Ordering::SeqCst);
    match behind.inner.sessions.lock().expect("unpoisoned").get(session_id(&headers)) {
        Some(player_id) => Json(
            json!({ "player_id": player_id, "kyc_status": "pending", "self_excluded_until_epoch_ms": null }),
        )
        .into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn profile(Path(id): Path<String>) -> Json<Value> {
    Json(json!({ "player_id": id, "display_name": "Ada" }))
}

async fn history(State(behind): State<Behind>, Path(id): Path<String>) -> Json<Value> {
    let bets = behind.inner.history.lock().expect("unpoisoned").get(&id).cloned().unwrap_or_default();
    Json(json!({ "bets": bets, "next": "the next place" }))
}

async fn restrict(headers: HeaderMap) -> Json<Value> {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).expect("user is told the key");
    Json(json!({ "event_id": format!("event-of-{key}") }))
}

async fn bet(State(behind): State<Behind>, Path(id): Path<String>) -> Response {
    found(&behind.inner.bets, &id)
}

async fn payment(State(behind): State<Behind>, Path(id): Path<String>) -> Response {
    found(&behind.inner.payments, &id)
}

fn found(known: &Mutex<HashMap<String, Value>>, id: &str) -> Response {
    match known.lock().expect("unpoisoned").get(id) {
        Some(document) => Json(document.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn balances(Path(id): Path<String>) -> Response {
    match id.as_str() {
        "p-1" => Json(json!({ "balances": { "EUR": 1234 } })).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn webhook(State(behind): State<Behind>, headers: HeaderMap, body: String) -> StatusCode {
    if headers.get("x-card-signature").is_some_and(|signature| signature == "forged") {
        return StatusCode::UNAUTHORIZED;
    }
    behind.inner.webhooks.lock().expect("unpoisoned").push((headers, body));
    StatusCode::OK
}
