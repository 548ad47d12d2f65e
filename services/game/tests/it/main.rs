//! Game's promises, on real servers.

mod domain_purity;
mod endings;
mod harness;
mod placing;
mod return_to_player;
mod sweeping;
