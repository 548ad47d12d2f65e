//! Asking the card provider over HTTP.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use telemetry::http::{Client, ClientError, Options};

use super::intents::Intent;
use crate::ledger::StoredKind;

/// The provider's API for money in.
const CHARGES: &str = "/card/v1/charges";
/// The provider's API for money out.
const PAYOUTS: &str = "/card/v1/payouts";

/// What the provider says about a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether the money moved.
    pub captured: bool,
    /// The provider's own name for it; empty when it refused to look at it.
    pub reference: String,
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
}

/// A client of the card provider.
#[derive(Debug, Clone)]
pub struct CardProvider {
    http: Client,
    base_url: String,
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
}

impl CardProvider {
    /// A client of the provider at `base_url`; one question takes at most `timeout_ms`.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn new(base_url: &str, timeout_ms: u64) -> Result<Self, ClientError> {
        let options =
            Options { timeout_ms, connect_timeout_ms: timeout_ms.min(1_000), idle_connections_max: 8 };
        Ok(Self { http: Client::with(&options)?, base_url: base_url.trim_end_matches('/').to_owned() })
    }

    /// Asks for the payment. Asked again, under the same key, the provider answers the same and moves nothing twice.
    ///
    /// # Errors
    /// [`Unknown`]: then [`CardProvider::look_up`].
    pub async fn ask(&self, intent: &Intent) -> Result<Answer, Unknown> {
        let question = Question {
            payment_id: &intent.payment_id,
            amount_minor: intent.amount_minor,
            currency: intent.currency.code(),
        };
        let path = path(intent);
        let request = self.http.post(&format!("{}{path}", self.base_url)).route(path);
        let request = request.header_str("idempotency-key", &idempotency_key(intent)).json(&question);
        let response = request.send().await?;
        match response.status() {
            status if status.is_success() => told(response).await,
            // It looked at the request and wants none of it: no money has moved, and none will.
            StatusCode::BAD_REQUEST | StatusCode::PAYMENT_REQUIRED | StatusCode::UNPROCESSABLE_ENTITY => {
                Ok(Answer { captured: false, reference: String::new() })
            }
            status => Err(Unknown::Status(status)),
        }
    }

    /// Asks what became of the payment.
    ///
    /// # Errors
    /// [`Unknown`], also when the provider does not know it: not found is not final.
    pub async fn look_up(&self, intent: &Intent) -> Result<Answer, Unknown> {
        let path = path(intent);
        let url = format!("{}{path}?idempotency_key={}", self.base_url, idempotency_key(intent));
        let response = self.http.get(&url).route(path).send().await?;
        match response.status() {
            status if status.is_success() => told(response).await,
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

async fn told(response: reqwest::Response) -> Result<Answer, Unknown> {
    let told: Told = response.json().await.map_err(|_| Unknown::Unreadable)?;
    match told.status.as_str() {
        "captured" => Ok(Answer { captured: true, reference: told.reference }),
        "declined" => Ok(Answer { captured: false, reference: told.reference }),
        _ => Err(Unknown::Unreadable),
    }
}
