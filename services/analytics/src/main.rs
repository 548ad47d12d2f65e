//! Binary of the analytics service. The program itself is in `lib.rs`.

fn main() -> std::process::ExitCode {
    analytics::main()
}
