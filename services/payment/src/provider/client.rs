//! HTTP client of the card provider.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chassis::internal::{INTERNAL_TOKEN_HEADER, Internal};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use telemetry::http::{Client, ClientError, Options};

use super::intent::Intent;
use crate::ledger::StoredKind;

/// Path of the provider's API for deposits.
const CHARGES: &str = "/card/v1/charges";
/// Path of the provider's API for withdrawals.
const PAYOUTS: &str = "/card/v1/payouts";

/// Longest reference that the provider may give a payment, in bytes. Events carry no longer one.
const REFERENCE_BYTES_MAX: usize = 128;

/// Number of requests in a row that do not reach the provider, after which it is reported as away. A restart causes fewer.
const AWAY_FROM: u32 = 5;

/// Error report about a provider that cannot be reached, once until a request reaches it again.
#[derive(Debug, thiserror::Error)]
#[error("the card provider cannot be reached: payments stay pending, and their requests are sent again")]
struct Away;

/// Answer of the provider about a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// True when the money moved.
    pub captured: bool,
    /// The provider's reference for the payment, empty when it refused the request.
    pub reference: String,
}

impl Answer {
    /// Creates an answer. The reference is shortened and cleaned so that events can carry it, because a bad reference must not
    /// prevent the settlement.
    #[must_use]
    pub fn new(captured: bool, reference: &str) -> Self {
        let mut kept = String::new();
        for c in reference.chars().map(|c| if c.is_control() { '?' } else { c }) {
            if kept.len().saturating_add(c.len_utf8()) > REFERENCE_BYTES_MAX {
                break;
            }
            kept.push(c);
        }
        Self { captured, reference: kept }
    }
}

/// Reason why the outcome is unknown. The money may have moved or may still move.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// No answer arrived.
    #[error(transparent)]
    NoAnswer(#[from] ClientError),
    /// The status of the answer says nothing about the money.
    #[error("the provider answered {0}")]
    Status(StatusCode),
    /// The answer cannot be read.
    #[error("the provider's answer cannot be read")]
    Unreadable,
    /// The provider does not know the payment. The request may still be in flight.
    #[error("the provider does not know the payment")]
    NotFound,
    /// The provider refused this request. An earlier request may still have moved the money.
    #[error("the provider refused the request ({0})")]
    Refused(StatusCode),
    /// The provider reports another amount than was requested under this key.
    #[error("the provider reports another amount than was requested")]
    OtherAmount,
    /// Too little of the lease remains for another request.
    #[error("too little of the lease remains for another request")]
    LeaseTooShort,
    /// The process is shutting down and sends no further request.
    #[error("the process is shutting down")]
    ShuttingDown,
}

impl Unknown {
    /// Returns true when the request cannot have had an effect.
    #[must_use]
    pub fn is_without_effect(&self) -> bool {
        matches!(self, Self::NoAnswer(ClientError::NotReached { .. }))
    }
}

/// Client of the card provider.
#[derive(Debug, Clone)]
pub struct CardProvider {
    http: Client,
    base_url: String,
    internal: Internal,
    /// Requests in a row that did not reach the provider, of all clones.
    not_reached: Arc<AtomicU32>,
}

#[derive(Debug, Serialize)]
struct OrderRequest<'a> {
    payment_id: &'a str,
    amount_minor: i64,
    currency: &'a str,
}

#[derive(Debug, Deserialize)]
struct OrderState {
    reference: String,
    status: String,
    amount_minor: i64,
    currency: String,
}

impl CardProvider {
    /// Creates a client of the provider at `base_url`. `internal` authenticates it, and one request takes at most `timeout_ms`.
    pub fn new(base_url: &str, timeout_ms: u64, internal: Internal) -> Result<Self, ClientError> {
        let options =
            Options { timeout_ms, connect_timeout_ms: timeout_ms.min(1_000), idle_connections_max: 8 };
        let base_url = base_url.trim_end_matches('/').to_owned();
        Ok(Self { http: Client::with(&options)?, base_url, internal, not_reached: Arc::default() })
    }

    /// Notes whether a request reached the provider, and reports a provider that is away.
    fn noted(&self, sent: Result<reqwest::Response, ClientError>) -> Result<reqwest::Response, ClientError> {
        if self.is_away_from_now_on(!matches!(sent, Err(ClientError::NotReached { .. }))) {
            telemetry::report(&Away, &[]);
        }
        sent
    }

    /// Counts a request, and returns true once for each time that the provider is away.
    fn is_away_from_now_on(&self, is_reached: bool) -> bool {
        if is_reached {
            self.not_reached.store(0, Ordering::Relaxed);
            return false;
        }
        self.not_reached.fetch_add(1, Ordering::Relaxed).saturating_add(1) == AWAY_FROM
    }

    /// Requests the payment. A repeated request under the same key gets the same answer and moves nothing twice.
    ///
    /// # Errors
    /// [`Unknown`], after which the caller uses [`CardProvider::look_up`]. [`Unknown::Refused`] is final only for the very first
    /// request.
    pub async fn request(&self, intent: &Intent) -> Result<Answer, Unknown> {
        self.post(intent, path(intent)).await
    }

    /// Voids the key, so that it can never move money. If it moved money before, the answer says so.
    ///
    /// # Errors
    /// [`Unknown`] when it is not known whether the key is voided.
    pub async fn void(&self, intent: &Intent) -> Result<Answer, Unknown> {
        self.post(intent, &format!("{}/void", path(intent))).await
    }

    async fn post(&self, intent: &Intent, path: &str) -> Result<Answer, Unknown> {
        let order = OrderRequest {
            payment_id: &intent.payment_id,
            amount_minor: intent.amount_minor,
            currency: intent.currency.code(),
        };
        let request = self.http.post(&format!("{}{path}", self.base_url)).route(path);
        let request = request.header(INTERNAL_TOKEN_HEADER, self.internal.value());
        let request = request.header_str("idempotency-key", &idempotency_key(intent)).json(&order);
        let response = self.noted(request.send().await)?;
        match response.status() {
            status if status.is_success() => read_answer(response, intent).await,
            status @ (StatusCode::BAD_REQUEST
            | StatusCode::PAYMENT_REQUIRED
            | StatusCode::UNPROCESSABLE_ENTITY) => Err(Unknown::Refused(status)),
            status => Err(Unknown::Status(status)),
        }
    }

    /// Looks up the outcome of the payment.
    ///
    /// # Errors
    /// [`Unknown`], also when the provider does not know the payment, which is not final.
    pub async fn look_up(&self, intent: &Intent) -> Result<Answer, Unknown> {
        let path = path(intent);
        let base = format!("{}{path}", self.base_url);
        // Encodes the key, because an id may hold `&`, `#` or `%`. A request to an invalid address fails by itself.
        let url = reqwest::Url::parse_with_params(&base, [("idempotency_key", idempotency_key(intent))]);
        let url = url.map_or(base, String::from);
        let request = self.http.get(&url).route(path).header(INTERNAL_TOKEN_HEADER, self.internal.value());
        let response = self.noted(request.send().await)?;
        match response.status() {
            status if status.is_success() => read_answer(response, intent).await,
            StatusCode::NOT_FOUND => Err(Unknown::NotFound),
            status => Err(Unknown::Status(status)),
        }
    }
}

/// Returns the idempotency key of all requests about a payment.
#[must_use]
pub fn idempotency_key(intent: &Intent) -> String {
    format!("{}:capture", intent.payment_id)
}

fn path(intent: &Intent) -> &'static str {
    match intent.kind {
        StoredKind::Deposit => CHARGES,
        StoredKind::Withdrawal => PAYOUTS,
    }
}

async fn read_answer(response: reqwest::Response, intent: &Intent) -> Result<Answer, Unknown> {
    let order: OrderState = response.json().await.map_err(|_| Unknown::Unreadable)?;
    if (order.amount_minor, order.currency.as_str()) != (intent.amount_minor, intent.currency.code()) {
        return Err(Unknown::OtherAmount);
    }
    match order.status.as_str() {
        "captured" => Ok(Answer::new(true, &order.reference)),
        "declined" | "voided" => Ok(Answer::new(false, &order.reference)),
        _ => Err(Unknown::Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provider_is_reported_once_per_absence() {
        let token = chassis::config::Secret::from("internal-token-of-the-tests-32-bytes");
        let provider = CardProvider::new("http://127.0.0.1:1", 100, Internal::new(token)).unwrap();
        let reports = |requests: usize, is_reached: bool| {
            (0..requests).filter(|_| provider.is_away_from_now_on(is_reached)).count()
        };
        assert_eq!(reports(4, false), 0, "a restart");
        assert_eq!(reports(1, true), 0);
        assert_eq!(reports(4, false), 0, "they are not in a row");
        assert_eq!(reports(20, false), 1);
        assert_eq!(reports(1, true) + reports(20, false), 1, "away again");
    }

    #[test]
    fn long_reference_is_cut_at_character() {
        let answer = Answer::new(true, &format!("a\nb{}", "ü".repeat(100)));
        assert!(answer.reference.starts_with("a?bü") && answer.reference.ends_with('ü'));
        assert!(answer.reference.len() <= REFERENCE_BYTES_MAX, "{}", answer.reference.len());
    }
}
