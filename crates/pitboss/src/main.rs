//! The program `pitboss`. The script `./pitboss` at the root builds it when needed and runs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    pitboss::cli::main(std::env::args_os().collect())
}
