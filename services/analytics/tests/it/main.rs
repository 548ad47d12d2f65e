//! Tests of analytics' guarantees on real servers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod armed_faults;
mod debug;
mod fan_out;
mod folding;
mod groups;
mod harness;
mod names;
mod newest;
mod skew;
mod slow_aggregation;
mod totals;
mod traces;
mod voids;
