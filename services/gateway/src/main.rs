//! The gateway's process: everything it does is in the library.

fn main() -> std::process::ExitCode {
    gateway::main()
}
