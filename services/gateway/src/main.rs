//! The gateway's binary. All code is in the library.

fn main() -> std::process::ExitCode {
    gateway::main()
}
