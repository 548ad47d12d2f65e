//! Rules, alerts, dashboards and projects for a real Sentry as code (`deploy/sentry/`).
//!
//! [`files`] reads the declarations into the closed types of [`model`]. [`lint`] compares their queries with the names that Pitboss
//! sends. [`prometheus`] renders the rules for Prometheus, and [`evaluate`] decides by them over recorded values.

pub mod evaluate;
pub mod files;
pub mod lint;
pub mod model;
pub mod prometheus;
