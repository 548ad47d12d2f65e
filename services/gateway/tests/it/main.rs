//! The gateway as its clients see it: over HTTP, with stand-ins for the services behind.

mod auth;
mod behind;
mod configuration;
mod history;
mod idempotency;
mod kafka;
mod limits;
mod openapi;
mod page;
mod payments;
mod peers;
mod problems;
mod publishing;
mod sessions;
mod stage;
