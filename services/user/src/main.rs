//! The `user` program; see [`user::run`].

use std::process::ExitCode;

use chassis::Service;
use contracts::Part;

fn main() -> ExitCode {
    let service = Service::new(Part::User, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml"));
    chassis::main(service, user::run)
}
