//! Facts and their sums, without clock, network or store. The module imports only pure crates, which a test checks.

pub mod active;
pub mod bucket;
pub mod fact;
pub mod fold;
pub mod totals;
