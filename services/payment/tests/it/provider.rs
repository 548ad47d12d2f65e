//! A card provider that can be told to misbehave.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

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
}

#[derive(Debug)]
struct Books {
    mood: Mood,
    orders: HashMap<String, Value>,
    asked: usize,
}

/// The provider; clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    books: Arc<Mutex<Books>>,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let books = Books { mood: Mood::Fine, orders: HashMap::new(), asked: 0 };
        let books = Arc::new(Mutex::new(books));
        let routes = Router::new()
            .route("/card/v1/charges", post(order).get(find))
            .route("/card/v1/payouts", post(order).get(find))
            .with_state(books.clone());
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
        self.books.lock().unwrap().orders.values().filter(|order| order["status"] == "captured").count()
    }

    /// How often it was asked for anything.
    pub(crate) fn asked(&self) -> usize {
        self.books.lock().unwrap().asked
    }
}

async fn order(
    State(books): State<Arc<Mutex<Books>>>,
    headers: HeaderMap,
    Json(_order): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let (mood, answer) = {
        let mut books = books.lock().unwrap();
        books.asked += 1;
        let mood = books.mood;
        if mood == Mood::Loses {
            return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({})));
        }
        let status = if mood == Mood::Declines { "declined" } else { "captured" };
        let told = json!({ "reference": format!("ref-{}", books.orders.len()), "status": status });
        (mood, books.orders.entry(key).or_insert(told).clone())
    };
    if mood == Mood::TakesAndHangs {
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    (StatusCode::OK, Json(answer))
}

async fn find(
    State(books): State<Arc<Mutex<Books>>>,
    Query(query): Query<HashMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    let mut books = books.lock().unwrap();
    books.asked += 1;
    match books.orders.get(&query["idempotency_key"]) {
        Some(answer) => (StatusCode::OK, Json(answer.clone())),
        None => (StatusCode::NOT_FOUND, Json(json!({}))),
    }
}
