//! The program `pitboss`; `./pitboss` at the root builds it when needed and hands over to it.

use std::process::ExitCode;

fn main() -> ExitCode {
    pitboss::cli::main(std::env::args_os().collect())
}
