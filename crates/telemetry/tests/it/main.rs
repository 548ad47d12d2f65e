//! Every rule of telemetry, checked on the bytes that went out.
//!
//! Each test starts this very binary again as a separate process (a "scenario", below), with a DSN that points at a plain TCP
//! server in the test. So initialisation is the real one, process-wide, and what is judged is what arrived. The server and the
//! envelope parser share no code with telemetry.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "scenarios tell their test what they saw")]
#![allow(clippy::string_slice, clippy::let_underscore_must_use, reason = "a test fails by panicking")]

mod receiver;
mod scenario;

mod bounds;
mod conventions;
mod cost;
mod errors;
mod http;
mod late;
mod patience;
mod propagation;
mod relay;
mod scrubbing;
mod spans;
mod transport;
mod wire;
