//! Tests of game's guarantees on real servers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the measured return belongs in the output of the test")]

mod armed_faults;
mod claiming;
mod clocks;
mod debug;
mod endings;
mod guard;
mod harness;
mod invalid_bets;
mod placing;
mod reported;
mod return_to_player;
mod skew;
mod stage;
mod sweeping;
