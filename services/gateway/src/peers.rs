//! The services behind, over HTTP: user, game, payment.
//!
//! What they say no to is passed on in their words; what they fail at is a 503 here, because repeating is safe.

use bytes::Bytes;
use chassis::{Failure, problem::Problem};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use telemetry::http::{Client, ClientError, Options, RequestBuilder};
use url::Url;

use crate::{
    auth::Player,
    config,
    domain::{
        bet::{GameBet, UserPage},
        payment::StoredPayment,
    },
};

/// An answer of a peer is small: a page of history is the largest.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// The clients.
#[derive(Debug)]
pub(crate) struct Peers {
    client: Client,
    user: Url,
    game: Url,
    payment: Url,
}

/// A new or known session.
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
struct Caused {
    event_id: String,
}

/// What a peer answered.
pub(crate) struct PeerAnswer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// A problem of a peer, as far as it may be passed on.
#[derive(Deserialize)]
struct PeerProblem {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    title: String,
    detail: Option<String>,
}

impl Peers {
    pub(crate) fn new(config: &config::Peers) -> Result<Self, Failure> {
        let client = Client::with(&Options { timeout_ms: config.deadline_ms, ..Options::default() })?;
        Ok(Self {
            client,
            user: config.user.clone(),
            game: config.game.clone(),
            payment: config.payment.clone(),
        })
    }

    /// Whether the player's session still stands; asked before anything that moves money.
    pub(crate) async fn check_session(&self, player: &Player) -> Result<(), Problem> {
        let url = path(&self.user, &["internal", "v1", "sessions", &player.session_id]);
        let answer = read(self.client.get(&url).route("/internal/v1/sessions/{session_id}")).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(Problem::unauthorized("the session has ended"));
        }
        let owner: SessionOwner = json(answer)?;
        if owner.player_id != player.id {
            tracing::error!(player.id = player.id, "a token names another player than its session");
            return Err(Problem::unauthorized("the session has ended"));
        }
        Ok(())
    }

    /// Registers; user knows the key, so repeating is safe.
    pub(crate) async fn register<B: Serialize>(&self, key: &str, body: &B) -> Result<Bytes, Problem> {
        let url = path(&self.user, &["internal", "v1", "players"]);
        let call = self
            .client
            .post(&url)
            .route("/internal/v1/players")
            .header_str("idempotency-key", key)
            .json(body);
        success(read(call).await?)
    }

    /// Logs in.
    pub(crate) async fn log_in<B: Serialize>(&self, key: &str, body: &B) -> Result<NewSession, Problem> {
        let url = path(&self.user, &["internal", "v1", "sessions"]);
        let call = self
            .client
            .post(&url)
            .route("/internal/v1/sessions")
            .header_str("idempotency-key", key)
            .json(body);
        json(read(call).await?)
    }

    /// The player's profile.
    pub(crate) async fn profile(&self, player_id: &str) -> Result<Bytes, Problem> {
        let url = path(&self.user, &["internal", "v1", "players", player_id]);
        success(read(self.client.get(&url).route("/internal/v1/players/{player_id}")).await?)
    }

    /// A page of the player's history, latest first.
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
        json(read(self.client.get(url.as_str()).route("/internal/v1/players/{player_id}/bets")).await?)
    }

    /// Stores a restriction; returns the id of the event that brings it to the ledger.
    pub(crate) async fn restrict<B: Serialize>(
        &self,
        method: Method,
        player_id: &str,
        what: &'static str,
        key: &str,
        body: &B,
    ) -> Result<String, Problem> {
        let url = path(&self.user, &["internal", "v1", "players", player_id, what]);
        let call =
            self.client.request(method, &url).route(format!("/internal/v1/players/{{player_id}}/{what}"));
        let caused: Caused = json(read(call.header_str("idempotency-key", key).json(body)).await?)?;
        Ok(caused.event_id)
    }

    /// A bet, as game knows it.
    pub(crate) async fn bet(&self, bet_id: &str) -> Result<Option<GameBet>, Problem> {
        let url = path(&self.game, &["internal", "v1", "bets", bet_id]);
        optional(read(self.client.get(&url).route("/internal/v1/bets/{bet_id}")).await?)
    }

    /// What the slot machine pays.
    pub(crate) async fn pay_table(&self) -> Result<Bytes, Problem> {
        let url = path(&self.game, &["internal", "v1", "games", "slots", "pay-table"]);
        success(read(self.client.get(&url).route("/internal/v1/games/slots/pay-table")).await?)
    }

    /// A payment, as payment knows it.
    pub(crate) async fn payment(&self, payment_id: &str) -> Result<Option<StoredPayment>, Problem> {
        let url = path(&self.payment, &["internal", "v1", "payments", payment_id]);
        optional(read(self.client.get(&url).route("/internal/v1/payments/{payment_id}")).await?)
    }

    /// The player's balances; a player whom the ledger has not met yet has none.
    pub(crate) async fn balances(&self, player_id: &str) -> Result<Bytes, Problem> {
        let url = path(&self.payment, &["internal", "v1", "accounts", player_id, "balances"]);
        let answer = read(self.client.get(&url).route("/internal/v1/accounts/{player_id}/balances")).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Bytes::from_static(br#"{"balances":{}}"#));
        }
        success(answer)
    }

    /// Passes the card provider's call on as it came: payment checks its signature over these very bytes.
    pub(crate) async fn card_webhook(
        &self,
        headers: impl Iterator<Item = (http::HeaderName, http::HeaderValue)>,
        body: Bytes,
    ) -> Result<PeerAnswer, Problem> {
        let url = path(&self.payment, &["internal", "v1", "webhooks", "card-provider"]);
        let mut call = self.client.post(&url).route("/internal/v1/webhooks/card-provider");
        for (name, value) in headers {
            call = call.header(name, value);
        }
        read(call.body(body)).await
    }
}

/// `base` with these segments after it, each percent-encoded: an id may hold any visible character.
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

async fn read(call: RequestBuilder) -> Result<PeerAnswer, Problem> {
    let mut response = call.send().await.map_err(|error| unreachable_peer(&error))?;
    let status = response.status();
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len().saturating_add(chunk.len()) <= ANSWER_BYTES_MAX => {
                body.extend_from_slice(&chunk);
            }
            Ok(None) => return Ok(PeerAnswer { status, body: body.into() }),
            Ok(Some(_)) => {
                tracing::error!(
                    bytes_max = ANSWER_BYTES_MAX,
                    "a service's answer is larger than any of ours"
                );
                return Err(Problem::internal());
            }
            Err(error) => {
                tracing::warn!(error = %error.without_url(), "a service's answer broke off");
                return Err(Problem::unavailable("a service behind broke off"));
            }
        }
    }
}

fn unreachable_peer(error: &ClientError) -> Problem {
    tracing::warn!(error = %error, "a service behind did not answer");
    Problem::unavailable("a service behind did not answer")
}

fn success(answer: PeerAnswer) -> Result<Bytes, Problem> {
    if answer.status.is_success() {
        return Ok(answer.body);
    }
    if answer.status.is_client_error() {
        return Err(passed_on(&answer));
    }
    tracing::warn!(http.status = answer.status.as_u16(), "a service behind failed");
    Err(Problem::unavailable("a service behind failed"))
}

fn json<T: DeserializeOwned>(answer: PeerAnswer) -> Result<T, Problem> {
    let body = success(answer)?;
    serde_json::from_slice(&body).map_err(|error| {
        tracing::error!(error = %error, "a service's answer is not what was agreed");
        Problem::internal()
    })
}

fn optional<T: DeserializeOwned>(answer: PeerAnswer) -> Result<Option<T>, Problem> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    json(answer).map(Some)
}

/// A peer's "no" in its own words, under this request's trace id.
fn passed_on(answer: &PeerAnswer) -> Problem {
    let Ok(problem) = serde_json::from_slice::<PeerProblem>(&answer.body) else {
        return Problem::new(answer.status, "refused", "The request was refused");
    };
    let slug = problem.r#type.strip_prefix("/problems/").unwrap_or("refused").to_owned();
    let title = if problem.title.is_empty() { "The request was refused".to_owned() } else { problem.title };
    let passed = Problem::new(answer.status, slug, title);
    match problem.detail {
        Some(detail) => passed.detail(detail),
        None => passed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_leave_its_segment() {
        let base = Url::parse("http://127.0.0.1:8103").expect("a url");
        assert_eq!(
            path(&base, &["internal", "v1", "bets", "a/../b?c#d"]),
            "http://127.0.0.1:8103/internal/v1/bets/a%2F..%2Fb%3Fc%23d"
        );
    }
}
