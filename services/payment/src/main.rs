//! Payment: the ledger of the platform.

fn main() -> std::process::ExitCode {
    let service = chassis::Service::new(
        contracts::Part::Payment,
        env!("CARGO_PKG_VERSION"),
        include_str!("defaults.toml"),
    );
    chassis::main(service, payment::run)
}
