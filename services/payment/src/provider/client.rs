//! Asking the card provider over HTTP.

use chassis::internal::{INTERNAL_TOKEN_HEADER, Internal};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use telemetry::http::{Client, ClientError, Options};

use super::intent::Intent;
use crate::ledger::StoredKind;

/// The provider's API for money in.
const CHARGES: &str = "/card/v1/charges";
/// The provider's API for money out.
const PAYOUTS: &str = "/card/v1/payouts";

/// The longest name that the provider may have for a payment, in bytes; our events carry no longer one.
const REFERENCE_BYTES_MAX: usize = 128;

/// What the provider says about a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether the money moved.
    pub captured: bool,
    /// The provider's own name for it; empty when it refused to look at it.
    pub reference: String,
}

impl Answer {
    /// An answer with the provider's name for the payment as far as our events can carry it. It is only a name: what is wrong
    /// with it must not keep a payment from its end.
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

/// The provider has not told. It may have moved the money, or may yet.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// No answer.
    #[error(transparent)]
    NoAnswer(#[from] ClientError),
    /// An answer that says nothing about the money.
    #[error("the provider answered {0}")]
    Status(StatusCode),
    /// An answer that cannot be read.
    #[error("the provider's answer cannot be read")]
    Unreadable,
    /// It knows nothing of it, yet: the request may still be on its way.
    #[error("the provider does not know it")]
    NotFound,
    /// It wants none of this request. Whether an earlier one moved the money, this does not say.
    #[error("the provider refused the request ({0})")]
    Refused(StatusCode),
    /// It speaks of other money than we asked for under this key.
    #[error("the provider speaks of another amount")]
    OtherAmount,
    /// The payment has not been in our hands for long enough to ask again.
    #[error("the time to ask is over")]
    LeaseOver,
}

impl Unknown {
    /// Whether the request cannot have had an effect.
    #[must_use]
    pub fn is_without_effect(&self) -> bool {
        matches!(self, Self::NoAnswer(ClientError::NotReached { .. }))
    }
}

/// A client of the card provider.
#[derive(Debug, Clone)]
pub struct CardProvider {
    http: Client,
    base_url: String,
    internal: Internal,
}

#[derive(Debug, Serialize)]
struct Question<'a> {
    payment_id: &'a str,
    amount_minor: i64,
    currency: &'a str,
}

#[derive(Debug, Deserialize)]
struct Told {
    reference: String,
    status: String,
    amount_minor: i64,
    currency: String,
}

impl CardProvider {
    /// A client of the provider at `base_url`, known there by `internal`; one question takes at most `timeout_ms`.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn new(base_url: &str, timeout_ms: u64, internal: Internal) -> Result<Self, ClientError> {
        let options =
            Options { timeout_ms, connect_timeout_ms: timeout_ms.min(1_000), idle_connections_max: 8 };
        let base_url = base_url.trim_end_matches('/').to_owned();
        Ok(Self { http: Client::with(&options)?, base_url, internal })
    }

    /// Asks for the payment. Asked again, under the same key, the provider answers the same and moves nothing twice.
    ///
    /// # Errors
    /// [`Unknown`]: then [`CardProvider::look_up`]. [`Unknown::Refused`] is final as the answer to the first request ever.
    pub async fn ask(&self, intent: &Intent) -> Result<Answer, Unknown> {
        self.post(intent, path(intent)).await
    }

    /// Has the key voided: from then on it can never move money. If it had before, the answer says so.
    ///
    /// # Errors
    /// [`Unknown`]: whether it is voided is not known.
    pub async fn void(&self, intent: &Intent) -> Result<Answer, Unknown> {
        self.post(intent, &format!("{}/void", path(intent))).await
    }

    async fn post(&self, intent: &Intent, path: &str) -> Result<Answer, Unknown> {
        let question = Question {
            payment_id: &intent.payment_id,
            amount_minor: intent.amount_minor,
            currency: intent.currency.code(),
        };
        let request = self.http.post(&format!("{}{path}", self.base_url)).route(path);
        let request = request.header(INTERNAL_TOKEN_HEADER, self.internal.value());
        let request = request.header_str("idempotency-key", &idempotency_key(intent)).json(&question);
        let response = request.send().await?;
        match response.status() {
            status if status.is_success() => told(response, intent).await,
            status @ (StatusCode::BAD_REQUEST
            | StatusCode::PAYMENT_REQUIRED
            | StatusCode::UNPROCESSABLE_ENTITY) => Err(Unknown::Refused(status)),
            status => Err(Unknown::Status(status)),
        }
    }

    /// Asks what became of the payment.
    ///
    /// # Errors
    /// [`Unknown`], also when the provider does not know it: not found is not final.
    pub async fn look_up(&self, intent: &Intent) -> Result<Answer, Unknown> {
        let path = path(intent);
        let base = format!("{}{path}", self.base_url);
        // An id may hold `&`, `#`, `%`. An address that is none is none with a key, too: the request says so.
        let url = reqwest::Url::parse_with_params(&base, [("idempotency_key", idempotency_key(intent))]);
        let url = url.map_or(base, String::from);
        let request = self.http.get(&url).route(path).header(INTERNAL_TOKEN_HEADER, self.internal.value());
        let response = request.send().await?;
        match response.status() {
            status if status.is_success() => told(response, intent).await,
            StatusCode::NOT_FOUND => Err(Unknown::NotFound),
            status => Err(Unknown::Status(status)),
        }
    }
}

/// The one key of everything that is asked about a payment.
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

async fn told(response: reqwest::Response, intent: &Intent) -> Result<Answer, Unknown> {
    let told: Told = response.json().await.map_err(|_| Unknown::Unreadable)?;
    if (told.amount_minor, told.currency.as_str()) != (intent.amount_minor, intent.currency.code()) {
        return Err(Unknown::OtherAmount);
    }
    match told.status.as_str() {
        "captured" => Ok(Answer::new(true, &told.reference)),
        "declined" | "voided" => Ok(Answer::new(false, &told.reference)),
        _ => Err(Unknown::Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_cut_and_cleaned_at_a_character() {
        let answer = Answer::new(true, &format!("a\nb{}", "ü".repeat(100)));
        assert!(answer.reference.starts_with("a?bü") && answer.reference.ends_with('ü'));
        assert!(answer.reference.len() <= REFERENCE_BYTES_MAX, "{}", answer.reference.len());
    }
}
