//! HTTP clients of the user, game and payment services.
//!
//! A service's rejection is passed on with its own text. A service's failure becomes a 503, because repeating is safe.

use std::net::IpAddr;

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use chassis::{
    Failure,
    debug::DebugBody,
    http::IDEMPOTENCY_KEY_HEADER,
    internal::{
        CLIENT_NETWORK_HEADER, INTERNAL_TOKEN_HEADER, INTERNAL_TOKEN_PROBLEM, Internal, SESSION_ID_HEADER,
    },
    problem::Problem,
};
use contracts::{DebugFault, Part};
use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use telemetry::http::{Client, ClientError, Options, RequestBuilder};
use url::Url;

use crate::{
    auth::{Bearer, INVALID_TOKEN},
    config,
    domain::{
        bet::{GameBet, UserPage},
        pay_table::PayTable,
        payment::StoredPayment,
        player::{Balances, Profile, Registered},
        restriction::StoredRestriction,
    },
    rate_limits::network_of,
};

/// Size limit of a peer's response. A page of history is the largest valid one.
const RESPONSE_BYTES_MAX: usize = 256 * 1024;

/// Time-out of a debug fault. The longest one takes six seconds, and the request to the gateway has eight.
const DEBUG_TIMEOUT_MS: u64 = 7_000;

/// The clients of all peers.
#[derive(Debug)]
pub(crate) struct Peers {
    client: Client,
    internal: Internal,
    user: Url,
    game: Url,
    payment: Url,
    analytics: Url,
    notification: Url,
}

/// A session from a log-in: a new one, or the known one of a repeated key.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NewSession {
    pub(crate) player_id: String,
    pub(crate) session_id: String,
    pub(crate) expires_at_epoch_s: u64,
}

#[derive(Deserialize)]
struct SessionOwner {
    player_id: String,
}

#[derive(Deserialize)]
struct Change {
    event_id: String,
}

/// Response of a peer.
pub(crate) struct PeerResponse {
    pub(crate) status: StatusCode,
    body: Bytes,
    retry_after: Option<HeaderValue>,
}

/// The part of a peer's problem that is passed on.
#[derive(Deserialize)]
struct PeerProblem {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    title: String,
    detail: Option<String>,
}

impl PeerResponse {
    /// The problem in the body, if there is one.
    fn problem(&self) -> Option<PeerProblem> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The peer's own answer, with this status.
    pub(crate) fn into_answer(self, status: StatusCode) -> Response {
        let is_problem = status.is_client_error() || status.is_server_error();
        let content_type = if is_problem { "application/problem+json" } else { "application/json" };
        let retry_after = self.retry_after.map(|value| [(RETRY_AFTER, value)]);
        (status, [(CONTENT_TYPE, content_type)], retry_after, self.body).into_response()
    }
}

impl PeerProblem {
    /// Last part of the type.
    fn slug(&self) -> Option<&str> {
        self.r#type.strip_prefix("/problems/")
    }
}

impl Peers {
    pub(crate) fn new(config: &config::Peers, internal: Internal) -> Result<Self, Failure> {
        let client = Client::with(&Options { timeout_ms: config.deadline_ms, ..Options::default() })?;
        Ok(Self {
            client,
            internal,
            user: config.user.clone(),
            game: config.game.clone(),
            payment: config.payment.clone(),
            analytics: config.analytics.clone(),
            notification: config.notification.clone(),
        })
    }

    /// Starts an internal call: with the internal token, and with a route name that holds no ids.
    fn call(&self, method: Method, url: &str, route: impl Into<String>) -> RequestBuilder {
        self.client.request(method, url).route(route).header(INTERNAL_TOKEN_HEADER, self.internal.value())
    }

    /// Starts a POST to the user service for a client without a session. That service counts wrong passwords per client network.
    fn client_call(&self, resource: &str, key: &str, from: IpAddr) -> RequestBuilder {
        let url = path(&self.user, &["internal", "v1", resource]);
        self.call(Method::POST, &url, format!("/internal/v1/{resource}"))
            .header_str(CLIENT_NETWORK_HEADER.as_str(), &network_of(from).to_string())
            .header_str(IDEMPOTENCY_KEY_HEADER, key)
    }

    fn session_call(&self, method: Method, bearer: &Bearer) -> Result<RequestBuilder, Problem> {
        let mut session_id =
            HeaderValue::from_str(&bearer.session_id).map_err(|_| Problem::unauthorized(INVALID_TOKEN))?;
        session_id.set_sensitive(true);
        let route = "/internal/v1/sessions/current";
        let url = path(&self.user, &["internal", "v1", "sessions", "current"]);
        Ok(self.call(method, &url, route).header(SESSION_ID_HEADER, session_id))
    }

    /// Checks that the session is open and belongs to the bearer.
    pub(crate) async fn check_session(&self, bearer: &Bearer) -> Result<(), Problem> {
        let response = send(self.session_call(Method::GET, bearer)?).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Err(Problem::unauthorized("the session has ended"));
        }
        let owner: SessionOwner = json(response)?;
        if owner.player_id != bearer.id {
            tracing::error!(player.id = bearer.id, "a token and its session belong to different players");
            return Err(Problem::unauthorized("the session has ended"));
        }
        Ok(())
    }

    /// Ends the session.
    pub(crate) async fn end_session(&self, bearer: &Bearer) -> Result<(), Problem> {
        success(send(self.session_call(Method::DELETE, bearer)?).await?).map(drop)
    }

    /// Registers the client at this address. The user service stores the key, so repeating is safe.
    pub(crate) async fn register<B: Serialize>(
        &self,
        key: &str,
        from: IpAddr,
        body: &B,
    ) -> Result<Registered, Problem> {
        json(send(self.client_call("players", key, from).json(body)).await?)
    }

    /// Logs in the client at this address.
    pub(crate) async fn log_in<B: Serialize>(
        &self,
        key: &str,
        from: IpAddr,
        body: &B,
    ) -> Result<NewSession, Problem> {
        json(send(self.client_call("sessions", key, from).json(body)).await?)
    }

    /// Returns the player's profile.
    pub(crate) async fn profile(&self, player_id: &str) -> Result<Profile, Problem> {
        let url = path(&self.user, &["internal", "v1", "players", player_id]);
        json(send(self.call(Method::GET, &url, "/internal/v1/players/{player_id}")).await?)
    }

    /// Returns a page of the player's history, latest first.
    pub(crate) async fn history(
        &self,
        player_id: &str,
        limit: u32,
        before: Option<&str>,
    ) -> Result<UserPage, Problem> {
        let mut url = url_of(&self.user, &["internal", "v1", "players", player_id, "bets"]);
        url.query_pairs_mut().append_pair("limit", &limit.to_string());
        if let Some(before) = before {
            url.query_pairs_mut().append_pair("before", before);
        }
        json(send(self.call(Method::GET, url.as_str(), "/internal/v1/players/{player_id}/bets")).await?)
    }

    /// Stores a restriction. Returns the id of the event that carries it to the ledger.
    pub(crate) async fn restrict<B: Serialize>(
        &self,
        method: Method,
        player_id: &str,
        resource: &'static str,
        key: &str,
        body: &B,
    ) -> Result<String, Problem> {
        let url = path(&self.user, &["internal", "v1", "players", player_id, resource]);
        let call = self.call(method, &url, format!("/internal/v1/players/{{player_id}}/{resource}"));
        let change: Change = json(send(call.header_str(IDEMPOTENCY_KEY_HEADER, key).json(body)).await?)?;
        Ok(change.event_id)
    }

    /// Returns the game service's record of a bet.
    pub(crate) async fn bet(&self, bet_id: &str) -> Result<Option<GameBet>, Problem> {
        let url = path(&self.game, &["internal", "v1", "bets", bet_id]);
        optional(send(self.call(Method::GET, &url, "/internal/v1/bets/{bet_id}")).await?)
    }

    /// Returns the slot machine's pay table.
    pub(crate) async fn pay_table(&self) -> Result<PayTable, Problem> {
        let url = path(&self.game, &["internal", "v1", "games", "slots", "pay-table"]);
        json(send(self.call(Method::GET, &url, "/internal/v1/games/slots/pay-table")).await?)
    }

    /// Returns the payment service's record of a payment.
    pub(crate) async fn payment(&self, payment_id: &str) -> Result<Option<StoredPayment>, Problem> {
        let url = path(&self.payment, &["internal", "v1", "payments", payment_id]);
        optional(send(self.call(Method::GET, &url, "/internal/v1/payments/{payment_id}")).await?)
    }

    /// Returns the payment service's record of a restriction, by the id of its event. `None` until the ledger has it.
    pub(crate) async fn restriction(&self, cause_id: &str) -> Result<Option<StoredRestriction>, Problem> {
        let url = path(&self.payment, &["internal", "v1", "restrictions", cause_id]);
        optional(send(self.call(Method::GET, &url, "/internal/v1/restrictions/{cause_id}")).await?)
    }

    /// Returns the player's balances. They are empty for a player whom the ledger does not know yet.
    pub(crate) async fn balances(&self, player_id: &str) -> Result<Balances, Problem> {
        let url = path(&self.payment, &["internal", "v1", "accounts", player_id, "balances"]);
        let call = self.call(Method::GET, &url, "/internal/v1/accounts/{player_id}/balances");
        Ok(optional(send(call).await?)?.unwrap_or_default())
    }

    /// Causes a debug fault at another service. It may take longer than other calls. Every answer of the service is the answer.
    ///
    /// A service that died of the fault has none: its connection broke, and the problem says so, with the trace of its crash.
    pub(crate) async fn debug(
        &self,
        service: Part,
        fault: DebugFault,
        body: &DebugBody,
    ) -> Result<PeerResponse, Problem> {
        let base = match service {
            Part::User => &self.user,
            Part::Game => &self.game,
            Part::Payment => &self.payment,
            Part::Analytics => &self.analytics,
            Part::Notification => &self.notification,
            _ => return Err(Problem::not_found()),
        };
        let url = path(base, &["internal", "v1", "debug", fault.as_str()]);
        let call = self.call(Method::POST, &url, "/internal/v1/debug/{fault}");
        send_or(call.timeout_ms(DEBUG_TIMEOUT_MS).json(body), |error| match error {
            ClientError::Broken { .. } if fault.is_deadly() => died(service, fault),
            error => no_response(error),
        })
        .await
    }

    /// Forwards the card provider's call unchanged, because the payment service checks its signature.
    pub(crate) async fn card_webhook(
        &self,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: Bytes,
    ) -> Result<PeerResponse, Problem> {
        let url = path(&self.payment, &["internal", "v1", "webhooks", "card-provider"]);
        let mut call = self.call(Method::POST, &url, "/internal/v1/webhooks/card-provider");
        for (name, value) in headers {
            call = call.header(name, value);
        }
        send(call.body(body)).await
    }
}

/// Appends the segments to `base`, percent-encoded, because an id may hold any visible character.
fn url_of(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

fn path(base: &Url, segments: &[&str]) -> String {
    url_of(base, segments).into()
}

/// Sends a call and reads the whole answer.
async fn send(call: RequestBuilder) -> Result<PeerResponse, Problem> {
    send_or(call, no_response).await
}

/// The same, with another problem where there is no answer.
async fn send_or(
    call: RequestBuilder,
    without_answer: impl FnOnce(&ClientError) -> Problem,
) -> Result<PeerResponse, Problem> {
    let mut response = call.send().await.map_err(|error| without_answer(&error))?;
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).cloned();
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len().saturating_add(chunk.len()) <= RESPONSE_BYTES_MAX => {
                body.extend_from_slice(&chunk);
            }
            Ok(None) => return accepted(PeerResponse { status, body: body.into(), retry_after }),
            Ok(Some(_)) => {
                tracing::error!(
                    bytes_max = RESPONSE_BYTES_MAX,
                    "the response of an internal service is too large"
                );
                return Err(Problem::internal());
            }
            Err(error) => {
                tracing::warn!(error = %error.without_url(), "an internal service closed the connection");
                return Err(Problem::unavailable("an internal service closed the connection"));
            }
        }
    }
}

/// Turns the refusal of the internal token into a 503: no player and no partner can correct it. Every other answer is the call's.
fn accepted(response: PeerResponse) -> Result<PeerResponse, Problem> {
    if response.status == StatusCode::UNAUTHORIZED
        && response.problem().is_some_and(|problem| problem.slug() == Some(INTERNAL_TOKEN_PROBLEM))
    {
        tracing::error!("an internal service rejected the internal token: set the same one for all services");
        return Err(Problem::unavailable("an internal service rejected the gateway's call"));
    }
    Ok(response)
}

fn no_response(error: &ClientError) -> Problem {
    tracing::warn!(error = %error, "an internal service did not respond");
    Problem::unavailable("an internal service did not respond")
}

/// The answer to a fault that ended its service, as was asked for.
fn died(service: Part, fault: DebugFault) -> Problem {
    tracing::warn!(service = service.as_str(), fault = fault.as_str(), "a service died of a debug fault");
    Problem::new(StatusCode::BAD_GATEWAY, "service-died", "The service died of the fault").detail(format!(
        "{service} closed the connection without an answer. Its crash is reported in this trace"
    ))
}

fn success(response: PeerResponse) -> Result<Bytes, Problem> {
    if response.status.is_success() {
        return Ok(response.body);
    }
    if response.status.is_client_error() {
        return Err(forwarded(&response));
    }
    tracing::warn!(http.response.status_code = response.status.as_u16(), "an internal service failed");
    Err(Problem::unavailable("an internal service failed"))
}

fn json<T: DeserializeOwned>(response: PeerResponse) -> Result<T, Problem> {
    let body = success(response)?;
    serde_json::from_slice(&body).map_err(|error| {
        tracing::error!(error = %error, "the response of an internal service has an unexpected form");
        Problem::internal()
    })
}

fn optional<T: DeserializeOwned>(response: PeerResponse) -> Result<Option<T>, Problem> {
    if response.status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    json(response).map(Some)
}

/// A peer's rejection with its own text. The answer gets this request's trace id instead of the peer's.
fn forwarded(response: &PeerResponse) -> Problem {
    let Some(problem) = response.problem() else {
        return Problem::new(response.status, "refused", "The request was refused");
    };
    let slug = problem.slug().unwrap_or("refused").to_owned();
    let title = if problem.title.is_empty() { "The request was refused".to_owned() } else { problem.title };
    let mut forwarded = Problem::new(response.status, slug, title);
    if let Some(detail) = problem.detail {
        forwarded = forwarded.detail(detail);
    }
    match &response.retry_after {
        Some(retry_after) => forwarded.header(RETRY_AFTER, retry_after.clone()),
        None => forwarded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_percent_encoded() {
        let base = Url::parse("http://127.0.0.1:8103").expect("a url");
        assert_eq!(
            path(&base, &["internal", "v1", "bets", "a/../b?c#d"]),
            "http://127.0.0.1:8103/internal/v1/bets/a%2F..%2Fb%3Fc%23d"
        );
    }
}
