//! Kafka access for all services: producer, group consumer, tail, topic administration and lag.
//!
//! One bet through this crate: the gateway's [`Producer`] publishes the command and waits for all in-sync replicas. Game's
//! [`Consumer`] hands it, in the player's lane, to the handler. It does so inside one transaction that continues the gateway's
//! trace, and commits the offset after the handler returned. The gateway's [`Tail`] receives the result.
//!
//! Delivery is at least once, in order per key. The details are in `offsets` (offsets to commit), `partitions` (assignments),
//! `lanes` (order), `budget` (memory), `consumer` (rebalances, shutdown), `record_task` (errors, transactions), `dead_letter`
//! (retry topics and dead letters), `breaker` (too many of them), `producer` and `client_errors` (errors of the clients).

mod breaker;
mod budget;
mod client_errors;
mod clients;
mod config;
mod consumer;
mod consumer_stats;
mod dead_letter;
mod ends;
mod error;
mod handler;
mod hook;
mod lane_activity;
mod lanes;
mod latency;
mod leadership;
mod names;
mod offsets;
mod outside;
mod partitions;
mod producer;
mod record;
mod record_task;
mod retry;
mod tail;
mod topic_reader;

pub mod admin;
pub mod disturb;
pub mod lag;
pub mod members;

pub use config::Config;
pub use consumer::Consumer;
pub use consumer_stats::ConsumerStats;
pub use dead_letter::letter;
pub use error::{ClientError, ConsumerError, PublishError};
pub use handler::{Delivery, Handle, HandleAny, HandlerError, Outcome, Router};
pub use hook::{HookAction, REJECTED_ON_PURPOSE, RecordHook};
pub use outside::{Held, Ranges};
pub use producer::{Producer, Published};
pub use record::{RawRecord, Record};
pub use tail::Tail;
pub use topic_reader::{Chunk, TopicReader};

pub use tokio_util::sync::CancellationToken;
