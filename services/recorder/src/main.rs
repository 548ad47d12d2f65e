//! Binary of the recorder.

fn main() -> std::process::ExitCode {
    recorder::main()
}
