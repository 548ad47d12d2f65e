//! Access to MongoDB and Redis, for all services. No other crate depends on either driver.
//!
//! It guarantees that:
//! - every write is acknowledged by a majority **and** journalled before it counts, and reads return majority-committed data
//! - reads that decide about money can share one causally consistent [`mongo::Session`], or be later than a [`mongo::CausalTime`]
//! - pools, server selection, connecting and each operation as a whole are bounded
//! - a [`StoreError`] has a `class()` that decides the next step, and never contains a value of a document
//! - in a transaction, every operation is a `db` span whose description is parameterised JSON ([`mongo::describe`]), and every
//!   cache access is a `cache.*` span
//! - Redis is only a cache: its failures are counted, and callers may ignore them
#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

mod error;
pub mod mongo;
pub mod redis;
pub mod time;

pub use bson;
pub use error::StoreError;
