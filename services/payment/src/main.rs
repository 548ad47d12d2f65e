//! Entry point of payment, the ledger of the platform.

fn main() -> std::process::ExitCode {
    payment::main()
}
