//! Rules for e-mails: which events cause one, its text, its states and the number of attempts. The module has no clock, network
//! or store and imports only pure crates, which a test checks.

pub mod delivery;
pub mod mail;
pub mod win;
