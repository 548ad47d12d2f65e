//! The card provider: a stranger that answers late, twice, or not at all.
//!
//! The promises kept here: a payment is on the list ([`intents`]) before anybody asks the provider; it is asked from a
//! bounded pool ([`pool`]), never inside a lane that strangers share; every question about one payment carries the same
//! idempotency key; an outcome that is not known is asked for, and "not found" is not an answer, because the request may
//! still arrive; a refusal is final only as the answer to the first question ever; what was answered is recorded, and then becomes
//! `ProviderReported` on the command topic, under the one id that a webhook ([`signature`]) uses too.
//!
//! Nobody but the provider settles a payment for which it was asked: a report by hand is refused then, and one that says
//! "declined" has the key voided, after which it can never move money. Nobody asks for a payment that the ledger has settled.
//! Attempts are bounded: a payment without an outcome is parked and reported, and never keeps others waiting.

pub mod client;
pub mod intent;
pub mod intents;
pub mod pool;
pub mod report;
pub mod signature;
