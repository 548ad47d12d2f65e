//! Card provider: an external service that may answer late, twice or not at all.
//!
//! A payment is on the list ([`intents`]) before its first request. A bounded pool ([`pool`]) sends the requests, never a
//! consumer lane, where other players would wait. All requests about one payment carry the same idempotency key. An unknown
//! outcome is looked up. "Not found" is no outcome, because the request may still arrive. A refusal is final only as the answer
//! to the very first request. The answer is recorded and then becomes `ProviderReported` on the command topic, under the id that
//! a webhook ([`signature`]) uses too.
//!
//! The fault `payment.random-failure` declines a payment in place of its very first request, in the same way as such a refusal.
//!
//! After the first request only the provider's answer settles the payment. A report by hand is refused unless it agrees. A
//! "declined" by hand makes the pool void the key, which can then never move money. The pool sends no request for a payment that
//! the ledger has settled. After a bounded number of attempts it parks and reports a payment, so that no others wait.

pub mod client;
pub mod intent;
pub mod intents;
pub mod pool;
pub mod report;
pub(crate) mod rounds;
pub mod signature;
