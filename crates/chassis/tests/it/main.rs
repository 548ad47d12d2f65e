//! Tests of the chassis as services use it: configuration from its three layers, and the life from start to drained.

mod configuration;
mod crowd;
mod descriptors;
mod hosts;
mod life;
mod ops;
mod serving;

/// Starts telemetry once for all tests, without sending anything. Answers need it for their trace, and clients for their crypto.
fn telemetry_up() {
    static TELEMETRY: std::sync::OnceLock<telemetry::Telemetry> = std::sync::OnceLock::new();
    TELEMETRY.get_or_init(|| telemetry::init(telemetry::Config::silent("chassis")).expect("telemetry"));
}
