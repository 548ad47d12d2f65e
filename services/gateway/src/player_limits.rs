//! Sets limits and self-exclusion. The user service stores them, and the payment service's event completes the request. A request
//! whose event came long ago is completed by a look-up there.

use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use chassis::{http::IdempotencyKey, problem::Problem};
use contracts::{EventId, RequestHash, ids};
use http::{Method, StatusCode};
use serde::Serialize;

use crate::{
    app::App,
    auth::Bearer,
    domain::{
        answer::{Answer, json_bytes},
        restriction::{self, RestrictionResult, RestrictionStatus},
    },
    idempotent_write::{LOOK_UP, cached_response, final_response, json_response},
    waiters::{JoinError, Progress},
};

/// A kind of restriction.
#[derive(Clone, Debug)]
pub(crate) struct Restriction {
    pub(crate) method: Method,
    /// Last segment of its path at the user service.
    pub(crate) resource: &'static str,
    /// Route in the command's id.
    pub(crate) route: &'static str,
}

/// Stores the restriction at the user service and waits until the payment service enforces it.
pub(crate) async fn perform<B: Serialize>(
    app: &App,
    player: &Bearer,
    restriction: Restriction,
    key: &IdempotencyKey,
    request_hash: &RequestHash,
    body: &B,
) -> Result<Response, Problem> {
    let id = ids::command_id(&player.id, restriction.route, key.as_str());
    let session = app.sessions.check(player, &app.peers);
    let (session, cached) = tokio::join!(session, app.replies.get(&id));
    session?;
    if let Some(cached) = cached {
        return cached_response(cached, request_hash);
    }
    // The user service gets the derived id as its key, so keys of two players or two routes never collide there.
    let Restriction { method, resource, .. } = restriction;
    let cause = app.peers.restrict(method, &player.id, resource, id.as_str(), body).await?;
    let Some(answer) = wait_for(app, &player.id, &cause, request_hash).await? else {
        let pending = RestrictionResult { status: RestrictionStatus::Pending };
        return Ok(json_response(StatusCode::ACCEPTED, json_bytes(&pending)));
    };
    app.replies.put(&id, request_hash, answer.clone()).await;
    Ok(final_response(answer))
}

/// Waits for the event that confirms this change, and asks the payment service if none comes. Returns `None` when neither confirms
/// it in time.
async fn wait_for(
    app: &App,
    player_id: &str,
    cause: &str,
    request_hash: &RequestHash,
) -> Result<Option<Bytes>, Problem> {
    let Ok(cause_id) = cause.parse::<EventId>() else {
        tracing::error!("the user service returned an invalid event id");
        return Err(Problem::internal());
    };
    let mut waiter = match app.waiters.join(&cause_id, request_hash) {
        Ok(waiter) => waiter,
        Err(JoinError::OtherRequest) => return Err(Problem::idempotency_conflict()),
        Err(JoinError::Full | JoinError::Overloaded(_)) => return Ok(None),
    };
    waiter.set_published();
    // The waiter joins before this check, so either the event finds the waiter or the check finds the event.
    if app.recent_restrictions.contains(cause) {
        app.waiters.answer(cause, &restriction::applied());
    }
    let look_up_wait = LOOK_UP.min(app.wait / 4);
    Ok(match waiter.wait(app.wait - look_up_wait).await {
        Progress::Answered(Answer::Result(body)) => Some(body),
        _ => look_up(app, player_id, cause, look_up_wait.max(LOOK_UP / 2)).await,
    })
}

/// Looks the restriction up at the payment service, because its event came long ago for an old key, or not in time. Returns `None`
/// when the ledger does not have it, or the service does not answer.
async fn look_up(app: &App, player_id: &str, cause: &str, within: Duration) -> Option<Bytes> {
    let found = tokio::time::timeout(within, app.peers.restriction(cause)).await.ok()?.ok()??;
    // An operator can have given another player's event the id of this one.
    (found.player_id == player_id).then(restriction::applied_body)
}
