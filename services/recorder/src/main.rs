//! The recorder's process.

fn main() -> std::process::ExitCode {
    recorder::main()
}
