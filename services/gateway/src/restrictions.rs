//! Sets limits and self-exclusion. The user service stores them, and the payment service's event completes the request.

use axum::response::Response;
use bytes::Bytes;
use chassis::{http::IdempotencyKey, problem::Problem};
use contracts::{EventId, RequestHash, ids};
use http::{Method, StatusCode};
use serde::Serialize;

use crate::{
    auth::Bearer,
    domain::{
        answer::Answer,
        restriction::{RestrictionResult, RestrictionStatus},
    },
    state::Gateway,
    waiters::{NoSeat, Progress, Seat},
    writes::body_response,
};

/// A kind of restriction.
#[derive(Clone, Debug)]
pub(crate) struct Restriction {
    pub(crate) method: Method,
    /// Name in the user service's interface.
    pub(crate) what: &'static str,
    /// Route in the command's id.
    pub(crate) route: &'static str,
}

/// Answer to a restriction that the ledger enforces.
pub(crate) fn applied() -> Answer {
    Answer::result(&RestrictionResult { status: RestrictionStatus::Applied })
}

/// Stores the restriction at the user service and waits until the payment service enforces it.
pub(crate) async fn perform<B: Serialize>(
    gateway: &Gateway,
    player: &Bearer,
    restriction: Restriction,
    key: &IdempotencyKey,
    request_hash: &RequestHash,
    body: &B,
) -> Result<Response, Problem> {
    let id = ids::command_id(&player.id, restriction.route, key.as_str());
    let session = gateway.sessions.check(player, &gateway.peers);
    let (session, kept) = tokio::join!(session, gateway.replies.get(&id));
    session?;
    if let Some(kept) = kept {
        return if kept.answers(request_hash) {
            Ok(body_response(StatusCode::OK, kept.body))
        } else {
            Err(Problem::idempotency_conflict())
        };
    }
    // The user service gets the derived id as its key, so keys of two players or two routes never collide there.
    let cause =
        gateway.peers.restrict(restriction.method, &player.id, restriction.what, id.as_str(), body).await?;
    let Some(answer) = wait_for(gateway, &cause, request_hash).await? else {
        return Ok(body_response(StatusCode::ACCEPTED, pending()));
    };
    gateway.replies.put(&id, request_hash, answer.clone()).await;
    Ok(body_response(StatusCode::OK, answer))
}

async fn wait_for(
    gateway: &Gateway,
    cause: &str,
    request_hash: &RequestHash,
) -> Result<Option<Bytes>, Problem> {
    let Ok(cause_id) = cause.parse::<EventId>() else {
        tracing::error!("user returned an invalid event id");
        return Err(Problem::internal());
    };
    let mut seat = match gateway.waiters.sit(&cause_id, request_hash) {
        Ok(seat) => seat,
        Err(NoSeat::OtherRequest) => return Err(Problem::idempotency_conflict()),
        Err(NoSeat::Full) => return Ok(None),
    };
    seat.published();
    // The seat comes before this check, so either the event finds the seat or the check finds the event.
    if gateway.recent_restrictions.has(cause) {
        gateway.waiters.answer(cause, &applied());
    }
    Ok(outcome(&mut seat, gateway).await)
}

async fn outcome(seat: &mut Seat, gateway: &Gateway) -> Option<Bytes> {
    match seat.wait(gateway.wait).await {
        Progress::Answered(Answer::Result(body)) => Some(body),
        _ => None,
    }
}

fn pending() -> Bytes {
    serde_json::to_vec(&RestrictionResult { status: RestrictionStatus::Pending })
        .map(Bytes::from)
        .unwrap_or_default()
}
