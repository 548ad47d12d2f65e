//! The local runtime: real servers and our services as processes of this machine, watched by one supervisor.
//!
//! The way of one `./pitboss up` through this crate: [`tools`] says what the machine lacks, [`fetch`] gets the programs that no
//! package of the machine has, [`infra`] and [`services`] describe every process as a [`PartSpec`], [`supervisor`] runs what is
//! described and brings back what dies, [`control`] is how a command talks to it, and [`probe`] decides what "ready" means.
//!
//! Promises kept here:
//! * what was killed or died comes back (after 0.5 s to 30 s), what was stopped or frozen does not until told ([`policy`],
//!   `machine`: both pure, without a process or a clock);
//! * no process outlives the supervisor, however that ends: each is told by the kernel when it goes ([`child`]), and what is
//!   left nevertheless is found by process id *and* start time and removed by the next command ([`pids`]);
//! * nothing waits for time to pass where a condition can be waited for.
//!
//! This crate knows contracts (ports, versions) and nothing else of ours: topics are created by the command line.

pub mod child;
pub mod control;
pub mod dotenv;
pub mod error;
pub mod fetch;
pub mod infra;
pub mod launch;
pub mod layout;
pub mod logfile;
mod machine;
pub mod part;
pub mod pids;
pub mod policy;
pub mod ports;
pub mod probe;
pub mod process;
pub mod python;
pub mod secrets;
pub mod services;
pub mod supervisor;
pub mod tools;

pub use error::RuntimeError;
pub use layout::Layout;
pub use part::{Kind, PartSpec, PartState, PartStatus, Probe, Status};
