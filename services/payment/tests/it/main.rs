//! Payment: its decisions for every input, its ledger against real servers and every death, and the whole service.

mod audit;
mod contention;
mod crash;
mod decide;
mod latency;
mod provider;
mod service;
mod twins;
mod voids;
mod world;
