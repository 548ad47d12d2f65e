//! What a bet is, without any clock, network or store: `decide(rules, command, source) -> decision`.
//!
//! Imports only `std`, `money` and `contracts` (a test holds that). Random numbers come in through
//! [`machine::StopSource`], so even the generator stays outside.

pub mod bet;
pub mod life;
pub mod machine;
pub mod theory;
