//! Service that notifies players by e-mail about the events that its handlers select ([`handlers`], [`domain`]).
//!
//! One e-mail through this crate, about a big win: `BetSettled` → found to be big ([`domain::win`]) → stored in `notification.sent`
//! under the event's id and channel, due at once or waiting for its player's registration → the record is done. Beside the
//! consumer, the courier processes due e-mails: claim, contact, SMTP, and the step that follows from the result
//! ([`domain::delivery`]).
//!
//! It guarantees that a replay sends nothing again. If a process dies between sending an e-mail and storing that, at most one
//! more follows with the same Message-ID, so the reader's mail program shows one. An e-mail with an unknown outcome is repeated
//! once and then given up, and one that the server puts off is retried for some hours. E-mails that were given up are reported
//! and listed. A bad mailbox delays neither another player nor the group. A player who wants no e-mail gets none. What is read
//! before its player's registration waits for it.

pub mod config;
mod contacts;
mod courier;
pub mod domain;
mod handlers;
mod http;
mod mailer;
mod notifications;

use std::sync::Arc;

use chassis::debug::Debug;
use chassis::internal::Internal;
use chassis::{Failure, Lifecycle, Listeners, Shutdown};
use contracts::{Part, topics::Group};
use store::StoreError;
use store::mongo::{DebugQueries, Mongo, ScannedRows, SlowQuery};
use tokio::sync::Notify;

use crate::config::Config;
use crate::contacts::Contacts;
use crate::courier::Courier;
use crate::handlers::Context;
use crate::http::Sources;
use crate::mailer::Mailer;
use crate::notifications::Notifications;

/// Entry point of the program: reads the configuration and calls [`run`].
///
/// It is in the library, so that the compiler does not generate the code behind `run` a second time for `main.rs`.
#[must_use]
pub fn main() -> std::process::ExitCode {
    chassis::main(
        chassis::Service::new(Part::Notification, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")),
        run,
    )
}

/// Runs the service until `shutdown` is triggered or a part fails.
///
/// # Errors
/// [`Failure::Missing`] when the document store cannot be reached at start-up, otherwise the error of the part that failed.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> Result<(), Failure> {
    let mut lifecycle = Lifecycle::start(listeners, shutdown);
    let open = || async {
        let mongo = Mongo::connect(&config.mongo).await?;
        let notifications = Notifications::new(&mongo, config.mail.claim_ms);
        notifications.ensure_indexes().await?;
        let contacts = Contacts::new(&mongo);
        Ok::<_, StoreError>((mongo, notifications, contacts))
    };
    let Some((mongo, notifications, contacts)) = lifecycle.start_phase("document store", open).await? else {
        return lifecycle.run().await;
    };
    let producer = bus::Producer::new(&config.kafka)?;
    let mailer = Mailer::new(&config.peers.smtp, &config.mail)?;
    let wake = Arc::new(Notify::new());
    let courier =
        Courier::new(notifications.clone(), contacts.clone(), mailer, config.mail.clone(), Arc::clone(&wake));
    let sources = Sources { notifications: notifications.clone(), wake: Arc::clone(&wake) };
    let context = Arc::new(Context { contacts, notifications, wake });
    let router = handlers::router(&context);
    let consumer = bus::Consumer::new(&config.kafka, Group::Notification, router, producer.clone())?;
    let consumer = consumer.with_hook(chassis::faults::record_hook(&lifecycle.faults()));

    let internal = Internal::new(config.security.internal_token.clone());
    let debug = debug(&mut lifecycle, &mongo);
    lifecycle.serve_internal(http::routes(sources).merge(debug.routes()), internal);
    let stop_deadline = config.kafka.stop_deadline();
    lifecycle.consume_as(Group::Notification, stop_deadline, |stop, ready| {
        consumer.run(stop, move |is| ready.set(is))
    });
    lifecycle.background("courier", |token| courier.run(token));
    lifecycle.on_flush("producer", move |within| async move { producer.flush(within).await });
    lifecycle.run().await
}

/// The debug faults. The rows of the slow query are written while somebody asks for it, and dropped afterwards.
fn debug(lifecycle: &mut Lifecycle, mongo: &Mongo) -> Debug {
    let debug = lifecycle.debug(Part::Notification);
    if !debug.is_enabled() {
        return debug;
    }
    let rows = ScannedRows::new(mongo, "debug_slow_query_rows", SlowQuery::Find);
    let queries = DebugQueries::new(mongo).with_rows(rows.clone());
    lifecycle.background("rows of a slow query", |stop| async move {
        stop.run_until_cancelled(rows.keep(|| false)).await;
        Ok::<(), StoreError>(())
    });
    debug.with_store(queries)
}
