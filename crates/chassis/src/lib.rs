//! Common code of every process of the platform, so that a service contains only its own subject.
//!
//! It guarantees that a process refuses a bad configuration with *all* its errors (exit code 64) and is ready only when its parts
//! are. On a signal it shuts down in a fixed order and within a deadline: readiness off, stop accepting, drain HTTP, stop
//! consumers, flush the producer, flush telemetry. The steps are separate: [`config`] loads without side effects,
//! [`Listeners::bind`] binds, [`Lifecycle`] spawns and [`Lifecycle::run`] drains.
//!
//! ```no_run
//! use chassis::{Failure, Lifecycle, Listeners, Service, Shutdown, config::ServiceConfig};
//! use telemetry::propagation::TrustPolicy;
//!
//! #[derive(serde::Deserialize, serde::Serialize, validator::Validate)]
//! struct Config {
//!     greeting: String,
//! }
//!
//! impl ServiceConfig for Config {}
//!
//! async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> Result<(), Failure> {
//!     let mut lifecycle = Lifecycle::start(listeners, shutdown);
//!     let router = axum::Router::new().route("/hello", axum::routing::get(|| async { config.greeting }));
//!     lifecycle.serve(chassis::http::router(router, lifecycle.http(), TrustPolicy::inside()));
//!     lifecycle.run().await
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let service = Service::new(contracts::Part::Game, env!("CARGO_PKG_VERSION"), "[http]\naddress = \"127.0.0.1:8103\"");
//!     chassis::main(service, run)
//! }
//! ```

mod check_ins;
pub mod config;
pub mod debug;
mod descriptors;
mod failure;
pub mod faults;
pub mod http;
pub mod internal;
mod lifecycle;
mod listeners;
pub mod operator;
mod ops;
pub mod problem;
mod readiness;
mod runtime_metrics;
mod service_main;
mod shutdown;

pub use failure::Failure;
pub use lifecycle::Lifecycle;
pub use listeners::Listeners;
pub use readiness::{Readiness, ReadyFlag};
pub use service_main::{EXIT_MS_MAX, Service, main};
pub use shutdown::Shutdown;
