//! Partners: the outside world, played.

fn main() -> std::process::ExitCode {
    partners::main()
}
