//! Partners: the outside world, played — a card provider over HTTP and a mail server over SMTP.
//!
//! It shares no code with those who use it, so that what it kept is a second account of what happened: payment's ledger is
//! compared with the card provider's own statement, and mails are counted where they arrived. The promise: whatever was
//! answered is on disk, synced, before it is answered, and a key that was answered once is answered the same for ever. Whoever has no
//! internal token moves no money and reads no mail.

pub mod card;
pub mod config;
mod journal;
pub mod mail;

use axum::Router;
use chassis::internal::Internal;
use chassis::{Edges, Failure, Life, Shutdown};
use telemetry::propagation::TrustPolicy;

use card::Card;
use config::Config;
use mail::Mailbox;

pub use journal::JournalError;

/// Every route of both partners, without the layers around them.
pub fn routes(card: Card, mailbox: Mailbox) -> Router {
    card::http::routes(card).merge(mail::http::routes(mailbox))
}

/// The whole program: reads the configuration and calls [`run`].
///
/// It stands here because the compiler generates the code of all that `run` calls where it is started. In `main.rs` it would do so
/// once more.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let part = contracts::parts::Part::Partners;
    chassis::main(chassis::Service::new(part, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")), run)
}

/// Runs the partners until `shutdown`.
///
/// # Errors
/// When the folder cannot be used, or a listener fails.
pub async fn run(config: Config, mut edges: Edges, shutdown: Shutdown) -> Result<(), Failure> {
    let smtp = edges.take(config::SMTP)?;
    let mut life = Life::start(edges, &config, shutdown);
    let directory = config.storage.directory.clone();
    let unusable = |error: JournalError| Failure::missing("the partners' files cannot be used", error);
    std::fs::create_dir_all(&directory).map_err(|error| unusable(JournalError::from(error)))?;
    let card = Card::open(&directory.join("statement.jsonl")).map_err(unusable)?;
    let mailbox =
        Mailbox::open(&directory.join("mail.jsonl"), config.smtp.kept_bytes_max).map_err(unusable)?;
    let internal = Internal::new(config.security.internal_token.clone());
    let routes = chassis::http::internal(routes(card, mailbox.clone()), internal);
    life.serve(chassis::http::layered(routes, &config.http, TrustPolicy::inside()));
    let smtp_config = config.smtp.clone();
    life.serve_with("smtp", |stop| mail::smtp::serve(smtp, smtp_config, mailbox, stop));
    life.run().await
}
