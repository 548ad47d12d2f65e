//! Which events are worth a mail, and what it says, without any clock, network or store. Imports only `std`, `money` and
//! `contracts` (a test holds that).

pub mod win;
