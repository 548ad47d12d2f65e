//! Lagwatch as a program: see `lib.rs`.

fn main() -> std::process::ExitCode {
    lagwatch::main()
}
