//! Payment's internal interface: balances, payments, and the provider's webhook. Only the gateway calls it.

mod balances;
mod payments;
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

/// What the routes need.
#[derive(Clone)]
pub struct App {
    /// Accounts and decisions.
    pub ledger: Ledger,
    /// Payments at the provider.
    pub intents: Intents,
    /// Where a webhook's report goes.
    pub producer: Producer,
    /// What the provider signs its webhooks with; empty: webhooks are refused.
    pub webhook_secret: Secret,
    /// The one before it; empty: none.
    pub webhook_secret_old: Secret,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

/// All routes.
pub fn routes(app: App) -> Router {
    Router::new()
        .route("/internal/v1/accounts/{player_id}/balances", get(balances::get))
        .route("/internal/v1/payments/{payment_id}", get(payments::get))
        .route("/internal/v1/webhooks/card-provider", post(webhook::post))
        .with_state(Arc::new(app))
}

/// An error as an answer: what may work later is 503; anything else is 500. A document that cannot be read is told of where it is
/// found, once, and not with each request.
fn problem(error: &(impl Classify + std::error::Error)) -> Problem {
    match error.class() {
        ErrorClass::Transient => {
            tracing::warn!(error = %error, "request not answered");
            Problem::unavailable("the ledger cannot be read now")
        }
        ErrorClass::Poison => {
            tracing::warn!(error = %error, "request not answered: what it is about cannot be read");
            Problem::internal()
        }
        ErrorClass::Fatal => {
            tracing::error!(error = %error, "request failed");
            Problem::internal()
        }
    }
}
