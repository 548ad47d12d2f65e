//! Tests of the chassis as services use it: configuration from its three layers, and the lifecycle from start to drained.

mod configuration;
mod connection_limits;
mod debug;
mod debug_page;
mod descriptors;
mod faults_of_a_request;
mod hosts;
mod lifecycle;
mod ops;
mod serving;

/// Starts telemetry once for all tests, without sending. Responses need it for their trace, and clients for cryptography.
fn init_telemetry() {
    static TELEMETRY: std::sync::OnceLock<telemetry::Telemetry> = std::sync::OnceLock::new();
    TELEMETRY.get_or_init(|| telemetry::init(telemetry::Config::silent("chassis")).expect("telemetry"));
}
