//! Handles one write from its key to its answer.
//!
//! It guarantees five things. The command's id is derived from player, route and key, so publishing it again is harmless. A
//! repeated key gets the same bytes: from the waiters, from the cache, or from the service that owns the outcome. The same key
//! with another body is refused without an effect. A 202 follows the broker's acknowledgement. In overload only new bets are
//! refused, and nothing of them is published.
//!
//! The cache has the original answer on purpose, also for a bet that was voided since: a client that repeats a request asks what
//! that request did. `GET` shows the present state, as the owner does once the cache has forgotten the answer.

use std::{net::IpAddr, time::Duration};

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
    admission,
    app::App,
    auth::Bearer,
    clock_skew::ClockSkew,
    domain::answer::{Answer, CachedReply},
    outcome_lookup::{self, Owner},
    waiters::{JoinError, Progress, Waiter},
};

/// Source name in the commands.
const SOURCE: &str = "/pitboss/gateway";
/// Part of the wait that is reserved for the look-up at the owner when the outcome event does not arrive.
pub(crate) const LOOK_UP: Duration = Duration::from_millis(250);
/// Detail of a 503 when the broker did not acknowledge in time.
const NOT_ACKNOWLEDGED: &str =
    "the broker has not acknowledged the command: repeat the request with the same Idempotency-Key";

/// One write request.
#[derive(Debug)]
pub(crate) struct Write {
    /// The player. [`perform`] checks the session.
    pub(crate) player: Bearer,
    /// Address of the client.
    pub(crate) client: IpAddr,
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
pub(crate) async fn perform(app: &App, write: Write) -> Result<Response, Problem> {
    // Consumers could not read an invalid command, so it would get neither an outcome nor a refusal.
    write.message.validate().map_err(|error| Problem::invalid_body(error.to_string()))?;
    let started = Instant::now();
    let id = ids::command_id(&write.player.id, write.route, write.key.as_str());
    let request_hash = ids::request_hash(&write.message);
    let session = app.sessions.check(&write.player, &app.peers);
    let (session, cached) = tokio::join!(session, app.replies.get(&id));
    session?;
    if let Some(cached) = cached {
        return cached_response(cached, &request_hash);
    }
    let mut waiter = join(app, &write, &id, &request_hash).await?;
    let skew = ClockSkew::of(&app.faults, &write.player.id, id.as_str());
    let mut command = Event::command(id, SOURCE, request_hash.clone(), write.message.clone());
    if let Some(skew) = skew {
        skew.shift(&mut command);
    }
    let deadline = started + app.wait;
    let pending = PendingWrite {
        app,
        write: &write,
        command: &command,
        skew,
        request_hash: &request_hash,
        started,
        deadline,
    };
    pending.answer(&mut waiter).await
}

/// Starts to wait for the command. A new bet needs its admission. A bet that was accepted before is admitted without it.
async fn join(app: &App, write: &Write, id: &EventId, request_hash: &RequestHash) -> Result<Waiter, Problem> {
    let is_bet = write.owner == Owner::Game;
    let admit = || if is_bet { app.admission.admit(id) } else { Ok(()) };
    let mut joined = app.waiters.join_or_admit(id, request_hash, admit);
    if matches!(joined, Err(JoinError::Overloaded(_)))
        && app.replies.was_accepted(id.as_str(), &write.player.id).await
    {
        joined = app.waiters.join_or_admit(id, request_hash, || {
            app.admission.admit_known(id);
            Ok(())
        });
    }
    joined.map_err(|error| match error {
        JoinError::OtherRequest => Problem::idempotency_conflict(),
        JoinError::Full => Problem::unavailable("too many requests are waiting for their outcome"),
        JoinError::Overloaded(refusal) => {
            admission::problem(refusal, app.rate_limits.count_overload(write.client))
        }
    })
}

/// One request that waits for the outcome of its command.
struct PendingWrite<'a> {
    app: &'a App,
    write: &'a Write,
    command: &'a Event,
    /// Error of this process's clock, which the send time shows too.
    skew: Option<ClockSkew>,
    request_hash: &'a RequestHash,
    started: Instant,
    deadline: Instant,
}

impl PendingWrite<'_> {
    async fn answer(&self, waiter: &mut Waiter) -> Result<Response, Problem> {
        let mut published_here = false;
        loop {
            if waiter.is_leader() {
                self.publish().await?;
                waiter.set_published();
                published_here = true;
            }
            match self.wait(waiter).await {
                Progress::Answered(Answer::Result(body)) => {
                    if published_here {
                        self.measure_latency();
                        self.app.replies.put(&self.command.id, self.request_hash, body.clone()).await;
                    }
                    return Ok(final_response(body));
                }
                Progress::Answered(Answer::Conflict) => return self.resolve_conflict().await,
                Progress::Published if self.write.respond_async => return Ok(self.accepted().await),
                Progress::Published => {
                    return match self.look_up().await {
                        Some(answer) => answer,
                        None => Ok(self.accepted().await),
                    };
                }
                Progress::Publishing => return Err(Problem::unavailable(NOT_ACKNOWLEDGED)),
                Progress::Abandoned => {
                    waiter.try_lead();
                }
            }
        }
    }

    async fn publish(&self) -> Result<(), Problem> {
        let shifted = self.skew.map(|skew| skew.sent_now(self.command));
        let publishing = self.app.publisher.publish(shifted.as_ref().unwrap_or(self.command));
        match tokio::time::timeout_at(self.deadline, publishing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                // If it was published after all, only the count of its outcome is missing.
                self.app.admission.cancel(&self.command.id);
                if error.class() == ErrorClass::Fatal {
                    self.app.publisher_failed.cancel();
                }
                let event_id =
                    telemetry::report(&error, &[("event.type", self.command.message.event_type().as_str())]);
                Err(Problem::unavailable(NOT_ACKNOWLEDGED).sentry_event(event_id))
            }
            Err(_) => {
                self.app.admission.unacknowledged(&self.command.id);
                Err(Problem::unavailable(NOT_ACKNOWLEDGED))
            }
        }
    }

    /// Measures a bet from request to outcome, only for the request that published it.
    fn measure_latency(&self) {
        if self.write.owner == Owner::Game {
            metric::distribution(Metric::BetsLatency, self.started.elapsed().as_secs_f64() * 1_000.0, &[]);
        }
    }

    async fn wait(&self, waiter: &mut Waiter) -> Progress {
        let until = if self.write.respond_async {
            self.deadline
        } else {
            self.deadline - LOOK_UP.min(self.app.wait / 4)
        };
        let left = until.saturating_duration_since(Instant::now());
        if self.write.respond_async { waiter.wait_published(left).await } else { waiter.wait(left).await }
    }

    /// Handles a conflict event, which reaches all requests with this key on all instances. The owner knows which request it
    /// accepted. Until it answers, this may be the accepted one, so the client gets a 503 and no conflict.
    async fn resolve_conflict(&self) -> Result<Response, Problem> {
        let undecided = "two requests used this Idempotency-Key, and it is not known yet which one was accepted: \
            repeat the request with the same key";
        self.look_up().await.unwrap_or_else(|| Err(Problem::unavailable(undecided)))
    }

    /// Looks the outcome up at the owner, because the event did not arrive in time, or came long ago for an old key. Returns
    /// `None` when the owner does not know the command or does not answer.
    async fn look_up(&self) -> Option<Result<Response, Problem>> {
        let left = self.deadline.saturating_duration_since(Instant::now()).max(LOOK_UP / 2);
        let record = outcome_lookup::fetch(self.app, self.write.owner, self.command.id.as_str());
        let record = tokio::time::timeout(left, record).await.ok()?.ok()??;
        // An operator gave another player's command the id of this one, so this command can never be decided.
        if record.player_id != self.write.player.id {
            return Some(Err(Problem::idempotency_conflict()));
        }
        if record.request_hash.is_some_and(|hash| hash != self.request_hash.as_str()) {
            return Some(Err(Problem::idempotency_conflict()));
        }
        let Some(body) = record.body else { return Some(Ok(self.accepted().await)) };
        self.app.replies.put(&self.command.id, self.request_hash, body.clone()).await;
        Some(Ok(final_response(body)))
    }

    /// Answers 202: acknowledged by the broker, not decided yet.
    async fn accepted(&self) -> Response {
        let id = &self.command.id;
        self.app.replies.put_accepted(id, &self.write.player.id).await;
        let mut response = json_response(StatusCode::ACCEPTED, self.write.owner.pending(id.as_str()));
        let headers = response.headers_mut();
        if let Ok(location) = HeaderValue::from_str(&self.write.owner.location(id.as_str())) {
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

/// Repeats a cached reply, unless it answers another request with the same key.
pub(crate) fn cached_response(cached: CachedReply, request_hash: &RequestHash) -> Result<Response, Problem> {
    if cached.matches(request_hash) {
        Ok(final_response(cached.body))
    } else {
        Err(Problem::idempotency_conflict())
    }
}

/// Answers 200 with the outcome.
pub(crate) fn final_response(body: Bytes) -> Response {
    json_response(StatusCode::OK, body)
}

/// Sends JSON bytes unchanged, because serialising them again could change them.
pub(crate) fn json_response(status: StatusCode, body: Bytes) -> Response {
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
