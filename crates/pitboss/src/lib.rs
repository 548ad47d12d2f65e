//! Command line of Pitboss: brings the platform up and down, plays bets, puts load on it, and shows traces.
//!
//! Each command prints facts on standard output (with `--json` for programs) and everything else on standard error. Exit codes: 0
//! the result holds, 1 it does not, 2 wrong usage, 64 bad configuration, 69 something needed is missing.

pub mod actuators;
pub mod alerts;
pub mod audit;
mod bet_record;
pub mod broker;
pub mod cargo;
pub mod checkout;
pub mod cli;
pub mod commands;
mod cpu_time;
mod declared_names;
pub mod dlq;
pub mod drill;
pub mod evidence;
mod failures;
pub mod flag_file;
mod help;
mod interrupts;
pub mod lag;
pub mod load_generator;
pub mod output;
pub mod player;
pub mod release;
pub mod second_witness;
pub mod sentry;
pub mod steps;
pub mod target;
pub mod trace;
pub mod verify;
