//! The gateway as its clients see it: over HTTP, with fakes of the broker and of the internal services.

mod auth;
mod configuration;
mod debug;
mod fake_peers;
mod harness;
mod history;
mod idempotency;
mod kafka;
mod openapi;
mod overload;
mod page;
mod payments;
mod peer_failures;
mod problems;
mod publishing;
mod rate_limits;
mod request_faults;
mod sessions;
