//! The HTTP listener: the gateway's route for bets, without sessions.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use rdkafka::producer::FutureProducer;
use serde::Deserialize;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::replies::Waiting;
use crate::{Bet, ChainError, clients};

/// What a request needs.
pub(crate) struct Entry {
    pub(crate) producer: FutureProducer,
    pub(crate) waiting: Arc<Waiting>,
    /// Topic of the commands.
    pub(crate) topic: String,
    /// Time for which a request waits for its outcome.
    pub(crate) reply_deadline: Duration,
}

/// Body of a request.
#[derive(Debug, Deserialize)]
struct PlaceBet {
    game: String,
    stake_minor: i64,
    currency: String,
}

/// Answers requests until the listener fails.
pub(crate) async fn serve(listener: TcpListener, entry: Entry) -> Result<(), ChainError> {
    let router = Router::new().route("/api/v1/bets", post(place)).with_state(Arc::new(entry));
    // A connection on which it fails works, too.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    axum::serve(listener, router).await.map_err(ChainError::io("answering requests"))
}

/// Publishes the bet and answers with its outcome: 202 if there is none in time, 503 if it cannot be published.
async fn place(State(entry): State<Arc<Entry>>, headers: HeaderMap, Json(body): Json<PlaceBet>) -> Response {
    let Some(player_id) = player(&headers) else { return StatusCode::UNAUTHORIZED.into_response() };
    let PlaceBet { game, stake_minor, currency } = body;
    let bet = Bet { bet_id: Uuid::now_v7(), player_id, game, stake_minor, currency };
    let Some(expected) = entry.waiting.expect(bet.bet_id) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let published = match bet.encode() {
        Ok(value) => clients::publish(&entry.producer, &entry.topic, &bet.player_id, &value).await,
        Err(error) => Err(error),
    };
    if published.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match expected.within(entry.reply_deadline).await {
        Some(outcome) => ([(CONTENT_TYPE, "application/json")], outcome).into_response(),
        None => StatusCode::ACCEPTED.into_response(),
    }
}

/// The bearer token, which is not checked: it only names the player.
fn player(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").filter(|token| !token.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn bearer_token_names_the_player() {
        let player = |value: &'static str| {
            player(&HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]))
        };
        assert_eq!(player("Bearer p-1").as_deref(), Some("p-1"));
        assert_eq!((player("Bearer "), player("Basic p-1")), (None, None));
        assert_eq!(super::player(&HeaderMap::new()), None);
    }
}
