//! Binary of the lagwatch service. The program itself is in `lib.rs`.

fn main() -> std::process::ExitCode {
    lagwatch::main()
}
