//! Internal HTTP interface of payment: balances, payments, restrictions and the provider's webhook. Only the gateway calls it.

mod balances;
mod payments;
mod restrictions;
mod webhook;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use bus::Producer;
use chassis::config::Secret;
use chassis::problem::Problem;
use contracts::{Classify, ErrorClass};

use crate::ledger::Ledger;
use crate::provider::intents::Intents;

/// State shared by the routes.
#[derive(Clone)]
pub struct App {
    /// Accounts and decisions.
    pub ledger: Ledger,
    /// Payments at the provider.
    pub intents: Intents,
    /// Publishes the report that a webhook causes.
    pub producer: Producer,
    /// Secret that the provider signs its webhooks with. Webhooks are refused when both secrets are empty.
    pub webhook_secret: Secret,
    /// Previous webhook secret, or empty.
    pub webhook_secret_old: Secret,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

/// Returns all routes.
pub fn routes(app: App) -> Router {
    Router::new()
        .route("/internal/v1/accounts/{player_id}/balances", get(balances::get))
        .route("/internal/v1/payments/{payment_id}", get(payments::get))
        .route("/internal/v1/restrictions/{cause_id}", get(restrictions::get))
        .route("/internal/v1/webhooks/card-provider", post(webhook::post))
        .with_state(Arc::new(app))
}

/// Maps an error to an HTTP answer: 503 when a retry may succeed, otherwise 500. The code that finds an unreadable document
/// reports it once, so this function only logs a warning for it.
fn problem(error: &(impl Classify + std::error::Error)) -> Problem {
    match error.class() {
        ErrorClass::Transient => {
            tracing::warn!(error = %error, "request failed, a retry may succeed");
            Problem::unavailable("the ledger cannot be read now")
        }
        ErrorClass::Poison => {
            tracing::warn!(error = %error, "request failed: a stored document cannot be read");
            Problem::internal()
        }
        ErrorClass::Fatal => {
            tracing::error!(error = %error, "request failed");
            Problem::internal()
        }
    }
}
