//! Entry point of partners, the simulated external services.

fn main() -> std::process::ExitCode {
    partners::main()
}
