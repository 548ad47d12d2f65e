//! The recorder's process.

use std::process::ExitCode;

use chassis::Service;
use contracts::parts::Part;

fn main() -> ExitCode {
    let service = Service::new(Part::Recorder, env!("CARGO_PKG_VERSION"), recorder::DEFAULTS);
    chassis::main(service, recorder::run)
}
