//! Handles one write from its key to its answer.
//!
//! It guarantees four things. The command's id is derived from player, route and key, so publishing it again is harmless. A
//! repeated key gets the same bytes: from the waiters, from the cache, or from the service that owns the outcome. The same key
//! with another body is refused without an effect. A 202 follows the broker's acknowledgement.

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chassis::{http::IdempotencyKey, problem::Problem};
use contracts::{
    Event, EventId, Message, RequestHash,
    class::{Classify as _, ErrorClass},
    ids,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use telemetry::metric::{self, Metric};
use tokio::time::Instant;

use crate::{
    auth::Bearer,
    domain::answer::Answer,
    owner::{self, Owner},
    state::Gateway,
    waiters::{NoSeat, Progress, Seat},
};

/// Source name in the commands.
const SOURCE: &str = "gateway";
/// Part of the wait that is reserved for asking the owner when the outcome event does not arrive.
const ASKING: Duration = Duration::from_millis(250);

/// One write request.
#[derive(Debug)]
pub(crate) struct Write {
    /// The player. [`perform`] checks the session.
    pub(crate) player: Bearer,
    /// Part of the command's id: the method and the path.
    pub(crate) route: &'static str,
    pub(crate) key: IdempotencyKey,
    pub(crate) message: Message,
    /// Service that owns the outcome.
    pub(crate) owner: Owner,
    pub(crate) respond_async: bool,
}

/// True when the client prefers not to wait (`respond-async`, RFC 7240).
pub(crate) fn prefers_async(headers: &HeaderMap) -> bool {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|preference| preference.trim().eq_ignore_ascii_case("respond-async"))
}

/// Publishes the write and answers it with its outcome.
pub(crate) async fn perform(gateway: &Gateway, write: Write) -> Result<Response, Problem> {
    // Consumers could not read an invalid command, so it would get neither an outcome nor a refusal.
    write.message.validate().map_err(|wrong| Problem::invalid_body(wrong.to_string()))?;
    let begun = Instant::now();
    let id = ids::command_id(&write.player.id, write.route, write.key.as_str());
    let request_hash = ids::request_hash(&write.message);
    let session = gateway.sessions.check(&write.player, &gateway.peers);
    let (session, kept) = tokio::join!(session, gateway.replies.get(&id));
    session?;
    if let Some(kept) = kept {
        return if kept.answers(&request_hash) {
            Ok(final_response(kept.body))
        } else {
            Err(Problem::idempotency_conflict())
        };
    }
    let mut seat = gateway.waiters.sit(&id, &request_hash).map_err(|why| match why {
        NoSeat::OtherRequest => Problem::idempotency_conflict(),
        NoSeat::Full => Problem::unavailable("too many requests wait for their outcome"),
    })?;
    let command = Event::command(id.clone(), SOURCE, request_hash.clone(), write.message.clone());
    let deadline = begun + gateway.wait;
    let waiting = Waiting {
        gateway,
        write: &write,
        command: &command,
        id: &id,
        request_hash: &request_hash,
        begun,
        deadline,
    };
    waiting.until_answered(&mut seat).await
}

/// One request that waits for one command.
struct Waiting<'a> {
    gateway: &'a Gateway,
    write: &'a Write,
    command: &'a Event,
    id: &'a EventId,
    request_hash: &'a RequestHash,
    begun: Instant,
    deadline: Instant,
}

impl Waiting<'_> {
    async fn until_answered(&self, seat: &mut Seat) -> Result<Response, Problem> {
        let mut led = false;
        loop {
            if seat.leads() {
                self.publish().await?;
                seat.published();
                led = true;
            }
            match self.wait(seat).await {
                Progress::Answered(Answer::Result(body)) => {
                    if led {
                        self.measure();
                        self.gateway.replies.put(self.id, self.request_hash, body.clone()).await;
                    }
                    return Ok(final_response(body));
                }
                Progress::Answered(Answer::Conflict) => return self.whose_conflict().await,
                Progress::Published if self.write.respond_async => return Ok(self.accepted().await),
                Progress::Published => {
                    return match self.ask_the_owner().await {
                        Some(answer) => answer,
                        None => Ok(self.accepted().await),
                    };
                }
                Progress::Publishing => {
                    return Err(Problem::unavailable(
                        "the command is not acknowledged yet; repeat with the same key",
                    ));
                }
                Progress::Abandoned => {
                    seat.try_to_lead();
                }
            }
        }
    }

    async fn publish(&self) -> Result<(), Problem> {
        let repeat = "the command was not acknowledged; repeat with the same key";
        match tokio::time::timeout_at(self.deadline, self.gateway.commands.publish(self.command)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                if error.class() == ErrorClass::Fatal {
                    self.gateway.gave_up.cancel();
                }
                let event_id =
                    telemetry::report(&error, &[("event.type", self.command.message.event_type().as_str())]);
                Err(Problem::unavailable(repeat).sentry_event(event_id))
            }
            Err(_) => Err(Problem::unavailable(repeat)),
        }
    }

    /// Measures a bet from request to outcome, only for the request that published it.
    fn measure(&self) {
        if self.write.owner == Owner::Game {
            metric::distribution(Metric::BetsLatency, self.begun.elapsed().as_secs_f64() * 1_000.0, &[]);
        }
    }

    async fn wait(&self, seat: &mut Seat) -> Progress {
        let until = if self.write.respond_async {
            self.deadline
        } else {
            self.deadline - ASKING.min(self.gateway.wait / 4)
        };
        let left = until.saturating_duration_since(Instant::now());
        if self.write.respond_async { seat.wait_published(left).await } else { seat.wait(left).await }
    }

    /// Handles a conflict event, which reaches all requests with this key on all instances. The owner knows which request it
    /// accepted. Until it answers, this may be the accepted one, so the client gets a 503 and no conflict.
    async fn whose_conflict(&self) -> Result<Response, Problem> {
        let undecided = "another request came with this key, and which of the two counts is not known yet; repeat with the same key";
        self.ask_the_owner().await.unwrap_or_else(|| Err(Problem::unavailable(undecided)))
    }

    /// Asks the owner, because the event did not arrive in time, or came long ago for an old key. Returns `None` when the owner
    /// does not know the command or cannot be asked.
    async fn ask_the_owner(&self) -> Option<Result<Response, Problem>> {
        let left = self.deadline.saturating_duration_since(Instant::now()).max(ASKING / 2);
        let asked = owner::outcome(self.gateway, self.write.owner, self.id.as_str());
        let known = tokio::time::timeout(left, asked).await.ok()?.ok()??;
        // An operator gave another player's command the id of this one, so this command can never be decided.
        if known.player_id != self.write.player.id {
            return Some(Err(Problem::idempotency_conflict()));
        }
        if known.request_hash.is_some_and(|hash| hash != self.request_hash.as_str()) {
            return Some(Err(Problem::idempotency_conflict()));
        }
        let Some(body) = known.body else { return Some(Ok(self.accepted().await)) };
        self.gateway.replies.put(self.id, self.request_hash, body.clone()).await;
        Some(Ok(final_response(body)))
    }

    /// Answers 202: acknowledged by the broker, not decided yet.
    async fn accepted(&self) -> Response {
        self.gateway.replies.accepted(self.id, &self.write.player.id).await;
        let mut response = body_response(StatusCode::ACCEPTED, self.write.owner.pending(self.id.as_str()));
        let headers = response.headers_mut();
        if let Ok(location) = HeaderValue::from_str(&self.write.owner.location(self.id.as_str())) {
            headers.insert(header::LOCATION, location);
        }
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        if self.write.respond_async {
            let applied = HeaderName::from_static("preference-applied");
            headers.insert(applied, HeaderValue::from_static("respond-async"));
        }
        response
    }
}

fn final_response(body: Bytes) -> Response {
    body_response(StatusCode::OK, body)
}

/// Sends JSON bytes unchanged, because serialising them again could change them.
pub(crate) fn body_response(status: StatusCode, body: Bytes) -> Response {
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, content_type, Body::from(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_lists_in_any_case() {
        let headers = |value: &'static str| {
            HeaderMap::from_iter([(HeaderName::from_static("prefer"), HeaderValue::from_static(value))])
        };
        assert!(prefers_async(&headers("respond-async")));
        assert!(prefers_async(&headers("wait=5, Respond-Async")));
        assert!(!prefers_async(&headers("return=minimal")));
        assert!(!prefers_async(&HeaderMap::new()));
    }
}
