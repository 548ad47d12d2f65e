//! Game's promises, on real servers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the measured return belongs in the output of the test")]

mod endings;
mod harness;
mod placing;
mod return_to_player;
mod skew;
mod sweeping;
