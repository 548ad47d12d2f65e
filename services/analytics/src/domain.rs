//! Facts and their sums, without clock, network or store. The module imports only `std`, `money` and `contracts`, which a test
//! checks.

pub mod active;
pub mod bucket;
pub mod fact;
pub mod totals;
