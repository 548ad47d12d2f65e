//! Common code of every process of the platform, so that a service contains only its own subject.
//!
//! It guarantees that a process refuses a bad configuration with *all* its errors (exit code 64) and is ready only when its parts
//! are. On a signal it shuts down in a fixed order and within a deadline: readiness off, stop accepting, drain HTTP, stop
//! consumers, flush the producer, flush telemetry. The steps are separate: [`config`] loads without side effects, [`Edges::bind`]
//! binds, [`Life`] spawns and [`Life::run`] drains.
//!
//! ```no_run
//! use chassis::{Edges, Failure, Life, Service, Shutdown, config::{Drain, Http, Ops, ServiceConfig}};
//!
//! use validator::Validate;
//!
//! #[derive(serde::Deserialize, serde::Serialize, Validate)]
//! struct Config {
//!     #[validate(nested)]
//!     http: Http,
//!     ops: Ops,
//!     #[serde(default)]
//!     #[validate(nested)]
//!     drain: Drain,
//! }
//!
//! impl ServiceConfig for Config {
//!     fn http(&self) -> &Http { &self.http }
//!     fn ops(&self) -> &Ops { &self.ops }
//!     fn drain(&self) -> &Drain { &self.drain }
//! }
//!
//! async fn run(config: Config, edges: Edges, shutdown: Shutdown) -> Result<(), Failure> {
//!     let mut life = Life::start(edges, &config, shutdown);
//!     let router = axum::Router::new().route("/hello", axum::routing::get(|| async { "hello" }));
//!     life.serve(chassis::http::router(router, &config.http, telemetry::propagation::TrustPolicy::inside()));
//!     life.run().await
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let service = Service::new(contracts::Part::Game, env!("CARGO_PKG_VERSION"), "[http]\naddress = \"127.0.0.1:8103\"");
//!     chassis::main(service, run)
//! }
//! ```

pub mod config;
mod descriptors;
mod edges;
mod failure;
pub mod http;
pub mod internal;
mod life;
pub mod operator;
mod ops;
pub mod problem;
mod process;
mod readiness;
mod shutdown;

pub use edges::Edges;
pub use failure::Failure;
pub use life::Life;
pub use process::{Service, main};
pub use readiness::{Readiness, ReadyFlag};
pub use shutdown::Shutdown;
