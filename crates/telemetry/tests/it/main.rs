//! Tests of all rules of telemetry, on the bytes that were sent.
//!
//! Each test starts this binary again as a separate process (a "scenario", below), with a DSN of a plain TCP server in the
//! test. So the initialisation is the real, process-wide one, and the test checks what arrived. The server and the envelope
//! parser share no code with telemetry.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "scenarios report to their test on standard output")]
#![allow(clippy::string_slice, clippy::let_underscore_must_use, reason = "a test fails by panicking")]

mod receiver;
mod scenario;

mod bounds;
mod check_ins;
mod conventions;
mod cost;
mod errors;
mod http;
mod late;
mod profile;
mod propagation;
mod relay;
mod scrubbing;
mod sessions;
mod spans;
mod stream;
mod transport;
mod unresponsive_server;
mod watchdog;
mod wire;
