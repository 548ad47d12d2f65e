//! The card provider: a stranger that answers late, twice, or not at all.
//!
//! The promises kept here: a payment is on the list ([`intents`]) before anybody asks the provider; it is asked from a
//! bounded pool ([`pool`]), never inside a lane that strangers share; every question about one payment carries the same
//! idempotency key; an outcome that is not known is asked for, and "not found" is not an answer, because the request may
//! still arrive; what was answered becomes `ProviderReported` on the command topic, under the one id that a webhook
//! ([`signature`]) uses too.

pub mod client;
pub mod intents;
pub mod pool;
pub mod report;
pub mod signature;
