//! Local runtime: runs third-party servers and our services as processes of this machine, watched by one supervisor.
//!
//! One `./pitboss up` through this crate: [`tools`] reports what the machine lacks. [`fetch`] gets the programs that no package
//! of the machine provides. [`infra`] and [`services`] describe every process as a [`PartSpec`]. [`supervisor`] runs the parts
//! and restarts those that die. Commands talk to it through [`control`]. [`probe`] decides when a part is ready.
//!
//! It guarantees three things:
//! * A part that died or was killed is restarted (after 0.5 s to 30 s). A stopped or frozen part is not, until a command asks for
//!   it ([`policy`] and `supervisor_state`, both pure, without a process or a clock).
//! * No process outlives the supervisor. The kernel kills each part with it ([`child`]), and the next command finds leftovers by
//!   process id *and* start time and kills them ([`pids`]).
//! * Nothing waits for a fixed time where it can wait for a condition.
//!
//! Of our crates it uses only contracts (ports, versions). The command line creates the topics.

pub mod child;
pub mod control;
pub mod dotenv;
pub mod error;
pub mod fetch;
pub mod infra;
pub mod launch;
pub mod layout;
pub mod logfile;
pub mod os_process;
pub mod part;
pub mod pids;
pub mod policy;
pub mod ports;
pub mod probe;
pub mod python;
pub mod receiver;
pub mod releases;
pub mod secrets;
pub mod services;
pub mod supervisor;
mod supervisor_state;
pub mod tools;

pub use error::RuntimeError;
pub use layout::Layout;
pub use part::{Kind, PartSpec, PartState, PartStatus, Probe, Status};
