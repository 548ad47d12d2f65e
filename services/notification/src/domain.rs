//! Which events are worth a mail, what it says, and how often it is tried, without any clock, network or store. Imports only
//! `std`, `money` and `contracts` (a test holds that).

pub mod delivery;
pub mod win;
