//! Tests of wire: bytes pass unchanged, the two faults act on exactly what they name, and everything is bounded.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod armed_faults;
mod broker;
mod forwarding;
mod stored_once;
mod world;
