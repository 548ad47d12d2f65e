//! The chassis as services use it: configuration from its three layers, and a life from start to drained.

mod configuration;
mod crowd;
mod descriptors;
mod hosts;
mod life;
mod ops;
mod serving;

/// Telemetry that sends nothing, once for all tests: answers name their trace, and clients have their crypto.
fn telemetry_up() {
    static TELEMETRY: std::sync::OnceLock<telemetry::Telemetry> = std::sync::OnceLock::new();
    TELEMETRY.get_or_init(|| telemetry::init(telemetry::Config::silent("chassis")).expect("telemetry"));
}
