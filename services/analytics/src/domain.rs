//! What is counted and how it is summed, without any clock, network or store. Imports only `std`, `money` and `contracts`
//! (a test holds that).

pub mod active;
pub mod bucket;
pub mod fact;
pub mod totals;
