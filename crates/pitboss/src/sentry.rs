//! Monitors, alerts, dashboards and projects of a real Sentry as code (`deploy/sentry/`, `docs/SENTRY_SETUP.md`).
//!
//! [`files`] reads the declarations into the closed types of [`model`]. [`lint`] compares their queries with the names that Pitboss
//! sends. [`render`] makes the JSON of Sentry's API of them, and [`prometheus`] the rules of Prometheus. [`sync`] compares that with
//! what a Sentry has, changes it, and reads it again, because Sentry drops what it does not know without an error.
//! The recorder evaluates the same rules over recorded envelopes (`rules::Series`).

pub mod client;
pub mod compare;
pub mod files;
pub mod lint;
pub mod model;
pub mod prometheus;
pub mod render;
pub mod sync;
