//! Rules of a bet without clock, network or store: `decide(rules, command, source) -> decision`.
//!
//! The module imports only pure crates, which a test checks. Random numbers come in through [`slot_machine::StopSource`], so the
//! generator stays outside too.

pub mod bet;
pub mod lifecycle;
pub mod payout;
pub mod reels;
pub mod rtp;
pub mod slot_machine;
