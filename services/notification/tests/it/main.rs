//! Tests of notification's guarantees on real servers and on a small mail server of the tests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod debug;
mod ending;
mod guard;
mod harness;
mod mailboxes;
mod mongo_proxy;
mod one_mail;
mod skew;
mod smtp;
mod smtp_answers;
mod store_errors;
mod traces;
mod two_processes;
mod waiting;
