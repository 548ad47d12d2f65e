//! Binary of the bare chain. The program itself is in `lib.rs`.

fn main() -> std::process::ExitCode {
    barechain::main()
}
