//! A card provider that can be told to misbehave.

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

/// What it does with a new order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Takes it and says so.
    Fine,
    /// Takes it, and never says so: the caller's time-out.
    TakesAndHangs,
    /// Loses it: an error, and nothing was taken.
    Loses,
    /// Declines it.
    Declines,
    /// Takes it and says so under a name that no event of ours can carry.
    LongWinded,
    /// Takes it, and speaks of another amount.
    SaysAnotherAmount,
    /// Something in between answers 422; the provider never hears of it.
    Refused,
    /// Takes it, and loses its answer and every question about it.
    TakesAndFallsSilent,
    /// Loses everything, look-ups too.
    Silent,
}

impl Mood {
    /// Whether questions about an order are lost too.
    fn is_silent(self) -> bool {
        matches!(self, Self::TakesAndFallsSilent | Self::Silent)
    }
}

/// Money in or out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Charge,
    Payout,
}

/// An order as the provider took it down.
#[derive(Debug)]
struct Order {
    kind: Kind,
    amount_minor: i64,
    currency: String,
    /// What it says about it.
    told: Value,
}

impl Order {
    fn is_captured(&self) -> bool {
        self.told["status"] == "captured"
    }
}

#[derive(Debug)]
struct Books {
    mood: Mood,
    orders: HashMap<String, Order>,
    asked: usize,
    voids: usize,
}

impl Books {
    /// Takes an order as the mood is, once per key.
    fn take(&mut self, kind: Kind, key: &str, amount_minor: i64, currency: &str) -> Value {
        let status = if self.mood == Mood::Declines { "declined" } else { "captured" };
        self.keep(kind, key, amount_minor, currency, status)
    }

    fn keep(&mut self, kind: Kind, key: &str, amount_minor: i64, currency: &str, status: &str) -> Value {
        let mut reference = format!("ref-{}", self.orders.len());
        if self.mood == Mood::LongWinded {
            reference.push_str(&"\n".repeat(300));
        }
        let said = if self.mood == Mood::SaysAnotherAmount { amount_minor + 1 } else { amount_minor };
        let told =
            json!({ "reference": reference, "status": status, "amount_minor": said, "currency": currency });
        let order = Order { kind, amount_minor, currency: currency.to_owned(), told };
        self.orders.entry(key.to_owned()).or_insert(order).told.clone()
    }
}

/// The provider; clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    books: Arc<Mutex<Books>>,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let books = Books { mood: Mood::Fine, orders: HashMap::new(), asked: 0, voids: 0 };
        let books = Arc::new(Mutex::new(books));
        let routes = Router::new()
            .route("/card/v1/charges", post(charge).get(find))
            .route("/card/v1/payouts", post(payout).get(find))
            .route("/card/v1/charges/void", post(void_charge))
            .route("/card/v1/payouts/void", post(void_payout))
            .with_state(books.clone());
        // As the real one: it has no ear for strangers.
        let routes = chassis::http::internal(routes, Internal::new(Secret::from(TOKEN)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        telemetry::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, books }
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.books.lock().unwrap().mood = mood;
    }

    /// How often money moved.
    pub(crate) fn captured(&self) -> usize {
        self.books.lock().unwrap().orders.values().filter(|order| order.is_captured()).count()
    }

    /// Its own statement: what it paid out less what it charged, by currency.
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

    /// Takes an order that did not come over HTTP.
    pub(crate) fn take(&self, kind: Kind, key: &str, amount_minor: i64, currency: &str) {
        self.books.lock().unwrap().take(kind, key, amount_minor, currency);
    }

    /// How often it was asked to void something.
    pub(crate) fn voids(&self) -> usize {
        self.books.lock().unwrap().voids
    }

    /// How often it was asked for anything.
    pub(crate) fn asked(&self) -> usize {
        self.books.lock().unwrap().asked
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
    books.asked += 1;
    books.voids += 1;
    if books.mood == Mood::Loses || books.mood.is_silent() {
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({})));
    }
    (StatusCode::OK, Json(books.keep(kind, key, amount_minor, currency, "voided")))
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
    let (mood, answer) = {
        let mut books = books.lock().unwrap();
        books.asked += 1;
        let mood = books.mood;
        match mood {
            Mood::Loses | Mood::Silent => return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({}))),
            Mood::Refused => return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({}))),
            Mood::TakesAndFallsSilent => {
                books.take(kind, key, amount_minor, currency);
                return (StatusCode::BAD_GATEWAY, Json(json!({})));
            }
            _ => {}
        }
        (mood, books.take(kind, key, amount_minor, currency))
    };
    if mood == Mood::TakesAndHangs {
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    (StatusCode::OK, Json(answer))
}

async fn find(
    State(books): Shared,
    Query(query): Query<HashMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    let mut books = books.lock().unwrap();
    books.asked += 1;
    if books.mood.is_silent() {
        return (StatusCode::GATEWAY_TIMEOUT, Json(json!({})));
    }
    match books.orders.get(&query["idempotency_key"]) {
        Some(order) => (StatusCode::OK, Json(order.told.clone())),
        None => (StatusCode::NOT_FOUND, Json(json!({}))),
    }
}
