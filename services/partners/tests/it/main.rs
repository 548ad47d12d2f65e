//! Integration tests of the partners over HTTP and SMTP, on free ports.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside test functions")]

mod armed_faults;
mod card;
mod crash;
mod guard;
mod mail;
mod pages;
mod world;
