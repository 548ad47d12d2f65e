//! Notification's promises, on real servers and a small mail server of the test's own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod big_wins;
mod harness;
mod mailboxes;
mod skew;
mod smtp;
mod waiting;
