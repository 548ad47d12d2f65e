//! Fake card provider with selectable faults.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use chassis::config::Secret;
use chassis::internal::Internal;
use serde_json::{Value, json};

use crate::service::TOKEN;

/// Reaction to a new order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Accepts it and answers.
    Normal,
    /// Accepts it and never answers, so the caller times out.
    AcceptsAndHangs,
    /// Loses it: answers with an error and accepts nothing.
    Loses,
    /// Declines it.
    Declines,
    /// Accepts it and answers with a reference that no event can carry.
    LongReference,
    /// Accepts it and answers with another amount.
    OtherAmount,
    /// A proxy answers 422, and the provider never receives it.
    Refused,
    /// Accepts it, and loses its answer and all later requests about it.
    AcceptsThenSilent,
    /// Loses all requests, look-ups too.
    Silent,
}

impl Behaviour {
    /// Returns true when requests about an order are lost too.
    fn is_silent(self) -> bool {
        matches!(self, Self::AcceptsThenSilent | Self::Silent)
    }
}

/// Direction of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Charge,
    Payout,
}

/// Order that the provider has accepted.
#[derive(Debug)]
struct Order {
    kind: Kind,
    amount_minor: i64,
    currency: String,
    /// The provider's answer about the order.
    answer: Value,
}

impl Order {
    fn is_captured(&self) -> bool {
        self.answer["status"] == "captured"
    }
}

#[derive(Debug)]
struct Books {
    behaviour: Behaviour,
    orders: HashMap<String, Order>,
    requests: usize,
    voids: usize,
}

impl Books {
    /// Accepts an order according to the behaviour, once per key.
    fn accept(&mut self, kind: Kind, key: &str, amount_minor: i64, currency: &str) -> Value {
        let status = if self.behaviour == Behaviour::Declines { "declined" } else { "captured" };
        self.store(kind, key, amount_minor, currency, status)
    }

    fn store(&mut self, kind: Kind, key: &str, amount_minor: i64, currency: &str, status: &str) -> Value {
        let mut reference = format!("ref-{}", self.orders.len());
        if self.behaviour == Behaviour::LongReference {
            reference.push_str(&"\n".repeat(300));
        }
        let minor = if self.behaviour == Behaviour::OtherAmount { amount_minor + 1 } else { amount_minor };
        let answer = json!({
            "reference": reference, "status": status, "amount_minor": minor, "currency": currency,
        });
        let order = Order { kind, amount_minor, currency: currency.to_owned(), answer };
        self.orders.entry(key.to_owned()).or_insert(order).answer.clone()
    }
}

/// Fake provider. Clones share their state.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    books: Arc<Mutex<Books>>,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let books = Books { behaviour: Behaviour::Normal, orders: HashMap::new(), requests: 0, voids: 0 };
        let books = Arc::new(Mutex::new(books));
        let routes = Router::new()
            .route("/card/v1/charges", post(charge).get(find))
            .route("/card/v1/payouts", post(payout).get(find))
            .route("/card/v1/charges/void", post(void_charge))
            .route("/card/v1/payouts/void", post(void_payout))
            .with_state(books.clone());
        // Like the real provider, it refuses requests without the token.
        let routes = chassis::http::internal(routes, Internal::new(Secret::from(TOKEN)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        telemetry::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, books }
    }

    pub(crate) fn set(&self, behaviour: Behaviour) {
        self.books.lock().unwrap().behaviour = behaviour;
    }

    /// Returns the number of captured orders.
    pub(crate) fn captured(&self) -> usize {
        self.books.lock().unwrap().orders.values().filter(|order| order.is_captured()).count()
    }

    /// Returns the provider's own statement: payouts minus charges, by currency.
    pub(crate) fn statement(&self) -> BTreeMap<String, i64> {
        let mut sums = BTreeMap::new();
        let books = self.books.lock().unwrap();
        for order in books.orders.values().filter(|order| order.is_captured()) {
            let moved = match order.kind {
                Kind::Charge => -order.amount_minor,
                Kind::Payout => order.amount_minor,
            };
            *sums.entry(order.currency.clone()).or_insert(0) += moved;
        }
        sums
    }

    /// Accepts an order that did not arrive over HTTP.
    pub(crate) fn accept(&self, kind: Kind, key: &str, amount_minor: i64, currency: &str) {
        self.books.lock().unwrap().accept(kind, key, amount_minor, currency);
    }

    /// Returns the number of void requests.
    pub(crate) fn voids(&self) -> usize {
        self.books.lock().unwrap().voids
    }

    /// Returns the number of all requests.
    pub(crate) fn requests(&self) -> usize {
        self.books.lock().unwrap().requests
    }
}

type Shared = State<Arc<Mutex<Books>>>;

async fn charge(books: Shared, headers: HeaderMap, order: Json<Value>) -> (StatusCode, Json<Value>) {
    ordered(books, Kind::Charge, &headers, &order).await
}

async fn payout(books: Shared, headers: HeaderMap, order: Json<Value>) -> (StatusCode, Json<Value>) {
    ordered(books, Kind::Payout, &headers, &order).await
}

async fn void_charge(books: Shared, headers: HeaderMap, order: Json<Value>) -> (StatusCode, Json<Value>) {
    voided(books, Kind::Charge, &headers, &order).await
}

async fn void_payout(books: Shared, headers: HeaderMap, order: Json<Value>) -> (StatusCode, Json<Value>) {
    voided(books, Kind::Payout, &headers, &order).await
}

async fn voided(
    State(books): Shared,
    kind: Kind,
    headers: &HeaderMap,
    order: &Value,
) -> (StatusCode, Json<Value>) {
    let key = headers["idempotency-key"].to_str().unwrap();
    let (amount_minor, currency) =
        (order["amount_minor"].as_i64().unwrap(), order["currency"].as_str().unwrap());
    let mut books = books.lock().unwrap();
    books.requests += 1;
    books.voids += 1;
    if books.behaviour == Behaviour::Loses || books.behaviour.is_silent() {
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({})));
    }
    (StatusCode::OK, Json(books.store(kind, key, amount_minor, currency, "voided")))
}

async fn ordered(
    State(books): Shared,
    kind: Kind,
    headers: &HeaderMap,
    order: &Value,
) -> (StatusCode, Json<Value>) {
    let key = headers["idempotency-key"].to_str().unwrap();
    let (amount_minor, currency) =
        (order["amount_minor"].as_i64().unwrap(), order["currency"].as_str().unwrap());
    let (behaviour, answer) = {
        let mut books = books.lock().unwrap();
        books.requests += 1;
        let behaviour = books.behaviour;
        match behaviour {
            Behaviour::Loses | Behaviour::Silent => {
                return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({})));
            }
            Behaviour::Refused => return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({}))),
            Behaviour::AcceptsThenSilent => {
                books.accept(kind, key, amount_minor, currency);
                return (StatusCode::BAD_GATEWAY, Json(json!({})));
            }
            _ => {}
        }
        (behaviour, books.accept(kind, key, amount_minor, currency))
    };
    if behaviour == Behaviour::AcceptsAndHangs {
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    (StatusCode::OK, Json(answer))
}

async fn find(
    State(books): Shared,
    Query(query): Query<HashMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    let mut books = books.lock().unwrap();
    books.requests += 1;
    if books.behaviour.is_silent() {
        return (StatusCode::GATEWAY_TIMEOUT, Json(json!({})));
    }
    match books.orders.get(&query["idempotency_key"]) {
        Some(order) => (StatusCode::OK, Json(order.answer.clone())),
        None => (StatusCode::NOT_FOUND, Json(json!({}))),
    }
}
