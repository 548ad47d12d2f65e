//! Entry point of wire, the proxy between one service and the broker.

fn main() -> std::process::ExitCode {
    wire::main()
}
