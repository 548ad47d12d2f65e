//! Rules for e-mails: which events cause one, its text, and the number of attempts. The module has no clock, network or store and
//! imports only `std`, `money` and `contracts`, which a test checks.

pub mod delivery;
pub mod win;
