//! Releases of single services on the running platform: built, deployed beside the release before, promoted and rolled back.
//!
//! [`operator`] changes the platform, [`share`] reads which share of the partitions a canary really has, [`health`] reads what the
//! recorder knows of the releases, and [`sentry_cli`] tells a real Sentry about a deploy (docs/RELEASES.md).

pub mod build;
pub mod health;
pub mod operator;
pub mod sentry_cli;
pub mod share;
