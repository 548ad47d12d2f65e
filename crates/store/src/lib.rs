//! The only crate that knows MongoDB and Redis.
//!
//! Promises kept here:
//! - every write is acknowledged by a majority **and** in the journal before it counts; every read sees what a majority has;
//! - reads that decide about money may be put in one causally consistent [`mongo::Session`];
//! - everything is bounded: pools, server selection, connecting, one operation as a whole;
//! - an error knows what should happen next ([`StoreError`] answers `class()`), and never carries a value of a document;
//! - every operation of a transaction is a `db` span whose description is parameterised JSON ([`mongo::describe`]), every
//!   cache access of one a `cache.*` span;
//! - Redis is a cache: a failing one is an error that its caller may ignore, and is counted.
#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

mod error;
pub mod mongo;
pub mod redis;

pub use bson;
pub use error::StoreError;
