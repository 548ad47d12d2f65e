//! The card provider's own statement, and the client of partners.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;

use anyhow::{Context as _, Result, bail};
use money::Currency;
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::documents::PaymentKind;
use crate::target::silent_partners;

/// Status of an order that moved money.
pub const CAPTURED: &str = "captured";
/// Number of lines that are read at a time.
const LINES_AT_ONCE: usize = 1_000;
/// Header of the token that authenticates requests between our services.
const INTERNAL_TOKEN_HEADER: &str = "x-internal-token";

/// Line of the statement.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Line {
    /// Number in the order of the provider's answers: 1, 2, 3.
    pub sequence: u64,
    /// Direction of the order.
    pub kind: PaymentKind,
    /// The merchant's id of the payment.
    pub payment_id: String,
    /// `captured`, `declined` or `voided`.
    pub status: String,
    /// Amount in minor units.
    pub amount_minor: i64,
    /// Currency code.
    pub currency: String,
    /// Time of the answer, in milliseconds since the epoch.
    pub at_epoch_ms: i64,
}

/// Part of the statement.
#[derive(Debug, Deserialize)]
struct Page {
    entries: Vec<Line>,
}

/// Client of partners, which is the card provider and the mail server.
#[derive(Clone, Debug)]
pub(super) struct Provider {
    pub(super) http: reqwest::Client,
    pub(super) base_url: String,
    pub(super) internal_token: String,
}

impl Provider {
    /// Returns the lines after `since`, at most a page of them.
    pub(super) async fn lines(&self, since: u64) -> Result<Vec<Line>> {
        self.page(since, LINES_AT_ONCE).await
    }

    /// Returns one line by its number.
    pub(super) async fn line(&self, sequence: u64) -> Result<Option<Line>> {
        let lines = self.page(sequence.saturating_sub(1), 1).await?;
        Ok(lines.into_iter().find(|line| line.sequence == sequence))
    }

    async fn page(&self, since: u64, limit: usize) -> Result<Vec<Line>> {
        let query = [("since", since.to_string()), ("limit", limit.to_string())];
        let page: Option<Page> = self.get("/card/v1/statement", &query).await?;
        Ok(page.context("the card provider has no statement")?.entries)
    }

    /// Returns the provider's answer to the key of a payment.
    pub(super) async fn find(&self, kind: PaymentKind, payment_id: &str) -> Result<Option<Line>> {
        let path = match kind {
            PaymentKind::Charge => "/card/v1/charges",
            PaymentKind::Payout => "/card/v1/payouts",
        };
        self.get(path, &[("idempotency_key", format!("{payment_id}:capture"))]).await
    }

    /// Reads what is at a path. `None`: there is nothing.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Option<T>> {
        let mut url = reqwest::Url::parse(&format!("{}{path}", self.base_url))?;
        url.query_pairs_mut().extend_pairs(query);
        let request = self.http.get(url).header(INTERNAL_TOKEN_HEADER, &self.internal_token);
        let answer = request.send().await.map_err(|error| silent_partners(&self.base_url, error))?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let body = answer.json().await;
                body.map(Some).with_context(|| format!("the answer of partners to {path} cannot be read"))
            }
            status => bail!("partners answered {status} to GET {path}"),
        }
    }
}

/// Captured order, in the few bytes that are kept of each.
#[derive(Clone, Copy, Debug)]
struct Order {
    sequence: u64,
    kind: PaymentKind,
    amount_minor: i64,
    currency: Option<Currency>,
}

/// Captured orders by payment, about a hundred bytes each.
#[derive(Debug, Default)]
pub(super) struct Statement {
    orders: HashMap<Uuid, Order>,
}

impl Statement {
    /// Adds a captured order.
    pub(super) fn add(&mut self, line: &Line) {
        if let MapEntry::Vacant(vacant) = self.orders.entry(key(&line.payment_id)) {
            let (sequence, kind, amount_minor) = (line.sequence, line.kind, line.amount_minor);
            vacant.insert(Order { sequence, kind, amount_minor, currency: line.currency.parse().ok() });
        }
    }

    /// Returns the number of the first line that captured this payment, if it is another line.
    pub(super) fn captured_before(&self, line: &Line) -> Option<u64> {
        let first = self.orders.get(&key(&line.payment_id))?.sequence;
        (first != line.sequence).then_some(first)
    }

    /// Returns the captured order of a payment.
    pub(super) fn find(&self, payment_id: &str) -> Option<Line> {
        let order = self.orders.get(&key(payment_id))?;
        Some(Line {
            sequence: order.sequence,
            kind: order.kind,
            payment_id: payment_id.to_owned(),
            status: CAPTURED.to_owned(),
            amount_minor: order.amount_minor,
            currency: order.currency.map_or_else(|| "?".to_owned(), |currency| currency.code().to_owned()),
            at_epoch_ms: 0,
        })
    }
}

/// Returns the id itself if it is a UUID, as those of our gateway are, and a digest otherwise.
pub(super) fn key(id: &str) -> Uuid {
    id.parse().unwrap_or_else(|_| Uuid::new_v5(&contracts::ids::NAMESPACE, id.as_bytes()))
}
