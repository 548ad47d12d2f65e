//! Analytics' promises, on real servers.

mod domain_purity;
mod folding;
mod harness;
mod totals;
