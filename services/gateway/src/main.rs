//! The gateway's process: everything it does is in the library.

use std::process::ExitCode;

use chassis::Service;
use contracts::parts::Part;

fn main() -> ExitCode {
    let service = Service::new(Part::Gateway, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml"));
    chassis::main(service, gateway::run)
}
