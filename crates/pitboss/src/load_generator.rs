//! Load on the gateway: an open loop at a given rate, or players that each send one bet after the other.
//!
//! In the open loop a bet is sent at its intended time, whatever the result of earlier bets, and its latency counts from that
//! time. So a platform that stalls cannot hide it by receiving fewer bets.

pub mod driver;
pub mod load_report;
pub mod losses;
pub(crate) mod open_loop;
pub mod plan;
