//! Notification tells players what they want to hear: for now one mail for a big win.
//!
//! One big win through this crate: `BetSettled` → is it big ([`domain::win`]) → claim `notification.sent` under the event's id
//! and channel → contact → SMTP → the claim becomes *sent*. No contact yet → it becomes *waiting*, and `PlayerRegistered`
//! sends it.
//!
//! Promises kept here: a replay sends nothing again; a process that dies between sending and noting it causes at most one
//! more mail, with the same Message-ID, so the reader's mail program shows one; who wants no mail gets none; a win that is
//! read before its player's registration is not forgotten.

mod claims;
pub mod config;
mod contacts;
pub mod domain;
mod error;
mod handlers;
mod mailer;

use std::sync::Arc;

use chassis::{Edges, Failure, Life, Shutdown};
use contracts::topics::Group;
use store::mongo::Mongo;

use crate::claims::Claims;
use crate::config::Config;
use crate::contacts::Contacts;
use crate::handlers::Desk;
use crate::mailer::Mailer;

/// Runs the service until `shutdown` or until a part fails.
///
/// # Errors
/// [`Failure::Missing`] when the store or the broker cannot be reached at the start, else what failed.
pub async fn run(config: Config, edges: Edges, shutdown: Shutdown) -> Result<(), Failure> {
    let mut life = Life::start(edges, &config, shutdown);
    let mongo = Mongo::connect(&config.mongo).await.map_err(|e| Failure::missing("the document store", e))?;
    let claims = Claims::new(&mongo, config.mail.claim_ms);
    claims.ensure_index().await.map_err(|e| Failure::missing("the document store", e))?;
    let producer = bus::Producer::new(&config.kafka)?;
    let mailer = Mailer::new(&config.peers.smtp, &config.mail)?;
    let desk = Arc::new(Desk { contacts: Contacts::new(&mongo), claims, mailer });
    let router = handlers::router(&desk);
    let consumer = bus::Consumer::new(&config.kafka, Group::Notification, router, producer.clone())?;

    let ready = life.readiness().register("kafka");
    // No interface of its own yet; the listener answers that politely.
    life.serve(chassis::http::router(
        axum::Router::new(),
        &config.http,
        telemetry::propagation::TrustPolicy::inside(),
    ));
    life.consume("notification", |token| consumer.run(token, move |is_ready| ready.set(is_ready)));
    life.on_flush("producer", move |within| async move { producer.flush(within).await });
    life.run().await
}
