//! The chassis as services use it: configuration from its three layers, and a life from start to drained.

mod configuration;
mod life;
mod serving;
