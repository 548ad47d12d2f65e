//! Analytics as a program: see `lib.rs`.

fn main() -> std::process::ExitCode {
    analytics::main()
}
