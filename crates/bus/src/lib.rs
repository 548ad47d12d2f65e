//! Kafka, and nothing else that knows it.
//!
//! One bet through this crate: the gateway's [`Producer`] publishes the command and waits for all in-sync replicas; game's
//! [`Consumer`] takes it, in the player's lane, into one transaction that continues the gateway's trace, and commits the
//! offset after the handler is done; the gateway's [`Tail`] hears the result.
//!
//! Delivery is at least once, in order per key. What that means in detail stands where it is kept: `ledger` (what may be
//! committed), `lanes` (order), `budget` (memory), `consumer` (assignments, stopping), `process` (errors, transactions),
//! `dead_letter` (what cannot be handled), `producer` (what an error of a publish says).

mod budget;
mod clients;
mod config;
mod consumer;
mod dead_letter;
mod error;
mod handler;
mod lanes;
mod latency;
mod ledger;
mod load;
mod names;
mod process;
mod producer;
mod record;
mod retry;
mod tail;
mod watch;

pub mod admin;
pub mod lag;

pub use config::Config;
pub use consumer::Consumer;
pub use error::{ClientError, ConsumerError, PublishError};
pub use handler::{Delivery, Handle, HandlerError, Outcome, Router};
pub use load::Load;
pub use producer::{Producer, Published};
pub use record::{RawRecord, Record};
pub use tail::Tail;

pub use tokio_util::sync::CancellationToken;
