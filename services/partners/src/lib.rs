//! Partners: simulated external services, which are a card provider over HTTP and a mail server over SMTP.
//!
//! They share only infrastructure crates with their clients, so their records are independent evidence. Payment's ledger is
//! compared with the card provider's own statement, and e-mails are counted where they arrived. Partners guarantees that an
//! answer is on disk, synced, before it is sent, and that a key gets the same answer forever. Without the internal token a client
//! moves no money and reads no e-mail.

pub mod card;
mod clock;
pub mod config;
mod journal;
pub mod mail;

use axum::Router;
use chassis::config::Http;
use chassis::internal::Internal;
use chassis::{Failure, Lifecycle, Listeners, Shutdown};
use telemetry::propagation::TrustPolicy;
use tokio::net::TcpListener;

use card::Card;
use config::Config;
use mail::Mailbox;

pub use journal::JournalError;

/// Returns the routes of the main listener, which are the books of both partners, without the layers around them.
pub fn routes(card: Card, mailbox: Mailbox) -> Router {
    card::http::books(card).merge(mail::http::routes(mailbox))
}

/// Entry point of the program: reads the configuration and calls [`run`].
///
/// It is in the library, so that the compiler does not generate the code behind `run` a second time for `main.rs`.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let part = contracts::parts::Part::Partners;
    chassis::main(chassis::Service::new(part, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")), run)
}

/// Runs the partners until `shutdown`.
///
/// # Errors
/// When the storage folder cannot be used, or a listener fails.
pub async fn run(config: Config, mut listeners: Listeners, shutdown: Shutdown) -> Result<(), Failure> {
    let smtp = listeners.take(config::SMTP)?;
    let merchants = listeners.take(config::CARD)?;
    let mut lifecycle = Lifecycle::start(listeners, shutdown);
    let directory = config.storage.directory.clone();
    let unusable = |error: JournalError| Failure::missing("cannot use the files in storage.directory", error);
    std::fs::create_dir_all(&directory).map_err(|error| unusable(JournalError::from(error)))?;
    let card = Card::open(&directory.join("statement.jsonl")).map_err(unusable)?;
    let mailbox =
        Mailbox::open(&directory.join("mail.jsonl"), config.smtp.kept_bytes_max).map_err(unusable)?;
    let internal = Internal::new(config.security.internal_token.clone());
    let faults = lifecycle.faults();
    lifecycle.serve_internal(routes(card.clone(), mailbox.clone()), internal.clone());
    serve_merchants(&mut lifecycle, merchants, card, internal);
    let smtp_config = config.smtp.clone();
    lifecycle.serve_with("smtp", |stop| mail::smtp::serve(smtp, smtp_config, mailbox, faults, stop));
    lifecycle.run().await
}

/// Serves the card provider's interface for merchants, on the listener that a fault can close.
fn serve_merchants(lifecycle: &mut Lifecycle, listener: TcpListener, card: Card, internal: Internal) {
    let faults = lifecycle.faults();
    let http = Http { connections_max: config::CARD_CONNECTIONS_MAX, ..lifecycle.http().clone() };
    let routes = chassis::http::internal(card::http::routes(card, faults.clone()), internal);
    let router = chassis::http::layered(routes, &http, TrustPolicy::inside());
    lifecycle.serve_with("card", |stop| card::listener::serve(listener, router, http, faults, stop));
}
