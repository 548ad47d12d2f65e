//! Integration tests of payment: its decisions, its ledger on real servers with deaths at every step, and the whole service.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests, outside test functions")]

mod armed_faults;
mod audit;
mod by_hand;
mod clash;
mod contention;
mod cost;
mod crash;
mod debug;
mod decide;
mod failing_accounts;
mod guard;
mod intents;
mod kept;
mod limits;
mod loss_day;
mod owners;
mod pool;
mod provider;
mod rollback;
mod service;
mod settlement;
mod settling;
mod strange_answers;
mod sweeping;
mod twins;
mod upkeep;
mod voids;
mod webhook;
mod world;
