//! Payment: its decisions for every input, its ledger against real servers and every death, and the whole service.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests, outside test functions")]

mod audit;
mod clash;
mod contention;
mod crash;
mod decide;
mod latency;
mod loss_day;
mod owners;
mod provider;
mod service;
mod settlement;
mod twins;
mod voids;
mod world;
