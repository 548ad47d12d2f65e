//! Notification tells players what they want to hear: for now one mail for a big win.
//!
//! One big win through this crate: `BetSettled` → is it big ([`domain::win`]) → stored in `notification.sent` under the event's
//! id and channel, due at once or waiting for its player's registration → the record is done. Beside the consumer the courier
//! takes up what is due: claim, contact, SMTP, and what that leads to ([`domain::delivery`]).
//!
//! Promises kept here: a replay sends nothing again; a process that dies between sending and noting it causes at most one
//! more mail, with the same Message-ID, so the reader's mail program shows one; a mail whose outcome is unknown is repeated
//! once and then given up, one that is put off for some hours; what was given up is reported and listed; no mailbox holds up
//! another player or the group; who wants no mail gets none; a win that is read before its player's registration is not
//! forgotten.

pub mod config;
mod contacts;
mod courier;
pub mod domain;
mod error;
mod handlers;
mod http;
mod mailer;
mod notifications;

use std::sync::Arc;

use chassis::internal::Internal;
use chassis::{Edges, Failure, Life, Shutdown};
use contracts::topics::Group;
use store::mongo::Mongo;
use tokio::sync::Notify;

use crate::config::Config;
use crate::contacts::Contacts;
use crate::courier::Courier;
use crate::handlers::Desk;
use crate::http::Sources;
use crate::mailer::Mailer;
use crate::notifications::Notifications;

/// The whole program: reads the configuration and calls [`run`].
///
/// It stands here because the compiler generates the code of all that `run` calls where it is started. In `main.rs` it would do so
/// once more.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let part = contracts::parts::Part::Notification;
    chassis::main(chassis::Service::new(part, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")), run)
}

/// Runs the service until `shutdown` or until a part fails.
///
/// # Errors
/// [`Failure::Missing`] when the store or the broker cannot be reached at the start, else what failed.
pub async fn run(config: Config, edges: Edges, shutdown: Shutdown) -> Result<(), Failure> {
    let mut life = Life::start(edges, &config, shutdown);
    let mongo = Mongo::connect(&config.mongo).await.map_err(|e| Failure::missing("the document store", e))?;
    let notifications = Notifications::new(&mongo, config.mail.claim_ms);
    notifications.ensure_indexes().await.map_err(|e| Failure::missing("the document store", e))?;
    let contacts = Contacts::new(&mongo);
    let producer = bus::Producer::new(&config.kafka)?;
    let mailer = Mailer::new(&config.peers.smtp, &config.mail)?;
    let wake = Arc::new(Notify::new());
    let courier =
        Courier::new(notifications.clone(), contacts.clone(), mailer, config.mail.clone(), Arc::clone(&wake));
    let sources = Sources { notifications: notifications.clone(), wake: Arc::clone(&wake) };
    let desk = Arc::new(Desk { contacts, notifications, wake });
    let router = handlers::router(&desk);
    let consumer = bus::Consumer::new(&config.kafka, Group::Notification, router, producer.clone())?;

    let ready = life.readiness().register("kafka");
    let internal = Internal::new(config.security.internal_token.clone());
    let routes = chassis::http::internal(http::routes(sources), internal);
    life.serve(chassis::http::layered(routes, &config.http, telemetry::propagation::TrustPolicy::inside()));
    life.consume("notification", |token| consumer.run(token, move |is_ready| ready.set(is_ready)));
    life.background("courier", |token| courier.run(token));
    life.on_flush("producer", move |within| async move { producer.flush(within).await });
    life.run().await
}
